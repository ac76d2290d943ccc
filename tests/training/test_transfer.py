import pytest
import torch
from torch import nn

from siseon import zoo
from siseon.data.digits import digits
from siseon.interface import RecipeError
from siseon.training import preparation
from siseon.training.fit import fit
from siseon.training.recipe import Recipe
from siseon.training.transfer import BODY_SHARE, Transfer, transferred


def network(**arguments):
    torch.manual_seed(0)
    return zoo.create("resnet_mini", **arguments)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_body_rests_then_learns():
    model = network().train()
    transfer = Transfer(model, 0.5)
    transfer.at(0.5)
    assert not any(part.requires_grad for part in model.body.parameters())
    assert not any(module.training for module in model.body.modules())
    assert model.training
    transfer.at(0.51)
    assert all(part.requires_grad for part in model.body.parameters())
    assert all(module.training for module in model.body.modules())


def test_frozen_stages_stay_frozen():
    model = network(frozen=1)
    still = [name for name, part in model.body.named_parameters() if not part.requires_grad]
    assert still
    Transfer(model, 0.1).at(0.9)
    assert [name for name, part in model.body.named_parameters() if not part.requires_grad] == still


def test_a_run_that_is_all_head_leaves_the_body_to_the_bit():
    model = network()
    before = weights(model)
    fit(model, digits(), transfer=1, minutes=0.02, epochs=100, batch=64, workers=0)
    after = weights(model)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("body.") for name in changed)


def test_the_body_moves_more_slowly():
    groups = preparation.optimizer_of(network(), Recipe(transfer=0.3)).param_groups
    assert [group["share"] for group in groups] == [1, 1, BODY_SHARE, BODY_SHARE]
    assert {group["share"] for group in preparation.optimizer_of(network(), Recipe()).param_groups} == {1}


def test_a_model_without_a_body_says_so():
    with pytest.raises(RecipeError, match="no body"):
        transferred(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("given", "classes", "wanted"),
    [
        (None, ("개", "고양이"), 0.5),
        (None, ("0", "7"), 0),
        (None, ("가", "나"), 0),
        (0.3, ("0",), 0.3),
        (0.0, ("dog",), 0),
    ],
)
def test_letters_and_digits_are_not_mirrored(given, classes, wanted):
    assert preparation.flip_of(Recipe(flip=given), "classification", classes) == wanted
