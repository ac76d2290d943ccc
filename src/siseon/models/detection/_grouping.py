"""The loops behind selective_search, compiled for the processor on first use (numba); imported only when one runs.

Plain arrays in, plain arrays out; every kernel releases Python's lock. What is compared or added up is a whole number
or a float of one fixed order, so that all machines and all numbers of threads find the same boxes.

Shapes  C channels; R segments, the first regions
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from siseon.boxes._kernels import compiled

Bytes: TypeAlias = NDArray[np.uint8]
Shorts: TypeAlias = NDArray[np.uint16]
Places: TypeAlias = NDArray[np.int32]
Whole: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]

COLOUR_BINS, TEXTURE_BINS, AXES = 25, 10, 4
"""Bins of a channel; bins of one direction of a channel; each axis has two directions: eight orientations."""
STEEPEST = 102.0
"""A Gaussian derivative with sigma 1 of a step from 0 to 255 is 101.7 at its steepest."""
FULL = 65535
"""A histogram as shares of its pixels sums to this, so that a bin fits into 16 bits."""
LAST_PAIR = 0xFFFFFFFF


class Regions(NamedTuple):
    """What grouping knows of the first regions: pixels [R], boxes [R, 4], counts [R, bins], neighbours [pairs, 2].

    boxes: left, top, right, bottom, the last two one past the region. counts: colour bins of all channels, then
    texture bins of all channels, axes and both directions.
    """

    sizes: Whole
    boxes: Places
    counts: Places
    pairs: Places


@compiled
def coded(plane: Bytes, across: Floats, down: Floats, codes: Bytes) -> None:
    """The bins of one channel [height, width] into codes [pixels, 1 + AXES]: colour, then texture along each axis.

    across, down: its Gaussian derivatives. Texture along an axis is in -9..9, and 9 more here: the bin of one
    direction, or below zero that of the other.
    """
    scale, half = np.float32(TEXTURE_BINS / STEEPEST), np.float32(np.sqrt(0.5))
    top = np.float32(TEXTURE_BINS - 1)
    height, width = plane.shape
    for y in range(height):
        lines = codes[y * width : (y + 1) * width]
        colours, easts, souths = plane[y], across[y], down[y]
        for x in range(width):
            east, south = easts[x] * scale, souths[x] * scale
            lines[x, 0] = np.uint8((np.int32(colours[x]) * COLOUR_BINS) >> 8)
            lines[x, 1] = np.uint8(np.int32(min(max(east, -top), top)) + TEXTURE_BINS - 1)
            lines[x, 2] = np.uint8(np.int32(min(max((east + south) * half, -top), top)) + TEXTURE_BINS - 1)
            lines[x, 3] = np.uint8(np.int32(min(max(south, -top), top)) + TEXTURE_BINS - 1)
            lines[x, 4] = np.uint8(np.int32(min(max((south - east) * half, -top), top)) + TEXTURE_BINS - 1)


@compiled
def measured(labels: Places, count: int) -> tuple[Whole, Places]:
    """Pixels [R] and boxes [R, 4] of the regions of labels [height, width]."""
    height, width = labels.shape
    sizes, boxes = np.zeros(count, np.int64), np.zeros((count, 4), np.int32)
    for label in range(count):
        boxes[label, 0], boxes[label, 1] = width, height
    for y in range(height):
        line = labels[y]
        x = 0
        while x < width:
            label, start = line[x], x
            while x < width and line[x] == label:
                x += 1
            sizes[label] += x - start
            boxes[label, 0], boxes[label, 1] = min(boxes[label, 0], start), min(boxes[label, 1], y)
            boxes[label, 2], boxes[label, 3] = max(boxes[label, 2], x), max(boxes[label, 3], y + 1)
    return sizes, boxes


@compiled
def counted(labels: Places, sizes: Whole, codes: Bytes) -> Places:
    """The counts [R, bins] of the regions, as in Regions, from labels [pixels] and codes [pixels, C * (1 + AXES)]."""
    count, pixels, channels = len(sizes), len(labels), codes.shape[1] // (1 + AXES)
    signed = 2 * TEXTURE_BINS - 1
    starts = np.empty(codes.shape[1], np.int64)
    for place in range(len(starts)):
        channel, axis = place // (1 + AXES), place % (1 + AXES) - 1
        starts[place] = channel * COLOUR_BINS if axis < 0 else channels * COLOUR_BINS + (channel * AXES + axis) * signed
    raw = np.zeros((count, channels * (COLOUR_BINS + AXES * signed)), np.int32)
    for pixel in range(pixels):
        label = labels[pixel]
        for place in range(len(starts)):
            raw[label, starts[place] + codes[pixel, place]] += 1
    colours = channels * COLOUR_BINS
    counts = np.zeros((count, colours + channels * 2 * AXES * TEXTURE_BINS), np.int32)
    for label in range(count):
        for place in range(colours):
            counts[label, place] = raw[label, place]
        for axis in range(channels * AXES):
            middle = colours + axis * signed + TEXTURE_BINS - 1
            first = colours + axis * 2 * TEXTURE_BINS
            second = first + TEXTURE_BINS
            counts[label, first] = counts[label, second] = sizes[label]
            for place in range(1, TEXTURE_BINS):
                counts[label, first + place] = raw[label, middle + place]
                counts[label, second + place] = raw[label, middle - place]
                counts[label, first] -= raw[label, middle + place]
                counts[label, second] -= raw[label, middle - place]
    return counts


@compiled
def to_shares(counts: Places, size: int, shares: Shorts) -> None:
    """Write each count of one region's pixels as a part of FULL."""
    scale = np.float32(FULL) / np.float32(size)
    for place in range(len(counts)):
        shares[place] = np.uint16(np.int32(np.float32(counts[place]) * scale))


@compiled
def common(one: Shorts, other: Shorts) -> int:
    """How much two histograms share: the sum of the smaller bins."""
    total = np.uint32(0)
    for place in range(len(one)):
        total = np.uint32(total + min(one[place], other[place]))
    return np.int64(total)


@compiled
def push(heap: Whole, length: int, key: int) -> None:
    """Put `key` into a heap of `length`, largest on top, that has room."""
    place = length
    while place > 0 and heap[(place - 1) >> 1] < key:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = key


@compiled
def pop(heap: Whole, length: int) -> int:
    """Take the largest out of a heap of `length`."""
    top, last = heap[0], heap[length - 1]
    length -= 1
    place, child = 0, 1
    while child < length:
        if child + 1 < length and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= last:
            break
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = last
    return top


class Tree(NamedTuple):
    """All regions, first the R that were segmented, then the R - 1 that were grouped, in the order of their making.

    rows: where counts and shares [R, bins] hold a region's histogram, -1 once it is part of another; merges [R - 1, 2].
    """

    sizes: Whole
    boxes: Places
    rows: Places
    counts: Places
    shares: Shorts
    merges: Places


@compiled
def likeness(tree: Tree, one: int, other: int, colours: int, by: tuple[bool, ...]) -> float:
    """The sum of the similarities of section 3.2: colour, texture, size and fill, those that are true in `by`.

    colours: how many of the bins are colours'.
    """
    total = 0.0
    mine, yours = tree.shares[tree.rows[one]], tree.shares[tree.rows[other]]
    if by[0]:
        total += common(mine[:colours], yours[:colours]) / (colours // COLOUR_BINS * FULL)
    if by[1]:
        total += common(mine[colours:], yours[colours:]) / ((len(mine) - colours) // TEXTURE_BINS * FULL)
    boxes, last = tree.boxes, len(tree.boxes) - 1
    area = float(boxes[last, 2] * boxes[last, 3])
    pixels = tree.sizes[one] + tree.sizes[other]
    if by[2]:
        total += 1 - pixels / area
    if by[3]:
        width = max(boxes[one, 2], boxes[other, 2]) - min(boxes[one, 0], boxes[other, 0])
        height = max(boxes[one, 3], boxes[other, 3]) - min(boxes[one, 1], boxes[other, 1])
        total += 1 - (width * height - pixels) / area
    return total


@compiled
def unite(tree: Tree, one: int, other: int, group: int, described: bool) -> None:
    """Fill in region `group` of the tree from the two that it is made of; described: its histogram too."""
    boxes, row, freed = tree.boxes, tree.rows[one], tree.rows[other]
    tree.sizes[group] = tree.sizes[one] + tree.sizes[other]
    for edge in range(2):
        boxes[group, edge] = min(boxes[one, edge], boxes[other, edge])
        boxes[group, 2 + edge] = max(boxes[one, 2 + edge], boxes[other, 2 + edge])
    tree.rows[group] = row
    tree.rows[one] = tree.rows[other] = -1
    if described:
        counts, more = tree.counts[row], tree.counts[freed]
        for place in range(len(counts)):
            counts[place] += more[place]
        to_shares(counts, tree.sizes[group], tree.shares[row])


def planted(regions: Regions, size: tuple[int, ...]) -> Tree:
    """The tree before the first step; its last region, the whole picture, has its box."""
    count = len(regions.sizes)
    sizes = np.zeros(2 * count - 1, np.int64)
    boxes = np.zeros((2 * count - 1, 4), np.int32)
    rows = np.full(2 * count - 1, -1, np.int32)
    boxes[-1, 2:] = size[::-1]
    sizes[:count], boxes[:count], rows[:count] = regions.sizes, regions.boxes, np.arange(count)
    shares = np.empty(regions.counts.shape, np.uint16)
    return Tree(sizes, boxes, rows, regions.counts.copy(), shares, np.empty((count - 1, 2), np.int32))


@compiled
def append(lists: Places, links: Places, pairs: Places, pair: int) -> None:
    """Put a pair at the end of the lists of both its regions.

    lists [regions, 3]: first entry, last, how many; an entry is 2 * pair + side; links: the entry after each.
    """
    for side in range(2):
        region, entry = pairs[pair, side], 2 * pair + side
        if lists[region, 2] == 0:
            lists[region, 0] = entry
        else:
            links[lists[region, 1]] = entry
        lists[region, 1] = entry
        lists[region, 2] += 1


@compiled
def key_of(likeness: float, pair: int) -> int:
    """What the heap compares: the likeness, 28 bits after the point, then which pair was found first."""
    return (np.int64(likeness * (1 << 28)) << 32) | (LAST_PAIR - pair)


@compiled
def alive(tree: Tree, pairs: Places, pair: int) -> bool:
    """Whether both regions of a pair can still be grouped."""
    return (tree.rows[pairs[pair, 0]] >= 0) & (tree.rows[pairs[pair, 1]] >= 0)


@compiled
def tidied(tree: Tree, pairs: Places, links: Places, heap: Whole, lists: Places, made: int, waiting: int) -> int:
    """Forget the pairs that are not alive, in place, and number the others anew in their order; how many they are."""
    numbers = np.empty(made, np.int32)
    kept = 0
    for pair in range(made):
        numbers[pair] = -1
        if alive(tree, pairs, pair):
            numbers[pair] = kept
            pairs[kept, 0], pairs[kept, 1] = pairs[pair, 0], pairs[pair, 1]
            kept += 1
    length = 0
    for place in range(waiting):
        pair = numbers[LAST_PAIR - (heap[place] & LAST_PAIR)]
        if pair >= 0:
            push(heap, length, (heap[place] & ~LAST_PAIR) | (LAST_PAIR - pair))
            length += 1
    for region in range(len(lists)):
        lists[region, 2] = 0
    for pair in range(kept):
        append(lists, links, pairs, pair)
    return kept


@compiled
def roomier(pairs: Places, links: Places, heap: Whole, made: int) -> tuple[Places, Places, Whole]:
    """Copies of the first `made` pairs and of what belongs to them, with twice the room."""
    room = 2 * len(pairs)
    more_pairs, more_links = np.empty((room, 2), np.int32), np.empty(2 * room, np.int32)
    more_heap = np.empty(room, np.int64)
    for pair in range(made):
        more_pairs[pair, 0], more_pairs[pair, 1], more_heap[pair] = pairs[pair, 0], pairs[pair, 1], heap[pair]
        more_links[2 * pair], more_links[2 * pair + 1] = links[2 * pair], links[2 * pair + 1]
    return more_pairs, more_links, more_heap


@compiled
def grouped(tree: Tree, first: Places, colours: int, by: tuple[bool, ...]) -> None:
    """Hierarchical grouping (algorithm 1): the two neighbours most alike become one, until one region is left.

    tree: as planted; first [pairs, 2]: the first neighbours. Of equally alike pairs the one found first goes first; a
    new region finds its neighbours in the order of those of its first part, then of its second.
    """
    nodes, count, made = len(tree.sizes), len(tree.shares), len(first)
    room = 2 * made + nodes
    pairs, links, heap = np.empty((room, 2), np.int32), np.empty(2 * room, np.int32), np.empty(room, np.int64)
    lists, seen = np.zeros((nodes, 3), np.int32), np.zeros(nodes, np.int32)
    for region in range(count):
        to_shares(tree.counts[region], tree.sizes[region], tree.shares[region])
    for pair in range(made):
        pairs[pair, 0], pairs[pair, 1] = first[pair, 0], first[pair, 1]
        append(lists, links, pairs, pair)
        push(heap, pair, key_of(likeness(tree, first[pair, 0], first[pair, 1], colours, by), pair))
    waiting = made
    for group in range(count, nodes):
        pair = -1
        while pair < 0 or not alive(tree, pairs, pair):
            pair = LAST_PAIR - (pop(heap, waiting) & LAST_PAIR)
            waiting -= 1
        one, other = pairs[pair, 0], pairs[pair, 1]
        if made + lists[one, 2] + lists[other, 2] > len(pairs):
            made = tidied(tree, pairs, links, heap, lists, made, waiting)
            waiting = made - 1  # the pair in hand
            while 2 * (made + lists[one, 2] + lists[other, 2]) > len(pairs):
                pairs, links, heap = roomier(pairs, links, heap, made)
        tree.merges[group - count, 0], tree.merges[group - count, 1] = one, other
        unite(tree, one, other, group, by[0] or by[1])
        for part in (one, other):
            entry = lists[part, 0]
            for _ in range(lists[part, 2]):
                near, entry = pairs[entry >> 1, 1 - (entry & 1)], links[entry]
                if tree.rows[near] >= 0 and seen[near] != group:
                    seen[near] = group
                    pairs[made, 0], pairs[made, 1] = near, group
                    append(lists, links, pairs, made)
                    push(heap, waiting, key_of(likeness(tree, near, group, colours, by), made))
                    waiting += 1
                    made += 1


@compiled
def least_ranks(keys: Whole, ranks: NDArray[np.float64]) -> tuple[Whole, NDArray[np.float64]]:
    """The different ones of `keys`, none negative, and the least of the ranks of each."""
    room = 2
    while room < 2 * len(keys):
        room *= 2
    table, numbers = np.full(room, -1, np.int64), np.empty(room, np.int64)
    found, least = np.empty(len(keys), np.int64), np.empty(len(keys), np.float64)
    count = 0
    for index in range(len(keys)):
        key = keys[index]
        place = ((key ^ (key >> 17)) * 0x9E3779B1) & (room - 1)
        while table[place] != key and table[place] >= 0:
            place = (place + 1) & (room - 1)
        if table[place] < 0:
            table[place], numbers[place] = key, count
            found[count], least[count] = key, ranks[index]
            count += 1
        least[numbers[place]] = min(least[numbers[place]], ranks[index])
    return found[:count], least[:count]
