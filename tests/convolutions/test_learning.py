"""3x3 convolutions that learn by Winograd's way, against torch's gradients."""

import copy

import pytest
import torch
from torch import nn

from siseon import zoo
from siseon.convolutions import learning
from siseon.convolutions.learning import LearningConv2d, gradient_of_weights, quicken
from siseon.convolutions.vectors import HAS_BFLOAT16, LANES
from siseon.optimization import optimize
from siseon.packed_layers import Convolution


@pytest.fixture(autouse=True)
def small_maps_too(monkeypatch):
    monkeypatch.setattr(learning, "LEAST", {torch.float32: (32, 64), torch.bfloat16: (32, 64)})


def maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(memory_format=torch.channels_last)


def gradients(layer, images, target):
    images = images.clone().requires_grad_()
    layer.zero_grad()
    found = layer(images)
    (found * target).sum().backward()
    return found.detach(), images.grad, *(parameter.grad.clone() for parameter in layer.parameters())


@pytest.mark.parametrize("size", [(32, 32), (33, 37), (5, 300)])
@pytest.mark.parametrize(("channels", "outputs"), [(32, 48), (64, 32), (48, 80)])
@pytest.mark.parametrize("bias", [True, False])
def test_all_gradients_are_torchs(size, channels, outputs, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, outputs, 3, padding=1, bias=bias)
    quick = copy.deepcopy(plain)
    quicken(nn.Sequential(quick))
    assert type(quick) is LearningConv2d
    images, target = maps(2, channels, *size), maps(2, outputs, *size, seed=1)
    exact = gradients(plain.double(), images.double(), target.double())
    for found, expected in zip(gradients(quick, images, target), exact, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-5 * float(expected.std()))


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads):
    before = torch.get_num_threads()
    images, gradient = maps(2, 32, 40, 41), maps(2, 48, 40, 41, seed=1)
    found = []
    for count in (before, threads):
        torch.set_num_threads(count)
        found.append(gradient_of_weights(images, gradient))
    torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor does not multiply bfloat16")
def test_under_autocast():
    torch.manual_seed(0)
    quick = nn.Conv2d(64, 32, 3, padding=1)
    images, target = maps(2, 64, 40, 40), maps(2, 32, 40, 40, seed=1)
    exact = gradients(quick, images, target)
    quicken(nn.Sequential(quick))
    with torch.autocast("cpu", torch.bfloat16):
        close = gradients(quick, images, target)
    assert close[0].dtype == torch.bfloat16
    assert quick.weight.grad.dtype == torch.float32
    for found, expected in zip(close, exact, strict=True):
        assert float((found - expected).std() / expected.std()) < 0.015


def test_where_nothing_learns_it_is_the_plain_layer(monkeypatch):
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 32, 3, padding=1)
    images = maps(1, 32, 40, 40)
    expected = layer(images)
    quicken(nn.Sequential(layer))
    monkeypatch.setattr(learning.WinogradFunction, "apply", None)
    with torch.no_grad():
        torch.testing.assert_close(layer(images), expected, rtol=0, atol=0)
    torch.testing.assert_close(layer.eval()(images), expected, rtol=0, atol=0)
    layer.train()
    layer(maps(1, 32, 8, 8))  # too small to pay
    layer.double()(images.double())
    with pytest.raises(RuntimeError):  # as torch's own
        layer(images)


def test_only_layers_that_it_knows():
    kinds = [
        nn.Conv2d(32, 32, 3, padding=1, stride=2),
        nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 32, 1),
        nn.Conv2d(32, 32, 3, padding=1, groups=2),
        nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 32, 3, padding=1),
        nn.Conv2d(32, 32 + LANES // 2, 3, padding=1),
    ]
    quicken(nn.Sequential(*kinds))
    assert {type(layer) for layer in kinds} == {nn.Conv2d}


def test_names_stay_and_it_can_be_optimized():
    torch.manual_seed(0)
    model = zoo.create("vgg_mini", classes=4)
    keys = list(model.state_dict())
    quicken(model)
    assert any(type(layer) is LearningConv2d for layer in model.modules())
    assert list(model.state_dict()) == keys
    images = torch.rand(1, 3, model.crop, model.crop)
    fast = optimize(model.eval())
    assert not any(isinstance(layer, nn.Conv2d) for layer in fast.modules())
    assert any(isinstance(layer, Convolution) for layer in fast.modules())
    with torch.inference_mode():
        torch.testing.assert_close(fast(images), model(images), rtol=0, atol=1e-4)
