"""Winograd's convolution against the direct sum."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon import winograd
from siseon.optimization import Convolution
from siseon.winograd import Winograd, pays, transformed


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
    assert_like_direct(Winograd(weight, bias, relu=False)(images), images, weight, bias)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads):
    weight, bias = layer(32, 16)
    images = maps(3, 32, 40, 40)  # 300 tiles, five blocks of which the last is not full
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        result = Winograd(weight, bias, relu=False)(images)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert_like_direct(result, images, weight, bias)


def test_rectifier_and_no_bias():
    weight, _ = layer(16, 16)
    images = maps(1, 16, 10, 10)
    plain, rectified = (Winograd(weight, None, relu=relu)(images) for relu in (False, True))
    assert_like_direct(plain, images, weight, None)
    assert (plain < 0).any()
    torch.testing.assert_close(rectified, plain.clamp(min=0))
    assert rectified.is_contiguous(memory_format=torch.channels_last)


def test_transformed_weights_of_a_lone_centre():
    # 1 in the middle: the row of G for the middle weight, times itself
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    middle = torch.tensor([0, -1 / 6, 1 / 6, 1 / 12, -1 / 12, 0])
    torch.testing.assert_close(transformed(weight).view(6, 6), middle[:, None] * middle)


def test_it_pays_for_large_maps_of_many_channels():
    assert pays(torch.empty(1, 256, 200, 272, device="meta"), 256)
    assert not pays(torch.empty(1, 256, 13, 17, device="meta"), 256)
    assert not pays(torch.empty(1, 64, 200, 272, device="meta"), 64)
    assert not pays(torch.empty(1, 256, 200, 272, device="meta"), 64)


def test_a_packed_convolution_takes_it_where_it_pays(monkeypatch):
    taken = []
    call = Winograd.__call__
    monkeypatch.setattr(Winograd, "__call__", lambda self, x: taken.append(x.shape[-1]) or call(self, x))
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 8)
    monkeypatch.setattr(winograd, "LEAST_WORK", 8 * 9)
    convolution = nn.Conv2d(8, 8, 3, padding=1)
    packed = Convolution(convolution, torch.float32)
    with torch.inference_mode():
        for side in (12, 8, 12, 5):
            images = maps(1, 8, side, side)
            assert_like_direct(packed(images), images, convolution.weight, convolution.bias)
        strided = Convolution(nn.Conv2d(8, 8, 3, stride=2, padding=1), torch.float32)
        strided(maps(1, 8, 12, 12))
    assert taken == [12, 12]
