import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siseon.losses import binary_cross_entropy, cross_entropy, smooth_l1

difference = st.floats(-5, 5, width=32)


@given(st.lists(st.tuples(*[difference] * 4), max_size=4), st.sampled_from([1 / 9, 0.5, 1.0]))
def test_smooth_l1_agrees_with_its_equation(differences, beta):
    def one(d):
        return 0.5 * d * d / beta if abs(d) < beta else abs(d) - beta / 2

    offsets = torch.tensor(differences, dtype=torch.float64).reshape(-1, 4)
    expected = sum(one(d) for row in differences for d in row)
    assert smooth_l1(offsets, torch.zeros_like(offsets), beta).item() == pytest.approx(expected)


def test_cross_entropy_is_the_mean_over_the_samples():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert cross_entropy(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)


def test_binary_cross_entropy_is_the_mean_over_the_samples():
    logits = torch.tensor([math.log(3), 0.0])
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert binary_cross_entropy(logits, torch.tensor([1.0, 0.0])).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: cross_entropy(x.view(0, 3), torch.zeros(0, dtype=torch.int64)),
        lambda x: binary_cross_entropy(x.flatten(), torch.zeros(0)),
        lambda x: smooth_l1(x.view(0, 4), torch.zeros(0, 4)),
    ],
)
def test_nothing_to_learn_is_zero_with_a_gradient(loss):
    x = torch.zeros(0, requires_grad=True)
    value = loss(x)
    value.backward()
    assert value.item() == 0
