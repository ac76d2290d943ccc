"""Selective Search (Uijlings, van de Sande, Gevers, Smeulders 2013, IJCV 104).

Idea    Objects are regions of a picture that belong together, but by colour here, by texture there: group many small
        segments step by step, in several ways, and propose the box of every region that comes up on the way.
Flow    picture -> colour space -> small segments (Felzenszwalb and Huttenlocher 2004) -> the two neighbours most alike
        become one, again and again -> boxes of all regions of all strategies -> randomised order, no box twice,
        what is nearly a better one last
Here    Sections 3.1 to 3.3, and the strategies of table 5 (single, fast, quality). Histograms are whole numbers of
        1/65535, edges of 1/64 grey level, so that the boxes are the same on every machine. Segments have at least k
        pixels (of the authors' program; the paper does not say). Texture bins span 0..102 grey levels, the steepest
        response there is. Hue is in steps of two degrees, 0..179, and so weighs less than the other channels. A picture
        with a side above 1,000 pixels is scaled down to that first; the paper's have 500. No box is too small (the
        authors' program drops those narrower than 20 pixels).
        Deviation: the order. Section 4.3 ranks a region by its place in its hierarchy times a random number; here it is
        the root of the place, and boxes that overlap a better one by more than 0.7 go last. Recall at 0.5 and 0.7 and
        the mean best overlap (ABO) in the mode quality, seed 0, boxes as many as OpenCV 5.0.0 gives (2026-11-22):
                                    first 1,000          first 2,000          all of OpenCV's
            coco128,   OpenCV       0.596 0.364 0.556    0.669 0.430 0.599    0.700 0.538 0.648
            50 photos  section 4.3  0.514 0.352 0.504    0.580 0.425 0.569    0.692 0.549 0.653
                       here         0.622 0.394 0.561    0.709 0.495 0.622    0.791 0.592 0.689
            bccd,      OpenCV       0.739 0.281 0.593    0.854 0.396 0.647    0.876 0.522 0.685
            24 photos  section 4.3  0.816 0.338 0.626    0.927 0.531 0.694    0.969 0.670 0.738
                       here         0.927 0.449 0.676    0.976 0.593 0.712    0.989 0.679 0.734
        Of the first 500 on coco128 OpenCV has 0.533 0.284 0.505, this 0.521 0.298 0.497.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from siseon.boxes.nms import nms
from siseon.interface import PictureError

if TYPE_CHECKING:
    from siseon.models.detection import _grouping

Mode: TypeAlias = Literal["single", "fast", "quality"]
Colours: TypeAlias = Literal["hsv", "lab", "rgi", "hue", "intensity", "rgb"]

LONGEST = 1000
"""Pixels of the longer side above which a picture is scaled down."""
SIGMA = 0.8
NEAR = 0.7
"""The overlap above which two boxes are nearly the same."""


class Strategies(NamedTuple):
    """Every colour space with every k with every similarity: C colour, T texture, S size, F fill, added up."""

    colours: tuple[Colours, ...]
    scales: tuple[float, ...]
    similarities: tuple[str, ...]


MODES: dict[Mode, Strategies] = {
    "single": Strategies(("hsv",), (100,), ("CTSF",)),
    "fast": Strategies(("hsv", "lab"), (50, 100), ("CTSF", "TSF")),
    "quality": Strategies(("hsv", "lab", "rgi", "hue", "intensity"), (50, 100, 150, 300), ("CTSF", "TSF", "F", "S")),
}
"""Table 5 of the paper."""


def propose(picture: np.ndarray, *, mode: Mode = "fast", limit: int | None = None, seed: int = 0) -> Tensor:
    """Boxes [boxes, 4] (left, top, right, bottom) of likely objects, float32 in pixels of the picture, best first.

    picture: RGB uint8 [height, width, 3]. mode: one strategy, 8, or 80. limit: only so many of the best. The order is
    random with the larger regions first: by the root of a region's place in its hierarchy, counted from the top, times
    a random number from `seed`; boxes that overlap a better one by more than NEAR come after all others. Raises
    PictureError where the array is no such picture.
    """
    small = _shrunk(_checked(picture))
    random = np.random.default_rng(seed)
    boxes = _near_ones_last(_ranked(_hierarchies(small, MODES[mode]), random))[:limit]
    scale = np.array(picture.shape[1::-1] * 2) / (small.shape[1::-1] * 2)
    return torch.from_numpy((boxes * scale).astype(np.float32))


def segments(
    picture: np.ndarray, *, k: float = 100.0, sigma: float = SIGMA, least: int | None = None, colours: Colours = "rgb"
) -> np.ndarray:
    """The first segmentation: the number of each pixel's segment, int64 [height, width], 0.. as met from top left.

    k: larger makes larger segments; sigma: of the smoothing before, in pixels; least: pixels of the smallest segment,
    k if None. The picture keeps its size.
    """
    from siseon.models.detection import _segmentation  # numba takes half a second to import

    planes = to_colours(_checked(picture), colours)
    order, heavy = _segmentation.edges_of(_segmentation.smoothed(planes, sigma))
    labels = _segmentation.segmented(order, heavy, planes.shape[1:], k, int(k) if least is None else least)[0]
    return labels.reshape(planes.shape[1:]).astype(np.int64)


def to_colours(picture: np.ndarray, colours: Colours) -> np.ndarray:
    """An RGB picture as uint8 [channels, height, width] in a colour space; all channels have 0..255, hue 0..179.

    rgi: red and green as shares of red + green + blue, and intensity.
    """
    if colours == "hsv" or colours == "hue":
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., : 3 if colours == "hsv" else 1]
    elif colours == "lab":
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    elif colours == "rgb":
        planes = picture
    else:
        total = picture.sum(axis=2, keepdims=True, dtype=np.uint16)
        planes = total // 3
        if colours == "rgi":
            shares = picture[..., :2] * np.uint32(255) // np.maximum(total, 1)
            planes = np.concatenate((shares, planes), axis=2)
    return np.ascontiguousarray(planes.transpose(2, 0, 1), np.uint8)


def _checked(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise PictureError(
            f"an array {picture.dtype} {list(picture.shape)} is no picture",
            "Give RGB uint8 [height, width, 3], as siseon.pictures.read does",
        )
    return np.ascontiguousarray(picture)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return picture
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _ranked(hierarchies: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """The boxes of all hierarchies by root of place * random number, the whole picture of each being place 1."""
    from siseon.models.detection import _grouping

    ranks = [np.arange(len(boxes), 0, -1) ** 0.5 * random.random(len(boxes)) for boxes in hierarchies]
    digits = (LONGEST + 1) ** np.arange(4)
    keys, least = _grouping.least_ranks(np.concatenate(hierarchies) @ digits, np.concatenate(ranks))
    return keys[np.argsort(least), None] // digits % (LONGEST + 1)


def _near_ones_last(boxes: np.ndarray) -> np.ndarray:
    """The boxes [boxes, 4], best first, with those at the end that are nearly the same as a better one."""
    ranks = torch.arange(len(boxes), 0, -1, dtype=torch.float32)
    different = nms(torch.from_numpy(boxes).float(), ranks, NEAR).numpy()
    return np.concatenate((boxes[different], np.delete(boxes, different, axis=0)))


class Space(NamedTuple):
    """A picture in one colour space: planes [C, height, width], edges and their weights, bins of each pixel."""

    planes: np.ndarray
    edges: tuple[np.ndarray, np.ndarray]
    codes: np.ndarray


def _hierarchies(picture: np.ndarray, strategies: Strategies) -> list[np.ndarray]:
    """The boxes of all regions of each strategy; colour spaces, scales and strategies share the threads of torch."""
    planes = [to_colours(picture, colours) for colours in strategies.colours]
    shapes = [each.shape for each in planes for _ in strategies.scales]
    by = [tuple(letter in name for letter in "CTSF") for name in strategies.similarities]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        edges, codes = pool.map(_edges, planes), pool.map(_codes, planes)
        spaces = [Space(*each) for each in zip(planes, edges, codes, strict=True)]
        regions = pool.map(lambda task: _first_regions(*task), product(spaces, strategies.scales))
        tasks = [(*base, each) for base in zip(regions, shapes, strict=True) for each in by]
        return list(pool.map(lambda task: _grouped(*task).boxes, tasks))


def _first_regions(space: Space, k: float) -> _grouping.Regions:
    from siseon.models.detection import _grouping, _segmentation

    size = space.planes.shape[1:]
    labels, count = _segmentation.segmented(*space.edges, size, k, int(k))
    sizes, boxes = _grouping.measured(labels.reshape(size), count)
    counts = _grouping.counted(labels, sizes, space.codes)
    return _grouping.Regions(sizes, boxes, counts, _segmentation.neighbours(labels.reshape(size), count))


def _grouped(regions: _grouping.Regions, shape: tuple[int, ...], by: tuple[bool, ...]) -> _grouping.Tree:
    """The hierarchy on the first regions; shape: of the planes; by: whether colour, texture, size and fill count."""
    from siseon.models.detection import _grouping

    tree = _grouping.planted(regions, shape[1:])
    _grouping.grouped(tree, regions.pairs, shape[0] * _grouping.COLOUR_BINS, by)
    return tree


def _edges(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from siseon.models.detection import _segmentation

    return _segmentation.edges_of(_segmentation.smoothed(planes, SIGMA))


def _codes(planes: np.ndarray) -> np.ndarray:
    """The histogram bins of each pixel, [pixels, C * (1 + axes)]; texture from Gaussian derivatives with sigma 1."""
    from siseon.models.detection import _grouping, _segmentation

    codes = np.empty((planes[0].size, len(planes), 1 + _grouping.AXES), np.uint8)
    bell, slope = _segmentation.gaussian(1.0)
    for channel, plane in enumerate(planes):
        source = plane.astype(np.float32)
        across, down = (_segmentation.filtered(source, *taps) for taps in ((bell, slope), (slope, bell)))
        _grouping.coded(plane, across, down, codes[:, channel])
    return codes.reshape(len(codes), -1)
