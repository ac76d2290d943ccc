"""Convolutions of each channel by itself against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.convolutions.depthwise import KINDS, Depthwise
from siseon.convolutions.registers import SWISH, Activation
from siseon.convolutions.vectors import LANES
from siseon.layers import SameConv2d


def case(batch, channels, height, width, kernel):
    torch.manual_seed(0)
    maps = torch.randn(batch, channels, height, width).contiguous(memory_format=torch.channels_last)
    return maps, torch.randn(channels, 1, kernel, kernel) / kernel, torch.randn(channels)


@pytest.mark.parametrize("channels", [1, LANES, 2 * LANES + 5])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (7, 7), (9, 30)])
@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_like_torch(channels, size, kernel, stride):
    maps, weight, bias = case(2, channels, *size, kernel[0])
    expected = F.conv2d(maps.double(), weight.double(), bias.double(), stride, kernel[0] // 2, groups=channels)
    product = Depthwise(weight, bias, stride=stride[0], padding=(kernel[0] // 2, kernel[0] // 2))
    limited, curved = product(maps, Activation(low=0, high=6)), product(maps, Activation(SWISH))
    torch.testing.assert_close(limited.double(), F.relu6(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(curved.double(), F.silu(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", [(0, 0), (1, 2), (4, 0)])
def test_other_paddings_and_no_bias(padding):
    maps, weight, _ = case(1, 20, 12, 13, 3)
    expected = F.conv2d(maps, weight, None, 2, padding, groups=20)
    found = Depthwise(weight, None, stride=2, padding=padding)(maps, Activation())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 9), (14, 7)])
@pytest.mark.parametrize(("kernel", "stride"), KINDS)
def test_tensorflows_padding(size, kernel, stride):
    maps, weight, bias = case(2, 18, *size, kernel[0])
    plain = SameConv2d(18, 18, kernel, stride, groups=18)
    plain.weight, plain.bias = nn.Parameter(weight), nn.Parameter(bias)
    found = Depthwise(weight, bias, stride=stride[0], padding=None)(maps, Activation())
    torch.testing.assert_close(found, plain(maps).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads):
    maps, weight, bias = case(3, 33, 17, 19, 5)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = Depthwise(weight, bias, stride=1, padding=(2, 2))(maps, Activation())
    finally:
        torch.set_num_threads(before)
    expected = F.conv2d(maps, weight, bias, 1, 2, groups=33)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
