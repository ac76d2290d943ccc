"""Boxes, masks, maps of classes and labels (Hangul too) onto pictures, sheets of pictures, and the font of them all.

Lines and letters grow with the picture. A picture whose longer side is below 400 pixels is enlarged 2 to 4 times first,
so that its labels can be read. Where labels would hide the objects, or say the same again and again, the classes stand
once below the picture, and at the boxes only the scores that find room. In both cases what is returned is larger than
what was given.
"""

from __future__ import annotations

import colorsys
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from siseon.interface import VOID, Detections, Segmentation, Size
from siseon.labelling import Label, Rectangle, labelled

FONT: Final = Path(__file__).with_name("fonts") / "NanumSquareR.ttf"
"""Hangul, Hanja, kana and Latin; what it lacks (é, the minus sign) comes from DejaVu Sans, which matplotlib ships."""

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue, 0..255."""

READABLE: Final = 400
"""A picture whose longer side has fewer pixels is enlarged."""
SHEET: Final = 1600
"""The most pixels that the columns of a contact sheet are wide together."""
LEAST: Final = 11
"""The height in pixels of the smallest letters that can be read."""
SMALLER: Final = 0.8
"""How high the letters of scores are where there is little room, by those of names."""
MUCH: Final = 0.15
"""The share of an object that a label should not hide."""
AGAIN: Final = 5
"""How many objects of each class, in the mean, make its name at each of them too much."""
LATIN: Final = 0x24F
"""The last Latin character, accents and all."""
PAPER: Final[Colour] = (250, 250, 248)
PENCIL: Final[Colour] = (40, 40, 44)
SHADE: Final = (0, 0, 0, 110)
BACKGROUND: Final = ("background", "(background)", "__background__", "배경")
"""Classes that are not tinted, so that what stands before them is seen."""


def draw(picture: np.ndarray, detections: Detections) -> np.ndarray:
    """The picture [height, width, 3] uint8 with the detections on it: masks, boxes, and class and score in percent."""
    scores = [f"{score:.0%}" for score in detections.scores.tolist()]
    captions = [f"{name} {score}" for name, score in zip(detections.names, scores, strict=True)]
    return _drawn(picture, detections, captions, scores)


def draw_truth(picture: np.ndarray, truth: Detections) -> np.ndarray:
    """As `draw`, with the class alone: of true objects the score says nothing."""
    return _drawn(picture, truth, truth.names, [""] * len(truth.names))


def draw_map(picture: np.ndarray, segmentation: Segmentation) -> np.ndarray:
    """The picture [height, width, 3] uint8 tinted by the class of each pixel, over a legend of the classes in it."""
    labels = segmentation.labels.cpu().numpy().astype(np.uint8)
    canvas = tinted(_enlarged(picture), labels, segmentation.classes)
    known = {name: label for label, name in enumerate(segmentation.classes)}
    entries = [(swatch(known[name], name), f"{name} {share:.1%}") for name, share in segmentation.shares().items()]
    size = (canvas.shape[0], canvas.shape[1])
    return np.concatenate([canvas, legend(entries, size[1], letters=_letters(size))])


def tinted(picture: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The picture in the colours of its classes, each area with a line around it; VOID is dark, a background as it is.

    picture [height, width, 3] uint8; labels [rows, columns] uint8 of the same picture.
    """
    height, width = picture.shape[:2]
    labels = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    table = np.zeros((256, 3), np.uint8)
    clear = np.zeros(256, bool)
    for label, name in enumerate(classes):
        table[label] = colour(label)
        clear[label] = name in BACKGROUND
    paint = table[labels]
    canvas = np.where(clear[labels][..., None], picture, picture // 5 * 2 + paint // 5 * 3)
    thick = np.ones((_line((height, width)),) * 2, np.uint8)
    edges = (cv2.dilate(labels, thick) != labels) & (labels != VOID)
    canvas[edges] = np.where(clear[labels][..., None], 255, paint)[edges]
    return canvas


def swatch(label: int, name: str) -> Colour:
    """The colour of a class in a legend; that of paper for a background, which is not tinted."""
    return PAPER if name in BACKGROUND else colour(label)


def legend(entries: Sequence[tuple[Colour, str]], width: int, *, letters: int) -> np.ndarray:
    """Names behind their colours, in as many rows as they need: [rows, width, 3] uint8; letters: their height."""
    step, gap = round(letters * 1.6), letters // 2
    places: list[tuple[int, int, str]] = []
    left, top = gap, gap
    for _, text in entries:
        text = _shortened(text, letters, width - 3 * letters)
        room = round(_length(text, letters)) + 2 * letters + gap
        if left > gap and left + room > width:
            left, top = gap, top + step
        places.append((left, top, text))
        left += room
    strip = Image.new("RGB", (width, top + step), PAPER)
    pen = ImageDraw.Draw(strip)
    for (paint, _), (start, row, text) in zip(entries, places, strict=True):
        pen.rectangle((start, row, start + letters, row + letters), fill=paint, outline=PENCIL)
        _write(pen, (start + letters + gap, row + round(letters * 0.86)), text, letters, PENCIL)
    return np.array(strip)


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str] = (), columns: int = 4) -> np.ndarray:
    """Pictures [height, width, 3] uint8 in rows, each over its caption, scaled to columns of one width, as one picture.

    A caption is broken into up to three lines; missing captions are empty. Raises ValueError where there is no picture.
    """
    if not pictures:
        raise ValueError("a contact sheet needs a picture")
    columns = max(min(columns, len(pictures)), 1)
    width = min(max(max(picture.shape[1] for picture in pictures), 240), SHEET // columns)
    letters = min(max(width // 20, 14), 28)
    captions = [*captions, *[""] * len(pictures)]
    tiles = [
        _tile(picture, _lines(caption, letters, width), (width, letters))
        for picture, caption in zip(pictures, captions, strict=False)
    ]
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    gap = max(width // 30, 8)
    heights = [max(tile.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (gap + columns * (width + gap), gap + sum(heights) + gap * len(rows)), PAPER)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (gap + column * (width + gap), top))
        top += height + gap
    return np.array(sheet)


def use_hangul_in_plots() -> None:
    """Let matplotlib write Hangul: its fonts become DejaVu Sans and, for what that lacks, NanumSquare.

    Not the other way round: NanumSquare's decimal point looks like a comma in small figures.
    """
    import matplotlib
    from matplotlib.font_manager import fontManager

    if not any(entry.fname == str(FONT) for entry in fontManager.ttflist):
        fontManager.addfont(str(FONT))
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", "NanumSquare"]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The shipped font, `size` pixels high."""
    return ImageFont.truetype(str(FONT), size)


def colour(label: int) -> Colour:
    """The colour of a class: the same everywhere, and unlike those of its neighbours (hues a golden ratio apart)."""
    hue = label * 0.618033988749895 % 1
    saturation, value = ((0.78, 0.95), (0.9, 0.72), (0.5, 1.0))[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink(paper: Colour) -> Colour:
    """Black or white, whichever is read more easily on `paper` (contrast of WCAG 2.2, relative luminance)."""
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (part / 255 for part in paper)
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _drawn(picture: np.ndarray, objects: Detections, captions: Sequence[str], short: Sequence[str]) -> np.ndarray:
    """The objects with their captions, or over a legend of their classes with the `short` ones that find room."""
    height, width = picture.shape[:2]
    canvas = _enlarged(picture)
    times = canvas.shape[0] // height
    colours = [colour(label) for label in objects.labels.tolist()]
    size = (height * times, width * times)
    if objects.masks is not None:
        _draw_masks(canvas, objects.masks.cpu().numpy(), colours)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image, "RGBA")
    boxes = [_pixels([edge * times for edge in box], size) for box in objects.boxes.tolist()]
    line = _line(size)
    # The best come first in the list, and last onto the picture.
    for box, paint in reversed(list(zip(boxes, colours, strict=True))):
        left, top, right, bottom = box.left, box.top, box.right - 1, box.bottom - 1
        # A thin dark rim: the line stays visible on ground of its own colour.
        for rim in (-1, line):
            if right - left > 2 * rim and bottom - top > 2 * rim:
                pen.rectangle((left + rim, top + rim, right - rim, bottom - rim), outline=SHADE)
        pen.rectangle((left, top, right, bottom), outline=paint, width=line)
    letters = _letters(size)
    texts = [_shortened(caption, letters, size[1] - letters) for caption in captions]
    labels = labelled(boxes, _rooms(texts, letters), size)
    if not _crowded(labels, len(set(objects.names))):
        _draw_labels(pen, labels, texts, colours, letters)
        return np.array(image)
    small = max(round(letters * SMALLER), LEAST)
    if any(short):
        _draw_labels(pen, labelled(boxes, _rooms(short, small), size, most=MUCH), short, colours, small)
    entries = [(colour(label), f"{name} × {count}") for (label, name), count in _counted(objects)]
    return np.concatenate([np.array(image), legend(entries, size[1], letters=letters)])


def _crowded(labels: Mapping[int, Label], classes: int) -> bool:
    """Whether a legend is better than labels: they say the same again and again, or hide the objects or each other.

    Of different things a legend would have to name each.
    """
    hides = sum(label.hides for label in labels.values())
    return len(labels) >= AGAIN * classes > 0 or (hides > MUCH * len(labels) and classes < len(labels))


def _counted(objects: Detections) -> list[tuple[tuple[int, str], int]]:
    """(label, name) of each class and how many objects are of it, most first."""
    return Counter(zip(objects.labels.tolist(), objects.names, strict=True)).most_common()


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """A copy of the picture, 2 to 4 times as large where it is small."""
    height, width = picture.shape[:2]
    times = min(max(-(-READABLE // max(height, width)), 2), 4) if max(height, width) < READABLE else 1
    return cv2.resize(picture, (width * times, height * times), interpolation=cv2.INTER_CUBIC)


def _line(size: Size) -> int:
    """The width of a line on a picture of this size: 2 pixels at 640 x 480."""
    return max(round((size[0] * size[1]) ** 0.5 / 280), 2)


def _letters(size: Size) -> int:
    """The height of letters on a picture of this size: 16 pixels at 640 x 480."""
    return max(round((size[0] * size[1]) ** 0.5 / 35), LEAST + 2)


def _pixels(box: Sequence[float], size: Size) -> Rectangle:
    """A box in whole pixels of the picture, at least one of them."""
    left, top = min(max(round(box[0]), 0), size[1] - 1), min(max(round(box[1]), 0), size[0] - 1)
    return Rectangle(left, top, max(min(round(box[2]), size[1]), left + 1), max(min(round(box[3]), size[0]), top + 1))


def _draw_masks(canvas: np.ndarray, masks: np.ndarray, colours: Sequence[Colour]) -> None:
    """Blend masks [objects, height, width] into a canvas that is as large or larger, and draw their outlines."""
    height, width = canvas.shape[:2]
    for mask, paint in reversed(list(zip(masks, colours, strict=True))):
        share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        inside = (share >= 0.5).astype(np.uint8)
        canvas[inside > 0] = canvas[inside > 0] // 2 + np.array(paint, np.uint8) // 2
        outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, paint, max(_line((height, width)) // 2, 1), cv2.LINE_AA)


def _rooms(texts: Sequence[str], letters: int) -> list[tuple[int, int]]:
    """Width and height of labels in letters of a size."""
    return [(round(_length(text, letters)) + letters // 2, round(letters * 1.25)) for text in texts]


def _draw_labels(
    pen: ImageDraw.ImageDraw,
    labels: Mapping[int, Label],
    texts: Sequence[str],
    colours: Sequence[Colour],
    letters: int,
) -> None:
    for number, (place, _) in reversed(list(labels.items())):
        pen.rectangle((place.left, place.top, place.right - 1, place.bottom - 1), fill=colours[number])
        start = place.left + letters // 4, place.top + round(letters * 0.97)
        _write(pen, start, texts[number], letters, ink(colours[number]))


def _tile(picture: np.ndarray, lines: Sequence[str], measures: tuple[int, int]) -> Image.Image:
    """A picture scaled to (width, ...), at most one and a half times as high, over its caption in letters of a size."""
    width, letters = measures
    height, old = picture.shape[:2]
    scale = min(width / old, 1.5 * width / height)
    size = max(round(old * scale), 1), max(round(height * scale), 1)
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    step = round(letters * 1.35)
    tile = Image.new("RGB", (width, size[1] + step * len(lines) + letters // 4 * bool(lines)), PAPER)
    tile.paste(Image.fromarray(scaled), ((width - size[0]) // 2, 0))
    pen = ImageDraw.Draw(tile)
    for number, line in enumerate(lines):
        _write(pen, (0, size[1] + round(letters * 1.25) + step * number), line, letters, PENCIL)
    return tile


def _lines(text: str, letters: int, width: int) -> list[str]:
    """A caption broken between words into at most three lines that fit."""
    lines: list[str] = []
    for word in _clean(text).split():
        if lines and _length(f"{lines[-1]} {word}", letters) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > 3:
        lines = [*lines[:2], " ".join(lines[2:])]
    return [_shortened(line, letters, width) for line in lines]


def _shortened(text: str, letters: int, width: int) -> str:
    """The text, or its beginning and an ellipsis, that fits a width."""
    text = _clean(text)
    if _length(text, letters) <= width:
        return text
    while text and _length(text + "…", letters) > width:
        text = text[:-1]
    return text + "…"


def _clean(text: str) -> str:
    """In one line; and Hangul composed, as macOS's file names have it in parts, of which no font makes syllables."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _write(pen: ImageDraw.ImageDraw, start: tuple[float, float], text: str, letters: int, paint: Colour) -> None:
    """Write from `start`, the left end of the base line, in letters of a size."""
    left, base = start
    for face, part in _parts(text, letters):
        pen.text((left, base), part, fill=paint, font=face, anchor="ls")
        left += face.getlength(part)


def _length(text: str, letters: int) -> float:
    return sum(face.getlength(part) for face, part in _parts(text, letters))


def _parts(text: str, letters: int) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    """The text in pieces, each with a font that has its characters; a Latin word is not written in two fonts."""
    words = [
        # the decimal point of the shipped font lies below the line, as a comma
        (word, not re.search(r"\d\.\d", word) and all(ord(character) in _drawable() for character in word))
        for word in re.split("( )", text)
    ]
    ours = [
        (character, whole or (ord(character) > LATIN and ord(character) in _drawable()))
        for word, whole in words
        for character in word
    ]
    return [
        (font(letters) if shipped else _spare_font(letters), "".join(character for character, _ in part))
        for shipped, part in groupby(ours, lambda one: one[1])
    ]


@cache
def _drawable() -> frozenset[int]:
    """The characters of the shipped font."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(FONT)).get_charmap())


@cache
def _spare_font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
