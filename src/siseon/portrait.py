"""Portraits: what is behind the people, or behind the things of another class, is blurred.

Where they are, a segmenter or a Mask R-CNN says, coarsely. The edge follows the photo by a guided filter (He, Sun, Tang
2013, section 3): around each pixel the matte is a linear function of the brightness, so that it changes where the photo
does. The blur takes only pixels of the background, or the people would shine into it. Size, EXIF, colour profile,
transparency and grey are kept; pixels lie in the file as they lay, so that its EXIF turn holds.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from siseon import pictures
from siseon.evaluation import Model, options_of
from siseon.interface import Detections, Prediction, RecipeError, Segmentation, SiseonError
from siseon.prediction import free_names, summary

WORKING = 1024
"""The longer side in pixels at which the edge is found; coarser than a large photo, finer than any network."""
STRIP = 256
"""Rows that are put together at once: photos of 50 megapixels as numbers between 0 and 1 fill the memory."""


def portraits(
    model: Model,
    photos: Sequence[Path],
    out: Path,
    *,
    label: str = "person",
    blur: float | None = None,
    score: float = 0.5,
    say: Callable[[str], None] = print,
) -> list[SiseonError]:
    """Write each photo with its background blurred into the folder `out`, under its name; a line is said for each.

    label: the class that stays sharp; blur: the deviation of the blur in pixels, a fiftieth of the shorter side if left
    out; score: the least of a detection. A photo that cannot be read, or shows nothing of the class, is passed over;
    these faults are returned. Raises RecipeError where the model does not know the class or finds no shapes.
    """
    _check(model, label, blur)
    out.mkdir(parents=True, exist_ok=True)
    names = free_names(photos)
    faults: list[SiseonError] = []
    for photo in photos:
        try:
            pixels = pictures.read(photo)
            (prediction,) = model.predict(pixels, **options_of(model.task, score=score, mirrored=False))
            shape = shape_of(prediction, label)
            if not shape.any():
                raise SiseonError(
                    f"{photo}: no {label} was found, but {summary(prediction)}",
                    "Name another --class, a lower --score, or another --model",
                )
            write_like(photo, blurred_behind(pixels, shape, blur=blur), out / names[photo])
        except SiseonError as fault:
            faults.append(fault)
            continue
        say(f"{photo}: {label} on {shape.mean():.0%} of the photo")
    return faults


def shape_of(prediction: Prediction, label: str) -> np.ndarray:
    """Where things of the class `label` are, bool [height, width]. Raises RecipeError where there are no shapes."""
    if isinstance(prediction, Segmentation):
        return np.asarray(prediction.labels.numpy() == prediction.classes.index(label))
    if not isinstance(prediction, Detections) or prediction.masks is None:
        raise RecipeError("this model finds no shapes", "Take a segmenter or a Mask R-CNN")
    return np.asarray(prediction.masks[prediction.labels == prediction.classes.index(label)].any(0).numpy())


def blurred_behind(pixels: np.ndarray, shape: np.ndarray, *, blur: float | None = None) -> np.ndarray:
    """The photo [height, width, 3] uint8 with all but the shape, bool [height, width], blurred; the edge is soft."""
    matte = soft_edge(pixels, shape)
    deviation = min(pixels.shape[:2]) / 50 if blur is None else blur
    behind = background(pixels, matte, deviation)
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), STRIP):
        rows = np.s_[top : top + STRIP]
        share = matte[rows, :, None]
        result[rows] = (share * pixels[rows] + (1 - share) * behind[rows] + 0.5).astype(np.uint8)
    return result


def soft_edge(pixels: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """How much each pixel belongs to the shape, float32 [height, width] 0..1: the shape, guided by the photo."""
    height, width = shape.shape
    scale = min(WORKING / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    guide = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    coarse = cv2.resize(shape.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    slope, offset = guided(guide, coarse, radius=max(round(max(size) / 50), 2), smallest=1e-3)
    slope, offset = (cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in (slope, offset))
    matte = slope * (grey.astype(np.float32) / 255) + offset
    matte = (matte - 0.1) / 0.8  # so that what is surely inside or outside is wholly so
    return np.asarray(np.clip(matte, 0, 1, out=matte))


def guided(guide: np.ndarray, target: np.ndarray, *, radius: int, smallest: float) -> tuple[np.ndarray, np.ndarray]:
    """The slope and offset [height, width] that make the target, in each window, nearly slope * guide + offset.

    guide, target: float32 [height, width]; radius: half the side of a window; smallest: the variance of the guide below
    which it is flat, and the target is averaged instead. Equations 5, 6 and 8.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        side = 2 * radius + 1
        return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_target = mean(guide), mean(target)
    covariance = mean(guide * target) - mean_guide * mean_target
    slope = covariance / (mean(guide * guide) - mean_guide**2 + smallest)
    return mean(slope), mean(mean_target - slope * mean_guide)


def background(pixels: np.ndarray, matte: np.ndarray, deviation: float) -> np.ndarray:
    """The photo blurred by a Gaussian of so many pixels, of the pixels that do not belong to the matte; uint8.

    A wide blur is computed on a smaller copy, which no eye can tell.
    """
    height, width = matte.shape
    shrink = max(int(deviation / 4), 1)
    size = max(width // shrink, 1), max(height // shrink, 1)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = 1 - cv2.resize(matte, size, interpolation=cv2.INTER_AREA)[..., None]
    # A little of everything, so that there is a colour also where all around belongs to the matte.
    weight = np.maximum(weight, 1e-3)
    sigma = max(deviation / shrink, 1e-3)

    def smooth(values: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        return blurred if blurred.ndim == 3 else blurred[..., None]

    mean = smooth(small * weight) / smooth(weight)
    return cv2.resize(mean.round().clip(0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)


def write_like(photo: Path, pixels: np.ndarray, path: Path) -> None:
    """Write upright pixels [height, width, 3] as the file `photo` is: turn, EXIF, profile, grey and alpha kept.

    Raises SiseonError where the file cannot be written.
    """
    with warnings.catch_warnings(), Image.open(photo) as original:
        warnings.simplefilter("ignore")
        # The profile of a CMYK photo says nothing about RGB; a turn that stands elsewhere (XMP) would be lost.
        wanted = ("exif", "icc_profile") if original.mode != "CMYK" else ("exif",)
        kept: dict[str, Any] = {key: original.info[key] for key in wanted if key in original.info}
        original.load()
        turned = "exif" in kept and original.format != "TIFF"
        orientation = original.getexif().get(pictures.ORIENTATION, 1) if turned else 1
        # Turning by 90 degrees to the right is undone by turning to the left; the other turns undo themselves.
        stored = pictures.turned(pixels, {6: 8, 8: 6}.get(orientation, orientation))
        image = Image.fromarray(stored)
        if original.mode in ("1", "L", "LA") or original.mode.startswith(("I", "F")):
            image = image.convert("L")
        jpeg = path.suffix.lower() in (".jpg", ".jpeg")
        if original.has_transparency_data and not jpeg:
            image.putalpha(original.convert("RGBA").getchannel("A"))
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if jpeg else {}
    try:
        image.save(path, **options, **kept)
    except OSError as fault:
        raise SiseonError(f"{path}: cannot be written ({fault})", "Make room, or write elsewhere with --out") from fault


def _check(model: Model, label: str, blur: float | None) -> None:
    if model.task == "classification":
        raise RecipeError("a classifier does not say where something is", "Take a segmenter or a Mask R-CNN")
    if blur is not None and blur <= 0:
        raise RecipeError(f"a blur of {blur:g} pixels makes no sense", "Give a number above 0")
    if label not in model.classes:
        near = difflib.get_close_matches(label, model.classes, n=1, cutoff=0.4)
        meant = f'Did you mean "{near[0]}"? ' if near else ""
        raise RecipeError(f'the model knows no class "{label}"', f"{meant}It knows {', '.join(model.classes[:30])}")
