"""Convolutions of pictures against torch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.convolutions.planar import MOST_CHANNELS, Planar
from siseon.convolutions.registers import SWISH, Activation
from siseon.layers import SameConv2d

pytestmark = pytest.mark.usefixtures("threads")


def case(batch, channels, outputs, size, kernel):
    torch.manual_seed(0)
    weight = torch.randn(outputs, channels, *kernel) / (channels * kernel[0] * kernel[1]) ** 0.5
    return torch.randn(batch, channels, *size), weight, torch.randn(outputs)


@pytest.mark.parametrize("channels", [1, 3, MOST_CHANNELS])
@pytest.mark.parametrize("outputs", [5, 16, 40])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((32, 30), (7, 7), (2, 2), (3, 3)),
        ((17, 33), (3, 3), (2, 2), (1, 1)),
        ((8, 9), (5, 5), (1, 1), (0, 0)),
        ((9, 8), (11, 3), (4, 3), (2, 1)),
        ((2, 3), (3, 3), (1, 1), (2, 2)),
        ((10, 10), (1, 1), (3, 3), (0, 0)),
    ],
)
def test_like_torch(channels, outputs, size, kernel, stride, padding):
    pictures, weight, bias = case(2, channels, outputs, size, kernel)
    if size[0] + 2 * padding[0] < kernel[0]:
        pytest.skip("no cell")
    expected = F.conv2d(pictures.double(), weight.double(), bias.double(), stride, padding)
    product = Planar(weight, bias, stride=stride, padding=padding)
    limited, curved = product(pictures, Activation(low=0, high=6)), product(pictures, Activation(SWISH))
    torch.testing.assert_close(limited.double(), F.relu6(expected), rtol=0, atol=1e-5)
    torch.testing.assert_close(curved.double(), F.silu(expected), rtol=0, atol=1e-5)
    assert limited.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(8, 9), (14, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_tensorflows_padding_and_channels_last(size, stride):
    pictures, weight, bias = case(2, 3, 10, size, (3, 3))
    plain = SameConv2d(3, 10, 3, stride)
    plain.weight, plain.bias = nn.Parameter(weight), nn.Parameter(bias)
    found = Planar(weight, bias, stride=(stride, stride), padding=None)(
        pictures.contiguous(memory_format=torch.channels_last), Activation()
    )
    torch.testing.assert_close(found, plain(pictures).detach(), rtol=0, atol=1e-5)


def test_what_no_kernel_reaches():
    pictures, weight, _ = case(1, 3, 8, (9, 10), (2, 2))
    found = Planar(weight, None, stride=(4, 4), padding=(0, 0))(pictures, Activation())
    torch.testing.assert_close(found, F.conv2d(pictures, weight, None, 4), rtol=0, atol=1e-5)
