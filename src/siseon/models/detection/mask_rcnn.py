"""Mask R-CNN (He, Gkioxari, Dollar, Girshick 2017, arXiv:1703.06870).

Idea    Faster R-CNN with a third branch: beside its class and its box, a small network draws the mask of each object,
        one for every class; the class that the box branch chose says which of them counts, so that the classes need
        not compete within a mask. RoIAlign reads the maps where the box lies, not at whole cells.
Flow    images -> maps -> proposals -> RoIAlign 7x7 -> class and box
                                    -> RoIAlign 14x14 -> 4 convolutions -> twice the size -> a 28x28 mask for each class
        In training the mask branch sees the sampled proposals that are objects, at test the final boxes.
Here    Backbone, proposals and box head are those of faster_rcnn.py. mask_rcnn_resnet50_fpn is torchvision's network to
        the number: 44,454,513 parameters with 90 classes. As there, the true mask of a proposal is read by RoIAlign
        and stays between 0 and 1 at its rim. pooling="pool" has RoI pooling in both branches, for the ablation of
        table 2c. norm=True puts group normalisation into the mask branch too. mask_rcnn_mini has the same parts, thin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.boxes.masks import cropped
from siseon.boxes.roi import pooled_from_pyramid, roi_align, roi_pool
from siseon.interface import Detections, Images, Sizing, Target
from siseon.layers import conv_relu
from siseon.losses import binary_cross_entropy
from siseon.models.detection import faster_rcnn
from siseon.models.detection.detector import Detector, assign
from siseon.models.detection.fast_rcnn import BoxHead, Pooling
from siseon.models.detection.faster_rcnn import FasterRCNN, Outputs
from siseon.stages import stage


class MaskHead(nn.Module):
    """`depth` 3x3 convolutions on the features of a box, then twice the size, and a mask for each class and background.

    pooled: cells on a side of the features of a box, taken by `pooling`; the mask has twice as many.
    """

    def __init__(
        self,
        channels: int,
        *,
        classes: int,
        width: int = 256,
        depth: int = 4,
        pooled: int = 14,
        pooling: Pooling = "align",
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        inputs = [channels, *[width] * depth]
        hidden = [conv_relu(inputs[layer], width, kernel=3, padding=1) for layer in range(depth)]
        if group_norm:
            hidden = [
                nn.Sequential(OrderedDict(conv=conv, norm=nn.GroupNorm(8, width), relu=relu)) for conv, relu in hidden
            ]
        self.hidden = nn.Sequential(*hidden)
        self.enlarged = nn.ConvTranspose2d(inputs[-1], width, 2, 2)
        self.logits = nn.Conv2d(width, classes + 1, 1)
        self.pooled = pooled
        self.pooling = roi_align if pooling == "align" else roi_pool
        for layer in (*self.hidden.modules(), self.enlarged, self.logits):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # By the number of outputs, the masks of few classes would start at a loss of ten and more.
        nn.init.kaiming_normal_(self.logits.weight, mode="fan_in", nonlinearity="relu")

    def pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
        """The features [all boxes, channels, pooled, pooled] of the boxes of each picture."""
        return pooled_from_pyramid(features, boxes, strides, output=self.pooled, pool=self.pooling)

    def forward(self, regions: Tensor) -> Tensor:
        """Logits [regions, classes + 1, 2 pooled, 2 pooled], background first, in float32."""
        return self.logits(F.relu(self.enlarged(self.hidden(regions)), inplace=True)).float()


class MaskRCNN(Detector[Outputs]):
    """The parts of a Faster R-CNN (backbone, region proposals, box head) and a mask head."""

    needs_masks = True

    def __init__(self, boxes: FasterRCNN, mask_head: MaskHead) -> None:
        super().__init__(classes=boxes.classes, sizing=boxes.sizing)
        self.backbone = boxes.backbone
        self.rpn = boxes.rpn
        self.head = boxes.head
        self.mask_head = mask_head
        self.counts = boxes.counts
        self.training_counts = boxes.training_counts

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs, without masks, for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("features"):
            features = self._features(images)
        with stage("proposals"):
            objectness, offsets = self.rpn(features)
            anchors = self._anchors(features, images)
            proposals = self.rpn.proposals(objectness, offsets, anchors, sizes=images.sizes, count=self.counts)
        with stage("regions"):
            regions = self._pool(self.head, features, proposals)
        with stage("head"):
            class_logits, box_offsets = self.head(regions)
        return Outputs(features, objectness, offsets, proposals, class_logits, box_offsets)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"objectness", "proposal", "class", "box", "mask"} for RGB images 0..1 at network size and their objects.

        Objects of a picture whose target has no masks teach the other four.
        """
        images = Images.of(images, self.sizing.multiple)
        features = self._features(images)
        objectness, offsets = self.rpn(features)
        anchors = self._anchors(features, images)
        proposals = self.rpn.proposals(objectness, offsets, anchors, sizes=images.sizes, count=self.training_counts)
        chosen = [self.head.chosen(*picture) for picture in zip(proposals, targets, strict=True)]
        boxes, outputs, wanted = ([picture[part] for picture in chosen] for part in range(3))
        class_logits, box_offsets = self.head(self._pool(self.head, features, boxes))
        objects = [own[: len(moves)] for own, moves in zip(boxes, wanted, strict=True)]  # those come first
        return {
            **self.rpn.loss(objectness, offsets, torch.cat(anchors), targets),
            **self.head.loss(class_logits, box_offsets, torch.cat(outputs), torch.cat(wanted)),
            "mask": self._mask_loss(features, objects, targets),
        }

    def _mask_loss(self, features: Sequence[Tensor], boxes: Sequence[Tensor], targets: Sequence[Target]) -> Tensor:
        """Section 3: the mean cross-entropy of the true class's mask over the cells of the boxes that are objects."""
        boxes = [own[:0] if target.masks is None else own for own, target in zip(boxes, targets, strict=True)]
        logits = self.mask_head(self._pool(self.mask_head, features, boxes))
        labels, truth = [], []
        for own, target in zip(boxes, targets, strict=True):
            if target.masks is not None:
                index = assign(own, target, high=0.5, low=0.5, keep_best=False)
                labels.append(target.labels[index])
                truth.append(cropped(target.masks, own, index, output=logits.shape[-1]))
        if not labels:
            return logits.sum()
        chosen = _of_class(logits, torch.cat(labels))
        return binary_cross_entropy(chosen.flatten(), torch.cat(truth).flatten())

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `head.limit` objects above `score` in each picture, without masks (those come from `shapes`)."""
        counts = [len(boxes) for boxes in raw.proposals]
        pictures = zip(
            torch.split(raw.class_logits, counts),
            torch.split(raw.box_offsets, counts),
            raw.proposals,
            images.sizes,
            strict=True,
        )
        found = (
            self.head.detections(logits, offsets, boxes, size=size, score=score)
            for logits, offsets, boxes, size in pictures
        )
        return [Detections(boxes, labels, scores, self.classes) for boxes, labels, scores in found]

    def shapes(self, raw: Outputs, found: Sequence[Detections]) -> list[Tensor]:
        """The masks of the objects found, 0..1, [objects, 28, 28] over their boxes, for each picture."""
        shapes = []
        for number, objects in enumerate(found):  # one after another: the masks of all classes take much memory
            with stage("regions"):
                maps = [level[number : number + 1] for level in raw.features]
                regions = self._pool(self.mask_head, maps, [objects.boxes])
            with stage("head"):
                shapes.append(_of_class(self.mask_head(regions), objects.labels).sigmoid())
        return shapes

    def _features(self, images: Images) -> list[Tensor]:
        return self.backbone.features(images.normalised(self.mean, self.deviation))

    def _anchors(self, features: Sequence[Tensor], images: Images) -> list[Tensor]:
        return self.rpn.anchors(features, (images.tensor.shape[-2], images.tensor.shape[-1]))

    def _pool(self, head: BoxHead | MaskHead, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        levels = self.backbone.region_levels
        return head.pool(features[:levels], boxes, self.backbone.strides[:levels])


def _of_class(logits: Tensor, labels: Tensor) -> Tensor:
    """The masks [regions, rows, columns] of the regions' labels; index 0 of the logits is the background."""
    return logits[torch.arange(len(labels), device=labels.device), labels + 1]


def mask_rcnn(
    *,
    classes: int | Sequence[str] = 90,
    backbone: str = "resnet50",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    pyramid: bool = True,
    first_level: int = 0,
    channels: int = 256,
    hidden: int = 1024,
    mask_channels: int = 256,
    mask_depth: int = 4,
    mask_pooled: int = 14,
    pooling: Pooling = "align",
    norm: bool = False,
    anchor_sizes: Sequence[Sequence[float]] | None = None,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    counts: tuple[int, int] = (1000, 1000),
    training_counts: tuple[int, int] = (2000, 2000),
    anchor_samples: int = 256,
    box_samples: int = 512,
    positive_share: float = 0.25,
    limit: int = 100,
    sizing: tuple[int, int, int] = Sizing(),
) -> MaskRCNN:
    """Mask R-CNN on one of bodies.BODIES. Raises RecipeError for a backbone or anchors that do not fit.

    mask_channels, mask_depth: of the convolutions of the mask head; mask_pooled: cells on a side of what a box gives
    to it; pooling: "align" (RoIAlign) or "pool" (RoI pooling) in both heads; all others as in `faster_rcnn`.
    """
    boxes = faster_rcnn.faster_rcnn(
        classes=classes,
        backbone=backbone,
        backbone_options=backbone_options,
        frozen=frozen,
        freeze_norm=freeze_norm,
        pyramid=pyramid,
        first_level=first_level,
        channels=channels,
        hidden=hidden,
        norm=norm,
        anchor_sizes=anchor_sizes,
        ratios=ratios,
        counts=counts,
        training_counts=training_counts,
        anchor_samples=anchor_samples,
        box_samples=box_samples,
        positive_share=positive_share,
        pooling=pooling,
        limit=limit,
        sizing=sizing,
    )
    mask_head = MaskHead(
        boxes.backbone.channels[0],
        classes=len(boxes.classes),
        width=mask_channels,
        depth=mask_depth,
        pooled=mask_pooled,
        pooling=pooling,
        group_norm=norm,
    )
    return MaskRCNN(boxes, mask_head)


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *faster_rcnn.TORCHVISION_NAMES,
    *(
        (rf"roi_heads\.mask_head\.(?:{layer}\.0|mask_fcn{layer + 1})\.(.+)", rf"mask_head.hidden.{layer}.conv.\1")
        for layer in range(4)
    ),
    (r"roi_heads\.mask_predictor\.conv5_mask\.(.+)", r"mask_head.enlarged.\1"),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.(.+)", r"mask_head.logits.\1"),
)
"""(pattern of a whole torchvision name, our name); older checkpoints count the convolutions of the mask from 1."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "mask_rcnn": {},
    "mask_rcnn_resnet50_fpn": {"backbone": "resnet50"},
    "mask_rcnn_mobilenet_v2": {"backbone": "mobilenet_v2", "sizing": (320, 640, 32)},
    "mask_rcnn_mini": {**faster_rcnn.VARIANTS["faster_rcnn_mini"], "mask_channels": 32},
}
"""Name -> arguments of `mask_rcnn`."""
