"""DCGAN: the table of figure 1, its counts by hand, and the rules of section 3."""

import pytest
import torch
from torch import nn

from siseon import zoo
from siseon.interface import RecipeError
from siseon.models.generation.dcgan import DCGAN, VARIANTS


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(network, x):
    found = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            found.append(tuple(x.shape[1:]))
    return found


def test_maps_of_the_first_figure():
    with torch.device("meta"):
        model = zoo.create("dcgan")
        made = shapes(model.generator, torch.empty(2, 100, 1, 1))
        judged = shapes(model.discriminator, torch.empty(2, 3, 64, 64))
    assert made == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    assert judged == [(128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (1, 1, 1)]


def test_parameters_counted_by_hand():
    with torch.device("meta"):
        model = zoo.create("dcgan")
    norms = 2 * (1024 + 512 + 256 + 128)
    made = 100 * 1024 * 16 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3 + norms
    norms = 2 * (256 + 512 + 1024)
    judged = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128 + norms + 1024 * 16 + 1
    assert (count(model.generator), count(model.discriminator)) == (made, judged) == (18_855_043, 17_232_897)


def test_the_rules_of_section_3():
    model = zoo.create("dcgan_mini")
    made, judged = list(model.generator), list(model.discriminator)
    assert not any(isinstance(layer, nn.Linear | nn.MaxPool2d | nn.AvgPool2d) for layer in (*made, *judged))
    assert isinstance(made[-1], nn.Tanh) and not isinstance(made[-2], nn.BatchNorm2d)
    assert not isinstance(judged[1], nn.BatchNorm2d)
    assert all(isinstance(layer, nn.ReLU) for layer in made[2:-2:3])
    slopes = {layer.negative_slope for layer in judged if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.2} and not any(isinstance(layer, nn.ReLU) for layer in judged)


def test_weights_are_drawn_with_a_deviation_of_002():
    torch.manual_seed(0)
    model = zoo.create("dcgan_32")
    weights = torch.cat([layer.weight.flatten() for layer in model.modules() if isinstance(layer, nn.ConvTranspose2d)])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    scales = torch.cat([layer.weight for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=0.005)
    assert scales.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("kernel", [4, 5])
def test_every_size_and_kernel_doubles_exactly(size, kernel):
    model = DCGAN(latent=3, size=size, width=2, kernel=kernel, channels=1)
    made = model(model.noise(2))
    assert made.shape == (2, 1, size, size)
    assert model.judge(made).shape == (2,)


@pytest.mark.parametrize("size", [0, 4, 30, 48, 100])
def test_other_sizes_are_refused(size):
    with pytest.raises(RecipeError, match=f"size = {size}"):
        DCGAN(size=size)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_make_what_they_judge(name):
    with torch.device("meta"):
        model = zoo.create(name)
        made = model(torch.empty(2, model.latent))
        assert model.judge(made).shape == (2,)
    assert made.shape == (2, model.channels, model.crop, model.crop)


def test_made_pictures_and_judged_ones_have_one_scale():
    model = DCGAN(latent=3, size=8, width=2).eval()
    seen = []
    model.discriminator.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model.judge(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]))
    assert seen[0][0].unique().tolist() == [-1] and seen[0][1].unique().tolist() == [1]
    noise = model.noise(2)
    torch.testing.assert_close(model(noise), model.generator(noise[:, :, None, None]) / 2 + 0.5)


def test_a_batch_norm_of_each_player_sees_its_own_pictures():
    # real and made pictures are judged in batches of their own, as the paper's authors do
    model = DCGAN(latent=3, size=16, width=2).train()
    seen = []
    model.discriminator.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    model.discriminator_loss(torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16))
    assert seen == [4, 4]


def test_the_generator_learns_to_make_one_colour():
    """A few turns against pictures of one bright grey move the generator towards it."""
    torch.manual_seed(0)
    model = DCGAN(latent=4, size=8, width=8, channels=1, kernel=4)
    players = (model.discriminator, model.generator)
    first, second = (torch.optim.Adam(player.parameters(), lr=0.005, betas=(0.5, 0.999)) for player in players)
    real = torch.full((16, 1, 8, 8), 0.9)
    before = (model.sample(16)[:, 0] - 0.9).abs().mean()
    for _ in range(60):
        made = model(model.noise(16))
        first.zero_grad()
        model.discriminator_loss(real, made.detach()).backward()
        first.step()
        second.zero_grad()
        model.generator_loss(made).backward()
        second.step()
    after = (model.sample(16)[:, 0] - 0.9).abs().mean()
    assert after < before / 2
