"""The figures of one layer that need not exist yet: sizes in, a row out."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from siseon.inspection.rows import Row, Window
from siseon.inspection.table import Table, table
from siseon.interface import SiseonError, Size

LayerKind: TypeAlias = Literal["conv", "depthwise", "transposed", "max_pool", "avg_pool", "fully_connected"]


def layer(
    kind: LayerKind,
    input: tuple[int, int, int],
    *,
    filters: int | None = None,
    kernel: Size | int | None = None,
    stride: Size | int | None = None,
    padding: Size | int = 0,
    dilation: Size | int = 1,
    groups: int = 1,
    bias: bool = True,
) -> Row:
    """The row of one layer for an input (channels, height, width); its `formulas` show how each figure came about.

    filters: output channels, or the units of a fully connected layer; a depthwise convolution keeps the channels unless
    told otherwise. stride: 1, but for pooling the kernel's size. Raises SiseonError where there can be no such layer.
    """
    slides = Window(
        (1, 1) if kernel is None else _pair(kernel),
        _pair(stride or (kernel if kernel is not None and kind in ("max_pool", "avg_pool") else 1)),
        _pair(padding),
        _pair(dilation),
        groups,
        transposed=kind == "transposed",
    )
    if kernel is None and kind != "fully_connected":
        raise SiseonError(f"A layer of the kind {kind} needs a kernel", "Give its size, as in kernel=3.")
    return _layer_table(kind, input, slides, filters, bias).rows[-1]


def _layer_table(
    kind: LayerKind, input: tuple[int, int, int], window: Window, filters: int | None, bias: bool
) -> Table:
    """The table of one layer, its input in front."""
    if kind not in get_args(LayerKind):
        raise SiseonError(f"No layer of the kind {kind!r}", f"Choose one of {', '.join(get_args(LayerKind))}.")
    channels, height, width = input
    filters = channels if filters is None and kind in ("depthwise", "max_pool", "avg_pool") else filters
    if filters is None:
        raise SiseonError(f"A layer of the kind {kind} needs a number of filters", "Give it, as in filters=64.")
    if kind == "depthwise":
        window = window._replace(groups=channels)
    _check(kind, input, window, filters)
    with torch.device("meta"):
        module = _module(kind, input, window, filters, bias)
    return table(module, (height, width), channels=channels)


def _module(kind: LayerKind, input: tuple[int, int, int], window: Window, filters: int, bias: bool) -> nn.Module:
    kernel, stride, padding, dilation, groups = window[:5]
    match kind:
        case "max_pool":
            return nn.MaxPool2d(kernel, stride, padding, dilation)
        case "avg_pool":
            return nn.AvgPool2d(kernel, stride, padding)
        case "fully_connected":
            return nn.Sequential(nn.Flatten(), nn.Linear(input[0] * input[1] * input[2], filters, bias))
        case "transposed":
            return nn.ConvTranspose2d(
                input[0], filters, kernel, stride, padding, groups=groups, bias=bias, dilation=dilation
            )
        case _:
            return nn.Conv2d(input[0], filters, kernel, stride, padding, dilation, groups, bias)


def _check(kind: LayerKind, input: tuple[int, int, int], window: Window, filters: int) -> None:
    """What PyTorch would refuse, in words."""
    numbers = (*input, *window.kernel, *window.stride, *window.dilation, window.groups, filters)
    if min(numbers) < 1 or min(window.padding) < 0:
        raise SiseonError("A size of the layer is below 1", "Only padding may be 0.")
    if kind == "avg_pool" and window.dilation != (1, 1):
        raise SiseonError("Average pooling has no dilation", "Leave dilation at 1.")
    if kind.endswith("pool") and any(2 * window.padding[axis] > window.kernel[axis] for axis in (0, 1)):
        raise SiseonError("Padding of a pooling is more than half its kernel", "Choose a smaller padding.")
    if input[0] % window.groups or filters % window.groups:
        problem = f"{input[0]} channels and {filters} filters do not divide into {window.groups} groups"
        raise SiseonError(problem, "Choose groups that divide both.")
    for axis, name in ((0, "height"), (1, "width")):
        length = input[axis + 1] + 2 * window.padding[axis]
        if not window.transposed and window.reach(axis) > length:
            problem = f"A kernel that covers {window.reach(axis)} does not fit the {name} of {length}, padding included"
            raise SiseonError(problem, "Choose a smaller kernel or dilation, more padding, or a larger input.")


def _pair(size: Size | int) -> Size:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
