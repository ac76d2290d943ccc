"""What every classifier shares: normalising, loss, prediction. A network adds `logits`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import Classification, Images, Picture, class_names
from siseon.layers import Body, inference
from siseon.pictures import to_tensor
from siseon.stages import stage

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of RGB 0..1 over ImageNet's training pictures: the scale that published weights expect."""


class Classifier(nn.Module, ABC):
    """A network that gives a picture one class.

    classes: a count or the names. `predict` scales the shorter side of a picture to `resize` pixels and takes the
    central square of `crop` pixels, as ImageNet's evaluation does; `forward` and `loss` take images as they are.
    interpolation: how `predict` scales.
    """

    task: Literal["classification"] = "classification"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    body: Body
    mean: Tensor
    deviation: Tensor

    def __init__(self, *, classes: int | Sequence[str], resize: int, crop: int) -> None:
        super().__init__()
        self.classes = class_names(classes)
        self.resize = resize
        self.crop = crop
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION))

    @abstractmethod
    def logits(self, normalised: Tensor) -> Tensor:
        """[batch, classes], before the softmax, of normalised images [batch, 3, height, width]."""

    def forward(self, images: Images | Tensor) -> Tensor:
        """Logits [batch, classes] of RGB images 0..1, [batch, 3, height, width]."""
        return self.logits(Images.of(images).normalised(self.mean, self.deviation))

    def loss(self, images: Images | Tensor, targets: Tensor) -> dict[str, Tensor]:
        """{"class": cross-entropy}; targets: labels, int64 [batch], or shares of each class, float [batch, classes]."""
        return {"class": F.cross_entropy(self(images), targets)}

    def predict(
        self, pictures: Picture | Sequence[Picture], *, batch: int = 32, mirrored: bool = False
    ) -> list[Classification]:
        """The class scores of each picture, or of one: files, PIL images, arrays or tensors of any size.

        batch: how many pictures go through the network at once; mirrored: the mean of the scores of each picture and of
        its mirror image (AlexNet's paper, section 4.1, averages so), in twice the time. Raises PictureError naming a
        file that cannot be read.
        """
        several = one_or_more(pictures)
        results: list[Classification] = []
        with inference(self):
            for start in range(0, len(several), batch):
                with stage("preparation"):
                    images = torch.stack([self._prepared(picture) for picture in several[start : start + batch]])
                with stage("features"):
                    scores = self(images).softmax(1)
                    if mirrored:
                        scores = (scores + self(images.flip(-1)).softmax(1)) / 2
                results += [Classification(row, self.classes) for row in scores.cpu()]
        return results

    def _prepared(self, picture: Picture) -> Tensor:
        image = to_tensor(picture).to(self.mean.device)
        return central_crop(image, resize=self.resize, crop=self.crop, interpolation=self.interpolation)


def central_crop(
    image: Tensor, *, resize: int, crop: int, interpolation: Literal["bilinear", "bicubic"] = "bilinear"
) -> Tensor:
    """The central square of `crop` pixels of an image [3, height, width] whose shorter side is scaled to `resize`."""
    shorter = min(image.shape[-2:])
    size = [resize * side // shorter for side in image.shape[-2:]]
    scaled = F.interpolate(image[None], size, mode=interpolation, antialias=True)[0]
    scaled = scaled.clamp(0, 1)  # bicubic weights overshoot at edges
    top, left = (round((side - crop) / 2) for side in size)
    return scaled[:, top : top + crop, left : left + crop]


def one_or_more(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """The pictures as a list, whether one or several were given; an array or tensor with a batch axis is several."""
    if isinstance(pictures, Tensor):
        return list(pictures) if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        return list(pictures)
    return [pictures]
