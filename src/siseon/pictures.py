"""The one place where picture files are decoded and brought to RGB, upright.

Every mode that a file can have becomes 8-bit RGB by one rule each:
  grey, 1-bit, palette, YCbCr, HSV, CMYK   converted as Pillow does
  transparency                              laid on white
  16-bit grey                               0..65535 to 0..255, rounded (not cut)
  32-bit integers                           as 16-bit; where a value is above 65535, 0..2^31-1 to 0..255
  floats                                    0..1 to 0..255; where a value is above 1, 0..255, 0..65535 or 0..largest;
                                            NaN, infinities and negatives are 0
The turn that EXIF asks for (orientation 1..8) is applied once, here.
"""

import glob
import os
import re
import uuid
import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, Final

import cv2
import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from siseon.interface import Picture, PictureError, SiseonError, Size

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that are opened (MPO as JPEG). Others that Pillow knows (EPS, ...) are refused: rare, often attacked."""

SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""The endings, in lower case, by which `find` knows a picture."""

LIMIT: Final = 178_956_970
"""The most pixels that a picture may have (179 megapixels, 512 MiB as RGB); more are refused before decoding."""

ORIENTATION: Final = 0x0112
ACCEPTED: Final = (
    "Give a file name, a PIL image, an array [height, width] or [height, width, 1, 3 or 4] (uint8, uint16, float 0..1)"
    " or a tensor [1 or 3, height, width] (uint8 or float 0..1)"
)
AGAIN: Final = "Copy it again from where it came from, or leave it out"
SAVE_AS: Final = "Save it as JPEG, PNG, WebP, BMP, GIF, TIFF or PPM"

# Beginnings of files that people mistake for pictures that we read, and of those that we do read.
FOREIGN: Final = {b"ftyphei": "HEIC", b"ftypmif1": "HEIF", b"ftypavif": "AVIF", b"%PDF": "PDF", b"<svg": "SVG"}
KNOWN: Final = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"P4", b"P5", b"P6")


def read(source: str | Path) -> np.ndarray:
    """Read a picture file as RGB [height, width, 3] uint8, upright.

    Raises PictureError, naming the file, where it is missing, a folder, empty, no picture, damaged or too large.
    """
    path = Path(source)
    with _opened(path) as file, warnings.catch_warnings():
        # Pillow warns of pictures above half of the limit and of odd metadata, neither of which the user can act on.
        warnings.simplefilter("ignore")
        image = _header(file, path)
        pixels = _plain_jpeg(image, file)
        if pixels is None:
            return _decoded(image, str(path))
        return turned(pixels, orientation_of(image))


def size_and_turn(path: str | Path) -> tuple[Size, bool]:
    """The upright (height, width) of a picture file, and whether EXIF turns or mirrors it; only the header is read."""
    path = Path(path)
    with _opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _header(file, path)
        width, height = image.size
        # Pillow decodes the whole PNG to look for a turn behind the pixels; look for such a chunk first.
        if image.format == "PNG" and "exif" not in image.info and not _has_late_metadata(file):
            return (height, width), False
        orientation = orientation_of(image)
    # Pillow gives the size of a TIFF already turned.
    if orientation >= 5 and image.format != "TIFF":
        height, width = width, height
    return (height, width), orientation != 1


def to_array(picture: Picture) -> np.ndarray:
    """Any picture as RGB [height, width, 3] uint8, upright. Raises PictureError for anything that is none."""
    if isinstance(picture, str | Path):
        return read(picture)
    if isinstance(picture, Image.Image):
        return _from_pillow(picture)
    if isinstance(picture, np.ndarray):
        return _eight_bit(_checked_array(picture))
    if isinstance(picture, Tensor):
        return _eight_bit(_checked_tensor(picture).permute(1, 2, 0).cpu().numpy())
    raise PictureError(f"{type(picture).__name__} is not a picture", ACCEPTED)


def to_tensor(picture: Picture) -> Tensor:
    """Any picture as RGB [3, height, width] float32 0..1, upright; a tensor stays on its device.

    Raises PictureError for anything that is none.
    """
    if isinstance(picture, Tensor):
        return _unit(_checked_tensor(picture)).contiguous()
    pixels = _checked_array(picture) if isinstance(picture, np.ndarray) else to_array(picture)
    return _unit(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())


def find(paths: Sequence[str | Path]) -> list[Path]:
    """The picture files that files, folders (with all below them, sorted) and patterns (*, ?, **) name, each once.

    A file that is named is taken whatever its ending. Raises PictureError where a path names nothing or none is found.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.exists():
            found.update(dict.fromkeys(_below(path) if path.is_dir() else [path]))
        else:
            found.update(dict.fromkeys(_matching(path)))
    if not found:
        names = ", ".join(map(str, paths)) or "an empty list"
        raise PictureError(f"{names}: no picture found", f"Pictures end in {' '.join(SUFFIXES)}")
    return list(found)


def write(array: np.ndarray, path: str | Path) -> None:
    """Write an array [height, width, 3] uint8 as PNG, JPEG (quality 92) or WebP, by the ending of `path`.

    The file is there whole or not at all; missing folders are made. Raises PictureError for another ending or array,
    and SiseonError where the file cannot be written.
    """
    path = Path(path)
    format_, options = _encoding(path)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        problem = f"{path}: an array {list(array.shape)} {array.dtype} cannot be written"
        raise PictureError(problem, "Give [height, width, 3] uint8; to_array() makes it")
    encoded = BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(encoded, format_, **options)
    # Not named after the picture: a long Hangul name leaves no room for an ending (255 bytes).
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(encoded.getbuffer())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise SiseonError(f"{path}: cannot be written ({error.strerror})", "Make room, or write elsewhere") from error


def _encoding(path: Path) -> tuple[str, dict[str, int]]:
    """Pillow's format and options for the ending of `path`. Colour at full resolution: thin red lines need it."""
    match path.suffix.lower():
        case ".png":
            return "PNG", {}
        case ".jpg" | ".jpeg":
            return "JPEG", {"quality": 92, "subsampling": 0}
        case ".webp":
            return "WEBP", {"quality": 92}
    raise PictureError(f"{path}: the ending '{path.suffix}' is no format to write", "End it in .png, .jpg or .webp")


def _opened(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise PictureError(f"{path}: is a folder, not a picture", "Give one of the files in it")
        if not S_ISREG(status.st_mode):
            raise PictureError(f"{path}: is not a file", "Give a picture file")
        if not status.st_size:
            raise PictureError(f"{path}: the file is empty", AGAIN)
        return path.open("rb")
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file", "Check its name and folder") from None
    except PermissionError:
        raise PictureError(f"{path}: you may not read this file", "Change its permissions") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{path}: cannot be opened ({reason})", "Check its name, folder and disk") from error


def _header(file: BinaryIO, path: Path) -> Image.Image:
    """Parse the header; nothing is decoded yet, so a bomb costs nothing."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        raise _not_a_picture(file.read(64), path) from None
    except Exception as error:  # damaged files make Pillow's parsers raise almost anything
        raise _failure(str(path), error) from error
    if image.width * image.height > LIMIT:
        raise _failure(str(path), Image.DecompressionBombError())
    return image


def _plain_jpeg(image: Image.Image, file: BinaryIO) -> np.ndarray | None:
    """Decode a baseline RGB JPEG with OpenCV, two times as fast as Pillow, to the same pixels; None where Pillow must.

    OpenCV fills what is missing with grey and says nothing, therefore only files that end as a JPEG must come here.
    """
    if image.format != "JPEG" or image.mode != "RGB" or "progressive" in image.info:
        return None
    file.seek(0)
    encoded = file.read()
    if not _is_whole(encoded):
        return None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    with suppress(cv2.error):
        return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    return None


def _is_whole(encoded: bytes) -> bool:
    """Whether a JPEG's one scan runs undisturbed up to its end mark (ITU T.81, B.1.1)."""
    place = 2
    while encoded[place : place + 1] == b"\xff" and encoded[place + 1 : place + 2] != b"\xda":
        place += 2 + int.from_bytes(encoded[place + 2 : place + 4])
    mark = re.compile(rb"\xff[^\x00\xd0-\xd7]").search(encoded, place + 2)
    return mark is not None and mark.group() == b"\xff\xd9" and mark.end() == len(encoded)


def _from_pillow(image: Image.Image) -> np.ndarray:
    name = os.fsdecode(image.filename) if isinstance(image, ImageFile.ImageFile) and image.filename else "a PIL image"
    if not image.width or not image.height:
        raise PictureError(f"{name} of {image.width}x{image.height} has no pixels", ACCEPTED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _decoded(image, name)


def _decoded(image: Image.Image, name: str) -> np.ndarray:
    """Decode with Pillow, to upright RGB."""
    try:
        image.load()
        pixels = _rgb(image)
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        raise _failure(name, error) from error
    # Asked after loading: by then Pillow has turned a TIFF itself and forgotten its orientation.
    return turned(pixels, orientation_of(image))


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.nan_to_num(np.asarray(image), nan=0, posinf=0, neginf=0).clip(0)
        return _colours(_eight_bit(grey, _top(grey))[..., None])
    if image.has_transparency_data:
        return _colours(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def _top(grey: np.ndarray) -> float:
    """The value of white in a deep grey picture, by the rules in the header of this file."""
    largest = float(grey.max())
    if grey.dtype.kind == "f":
        return next((top for top in (1, 255, 65535) if largest <= top), largest)
    return 65535 if largest <= 65535 else 2**31 - 1


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Channels 1, 3 or 4 (alpha) as three: grey is repeated, transparency is laid on white."""
    if pixels.shape[2] < 4:
        return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)
    if pixels.dtype.kind == "f":
        return 1 - (1 - pixels[..., :3]) * pixels[..., 3:]
    white = np.iinfo(pixels.dtype).max
    colour, alpha = np.split(pixels.astype(np.uint32), [3], axis=2)
    return ((colour * alpha + white * (white - alpha) + white // 2) // white).astype(pixels.dtype)


def orientation_of(image: Image.Image) -> int:
    """EXIF's 1..8; 1 (upright) where it is absent or nonsense, as every viewer does."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged metadata makes Pillow raise almost anything, and says nothing against the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels stored in one of the eight EXIF orientations (EXIF 2.32, tag 274) as they are to be seen."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _has_late_metadata(file: BinaryIO) -> bool:
    """Whether a PNG has a chunk behind its pixels that may hold a turn."""
    file.seek(8)
    kinds = []
    while len(head := file.read(8)) == 8:
        kinds.append(head[4:])
        file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    late = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return not {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}.isdisjoint(late)


def _checked_array(array: np.ndarray) -> np.ndarray:
    """An array that is a picture as [height, width, 3] of uint8, uint16 or float; an error if it is none."""
    shape = f"an array {list(array.shape)} {array.dtype}"
    pixels = array[..., None] if array.ndim == 2 else array
    numbers = pixels.dtype in (np.uint8, np.uint16) or pixels.dtype.kind == "f"
    if not numbers or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or not pixels.size:
        raise PictureError(f"{shape} is not a picture", ACCEPTED)
    if pixels.dtype.kind == "f":
        _check_range(float(pixels.min()), float(pixels.max()), shape)
        pixels = pixels.astype(np.float32).clip(0, 1)
    return np.require(_colours(pixels), requirements=["C", "W"])


def _checked_tensor(tensor: Tensor) -> Tensor:
    """A tensor that is a picture as [3, height, width] of uint8 or float; an error if it is none."""
    shape = f"a tensor {list(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
    numbers = tensor.dtype == torch.uint8 or tensor.is_floating_point()
    if not numbers or tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or not tensor.numel():
        raise PictureError(f"{shape} is not a picture", ACCEPTED)
    tensor = tensor.detach()
    if tensor.is_floating_point():
        low, high = tensor.aminmax()
        _check_range(low.item(), high.item(), shape)
        tensor = tensor.float().clamp(0, 1)
    return tensor.expand(3, -1, -1)


def _check_range(low: float, high: float, shape: str) -> None:
    # Resizing overshoots by a rounding error, which is no reason to refuse a picture; NaN fails both comparisons.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise PictureError(f"{shape} has values {low:g}..{high:g}, not 0..1", "Divide by 255, or give it as uint8")


def _unit(pixels: Tensor) -> Tensor:
    """uint8, uint16 or float as float32 0..1."""
    return pixels.float() / {torch.uint8: 255, torch.uint16: 65535}.get(pixels.dtype, 1)


def _eight_bit(pixels: np.ndarray, white: float | None = None) -> np.ndarray:
    """Values 0..white as uint8, rounded; white is by default that of the type: 255, 65535, or 1 for floats."""
    if pixels.dtype == np.uint8:
        return pixels.copy()
    white = white or (1 if pixels.dtype.kind == "f" else 65535)
    return (pixels * (255 / white) + 0.5).astype(np.uint8)


def _below(folder: Path) -> list[Path]:
    """The picture files below a folder, sorted; hidden files, such as macOS's ._photo.jpg, are none."""
    seen: set[str] = set()
    pictures: list[Path] = []
    for here, folders, files in os.walk(folder, followlinks=True):
        # Linked folders are common in data sets; a link to a folder above must not go round for ever.
        if (real := os.path.realpath(here)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures += filter(_is_picture, (Path(here, name) for name in files))
    return sorted(pictures)


def _matching(pattern: Path) -> list[Path]:
    """The picture files that a pattern matches, and those below the folders that it matches."""
    matches = sorted(map(Path, glob.glob(str(pattern), recursive=True)))  # noqa: PTH207 - pathlib's takes no absolute one
    if not matches:
        raise PictureError(f"{pattern}: there is no such file or folder", "Check its name and folder")
    return [file for match in matches for file in (_below(match) if match.is_dir() else [match]) if _is_picture(file)]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _failure(name: str, error: Exception) -> PictureError:
    if isinstance(error, Image.DecompressionBombError):
        return PictureError(f"{name}: the picture has more than {LIMIT // 10**6} megapixels", "Make it smaller first")
    reason = " ".join(str(error).split()) or type(error).__name__
    return PictureError(f"{name}: the picture is damaged or cut off ({reason})", AGAIN)


def _not_a_picture(beginning: bytes, path: Path) -> PictureError:
    """What a file is that no decoder knows, by its first bytes."""
    if beginning.startswith(KNOWN):
        return PictureError(f"{path}: the picture is damaged or cut off", AGAIN)
    for mark, kind in FOREIGN.items():
        if mark in beginning[:16]:
            return PictureError(f"{path}: is {kind}, which is not read", SAVE_AS)
    # Text in any encoding but UTF-16 has no control characters, and 64 bytes of anything else have some.
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", beginning):
        return PictureError(f"{path}: holds text, not a picture", SAVE_AS)
    return PictureError(f"{path}: is not a picture of a known format", SAVE_AS)
