"""Convolutions by im2col against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.convolutions.im2col import DEPTH, HEAVY, Im2col, pays
from siseon.convolutions.registers import SWISH, Activation
from siseon.layers import SameConv2d

pytestmark = pytest.mark.usefixtures("threads")


def case(batch, channels, outputs, size, kernel):
    torch.manual_seed(0)
    maps = torch.randn(batch, channels, *size).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(outputs, channels, *kernel) / (channels * kernel[0] * kernel[1]) ** 0.5
    return maps, weight, torch.randn(outputs)


@pytest.mark.parametrize("channels", [5, 16, 200])  # 200: rows longer than DEPTH, a row of the kernel at a time
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((9, 8), (3, 3), (2, 2), (1, 1)),
        ((7, 7), (3, 3), (1, 1), (1, 1)),
        ((6, 11), (1, 1), (2, 3), (0, 0)),
        ((12, 5), (5, 1), (1, 2), (2, 0)),
        ((3, 2), (3, 3), (1, 1), (2, 2)),
        ((20, 17), (3, 3), (3, 1), (0, 1)),
    ],
)
def test_like_torch(channels, size, kernel, stride, padding):
    maps, weight, bias = case(2, channels, 37, size, kernel)
    expected = F.conv2d(maps.double(), weight.double(), bias.double(), stride, padding)
    product = Im2col(weight, bias, stride=stride, padding=padding)
    other = torch.randn(expected.shape).contiguous(memory_format=torch.channels_last)
    found, added = product(maps, Activation(SWISH)), product(maps, Activation(low=0), other)
    torch.testing.assert_close(found.double(), F.silu(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(added.double(), F.relu(expected + other), rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_each_thread_takes_its_own_share_of_many_weights():
    maps, weight, bias = case(1, 256, 256, (9, 9), (3, 3))
    assert weight.numel() * 4 > HEAVY
    assert weight[0].numel() > DEPTH
    expected = F.conv2d(maps.double(), weight.double(), bias.double(), 1, 1)
    found = Im2col(weight, bias, stride=(1, 1), padding=(1, 1))(maps, Activation())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 9), (14, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_tensorflows_padding(size, stride):
    maps, weight, bias = case(2, 6, 10, size, (3, 3))
    plain = SameConv2d(6, 10, 3, stride)
    plain.weight, plain.bias = nn.Parameter(weight), nn.Parameter(bias)
    found = Im2col(weight, bias, stride=(stride, stride), padding=None)(maps, Activation())
    torch.testing.assert_close(found, plain(maps).detach(), rtol=0, atol=1e-5)


def test_large_maps_and_long_rows_are_left_to_onednn():
    assert pays(torch.empty(1, 64, 56, 56), (3, 3), (2, 2))
    assert not pays(torch.empty(1, 64, 56, 56), (3, 3), (1, 1))
    assert not pays(torch.empty(1, 512, 8, 8), (7, 7), (1, 1))
    assert pays(torch.empty(8, 64, 56, 56), (1, 1), (2, 2))
