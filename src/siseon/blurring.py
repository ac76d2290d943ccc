"""`siseon blur`: faces and number plates in photos and videos hidden, all else left, and metadata taken out.

Photos      are written in the format that they came in. PNG, TIFF, BMP, GIF and PPM, of any depth and with alpha, keep
            each pixel that is not hidden. A JPEG is decoded and encoded again with its own tables and its own
            subsampling, which changes few pixels, and those by little; one in which nothing was found is not decoded
            at all. WebP is written without loss.
Metadata    is left out (EXIF with its thumbnail and GPS, XMP, IPTC, comments, and what phones hide behind the end of a
            JPEG); the turn that it asks for is made first, and the colour profile is kept.
Animations  and videos are tracked: tracking.steady. A video is written by OpenCV, without its sound: FFV1, which loses
            nothing, into .mkv and .avi, else MPEG-4.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from siseon import pictures
from siseon.cleaning import open_photo
from siseon.hiding import How, hide
from siseon.interface import Detections, PictureError, RecipeError, SiseonError
from siseon.tracking import steady

VIDEOS: Final = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".3gp", ".wmv")
CODECS: Final = {".mkv": "FFV1", ".avi": "FFV1"}
USUAL: Final = ("face", "plate", "number plate", "license plate", "licence plate", "licence", "얼굴", "번호판")
"""The classes that are hidden where none are named."""

Find = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""The boxes [objects, 4] to hide in each of the pictures [height, width, 3] uint8."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds what is to be hidden, with one detector or several. Calling it gives the boxes of each picture."""

    detectors: Sequence[Any]
    classes: tuple[str, ...]
    score: float = 0.3
    batch: int = 4

    @staticmethod
    def of(detectors: Sequence[Any], classes: Sequence[str] = (), *, score: float = 0.3, batch: int = 4) -> Finder:
        """A finder of `classes`, or of the USUAL ones that are known. Raises RecipeError for a class that is not."""
        for each in detectors:
            if each.task != "detection":
                raise RecipeError(f"a model for {each.task} finds no boxes", "Take a detector")
        known = {name for each in detectors for name in each.classes}
        wanted = tuple(classes) or tuple(name for name in USUAL if name in known)
        strange = [name for name in wanted if name not in known]
        if strange or not wanted:
            what = f'no class "{strange[0]}"' if strange else "neither faces nor plates"
            names = ", ".join(sorted(known)[:12]) + (" ..." if len(known) > 12 else "")
            raise RecipeError(f"the model knows {what}", f"It knows {names}: name some with --class")
        return Finder(tuple(detectors), wanted, score, batch)

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:  # noqa: D102
        found: list[list[np.ndarray]] = [[] for _ in images]
        for detector in self.detectors:
            answers: list[Detections] = detector.predict(list(images), score=self.score, batch=self.batch)
            for rows, answer in zip(found, answers, strict=True):
                wanted = [name in self.classes for name in answer.names]
                rows.append(answer.boxes.numpy()[wanted])
        return [np.concatenate(rows).reshape(-1, 4) for rows in found]


def blur_files(
    find: Find,
    source: Path,
    out: Path,
    *,
    how: How = "fill",
    margin: float = 0.1,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> list[SiseonError]:
    """Hide what `find` finds in a photo, a video, or all of a folder; a line is said for each file.

    out: a file for a file, else a folder, in which the tree of `source` is repeated. margin: share of its width and
    height by which each box is enlarged on each side. A file that cannot be read is passed over; those faults are
    returned. Raises PictureError where there is nothing to do, RecipeError where the source would be written over.
    """
    jobs = _jobs(source, out)
    faults: list[SiseonError] = []
    for done, (file, target) in enumerate(jobs):
        try:
            if file.suffix.lower() in VIDEOS:
                said = blur_video(find, file, target, how=how, margin=margin, progress=progress)
            else:
                said = blur_photo(find, file, target, how=how, margin=margin)
            say(f"{file}: {said}")
        except SiseonError as fault:
            faults.append(fault)
        if progress is not None:
            progress(done + 1, len(jobs))
    return faults


def blur_photo(find: Find, source: Path, out: Path, *, how: How = "fill", margin: float = 0.1) -> str:
    """Hide what is found in a photo or an animation, and write it without metadata; says what was found."""
    photo = open_photo(source)
    boxes = find(photo.views)
    if photo.moves:
        boxes = steady(boxes, gap=len(boxes), hold=len(boxes))  # animations are short: nothing may flicker open
    count = max(map(len, boxes))
    with _whole(out) as part:
        if count:
            frames = [
                hide(frame, each, how=how, margin=margin, black=photo.black)
                for frame, each in zip(photo.frames, boxes, strict=True)
            ]
            part.write_bytes(photo.encoded(frames))
        else:
            part.write_bytes(photo.cleaned())
    return f"{count} hidden" if count else "nothing found; copied without metadata"


def blur_video(
    find: Find,
    source: Path,
    out: Path,
    *,
    how: How = "fill",
    margin: float = 0.1,
    progress: Progress | None = None,
    batch: int = 4,
) -> str:
    """Hide what is found in a video; it is read twice, to find first and then, all frames known, to write."""
    facts = _facts(source)
    show = progress or (lambda done, total: None)
    detections: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for number, frame in enumerate(_frames(source)):
        waiting.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        if len(waiting) == batch:
            detections += find(waiting)
            waiting = []
        show(number + 1, max(2 * facts.frames, number + 1))
    detections += find(waiting) if waiting else []
    if not detections:
        raise PictureError(f"{source}: the video has no frame that can be read", pictures.AGAIN)
    second = round(facts.rate)
    boxes = steady(detections, gap=second, hold=max(second // 3, 1))
    with _whole(out) as part:
        _write_video(source, part, boxes, facts, how, margin, show)
    found, shown = sum(map(bool, map(len, detections))), sum(map(bool, map(len, boxes)))
    more = f", {shown - found} more filled by tracking" if shown > found else ""
    return f"hidden in {found} of {len(boxes)} frames{more}; written anew, without sound and metadata"


@dataclass(frozen=True, slots=True)
class _Video:
    rate: float
    frames: int


def _facts(source: Path) -> _Video:
    capture = _opened(source)
    rate, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return _Video(rate if 0 < rate <= 1000 else 25.0, max(frames, 0))


def _opened(source: Path) -> Any:  # noqa: ANN401
    if not source.is_file():
        raise PictureError(f"{source}: there is no such file", "Check its name and folder")
    capture = cv2.VideoCapture(str(source))
    if not capture.isOpened():
        raise PictureError(f"{source}: is not a video that OpenCV can read, or is damaged", "Save it as MP4")
    return capture


def _frames(source: Path) -> Iterator[np.ndarray]:
    """The frames, BGR [height, width, 3], upright."""
    capture = _opened(source)
    try:
        while (answer := capture.read())[0]:
            yield answer[1]
    finally:
        capture.release()


def _write_video(
    source: Path, part: Path, boxes: Sequence[np.ndarray], facts: _Video, how: How, margin: float, show: Progress
) -> None:
    writer = None
    # a frame more than the first time could be found in a damaged file: it would be open, so it is left out
    for number, (frame, each) in enumerate(zip(_frames(source), boxes, strict=False)):
        if writer is None:
            code = cv2.VideoWriter.fourcc(*CODECS.get(part.suffix.lower(), "mp4v"))
            writer = cv2.VideoWriter(str(part), code, facts.rate, (frame.shape[1], frame.shape[0]))
            if not writer.isOpened():
                raise SiseonError(f"{part.name}: OpenCV cannot write such a video", "Name OUT with .mp4 or .mkv")
        writer.write(hide(frame, each, how=how, margin=margin))
        show(len(boxes) + number + 1, 2 * len(boxes))
    if writer is not None:
        writer.release()


def _jobs(source: Path, out: Path) -> list[tuple[Path, Path]]:
    """(file, where its copy goes)."""
    if not source.exists():
        raise PictureError(f"{source}: there is no such file or folder", "Check its name")
    if source.is_file():
        target = out / source.name if out.is_dir() or not out.suffix else out
        _check_apart(source, target)
        return [(source, _ending(source, target))]
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise RecipeError(f"{out} lies in {source}", "Name a folder beside it: originals are never written over")
    files = _below(source)
    if not files:
        raise PictureError(f"{source}: there is no photo and no video", f"Photos end in {' '.join(pictures.SUFFIXES)}")
    return [(file, _ending(file, out / file.relative_to(source))) for file in files]


def _below(folder: Path) -> list[Path]:
    with suppress(PictureError):
        found = pictures.find([folder])
        return sorted({*found, *_videos(folder)})
    return _videos(folder)


def _videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEOS and not path.name.startswith("."))


def _ending(file: Path, target: Path) -> Path:
    """Where a video of a kind that cannot be written goes: .mp4."""
    kept = (".mp4", ".mov", ".m4v", ".avi", ".mkv")
    video = file.suffix.lower() in VIDEOS
    return target.with_suffix(".mp4") if video and target.suffix.lower() not in kept else target


def _check_apart(source: Path, target: Path) -> None:
    if target.exists() and target.resolve() == source.resolve():
        raise RecipeError(f"{target} is the original", "Name another file: originals are never written over")


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A path beside `out` to write to, which becomes `out` when all went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{uuid.uuid4().hex}{out.suffix}")
    try:
        yield part
        part.replace(out)
    finally:
        with suppress(OSError):
            part.unlink()
