"""What every segmenter shares: from pictures to the class of each of their pixels, and the loss of a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import Images, Picture, RecipeError, Segmentation, Size, Sizing, class_names
from siseon.layers import Body, inference
from siseon.losses import pixel_cross_entropy
from siseon.models.classification.classifier import IMAGENET_DEVIATION, IMAGENET_MEAN, one_or_more
from siseon.pictures import to_tensor
from siseon.stages import stage


class Segmenter(nn.Module, ABC):
    """A network that gives every pixel one class. A network adds `logits`.

    classes: a count or the names, a background among them if there is one; class_weights: how much a pixel of each
    class counts in the loss, 1 if left out; sizing: how `predict` and training scale pictures. Pictures of any size are
    taken: inside they are padded to its `multiple`.
    """

    task: Literal["segmentation"] = "segmentation"
    body: Body
    mean: Tensor
    deviation: Tensor
    class_weights: Tensor | None

    def __init__(
        self, *, classes: int | Sequence[str], sizing: Sequence[int], class_weights: Sequence[float] | None
    ) -> None:
        super().__init__()
        self.classes = class_names(classes)
        self.sizing = Sizing(*sizing)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("deviation", torch.tensor(IMAGENET_DEVIATION))
        if class_weights is not None and len(class_weights) != len(self.classes):
            raise RecipeError(
                f"{len(class_weights)} class weights are given for {len(self.classes)} classes", "Give one for each"
            )
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)  # the spec of the model holds them

    @abstractmethod
    def logits(self, normalised: Tensor) -> Tensor:
        """[batch, classes, rows, columns], of any resolution, of normalised images [batch, 3, height, width].

        height and width are multiples of `sizing.multiple`.
        """

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Tensor:
        """Logits [batch, classes, height, width] of RGB images 0..1, [batch, 3, height, width]."""
        normalised, size = self.prepared(images)
        return at_size(self.logits(normalised), normalised, size)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """{"class": cross-entropy of the pixels}; targets: labels or VOID, whole numbers [batch, height, width]."""
        return {"class": pixel_cross_entropy(self(images), targets.long(), self.class_weights)}

    def predict(self, pictures: Picture | Sequence[Picture], *, batch: int = 1) -> list[Segmentation]:
        """The class of each pixel of each picture, or of one: files, PIL images, arrays or tensors of any size.

        batch: how many pictures go through the network at once; they are padded to one size, so those of very
        different shapes are better taken singly. Raises PictureError naming a file.
        """
        several = one_or_more(pictures)
        results: list[Segmentation] = []
        with inference(self):
            for start in range(0, len(several), batch):
                with stage("preparation"):
                    tensors = [to_tensor(picture).to(self.mean.device) for picture in several[start : start + batch]]
                    images = self.batch(tensors)
                with stage("features"):
                    shares = self(images).softmax(1)
                with stage("selection"):
                    for share, size, picture in zip(shares, images.sizes, tensors, strict=True):
                        seen = share[:, : size[0], : size[1]]
                        results.append(self._decided(seen, (picture.shape[-2], picture.shape[-1])))
        return results

    def prepared(self, images: Images | Tensor | Sequence[Tensor]) -> tuple[Tensor, Size]:
        """Images normalised and padded to `sizing.multiple` with the mean colour, and (height, width) before that."""
        normalised = Images.of(images).normalised(self.mean, self.deviation)
        height, width = normalised.shape[-2:]
        below, right = (-side % self.sizing.multiple for side in (height, width))
        return F.pad(normalised, (0, right, 0, below)), (height, width)

    def batch(self, pictures: Sequence[Tensor]) -> Images:
        """Pictures [3, height, width] of any size, scaled and padded by `sizing`."""
        scaled = [
            F.interpolate(picture[None], self.sizing.fit((picture.shape[-2], picture.shape[-1])), mode="bilinear")[0]
            for picture in pictures
        ]
        return Images.of(scaled, self.sizing.multiple)

    def _decided(self, shares: Tensor, size: Size) -> Segmentation:
        """The best class of each pixel of a picture of `size`, from probabilities [classes, rows, columns].

        Class by class, because the maps of all classes of a large photo would fill the memory.
        """
        labels = torch.zeros(size, dtype=torch.int64, device=shares.device)
        scores = shares.new_full(size, -1.0)
        for label, share in enumerate(shares):
            if share.shape != size:
                share = F.interpolate(share[None, None], size, mode="bilinear")[0, 0]
            labels[share > scores] = label
            scores = torch.maximum(scores, share)
        return Segmentation(labels.cpu(), scores.cpu(), self.classes)


def at_size(logits: Tensor, normalised: Tensor, size: Size) -> Tensor:
    """Logits of `normalised` images, enlarged bilinearly to their pixels and without the padding beyond `size`."""
    whole = normalised.shape[-2:]
    if logits.shape[-2:] != whole:
        logits = F.interpolate(logits, (whole[0], whole[1]), mode="bilinear")
    return logits[..., : size[0], : size[1]]
