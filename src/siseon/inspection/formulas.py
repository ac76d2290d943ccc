"""How each figure of a layer is computed, spelled out with its numbers.

A formula is printed only where its result is the figure that the run gave; otherwise the figure stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

from siseon.inspection.rows import BYTES_PER_VALUE, Row, Window
from siseon.inspection.words import Language, sentence, term

_Line: TypeAlias = tuple[str, str]
"""What is computed, and how."""


def formulas(row: Row, language: Language = "en") -> list[str]:
    """The lines of arithmetic for one layer: output size, parameters, MACs, memory, receptive field."""
    lines = [
        *_output_lines(row, language),
        *_parameter_lines(row, language),
        *_mac_lines(row, language),
        *_memory_lines(row, language),
        *_field_lines(row, language),
    ]
    return [f"{label}: {text}" for label, text in lines]


def _both_axes(rows: Sequence[_Line], columns: Sequence[_Line], language: Language) -> list[_Line]:
    """Once if height and width are computed alike, else both, each named."""
    if rows == columns:
        return list(rows)
    named = ((term("height", language), rows), (term("width", language), columns))
    return [(f"{label} ({axis})", text) for axis, lines in named for label, text in lines]


# ------------------------------------------------------------------------------------------------------- output size


def _output_lines(row: Row, language: Language) -> list[_Line]:
    label = term("output size", language)
    if len(row.input) == len(row.output) == 3:
        if row.window is not None:
            rows, columns = (list(_window_lines(row, row.window, axis, language)) for axis in (0, 1))
            return _both_axes(rows, columns, language)
        if row.kind in ("adaptive pooling", "global average pooling"):
            rows, columns = (
                [(label, sentence("adaptive", language, length=row.input[axis], cells=row.output[axis]))]
                for axis in (1, 2)
            )
            return _both_axes(rows, columns, language)
    if row.kind == "concatenation" and row.output and row.output[0] == sum(shape[0] for shape in row.inputs):
        return [(term("channels", language), " + ".join(str(shape[0]) for shape in row.inputs) + f" = {row.output[0]}")]
    if row.kind == "flatten" and len(row.input) > 1 and row.output == (math.prod(row.input),):
        return [(label, f"{_product(row.input)} = {row.output[0]:,}")]
    return []


def _window_lines(row: Row, window: Window, axis: int, language: Language) -> Iterator[_Line]:
    label = term("output size", language)
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    size, wanted, reach = row.input[axis + 1], row.output[axis + 1], window.reach(axis)
    if dilation > 1:
        yield term("dilated kernel", language), f"D(K-1) + 1 = {dilation}*({kernel} - 1) + 1 = {reach}"
    if window.transposed:
        numbers = f"({size} - 1)*{stride} - 2*{window.padding[axis]} + {reach} + {window.output_padding[axis]}"
        yield label, f"O = (I - 1)S - 2P + D(K-1) + 1 + P_out = {numbers} = {wanted}"
        return
    once = window.extra_padding[axis]
    twice = 2 * window.padding[axis]
    padding = " + ".join([f"2*{window.padding[axis]}"] * bool(twice) + [str(once)] * bool(once)) or "0"
    length = size + twice + once
    exact = Fraction(length - reach, stride) + 1
    numbers = f"({size} + {padding} - {reach})/{stride} + 1 = {_decimal(exact)}"
    rounded = "" if exact == wanted else f" -> {wanted}"
    yield label, f"O = (I + 2P - D(K-1) - 1)/S + 1 = {numbers}{rounded}"
    if exact < wanted:
        yield (
            term("rounded up", language),
            sentence("last window", language),
        )
    if exact > wanted:
        left = length - reach - (wanted - 1) * stride
        name = "left over" if left > window.padding[axis] else "padding left over"
        yield term("rounded down", language), sentence(name, language, left=left, length=length)


# ------------------------------------------------------------------------------------------------- parameters, MACs


def _parameter_lines(row: Row, language: Language) -> list[_Line]:
    label = term("parameters", language)
    if not row.parameters:
        return [(label, sentence("shared", language, name=row.shares) if row.shares else "0")]
    factors, units = _filters(row)
    bias = units if row.biases else 0
    if factors and (math.prod(factors) * units, bias) == (row.weights, row.biases):
        one = _product(factors)
        return [(label, f"({one} + 1)*{units} = {row.parameters:,}" if bias else f"{one}*{units} = {row.weights:,}")]
    if row.kind == "normalisation" and row.weights == row.biases:
        return [(label, f"2*{row.weights} = {row.parameters:,}")]
    return [(label, f"{row.weights:,} + {row.biases:,} = {row.parameters:,}" if row.biases else f"{row.weights:,}")]


def _filters(row: Row) -> tuple[tuple[int, ...], int]:
    """The factors whose product is the weights of one unit, and the number of units; nothing for other layers."""
    if row.kind == "fully connected" and row.input and row.output:
        return (row.input[-1],), row.output[-1]
    if row.window is None or "convolution" not in row.kind or len(row.input) != 3:
        return (), 0
    return (*row.window.kernel, row.input[0] // row.window.groups), row.output[0]


def _mac_lines(row: Row, language: Language) -> list[_Line]:
    if not row.macs:
        return []
    factors, units = _filters(row)
    places = row.output[:-1]
    if row.window is not None:
        places = (row.input if row.window.transposed else row.output)[1:]
    every = [*factors, units, *places, *_items(row)]
    exact = bool(factors) and math.prod(every) == row.macs
    return [(term("MACs", language), f"{_product(every)} = {row.macs:,}" if exact else f"{row.macs:,}")]


def _memory_lines(row: Row, language: Language) -> list[_Line]:
    label = term("memory", language)
    if not row.output:
        return []
    if not row.activations:
        return [(label, sentence("in place" if row.in_place else "view", language))]
    every = [*row.output, *_items(row)]
    values = f"{row.activations:,}"
    if len(every) > 1 and math.prod(every) == row.activations:
        values = f"{_product(every)} = {values}"
    return [(label, f"{values}; {row.activations:,}*{BYTES_PER_VALUE} = {row.bytes:,} {term('bytes', language)}")]


# --------------------------------------------------------------------------------------------------- receptive field


def _field_lines(row: Row, language: Language) -> list[_Line]:
    label = term("receptive field", language)
    if row.kind == "input" or not row.output:
        return []
    if row.reach is None or row.reach_before is None:
        return [(label, term("unknown", language))]
    if row.reach == row.reach_before:
        size = "x".join(str(side) for side in dict.fromkeys(row.reach.receptive_field))
        return [(label, f"{size} ({term('unchanged', language)})")]
    rows, columns = (list(_axis_field(row, axis, language)) for axis in (0, 1))
    return _both_axes(rows, columns, language)


def _axis_field(row: Row, axis: int, language: Language) -> Iterator[_Line]:
    assert row.reach is not None and row.reach_before is not None
    before, jump_before = row.reach_before.receptive_field[axis], row.reach_before.jump[axis]
    after, jump = row.reach.receptive_field[axis], row.reach.jump[axis]
    steps = (after - before) / jump_before
    text = f"{before} -> {after}"
    if row.window is not None and not row.window.transposed and steps == row.window.reach(axis) - 1:
        text = f"r = r_in + D(K-1)*j_in = {before} + {steps}*{jump_before} = {after}"
    elif row.kind in ("fully connected", "global average pooling") and steps.denominator == 1:
        whole = sentence("whole map", language)
        text = f"{whole}: r = r_in + (n - 1)*j_in = {before} + ({steps + 1} - 1)*{jump_before} = {after}"
    yield term("receptive field", language), text
    if jump != jump_before:
        formula, stride = f"j = j_in*S = {jump_before}*", jump / jump_before
        if stride < 1:
            formula, stride = f"j = j_in/S = {jump_before}/", 1 / stride
        yield term("jump", language), f"{formula}{stride} = {jump}"


# ----------------------------------------------------------------------------------------------------------- numbers


def _items(row: Row) -> list[int]:
    return [row.items] if row.items > 1 else []


def _product(factors: Sequence[int]) -> str:
    return "*".join(map(str, factors))


def _decimal(number: Fraction) -> str:
    return f"{float(number):.2f}".rstrip("0").rstrip(".")
