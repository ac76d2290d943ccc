"""Winograd's convolution against the direct sum."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.convolutions import winograd
from siseon.convolutions.registers import Activation
from siseon.convolutions.vectors import HAS_BFLOAT16, LANES
from siseon.convolutions.winograd import Winograd, pays, transformed
from siseon.packed_layers import Convolution

NOTHING, RECTIFIER = Activation(), Activation(low=0)


def layer(channels, outputs, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator) * (2 / 9 / channels) ** 0.5
    return weight, torch.randn(outputs, generator=generator)


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(memory_format=torch.channels_last)


def assert_like_direct(result, images, weight, bias, *, other=None):
    expected = F.conv2d(images.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    expected = expected if other is None else expected + other
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=2e-5 * float(expected.std()))


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (13, 9), (33, 18)])
@pytest.mark.parametrize(("channels", "outputs"), [(16, 24), (21, 16), (40, 37)])
def test_any_size_of_map(size, channels, outputs):
    weight, bias = layer(channels, outputs)
    images = maps(2, channels, *size)
    assert_like_direct(Winograd(weight, bias)(images, NOTHING), images, weight, bias)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("heavy", [0, 1 << 60])  # all threads share each step; or each takes its own blocks
def test_any_number_of_threads(threads, heavy, monkeypatch):
    monkeypatch.setattr(winograd, "HEAVY", heavy)
    weight, bias = layer(32, 16)
    images = maps(3, 32, 40, 40)  # 300 tiles: neither the last block nor the last share is full
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = Winograd(weight, bias)(images, NOTHING)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_like_direct(result, images, weight, bias)


def test_limits_and_no_bias():
    weight, _ = layer(16, 16)
    images = maps(1, 16, 10, 10)
    product = Winograd(weight, None)
    plain, rectified, limited = (product(images, each) for each in (NOTHING, RECTIFIER, Activation(low=-0.5, high=0.5)))
    assert_like_direct(plain, images, weight, None)
    torch.testing.assert_close(rectified, plain.clamp(min=0), rtol=0, atol=0)
    torch.testing.assert_close(limited, plain.clamp(-0.5, 0.5), rtol=0, atol=0)
    assert (plain < 0).any()
    assert rectified.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(10, 10), (31, 50)])
def test_another_map_is_added_before_the_rectifier(size):
    weight, bias = layer(24, 20)
    images, other = maps(2, 24, *size), maps(2, 20, *size, seed=2)
    product = Winograd(weight, bias)
    added = product(images, NOTHING, other)
    assert_like_direct(added, images, weight, bias, other=other)
    torch.testing.assert_close(product(images, RECTIFIER, other), added.clamp(min=0), rtol=0, atol=0)


def test_what_is_not_a_number_stays():
    weight, bias = layer(16, 16)
    images = maps(1, 16, 8, 8)
    images[0, 0, 0, 0] = torch.nan
    assert Winograd(weight, bias)(images, RECTIFIER)[0, :, 0, 0].isnan().all()


def test_transformed_weights_of_a_lone_centre():
    # 1 in the middle: the row of G for the middle weight, times itself
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    # each point over the product of its differences from the others: 2**.5 / (2**.5 * 2 * 2**.5 * 1.5), ...
    far, near = 2**-0.5 / 3, -(2**0.5) / 3
    middle = torch.tensor([0, far, -far, near, -near, 0])
    torch.testing.assert_close(transformed(weight).view(6, 6), middle[:, None] * middle)


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize("size", [(13, 18), (40, 40)])
def test_bfloat16_maps(size):
    weight, bias = layer(40, 24)
    weight, images = weight.bfloat16(), maps(2, 40, *size).bfloat16()
    result = Winograd(weight, bias)(images, NOTHING)
    assert result.dtype == torch.bfloat16
    expected = F.conv2d(images.double(), weight.double(), bias.double(), padding=1)
    assert float((result.double() - expected).std() / expected.std()) < 0.015


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor does not multiply bfloat16")
def test_rounding_to_bfloat16_is_that_of_torch():
    # a lone centre of weight 1 gives the maps back, rounded several times but never off by more than a few last bits
    weight = torch.zeros(16, 16, 3, 3)
    weight[range(16), range(16), 1, 1] = 1
    images = maps(1, 16, 8, 8).bfloat16()
    result = Winograd(weight.bfloat16(), None)(images, NOTHING)
    torch.testing.assert_close(result.float(), images.float(), rtol=0, atol=0.05)
    assert abs(float((result.float() - images.float()).mean())) < 1e-3  # to the nearest, not down


def test_it_pays_for_large_maps_of_many_channels():
    def on(channels, height, width, outputs, dtype=torch.float32):
        return pays(torch.empty(1, channels, height, width, device="meta"), outputs, dtype)

    assert on(256, 200, 272, 256)
    assert on(64, 56, 56, 64)
    assert on(256, 200, 272, 256, torch.bfloat16) == HAS_BFLOAT16
    assert not on(255, 200, 272, 256, torch.bfloat16)  # pairs
    assert not on(256, 7, 7, 256)
    assert not on(256, 200, 272, 12)
    assert not on(256, 200, 272, 256, torch.float64)
    assert min(winograd.LEAST_CHANNELS.values()) >= LANES


def test_a_packed_convolution_takes_it_where_it_pays(monkeypatch):
    taken = []
    call = Winograd.__call__
    monkeypatch.setattr(Winograd, "__call__", lambda self, x, *rest: taken.append(x.shape[-1]) or call(self, x, *rest))
    monkeypatch.setattr(winograd, "LEAST_TILES", 4)
    convolution = nn.Conv2d(32, 32, 3, padding=1)
    packed = Convolution(convolution, torch.float32)
    with torch.inference_mode():
        for side in (12, 8, 12, 4):
            images = maps(1, 32, side, side)
            assert_like_direct(packed(images), images, convolution.weight, convolution.bias)
        strided = Convolution(nn.Conv2d(32, 32, 3, stride=2, padding=1), torch.float32)
        strided(maps(1, 32, 12, 12))
    assert taken == [12, 8, 12]
