"""The tables of LeNet-5, AlexNet and VGG, number by number, and receptive fields known from the literature."""

import pytest
import torch
from textbook_networks import alexnet, lenet5, vgg
from torch import nn

from siseon.inspection.calculator import layer
from siseon.inspection.table import table

WITH_WEIGHTS = ("convolution", "grouped convolution", "fully connected")


def test_lenet5():
    found = table(lenet5(), 32, channels=1)
    sized = [row for row in found.rows if row.kind in (*WITH_WEIGHTS, "average pooling")]
    assert [row.output for row in sized] == [
        (6, 28, 28),
        (6, 14, 14),
        (16, 10, 10),
        (16, 5, 5),
        (120, 1, 1),
        (84,),
        (10,),
    ]
    assert [row.parameters for row in sized] == [156, 0, 2416, 0, 48120, 10164, 850]
    assert found.totals.parameters == 61_706
    assert (sized[4].receptive_field, sized[4].jump) == ((32, 32), (4, 4))


def test_alexnet_in_two_towers():
    found = table(alexnet(), 227)
    layers = [row for row in found.rows if row.kind in (*WITH_WEIGHTS, "max pooling")]
    assert [row.output for row in layers[:8]] == [
        *((96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13)),
        *((384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)),
    ]
    weights = [row.weights for row in layers if row.weights]
    assert weights == [34_848, 307_200, 884_736, 663_552, 442_368, 37_748_736, 16_777_216, 4_096_000]
    sums = found.by_kind()
    assert sums["convolution"].weights + sums["grouped convolution"].weights == 2_332_704
    assert sums["fully connected"].weights == 58_621_952
    assert (found.totals.weights, found.totals.parameters) == (60_954_656, 60_965_224)
    assert (layers[7].receptive_field, layers[7].jump) == ((195, 195), (32, 32))


def test_alexnet_in_one_tower():
    assert table(alexnet(towers=1), 227).totals.parameters == 62_378_344


def test_alexnet_halves():
    """One of the two towers of each layer that is split: half the filters, and half the inputs from the second on."""
    assert layer("conv", (3, 227, 227), filters=48, kernel=11, stride=4).weights == 17_424
    assert layer("conv", (48, 27, 27), filters=128, kernel=5, padding=2).weights == 153_600
    assert layer("conv", (256, 13, 13), filters=192, kernel=3, padding=1).weights == 442_368
    assert layer("conv", (192, 13, 13), filters=192, kernel=3, padding=1).weights == 331_776
    assert layer("conv", (192, 13, 13), filters=128, kernel=3, padding=1).weights == 221_184


VGG16 = [
    *((150_528, 0), (3_211_264, 1_728), (3_211_264, 36_864), (802_816, 0)),
    *((1_605_632, 73_728), (1_605_632, 147_456), (401_408, 0)),
    *((802_816, 294_912), (802_816, 589_824), (802_816, 589_824), (200_704, 0)),
    *((401_408, 1_179_648), (401_408, 2_359_296), (401_408, 2_359_296), (100_352, 0)),
    *((100_352, 2_359_296), (100_352, 2_359_296), (100_352, 2_359_296), (25_088, 0)),
    *((4_096, 102_760_448), (4_096, 16_777_216), (1_000, 4_096_000)),
]


def test_vgg16_row_by_row():
    found = table(vgg(), 224)
    assert [(row.activations, row.weights) for row in found.rows if row.activations or row.weights] == VGG16
    assert found.totals.activations == 15_237_608
    assert found.totals.bytes == 60_950_432
    assert (found.totals.weights, found.totals.parameters) == (138_344_128, 138_357_544)
    assert found.totals.macs == 15_470_264_320
    last_pool = [row for row in found.rows if row.kind == "max pooling"][-1]
    assert (last_pool.receptive_field, last_pool.jump) == ((212, 212), (32, 32))


def test_vgg16_running_totals_and_largest():
    found = table(vgg(), 224)
    running = found.running()
    assert running[2].parameters == 1_792
    assert running[-1] == found.totals
    assert (found.largest("parameters").output, found.largest("parameters").weights) == ((4096,), 102_760_448)
    assert (found.largest("activations").name, found.largest("macs").name) == ("0", "2")


def test_vgg19():
    totals = table(vgg((2, 2, 4, 4, 4)), 224).totals
    assert (totals.activations, totals.weights, totals.parameters) == (16_542_184, 143_652_544, 143_667_240)
    assert totals.macs == 19_632_062_464


@pytest.mark.parametrize(("depth", "field"), [(2, 5), (3, 7), (7, 15)])
def test_stacks_of_three_by_three(depth, field):
    stack = nn.Sequential(*(nn.Conv2d(64, 64, 3, bias=False) for _ in range(depth)))
    found = table(stack, 32, channels=64)
    assert found.rows[-1].receptive_field == (field, field)
    assert found.totals.parameters == depth * 9 * 64 * 64


def test_one_large_kernel_against_small_ones():
    one, two = (layer("conv", (64, 32, 32), filters=64, kernel=k, bias=False).weights for k in (5, 3))
    assert (one, 2 * two) == (102_400, 73_728)
    one, two = (layer("conv", (64, 32, 32), filters=64, kernel=k, bias=False).weights for k in (7, 3))
    assert (one, 3 * two) == (200_704, 110_592)


def test_separable_convolution():
    depthwise = layer("depthwise", (512, 14, 14), kernel=3, padding=1, bias=False)
    pointwise = layer("conv", (512, 14, 14), filters=512, kernel=1, bias=False)
    assert (depthwise.kind, depthwise.weights + pointwise.weights) == ("depthwise convolution", 266_752)


class InceptionModule(nn.Module):
    """GoogLeNet's inception (3a)."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(192, 64, 1, bias=False)
        self.three = nn.Sequential(nn.Conv2d(192, 96, 1, bias=False), nn.Conv2d(96, 128, 3, padding=1, bias=False))
        self.five = nn.Sequential(nn.Conv2d(192, 16, 1, bias=False), nn.Conv2d(16, 32, 5, padding=2, bias=False))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(192, 32, 1, bias=False))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def test_inception_3a():
    found = table(InceptionModule(), 28, channels=192)
    assert (found.totals.weights, found.totals.macs) == (163_328, 128_049_152)
    last = found.rows[-1]
    assert (last.kind, last.output, last.receptive_field) == ("concatenation", (256, 28, 28), (5, 5))
    assert [shape[0] for shape in last.inputs] == [64, 128, 32, 32]
