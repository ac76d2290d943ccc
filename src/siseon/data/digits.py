"""The 1,797 handwritten digits that scikit-learn ships, as pictures of ten classes.

Source  Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998, UCI, CC BY 4.0), test part: 8x8, 0..16.
Here    They get a border of one and are enlarged to 32x32, the size that LeNet-5 was made for, in white on black like
        MNIST; by integers only, so that every machine sees the same pixels.
Splits  Fixed and stratified: train 1,297, val 200, test 300, each with its fair share of every class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import numpy as np

from siseon.data.dataset import Annotation, Data, Task
from siseon.interface import DataError, Size

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
CLASSES: Final = tuple("0123456789")
SIZE: Final[Size] = (32, 32)
INK: Final = 16
"""The darkest value of scikit-learn's pictures."""


@dataclass(frozen=True)
class Digits:
    """One split of the handwritten digits: pictures [32, 32, 3], white ink on black, and their classes "0".."9"."""

    split: Split

    @property
    def task(self) -> Task:
        """Classification: one digit a picture."""
        return "classification"

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits."""
        return CLASSES

    def __len__(self) -> int:
        return len(originals(self.split)[1])

    def annotation(self, index: int) -> Annotation:
        """The class of picture `index`."""
        label = int(originals(self.split)[1][index])
        return Annotation(f"digits/{self.split}/{index:04d}", size=SIZE, label=label)

    def picture(self, index: int) -> np.ndarray:
        """The pixels [32, 32, 3] uint8 of picture `index`."""
        grey, whole = enlarged(originals(self.split)[0][index], SIZE[0])
        return ((grey * 255 + whole // 2) // whole).astype(np.uint8)[..., None].repeat(3, axis=2)


def digits() -> Data:
    """The three splits."""
    return Data("digits", "classification", CLASSES, {split: Digits(split) for split in SPLITS})


@cache
def originals(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The digits of a split as they are: [digits, 8, 8] int64, 0..16, and their labels [digits] int64."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    images, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    order = _stratified_order(labels)
    test = _every(len(order), 300)
    rest = order[~test]
    val = _every(len(rest), 200)
    chosen = np.sort({"train": rest[~val], "val": rest[val], "test": order[test]}[split])
    return images[chosen], labels[chosen]


def _file() -> Path:
    """Scikit-learn's own file: importing scikit-learn takes a second, which every worker process would spend."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        if (path := Path(folder, "datasets", "data", "digits.csv.gz")).is_file():
            return path
    raise DataError(
        "The digits of scikit-learn are not there", "Install it again: pip install --force-reinstall scikit-learn"
    )


def enlarged(digit: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """A digit [8, 8] with a border of one, enlarged to [side, side], and the value of full ink.

    Bilinear, with the pixel centres of align_corners=False; exact, as it is in integers.
    """
    bordered = np.pad(digit, 1)
    weights = _weights(len(bordered), side)
    return weights @ bordered @ weights.T, INK * (2 * side) ** 2


@cache
def _weights(old: int, new: int) -> np.ndarray:
    """The weights [new, old] of linear interpolation in units of 1 / (2 * new): integers, so that sums are exact."""
    place = ((2 * np.arange(new) + 1) * old - new).clip(0, 2 * new * (old - 1))
    left, share = np.divmod(place, 2 * new)
    weights = np.zeros((new, old), np.int64)
    weights[np.arange(new), left] = 2 * new - share
    weights[np.arange(new), (left + 1).clip(max=old - 1)] += share
    return weights


def _stratified_order(labels: np.ndarray) -> np.ndarray:
    """The indices sorted by class, and shuffled within each by a fixed seed."""
    keys = np.random.default_rng(0).integers(0, 2**62, len(labels))
    return np.lexsort((keys, labels))


def _every(length: int, count: int) -> np.ndarray:
    """A mask [length] that picks exactly `count` at equal distances: a fair share of each class, if sorted."""
    steps = np.arange(length + 1) * count // length
    return np.diff(steps).astype(bool)
