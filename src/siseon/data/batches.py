"""Batches for training: pictures read, changed at random and stacked, in this process or in workers.

Everything random follows from (seed, epoch, index of the picture), so that neither the number of workers nor a break
and a later start in the middle of an epoch changes a batch. Pictures travel as uint8 and become float on the device of
the model.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from siseon.data.augment import Augment, Augmentation, Crop, Frame, mask
from siseon.data.captions import padded
from siseon.data.dataset import Annotation, Dataset, Maps, Problem
from siseon.interface import VOID, DataError, Images, SiseonError, Size, Target


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures ready for `model.loss`, on the model's device.

    targets: one Target a picture (detection), int64 [batch] (classification), uint8 [batch, height, width] with VOID in
    the padding too (segmentation), or int64 [batch, sentences, words] with -1 behind the end of a sentence, and rows of
    -1 where a picture has fewer (captioning). names: those of the annotations. number: the place of the batch in its
    epoch; `Batches.epoch(start=number + 1)` goes on behind it.
    """

    images: Images
    targets: list[Target] | Tensor
    names: tuple[str, ...]
    number: int


@dataclass(frozen=True)
class Reader:
    """Reads the pictures of one batch and stacks them: the part of the work that is sent to worker processes."""

    dataset: Dataset
    frame: Frame
    augment: Augment | Augmentation
    seed: int
    masks: bool

    def __getitem__(self, key: tuple[int, int, tuple[int, ...]]) -> Stack:
        """The batch (epoch, number, indices of pictures)."""
        epoch, number, indices = key
        pictures: list[np.ndarray] = []
        annotations: list[Annotation] = []
        problems: list[Problem] = []
        for index in indices:
            annotation = self.dataset.annotation(index)
            try:
                if self.dataset.task == "segmentation" and isinstance(self.dataset, Maps):
                    annotation = replace(annotation, semantic=self.dataset.semantic(index))
                picture, annotation = self._changed(self.dataset.picture(index), annotation, epoch, index)
            except (SiseonError, OSError) as fault:
                reason = fault.problem if isinstance(fault, SiseonError) else str(fault)
                file = str(annotation.path or annotation.name)
                problems.append(Problem(file, reason.removeprefix(f"{file}: "), "left out of its batch"))
                continue
            pictures.append(picture)
            annotations.append(annotation)
        return self._stack(pictures, annotations, problems, number)

    def _changed(
        self, picture: np.ndarray, annotation: Annotation, epoch: int, index: int
    ) -> tuple[np.ndarray, Annotation]:
        random = np.random.default_rng([self.seed, epoch, index])
        augment = self.augment
        if not isinstance(augment, Augment):
            picture, annotation = augment(picture, annotation, random)
            augment = Augment.none()
        return augment.place(picture, annotation, random, frame=self.frame, masks=self.masks)

    def _stack(
        self, pictures: list[np.ndarray], annotations: list[Annotation], problems: list[Problem], number: int
    ) -> Stack:
        sizes = tuple((picture.shape[0], picture.shape[1]) for picture in pictures)
        multiple = 1 if isinstance(self.frame, Crop) else self.frame.multiple
        height, width = (-(-max((size[axis] for size in sizes), default=0) // multiple) * multiple for axis in (0, 1))
        pixels = np.zeros((len(pictures), height, width, 3), np.uint8)
        for row, picture in zip(pixels, pictures, strict=True):
            row[: picture.shape[0], : picture.shape[1]] = picture
        targets = self._targets(annotations, (height, width))
        names = tuple(annotation.name for annotation in annotations)
        return Stack(torch.from_numpy(pixels), sizes, targets, names, tuple(problems), number)

    def _targets(self, annotations: list[Annotation], size: Size) -> list[Target] | Tensor:
        match self.dataset.task:
            case "classification":
                return torch.tensor([annotation.label for annotation in annotations], dtype=torch.int64)
            case "segmentation":
                maps = np.full((len(annotations), *size), VOID, np.uint8)
                for row, annotation in zip(maps, annotations, strict=True):
                    assert annotation.semantic is not None
                    height, width = annotation.semantic.shape
                    row[:height, :width] = annotation.semantic
                return torch.from_numpy(maps)
            case "captioning":
                return torch.from_numpy(padded([annotation.tokens for annotation in annotations]))
        return [_target(annotation, self.masks) for annotation in annotations]


@dataclass(frozen=True, slots=True)
class Stack:
    """A batch as it leaves a worker: pixels [batch, height, width, 3] uint8, padded with zeros to one size."""

    pixels: Tensor
    sizes: tuple[Size, ...]
    targets: list[Target] | Tensor
    names: tuple[str, ...]
    problems: tuple[Problem, ...]
    number: int

    def on(self, device: torch.device) -> Batch:
        """The batch for the model: RGB 0..1 in channels-last memory, as the pixels already lie."""
        tensor = self.pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32).div_(255)
        targets = (
            self.targets.to(device)
            if isinstance(self.targets, Tensor)
            else [target.to(device) for target in self.targets]
        )
        return Batch(Images(tensor, self.sizes), targets, self.names, self.number)


@runtime_checkable
class KnownSizes(Protocol):
    """A data set that knows the (height, width) of all its pictures, [pictures, 2], without making one."""

    @property
    def sizes(self) -> np.ndarray:
        """The sizes of all pictures."""


class Batches:
    """The batches of a data set, epoch by epoch, to be used in a `with`, which ends the workers.

    frame: the network's `Sizing`, or a classifier's `Crop`. augment: None only scales. Batches differ in length by one
    at most, so that none is very short; a detector's are all upright or all across, which saves padding, where the
    data set has `sizes`. on_problem is told of each picture that cannot be read; it is left out of its batch, and a
    batch left without pictures is left out. The `with` raises SiseonError when a worker dies, which may be noticed at
    any moment.
    """

    def __init__(
        self,
        dataset: Dataset,
        frame: Frame,
        *,
        batch: int,
        seed: int = 0,
        augment: Augment | Augmentation | None = None,
        workers: int = 0,
        shuffle: bool = True,
        masks: bool = False,
        device: torch.device | str = "cpu",
        on_problem: Callable[[Problem], None] = lambda problem: None,
    ) -> None:
        if not len(dataset):
            raise DataError("the data set has no pictures", "See what is wrong with it: siseon check")
        self._groups = _groups(dataset, one=isinstance(frame, Crop))
        self._batch, self._seed, self._shuffle = batch, seed, shuffle
        self._device, self._on_problem = torch.device(device), on_problem
        self._plan = Plan()
        self._loader: DataLoader[Stack] = DataLoader(
            Reader(dataset, frame, augment or Augment.none(), seed, masks),  # type: ignore[arg-type]
            sampler=self._plan,
            batch_size=None,
            num_workers=min(workers, _cores()),
            collate_fn=_as_it_is,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else torch's own random numbers would move
        )
        atexit.register(self.close)

    def __len__(self) -> int:
        """The batches of an epoch."""
        return sum(-(-len(group) // self._batch) for group in self._groups)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from `start` on, without reading those before."""
        self._plan.keys = self._keys(epoch)[start:]
        for stack in self._loader:
            for problem in stack.problems:
                self._on_problem(problem)
            if stack.names:
                yield stack.on(self._device)

    def close(self) -> None:
        """End the workers."""
        atexit.unregister(self.close)
        stacks, self._loader._iterator = self._loader._iterator, None
        if stacks is not None:
            stacks._shutdown_workers()  # type: ignore[attr-defined]

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        self.close()
        torn = isinstance(fault, RuntimeError) and "DataLoader worker" in str(fault)
        if torn or (isinstance(fault, ConnectionError | EOFError) and self._loader.num_workers):
            reason = str(fault).partition("\n")[0] or type(fault).__name__
            raise SiseonError(
                f"a process that reads pictures died ({reason})",
                "Often memory or /dev/shm is full: try workers=0, or a smaller batch",
            ) from fault

    def _keys(self, epoch: int) -> list[tuple[int, int, tuple[int, ...]]]:
        random = np.random.default_rng([self._seed, epoch])
        parts: list[np.ndarray] = []
        for group in self._groups:
            order = random.permutation(group) if self._shuffle else group
            parts += np.array_split(order, -(-len(group) // self._batch))
        places = random.permutation(len(parts)) if self._shuffle else np.arange(len(parts))
        return [(epoch, number, tuple(parts[place].tolist())) for number, place in enumerate(places)]


class Plan(Sampler[tuple[int, int, tuple[int, ...]]]):
    """What the loader is to read in the coming epoch; set anew before each, because the workers live on."""

    def __init__(self) -> None:
        self.keys: Sequence[tuple[int, int, tuple[int, ...]]] = ()

    def __iter__(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def _groups(dataset: Dataset, *, one: bool) -> list[np.ndarray]:
    """The indices of all pictures; or of those across and those upright, where they need not be one group."""
    indices = np.arange(len(dataset))
    if one or not isinstance(dataset, KnownSizes):
        return [indices]
    upright = dataset.sizes[:, 0] > dataset.sizes[:, 1]
    return [group for group in (indices[~upright], indices[upright]) if len(group)]


def _target(annotation: Annotation, masks: bool) -> Target:
    """The objects as tensors. Masks are None where they are not wanted, or where objects have no segments."""
    size = annotation.size or (0, 0)
    drawn = np.zeros((len(annotation.segments), *size), bool)
    for row, segment in zip(drawn, annotation.segments, strict=True):
        row[:] = mask(segment, size)
    return Target(
        torch.from_numpy(annotation.boxes),
        torch.from_numpy(annotation.labels),
        torch.from_numpy(annotation.crowd),
        torch.from_numpy(drawn) if masks and len(drawn) == len(annotation.boxes) else None,
    )


def _cores() -> int:
    """The cores that this process may use; more workers than that only get in each other's way."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _as_it_is(stack: Any) -> Any:  # noqa: ANN401
    return stack


def _start_worker(worker: int) -> None:
    """Make a worker deaf to Ctrl-C and to a shutdown, which are the affair of the process that started it."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(AttributeError, OSError):  # Windows has no process groups
        os.setpgid(0, 0)
