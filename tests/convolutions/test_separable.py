"""Blocks of a depthwise convolution against torch's layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.convolutions import separable
from siseon.convolutions.depthwise import KINDS, TALL, Depthwise
from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.registers import SWISH, Activation
from siseon.convolutions.separable import Separable
from siseon.layers import Addition, SameConv2d, conv_norm, conv_norm_relu
from siseon.optimization import optimize
from siseon.packed_layers import SeparableConvolution


def numbers(*shape):
    return torch.randn(shape) / max(torch.Size(shape[1:]).numel(), 1) ** 0.5


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", [(2 * TALL, 2 * TALL + 3), (5, 2 * TALL), (1, 3 * TALL)])
@pytest.mark.parametrize(("kernel", "stride"), KINDS)
@pytest.mark.parametrize("parts", ["wide own narrow", "wide own", "own narrow", "own"])
def test_like_torch(size, kernel, stride, parts):
    torch.manual_seed(0)
    channels, hidden, outputs = 10 if "wide" in parts else 37, 37, 21 if "narrow" in parts else 37
    maps = torch.randn(2, channels, *size).contiguous(memory_format=torch.channels_last)
    (wide, wide_bias), (narrow, narrow_bias) = (
        (numbers(hidden, channels), numbers(hidden)),
        (
            numbers(outputs, hidden),
            numbers(outputs),
        ),
    )
    own, bias = numbers(hidden, 1, *kernel), numbers(hidden)
    expected = maps.double()
    if "wide" in parts:
        expected = F.relu6(F.conv2d(expected, wide.double()[..., None, None], wide_bias.double()))
    expected = F.conv2d(expected, own.double(), bias.double(), stride, kernel[0] // 2, groups=hidden)
    if "narrow" in parts:
        expected = F.conv2d(F.silu(expected), narrow.double()[..., None, None], narrow_bias.double())
    block = Separable(
        Pointwise(wide, wide_bias) if "wide" in parts else None,
        Depthwise(own, bias, stride=stride[0], padding=(kernel[0] // 2, kernel[0] // 2)),
        Pointwise(narrow, narrow_bias) if "narrow" in parts else None,
    )
    between = Activation(SWISH) if "narrow" in parts else Activation()
    found = block(maps, Activation(low=0, high=6), between, Activation())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    if "narrow" in parts:
        other = torch.randn(found.shape).contiguous(memory_format=torch.channels_last)
        added = block(maps, Activation(low=0, high=6), between, Activation(low=0), other)
        torch.testing.assert_close(added.double(), F.relu(expected + other), rtol=0, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_tensorflows_padding(stride):
    torch.manual_seed(0)
    maps = torch.randn(1, 18, 2 * TALL, 2 * TALL + 1).contiguous(memory_format=torch.channels_last)
    plain = SameConv2d(18, 18, 3, stride, groups=18)
    own = Depthwise(plain.weight.detach(), plain.bias.detach(), stride=stride, padding=None)
    found = Separable(None, own, None)(maps, Activation(), Activation(), Activation())
    torch.testing.assert_close(found, plain(maps).detach(), rtol=0, atol=1e-5)


def block(channels, hidden, width, *, stride=1):
    adds = stride == 1 and channels == width
    return Addition(
        nn.Sequential(
            conv_norm_relu(channels, hidden, kernel=1, relu=nn.ReLU6),
            conv_norm_relu(hidden, hidden, groups=hidden, stride=stride),
            conv_norm(hidden, width, kernel=1),
        ),
        adds=adds,
    )


@pytest.mark.parametrize("twice", [0, 10])
@pytest.mark.parametrize("stride", [1, 2])
def test_optimize_joins_them_where_that_pays(twice, stride, monkeypatch):
    monkeypatch.setattr(separable, "TWICE", twice)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        block(8, 40, 8, stride=stride),
        nn.Sequential(conv_norm_relu(8, 8, groups=8), nn.Conv2d(8, 12, 1), nn.SiLU()),
    ).eval()
    fast, calls = optimize(network), []
    call = Separable.__call__
    monkeypatch.setattr(Separable, "__call__", lambda self, *rest: calls.append(self) or call(self, *rest))
    images = torch.rand(1, 3, 30, 31)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(fast(images), expected, rtol=0, atol=1e-4 * float(expected.std()))
    assert sum(isinstance(each, SeparableConvolution) for each in fast.modules()) == 2
    assert len(calls) == (2 if twice else 1)  # nothing is widened in the second


def test_narrow_maps_go_one_layer_after_the_other(monkeypatch):
    monkeypatch.setattr(separable, "TWICE", 10)
    network = nn.Sequential(block(8, 16, 8)).eval()
    maps = torch.rand(1, 8, 9, TALL - 1)
    with torch.inference_mode():
        torch.testing.assert_close(optimize(network)(maps), network(maps), rtol=0, atol=1e-5)
