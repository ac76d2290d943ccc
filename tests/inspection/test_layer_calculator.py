"""One layer at a time: sizes against PyTorch, formulas word by word, and layers that cannot be."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from siseon.inspection.calculator import layer
from siseon.inspection.formulas import formulas
from siseon.interface import SiseonError


def test_a_convolution_of_the_notes():
    row = layer("conv", (3, 32, 32), filters=10, kernel=4, stride=2, padding=1)
    assert (row.output, row.weights, row.parameters, row.macs) == ((10, 16, 16), 480, 490, 122_880)
    assert formulas(row) == [
        "output size: O = (I + 2P - D(K-1) - 1)/S + 1 = (32 + 2*1 - 4)/2 + 1 = 16",
        "parameters: (4*4*3 + 1)*10 = 490",
        "MACs: 4*4*3*10*16*16 = 122,880",
        "memory: 10*16*16 = 2,560; 2,560*4 = 10,240 bytes",
        "receptive field: r = r_in + D(K-1)*j_in = 1 + 3*1 = 4",
        "jump: j = j_in*S = 1*2 = 2",
    ]


def test_alexnets_first_layer():
    lines = formulas(layer("conv", (3, 227, 227), filters=96, kernel=11, stride=4))
    assert "output size: O = (I + 2P - D(K-1) - 1)/S + 1 = (227 + 0 - 11)/4 + 1 = 55" in lines
    assert "parameters: (11*11*3 + 1)*96 = 34,944" in lines


def test_a_size_that_does_not_divide():
    lines = formulas(layer("conv", (3, 224, 224), filters=96, kernel=11, stride=4))
    assert lines[0].endswith("(224 + 0 - 11)/4 + 1 = 54.25 -> 54")
    assert lines[1] == "rounded down: it does not divide: 1 of 224 left out at the end"
    korean = formulas(layer("conv", (3, 224, 224), filters=96, kernel=11, stride=4), "ko")
    assert korean[1] == "내림: 나누어떨어지지 않는다: 224줄 가운데 끝의 1줄은 쓰지 않는다"


def test_only_padding_is_left_out():
    lines = formulas(layer("max_pool", (64, 112, 112), kernel=3, stride=2, padding=1))
    assert lines[1] == "rounded down: it does not divide: 1 of 114 left out at the end, all of it padding"


def test_lenets_first_layer_as_a_fully_connected_one():
    row = layer("fully_connected", (1, 32, 32), filters=28 * 28 * 6, bias=False)
    assert row.weights == 4_816_896
    assert "receptive field: the whole map of n cells: r = r_in + (n - 1)*j_in = 1 + (32 - 1)*1 = 32" in formulas(row)


@pytest.mark.parametrize(("kernel", "size"), [(3, 126), (5, 124)])
def test_without_padding(kernel, size):
    assert layer("conv", (3, 128, 128), filters=1, kernel=kernel).output == (1, size, size)


def test_height_and_width_apart():
    row = layer("conv", (3, 70, 7), filters=2, kernel=(3, 5), dilation=2, padding=(1, 2))
    assert (row.output, row.receptive_field) == ((2, 68, 3), (5, 9))
    lines = formulas(row)
    assert "dilated kernel (width): D(K-1) + 1 = 2*(5 - 1) + 1 = 9" in lines
    assert "output size (height): O = (I + 2P - D(K-1) - 1)/S + 1 = (70 + 2*1 - 5)/1 + 1 = 68" in lines


def test_grouped_convolution():
    row = layer("conv", (128, 14, 14), filters=128, kernel=3, padding=1, groups=32, bias=False)
    assert (row.kind, row.weights) == ("grouped convolution", 4_608)
    assert "parameters: 3*3*4*128 = 4,608" in formulas(row)


def test_transposed_convolution():
    row = layer("transposed", (8, 7, 7), filters=4, kernel=4, stride=2, padding=1)
    assert (row.output, row.macs, row.jump) == ((4, 14, 14), 4 * 4 * 8 * 4 * 49, (0.5, 0.5))
    lines = formulas(row)
    assert "output size: O = (I - 1)S - 2P + D(K-1) + 1 + P_out = (7 - 1)*2 - 2*1 + 4 + 0 = 14" in lines
    assert "jump: j = j_in/S = 1/2 = 1/2" in lines


def test_pooling_strides_by_its_kernel_and_has_no_parameters():
    row = layer("avg_pool", (6, 28, 28), kernel=2)
    assert (row.kind, row.output, row.parameters, row.macs) == ("average pooling", (6, 14, 14), 0, 0)


def test_depthwise_multiplier():
    row = layer("depthwise", (8, 8, 8), filters=16, kernel=3, padding=1, bias=False)
    assert (row.output, row.weights) == ((16, 8, 8), 144)


sizes = st.tuples(st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))


@settings(max_examples=60, deadline=None)
@given(
    sizes,
    st.integers(1, 4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(1, 2),
)
def test_agrees_with_a_real_convolution(size, filters, kernel, stride, padding, dilation):
    assume(all(dilation * (kernel[axis] - 1) < size[axis + 1] + 2 * padding[axis] for axis in (0, 1)))
    row = layer("conv", size, filters=filters, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    real = nn.Conv2d(size[0], filters, kernel, stride, padding, dilation)
    output = real(torch.zeros(1, *size))
    assert row.output == tuple(output.shape[1:])
    assert row.parameters == sum(parameter.numel() for parameter in real.parameters())
    assert row.macs == real.weight[0].numel() * output.numel()
    assert any(line.startswith("parameters: (") for line in formulas(row))


@pytest.mark.parametrize(
    ("kind", "size", "options", "problem"),
    [
        ("conv", (3, 4, 4), {"filters": 8, "kernel": 5}, "does not fit the height of 4"),
        ("conv", (3, 9, 4), {"filters": 8, "kernel": 3, "dilation": 2}, "does not fit the width of 4"),
        ("conv", (3, 4, 4), {"kernel": 3}, "needs a number of filters"),
        ("conv", (3, 4, 4), {"filters": 8}, "needs a kernel"),
        ("conv", (3, 4, 4), {"filters": 8, "kernel": 3, "groups": 2}, "do not divide into 2 groups"),
        ("conv", (3, 4, 4), {"filters": 8, "kernel": 3, "stride": -1}, "below 1"),
        ("conv", (0, 4, 4), {"filters": 8, "kernel": 3}, "below 1"),
        ("max_pool", (3, 4, 4), {"kernel": 2, "padding": 2}, "more than half"),
        ("avg_pool", (3, 9, 9), {"kernel": 2, "dilation": 2}, "no dilation"),
        ("dense", (3, 4, 4), {"filters": 8, "kernel": 1}, "No layer of the kind 'dense'"),
    ],
)
def test_layers_that_cannot_be(kind, size, options, problem):
    with pytest.raises(SiseonError, match=problem) as caught:
        layer(kind, size, **options)
    assert caught.value.remedy
