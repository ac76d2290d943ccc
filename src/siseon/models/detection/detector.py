"""What every detector shares: from pictures to boxes in their pixels, and which box stands for which true object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.boxes.geometry import area, overlap, scale
from siseon.boxes.masks import pasted
from siseon.boxes.matching import BACKGROUND, BETWEEN, match
from siseon.interface import Detections, Images, Picture, Sizing, Target, class_names
from siseon.layers import inference
from siseon.models.classification.classifier import IMAGENET_DEVIATION, IMAGENET_MEAN, one_or_more
from siseon.pictures import to_tensor
from siseon.stages import stage

Raw = TypeVar("Raw")
"""What a detector's forward gives."""


class Detector(nn.Module, ABC, Generic[Raw]):
    """A network that finds objects. `forward` and `loss` take images at network size; `predict` scales by `sizing`.

    classes: a count or the names. Training scales pictures and boxes itself, by the same `sizing`.
    """

    task: Literal["detection"] = "detection"
    needs_masks: bool = False
    """Whether `loss` learns from the masks of the targets."""
    mean: Tensor
    deviation: Tensor

    def __init__(self, *, classes: int | Sequence[str], sizing: Sizing) -> None:
        super().__init__()
        self.classes = class_names(classes)
        self.sizing = sizing
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION))

    @abstractmethod
    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Raw:
        """The raw outputs, as a named tuple, of RGB images 0..1 at network size."""

    @abstractmethod
    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses, to be added up; all are finite when no picture has an object."""

    @abstractmethod
    def detections(self, raw: Raw, images: Images, score: float) -> list[Detections]:
        """The objects above `score` in each picture, best first, in pixels of the network's input."""

    def shapes(self, raw: Raw, found: Sequence[Detections]) -> list[Tensor] | None:
        """The shapes of the objects that `detections` found: maps 0..1 [objects, rows, columns] over their boxes.

        None from a network that finds no shapes.
        """
        return None

    def predict(
        self, pictures: Picture | Sequence[Picture], *, score: float = 0.05, batch: int = 1
    ) -> list[Detections]:
        """The objects above `score` in each picture, or in one: files, PIL images, arrays or tensors of any size.

        Boxes and masks are in the pixels of each picture. batch: how many pictures go through the network at once;
        they are padded to one size, so those of very different shapes are better taken singly. Raises PictureError
        naming a file.
        """
        several = one_or_more(pictures)
        results: list[Detections] = []
        with inference(self):
            for start in range(0, len(several), batch):
                with stage("preparation"):
                    tensors = [to_tensor(picture) for picture in several[start : start + batch]]
                results += self._found(tensors, score)
        return results

    def _found(self, pictures: Sequence[Tensor], score: float) -> list[Detections]:
        """`predict` for one batch of tensors [3, height, width] of any size."""
        with stage("preparation"):
            images = self.batch([picture.to(self.mean.device) for picture in pictures])
        raw = self(images)
        with stage("selection"):
            found = self.detections(raw, images, score)
        shapes: Sequence[Tensor | None] = self.shapes(raw, found) or [None] * len(found)
        results = []
        with stage("selection"):
            for picture, size, objects, drawn in zip(pictures, images.sizes, found, shapes, strict=True):
                height, width = picture.shape[-2:]
                boxes = scale(objects.boxes, (height / size[0], width / size[1])).cpu()
                masks = None if drawn is None else pasted(drawn, boxes, (height, width))
                results.append(Detections(boxes, objects.labels.cpu(), objects.scores.cpu(), self.classes, masks))
        return results

    def batch(self, pictures: Sequence[Tensor]) -> Images:
        """Pictures [3, height, width] of any size, scaled and padded by `sizing`."""
        scaled = [
            F.interpolate(picture[None], self.sizing.fit((picture.shape[-2], picture.shape[-1])), mode="bilinear")[0]
            for picture in pictures
        ]
        return Images.of(scaled, self.sizing.multiple)


def assign(boxes: Tensor, target: Target, *, high: float, low: float, keep_best: bool) -> Tensor:
    """The index of the true object that each box stands for, BACKGROUND, or BETWEEN where it shall not be learnt.

    boxes [boxes, 4] -> int64 [boxes], indices into all objects of `target`. See boxes.matching.match for the
    thresholds. Crowd regions stand for no object; background boxes that lie in one by at least half of their area are
    not learnt.
    """
    objects = torch.nonzero(~target.crowd)[:, 0]
    index = match(overlap(target.boxes[objects], boxes), high=high, low=low, keep_best=keep_best)
    if len(objects) == len(target.crowd):
        return index
    inside = covered(boxes, target.boxes[target.crowd]).amax(1) >= 0.5
    index[inside & (index == BACKGROUND)] = BETWEEN
    return torch.where(index >= 0, objects[index.clamp(min=0)] if len(objects) else index, index)


def covered(boxes: Tensor, regions: Tensor) -> Tensor:
    """The part of each box, 0..1, that lies in each region, [boxes, regions]."""
    left_top = torch.maximum(boxes[:, None, :2], regions[:, :2])
    right_bottom = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    common = (right_bottom - left_top).clamp(min=0).prod(2)
    return common / area(boxes)[:, None].clamp(min=torch.finfo(common.dtype).tiny)
