"""Pictures kept as arrays in one .npz file, as MNIST is often handed around: images and labels, for train and test.

Names   train_images, train_labels, test_images, test_labels, or Keras's x_train, y_train, x_test, y_test; val_images
        and val_labels (x_val, y_val) where there are some; classes: the names, else the labels themselves.
Arrays  images [pictures, height, width] or [pictures, height, width, 1 or 3] uint8, or float 0..1; labels [pictures]
        whole numbers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from siseon.data.dataset import Annotation, Data, Problem, Task
from siseon.interface import DataError

NAMES = (("{split}_images", "{split}_labels"), ("x_{split}", "y_{split}"))
REMEDY = "It needs train_images [n, h, w(, 3)] uint8, train_labels [n], and the same for test (or x_train, y_train, ..)"
VALIDATION = 10
"""Where there is no val, every tenth training picture, at random, chooses the best epoch."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """One split: pictures and labels in memory."""

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    """[pictures, height, width, 1 or 3] uint8."""
    labels: np.ndarray
    """[pictures] int64, indices into classes."""

    @property
    def task(self) -> Task:
        """One class a picture."""
        return "classification"

    def __len__(self) -> int:
        return len(self.labels)

    def annotation(self, index: int) -> Annotation:
        """The class of picture `index`."""
        size = (self.images.shape[1], self.images.shape[2])
        return Annotation(f"{self.name}/{index:05d}", size=size, label=int(self.labels[index]))

    def picture(self, index: int) -> np.ndarray:
        """The pixels [height, width, 3] uint8 of picture `index`."""
        image = self.images[index]
        return image if image.shape[2] == 3 else image.repeat(3, axis=2)


def read(file: Path, classes: Sequence[str] | None = None, seed: int = 0) -> Data:
    """The data set in an .npz file. Raises DataError naming the file and the array that cannot be used."""
    content = _content(file)
    found = {split: pair for split in ("train", "val", "test") if (pair := _pair(file, content, split))}
    if not found:
        raise DataError(f"{file} holds no pictures and labels, only {', '.join(content) or 'nothing'}", REMEDY)
    numbers = np.unique(np.concatenate([labels for _, labels in found.values()]))
    names = _class_names(file, content, numbers)
    index = {int(number): place for place, number in enumerate(numbers)} if "classes" not in content else None
    splits = {}
    for split, (images, labels) in found.items():
        own = labels if index is None else np.array([index[int(label)] for label in labels], np.int64)
        splits[split] = Arrays(f"{file.stem}/{split}", names, images, own)
    if classes is not None:
        splits, names = _only(file, splits, names, classes)
    problems = () if "val" in splits or "train" not in splits else _hold_out(file, splits, seed)
    return Data(file.stem, "classification", names, splits, problems)


def _content(file: Path) -> Mapping[str, np.ndarray]:
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as fault:
        raise DataError(f"{file} cannot be read ({fault})", REMEDY) from fault


def _pair(file: Path, content: Mapping[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The pictures [n, h, w, c] uint8 and labels [n] int64 of a split, or None where there are none."""
    for pattern in NAMES:
        first, second = (name.format(split=split) for name in pattern)
        if first in content and second in content:
            images, labels = content[first], content[second]
            break
    else:
        return None
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise DataError(f"{file}: {first} has the shape {content[first].shape}", REMEDY)
    if np.issubdtype(images.dtype, np.floating) and images.min() >= 0 and images.max() <= 1:
        images = np.round(images * 255).astype(np.uint8)
    if images.dtype != np.uint8:
        raise DataError(f"{file}: {first} holds {images.dtype}, neither 0..255 as uint8 nor 0..1", REMEDY)
    labels = labels.squeeze()
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{file}: {second} is not one whole number a picture", REMEDY)
    return images, labels.astype(np.int64)


def _class_names(file: Path, content: Mapping[str, np.ndarray], numbers: np.ndarray) -> tuple[str, ...]:
    if "classes" not in content:
        return tuple(str(number) for number in numbers)
    names = tuple(str(name) for name in content["classes"].ravel())
    if numbers.min() < 0 or numbers.max() >= len(names):
        raise DataError(f"{file}: the labels run to {numbers.max()}, but there are {len(names)} classes", REMEDY)
    return names


def _only(
    file: Path, splits: Mapping[str, Arrays], names: tuple[str, ...], classes: Sequence[str]
) -> tuple[dict[str, Arrays], tuple[str, ...]]:
    """The splits with the wanted classes only, in the wanted order."""
    chosen = tuple(classes)
    if len(set(chosen)) < len(chosen):
        raise DataError(f"The classes {', '.join(chosen)} name one twice", "Name each class once")
    if not set(chosen) & set(names):
        raise DataError(f"{file} has none of the classes {', '.join(chosen)}", f"It has {', '.join(names)}")
    place = np.array([chosen.index(name) if name in chosen else -1 for name in names])
    kept = {}
    for split, data in splits.items():
        labels = place[data.labels]
        if (wanted := labels >= 0).any():
            kept[split] = Arrays(data.name, chosen, data.images[wanted], labels[wanted])
    return kept, chosen


def _hold_out(file: Path, splits: dict[str, Arrays], seed: int) -> tuple[Problem, ...]:
    """Take a tenth of train for val, the same for the same seed."""
    train = splits["train"]
    count = len(train) // VALIDATION
    if not count:
        return ()
    order = np.random.default_rng(seed).permutation(len(train))
    val, rest = np.sort(order[:count]), np.sort(order[count:])
    splits["val"] = replace(train, name=f"{file.stem}/val", images=train.images[val], labels=train.labels[val])
    splits["train"] = replace(train, images=train.images[rest], labels=train.labels[rest])
    return (Problem(file.name, "has no val", f"{count} of {len(train)} training pictures choose the best epoch"),)
