"""The judges of made pictures: against naive formulas, and on pictures whose verdict is known."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from siseon import zoo
from siseon.interface import SiseonError
from siseon.judging import frechet_distance, judge, seen, spread, sureness


def naive_frechet(first, second):
    one, two = first.numpy().astype(np.float64), second.numpy().astype(np.float64)
    c1, c2 = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2).real
    return ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root)


@pytest.mark.parametrize("width", [2, 7])
def test_frechet_is_the_formula(width):
    first = torch.randn(50, width)
    second = torch.randn(60, width) @ torch.randn(width, width) + 2
    assert frechet_distance(first, second) == pytest.approx(naive_frechet(first, second), rel=1e-9)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second), rel=1e-9)


def test_frechet_of_one_feature_is_of_means_and_deviations():
    first, second = torch.randn(40, 1), 3 * torch.randn(30, 1) + 5
    wanted = (first.mean() - second.mean()) ** 2 + (first.std() - second.std()) ** 2
    assert frechet_distance(first, second) == pytest.approx(wanted.item(), rel=1e-4)


def test_frechet_of_the_same_pictures_is_nothing():
    features = torch.randn(30, 84) * 10
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-6)


def test_frechet_with_more_features_than_pictures_is_finite():
    distance = frechet_distance(torch.randn(5, 30), torch.randn(6, 30))
    assert math.isfinite(distance) and distance > 0


def test_frechet_grows_with_a_shift_by_its_square():
    features = torch.randn(30, 4)
    for shift in (1, 2, 3):
        assert frechet_distance(features, features + shift) == pytest.approx(4 * shift**2, rel=1e-5)


def test_one_picture_has_no_distribution():
    with pytest.raises(SiseonError, match="fewer than two"):
        frechet_distance(torch.randn(1, 4), torch.randn(5, 4))


def test_spread_and_sureness():
    sure = torch.eye(10).repeat(3, 1)
    assert (sureness(sure), spread(sure)) == (1, pytest.approx(math.log(10)))
    one = torch.eye(10)[[4]].repeat(5, 1)
    assert (sureness(one), spread(one)) == (1, 0)
    unsure = torch.full((4, 10), 0.1)
    assert (sureness(unsure), spread(unsure)) == (0, pytest.approx(math.log(10)))
    half = torch.tensor([[0.89, 0.11], [0.05, 0.95]])
    assert sureness(half) == 0.5


def classifier():
    torch.manual_seed(0)
    return zoo.create("lenet_modern", classes=("영", "일", "이"))


def test_features_are_what_enters_the_last_layer():
    model = classifier().train()
    pictures = torch.rand(5, 3, 32, 32)
    features, scores = seen(model, pictures, batch=2)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    assert features.shape == (5, linear.in_features) and scores.shape == (5, 3)
    torch.testing.assert_close(linear(features).softmax(1), scores, atol=1e-5, rtol=1e-4)
    assert model.training and not linear._forward_pre_hooks


def test_pictures_of_another_size_are_scaled():
    pictures = torch.rand(2, 3, 1, 1).expand(-1, -1, 28, 28)
    wanted = seen(classifier(), pictures[:, :, :1, :1].expand(-1, -1, 32, 32))[1]
    torch.testing.assert_close(seen(classifier(), pictures)[1], wanted)


def test_a_verdict():
    real, made = torch.rand(20, 3, 32, 32), torch.rand(12, 3, 32, 32) * 0.2
    verdict = judge(classifier(), real, made)
    features, scores = seen(classifier(), made)
    assert verdict.frechet == frechet_distance(seen(classifier(), real)[0], features)
    assert sum(verdict.shares) == pytest.approx(1) and len(verdict.shares) == 3
    assert (verdict.sure, verdict.spread) == (sureness(scores), spread(scores))
    assert judge(classifier(), real, real).frechet < verdict.frechet


def test_no_pictures_are_refused():
    with pytest.raises(SiseonError, match="no pictures"):
        judge(classifier(), torch.rand(3, 3, 32, 32), torch.rand(0, 3, 32, 32))
