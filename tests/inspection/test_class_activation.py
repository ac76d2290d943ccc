"""CAM and Grad-CAM against their formulas."""

import pytest
import torch
from torch import nn

from siseon.inspection.class_activation import (
    class_activation,
    grad_cam,
    gradient_map,
    weighted_maps,
)
from siseon.interface import SiseonError
from siseon.zoo import create


class Mean(nn.Module):
    """Convolution, mean over each map, linear."""

    def __init__(self, channels=6, classes=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(channels, classes)

    def forward(self, images):
        return self.head(self.relu(self.conv(images)).mean((2, 3)))


def by_hand():
    """One pixel value x becomes the maps (x, 2 - x); the logit of class 1 is sum(cell weights * maps)."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    weights = torch.tensor([[0.0] * 8, [1.0, 2.0, 3.0, 6.0, -1.0, 0.0, 0.0, -3.0]])
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network[0].bias.copy_(torch.tensor([0.0, 2.0]))
        network[2].weight.copy_(weights)
        network[2].bias.zero_()
    return network


def test_the_formula_by_hand():
    picture = torch.tensor([[[0.0, 1.0], [0.5, 0.25]]])
    # alpha_1 = (1 + 2 + 3 + 6) / 4 = 3, alpha_2 = (-1 - 3) / 4 = -1: 3 x - (2 - x) = 4 x - 2, and what is below 0 is 0
    wanted = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    assert torch.allclose(gradient_map(by_hand(), picture, 1), wanted)
    assert torch.allclose(grad_cam(by_hand(), picture, 1), wanted / 2)


def test_nothing_speaks_for_a_class_that_the_maps_do_not_reach():
    assert torch.equal(grad_cam(by_hand(), torch.rand(1, 2, 2), 0), torch.zeros(2, 2))


def test_the_class_predicted_is_taken_where_none_is_named():
    network, picture = Mean().eval(), torch.rand(3, 5, 7)
    best = int(network(picture[None]).argmax())
    assert torch.equal(grad_cam(network, picture), grad_cam(network, picture, best))


@pytest.mark.parametrize("label", range(4))
def test_grad_cam_is_cam_behind_a_mean_and_a_linear_layer(label):
    network, picture = Mean(), torch.rand(3, 5, 7)
    cam = weighted_maps(network, picture, label)
    # section 3.1: the weights are CAM's but for the number of cells
    assert torch.allclose(gradient_map(network, picture, label) * 35, cam.clamp(min=0), atol=1e-6)
    assert torch.allclose(grad_cam(network, picture, label), class_activation(network, picture, label), atol=1e-6)


def test_the_mean_of_cam_is_the_logit_without_bias():
    network, picture = Mean().eval(), torch.rand(3, 5, 7)
    logits = network(picture[None])[0].detach()
    assert torch.allclose(weighted_maps(network, picture, 2).mean() + network.head.bias[2], logits[2])


@pytest.mark.parametrize("name", ["mobilenet_mini", "resnet_mini", "densenet_mini"])
def test_grad_cam_is_cam_in_the_zoo(name):
    network, picture = create(name, classes=3).eval(), torch.rand(3, 64, 64)
    assert torch.allclose(grad_cam(network, picture, 1), class_activation(network, picture, 1), atol=1e-4)


def test_a_layer_by_name_and_frozen_weights():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    network.requires_grad_(requires_grad=False)
    picture = torch.rand(3, 8, 8)
    assert gradient_map(network, picture, 0).shape == (4, 4)
    assert gradient_map(network, picture, 0, layer="0").shape == (6, 6)
    assert grad_cam(network, picture, 0, layer="0").shape == (8, 8)


def test_poolings_at_the_end_are_passed_over():
    network = create("vgg_mini")
    assert gradient_map(network, torch.rand(3, 64, 64), 0).shape == (4, 4)  # the last convolution, not the pooling


def test_the_network_is_left_as_it_was():
    network = Mean().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    grad_cam(network, torch.rand(3, 4, 4))
    assert network.training and all(not module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("network", "options", "problem"),
    [
        (nn.Conv2d(3, 2, 1), {}, "no class scores"),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), {}, "no feature maps"),
        (Mean(), {"label": 4}, "no class 4"),
        (Mean(), {"layer": "neck"}, "no layer 'neck'"),
        (Mean(), {"layer": "head"}, "no map at 'head'"),
    ],
)
def test_what_cannot_be_shown(network, options, problem):
    with pytest.raises(SiseonError, match=problem):
        grad_cam(network, torch.rand(3, 4, 4), **options)


def test_cam_needs_a_mean_and_a_linear_layer():
    with pytest.raises(SiseonError, match="Take grad_cam"):
        class_activation(create("vgg_mini"), torch.rand(3, 32, 32))
