"""The contract of every model that makes pictures: what training, saving and `siseon sample` count on."""

import json

import pytest
import torch

from siseon import load, save, zoo
from siseon.models.generation.adversary import Adversary

SMALL = {"gan_mini": {"hidden": [16], "judging": [8]}, "dcgan_mini": {"width": 4, "latent": 8}}


def small(name, **given):
    torch.manual_seed(0)
    return zoo.create(name, **SMALL[name], **given)


def test_each_generator_has_a_small_variant_that_is_tested_here():
    families = {name.removesuffix("_mini").partition("_")[0] for name in zoo.names("generation")}
    assert {f"{family}_mini" for family in families} == set(SMALL)


@pytest.mark.parametrize("name", zoo.names("generation"))
def test_a_generator_states_what_it_is(name):
    with torch.device("meta"):
        model = zoo.create(name)
    assert isinstance(model, Adversary)
    assert (model.task, model.classes, model.resize) == ("generation", (), model.crop)
    assert json.loads(json.dumps(model.spec)) == {"name": name, "arguments": {}}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_it_makes_what_it_judges(name, channels):
    model = small(name, channels=channels)
    made = model(model.noise(3))
    assert made.shape == (3, channels, model.crop, model.crop)
    assert made.min() >= 0 and made.max() <= 1
    real = model.like(torch.rand(3, 3, model.crop, model.crop))
    assert real.shape == made.shape and model.judge(real).shape == (3,)
    losses = model.discriminator_loss(real, made.detach()), model.generator_loss(made)
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses)


@pytest.mark.parametrize("name", SMALL)
def test_losses_reach_every_parameter(name):
    model = small(name).train()
    made = model(model.noise(4))
    real = model.like(torch.rand(4, 3, model.crop, model.crop))
    (model.discriminator_loss(real, made.detach()) + model.generator_loss(made)).backward()
    assert [key for key, part in model.named_parameters() if part.grad is None] == []


@pytest.mark.parametrize("name", SMALL)
def test_it_is_saved_and_loaded_whole(name, tmp_path):
    model = small(name, channels=3)
    model(model.noise(4))  # moves the statistics of batch norms
    again = load(save(model, tmp_path / "모델.safetensors"))
    assert torch.equal(model.sample(4, seed=3), again.sample(4, seed=3))
    assert (again.crop, again.channels, again.spec) == (model.crop, 3, model.spec)


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_does_not_depend_on_its_batch(name):
    model = small(name)
    torch.testing.assert_close(model.sample(7, seed=1, batch=7), model.sample(7, seed=1, batch=3), atol=1e-5, rtol=1e-4)
