"""Receptive fields: which pixels of the picture a cell of a feature map sees, followed from layer to layer, per axis.

A map repeats itself: `len(phases)` cells further, a cell sees the same pixels moved by `step`. One phase is enough
until something enlarges. Where branches meet, the union counts, which is the maximum where they are centred alike.
Source: Dumoulin and Visin 2016 (arXiv:1603.07285) for sizes; Araujo, Norris and Sim 2019 (Distill) for fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

Interval: TypeAlias = tuple[int, int]
"""The first and the last pixel seen; picture edges ignored, so that it may begin below 0."""


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a feature map of `cells` cells. A phase is None where a cell sees nothing (a gap).

    `shared` pixels are seen by every cell (through a squeeze-and-excitation gate, or a pooled picture spread again);
    of a `uniform` map that is all.
    """

    cells: int
    phases: tuple[Interval | None, ...] = ((0, 0),)
    step: Fraction = Fraction(1)
    shared: int = 0
    uniform: bool = False

    @property
    def size(self) -> int:
        """The receptive field in pixels: that of the cell that sees most."""
        sizes = [] if self.uniform else [seen[1] - seen[0] + 1 for seen in self.phases if seen is not None]
        return max(*sizes, self.shared, 0)

    @property
    def jump(self) -> Fraction:
        """The distance in pixels between neighbouring cells: the product of the strides."""
        return self.step / len(self.phases)

    def seen(self, cell: int) -> Interval | None:
        """What a cell sees; cells outside of the map go on as those inside."""
        turn, phase = divmod(cell, len(self.phases))
        found, shift = self.phases[phase], int(turn * self.step)
        return None if found is None else (found[0] + shift, found[1] + shift)

    def moved(self, cells: int, taps: Callable[[int], Iterable[int]], *, every: int, by: int) -> Span:
        """The map whose cell i sees the cells taps(i) of this one; taps(i + every) are taps(i) moved on by `by`."""
        turns = len(self.phases) // math.gcd(len(self.phases), by)
        phases = tuple(_union(map(self.seen, taps(cell))) for cell in range(every * turns))
        return replace(self, cells=cells, phases=phases, step=self.jump * by * turns)

    def window(self, *, kernel: int, stride: int, padding: int, dilation: int, cells: int) -> Span:
        """After a convolution or pooling."""

        def taps(cell: int) -> Iterable[int]:
            first = cell * stride - padding
            return range(first, first + dilation * (kernel - 1) + 1, dilation)

        return self.moved(cells, taps, every=1, by=stride)

    def transposed(self, *, kernel: int, stride: int, padding: int, dilation: int, cells: int) -> Span:
        """After a transposed convolution: cell i of this map reaches cells i * stride - padding + tap * dilation."""

        def taps(cell: int) -> Iterable[int]:
            reached = (cell + padding - tap * dilation for tap in range(kernel))
            return [position // stride for position in reached if position % stride == 0]

        return self.moved(cells, taps, every=stride, by=1)

    def interpolated(self, cells: int, *, taps: int, corners: bool = False) -> Span:
        """After resampling from `taps` cells an axis (nearest 1, linear 2, cubic 4); corners: align_corners."""
        if cells == self.cells:
            return self
        if self.cells == 1:
            return replace(self, cells=cells, shared=self.size, uniform=True)
        factor = Fraction(cells - 1, self.cells - 1) if corners else nominal_factor(self.cells, cells)
        if not factor:
            return self.whole()

        def read(cell: int) -> Iterable[int]:
            if taps == 1:
                return [math.floor(cell / factor)]
            place = cell / factor if corners else (cell + Fraction(1, 2)) / factor - Fraction(1, 2)
            near = math.floor(place)
            return [near] if place == near else range(near - taps // 2 + 1, near + taps // 2 + 1)

        return self.moved(cells, read, every=factor.numerator, by=factor.denominator)

    def adaptive(self, cells: int) -> Span:
        """After adaptive pooling to `cells` cells."""
        if cells == 1:
            return self.whole()
        ratio = Fraction(self.cells, cells)

        def taps(cell: int) -> Iterable[int]:
            return range(math.floor(cell * ratio), math.ceil((cell + 1) * ratio))

        return self.moved(cells, taps, every=ratio.denominator, by=ratio.numerator)

    def whole(self) -> Span:
        """One cell that sees all cells: a fully connected layer or a global mean, as a window over the whole map."""
        return replace(self, cells=1, phases=(_union(map(self.seen, range(self.cells))),), step=self.jump)

    def cropped(self, start: int, step: int, cells: int) -> Span:
        """Every `step`-th cell from `start` on; a negative start pads."""
        return self.window(kernel=1, stride=step, padding=-start, dilation=1, cells=cells)


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
    """A map of one cell, beside larger ones, is spread over all their cells."""
    cells = max(span.cells for span in spans)
    moving = [span for span in spans if span.cells == cells and not span.uniform]
    shared = max([span.shared for span in spans] + [span.size for span in spans if span not in moving])
    if not moving:
        return replace(spans[0], cells=cells, shared=shared, uniform=True)
    if len({span.jump for span in moving}) > 1:
        return None
    period = math.lcm(*(len(span.phases) for span in moving))
    phases = tuple(_union(span.seen(cell) for span in moving) for cell in range(period))
    return replace(moving[0], phases=phases, step=moving[0].jump * period, shared=shared)


def _union(intervals: Iterable[Interval | None]) -> Interval | None:
    found = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None
