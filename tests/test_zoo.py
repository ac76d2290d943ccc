import json
from typing import get_args

import pytest
import torch

from siseon import zoo
from siseon.interface import Caption, Classification, Detections, RecipeError, Segmentation, Target
from siseon.language.vocabulary import words_of

ELSEWHERE = zoo.names("generation") + zoo.names("control")  # their contracts: tests/models
SMALL = {name: {} for name in zoo.ZOO if name.endswith("_mini") and name not in ELSEWHERE}
SMALL |= {
    "mobilenet_v1": {"width": 0.25},
    "mobilenet_v2": {"width": 0.35},
    "resnet50": {"widths": [8, 8, 8, 8]},
    "faster_rcnn": {
        "backbone": "resnet_mini",
        "channels": 8,
        "hidden": 8,
        "pyramid": False,
        "sizing": [96, 160, 32],
        "counts": [50, 20],
        "training_counts": [50, 20],
    },
    "yolo": {"width": 0.03125, "hidden": 8, "grid": 2, "size": 128},
    "retinanet": {"backbone": "resnet_mini", "channels": 8, "depth": 1, "sizing": [96, 160, 32], "count": 50},
    "fcn": {"backbone": "vgg_mini", "hidden": 8, "kernel": 1, "sizing": [96, 160, 32]},
    "fcn_resnet50": {"backbone": "resnet_mini", "auxiliary": True, "sizing": [96, 160, 1]},
    "segnet_mobilenet_v2": {"backbone_options": {"width": 0.35}, "least": 8, "sizing": [96, 160, 32]},
}
"""Models of pictures that are small enough to run here; what plays games is in models/control/test_dqn.py."""
CLASSES = ["고양이", "dog", "새"]


def small(name):
    torch.manual_seed(0)
    return zoo.create(name, classes=CLASSES, **SMALL[name])


def scores(prediction):
    return torch.tensor(prediction.score) if isinstance(prediction, Caption) else prediction.scores


def batch_and_targets(model):
    if model.task == "classification":
        return torch.rand(2, 3, model.crop, model.crop), torch.tensor([0, 2])
    if model.task == "captioning":
        return torch.rand(2, 3, model.crop, model.crop), torch.tensor([[[0, 2], [1, -1]], [[2, 3], [-1, -1]]])
    images = torch.rand(2, 3, 96, 96)
    if model.task == "segmentation":
        return images, torch.randint(0, 3, (2, 96, 96), dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 10, 50, 60], [40, 40, 90, 80]])
    masks = torch.zeros(2, 96, 96, dtype=torch.bool)
    masks[0, 10:60, 10:50], masks[1, 40:80, 40:90] = True, True
    return images, [Target(boxes, torch.tensor([0, 2]), torch.zeros(2, dtype=torch.bool), masks)] * 2


@pytest.mark.parametrize("name", SMALL)
def test_a_model_states_what_it_is(name):
    model = small(name)
    assert (model.task, model.classes) == (zoo.ZOO[name].task, tuple(CLASSES))
    assert model.mean.shape == model.deviation.shape == (3,)


@pytest.mark.parametrize("name", SMALL)
def test_losses_are_finite_and_reach_every_parameter(name):
    model = small(name).train()
    losses = model.loss(*batch_and_targets(model))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert [key for key, part in model.named_parameters() if part.grad is None] == []


@pytest.mark.parametrize("name", SMALL)
def test_predictions_carry_the_names_of_the_classes(name):
    model = small(name).train()
    kind = {
        "classification": Classification,
        "detection": Detections,
        "segmentation": Segmentation,
        "captioning": Caption,
    }[model.task]
    found = model.predict([torch.rand(3, 40, 70), torch.rand(3, 90, 60)], batch=2)
    assert [type(each) for each in found] == [kind] * 2
    if kind is Caption:
        assert all(set(words_of(each.text)) <= set(CLASSES) and 0 <= each.score <= 1 for each in found)
    else:
        assert [each.classes for each in found] == [tuple(CLASSES)] * 2
    assert all(part.training for part in model.modules())


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_gives_the_same_alone_and_in_a_batch(name):
    model = small(name).eval()
    pictures = torch.rand(2, 3, 96, 96)
    alone, together = model.predict(pictures, batch=1), model.predict(pictures, batch=2)
    for one, two in zip(alone, together, strict=True):
        torch.testing.assert_close(scores(one), scores(two), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_a_model_can_be_built_again_from_its_spec(name):
    model = small(name)
    spec = json.loads(json.dumps(model.spec, ensure_ascii=False))
    again = zoo.create(spec["name"], **spec["arguments"])
    again.load_state_dict(model.state_dict())
    picture = torch.rand(3, 96, 96)
    (first,), (second,) = model.predict(picture), again.predict(picture)
    assert torch.equal(scores(first), scores(second))
    assert again.classes == tuple(CLASSES)


@pytest.mark.parametrize("name", [name for name in zoo.ZOO if name not in ELSEWHERE])
def test_every_model_takes_the_names_of_its_classes_and_keeps_them_in_its_spec(name):
    with torch.device("meta"):
        model = zoo.create(name, classes=("하나", "둘"))
    assert model.classes == ("하나", "둘")
    assert json.loads(json.dumps(model.spec)) == {"name": name, "arguments": {"classes": ["하나", "둘"]}}


def test_names_are_listed_by_task():
    by_task = [name for task in get_args(zoo.Task) for name in zoo.names(task)]
    assert sorted(by_task) == sorted(zoo.names()) == sorted(zoo.ZOO)
    assert "faster_rcnn_mini" in zoo.names("detection")


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("resnet_50", "resnet50"), ("fasterrcnn_mini", "faster_rcnn_mini"), ("mobilenetv2", "mobilenet_v2")],
)
def test_a_wrong_name_is_met_with_the_nearest(wrong, meant):
    with pytest.raises(RecipeError, match=f'no model "{wrong}".*Did you mean "{meant}"'):
        zoo.create(wrong)


def test_a_name_like_no_other_is_met_with_the_list():
    with pytest.raises(RecipeError, match="siseon models lists all"):
        zoo.create("아무거나")


def test_a_wrong_argument_is_met_with_those_that_exist():
    with pytest.raises(RecipeError, match=r'resnet18 has no argument "clases"\. It takes classes, '):
        zoo.create("resnet18", clases=3)


def test_an_argument_that_no_file_can_hold_is_refused():
    with pytest.raises(RecipeError, match="cannot be written"):
        zoo.create("resnet18", classes={"a", "b"})


def test_arguments_have_their_defaults():
    arguments = zoo.arguments("faster_rcnn_mini")
    assert (arguments["backbone"], arguments["pyramid"], arguments["freeze_norm"]) == ("resnet_mini", True, False)
