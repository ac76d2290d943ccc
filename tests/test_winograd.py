"""Winograd's convolution against the direct sum."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon import winograd
from siseon.optimization import Convolution
from siseon.winograd import LANES, Winograd, pays, tiles, transformed


def layer(channels, outputs, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator) * (2 / 9 / channels) ** 0.5
    return weight, torch.randn(outputs, generator=generator)


def maps(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)


def assert_like_direct(result, images, weight, bias):
    expected = F.conv2d(images.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=2e-5 * float(expected.std()))


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (13, 9), (33, 18)])
def test_any_size_of_map(size):
    weight, bias = layer(16, 24)
    images = maps(2, 16, *size)
    assert_like_direct(Winograd(weight, bias, relu=False, tiles=tiles(images))(images), images, weight, bias)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads):
    weight, bias = layer(32, 16)
    images = maps(3, 32, 40, 40)  # 300 tiles, five blocks of which the last is not full
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = Winograd(weight, bias, relu=False, tiles=tiles(images))(images)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_like_direct(result, images, weight, bias)


def test_rectifier_and_no_bias():
    weight, _ = layer(16, 16)
    images = maps(1, 16, 10, 10)
    plain, rectified = (Winograd(weight, None, relu=relu, tiles=tiles(images))(images) for relu in (False, True))
    assert_like_direct(plain, images, weight, None)
    assert (plain < 0).any()
    torch.testing.assert_close(rectified, plain.clamp(min=0))
    assert rectified.is_contiguous(memory_format=torch.channels_last)


def test_transformed_weights_of_a_lone_centre():
    # 1 in the middle: the row of G for the middle weight, times itself
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    # each point over the product of its differences from the others: 2**.5 / (2**.5 * 2 * 2**.5 * 1.5), ...
    far, near = 2**-0.5 / 3, -(2**0.5) / 3
    middle = torch.tensor([0, far, -far, near, -near, 0], dtype=torch.float64)
    found = transformed(weight).view(6, 6, LANES)
    torch.testing.assert_close(found[..., 0], middle[:, None] * middle)
    assert not found[..., 1:].any()  # filled up with zeros


def test_bfloat16_maps():
    weight, bias = layer(40, 24)
    weight, images = weight.bfloat16(), maps(2, 40, 13, 18).bfloat16()
    result = Winograd(weight, bias, relu=False, tiles=tiles(images))(images)
    assert result.dtype == torch.bfloat16
    expected = F.conv2d(images.double(), weight.double(), bias.double(), padding=1)
    assert float((result.double() - expected).std() / expected.std()) < 0.015


def test_rounding_to_bfloat16_is_that_of_torch():
    # a lone centre of weight 1 gives the maps back, rounded several times but never off by more than a few last bits
    weight = torch.zeros(16, 16, 3, 3)
    weight[range(16), range(16), 1, 1] = 1
    images = maps(1, 16, 8, 8).bfloat16()
    result = Winograd(weight.bfloat16(), None, relu=False, tiles=4)(images)
    torch.testing.assert_close(result.float(), images.float(), rtol=0, atol=0.05)
    assert abs(float((result.float() - images.float()).mean())) < 1e-3  # to the nearest, not down


@pytest.mark.parametrize("promised", [1, 300, 10_000])
def test_any_number_of_tiles_may_come(promised):
    weight, bias = layer(16, 20)
    images = maps(1, 16, 33, 18)
    assert_like_direct(Winograd(weight, bias, relu=False, tiles=promised)(images), images, weight, bias)


def test_it_pays_for_large_maps_of_many_channels():
    def on(channels, height, width, outputs, dtype=torch.float32):
        return pays(torch.empty(1, channels, height, width, device="meta"), outputs, dtype)

    assert on(256, 200, 272, 256) and on(256, 200, 272, 256, torch.bfloat16)
    assert on(64, 200, 272, 64) and not on(64, 200, 272, 64, torch.bfloat16)
    assert not on(256, 7, 7, 256)
    assert not on(256, 200, 272, 12)
    assert not on(256, 200, 272, 256, torch.float64)


def test_a_packed_convolution_takes_it_where_it_pays(monkeypatch):
    taken = []
    call = Winograd.__call__
    monkeypatch.setattr(Winograd, "__call__", lambda self, x: taken.append(x.shape[-1]) or call(self, x))
    monkeypatch.setattr(winograd, "LEAST_TILES", 4)
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", {torch.float32: 8})
    monkeypatch.setattr(winograd, "LEAST_WORK", {torch.float32: 8 * 9})
    convolution = nn.Conv2d(8, 8, 3, padding=1)
    packed = Convolution(convolution, torch.float32)
    with torch.inference_mode():
        for side in (12, 8, 12, 5):
            images = maps(1, 8, side, side)
            assert_like_direct(packed(images), images, convolution.weight, convolution.bias)
        strided = Convolution(nn.Conv2d(8, 8, 3, stride=2, padding=1), torch.float32)
        strided(maps(1, 8, 12, 12))
    assert taken == [12, 12]
