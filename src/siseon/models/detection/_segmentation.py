"""The loops behind selective_search's first segments, compiled for the processor on first use (numba).

Efficient graph-based image segmentation (Felzenszwalb and Huttenlocher 2004, IJCV 59): pixels are nodes, each is tied
to its eight neighbours by an edge as heavy as their colours differ. Plain arrays in, plain arrays out; every kernel
releases Python's lock. Weights are whole numbers, and floats are added up in one order, so that all machines find the
same segments. Inner loops run over slices, which is what numba turns into vector instructions.

Shapes  C channels; an edge is 4 * pixel + direction; a pixel is row * width + column
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from siseon.boxes._kernels import compiled

Bytes: TypeAlias = NDArray[np.uint8]
Shorts: TypeAlias = NDArray[np.uint16]
Places: TypeAlias = NDArray[np.int32]
Floats: TypeAlias = NDArray[np.float32]

REACH = 4
"""Pixels to each side that a Gaussian takes in."""
FINENESS = 64
"""Weights of edges are whole numbers of this part of a grey level."""
WEIGHTS = 1 << 15
"""More than any weight: 64 * 255 * sqrt(3)."""
NO_EDGE = WEIGHTS - 1
"""The weight of what would lead out of the picture."""
BLOCK = 512
"""Edges that are looked at together."""
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(rows, columns) to the four of the eight neighbours that come later."""


def gaussian(sigma: float) -> tuple[Floats, Floats]:
    """The 2 * REACH + 1 taps of a Gaussian, summing to one, and those of its derivative; sigma 0 smooths nothing."""
    variance = max(sigma, 1e-3) ** 2
    places = np.arange(-REACH, REACH + 1)
    bell = np.exp(-(places**2) / (2 * variance))
    bell /= bell.sum()
    return bell.astype(np.float32), (places / variance * bell).astype(np.float32)


def smoothed(planes: Bytes, sigma: float) -> Floats:
    """Planes [C, height, width] under a Gaussian; a wide one is several narrow ones, whose variances add up."""
    times = max(math.ceil(sigma**2), 1)
    bell = gaussian(sigma / math.sqrt(times))[0]
    smooth = planes.astype(np.float32)
    for _ in range(times):
        smooth = np.stack([filtered(plane, bell, bell) for plane in smooth])
    return smooth


def edges_of(smooth: Floats) -> tuple[Places, Shorts]:
    """The edges of planes [C, height, width] from light to heavy, and the weight of each; of equal ones the smaller."""
    weights = np.empty((4, *smooth.shape[1:]), np.uint16)
    for direction, (down, across) in enumerate(DIRECTIONS):
        weighed(smooth, down, across, weights[direction])
    return sorted_edges(weights.reshape(4, -1))


@compiled
def weighted(
    target: Floats,
    taps: Floats,
    a: Floats,
    b: Floats,
    c: Floats,
    d: Floats,
    e: Floats,
    f: Floats,
    g: Floats,
    h: Floats,
    i: Floats,
) -> None:
    """Write the weighted sum of nine lines; spelt out, since nine passes over one line take six times as long."""
    p, q, r, s, t, u, v, w, x = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7], taps[8]
    for n in range(len(target)):
        target[n] = p * a[n] + q * b[n] + r * c[n] + s * d[n] + t * e[n] + u * f[n] + v * g[n] + w * h[n] + x * i[n]


@compiled
def filtered(source: Floats, rows: Floats, columns: Floats) -> Floats:
    """A plane [height, width] convolved with nine `rows` downwards and `columns` across; the border repeats."""
    height, width = source.shape
    last = height - 1
    line = np.empty(width + 2 * REACH, np.float32)
    target = np.empty((height, width), np.float32)
    for y in range(height):
        weighted(
            line[REACH : REACH + width],
            rows,
            source[max(y - 4, 0)],
            source[max(y - 3, 0)],
            source[max(y - 2, 0)],
            source[max(y - 1, 0)],
            source[y],
            source[min(y + 1, last)],
            source[min(y + 2, last)],
            source[min(y + 3, last)],
            source[min(y + 4, last)],
        )
        for x in range(REACH):
            line[x] = line[REACH]
            line[REACH + width + x] = line[REACH + width - 1]
        weighted(
            target[y],
            columns,
            line[:width],
            line[1 : 1 + width],
            line[2 : 2 + width],
            line[3 : 3 + width],
            line[4 : 4 + width],
            line[5 : 5 + width],
            line[6 : 6 + width],
            line[7 : 7 + width],
            line[8 : 8 + width],
        )
    return target


@compiled
def weighed(planes: Floats, down: int, across: int, weights: Shorts) -> None:
    """Write the distance of each pixel of planes [C, height, width] to its neighbour `down` and `across` from it."""
    channels, height, width = planes.shape
    left, right = max(-across, 0), width - max(across, 0)
    squares = np.empty(width, np.float32)
    for y in range(height):
        for x in range(width):
            weights[y, x] = NO_EDGE
            squares[x] = 0
        if y + down >= height or left >= right:
            continue
        for channel in range(channels):
            here, there = planes[channel, y, left:right], planes[channel, y + down, left + across : right + across]
            for x in range(len(here)):
                step = here[x] - there[x]
                squares[x] += step * step
        line = weights[y, left:right]
        for x in range(len(line)):
            line[x] = np.uint16(np.int32(np.sqrt(squares[x]) * np.float32(FINENESS) + np.float32(0.5)))


@compiled
def sorted_edges(weights: Shorts) -> tuple[Places, Shorts]:
    """The edges of weights [4, pixels] in order, and the weight of each."""
    following = np.zeros(WEIGHTS + 1, np.int32)
    for direction in range(4):
        for weight in weights[direction]:
            following[np.int64(weight) + 1] += 1
    for weight in range(WEIGHTS):
        following[weight + 1] += following[weight]
    count = following[NO_EDGE]
    order, heavy = np.empty(count, np.int32), np.empty(count, np.uint16)
    for weight in range(NO_EDGE):
        for place in range(following[weight], following[weight + 1]):
            heavy[place] = weight
    for pixel in range(weights.shape[1]):
        for direction in range(4):
            place = np.int64(weights[direction, pixel])
            if place != NO_EDGE:
                order[following[place]] = 4 * pixel + direction
                following[place] += 1
    return order, heavy


@compiled
def root(parents: Places, pixel: int) -> int:
    """The pixel that stands for the set of `pixel`; the way there is halved."""
    while parents[pixel] != pixel:
        parents[pixel] = parents[parents[pixel]]
        pixel = parents[pixel]
    return pixel


@compiled
def join(parents: Places, sizes: Places, one: int, other: int) -> tuple[int, int]:
    """Make two sets one, given by their roots; the root of the larger, which stays one, and the other."""
    larger = one if sizes[one] >= sizes[other] else other
    smaller = one + other - larger
    parents[smaller] = larger
    sizes[larger] += sizes[smaller]
    return larger, smaller


@compiled
def merged(
    order: Places, heavy: Shorts, steps: Places, parents: Places, sizes: Places, bounds: Floats, scale: float
) -> None:
    """Join the sets at the ends of each edge where it is not above either's bound, its heaviest edge + scale / pixels.

    Block by block, at first without branches: most edges lie within one set, or at a set that is complete, since its
    bound is below all edges to come. Two steps to a root are enough to see most of that; who is no root has no bound.
    """
    near, far = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32)
    edges, ones, others = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        for index in range(len(block)):
            near[index] = parents[parents[block[index] >> 2]]
            far[index] = parents[parents[(block[index] >> 2) + steps[block[index] & 3]]]
        between = 0
        for index in range(len(block)):
            edges[between], ones[between], others[between] = start + index, near[index], far[index]
            between += np.int64(near[index] != far[index])
        lightest, growing = np.float32(heavy[start]), 0
        for index in range(between):
            edge, one, other = edges[index], ones[index], others[index]
            edges[growing], ones[growing], others[growing] = edge, one, other
            growing += np.int64((bounds[one] >= lightest) & (bounds[other] >= lightest))
        for index in range(growing):
            weight = np.float32(heavy[edges[index]])
            one, other = root(parents, ones[index]), root(parents, others[index])
            if (one != other) & (weight <= bounds[one]) & (weight <= bounds[other]):
                larger, smaller = join(parents, sizes, one, other)
                bounds[smaller] = np.inf
                bounds[larger] = weight + np.float32(scale) / np.float32(sizes[larger])


@compiled
def absorbed(order: Places, steps: Places, parents: Places, sizes: Places, least: int) -> None:
    """Join the sets at the ends of each edge where one has less than `least` pixels; parents are roots at first."""
    smallness = np.empty(len(parents), np.int32)
    for pixel in range(len(parents)):
        smallness[pixel] = parents[pixel] if sizes[parents[pixel]] >= least else ~parents[pixel]
    chosen, count = np.empty(len(order) + 1, np.int32), 0
    wanted = np.empty(BLOCK, np.bool_)
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        for index in range(len(block)):
            one, other = smallness[block[index] >> 2], smallness[(block[index] >> 2) + steps[block[index] & 3]]
            wanted[index] = (one != other) & ((one | other) < 0)
        for index in range(len(block)):
            chosen[count] = block[index]
            count += np.int64(wanted[index])
    for edge in chosen[:count]:
        one, other = parents[parents[edge >> 2]], parents[parents[(edge >> 2) + steps[edge & 3]]]
        if (one == other) | ((sizes[one] >= least) & (sizes[other] >= least)):
            continue
        one, other = root(parents, one), root(parents, other)
        if one != other and (sizes[one] < least or sizes[other] < least):
            join(parents, sizes, one, other)


@compiled
def segmented(order: Places, heavy: Shorts, size: tuple[int, ...], k: float, least: int) -> tuple[Places, int]:
    """The region of each pixel, numbered as they are met from top left, and how many there are.

    Two regions become one if the edge between them is at most the heaviest within either + k / pixels; afterwards those
    with less than `least` pixels join the neighbour to which the lightest edge leads.
    """
    pixels = size[0] * size[1]
    steps = np.array([1, size[1], size[1] + 1, size[1] - 1], np.int32)
    parents, sizes = np.empty(pixels, np.int32), np.empty(pixels, np.int32)
    bounds = np.empty(pixels, np.float32)
    for pixel in range(pixels):
        parents[pixel], sizes[pixel], bounds[pixel] = pixel, 1, k * FINENESS
    merged(order, heavy, steps, parents, sizes, bounds, k * FINENESS)
    for pixel in range(pixels):
        parents[pixel] = root(parents, pixel)
    absorbed(order, steps, parents, sizes, least)
    labels = np.empty(pixels, np.int32)
    for pixel in range(pixels):
        sizes[pixel] = -1  # from here on the number of a root
    count = 0
    for pixel in range(pixels):
        top = root(parents, parents[pixel])
        if sizes[top] < 0:
            sizes[top] = count
            count += 1
        labels[pixel] = sizes[top]
    return labels, count


@compiled
def touch(bits: Bytes, count: int, one: int, other: int) -> None:
    """Set the bit of two regions in a table [count, count], the smaller first."""
    key = np.int64(min(one, other)) * count + max(one, other)
    bits[key >> 3] |= np.uint8((one != other) << (key & 7))


@compiled
def neighbours(labels: Places, count: int) -> Places:
    """The pairs [pairs, 2] of regions of labels [height, width] that touch, at a corner too: smaller first, sorted."""
    height, width = labels.shape
    bits = np.zeros((count * count + 7) >> 3, np.uint8)
    border = np.empty(width, np.bool_)
    for y in range(height):
        here, below = labels[y], labels[min(y + 1, height - 1)]
        right, diagonal, edge = here[1:], below[1:], border[: width - 1]
        for x in range(len(edge)):
            edge[x] = (here[x] != right[x]) | (below[x] != here[x]) | (diagonal[x] != here[x]) | (below[x] != right[x])
        border[width - 1] = here[width - 1] != below[width - 1]
        for x in range(width):
            if border[x]:
                after = min(x + 1, width - 1)
                touch(bits, count, here[x], here[after])
                touch(bits, count, here[x], below[x])
                touch(bits, count, here[x], below[after])
                touch(bits, count, here[after], below[x])
    found = 0
    for byte in bits:
        for shift in range(8 if byte else 0):
            found += (byte >> shift) & 1
    pairs = np.empty((found, 2), np.int32)
    found = 0
    for place in range(len(bits)):
        for shift in range(8 if bits[place] else 0):
            if (bits[place] >> shift) & 1:
                pairs[found, 0], pairs[found, 1] = (8 * place + shift) // count, (8 * place + shift) % count
                found += 1
    return pairs
