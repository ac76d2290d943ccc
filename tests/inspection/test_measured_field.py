"""The field from gradients against the field from arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from siseon.inspection.measurement import measured_receptive_field
from siseon.inspection.table import table
from siseon.interface import SiseonError
from siseon.models.classification import alexnet, googlenet, mobilenet, resnet, vgg, zfnet

windows = st.tuples(st.sampled_from(["conv", "max", "mean"]), st.integers(1, 4), st.integers(1, 2), st.integers(0, 1))


def built(layers: list[tuple]) -> nn.Sequential:
    parts: list[nn.Module] = []
    for kind, kernel, stride, padding in layers:
        if kind == "conv":
            parts += [nn.Conv2d(2, 2, kernel, stride, padding), nn.BatchNorm2d(2), nn.ReLU(True)]
        else:
            pool = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
            parts.append(pool(kernel, stride, min(padding, kernel // 2)))
    return nn.Sequential(*parts)


@settings(max_examples=40, deadline=None)
@given(st.lists(windows, min_size=1, max_size=4))
def test_chains(layers):
    network = built(layers)
    measured = measured_receptive_field(network, 64, channels=2)
    assume(not measured.clipped)
    assert table(network, 64, channels=2).rows[-1].receptive_field == measured.size


def thin_vgg16() -> nn.Sequential:
    parts: list[nn.Module] = []
    for depth in (2, 2, 3, 3, 3):
        for _ in range(depth):
            parts += [nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(True)]
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts)


def thin_alexnet() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 2, 11, 4), nn.ReLU(True), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(2, 2, 5, padding=2, groups=2), nn.ReLU(True), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(True), nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.ReLU(True)),
        *(nn.Conv2d(2, 1, 3, padding=1, groups=1), nn.ReLU(True), nn.MaxPool2d(3, 2)),
    )


@pytest.mark.parametrize(("network", "size", "field"), [(thin_vgg16(), 224, 212), (thin_alexnet(), 259, 195)])
def test_textbook_networks(network, size, field):
    measured = measured_receptive_field(network, size, channels=1)
    assert (measured.size, measured.clipped) == ((field, field), False)
    assert table(network, size, channels=1).rows[-1].receptive_field == (field, field)


class Last(nn.Module):
    """The last map of a body."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, images):
        return self.body.features(images)[-1]


THIN = {"widths": (2,) * 5}
ZOO = [
    (lambda: alexnet.AlexNetBody(**THIN), 259, 195),
    (lambda: zfnet.ZFNetBody(**THIN), 259, 171),
    (lambda: vgg.VGGBody(depths=vgg.DEPTHS["vgg11"], **THIN), 224, 150),
    (lambda: resnet.ResNetBody(**resnet.BODIES["resnet18"], widths=(2,) * 4), 480, 435),
    (lambda: googlenet.GoogLeNetBody(width=1 / 16), 800, 715),
    (lambda: mobilenet.MobileNetV2Body(width=0.1), 544, 491),
]
"""Bodies of the zoo with few channels, a picture that is large enough, and the field, which channels do not change."""


@pytest.mark.parametrize(
    ("body", "size", "field"), ZOO, ids=["alexnet", "zfnet", "vgg11", "resnet18", "googlenet", "v2"]
)
def test_bodies_of_the_zoo(body, size, field):
    network = Last(body()).eval()
    measured = measured_receptive_field(network, size)
    assert (measured.size, measured.clipped) == ((field, field), False)
    assert table(network, size).rows[-1].receptive_field == (field, field)


class Hourglass(nn.Module):
    """Down, up in three ways, with shortcuts and functions between the modules."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(3, 4, 3, padding=1),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.Conv2d(8, 4, 3, padding=1),
        )
        self.up, self.wide_up = nn.ConvTranspose2d(8, 4, 2, 2), nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x):
        a = F.relu(self.a(x))
        b = self.b(F.max_pool2d(a, 2)).relu_()
        c = self.wide_up(b) + self.c(torch.cat([self.up(b), a], 1))
        return self.smooth(F.max_pool2d(self.dilated(c), 3, 2, 1)) + c


@pytest.mark.parametrize("layer", ["a", "b", "c", "up", "wide_up", "dilated", "smooth"])
def test_each_layer_of_an_hourglass(layer):
    network = Hourglass()
    row = next(row for row in table(network, 64).rows if row.name == layer)
    measured = measured_receptive_field(network, 64, layer=layer)
    assert (measured.size, measured.clipped) == (row.receptive_field, False)


def test_branches_whose_centres_differ_see_the_union():
    class Apart(nn.Module):
        def forward(self, x):
            return F.pad(x, (4, 0, 0, 0))[..., :-4] + x

    found = table(Apart(), 32).rows[-1]
    assert measured_receptive_field(Apart(), 32).size == found.receptive_field == (1, 5)


def test_a_fully_connected_layer_sees_all_and_is_clipped():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 4))
    measured = measured_receptive_field(network, 8)
    assert (measured.size, measured.box, measured.clipped) == ((8, 8), (0, 0, 8, 8), True)
    assert table(network, 8).rows[-1].receptive_field == (8, 8)


def test_rows_and_columns_apart():
    measured = measured_receptive_field(nn.Conv2d(3, 2, (3, 7)), (21, 31))
    assert (measured.size, measured.box) == ((3, 7), (12, 9, 19, 12))


def test_a_dilated_maximum():
    network = nn.MaxPool2d(3, 1, dilation=2)
    assert measured_receptive_field(network, 15).size == table(network, 15).rows[-1].receptive_field == (5, 5)


def test_a_maximum_over_everything():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveMaxPool2d(1))
    assert measured_receptive_field(network, 9).size == table(network, 9).rows[-1].receptive_field == (9, 9)


def test_the_model_is_not_changed():
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measured_receptive_field(network, 9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert not network[1]._forward_hooks


@pytest.mark.parametrize(("layer", "problem"), [("9", "no layer '9'"), ("aside", "did not run"), ("blind", "No pixel")])
def test_layers_that_cannot_be_measured(layer, problem):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.blind, self.a = nn.Linear(1, 1), nn.Linear(2, 2), nn.Conv2d(3, 2, 3)

        def forward(self, x):
            return self.a(x) + self.blind(x.new_ones(2)).sum()

    with pytest.raises(SiseonError, match=problem):
        measured_receptive_field(Odd(), 9, layer=layer)


def test_a_picture_too_small_to_measure():
    with pytest.raises(SiseonError, match="cannot take a picture"):
        measured_receptive_field(nn.Conv2d(3, 2, 5), 4)
