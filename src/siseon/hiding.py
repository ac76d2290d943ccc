"""Regions of a picture made unrecognisable, and nothing else of it changed.

fill        one colour. Nothing of the region is left.
pixelate    at most four by four tiles, their colours rounded and disturbed at random. What is left is too little to
            tell one face or plate from another, and is not what stood there: the means of a plain pixelation can be
            compared with those of known faces.
blur        Gaussian. Convolution can be undone in part, and people are recognised through it: it is only for looks.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import cv2
import numpy as np

from siseon.tracking import enlarged

How: TypeAlias = Literal["fill", "pixelate", "blur"]
TILES: Final = 4
LEVELS: Final = 8
NOISE: Final = 0.12
"""Of the range from black to white, up or down."""


def regions(boxes: np.ndarray, size: tuple[int, int], margin: float) -> np.ndarray:
    """The pixels to hide, as whole numbers [objects, 4] within (height, width); margin: share added on each side."""
    edges = enlarged(np.asarray(boxes, float).reshape(-1, 4), margin)
    limits = np.array((size[1], size[0], size[1], size[0]))
    outward = np.concatenate((np.floor(edges[:, :2]), np.ceil(edges[:, 2:])), 1)
    inside = outward.clip(0, limits).astype(int)
    return inside[(inside[:, 2:] > inside[:, :2]).all(1)]


def hide(
    pixels: np.ndarray, boxes: np.ndarray, *, how: How, margin: float, black: tuple[int, ...] = (0,)
) -> np.ndarray:
    """A copy of `pixels` [height, width] or [height, width, channels], of any type of numbers, with the boxes hidden.

    boxes [objects, 4] in pixels; black: the fill, one value or one a channel. Channels after the last of `black`, where
    it has several, such as alpha, are left as they are.
    """
    flat = pixels[..., None] if pixels.ndim == 2 else pixels
    out = flat.copy()
    shown = len(black) if len(black) > 1 else flat.shape[2]
    random = np.random.default_rng()  # without a seed: nobody shall be able to draw the same noise again
    for left, top, right, bottom in regions(boxes, (flat.shape[0], flat.shape[1]), margin):
        place = np.s_[top:bottom, left:right, :shown]
        match how:
            case "fill":
                out[place] = black
            case "pixelate":
                out[place] = _pixelated(flat[place], random)
            case "blur":
                out[place] = _blurred(flat[place])
    return out.reshape(pixels.shape)


def _pixelated(region: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width, channels = region.shape
    white = float(region.max()) or 1.0 if region.dtype.kind == "f" else np.iinfo(region.dtype).max
    tiles = min(TILES, height), min(TILES, width)
    means = cv2.resize(region.astype(np.float32), tiles[::-1], interpolation=cv2.INTER_AREA).reshape(*tiles, channels)
    rounded = np.round(means / white * (LEVELS - 1)) / (LEVELS - 1)
    disturbed = (rounded + random.uniform(-NOISE, NOISE, rounded.shape)).clip(0, 1) * white
    large = cv2.resize(disturbed.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return _as_type_of(region, large)


def _blurred(region: np.ndarray) -> np.ndarray:
    sigma = max(region.shape[:2]) / 4
    smooth = cv2.GaussianBlur(region.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return _as_type_of(region, smooth)


def _as_type_of(region: np.ndarray, values: np.ndarray) -> np.ndarray:
    whole = values if region.dtype.kind == "f" else values.round()
    return whole.reshape(region.shape).astype(region.dtype)
