"""What one tensor operator (an `aten` call) does: its window, its kind, its multiply-accumulates, the field after it.

The operators are PyTorch's own; every layer, nn module or plain function, comes down to some thirty of them. One that
is not listed here and does not work element by element makes the field unknown: better a dash than a wrong number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from siseon.inspection.fields import Field, Span, meet
from siseon.inspection.rows import Kind, Window
from siseon.interface import Size


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: operator name without overload, arguments as given and by name; batch: the pictures in the batch."""

    overload: torch._ops.OpOverload
    name: str
    given: tuple[Sequence[Any], dict[str, Any]]
    arguments: dict[str, Any]
    outputs: Any
    output: Tensor
    batch: int

    @property
    def changes_input(self) -> bool:
        """Whether the operator writes into a tensor that was there before."""
        return bool(self.overload._schema.is_mutable)


def operation(
    overload: torch._ops.OpOverload,
    given: tuple[Sequence[Any], dict[str, Any]],
    outputs: Any,  # noqa: ANN401
    batch: int,
) -> Operation | None:
    """The call with its arguments by name, defaults filled in; None if it makes no tensor."""
    output = next(iter(tensors_in(outputs)), None)
    if output is None:
        return None
    expected = overload._schema.arguments
    named = {argument.name: argument.default_value for argument in expected if argument.has_default_value()}
    named |= dict(zip([argument.name for argument in expected], given[0], strict=False)) | given[1]
    return Operation(overload, overload._schema.name.split("::")[-1], given, named, outputs, output, batch)


def tensors_in(value: object) -> list[Tensor]:
    """All tensors of a nest of tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors_in(list(value.values()))
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def pair(values: Sequence[int] | int) -> Size:
    """(height, width) from one or two numbers."""
    both = [values] if isinstance(values, int) else list(values)
    return (both[0], both[-1])


# ---------------------------------------------------------------------------------------------------------- windows


def window_of(call: Operation) -> Window | None:
    """The window of a convolution or pooling over two axes; None for other operators."""
    given = call.arguments
    if call.name == "convolution" and call.output.ndim == 4:
        return Window(
            pair(given["weight"].shape[2:]),
            pair(given["stride"]),
            pair(given["padding"]),
            pair(given["dilation"]),
            given["groups"],
            given["transposed"],
            pair(given["output_padding"]),
        )
    if call.name in ("max_pool2d_with_indices", "avg_pool2d", "max_pool2d"):
        return Window(
            pair(given["kernel_size"]),
            pair(given["stride"] or given["kernel_size"]),
            pair(given["padding"]),
            pair(given.get("dilation", 1)),
            rounded_up=given["ceil_mode"],
        )
    return None


# ------------------------------------------------------------------------------------------------------------ kinds

_KINDS: dict[str, Kind] = {
    "max_pool2d_with_indices": "max pooling",
    "avg_pool2d": "average pooling",
    "adaptive_max_pool2d": "adaptive pooling",
    "_adaptive_avg_pool2d": "adaptive pooling",
    "native_batch_norm": "normalisation",
    "native_layer_norm": "normalisation",
    "native_group_norm": "normalisation",
    "addmm": "fully connected",
    "mm": "fully connected",
    "linear": "fully connected",
    "bmm": "matrix product",
    "baddbmm": "matrix product",
    "embedding": "embedding",
    "constant_pad_nd": "padding",
    "reflection_pad2d": "padding",
    "replication_pad2d": "padding",
    "pixel_shuffle": "upsampling",
    "add": "addition",
    "sub": "addition",
    "mul": "multiplication",
    "cat": "concatenation",
}
_ACTIVATIONS = {
    *("relu", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid"),
    *("sigmoid", "tanh", "softplus", "log_sigmoid_forward", "_prelu_kernel", "_softmax", "_log_softmax"),
}
_JOINS = ("add", "sub", "mul", "cat")


def kind_of(call: Operation, tracked: int) -> Kind | None:
    """What a layer of this operator is called; None for operators that are no layer (views, arithmetic with constants).

    tracked: how many inputs come from the picture; a sum or product is a layer where two feature maps meet.
    """
    name = call.name.rstrip("_")
    if name == "convolution":
        return _kind_of_convolution(call)
    if name in _ACTIVATIONS:
        return "activation"
    if name.startswith(("upsample_", "_upsample_")):
        return "upsampling"
    if name in _JOINS and (tracked < 2 or call.output.ndim != 4):
        return None
    if name == "mean":
        spatial = call.arguments["self"].ndim == 4 and {axis % 4 for axis in call.arguments.get("dim") or ()} == {2, 3}
        return "global average pooling" if spatial else None
    if name == "_adaptive_avg_pool2d" and pair(call.output.shape[-2:]) == (1, 1):
        return "global average pooling"
    return _KINDS.get(name)


def _kind_of_convolution(call: Operation) -> Kind:
    if call.arguments["transposed"]:
        return "transposed convolution"
    groups: int = call.arguments["groups"]
    if groups > 1:
        return "depthwise convolution" if groups == call.arguments["input"].shape[1] else "grouped convolution"
    return "convolution"


# ------------------------------------------------------------------------------------------------------------- MACs


def macs_of(call: Operation) -> int:
    """Multiply-accumulates: each product of a weight and a value counts one, biases none."""
    if call.name == "mkldnn_rnn_layer":
        steps = math.prod(call.arguments["input"].shape[:2])
        return int(steps * (call.arguments["weight0"].numel() + call.arguments["weight1"].numel()))
    if call.name.startswith("_scaled_dot_product"):
        query, key, value = (call.arguments[name].shape for name in ("query", "key", "value"))
        return int(math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))
    count = flop_registry.get(call.overload.overloadpacket)
    if count is None:
        return 0
    positional, named = call.given
    return int(count(*positional, **named, out_val=call.outputs)) // 2


# ----------------------------------------------------------------------------------------------------------- fields

_UNCHANGED = {
    *("native_batch_norm", "native_layer_norm", "native_group_norm", "cudnn_batch_norm"),
    "native_dropout",
    *("clone", "_unsafe_view", "_to_copy", "copy_", "fill_", "zero_", "_reshape_alias", "as_strided_"),
}
"""Operators that leave the grid as it is without working element by element; statistics do not count as seeing."""

_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}


def field_after(call: Operation, tracked: Sequence[tuple[Tensor, Field | None]]) -> Field | None:
    """The field of the output, from the inputs that come from the picture; None where it cannot be told."""
    field = meet([field for _, field in tracked])
    if field is None:
        return None
    window = window_of(call)
    if window is not None:
        return slid(field, window, pair(call.output.shape[-2:]))
    rule = _RULES.get(call.name)
    if rule is not None:
        return rule(call, field)
    if call.name in ("addmm", "mm", "bmm", "baddbmm", "linear"):
        return _contracted(call, field, [tensor for tensor, _ in tracked])
    if call.name.startswith("upsample_"):
        return _upsampled(call, field)
    if call.overload.is_view:
        return field if _fits(call.output, field) else None
    elementwise = torch.Tag.pointwise in call.overload.tags or call.name.rstrip("_") in _ACTIVATIONS
    return field if elementwise or call.name in _UNCHANGED else None


def slid(field: Field, window: Window, output: Size) -> Field:
    """The field after a convolution or pooling whose output has `output` cells."""
    rows, columns = (_slid_span(field[axis], window, axis, output[axis]) for axis in (0, 1))
    return rows, columns


def _slid_span(span: Span, window: Window, axis: int, cells: int) -> Span:
    slide = span.transposed if window.transposed else span.window
    return slide(
        kernel=window.kernel[axis],
        stride=window.stride[axis],
        padding=window.padding[axis],
        dilation=window.dilation[axis],
        cells=cells,
    )


def _fits(output: Tensor, field: Field) -> bool:
    """Whether a reshaped map still has the grid of its field: [., ., h, w], [., h, w, .], or no grid at all."""
    cells = (field[0].cells, field[1].cells)
    return output.ndim != 4 or cells in (tuple(output.shape[2:]), tuple(output.shape[1:3]), (1, 1))


def _contracted(call: Operation, field: Field, tracked: Sequence[Tensor]) -> Field | None:
    """A matrix product: one row for a picture mixes the whole map, one for each cell (as in 1x1) only the channels."""
    if len(tracked) != 1:
        return None
    operand = tracked[0]
    length = operand.shape[-2] if operand is call.arguments.get("mat2") else operand.shape[-1]
    rows = operand.numel() // max(length, 1)
    if rows == call.batch:
        return field[0].whole(), field[1].whole()
    return field if rows % (call.batch * field[0].cells * field[1].cells) == 0 else None


def _upsampled(call: Operation, field: Field) -> Field | None:
    taps = _TAPS.get(call.name.removeprefix("upsample_").removesuffix("2d"))
    if taps is None or call.output.ndim != 4:
        return None
    corners = bool(call.arguments.get("align_corners"))
    height, width = call.output.shape[-2:]
    return (
        field[0].interpolated(height, taps=taps, corners=corners),
        field[1].interpolated(width, taps=taps, corners=corners),
    )


def _adaptive(call: Operation, field: Field) -> Field:
    height, width = call.output.shape[-2:]
    return field[0].adaptive(height), field[1].adaptive(width)


def _reduced(call: Operation, field: Field) -> Field | None:
    """A mean, sum or maximum over axes: over the grid it sees the whole map, over channels it changes nothing."""
    shape = call.arguments["self"].shape
    given = call.arguments.get("dim")
    axes = {axis % len(shape) for axis in ([given] if isinstance(given, int) else given or range(len(shape)))}
    grid = {2, 3} if len(shape) == 4 and _fits_channels_first(shape, field) else {1, 2} if len(shape) == 4 else None
    if grid is None:
        cells = field[0].cells * field[1].cells
        return (field[0].whole(), field[1].whole()) if math.prod(shape[axis] for axis in axes) == cells else None
    if not axes & grid:
        return field
    return (field[0].whole(), field[1].whole()) if grid <= axes else None


def _fits_channels_first(shape: Sequence[int], field: Field) -> bool:
    return (field[0].cells, field[1].cells) == tuple(shape[2:])


def _padded(call: Operation, field: Field) -> Field:
    """Padding is given from the last axis backwards: left, right, top, bottom, ..."""
    if call.output.ndim != 4:
        return field
    amounts = call.arguments.get("pad") or call.arguments["padding"]
    left, _, top, _ = (*amounts, 0, 0, 0, 0)[:4]
    height, width = call.output.shape[-2:]
    return field[0].cropped(-top, 1, height), field[1].cropped(-left, 1, width)


def _sliced(call: Operation, field: Field) -> Field | None:
    source: Tensor = call.arguments["self"]
    axis = call.arguments["dim"] % source.ndim
    if call.output.shape == source.shape or (source.ndim == 4 and axis < 2):
        return field
    if source.ndim != 4 or not _fits_channels_first(source.shape, field):
        return None
    length = source.shape[axis]
    start = call.arguments["start"] or 0
    start = max(start + length, 0) if start < 0 else start
    cut = field[axis - 2].cropped(start, call.arguments["step"], call.output.shape[axis])
    return (cut, field[1]) if axis == 2 else (field[0], cut)


def _selected(call: Operation, field: Field) -> Field | None:
    source: Tensor = call.arguments["self"]
    return field if source.ndim != 4 or call.arguments["dim"] % 4 < 2 else None


def _joined(call: Operation, field: Field) -> Field | None:
    axis = call.arguments["dim"] % call.output.ndim
    return field if call.output.ndim != 4 or axis < 2 else None


def _shuffled(call: Operation, field: Field) -> Field:
    height, width = call.output.shape[-2:]
    return field[0].interpolated(height, taps=1), field[1].interpolated(width, taps=1)


def _unshuffled(call: Operation, field: Field) -> Field:
    factor: int = call.arguments["downscale_factor"]
    return slid(field, Window((factor, factor), (factor, factor)), pair(call.output.shape[-2:]))


def _pooled_in_depth(call: Operation, field: Field) -> Field | None:
    """The sum over neighbouring channels in local response normalisation."""
    return field if tuple(call.arguments["kernel_size"])[-2:] == (1, 1) else None


_RULES: dict[str, Callable[[Operation, Field], Field | None]] = {
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "mean": _reduced,
    "sum": _reduced,
    "amax": _reduced,
    "constant_pad_nd": _padded,
    "reflection_pad2d": _padded,
    "replication_pad2d": _padded,
    "slice": _sliced,
    "select": _selected,
    "cat": _joined,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _unshuffled,
    "avg_pool3d": _pooled_in_depth,
}
