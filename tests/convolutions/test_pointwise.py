"""1x1 convolutions against torch's."""

import pytest
import torch
import torch.nn.functional as F

from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.registers import SWISH, Activation

pytestmark = pytest.mark.usefixtures("threads")


def case(batch, channels, outputs, height, width):
    torch.manual_seed(0)
    maps = torch.randn(batch, channels, height, width).contiguous(memory_format=torch.channels_last)
    return maps, torch.randn(outputs, channels) / channels**0.5, torch.randn(outputs)


@pytest.mark.parametrize(
    "sizes",
    [(1, 3, 5, 1, 1), (2, 16, 40, 7, 7), (3, 20, 33, 5, 9), (1, 300, 500, 4, 4), (1, 64, 24, 40, 41), (0, 8, 8, 3, 3)],
)
def test_like_torch(sizes):
    maps, weight, bias = case(*sizes)
    other = torch.randn(sizes[0], sizes[2], *sizes[3:]).contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(maps.double(), weight.double()[..., None, None], bias.double())
    product = Pointwise(weight, bias)
    found, added = product(maps, Activation(SWISH)), product(maps, Activation(low=0), other)
    torch.testing.assert_close(found.double(), F.silu(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(added.double(), F.relu(expected + other), rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_no_bias():
    maps, weight, _ = case(1, 10, 12, 9, 8)
    expected = F.conv2d(maps, weight[..., None, None])
    torch.testing.assert_close(Pointwise(weight, None)(maps, Activation()), expected, rtol=0, atol=1e-5)
