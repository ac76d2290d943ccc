"""Feature maps: which steps are shown, with which values, and what is left as it was."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.inspection.activations import activations
from siseon.interface import SiseonError
from siseon.zoo import create


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + x)


class Small(nn.Module):
    """A stem, two blocks, a layer used twice, a module with two maps, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(True))
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.twice = nn.Conv2d(4, 4, 1)
        self.idle = nn.Dropout()
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        x = self.idle(self.blocks(self.stem(images)))
        return self.head(self.twice(self.twice(x)).mean((2, 3)))


def test_steps_in_their_order():
    found = activations(Small(), torch.rand(3, 8, 10))
    assert [(one.name, one.kind, tuple(one.map.shape)) for one in found] == [
        ("stem", "Sequential", (4, 4, 5)),
        ("blocks.0", "Block", (4, 4, 5)),
        ("blocks.1", "Block", (4, 4, 5)),
        ("twice", "Conv2d", (4, 4, 5)),
        ("twice (2)", "Conv2d", (4, 4, 5)),
    ]


def test_the_values_are_those_of_the_network():
    network, picture = Small().eval(), torch.rand(3, 8, 10)
    stem = network.stem(picture[None])
    found = activations(network, picture)
    assert torch.equal(found[0].map, stem[0].detach())
    assert torch.equal(found[1].map, network.blocks[0](stem)[0].detach())


def test_maps_before_a_rectifier_in_place_keep_their_sign():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(True), nn.Conv2d(2, 2, 1), nn.ReLU(True))
    found = activations(network, torch.rand(1, 6, 6) - 0.5)
    assert [one.name for one in found] == ["0", "1", "2", "3"]
    assert found[0].map.min() < 0
    assert torch.equal(found[1].map, found[0].map.clamp(min=0))


def test_a_module_with_several_maps_and_a_network_within_a_network():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return [self.a(x), F.max_pool2d(self.b(x), 2)]

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.pyramid = Small(), Pyramid()
            self.inner.head = nn.Identity()

        def forward(self, x):
            return self.pyramid(self.inner.blocks(self.inner.stem(x)))

    names = [one.name for one in activations(Whole(), torch.rand(3, 8, 8))]
    assert names == ["inner.stem", "inner.blocks.0", "inner.blocks.1", "pyramid [0]", "pyramid [1]"]


def test_nothing_is_left_behind():
    network = Small().train()
    activations(network, torch.rand(3, 8, 8))
    assert all(module.training and not module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("name", "size", "steps", "last"),
    [
        ("vgg_mini", 32, 21, "body.layers.20"),
        ("mobilenet_mini", 64, 19, "last"),
        ("resnet_mini", 32, None, None),
        ("googlenet_mini", 32, 16, "body.layers.13"),
    ],
)
def test_zoo(name, size, steps, last):
    found = activations(create(name), torch.rand(3, size, size))
    if steps is not None:
        assert (len(found), found[-1].name) == (steps, last)
    assert all(one.map.ndim == 3 for one in found)


def test_a_detector_shows_its_pyramid():
    found = activations(create("faster_rcnn_mini"), torch.rand(3, 160, 160))
    levels = [one for one in found if one.name.startswith("backbone.output.")]
    assert len(levels) >= 3
    assert [one.map.shape[1] for one in levels] == sorted((one.map.shape[1] for one in levels), reverse=True)


def test_a_network_without_maps():
    with pytest.raises(SiseonError, match="no feature maps"):
        activations(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.rand(3, 2, 2))
