"""A photo or an animation as its own pixels, to be changed here and there and written in its own format, cleaned.

Depth, alpha and colour space are those of the file (palettes become colours); metadata is left out but for the colour
profile, and the turn that EXIF asks for is made.
"""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image, ImageOps, ImageSequence, JpegImagePlugin

from siseon import pictures
from siseon.interface import PictureError

ANIMATED: Final = ("GIF", "PNG", "WEBP")
MARK: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""In the coded pixels of a JPEG: anything but a stuffed byte or a restart (ITU T.81, B.1.1)."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture file in hand.

    frames: the pixels as they are stored, upright, [height, width] or [height, width, channels]; one, or those of an
    animation or the pages of a TIFF. views: the same as RGB [height, width, 3] uint8. black: what fills a region.
    """

    source: Path
    format: str
    frames: list[np.ndarray]
    views: list[np.ndarray]
    black: tuple[int, ...]
    turned: bool
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def moves(self) -> bool:
        """Whether the frames follow each other in time."""
        return len(self.frames) > 1 and self.format in ANIMATED

    def encoded(self, frames: Sequence[np.ndarray]) -> bytes:
        """The file with these frames in place of its own, without metadata."""
        if "depth" in self.options:
            return _deep(frames[0], self.format, self.options["profile"])
        images = [_image(frame, self.format) for frame in frames]
        more = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
        whole = BytesIO()
        images[0].save(whole, self.format, **self.options, **more)
        return whole.getvalue()

    def cleaned(self) -> bytes:
        """The file as it is, without metadata. A JPEG that needs no turn keeps its coded pixels."""
        if self.format == "JPEG" and not self.turned:
            try:
                return stripped(self.source.read_bytes())
            except (ValueError, IndexError):  # odd, though Pillow could read it: encoded anew
                pass
        return self.encoded(self.frames)


def open_photo(source: Path) -> Photo:
    """Read a picture file. Raises PictureError, naming it, where pictures.read does."""
    view = pictures.read(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as pictures.read: of odd metadata, which is thrown away here
        with Image.open(source, formats=pictures.FORMATS) as image:
            turned = pictures.size_and_turn(source)[1]
            format_ = "JPEG" if image.format == "MPO" else str(image.format)
            if _is_deep(image, source):
                frame = _read_deep(source, turned=turned, image=image)
                options = {"depth": 16, "profile": image.info.get("icc_profile")}
                return Photo(source, format_, [frame], [view], (0,) * min(frame.shape[2], 3), turned, options)
            options = _options(image, format_)
            several = format_ in (*ANIMATED, "TIFF") and getattr(image, "n_frames", 1) > 1
            try:
                images = [_upright(each) for each in (ImageSequence.Iterator(image) if several else [image])]
            except Exception as fault:  # damaged files make Pillow's decoders raise almost anything
                reason = " ".join(str(fault).split()) or type(fault).__name__
                raise PictureError(f"{source}: a frame is damaged or cut off ({reason})", pictures.AGAIN) from fault
            if several:
                options |= _timing(image, format_)
    views = [pictures.to_array(each) for each in images] if several else [view]
    black = {"CMYK": (0, 0, 0, 255), "LA": (0, 255), "RGBA": (0, 0, 0)}.get(images[0].mode, (0,))
    return Photo(source, format_, [np.asarray(each) for each in images], views, black, turned, options)


def stripped(encoded: bytes) -> bytes:
    """A JPEG without metadata, its coded pixels as they are, and without what stands behind its end.

    What is needed to show the picture stays: JFIF without its thumbnail, the colour profile, Adobe's colour transform.
    Raises ValueError or IndexError where it is no whole JPEG.
    """
    out, place = bytearray(encoded[:2]), 2
    while True:
        if encoded[place] != 0xFF:
            raise ValueError("no mark where one must be")
        mark = encoded[place + 1]
        if mark == 0xFF:  # a byte that fills up
            place += 1
            continue
        if mark == 0xD9:
            return bytes(out + b"\xff\xd9")
        end = place + 2 + int.from_bytes(encoded[place + 2 : place + 4])
        out += _kept(mark, encoded[place:end])
        place = end
        if mark == 0xDA:
            following = MARK.search(encoded, place)
            if following is None:
                raise ValueError("no end")
            out += encoded[place : following.start()]
            place = following.start()


def _kept(mark: int, segment: bytes) -> bytes:
    """What stays of a segment."""
    if mark == 0xE0 and segment[4:9] == b"JFIF\0":
        return segment[:2] + b"\x00\x10" + segment[4:16] + b"\0\0"
    colours = (mark == 0xE2 and segment[4:16] == b"ICC_PROFILE\0") or (mark == 0xEE and segment[4:9] == b"Adobe")
    described = 0xE0 <= mark <= 0xEF or mark == 0xFE
    return segment if colours or not described else b""


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # first: Pillow turns a TIFF itself while it loads
    whole = ImageOps.exif_transpose(image)
    if whole.mode in ("P", "PA", "1") or (whole.mode in ("L", "RGB") and "transparency" in whole.info):
        whole = whole.convert("L" if whole.mode == "1" else "RGBA" if whole.has_transparency_data else "RGB")
    elif whole.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"):
        whole = whole.convert("RGB")
    whole.info = {}
    return whole.copy()


def _options(image: Image.Image, format_: str) -> dict[str, Any]:
    """What Pillow is told when it writes: quality as it was, the colour profile, the resolution."""
    options = {name: image.info[name] for name in ("icc_profile", "dpi") if image.info.get(name)}
    match format_:
        case "JPEG":
            jpeg: Any = image
            options |= {"qtables": jpeg.quantization, "progressive": "progressive" in image.info}
            if image.mode in ("RGB", "CMYK") and (sampling := JpegImagePlugin.get_sampling(jpeg)) >= 0:
                options["subsampling"] = sampling
        case "WEBP":
            options |= {"lossless": True, "exact": True}
        case "TIFF":
            options["compression"] = "tiff_deflate" if image.mode != "F" else None
    return options


def _timing(image: Image.Image, format_: str) -> dict[str, Any]:
    """How long each frame is shown, and how often all of them."""
    if format_ == "TIFF":
        return {}
    durations = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        image.load()  # a WebP knows how long a frame lasts when it is decoded
        durations.append(image.info.get("duration", 100))
    options = {"duration": durations, "loop": image.info.get("loop", 0)}
    if format_ == "GIF":
        options |= {"disposal": 2, "optimize": False}
        if "loop" not in image.info:  # once: GIF says so by saying nothing
            del options["loop"]
    return options


def _image(frame: np.ndarray, format_: str) -> Image.Image:
    if format_ == "GIF":
        return _with_palette(frame)
    if frame.ndim == 3 and frame.shape[2] == 4 and format_ in ("JPEG", "TIFF"):
        return Image.frombytes("CMYK" if format_ == "JPEG" else "RGBA", frame.shape[1::-1], frame.tobytes())
    return Image.fromarray(frame)


def _with_palette(frame: np.ndarray) -> Image.Image:
    """A GIF's frame: its own colours where they are at most 256, else the nearest of 256."""
    colours = frame if frame.ndim == 3 else frame[..., None].repeat(3, 2)
    solid = colours[..., 3] > 127 if colours.shape[2] == 4 else np.ones(colours.shape[:2], bool)
    packed = colours[..., :3].astype(np.uint32) @ np.array((65536, 256, 1), np.uint32)
    packed[~solid] = 1 << 24
    values, index = np.unique(packed, return_inverse=True)
    if len(values) > 256:
        return Image.fromarray(np.ascontiguousarray(colours[..., :3])).quantize(256)
    image = Image.fromarray(index.reshape(packed.shape).astype(np.uint8)).convert("L")
    palette = np.stack((values >> 16, values >> 8, values), 1).astype(np.uint8)
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(palette.tobytes())
    if not solid.all():
        image.info["transparency"] = len(values) - 1
    return image


def _is_deep(image: Image.Image, source: Path) -> bool:
    """Whether the file has more than 8 bits of several channels, of which Pillow would keep 8."""
    if image.format == "PNG":
        with source.open("rb") as file:
            head = file.read(26)
        return head[24] == 16 and head[25] in (2, 4, 6)
    bits: Any = getattr(image, "tag_v2", {}).get(258, ())
    return image.format == "TIFF" and len(bits) > 1 and max(bits) == 16


def _read_deep(source: Path, *, turned: bool, image: Image.Image) -> np.ndarray:
    """uint16 [height, width, 3 or 4], the colours in OpenCV's order, blue first."""
    encoded = np.frombuffer(source.read_bytes(), np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise PictureError(f"{source}: pixels of 16 bits of an unusual kind", "Save it as PNG of 16 bits")
    return pictures.turned(pixels, pictures.orientation_of(image)) if turned else pixels


def _deep(pixels: np.ndarray, format_: str, profile: bytes | None) -> bytes:
    """A PNG or TIFF of 16 bits; a PNG with its colour profile."""
    encoded = bytes(cv2.imencode(".png" if format_ == "PNG" else ".tiff", pixels)[1])
    if profile is None or format_ != "PNG":
        return encoded
    content = b"ICC\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(content)) + b"iCCP" + content + struct.pack(">I", zlib.crc32(b"iCCP" + content))
    return encoded[:33] + chunk + encoded[33:]  # behind the header, before the pixels
