"""The deconvolutional view: each way back against its definition, whole chains against the gradient."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from siseon.inspection.deconvolution import backwards, chain, deconvolution, transposed, unpool
from siseon.inspection.guided_backpropagation import guided_backpropagation
from siseon.interface import SiseonError
from siseon.layers import SameConv2d
from siseon.zoo import create


def test_unpooling_puts_values_where_the_maxima_were():
    maps = torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 9.0, 8.0]]]])
    pooled, switches = F.max_pool2d(maps, 2, return_indices=True)
    wanted = torch.tensor([[[[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]]]])
    assert torch.equal(unpool(pooled, switches, (2, 4)), wanted)


def test_overlapping_windows_that_share_a_maximum_add_up():
    maps = torch.tensor([[[[0.0, 1.0, 7.0, 1.0, 0.0]]]])
    pooled, switches = F.max_pool2d(maps, (1, 3), (1, 2), return_indices=True)
    assert torch.equal(unpool(pooled, switches, (1, 5)), torch.tensor([[[[0.0, 0.0, 14.0, 0.0, 0.0]]]]))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.sampled_from([0, 1, 2, "same in tensorflow"]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(8, 12), st.integers(8, 12)),
)
def test_transposed_filters_are_the_transposed_operator(kernel, stride, padding, dilation, groups, size):
    if isinstance(padding, str):
        convolution: nn.Conv2d = SameConv2d(4, 6, kernel, stride, groups=groups, bias=False)
    else:
        convolution = nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups, bias=False)
    x = torch.randn(1, 4, *size)
    with torch.no_grad():
        made = convolution(x)
        y = torch.randn_like(made)
        back = transposed(convolution, y, size)
    assert back.shape == x.shape
    assert torch.allclose((made * y).sum(), (x * back).sum(), rtol=1e-3, atol=1e-3)


class Grey(nn.Module):
    def forward(self, images):
        return images.mean(1, keepdim=True)


def linear_chain() -> nn.Sequential:
    norm = nn.BatchNorm2d(4)
    norm.running_mean.uniform_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight)
    return nn.Sequential(
        *(Grey(), nn.Conv2d(1, 4, 3, 2, 1), norm, nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 3), nn.AvgPool2d(2)),
        *(nn.Dropout(), nn.MaxPool2d(2, ceil_mode=True)),
    )


def test_without_rectifiers_it_is_the_gradient():
    network, picture = linear_chain().eval(), torch.rand(3, 37, 41)
    steps, maps = chain(network, picture, "7")
    outgoing = torch.randn_like(maps)
    batch = picture[None].requires_grad_()
    (wanted,) = torch.autograd.grad(network(batch), batch, outgoing)
    assert torch.allclose(backwards(steps, outgoing), wanted, atol=1e-6)


def test_rectifiers_cut_what_is_negative_on_the_way_back_and_only_that():
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(True), nn.Conv2d(2, 1, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network[2].weight.copy_(torch.tensor([2.0, -3.0]).view(1, 2, 1, 1))
    found = deconvolution(network, torch.tensor([[[0.5, 1.0]]]), "2", 0)
    # the strongest cell is 2 * 1.0; back: (4, -6), rectified (4, 0), filtered 4; the gradient there is 2
    assert (found.strength, found.cell, found.patch) == (2.0, (0, 1), (1, 0, 2, 1))
    assert torch.equal(found.pixels, torch.tensor([[[0.0, 4.0]]]))
    # with x = -1 the rectifier was shut on the way forth (the gradient is 0), which the way back does not ask
    shut = deconvolution(network, torch.tensor([[[-1.0]]]), "1", 1)
    assert torch.equal(shut.pixels, torch.tensor([[[-1.0]]]))


@pytest.mark.parametrize("name", ["zfnet_mini", "alexnet_mini", "vgg_mini", "deep_digits_mini"])
def test_chains_of_the_zoo(name):
    network, picture = create(name).eval(), torch.rand(3, 48, 48)
    layer = [key for key, module in network.named_modules() if isinstance(module, nn.MaxPool2d)][1]
    _, maps = chain(network, picture, layer)
    found = deconvolution(network, picture, layer, int(maps.amax((2, 3)).argmax()))
    left, top, right, bottom = found.patch
    outside = found.pixels.clone()
    outside[:, top:bottom, left:right] = 0
    assert found.pixels.shape == (3, 48, 48) and found.pixels.abs().sum() > 0
    assert outside.abs().max() == 0  # nothing leaves the receptive field
    assert found.strength == pytest.approx(float(maps.max()))


def test_the_layers_agree_with_the_network():
    network, picture = create("vgg_mini").eval(), torch.rand(3, 32, 32)
    _, maps = chain(network, picture, "body.layers.20")
    normalised = (picture - network.mean[:, None, None]) / network.deviation[:, None, None]
    with torch.no_grad():
        assert torch.equal(maps, network.body.features(normalised[None])[-1])


@pytest.mark.parametrize(
    ("name", "layer", "problem"),
    [
        ("resnet_mini", "body.layers.2", "no plain chain of layers"),
        ("lenet_modern", "body.layers.2", "no way back through body.stem.squash"),
        ("vgg_mini", "body.layers.99", "no layer 'body.layers.99'"),
    ],
)
def test_what_has_no_way_back(name, layer, problem):
    with pytest.raises(SiseonError, match=problem):
        deconvolution(create(name), torch.rand(3, 32, 32), layer, 0)


def test_a_channel_that_is_not_there():
    with pytest.raises(SiseonError, match="no channel 8"):
        deconvolution(create("vgg_mini"), torch.rand(3, 32, 32), "body.stem", 8)


def test_the_network_is_left_as_it_was():
    network = create("vgg_mini").train()
    deconvolution(network, torch.rand(3, 32, 32), "body.layers.1", 0)
    assert all(module.training and not module._forward_hooks for module in network.modules())


# --- guided backpropagation -----


def test_guided_backpropagation_by_hand():
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(True), nn.Conv2d(2, 1, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 1.0]).view(2, 1, 1, 1))
        network[2].weight.copy_(torch.tensor([2.0, -3.0]).view(1, 2, 1, 1))
    # the best cell is the negative pixel (0 against -0.5); the rectifiers were shut there
    assert torch.equal(guided_backpropagation(network, torch.tensor([[[-1.0, 0.5]]]), "2", 0), torch.zeros(1, 1, 2))
    # open there: 1 * (2 passes) + 1 * (-3 is cut)
    assert torch.equal(guided_backpropagation(network, torch.tensor([[[0.5]]]), "2", 0), torch.tensor([[[2.0]]]))


def test_guided_backpropagation_runs_through_additions():
    network, picture = create("mobilenet_mini").train(), torch.rand(3, 64, 64)
    pixels = guided_backpropagation(network, picture, "body.layers.6", 0)
    assert pixels.shape == picture.shape and pixels.abs().sum() > 0
    assert all(module.training for module in network.modules())


def test_guided_backpropagation_needs_rectifiers():
    with pytest.raises(SiseonError, match="no ReLU"):
        guided_backpropagation(nn.Sequential(nn.Conv2d(3, 2, 1)), torch.rand(3, 4, 4), "0", 0)
