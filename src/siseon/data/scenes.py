"""Drawn scenes: shapes and real handwritten digits on photographs, with boxes, masks and sentences; offline.

A scene is a crop of a photograph with 1..6 circles, squares, triangles, stars and digits on it: of 18..100 pixels in a
scene of 160, of eight colours, none twice in a scene, and each at least 75 % visible. All is computed in integers from
(seed, split, index), so that every machine sees the same pixels.

Photographs  PNG files of scikit-image, free of rights: astronaut (NASA, public domain); brick, grass, gravel, camera,
             chelsea (CC0). Regions with true circles, stars or digits in them are left out.
Digits       those of digits.py; the three splits show different ones.
Boxes        of the visible part of an object, as in COCO; masks do not overlap.
Sentences    of scene_sentences.py.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cache, lru_cache
from importlib.resources import files
from math import cos, pi
from typing import Final

import numpy as np

from siseon import pictures
from siseon.data import digits
from siseon.data.dataset import Annotation, Data, Task
from siseon.data.digits import SPLITS, Split
from siseon.data.scene_sentences import CLASSES, COLOURS, Thing, sentences
from siseon.interface import DataError

COUNTS: Final[dict[Split, int]] = {"train": 2000, "val": 200, "test": 300}
"""How many scenes the splits of `scenes` have."""
SIDES: Final = (64, 300)
"""The smallest and largest side of a scene in pixels; the photographs allow no larger."""

# Name: (top, left, bottom, right) that is used, the usual tint in 1/128, and whether it has no up and down.
PHOTOGRAPHS: Final = {
    "astronaut": ((0, 100, 300, 512), (128, 128, 128), False),
    "camera": ((0, 0, 512, 512), (130, 126, 120), False),
    "chelsea": ((0, 0, 300, 451), (128, 128, 128), False),
    "brick": ((0, 0, 512, 512), (172, 112, 92), True),
    "grass": ((0, 0, 512, 512), (104, 140, 76), True),
    "gravel": ((0, 0, 512, 512), (138, 126, 110), True),
}

DIAMETERS: Final = (18, 20, 23, 26, 30, 34, 38, 44, 50, 57, 65, 74)
"""Of circles, in a scene of 160 pixels; even on a logarithmic scale. Other shapes are enlarged to look as large."""
SMALLEST_DIGIT: Final = 1
"""The place in DIAMETERS from which a digit can be told from another."""
SAMPLES: Final = 4
"""Across a pixel: a pixel has a coverage of 0..16 by a shape."""
FULL: Final = SAMPLES**2
CONTRAST: Final = 140
"""By how much the red, green and blue of an object together differ from most pixels that it lies on."""

TURNS: Final = tuple(round(1024 * cos(pi * step / 60)) for step in range(120))
"""Cosines of 0, 3, 6, ... degrees in 1/1024; none is so near to a half that machines could round it differently."""
# Shapes as half-planes at equal angles: how many, how far from the centre in 1/1024 of the radius, in how many of them
# a point must be (of a pentagram's 5, in 4), and the radius in 1/16 of the circle's.
HALF_PLANES: Final = {"square": (4, 724, 4, 20), "triangle": (3, 512, 3, 22), "star": (5, 316, 4, 23)}
UPRIGHT: Final = {"square": 0, "triangle": 30, "star": 90}
"""The place in TURNS of the first plane of a shape that stands upright."""
LEAN: Final = 3
"""How far shapes lean from there at most, either way, in steps of 6 degrees."""


@dataclass(frozen=True)
class Scenes:
    """`count` scenes of [size, size] pixels; by default as many as the split of `scenes` has."""

    split: Split
    count: int | None = None
    _: KW_ONLY
    seed: int = 0
    size: int = 160

    def __post_init__(self) -> None:
        if not SIDES[0] <= self.size <= SIDES[1]:
            raise DataError(f"A scene cannot be {self.size} pixels wide", f"Give {SIDES[0]} to {SIDES[1]}")

    @property
    def task(self) -> Task:
        """Detection, with masks."""
        return "detection"

    @property
    def classes(self) -> tuple[str, ...]:
        """circle, square, triangle, star, digit."""
        return CLASSES

    def __len__(self) -> int:
        return COUNTS[self.split] if self.count is None else self.count

    def annotation(self, index: int) -> Annotation:
        """The objects of scene `index`: boxes and masks of what is visible of them, and sentences in "en" and "ko"."""
        scene = self._scene(index)
        masks = tuple(scene.owners == number for number in range(1, len(scene.things) + 1))
        boxes = np.array([_extent(mask) for mask in masks], np.float32)
        return Annotation(
            f"scenes/{self.split}/{index:06d}",
            size=(self.size, self.size),
            boxes=boxes,
            labels=np.array([thing.label for thing in scene.things], np.int64),
            crowd=np.zeros(len(masks), bool),
            segments=masks,
            sentences=sentences(scene.things, boxes, self.size),
        )

    def picture(self, index: int) -> np.ndarray:
        """The pixels [size, size, 3] uint8 of scene `index`."""
        return self._scene(index).picture.copy()

    def things(self, index: int) -> tuple[Thing, ...]:
        """Class and colour of each object of scene `index`, in the order of its boxes."""
        return self._scene(index).things

    def semantic(self, index: int) -> np.ndarray:
        """The class of each pixel of scene `index`, [size, size] uint8: 0 background, 1.. the classes in order."""
        scene = self._scene(index)
        return np.array([0, *(thing.label + 1 for thing in scene.things)], np.uint8)[scene.owners]

    def _scene(self, index: int) -> Scene:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no scene {index} in {len(self)}")
        return _scene(self.seed, self.split, index, self.size)


def scenes(*, seed: int = 0, size: int = 160) -> Data:
    """The three splits: 2,000 scenes to train, 200 to validate, 300 to test."""
    return Data("scenes", "detection", CLASSES, {split: Scenes(split, seed=seed, size=size) for split in SPLITS})


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn scene: the picture, and for each pixel the number of the thing that is seen there (0: none)."""

    picture: np.ndarray
    owners: np.ndarray
    things: tuple[Thing, ...]


# The picture and the annotation of a scene are asked for one after the other.
@lru_cache(maxsize=16)
def _scene(seed: int, split: Split, index: int, size: int) -> Scene:
    random = np.random.default_rng(np.random.SeedSequence((seed, SPLITS.index(split), index)))
    picture = _background(random, size)
    owners = np.zeros((size, size), np.uint8)
    things: list[Thing] = []
    areas: list[int] = []
    colours = list(range(len(COLOURS)))
    wanted = int(random.integers(1, 7))
    for _ in range(30 * wanted):
        thing = Thing(int(random.integers(len(CLASSES))), colours[random.integers(len(colours))])
        coverage = _coverage(thing, random, split, size)
        height, width = coverage.shape
        top, left = int(random.integers(2, size - height - 1)), int(random.integers(2, size - width - 1))
        window = np.s_[top : top + height, left : left + width]
        mask = coverage >= FULL // 2
        if _stands_out(thing, picture[window][mask]) and _leaves_visible(owners[window][mask], owners, areas):
            strip = picture.reshape(size, -1)[top : top + height, 3 * left : 3 * (left + width)]
            _paint(strip, coverage.repeat(3, axis=1), _surface(thing, random, height, width))
            things.append(thing)
            colours.remove(thing.colour)
            owners[window][mask] = len(things)
            areas.append(int(np.count_nonzero(mask)))
        if len(things) == wanted:
            break
    return Scene(picture, owners, tuple(things))


def _background(random: np.random.Generator, size: int) -> np.ndarray:
    """A crop of one of the photographs, turned, tinted and lit at random, [size, size, 3] uint8."""
    name = tuple(PHOTOGRAPHS)[random.integers(len(PHOTOGRAPHS))]
    tint, turns = PHOTOGRAPHS[name][1:]
    scales = [photograph for photograph in _photographs(name) if min(photograph.shape[:2]) >= size]
    photograph = scales[random.integers(len(scales))]
    top, left = (int(random.integers(side - size + 1)) for side in photograph.shape[:2])
    crop = photograph[top : top + size, left : left + size]
    if random.integers(2):
        crop = crop[:, ::-1]
    if turns and random.integers(2):
        crop = crop.swapaxes(0, 1)
    light = random.integers(80, 150)
    gain = np.array([tint[channel] * (light + random.integers(-10, 11)) // 128 for channel in range(3)], np.uint16)
    return _lit(crop.reshape(size, -1), np.tile(gain, size)).astype(np.uint8).reshape(size, size, 3)


def _lit(pixels: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Pixels under light in 1/128. Rows are flat here and where things are painted: loops over 3 channels are slow."""
    lit = pixels * light
    lit >>= 7
    return np.minimum(lit, 255, out=lit)


@cache
def _photographs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A photograph [height, width, 3] uint16 0..255, and at half the size."""
    top, left, bottom, right = PHOTOGRAPHS[name][0]
    pixels = pictures.read(str(files("skimage.data") / f"{name}.png"))[top:bottom, left:right].astype(np.uint16)
    even = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
    half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2] + 2) >> 2
    return pixels, half


def _coverage(thing: Thing, random: np.random.Generator, split: Split, size: int) -> np.ndarray:
    """How much of each pixel a shape of random size and turn covers, [height, width] 0..FULL, cut to its extent."""
    kind = CLASSES[thing.label]
    place = random.integers(SMALLEST_DIGIT if kind == "digit" else 0, len(DIAMETERS))
    diameter = DIAMETERS[place] * size // 160
    if kind == "digit":
        return _digit(split, int(random.integers(len(digits.originals(split)[1]))), diameter)
    lean = 2 * int(random.integers(-LEAN, LEAN + 1))
    return _shape(kind, diameter, 0 if kind == "circle" else (UPRIGHT[kind] + lean) % len(TURNS))


@cache
def _shape(kind: str, diameter: int, turn: int) -> np.ndarray:
    count, distance, needed, scale = HALF_PLANES.get(kind, (0, 0, 0, 16))
    side = diameter * scale // 16
    # The centres of the samples, and the radius, in halves of the distance between samples.
    radius = SAMPLES * side
    steps = np.arange(1 - radius, radius, 2, dtype=np.int32)
    x, y = steps[None], steps[:, None]
    if kind == "circle":
        inside = x * x + y * y <= radius * radius
    else:
        angles = [(turn + len(TURNS) * plane // count) % len(TURNS) for plane in range(count)]
        within = [TURNS[angle] * x + TURNS[angle - 30] * y <= distance * radius for angle in angles]
        inside = np.sum(within, axis=0) >= needed
    return _cut(inside.reshape(side, SAMPLES, side, SAMPLES).sum((1, 3)).astype(np.uint16))


def _digit(split: Split, index: int, diameter: int) -> np.ndarray:
    """A real digit whose ink is opaque: the line of 45 % of full ink is its edge, one pixel soft."""
    grey, whole = digits.enlarged(digits.originals(split)[0][index], diameter * 10 // 8)
    coverage = FULL // 2 + (grey - whole * 45 // 100) * (2 * diameter) // whole
    return _cut(coverage.clip(0, FULL).astype(np.uint16))


def _cut(coverage: np.ndarray) -> np.ndarray:
    left, top, right, bottom = _extent(coverage > 0)
    return coverage[top:bottom, left:right]


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _stands_out(thing: Thing, below: np.ndarray) -> bool:
    """Whether a person sees the thing on these pixels [pixels, 3]: most of them differ much from it."""
    red, green, blue = np.abs(below.T - np.array(COLOURS[thing.colour][2], np.int16)[:, None])
    differences = red + green + blue
    return 8 * int(np.count_nonzero(differences >= CONTRAST)) >= 7 * len(below)


def _leaves_visible(covered: np.ndarray, owners: np.ndarray, areas: list[int]) -> bool:
    """Whether each thing drawn so far keeps 75 % of its area when what `covered` says is hidden too."""
    if not covered.any():
        return True
    count = len(areas) + 1
    visible = np.bincount(owners.ravel(), minlength=count) - np.bincount(covered, minlength=count)
    return bool((4 * visible[1:] >= 3 * np.array(areas)).all())


def _surface(thing: Thing, random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The pixels of an object, [height, 3 * width] uint16 0..255: nearly its colour, lit from a side, with a grain."""
    colour = (np.array(COLOURS[thing.colour][2]) + random.integers(-10, 11, 3)).astype(np.uint16)
    across, down = random.integers(-20, 21, 2)
    top, left = random.integers(0, 512 - 200, 2)
    grain = _photographs("gravel")[0][top : top + height, left : left + width, 0] >> 3
    slope = across * np.arange(-width, width, 2) // width + (down * np.arange(-height, height, 2) // height)[:, None]
    light = (128 - 16 + slope + grain).astype(np.uint16)
    return _lit(light.repeat(3, axis=1), np.tile(colour, width))


def _paint(pixels: np.ndarray, coverage: np.ndarray, surface: np.ndarray) -> None:
    pixels[:] = (pixels * (FULL - coverage) + surface * coverage + FULL // 2) // FULL
