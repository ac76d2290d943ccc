"""What every model takes and gives: pictures in, predictions out. Units and axes are fixed here, once.

Images     RGB float 0..1, [batch, 3, height, width]; pictures of different sizes share one padded tensor.
Boxes      (left, top, right, bottom) in pixels, float; a box covers right - left pixels, no + 1.
Labels     0..classes-1 everywhere; a detector's background exists only inside its head, a segmenter's is a class.
Sizes      (height, width).

Three verbs, one return type each: `forward(images)` gives raw outputs, `loss(images, targets)` a dictionary of losses,
`predict(pictures)` final objects in the pixels of the user's picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""

Picture: TypeAlias = "str | Path | Image.Image | np.ndarray | Tensor"
"""What users hand over: a file, a PIL image, an array [height, width(, 3)] or a tensor [3, height, width]."""


VOID: Final = 255
"""The label of a pixel of which nobody says what it is: it is neither learnt from nor judged."""


class SiseonError(Exception):
    """A fault that the user can mend: what is wrong (with the file), and the remedy."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class PictureError(SiseonError):
    """A picture cannot be read."""


class DataError(SiseonError):
    """A data set, or one of its files, cannot be used."""


class WeightsError(SiseonError):
    """A weights file does not fit, is damaged or is not there."""


class RecipeError(SiseonError):
    """A setting of a run, or the name of a model, makes no sense."""


class Sizing(NamedTuple):
    """The size rule of a network: scale so that the shorter side is `shorter` unless the longer would pass `longer`.

    The padded batch is then a multiple of `multiple` in both directions.
    """

    shorter: int = 800
    longer: int = 1333
    multiple: int = 32

    def fit(self, size: Size) -> Size:
        """The (height, width) to which a picture of `size` is scaled, padding not counted."""
        scale = min(self.shorter / min(size), self.longer / max(size))
        return max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)


class Stretch(Sizing):
    """The size rule of a network for squares: both sides become `shorter`, whatever the shape of the picture."""

    __slots__ = ()

    def fit(self, size: Size) -> Size:  # noqa: D102
        return self.shorter, self.shorter


@dataclass(frozen=True, slots=True)
class Images:
    """A batch: one padded tensor [batch, 3, height, width], RGB 0..1, and the true (height, width) of each picture."""

    tensor: Tensor
    sizes: tuple[Size, ...]

    @staticmethod
    def of(pictures: Images | Tensor | Sequence[Tensor], multiple: int = 1) -> Images:
        """A batch as it is, a tensor [batch, 3, height, width] or [3, height, width], or a list of [3, height, width].

        Tensors are taken as pictures without padding; they are padded below and on the right to a `multiple`.
        """
        if isinstance(pictures, Images):
            return pictures
        if isinstance(pictures, Tensor):
            batch = pictures if pictures.ndim == 4 else pictures[None]
            if multiple == 1 or not (batch.shape[-2] % multiple or batch.shape[-1] % multiple):
                return Images(batch, ((batch.shape[-2], batch.shape[-1]),) * len(batch))
            pictures = list(batch)
        height, width = (-(-max(p.shape[axis] for p in pictures) // multiple) * multiple for axis in (-2, -1))
        batch = pictures[0].new_zeros(len(pictures), 3, height, width)
        for row, picture in zip(batch, pictures, strict=True):
            row[:, : picture.shape[-2], : picture.shape[-1]] = picture
        return Images(batch, tuple((p.shape[-2], p.shape[-1]) for p in pictures))

    def normalised(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """(tensor - mean) / deviation per channel, with zeros in the padding, so that padding is the mean colour."""
        out = (self.tensor - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
        for row, (height, width) in zip(out, self.sizes, strict=True):
            if (height, width) != row.shape[1:]:
                row[:, height:] = 0
                row[:, :, width:] = 0
        return out

    def to(self, device: torch.device | str) -> Images:
        """The same batch on `device`."""
        return Images(self.tensor.to(device, non_blocking=True), self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, slots=True)
class Target:
    """The true objects of one picture, in the pixels of the picture as it stands in the batch.

    boxes [objects, 4] float; labels [objects] int64; crowd [objects] bool: regions that count neither as objects nor
    as background (COCO's iscrowd, VOC's difficult); masks [objects, height, width] bool, or None where there are none.
    """

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device | str) -> Target:
        """The same objects on `device`."""
        masks = None if self.masks is None else self.masks.to(device)
        return Target(self.boxes.to(device), self.labels.to(device), self.crowd.to(device), masks)


@dataclass(frozen=True, slots=True)
class Detections:
    """The objects found in one picture, best first, in the pixels of that picture.

    boxes [objects, 4] float; labels [objects] int64; scores [objects] 0..1; classes: the names that labels index;
    masks [objects, height, width] bool, or None where the model makes none.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    classes: tuple[str, ...]
    masks: Tensor | None = None

    @property
    def names(self) -> list[str]:
        """The class name of each object."""
        return [self.classes[label] for label in self.labels.tolist()]

    def above(self, score: float) -> Detections:
        """Only the objects with at least this score."""
        keep = self.scores >= score
        masks = None if self.masks is None else self.masks[keep]
        return Detections(self.boxes[keep], self.labels[keep], self.scores[keep], self.classes, masks)

    def to_json(self) -> list[dict[str, object]]:
        """One {"class", "score", "box"} an object, box as (left, top, right, bottom) in pixels."""
        rows = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [
            {"class": name, "score": round(score, 4), "box": [round(edge, 2) for edge in box]}
            for name, score, box in rows
        ]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Classification:
    """The scores of one picture: scores [classes], 0..1, summing to one; classes: their names."""

    scores: Tensor
    classes: tuple[str, ...]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The `count` best (name, score), best first."""
        scores, labels = self.scores.topk(min(count, len(self.classes)))
        return [(self.classes[label], score) for score, label in zip(scores.tolist(), labels.tolist(), strict=True)]

    def to_json(self) -> list[dict[str, object]]:
        """The five best as {"class", "score"}."""
        return [{"class": name, "score": round(score, 4)} for name, score in self.top()]


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The class of every pixel of one picture, in the pixels of that picture.

    labels [height, width] int64, VOID where nothing is known (in a truth only); scores [height, width]: the
    probability of that label, 0..1; classes: the names that labels index, a background, if there is one, among them.
    """

    labels: Tensor
    scores: Tensor
    classes: tuple[str, ...]

    def shares(self) -> dict[str, float]:
        """The share of the picture that each class covers, 0..1, the largest first; classes without a pixel are out."""
        known = self.labels[self.labels != VOID].flatten()
        counts = torch.bincount(known, minlength=len(self.classes))
        order = counts.argsort(descending=True, stable=True).tolist()
        pixels = self.labels.numel()
        return {self.classes[label]: int(counts[label]) / pixels for label in order if counts[label]}

    def to_json(self) -> dict[str, float]:
        """Class -> the share of the picture that it covers, 0..1, the largest first."""
        return {name: round(share, 4) for name, share in self.shares().items()}


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence about one picture, and how sure it is: the geometric mean of the probabilities of its words, 0..1."""

    text: str
    score: float

    def to_json(self) -> dict[str, object]:
        """{"caption", "score"}."""
        return {"caption": self.text, "score": round(self.score, 4)}


Prediction: TypeAlias = Detections | Classification | Segmentation | Caption


def class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    """The class names of a model built with a count ("0", "1", ...) or with the names themselves."""
    return tuple(str(index) for index in range(classes)) if isinstance(classes, int) else tuple(classes)
