"""LeNet-5: table and figures of the paper, and every special layer against a naive one."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, outputs, parameters, stages
from torch import nn

from siseon.interface import SiseonError
from siseon.models.classification.lenet import (
    CONNECTIONS,
    VARIANTS,
    Codes,
    LeNet,
    PartialConvolution,
    Squash,
    Subsample,
    codes,
)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("lenet", [156, 12, 1516, 32, 48_120, 10_164, 0]),
        ("lenet_modern", [156, 0, 2416, 0, 48_120, 10_164, 850]),
    ],
)
def test_parameters_of_each_layer(name, counts):
    model = on_meta(LeNet, VARIANTS[name])
    layers = [model.body.stem, *model.body.layers.values(), model.classifier[0], model.classifier[2]]
    assert [parameters(layer) for layer in layers] == counts


@pytest.mark.parametrize(("name", "count"), [("lenet", 60_000), ("lenet_modern", 61_706)])
def test_parameters(name, count):
    assert parameters(on_meta(LeNet, VARIANTS[name])) == count


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes(name):
    model = on_meta(LeNet, VARIANTS[name])
    shapes = [shape for module, shape in outputs(model, 32) if isinstance(module, nn.Conv2d | PartialConvolution)]
    assert shapes == [(6, 28, 28), (16, 10, 10), (120, 1, 1)]
    assert stages(model, 32) == [(6, 14, 14), (16, 5, 5), (120, 1, 1)]
    assert model.body.channels == (6, 16, 120)


def test_connections_of_the_paper():
    # section II.B: per unit its inputs and a bias, over all units; the RBF units have no bias
    c1, s2 = 28 * 28 * 6 * (25 + 1), 14 * 14 * 6 * (4 + 1)
    c3 = 10 * 10 * sum(25 * len(seen) + 1 for seen in CONNECTIONS)
    s4, c5, f6, output = 5 * 5 * 16 * (4 + 1), 120 * (16 * 25 + 1), 84 * (120 + 1), 10 * 84
    assert (c1, s2, c3, s4, c5, f6) == (122_304, 5_880, 151_600, 2_000, 48_120, 10_164)
    assert c1 + s2 + c3 + s4 + c5 + f6 + output == 340_908


def test_table_one():
    # read column by column from table I: X where a map of C3 (column) sees one of S2 (row)
    table = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    assert tuple(tuple(row for row in range(6) if table[row][column] == "X") for column in range(16)) == CONNECTIONS


def test_partial_convolution_sees_only_its_connections():
    layer = PartialConvolution(6, CONNECTIONS, kernel=5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 9, 8)
    start, maps = 0, []
    for number, seen in enumerate(CONNECTIONS):
        weight = layer.weight[start : start + len(seen)][None]
        maps.append(F.conv2d(x[:, list(seen)], weight, layer.bias[number : number + 1]))
        start += len(seen)
    torch.testing.assert_close(layer(x), torch.cat(maps, 1))


def test_subsampling_adds_four_cells():
    layer = Subsample(2)
    layer.weight.data = torch.tensor([0.5, -1.0]).view(2, 1, 1)
    layer.bias.data = torch.tensor([0.1, 0.2]).view(2, 1, 1)
    x = torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [1, 0]]])[None]
    wanted = [1.7159 * math.tanh(2 / 3 * (0.5 * 10 + 0.1)), 1.7159 * math.tanh(2 / 3 * (-1 * 2 + 0.2))]
    assert layer(x).flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(("value", "squashed"), [(0.0, 0.0), (1.0, 1.0), (-1.0, -1.0), (100.0, 1.7159)])
def test_squash(value, squashed):
    assert Squash()(torch.tensor(value)).item() == pytest.approx(squashed, abs=1e-4)


def test_outputs_are_minus_the_distances_to_the_codes():
    layer = Codes(10)
    x = torch.randn(3, 84)
    wanted = [
        [-sum((a - b) ** 2 for a, b in zip(row, code, strict=True)) for code in layer.codes.tolist()]
        for row in x.tolist()
    ]
    torch.testing.assert_close(layer(x), torch.tensor(wanted), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("classes", [1, 2, 10, 37])
def test_codes_differ_and_are_plus_or_minus_one(classes):
    found = codes(classes)
    assert found.shape == (classes, 84)
    assert set(np.unique(found)) <= {-1.0, 1.0}
    assert len(np.unique(found, axis=0)) == classes
    assert np.array_equal(found, codes(classes))


def test_the_code_of_one_is_a_picture_of_it():
    one = codes(10)[1].reshape(12, 7)
    assert "".join("#" if value > 0 else "." for value in one[0]) == "...#..."
    assert "".join("#" if value > 0 else "." for value in one[9]) == ".#####."
    assert (one[10:] == -1).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_ground_and_ink_become_the_values_of_the_paper(name):
    model = LeNet(**VARIANTS[name])
    values = (torch.tensor([0.0, 1.0])[:, None] - model.mean) / model.deviation
    torch.testing.assert_close(values, torch.tensor([[-0.1] * 3, [1.175] * 3]))


def test_weights_start_within_their_fan_in():
    model = LeNet(original=True)
    assert model.body.stem.conv.weight.abs().max() <= 2.4 / 25
    c3 = model.body.layers["2"].conv
    for fan, rows in ((75, slice(0, 18)), (100, slice(18, 54)), (150, slice(54, 60))):
        largest = c3.weight[rows].abs().max().item()
        assert 0.9 * 2.4 / fan < largest <= 2.4 / fan


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_reach_every_parameter(name):
    model = LeNet(**VARIANTS[name], classes=5)
    model.loss(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))["class"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(("side", "good"), [(31, False), (32, True), (64, True)])
def test_least_size(side, good):
    model = LeNet()
    if good:
        assert model(torch.rand(1, 3, side, side)).shape == (1, 10)
    else:
        with pytest.raises(SiseonError, match="32 pixels"):
            model(torch.rand(1, 3, 40, side))


def test_predicts():
    (found,) = LeNet(classes=("영", "일")).predict(torch.rand(3, 40, 50))
    assert found.scores.sum().item() == pytest.approx(1)
    assert found.classes == ("영", "일")
