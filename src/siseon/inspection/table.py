"""The layer table of any network: a row for each layer in the order of execution, with sizes, counts and fields.

Flow    a copy without weights runs on the meta device, at no cost; where the forward needs real numbers (a detector
        that sorts its proposals), the network itself runs once on zeros, and is left as it was.
Counts  MACs: one for each product of a weight and a value, biases not counted. Activations: values written to new
        memory, the picture included; results in place, views and dropout at rest write none. Parameters: each once.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import torch
from torch import Tensor, nn

from siseon.inspection import page, render
from siseon.inspection.rows import Kind, Measure, Row, Totals
from siseon.inspection.trace import Recorder, recording
from siseon.inspection.words import Language
from siseon.interface import SiseonError, Size

_USUAL_SIZES = (28, 32, 64, 96, 128, 160, 224, 227, 256, 299, 320, 416, 448, 512, 640, 800)


@dataclass(frozen=True, slots=True)
class Table:
    """The layers of one network at one picture size; the first row is the picture itself."""

    model: str
    image_size: Size
    channels: int
    batch: int
    rows: tuple[Row, ...]

    @property
    def totals(self) -> Totals:
        """The sums over all rows, parameters of parts that did not run included."""
        return reduce(Totals.plus, (row.totals for row in self.rows), Totals())

    def running(self) -> list[Totals]:
        """The totals up to each row, that row included."""
        return list(accumulate((row.totals for row in self.rows), Totals.plus))

    def by_kind(self) -> dict[Kind, Totals]:
        """The totals of each kind of layer, in order of first appearance."""
        sums: dict[Kind, Totals] = {}
        for row in self.rows:
            sums[row.kind] = sums.get(row.kind, Totals()).plus(row.totals)
        return sums

    def largest(self, measure: Measure) -> Row:
        """The row with the most of `measure`, the first of equals."""
        return max(self.rows, key=lambda row: int(getattr(row, measure)))

    def to_text(self, language: Language = "en", formulas: bool = False) -> str:
        """Aligned columns for a terminal; formulas: the arithmetic of each layer below."""
        return render.text(self, language, formulas)

    def to_markdown(self, language: Language = "en", formulas: bool = False) -> str:
        """A Markdown table, the summary, and with formulas the arithmetic of each layer."""
        return render.markdown(self, language, formulas)

    def to_csv(self, language: Language = "en") -> str:
        """Plain numbers, one value a column. Write it with encoding utf-8-sig for Excel in Korean."""
        return render.csv_text(self, language)

    def to_html(self, language: Language = "en") -> str:
        """One file that needs nothing else, in both languages; `language` is the one shown first."""
        return page.html(self, language)


def table(model: nn.Module, image_size: Size | int, *, channels: int = 3, batch: int = 1) -> Table:
    """The layer table of `model` for pictures [batch, channels, height, width], from one run in evaluation mode.

    The model is not changed. Raises SiseonError where the model cannot take such a picture, with a size that it can.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    if min(*size, channels, batch) < 1:
        raise SiseonError(f"A picture of {channels} x {size[0]} x {size[1]} is no picture", "Give sizes of 1 and more.")
    shape = (batch, channels, *size)
    recorder = _on_meta(model, shape)
    if recorder is None:
        recorder, error = _on_zeros(model, shape)
        if error is not None:
            raise _explained(model, recorder, shape, error) from error
    rows = (*recorder.rows, *recorder.leftovers())
    empty = next((row for row in rows if 0 in row.output), None)
    if empty is not None:
        raise SiseonError(_problem(model, shape) + f": nothing is left after {empty.name}", _remedy(model, shape))
    return Table(type(model).__name__, size, channels, batch, rows)


def _on_meta(model: nn.Module, shape: tuple[int, ...]) -> Recorder | None:
    """The run of a copy without weights; None where it needs real numbers, or fails."""
    try:
        hollow = skeleton(model).eval()
    except Exception:  # a part of the user's model that cannot be copied
        return None
    with torch.device("meta"):
        recorder, error = _run(hollow, torch.empty(shape, dtype=_type_of(model)))
    return recorder if error is None else None


def _on_zeros(model: nn.Module, shape: tuple[int, ...]) -> tuple[Recorder, Exception | None]:
    """The run of the model itself, where its parameters are."""
    first = next(model.parameters(), torch.empty(0))
    training = {module: module.training for module in model.modules()}
    try:
        with torch.random.fork_rng(devices=[]):
            return _run(model.eval(), torch.zeros(shape, dtype=_type_of(model), device=first.device))
    finally:
        for module, was in training.items():
            module.training = was


def _run(model: nn.Module, picture: Tensor) -> tuple[Recorder, Exception | None]:
    with _quiet(), torch.no_grad(), recording(model, picture) as recorder:
        try:
            model(picture)
        except Exception as error:  # whatever the user's forward raises is explained to the user
            return recorder, error
    return recorder, None


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the model's, and attention through the plain operators, whose cost can be counted."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _type_of(model: nn.Module) -> torch.dtype:
    return next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), torch.float32)


def skeleton(model: nn.Module) -> nn.Module:
    """A copy on the meta device: every module and attribute, but no numbers in parameters and buffers."""
    hollow: dict[int, object] = {}
    for parameter in model.parameters():
        empty = torch.empty_like(parameter, device="meta")
        hollow[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        hollow[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, hollow)


def _problem(model: nn.Module, shape: tuple[int, ...]) -> str:
    return f"{type(model).__name__} cannot take a picture of {shape[1]} x {shape[2]} x {shape[3]}"


def _explained(model: nn.Module, recorder: Recorder, shape: tuple[int, ...], error: Exception) -> SiseonError:
    if isinstance(error, SiseonError):
        return error
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(". ")
    problem = f"{_problem(model, shape)}: {recorder.place()}: {reason}"
    return SiseonError(problem, _remedy(model, shape))


def _remedy(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Another number of channels, or the smallest usual size that works."""
    wanted = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), shape[1])
    for size in _USUAL_SIZES:
        if _on_meta(model, (shape[0], wanted, size, size)) is not None:
            channels = "" if wanted == shape[1] else f" and channels={wanted}"
            return f"It takes image_size={size}{channels}."
    return "Give the picture size, and the channels, that the network was made for."
