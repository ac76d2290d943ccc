"""NASNet: the counts of the published networks, the cells by hand, plans that make no sense."""

import json

import pytest
import torch
import torch.nn.functional as F
from comparing import on_meta, parameters, stages
from torch import nn

from siseon.interface import RecipeError, SiseonError
from siseon.models.classification.nasnet import (
    NORMAL,
    OPERATIONS,
    REDUCTION,
    VARIANTS,
    Cell,
    FactorisedReduction,
    NASNet,
    Plan,
    Pointwise,
    check_plan,
    operation,
    places,
)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("nasnet_a_mobile", 5_289_978),  # paper: 5.3 million; Cadene's and Keras' forms to the unit
        ("nasnet_a_large", 88_753_150),  # paper: 88.9 million; Cadene's form to the unit
        ("nasnet_a_cifar", 3_328_234),  # paper: 3.3 million
        ("nasnet_mini", 70_674),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(NASNet, VARIANTS[name])) == count


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("nasnet_a_mobile", [(44, 56, 56), (264, 28, 28), (528, 14, 14), (1056, 7, 7)], (4, 8, 16, 32)),
        ("nasnet_a_cifar", [(192, 32, 32), (384, 16, 16), (768, 8, 8)], (1, 2, 4)),
        ("nasnet_mini", [(48, 16, 16), (96, 8, 8), (192, 4, 4)], (2, 4, 8)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(NASNet, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


def cell(plan, *, stride, dropped=0.0):
    return Cell(plan, older=4, newer=6, width=8, stride=stride, older_stride=1, dropped=dropped).eval()


def test_the_normal_cell_is_figure_4_left():
    network = cell(NORMAL, stride=1)
    newer, older = torch.randn(1, 6, 8, 8), torch.randn(1, 4, 8, 8)
    h, before = network.newer(newer), network.older(older)
    sep = [part for part in network.operations if isinstance(part, nn.Sequential)]

    def mean(x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    wanted = [
        before,
        sep[0](h) + sep[1](before),
        sep[2](before) + sep[3](before),
        mean(h) + before,
        mean(before) + mean(before),
        sep[4](h) + h,
    ]
    torch.testing.assert_close(network(newer, older), torch.cat(wanted, 1))
    assert [part[1].kernel_size[0] for part in sep] == [5, 3, 5, 3, 3]


def test_the_reduction_cell_is_figure_4_right():
    network = cell(REDUCTION, stride=2)
    newer, older = torch.randn(1, 6, 9, 8), torch.randn(1, 4, 9, 8)
    h, before = network.newer(newer), network.older(older)
    sep = [part for part in network.operations if isinstance(part, nn.Sequential)]

    def mean(x, stride):
        return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)

    one = sep[0](h) + sep[1](before)
    two = F.max_pool2d(h, 3, 2, 1) + sep[2](before)
    three = mean(h, 2) + sep[3](before)
    wanted = [two, three, mean(one, 1) + two, sep[4](one) + F.max_pool2d(h, 3, 2, 1)]
    torch.testing.assert_close(network(newer, older), torch.cat(wanted, 1))
    assert [part[1].kernel_size[0] for part in sep] == [5, 7, 7, 5, 3]
    assert wanted[0].shape[2:] == (5, 4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 8), (9, 9)])
def test_factorised_reduction_takes_every_second_cell_twice(size):
    reduction = FactorisedReduction(2, 4).eval()
    x = torch.randn(1, 2, *size)
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    wanted = torch.zeros(1, 4, rows, columns)
    for row in range(rows):
        for column in range(columns):
            wanted[0, :2, row, column] = reduction.even.weight[:, :, 0, 0] @ F.relu(x[0, :, 2 * row, 2 * column])
            if 2 * row + 1 < size[0] and 2 * column + 1 < size[1]:
                odd = F.relu(x[0, :, 2 * row + 1, 2 * column + 1])
                wanted[0, 2:, row, column] = reduction.odd.weight[:, :, 0, 0] @ odd
    torch.testing.assert_close(reduction(x), wanted * (1 + 1e-3) ** -0.5)


@pytest.mark.parametrize("kind", OPERATIONS)
@pytest.mark.parametrize("channels", [4, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_operations_change_channels_and_size(kind, channels, stride):
    x = torch.randn(2, channels, 7, 6)
    shape = operation(kind, channels, 4, stride=stride).eval()(x).shape
    assert shape == ((2, 4, 7, 6) if stride == 1 else (2, 4, 4, 3))


@pytest.mark.parametrize(
    ("skips", "wanted"),
    [(False, [-1, -2, -2, -2, -2, -2, -2, -2, -2, -2]), (True, [-1, -2, -2, -2, -2, -3, -2, -2, -3, -2])],
)
def test_older_inputs(skips, wanted):
    rows = places(normal=NORMAL, reduction=REDUCTION, width=8, repeats=2, stem_cells=True, skips=skips)
    assert [row.older for row in rows] == wanted
    assert [row.width for row in rows] == [2, 4, 8, 8, 16, 16, 16, 32, 32, 32]


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("stem_cells", [False, True])
def test_every_form_takes_its_least_picture_and_odd_ones(repeats, skips, stem_cells):
    model = on_meta(
        NASNet, {"width": 8, "repeats": repeats, "first": 6, "skips": skips, "stem_cells": stem_cells, "classes": 3}
    )
    least = 3 if stem_cells else 1
    assert model.body.least == least
    assert stages(model, least)[-1] == (192, 1, 1)
    assert stages(model, 37)[-1][0] == 192


def test_pictures_below_the_least_size_are_refused():
    model = on_meta(NASNet, VARIANTS["nasnet_a_mobile"])
    with pytest.raises(SiseonError, match="3 pixels"):
        stages(model, 2)


@pytest.mark.parametrize(
    ("plan", "halves", "complaint"),
    [
        (Plan([(0, "max3", 2, "max3")], [2]), False, "input 2"),
        (Plan([(-1, "max3", 0, "max3")], [2]), False, "input"),
        (Plan([(0, "max5", 1, "max3")], [2]), False, "max5"),
        (Plan([(0, "max3", 1, "max3")], [3]), False, "gives out"),
        (Plan([(0, "max3", 1, "max3")], []), False, "gives out"),
        (Plan([(0, "max3", 1, "max3")], [0, 2]), True, "gives out"),
    ],
)
def test_plans_that_make_no_sense(plan, halves, complaint):
    with pytest.raises(RecipeError, match=complaint):
        check_plan(plan, halves=halves)


def test_a_plan_survives_json():
    plan = json.loads(json.dumps(Plan([(0, "identity", 1, "mean3"), (2, "max3", 0, "identity")], [2, 3])))
    halves = json.loads(json.dumps(Plan([(1, "identity", 0, "max3")], [2])))
    model = NASNet(**{**VARIANTS["nasnet_mini"], "normal": plan, "reduction": halves})
    assert model.body.channels == (16, 32, 64)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_identities_are_never_dropped():
    plan = Plan([(1, "identity", 1, "max3")], [2])
    network = cell(plan, stride=1, dropped=1.0)
    network.drop.train()
    newer, older = torch.randn(1, 6, 8, 8), torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(network(newer, older), network.newer(newer))


def test_every_weight_learns():
    model = NASNet(**VARIANTS["nasnet_mini"])
    model.loss(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))["class"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_narrow_pointwise_with_a_stride_trains_on_two_threads():
    layer = Pointwise(8, 6, 2).to(memory_format=torch.channels_last)
    pictures = torch.randn(31, 8, 16, 16).to(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        layer(pictures).square().sum().backward()
    finally:
        torch.set_num_threads(threads)
    small = pictures[:, :, ::2, ::2].movedim(1, -1).reshape(-1, 8).double()
    expected = 2 * (small @ layer.weight.detach().double().flatten(1).T).T @ small
    torch.testing.assert_close(layer.weight.grad.flatten(1).double(), expected, rtol=1e-4, atol=1e-3)
