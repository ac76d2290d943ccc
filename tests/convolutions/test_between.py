"""What stands between convolutions against torch's."""

import pytest
import torch
import torch.nn.functional as F

from siseon.convolutions import between

pytestmark = pytest.mark.usefixtures("threads")


def maps(*shape):
    torch.manual_seed(0)
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def test_pictures_are_normalised_bit_by_bit():
    pictures, mean, deviation = torch.rand(2, 3, 13, 17), torch.rand(3), torch.rand(3) + 0.1
    expected = (pictures - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    assert torch.equal(between.normalised(pictures, mean, deviation), expected)
    turned = pictures.contiguous(memory_format=torch.channels_last)
    assert torch.equal(between.normalised(turned, mean, deviation), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 3, 2), (1, 40, 112, 112), (3, 64, 7, 7)])
def test_means(shape):
    given = maps(*shape)
    found = between.mean(given, [2, 3])
    torch.testing.assert_close(found.double(), given.double().mean((2, 3)), rtol=0, atol=1e-6)
    assert torch.equal(between.mean(given, (-1, -2), True), found[..., None, None])
    assert between.mean(given, [2]) is None
    assert between.mean(given, None) is None
    assert between.mean(given.double(), [2, 3]) is None


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 3, 2), (1, 40, 56, 56)])
def test_factors(shape):
    given, factors = maps(*shape), maps(*shape[:2], 1, 1)
    assert torch.equal(between.mul(given, factors), given * factors)
    assert between.mul(given, 2.0) is None
    if given.numel() > 1:
        assert between.mul(given, given) is None
        assert between.mul(maps(2, 3, 4, 5).contiguous(), maps(2, 3, 1, 1)) is None


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (9, 30), (56, 56)])
@pytest.mark.parametrize(
    "window", [([2, 2],), ([3, 3], [2, 2], [1, 1]), ([3, 3], [1, 1], [1, 1]), ([1, 4], [1, 2], [0, 2]), ([2], [2], [1])]
)
def test_greatest_numbers(size, window):
    given = maps(2, 21, *size)
    given[0, 3, 0, 0], given[1, 4, -1, -1] = torch.nan, -torch.inf
    if min(size) < 2 and window == ([2, 2],):
        pytest.skip("no cell")
    expected = F.max_pool2d(given, *(tuple(each * (2 // len(each))) for each in window))
    found = between.max_pool2d(given, *window)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_other_poolings_are_left_to_torch():
    given = maps(1, 3, 8, 8)
    assert between.max_pool2d(given, [3, 3], [2, 2], [0, 0], [1, 1], True) is None
    assert between.max_pool2d(given, [3, 3], [2, 2], [0, 0], [2, 2]) is None
