"""Random changes of training pictures, and the one resampling that brings every picture to the network's size.

Geometry is one affine matrix a sample: enlargement, crop, mirror, turn, slant and the scaling to the network's size are
multiplied first, then picture, boxes and masks move by the product, so that they stay together and the picture is
resampled once. Colour is one affine matrix too: brightness, contrast, saturation and hue are a linear map of RGB each.

Coordinates are continuous: the centre of the first pixel is (0.5, 0.5), a box covers right - left pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from faster_coco_eval.core import mask as runs_code

from siseon.data.dataset import Annotation, Segments
from siseon.data.files import Runs
from siseon.data.mending import encode
from siseon.interface import VOID, Size, Sizing

Augmentation: TypeAlias = Callable[[np.ndarray, Annotation, np.random.Generator], tuple[np.ndarray, Annotation]]
"""A change of one's own: (picture [height, width, 3] uint8 RGB, annotation, random numbers) -> both, changed."""

FILL = (124, 116, 104)
"""The colour beyond the picture's edge: ImageNet's mean, which the models' normalisation makes zero."""

LEAST_SIDE = 1.0
"""Boxes narrower or lower than this, in pixels of the network's input, are left out: nothing can learn from them."""

_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_MIDDLE_GREY = 128


class Crop(NamedTuple):
    """The size rule of a classifier: scale the shorter side to `resize`, then cut the middle square of `crop`."""

    resize: int = 256
    crop: int = 224


Frame: TypeAlias = Sizing | Crop
"""How a picture becomes the network's input."""


@dataclass(frozen=True)
class Augment:
    """How strongly training pictures are changed at random.

    flip: share of pictures mirrored left to right. scale: least and greatest enlargement, drawn evenly on a logarithmic
    scale; what no longer fits is cut off at a random place, what no longer fills the frame is put at a random place on
    FILL. rotate, shear: greatest angle in degrees, either way. translate: greatest further shift, as a share of the
    side. brightness, contrast, saturation: greatest change, as a share, either way. hue: greatest turn in degrees.
    cutout: side of a square at a random place that becomes FILL, as a share of the picture's shorter side (DeVries and
    Taylor 2017, arXiv:1708.04552); the edge may cut it. visible: an object of which less than this share of the box
    remains in view becomes a crowd region, which counts neither as an object nor as background.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    rotate: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 5.0
    cutout: float = 0.0
    visible: float = 0.3

    @staticmethod
    def none() -> Augment:
        """No change: only the scaling to the network's size, as in validation."""
        return Augment(flip=0, scale=(1, 1), brightness=0, contrast=0, saturation=0, hue=0)

    def place(
        self,
        picture: np.ndarray,
        annotation: Annotation,
        random: np.random.Generator,
        *,
        frame: Frame,
        masks: bool = False,
    ) -> tuple[np.ndarray, Annotation]:
        """The picture at the network's size, changed at random, and the annotation in its pixels.

        masks: move the objects' segments too; without it the annotation given back has none.
        """
        size = (picture.shape[0], picture.shape[1])
        target, factors = placement(frame, size)
        matrix = self.geometry(size, target, factors, random)
        colours = self.colours(random)
        picture = warp(picture, matrix, target, smooth=isinstance(frame, Crop))
        if colours is not None:
            picture = cv2.transform(picture, colours)
        if self.cutout:
            wipe_square(picture, self.cutout, random)
        return picture, move(annotation, matrix, target, visible=self.visible, masks=masks)

    def geometry(
        self, size: Size, target: Size, factors: tuple[float, float], random: np.random.Generator
    ) -> np.ndarray:
        """A random affine matrix [2, 3] from the pixels of a picture of `size` to those of a frame of size `target`.

        factors: the (vertical, horizontal) scaling when nothing is changed.
        """
        mirror = -1.0 if random.random() < self.flip else 1.0
        low, high = (math.log(edge) for edge in self.scale)
        scale = math.exp(random.uniform(low, high))
        turn, slant = (math.radians(random.uniform(-most, most)) for most in (self.rotate, self.shear))
        factors = factors[0] * scale, factors[1] * scale
        room = [abs(side * factor - goal) / 2 for side, factor, goal in zip(size, factors, target, strict=True)]
        if scale == 1:  # the picture as in validation: in the middle, unless a shift is asked for
            room = [0.0, 0.0]
        shift = [
            goal / 2 + random.uniform(-1, 1) * space + random.uniform(-1, 1) * self.translate * goal
            for space, goal in zip(room, target, strict=True)
        ]
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        linear = rotation @ np.array([[1, math.tan(slant)], [0, 1]]) @ np.diag([mirror * factors[1], factors[0]])
        centre = np.array([size[1] / 2, size[0] / 2])
        return np.column_stack([linear, np.array(shift[::-1]) - linear @ centre])

    def colours(self, random: np.random.Generator) -> np.ndarray | None:
        """A random affine matrix [3, 4] of RGB 0..255, or None where nothing changes."""
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        brightness, contrast, saturation, hue = (random.uniform(-most, most) for most in strengths)
        if not any(strengths):
            return None
        turn = math.radians(hue)
        chroma = (1 + saturation) * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        in_yiq = np.eye(3)
        in_yiq[1:, 1:] = chroma
        linear = (1 + brightness) * (1 + contrast) * _FROM_YIQ @ in_yiq @ _TO_YIQ
        return np.column_stack([linear, np.full(3, -contrast * _MIDDLE_GREY)])


def wipe_square(picture: np.ndarray, share: float, random: np.random.Generator) -> None:
    """Fill a square around a random pixel, of `share` of the shorter side and cut at the edges, with FILL."""
    height, width = picture.shape[:2]
    side = round(share * min(height, width))
    top, left = int(random.integers(height)) - side // 2, int(random.integers(width)) - side // 2
    picture[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = FILL


def placement(frame: Frame, size: Size) -> tuple[Size, tuple[float, float]]:
    """The size of the network's input for a picture of `size`, and the (vertical, horizontal) scaling to it."""
    if isinstance(frame, Crop):
        factor = frame.resize / min(size)
        return (frame.crop, frame.crop), (factor, factor)
    target = frame.fit(size)
    return target, (target[0] / size[0], target[1] / size[1])


def warp(picture: np.ndarray, matrix: np.ndarray, size: Size, *, smooth: bool) -> np.ndarray:
    """Resample a picture [height, width(, 3)] once, bilinearly, into a frame of `size`.

    Without turn, slant, mirror or cut it is torch's F.interpolate(align_corners=False), rounded to whole values.
    smooth: average down first where two or more pixels fall on one, as a classifier's antialiased scaling does.
    """
    shrink = int(abs(float(np.linalg.det(matrix[:, :2]))) ** -0.5 + 1e-6) if smooth else 1
    if shrink > 1:
        height, width = (max(side // shrink, 1) for side in picture.shape[:2])
        back = np.diag([picture.shape[1] / width, picture.shape[0] / height])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        matrix = np.column_stack([matrix[:, :2] @ back, matrix[:, 2]])
    if _only_scales(matrix, picture, size):
        return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)
    fill = FILL if picture.ndim == 3 else 0
    return cv2.warpAffine(picture, _from_centres(matrix), size[::-1], flags=cv2.INTER_LINEAR, borderValue=fill)


def move(annotation: Annotation, matrix: np.ndarray, size: Size, *, visible: float, masks: bool) -> Annotation:
    """The annotation after the picture moved by `matrix` [2, 3] into a frame of `size`.

    Boxes are cut at the frame. One of which less than the share `visible` remains becomes crowd; one below LEAST_SIDE
    or not finite is left out. The box of an object turned or slanted with the picture is drawn around its segment,
    where it has one, else around its moved box. masks: move the segments too, else leave them out.
    """
    whole = _whole_boxes(annotation, matrix)
    cut = np.clip(whole, 0, np.array([size[1], size[0], size[1], size[0]]))
    sides = cut[:, 2:] - cut[:, :2]
    keep = np.asarray(np.isfinite(whole).all(axis=1) & (sides >= LEAST_SIDE).all(axis=1))
    share = sides.prod(axis=1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(axis=1), 1e-9)
    segments = annotation.segments if masks else ()
    return replace(
        annotation,
        size=size,
        boxes=cut[keep].astype(np.float32),
        labels=annotation.labels[keep],
        crowd=(annotation.crowd | (share < visible))[keep],
        segments=tuple(moved_segment(segments[index], matrix, size) for index in np.flatnonzero(keep) if segments),
        semantic=None if annotation.semantic is None else moved_map(annotation.semantic, matrix, size),
    )


def moved_map(semantic: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """The classes [height, width] uint8 after the picture moved: of the nearest pixel each; VOID beyond the edge."""
    if _only_scales(matrix, semantic, size):
        return cv2.resize(semantic, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.warpAffine(semantic, _from_centres(matrix), size[::-1], flags=cv2.INTER_NEAREST, borderValue=VOID)


def moved_segment(segment: Segments, matrix: np.ndarray, size: Size) -> Segments:
    """A segment after the picture moved: polygons by their points (not cut at the frame), a mask resampled into it."""
    if isinstance(segment, tuple):
        return tuple(points @ matrix[:, :2].T + matrix[:, 2] for points in segment)
    return warp(segment.astype(np.uint8) * 255, matrix, size, smooth=False) >= 128


def mask(segment: Segments, size: Size) -> np.ndarray:
    """A segment as a bool mask [height, width]: what lies in any of its polygons, to the pixel as COCO draws them."""
    if not isinstance(segment, tuple):
        return segment
    drawn = np.zeros(size, bool)
    points = outline(segment)
    if len(points):
        # Only the part around the polygons: COCO's decoder takes as long as its frame is large.
        left, top = np.floor(points.min(axis=0)).clip(0).astype(int)
        right, bottom = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 1, size[::-1])
        if left < right and top < bottom:
            near = tuple(ring - (left, top) for ring in segment)
            drawn[top:bottom, left:right] = runs_code.decode(runs(near, (bottom - top, right - left)))
    return drawn


def runs(segment: Segments, size: Size) -> Runs:
    """A segment in a picture of `size` as COCO's run-length code; polygons of fewer than three points are nothing."""
    if not isinstance(segment, tuple):
        return encode(segment)
    rings = [ring.ravel().tolist() for ring in segment if len(ring) >= 3]
    code: Runs = runs_code.merge(runs_code.frPyObjects(rings, *size)) if rings else encode(np.zeros(size, bool))
    return code


def outline(segment: Segments) -> np.ndarray:
    """Points [points, 2] (x, y) whose extent, after any affine map, is that of the segment."""
    if isinstance(segment, tuple):
        return np.concatenate([np.zeros((0, 2)), *segment])
    found = cv2.findNonZero(segment.astype(np.uint8))
    if found is None:
        return np.zeros((0, 2))
    hull = cv2.convexHull(found).reshape(-1, 2)
    return np.concatenate([hull + corner for corner in ((0, 0), (1, 0), (0, 1), (1, 1))])


def areas_of(annotation: Annotation) -> np.ndarray:
    """The area of each object in pixels: of its shape where the data has one, as COCO counts, else of its box."""
    boxes = annotation.boxes.astype(np.float64)
    areas: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for row, segment in enumerate(annotation.segments):
        areas[row] = _area_of(segment) or areas[row]
    return areas


def _area_of(segment: Segments) -> float:
    if isinstance(segment, np.ndarray):
        return float(np.count_nonzero(segment))
    # the shoelace formula, polygon by polygon
    return sum(abs(float(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1)))) / 2 for x, y in (part.T for part in segment))


def _whole_boxes(annotation: Annotation, matrix: np.ndarray) -> np.ndarray:
    """The moved boxes [objects, 4] before they are cut at the frame."""
    turned = bool(matrix[0, 1] or matrix[1, 0])
    boxes = np.zeros((len(annotation.boxes), 4))
    for index, (left, top, right, bottom) in enumerate(annotation.boxes.astype(np.float64)):
        points = np.array([[left, top], [right, top], [left, bottom], [right, bottom]])
        if turned and annotation.segments:
            drawn = outline(annotation.segments[index])
            points = drawn if len(drawn) else points
        with np.errstate(invalid="ignore"):  # a box that is not finite is left out later
            moved = points @ matrix[:, :2].T + matrix[:, 2]
        boxes[index] = *moved.min(axis=0), *moved.max(axis=0)
    return boxes


def _from_centres(matrix: np.ndarray) -> np.ndarray:
    """The matrix as cv2 has it, which counts from the centre of the first pixel."""
    half = np.full(2, 0.5)
    return np.column_stack([matrix[:, :2], matrix[:, :2] @ half + matrix[:, 2] - half])


def _only_scales(matrix: np.ndarray, picture: np.ndarray, size: Size) -> bool:
    full = np.array([[size[1] / picture.shape[1], 0, 0], [0, size[0] / picture.shape[0], 0]])
    return bool(np.allclose(matrix, full, rtol=0, atol=1e-9))
