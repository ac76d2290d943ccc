"""Receptive fields: which pixels of the picture a cell of a feature map sees, followed from layer to layer.

One `Span` an axis: cell i sees the pixels low + i * jump ... high + i * jump. Padding moves a span, a window widens it,
a stride multiplies its jump; where branches meet, the union counts, which is the maximum when they are centred alike.
Source: Dumoulin and Visin 2016 (arXiv:1603.07285) for sizes; Araujo, Norris and Sim 2019 (Distill) for fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a feature map: `cells` cells, and what cell i sees.

    jump is the distance in pixels between neighbouring cells (the product of the strides). `shared` pixels are seen by
    every cell (a squeeze-and-excitation gate, a pooled picture spread out again); of a `uniform` map that is all.
    """

    cells: int
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    jump: Fraction = Fraction(1)
    shared: int = 0
    uniform: bool = False

    @property
    def size(self) -> int:
        """The receptive field in pixels, picture edges not counted."""
        return max(0 if self.uniform else math.ceil(self.high - self.low) + 1, self.shared)

    def moved(self, first: Fraction, last: Fraction, jump: Fraction, cells: int) -> Span:
        """The span of a map whose cell 0 sees cells `first` to `last` of this one."""
        return replace(
            self, cells=cells, low=self.low + first * self.jump, high=self.high + last * self.jump, jump=jump
        )

    def window(self, *, kernel: int, stride: int | Fraction, padding: int, dilation: int, cells: int) -> Span:
        """After a convolution or pooling."""
        first = Fraction(-padding)
        return self.moved(first, first + dilation * (kernel - 1), self.jump * stride, cells)

    def transposed(self, *, kernel: int, stride: int, padding: int, dilation: int, cells: int) -> Span:
        """After a transposed convolution; of the `stride` kinds of output cells the one that sees most."""
        reach = dilation * (kernel - 1) + 1
        inputs = -(-reach // stride)
        centre = (padding - Fraction(reach - 1, 2)) / stride
        half = Fraction(inputs - 1, 2)
        return self.moved(centre - half, centre + half, self.jump / stride, cells)

    def interpolated(self, cells: int, *, taps: int, corners: bool = False) -> Span:
        """After resampling from `taps` cells an axis (nearest 1, linear 2, cubic 4); corners: align_corners."""
        if cells == self.cells:
            return self
        if self.cells == 1:
            return replace(self, cells=cells, shared=self.size, uniform=True)
        factor = Fraction(cells - 1, self.cells - 1) if corners else nominal_factor(self.cells, cells)
        if not factor:
            return self.whole()
        centre = Fraction(0) if corners else (1 / factor - 1) / 2
        half = Fraction(taps - 1, 2)
        return self.moved(centre - half, centre + half, self.jump / factor, cells)

    def adaptive(self, cells: int) -> Span:
        """After adaptive pooling to `cells` cells."""
        if cells == 1:
            return self.whole()
        edges = [(index * self.cells // cells, -(-(index + 1) * self.cells // cells)) for index in range(cells)]
        kernel = max(end - start for start, end in edges)
        return self.window(kernel=kernel, stride=Fraction(self.cells, cells), padding=0, dilation=1, cells=cells)

    def whole(self) -> Span:
        """One cell that sees all cells: a fully connected layer or a global mean, as a window over the whole map."""
        return self.moved(Fraction(0), Fraction(self.cells - 1), self.jump, 1)

    def cropped(self, start: int, step: int, cells: int) -> Span:
        """Every `step`-th cell from `start` on; a negative start pads."""
        return self.moved(Fraction(start), Fraction(start), self.jump * step, cells)


Field: TypeAlias = tuple[Span, Span]
"""The spans of the rows and of the columns."""


def nominal_factor(cells: int, wanted: int) -> Fraction:
    """By how much a map was enlarged; 13 -> 25 counts as 2, since 25 cells at stride 2 make 13."""
    factor = Fraction(wanted, cells)
    near = round(factor)
    return Fraction(near) if near >= 1 and -(-wanted // near) == cells else factor


def meet(fields: Sequence[Field | None]) -> Field | None:
    """The field where maps are added, multiplied or concatenated; None where one is unknown or grids do not match."""
    known = [field for field in fields if field is not None]
    if not known or len(known) < len(fields):
        return None
    rows, columns = (_meet_spans([field[axis] for field in known]) for axis in (0, 1))
    return None if rows is None or columns is None else (rows, columns)


def _meet_spans(spans: Sequence[Span]) -> Span | None:
    cells = max(span.cells for span in spans)
    moving = [span for span in spans if span.cells == cells and not span.uniform]
    shared = max([span.shared for span in spans] + [span.size for span in spans if span not in moving])
    if not moving:
        return replace(spans[0], cells=cells, shared=shared, uniform=True)
    if len({span.jump for span in moving}) > 1:
        return None
    low, high = min(span.low for span in moving), max(span.high for span in moving)
    return replace(moving[0], low=low, high=high, shared=shared)
