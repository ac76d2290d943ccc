import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siseon.losses import binary_cross_entropy, cross_entropy, focal_loss, smooth_l1

difference = st.floats(-5, 5, width=32)


@given(st.lists(st.tuples(*[difference] * 4), max_size=4), st.sampled_from([0.0, 1 / 9, 0.5, 1.0]))
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


@given(
    st.lists(st.tuples(st.floats(-20, 20, width=32), st.booleans()), max_size=5),
    st.sampled_from([None, 0.0, 0.25, 0.9]),
    st.sampled_from([0.0, 0.5, 2.0, 5.0]),
)
def test_focal_loss_agrees_with_its_equation(pairs, alpha, gamma):
    def one(logit, true):
        right = 1 / (1 + math.exp(-logit if true else logit))
        wrong = 1 / (1 + math.exp(logit if true else -logit))  # 1 - right would lose its digits
        weight = 1 if alpha is None else alpha if true else 1 - alpha
        return -weight * wrong**gamma * math.log(right)

    logits = torch.tensor([logit for logit, _ in pairs], dtype=torch.float64)
    truth = torch.tensor([true for _, true in pairs], dtype=torch.bool)
    expected = sum(one(*pair) for pair in pairs)
    assert focal_loss(logits, truth, alpha=alpha, gamma=gamma).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_focal_loss_without_focus_is_the_cross_entropy():
    logits, truth = torch.randn(50), torch.rand(50) < 0.3
    plain = 50 * binary_cross_entropy(logits, truth.float())
    torch.testing.assert_close(focal_loss(logits, truth, alpha=None, gamma=0.0), plain)
    torch.testing.assert_close(focal_loss(logits, truth, alpha=0.5, gamma=0.0), plain / 2)


def test_focal_loss_of_an_easy_example_is_a_thousandth_of_the_cross_entropy():
    """Lin et al. 2017, section 3.2: with gamma 2 and p_t = 0.968 the loss is about 1000 times lower."""
    logits, truth = torch.tensor([0.968]).logit(), torch.tensor([True])
    ratio = binary_cross_entropy(logits, truth.float()) / focal_loss(logits, truth, alpha=None)
    assert ratio.item() == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_has_a_finite_gradient_at_sure_answers(gamma):
    logits = torch.tensor([-80.0, 80, -80, 80], requires_grad=True)
    focal_loss(logits, torch.tensor([True, False, False, True]), gamma=gamma).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs()[:2].min() > 0.2


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: cross_entropy(x.view(0, 3), torch.zeros(0, dtype=torch.int64)),
        lambda x: binary_cross_entropy(x.flatten(), torch.zeros(0)),
        lambda x: smooth_l1(x.view(0, 4), torch.zeros(0, 4)),
        lambda x: focal_loss(x.view(0, 3), torch.zeros(0, 3, dtype=torch.bool)),
    ],
)
def test_nothing_to_learn_is_zero_with_a_gradient(loss):
    x = torch.zeros(0, requires_grad=True)
    value = loss(x)
    value.backward()
    assert value.item() == 0
