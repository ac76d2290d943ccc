"""Normalisations: each over exactly its axes, group between layer and instance, and who depends on the batch."""

import pytest
import torch
from torch import nn

from siseon.interface import RecipeError
from siseon.normalisations import NORMALISATIONS, groups, normalisation, response_norm, unit_normalisation

WITH_MEAN = [name for name, row in NORMALISATIONS.items() if row.axes]


def naive(x, axes):
    """(x - mean) / deviation over the axes, by the definition, with what torch adds to the variance."""
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(axes, keepdim=True) + 1e-5).sqrt()


def maps(channels=16):
    """Maps whose pictures and channels have means and deviations of their own."""
    return torch.randn(4, channels, 5, 6) * torch.rand(4, channels, 1, 1) + torch.randn(4, channels, 1, 1)


@pytest.mark.parametrize("name", WITH_MEAN)
def test_mean_and_variance_are_taken_over_the_axes_of_the_table(name):
    x = maps()
    wanted = naive(x, NORMALISATIONS[name].axes)
    if name == "group":
        wanted = naive(x.view(4, groups(16), -1, 5, 6), (2, 3, 4)).view_as(x)
    torch.testing.assert_close(normalisation(name, 16)(x), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "count"), [("batch", 16), ("layer", 4), ("instance", 4 * 16), ("group", 4 * 8)], ids=lambda part: str(part)
)
def test_there_are_so_many_means(name, count):
    """The rank of what normalising takes away: as many directions as there are means."""
    x = torch.randn(4, 16, 5, 6)
    y = normalisation(name, 16)(x)
    cells = y.view(4, 16, -1) if name != "group" else y.view(4, 8, -1)
    axes = {"batch": (0, 2), "layer": (1, 2), "instance": (2,), "group": (2,)}[name]
    means = cells.mean(axes)
    assert means.numel() == count
    torch.testing.assert_close(means, torch.zeros_like(means), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", WITH_MEAN)
def test_each_channel_has_a_weight_and_a_bias(name):
    norm, x = normalisation(name, 16), maps()
    plain = norm(x)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(16.0))
        norm.bias.copy_(torch.arange(16.0) / 2)
    scaled = plain * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    torch.testing.assert_close(norm(x), scaled, atol=1e-4, rtol=1e-4)


def test_one_group_is_layer_and_a_group_a_channel_is_instance():
    x = maps()
    torch.testing.assert_close(nn.GroupNorm(1, 16)(x), normalisation("layer", 16)(x))
    torch.testing.assert_close(nn.GroupNorm(1, 16)(x), nn.LayerNorm((16, 5, 6))(x))
    torch.testing.assert_close(nn.GroupNorm(16, 16)(x), normalisation("instance", 16)(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("channels", "count"), [(1, 1), (3, 1), (8, 4), (16, 8), (24, 4), (32, 16), (64, 32), (256, 32), (2048, 32)]
)
def test_groups_divide_the_channels(channels, count):
    assert groups(channels) == count
    assert channels % count == 0
    normalisation("group", channels)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_only_batch_normalisation_sees_the_other_pictures(name):
    x, norm = maps(), normalisation(name, 16).train()
    alone, together = norm(x[:1]), norm(x)[:1]
    assert torch.allclose(alone, together, atol=1e-5) != NORMALISATIONS[name].depends


def test_small_batches_make_batch_statistics_uncertain():
    """Why small batches hurt, not large ones: the mean of 2 pictures strays more than that of 32."""
    x = torch.randn(64, 8, 4, 4) + torch.randn(64, 8, 1, 1)

    def stray(batch):
        norm = normalisation("batch", 8)
        parts = torch.cat([norm(part) for part in x.split(batch)])
        return (parts - norm(x)).square().mean().sqrt().item()

    assert stray(2) > 2 * stray(32)


def test_the_response_normalisation_is_that_of_alexnet():
    x = torch.randn(2, 7, 3, 3)
    wanted = torch.empty_like(x)
    for channel in range(7):
        near = x[:, max(0, channel - 2) : channel + 3]
        wanted[:, channel] = x[:, channel] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(response_norm()(x), wanted)
    torch.testing.assert_close(normalisation("response", 7)(x), wanted)


@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_units_are_normalised_as_maps_of_one_cell(name):
    x = torch.randn(6, 16) * 3 + 1
    torch.testing.assert_close(
        unit_normalisation(name, 16)(x), normalisation(name, 16)(x[:, :, None, None])[:, :, 0, 0]
    )


@pytest.mark.parametrize("name", ["instance", "response"])
def test_what_needs_maps_says_so(name):
    with pytest.raises(RecipeError, match=f'"{name}" needs maps.*batch, layer, group'):
        unit_normalisation(name, 16)


@pytest.mark.parametrize(("wrong", "near"), [("batchnorm", "batch"), ("groups", "group"), ("Layer", "layer")])
def test_a_wrong_name_is_met_with_the_nearest(wrong, near):
    for build in (normalisation, unit_normalisation):
        with pytest.raises(RecipeError, match=f'no normalisation "{wrong}".*Did you mean "{near}"'):
            build(wrong, 4)
