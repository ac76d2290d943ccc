"""The loops behind nms and roi, compiled for the processor on first use (numba); imported only when one of them runs.

Plain arrays in, plain arrays out. The compiled code is kept on disk beside this file, else in the user's cache
directory, else nowhere. Every kernel releases Python's lock and is called once a thread with a share of the work:
threads of Python need no threading layer, which in numba dies on a fork (GNU OpenMP) or on two callers at once
(workqueue). Arguments are positional because numba knows no others.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeAlias, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Floats: TypeAlias = NDArray[np.float32]
Whole: TypeAlias = NDArray[np.int64]
Places: TypeAlias = NDArray[np.int32]

LANES = 32
"""Boxes compared at a time: a whole number of vector registers, and few enough to stop early."""
PADDING = 16
"""Extra floats in a row of a buffer, so that a column of it does not fall on a few cache sets."""


class Taps(NamedTuple):
    """Along one axis: the cells that each bin of each region reads, [regions, bins, taps]; weight 0 reads nothing."""

    places: Whole
    weights: Floats


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function` as machine code, kept on disk where a directory can be written to."""
    # The tests' type checker wraps functions, and numba needs the bare one.
    function = inspect.unwrap(function)
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no directory to keep it in
        return numba.njit(nogil=True, error_model="numpy")(function)


@compiled
def hits(block: Floats, box: Floats, threshold: np.float32) -> np.int32:
    """How many of the LANES boxes in `block` [5, LANES] (edges, area) overlap `box` [5] by more than `threshold`."""
    zero = np.float32(0)
    left, top, right, bottom, area = box[0], box[1], box[2], box[3], box[4]
    count = np.int32(0)
    for lane in range(LANES):
        width = min(block[2, lane], right) - max(block[0, lane], left)
        height = min(block[3, lane], bottom) - max(block[1, lane], top)
        intersection = (width if width > zero else zero) * (height if height > zero else zero)
        count += np.int32(intersection / (block[4, lane] + area - intersection) > threshold)
    return count


@compiled
def clear(block: Floats) -> None:
    """Boxes turned inside out: they meet nothing, and 0 / 0 is not above any threshold."""
    for lane in range(LANES):
        block[0, lane] = block[1, lane] = np.inf
        block[2, lane] = block[3, lane] = -np.inf
        block[4, lane] = 0


@compiled
def first_blocks(counts: Whole) -> Whole:
    """The first block of each group of `counts` boxes, and one past the last; every group has one block to spare."""
    first = np.zeros(len(counts) + 1, np.int64)
    for group in range(len(counts)):
        first[group + 1] = first[group] + counts[group] // LANES + 1
    return first


@compiled
def nms(boxes: Floats, order: Whole, groups: Whole, counts: Whole, threshold: np.float32, limit: int) -> Whole:
    """Those of boxes [n, 4] that survive, in `order`, at most `limit`: each meets only survivors of its own group.

    groups: 0..len(counts)-1 for each box; counts: the boxes of each group.
    """
    first = first_blocks(counts)
    blocks = np.empty((first[-1], 5, LANES), np.float32)
    survivors = np.zeros(len(counts), np.int64)
    kept = np.empty(min(limit, len(order)), np.int64)
    found = 0
    box = np.empty(5, np.float32)
    for index in order:
        if found == len(kept):
            break
        for edge in range(4):
            box[edge] = boxes[index, edge]
        box[4] = (box[2] - box[0]) * (box[3] - box[1])
        group = groups[index]
        last = first[group] + survivors[group] // LANES
        lane = survivors[group] % LANES
        if lane == 0:
            clear(blocks[last])
        suppressed = np.int32(0)
        for block in range(first[group], last + 1):
            suppressed = hits(blocks[block], box, threshold)
            if suppressed:
                break
        if not suppressed:
            for edge in range(5):
                blocks[last, edge, lane] = box[edge]
            survivors[group] += 1
            kept[found] = index
            found += 1
    return kept[:found]


@compiled
def merge(places: Whole, weights: Floats, merged_places: Whole, merged_weights: Floats) -> int:
    """One bin's taps along one axis with neighbours on the same cell added up and zeros left out; how many remain."""
    count = 0
    for tap in range(len(places)):
        place, weight = places[tap], weights[tap]
        if weight == 0:
            continue
        if count > 0 and merged_places[count - 1] == place:
            merged_weights[count - 1] += weight
        elif count > 1 and merged_places[count - 2] == place:
            merged_weights[count - 2] += weight
        else:
            merged_places[count] = place
            merged_weights[count] = weight
            count += 1
    return count


@compiled
def merged(taps: Taps, region: int) -> tuple[Whole, Floats, Whole]:
    """`merge` for all bins of a region: places [bins, taps], weights [bins, taps], taps of each bin [bins]."""
    shape = taps.places.shape[1:]
    places, weights, counts = np.empty(shape, np.int64), np.empty(shape, np.float32), np.empty(shape[0], np.int64)
    for index in range(shape[0]):
        counts[index] = merge(taps.places[region, index], taps.weights[region, index], places[index], weights[index])
    return places, weights, counts


@compiled
def add_four(line: Floats, cells: Floats, places: Whole, weights: Floats) -> None:
    """Add four weighted cells of `cells` [cells, channels] to `line` [channels] in one pass."""
    a, b, c, d = cells[places[0]], cells[places[1]], cells[places[2]], cells[places[3]]
    for channel in range(len(line)):
        line[channel] += (
            weights[0] * a[channel] + weights[1] * b[channel] + weights[2] * c[channel] + weights[3] * d[channel]
        )


@compiled
def align_forward(
    features: Floats, images: Whole, y: Taps, x: Taps, regions: Whole, pooled: Floats, part: int, parts: int
) -> None:
    """RoIAlign of every `parts`-th of `regions`: features [N, height, width, C] to pooled [regions, C, bins, bins]."""
    _, height, width, channels = features.shape
    cells = features.reshape(-1, channels)
    rows, columns = pooled.shape[2:]
    buffer = np.empty((rows * columns, channels + PADDING), np.float32)
    most = y.places.shape[2] * x.places.shape[2] + 3
    places, weights = np.empty(most, np.int64), np.empty(most, np.float32)
    for index in range(part, len(regions), parts):
        region = regions[index]
        y_places, y_weights, y_counts = merged(y, region)
        x_places, x_weights, x_counts = merged(x, region)
        for row in range(rows):
            for column in range(columns):
                count = 0
                for i in range(y_counts[row]):
                    start = (images[region] * height + y_places[row, i]) * width
                    for j in range(x_counts[column]):
                        places[count] = start + x_places[column, j]
                        weights[count] = y_weights[row, i] * x_weights[column, j]
                        count += 1
                places[count : count + 3] = places[0]
                weights[count : count + 3] = 0
                line = buffer[row * columns + column, :channels]
                line[:] = 0
                for tap in range(0, count, 4):
                    add_four(line, cells, places[tap : tap + 4], weights[tap : tap + 4])
        transposed(buffer[:, :channels], pooled[region].reshape(channels, rows * columns))


@compiled
def transposed(source: Floats, target: Floats) -> None:
    """Write source [a, b] to target [b, a]."""
    for i in range(target.shape[0]):
        for j in range(target.shape[1]):
            target[i, j] = source[j, i]


@compiled
def align_backward(
    gradient: Floats, images: Whole, y: Taps, x: Taps, regions: Whole, features: Floats, start: int, stop: int
) -> None:
    """Add channels start..stop of gradient [regions, C, rows, columns] to the cells of features [N, height, width, C].

    Threads share the channels, not the regions: no two write to one number, and its sum has one order.
    """
    _, height, width, channels = features.shape
    cells = features.reshape(-1, channels)
    rows, columns = gradient.shape[2:]
    buffer = np.empty((rows * columns, stop - start + PADDING), np.float32)
    for region in regions:
        y_places, y_weights, y_counts = merged(y, region)
        x_places, x_weights, x_counts = merged(x, region)
        transposed(gradient[region].reshape(channels, rows * columns)[start:stop], buffer[:, : stop - start])
        for row in range(rows):
            for column in range(columns):
                line = buffer[row * columns + column]
                for i in range(y_counts[row]):
                    base = (images[region] * height + y_places[row, i]) * width
                    for j in range(x_counts[column]):
                        weight = y_weights[row, i] * x_weights[column, j]
                        cell = cells[base + x_places[column, j], start:stop]
                        for channel in range(len(cell)):
                            cell[channel] += weight * line[channel]


@compiled
def max_forward(
    features: Floats, images: Whole, y: Whole, x: Whole, pooled: Floats, winners: Places, part: int, parts: int
) -> None:
    """RoIPool of every `parts`-th region: the largest value of each bin, and its cell (-1: none) as the winner.

    y, x: first and one past the last cell of each bin, [regions, bins, 2]; features [N, height, width, C];
    pooled [regions, C, rows, columns]; winners [regions, rows * columns, C].
    """
    _, height, width, channels = features.shape
    cells = features.reshape(-1, channels)
    regions, _, rows, columns = pooled.shape
    buffer = np.empty((rows * columns, channels + PADDING), np.float32)
    for region in range(part, regions, parts):
        winners[region] = -1
        for row in range(rows):
            for column in range(columns):
                best = buffer[row * columns + column, :channels]
                winner = winners[region, row * columns + column]
                empty = y[region, row, 1] <= y[region, row, 0] or x[region, column, 1] <= x[region, column, 0]
                best[:] = 0 if empty else -np.inf
                for i in range(y[region, row, 0], y[region, row, 1]):
                    for j in range(x[region, column, 0], x[region, column, 1]):
                        place = np.int32((images[region] * height + i) * width + j)
                        cell = cells[place]
                        for channel in range(channels):
                            larger = cell[channel] > best[channel]
                            best[channel] = cell[channel] if larger else best[channel]
                            winner[channel] = place if larger else winner[channel]
        transposed(buffer[:, :channels], pooled[region].reshape(channels, rows * columns))


@compiled
def max_backward(gradient: Floats, winners: Places, features: Floats, start: int, stop: int) -> None:
    """Give channels start..stop of gradient [regions, C, rows, columns] to the winners in features [N, H, W, C]."""
    channels = features.shape[3]
    cells = features.reshape(-1, channels)
    regions, _, rows, columns = gradient.shape
    buffer = np.empty((rows * columns, stop - start + PADDING), np.float32)
    for region in range(regions):
        transposed(gradient[region].reshape(channels, rows * columns)[start:stop], buffer[:, : stop - start])
        for index in range(rows * columns):
            line, winner = buffer[index], winners[region, index, start:stop]
            for channel in range(len(winner)):
                place = winner[channel]
                if place >= 0:
                    cells[place, start + channel] += line[channel]
