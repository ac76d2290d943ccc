"""What the command `siseon inspect` prints: a network's layer table, or the arithmetic of one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from torch import nn

from siseon.inspection.calculator import LayerKind, layer
from siseon.inspection.formulas import formulas as arithmetic
from siseon.inspection.render import kind as kind_in_words
from siseon.inspection.render import shape
from siseon.inspection.rows import Row
from siseon.inspection.table import Table, table
from siseon.inspection.words import Language
from siseon.interface import SiseonError, Size

Format: TypeAlias = Literal["text", "markdown", "csv", "html"]


def inspect_model(
    model: nn.Module,
    image_size: Size | int,
    *,
    channels: int = 3,
    batch: int = 1,
    format: Format = "text",
    language: Language = "en",
    formulas: bool = False,
) -> str:
    """The layer table of a model as text, Markdown, CSV (write it as utf-8-sig) or HTML (always with formulas)."""
    found = table(model, image_size, channels=channels, batch=batch)
    return rendered(found, format=format, language=language, formulas=formulas)


def rendered(found: Table, *, format: Format, language: Language, formulas: bool) -> str:
    """A table in one of the formats."""
    match format:
        case "text":
            return found.to_text(language, formulas)
        case "markdown":
            return found.to_markdown(language, formulas)
        case "csv":
            return found.to_csv(language)
        case "html":
            return found.to_html(language)
    raise SiseonError(f"No format {format!r}", f"Choose one of {', '.join(get_args(Format))}.")


def inspect_layer(
    kind: LayerKind,
    input: Sequence[int] | str,
    *,
    filters: int | None = None,
    kernel: Size | int | None = None,
    stride: Size | int | None = None,
    padding: Size | int = 0,
    dilation: Size | int = 1,
    groups: int = 1,
    bias: bool = True,
    format: Format = "text",
    language: Language = "en",
) -> str:
    """The arithmetic of one layer; input is (channels, height, width), or text such as 3,32,32."""
    sizes = _sizes(input)
    row = layer(
        kind,
        sizes,
        filters=filters,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    if format != "text":
        picture = Row("input", "input", "input", (), sizes)
        found = Table(row.type, (sizes[1], sizes[2]), sizes[0], 1, (picture, row))
        return rendered(found, format=format, language=language, formulas=True)
    head = f"{kind_in_words(row, language)}: {shape(sizes)} -> {shape(row.output)}"
    return "\n".join([head, *(f"    {line}" for line in arithmetic(row, language))]) + "\n"


def _sizes(input: Sequence[int] | str) -> tuple[int, int, int]:
    try:
        channels, height, width = (int(part) for part in (input.split(",") if isinstance(input, str) else input))
    except ValueError:
        problem = f"The input {input!r} is not channels,height,width"
        raise SiseonError(problem, "Give three whole numbers, as in 3,32,32.") from None
    return channels, height, width
