import pytest
import torch
import torch.nn.functional as F

from siseon.models.classification.resnet import BODIES, ResNetBody
from siseon.models.detection.fpn import FPN, SingleLevel


def mini_body():
    return ResNetBody(**BODIES["resnet_mini"])


@pytest.mark.parametrize("first", [0, 1, 2])
def test_the_levels_have_the_channels_and_strides_that_the_pyramid_states(first):
    pyramid = FPN(mini_body(), channels=8, first=first)
    maps = pyramid.features(torch.rand(2, 3, 64, 128))
    assert pyramid.strides == (4, 8, 16, 32, 64)[first:]
    assert pyramid.channels == (8,) * len(maps)
    assert pyramid.region_levels == len(maps) - 1
    assert [tuple(each.shape) for each in maps] == [(2, 8, 64 // stride, 128 // stride) for stride in pyramid.strides]


def test_maps_that_the_strides_do_not_divide_are_joined():
    maps = FPN(mini_body(), channels=8).features(torch.rand(1, 3, 70, 101))
    assert [tuple(each.shape[2:]) for each in maps] == [(18, 26), (9, 13), (5, 7), (3, 4), (2, 2)]


def test_each_level_is_the_sum_of_what_is_finer_and_what_is_coarser():
    pyramid = FPN(mini_body(), channels=8).eval()
    images = torch.rand(1, 3, 64, 64)
    stages = pyramid.body.features(images)
    coarse = pyramid.lateral[3](stages[3])
    finer = pyramid.lateral[2](stages[2]) + F.interpolate(coarse, scale_factor=2)
    maps = pyramid.features(images)
    torch.testing.assert_close(maps[2], pyramid.output[2](finer))
    torch.testing.assert_close(maps[3], pyramid.output[3](coarse))
    assert torch.equal(maps[4], maps[3][:, :, ::2, ::2])


def test_groups_of_channels_can_be_normalised():
    pyramid = FPN(mini_body(), channels=16, group_norm=True)
    (finest, *_) = pyramid.features(torch.rand(2, 3, 64, 64))
    groups = finest.view(2, 8, -1)
    torch.testing.assert_close(groups.mean(2), torch.zeros(2, 8), atol=1e-4, rtol=0)
    torch.testing.assert_close(groups.var(2, correction=0), torch.ones(2, 8), atol=1e-2, rtol=0)


def test_a_single_level_has_no_layer_behind_it():
    level = SingleLevel(mini_body(), stages=3)
    (only,) = level.features(torch.rand(1, 3, 64, 96))
    assert (level.channels, level.strides, level.region_levels) == ((64,), (16,), 1)
    assert tuple(only.shape) == (1, 64, 4, 6)
    assert len(level.body.layers) == 3
