"""The first pair of playing networks: counts by hand, losses against the paper's formulas, noise, samples."""

import math

import pytest
import torch
from torch import nn

from siseon import zoo
from siseon.interface import RecipeError
from siseon.models.generation.gan import GAN, discriminator_loss, generator_loss, minimax_loss


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def small(**given):
    torch.manual_seed(0)
    return GAN(latent=6, size=8, hidden=(12,), judging=(5,), pieces=3, **given)


def test_parameters_of_the_paper_counted_by_hand():
    model = zoo.create("gan")
    made = 100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784
    judged = 784 * 240 * 5 + 240 * 5 + 240 * 240 * 5 + 240 * 5 + 240 + 1
    assert (count(model.generator), count(model.discriminator)) == (made, judged) == (2_503_984, 1_231_441)


def test_losses_are_those_of_the_paper():
    real, made = torch.tensor([0.3, -1.2]), torch.tensor([2.0, -0.5])
    probability = lambda logit: 1 / (1 + math.exp(-logit))  # noqa: E731
    wanted = -sum(math.log(probability(x)) for x in real.tolist()) / 2
    wanted -= sum(math.log(1 - probability(x)) for x in made.tolist()) / 2
    assert discriminator_loss(real, made).item() == pytest.approx(wanted, rel=1e-6)
    wanted = -sum(math.log(probability(x)) for x in made.tolist()) / 2
    assert generator_loss(made).item() == pytest.approx(wanted, rel=1e-6)
    wanted = sum(math.log(1 - probability(x)) for x in made.tolist()) / 2
    assert minimax_loss(made).item() == pytest.approx(wanted, rel=1e-6)


def test_a_draw_is_log_four_and_log_two():
    even = torch.zeros(5)
    assert discriminator_loss(even, even).item() == pytest.approx(math.log(4))
    assert generator_loss(even).item() == pytest.approx(math.log(2))


def test_only_the_paper_s_second_loss_still_has_a_slope_when_the_discriminator_is_sure():
    slopes = []
    for loss in (generator_loss, minimax_loss):
        made = torch.full((4,), -20.0, requires_grad=True)
        loss(made).backward()
        slopes.append(made.grad.abs().sum().item())
    assert slopes[0] == pytest.approx(1)
    assert slopes[1] < 1e-7


def test_losses_of_sure_players_are_finite():
    sure = torch.tensor([1e4, -1e4])
    assert all(torch.isfinite(loss) for loss in (discriminator_loss(sure, sure), generator_loss(sure)))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_channels_asked_for_and_lie_in_0_1(channels):
    model = small(channels=channels)
    made = model(model.noise(4))
    assert made.shape == (4, channels, 8, 8)
    assert made.min() >= 0 and made.max() <= 1
    assert model.judge(made).shape == (4,)
    assert model.like(torch.rand(2, 3, 8, 8)).shape == (2, channels, 8, 8)


def test_each_loss_reaches_the_parameters_that_it_teaches():
    model = small()
    made = model(model.noise(3))
    model.discriminator_loss(torch.rand(3, 1, 8, 8), made.detach()).backward()
    assert all(part.grad is not None for part in model.discriminator.parameters())
    assert all(part.grad is None for part in model.generator.parameters())
    model.generator_loss(made).backward()
    assert all(part.grad.abs().sum() > 0 for part in model.generator.parameters() if part.ndim > 1)


def test_samples_are_rgb_follow_the_seed_and_leave_the_mode_alone():
    model = small().train()
    first, again, other = model.sample(5, seed=1), model.sample(5, seed=1, batch=2), model.sample(5, seed=2)
    assert first.shape == (5, 3, 8, 8)
    assert (first[:, 0] == first[:, 2]).all()
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)
    assert all(part.training for part in model.modules())
    assert model.sample(0).shape == (0, 3, 8, 8)


def test_noise_is_even_between_minus_one_and_one():
    noise = small().noise(2000, torch.Generator().manual_seed(0))
    assert noise.shape == (2000, 6)
    assert -1 <= noise.min() < -0.99 and 0.99 < noise.max() <= 1
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.var().item() == pytest.approx(1 / 3, abs=0.01)


def test_dropout_only_in_training():
    model = small().eval()
    pictures = torch.rand(4, 1, 8, 8)
    assert torch.equal(model.judge(pictures), model.judge(pictures))
    model.train()
    assert not torch.equal(model.judge(pictures), model.judge(pictures))
    assert any(isinstance(part, nn.Dropout) for part in model.discriminator)


def test_other_channels_are_refused():
    with pytest.raises(RecipeError, match="channels = 4"):
        small(channels=4)
