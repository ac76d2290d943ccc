"""Faster R-CNN (Ren, He, Girshick, Sun 2015, arXiv:1506.01497).

Idea    One network for both steps: it proposes boxes from its own maps (rpn.py), then says what is in each
        (fast_rcnn.py).
Flow    images -> backbone -> maps -> proposals -> the features of each -> class and offsets -> detections
Here    Trained jointly, without gradients through the proposals' boxes (section 3.2, "approximate joint training").
        faster_rcnn_vgg16 (137,073,622 parameters with VOC's 20 classes) and faster_rcnn_zf (59,292,438) are the paper's
        networks: one map of stride 16, 9 anchors (section 3.3), RoI pooling to 7x7 or 6x6, two layers of 4096, 300
        proposals. Objectness is one logit an anchor, where the paper has a softmax of two (its footnote allows one).
        Deviations: every layer trains (the paper stops conv1 and conv2 of VGG-16), the head starts from random weights
        and has no dropout, counts and thresholds of training that no argument names are torchvision's.
        With a pyramid (fpn.py) by default. faster_rcnn_resnet50_fpn is torchvision's network to the number: 41,808,406
        parameters with 90 classes. faster_rcnn_mini has the same parts, thin, for pictures of 160 pixels with objects
        of 10 to 80.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siseon import layers
from siseon.interface import Detections, Images, RecipeError, Sizing, Target
from siseon.layers import Body
from siseon.models.classification import resnet
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector
from siseon.models.detection.fast_rcnn import BoxHead, Pooling
from siseon.models.detection.fpn import FPN, Backbone, SingleLevel
from siseon.models.detection.rpn import RegionProposals
from siseon.stages import stage


class Outputs(NamedTuple):
    """What FasterRCNN.forward gives; class_logits and box_offsets hold the proposals of all pictures in turn."""

    features: list[Tensor]
    """[batch, channels, height, width] a level."""
    objectness: list[Tensor]
    """Logits [batch, anchors per cell, height, width] a level."""
    offsets: list[Tensor]
    """[batch, 4 * anchors per cell, height, width] a level."""
    proposals: list[Tensor]
    """[proposals, 4] a picture, best first, in pixels of the network's input."""
    class_logits: Tensor
    """[all proposals, classes + 1], background first."""
    box_offsets: Tensor
    """[all proposals, 4 * (classes + 1)]."""


class FasterRCNN(Detector[Outputs]):
    """A backbone, region proposals and a box head.

    counts and training_counts: how many proposals of each level enter NMS and how many of a picture leave it, in
    `forward` and in `loss`.
    """

    def __init__(
        self,
        backbone: Backbone,
        rpn: RegionProposals,
        head: BoxHead,
        *,
        classes: int | Sequence[str],
        sizing: Sizing,
        counts: tuple[int, int] = (1000, 1000),
        training_counts: tuple[int, int] = (2000, 2000),
    ) -> None:
        super().__init__(classes=classes, sizing=sizing)
        self.backbone = backbone
        self.rpn = rpn
        self.head = head
        self.counts = counts
        self.training_counts = training_counts

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("features"):
            features = self._features(images)
        with stage("proposals"):
            objectness, offsets = self.rpn(features)
            anchors = self._anchors(features, images)
            proposals = self.rpn.proposals(objectness, offsets, anchors, sizes=images.sizes, count=self.counts)
        with stage("regions"):
            regions = self._pool(features, proposals)
        with stage("head"):
            class_logits, box_offsets = self.head(regions)
        return Outputs(features, objectness, offsets, proposals, class_logits, box_offsets)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"objectness", "proposal", "class", "box"} for RGB images 0..1 at network size and their true objects."""
        images = Images.of(images, self.sizing.multiple)
        features = self._features(images)
        objectness, offsets = self.rpn(features)
        anchors = self._anchors(features, images)
        proposals = self.rpn.proposals(objectness, offsets, anchors, sizes=images.sizes, count=self.training_counts)
        chosen = [self.head.chosen(*picture) for picture in zip(proposals, targets, strict=True)]
        boxes, outputs, wanted = ([picture[part] for picture in chosen] for part in range(3))
        class_logits, box_offsets = self.head(self._pool(features, boxes))
        return {
            **self.rpn.loss(objectness, offsets, torch.cat(anchors), targets),
            **self.head.loss(class_logits, box_offsets, torch.cat(outputs), torch.cat(wanted)),
        }

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `head.limit` objects above `score` in each picture, best first, in pixels of the network's input."""
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

    def _features(self, images: Images) -> list[Tensor]:
        return self.backbone.features(images.normalised(self.mean, self.deviation))

    def _anchors(self, features: Sequence[Tensor], images: Images) -> list[Tensor]:
        return self.rpn.anchors(features, (images.tensor.shape[-2], images.tensor.shape[-1]))

    def _pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        levels = self.backbone.region_levels
        return self.head.pool(features[:levels], boxes, self.backbone.strides[:levels])


def faster_rcnn(
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
    norm: bool = False,
    anchor_sizes: Sequence[Sequence[float]] | None = None,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    counts: tuple[int, int] = (1000, 1000),
    training_counts: tuple[int, int] = (2000, 2000),
    anchor_samples: int = 256,
    box_samples: int = 512,
    positive_share: float = 0.25,
    pooled: int = 7,
    pooling: Pooling = "align",
    threshold: float = 0.5,
    limit: int = 100,
    sizing: tuple[int, int, int] = Sizing(),
) -> FasterRCNN:
    """Faster R-CNN on one of bodies.BODIES. Raises RecipeError for a backbone or anchors that do not fit.

    classes: a count or the names, without the background; backbone_options: more arguments of the body, such as
    {"padding": "tensorflow"}; frozen: how many stages, with the stem, are not trained; freeze_norm: keep the batch
    norm of the backbone as loaded; first_level: the stage at which the pyramid starts (0 is stride 4); channels: of
    the pyramid; hidden: of the head; norm: normalise pyramid and head too, for training from nothing; anchor_sizes:
    for each level, pixels of the square anchor; ratios: height / width; counts, training_counts: proposals before
    and after NMS; anchor_samples, box_samples: learnt per picture, of the boxes at most `positive_share` objects;
    pooled: rows and columns of a region's features, by `pooling`; threshold: of the last NMS; limit: detections per
    picture; sizing: (shorter side, longer side, multiple) in pixels.
    """
    body = _body(backbone, backbone_options, frozen=frozen, freeze_norm=freeze_norm)
    maps = FPN(body, channels=channels, first=first_level, group_norm=norm) if pyramid else SingleLevel(body)
    sizes = _anchor_sizes(maps) if anchor_sizes is None else anchor_sizes
    _check_anchors(sizes, maps)
    return FasterRCNN(
        maps,
        RegionProposals(maps.channels[0], anchor_sizes=sizes, ratios=ratios, samples=anchor_samples),
        BoxHead(
            maps.channels[0],
            classes=len(classes) if isinstance(classes, Sequence) else classes,
            hidden=hidden,
            layer_norm=norm,
            pooled=pooled,
            pooling=pooling,
            samples=box_samples,
            positive_share=positive_share,
            threshold=threshold,
            limit=limit,
        ),
        classes=classes,
        sizing=Sizing(*sizing),
        counts=(counts[0], counts[1]),
        training_counts=(training_counts[0], training_counts[1]),
    )


def _body(backbone: str, options: Mapping[str, Any] | None, *, frozen: int, freeze_norm: bool) -> Body:
    body = body_of(backbone, options)
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    return body


def _anchor_sizes(maps: Backbone) -> Sequence[Sequence[float]]:
    """One size a level of a pyramid (Lin et al. 2017, section 4.1), all sizes on a single level."""
    return [[8.0 * stride] for stride in maps.strides] if isinstance(maps, FPN) else [[32, 64, 128, 256, 512]]


def _check_anchors(sizes: Sequence[Sequence[float]], maps: Backbone) -> None:
    if len(sizes) != len(maps.strides) or len({len(level) for level in sizes}) != 1 or not sizes[0]:
        strides = ", ".join(map(str, maps.strides))
        raise RecipeError(
            f"anchor_sizes = {list(sizes)} does not fit the maps of stride {strides}",
            f"Give a list for each map, {len(maps.strides)} in all, each with the same number of sizes",
        )


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *((rf"backbone\.body\.{old}", f"backbone.{new}") for old, new in resnet.TORCHVISION_NAMES),
    (r"backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"backbone.lateral.\1.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"backbone.output.\1.\2"),
    (r"rpn\.head\.conv\.(?:0\.0\.)?(weight|bias)", r"rpn.hidden.conv.\1"),
    (r"rpn\.head\.cls_logits\.(.+)", r"rpn.objectness.\1"),
    (r"rpn\.head\.bbox_pred\.(.+)", r"rpn.offsets.\1"),
    (r"roi_heads\.box_head\.fc6\.(.+)", r"head.hidden.0.\1"),
    (r"roi_heads\.box_head\.fc7\.(.+)", r"head.hidden.2.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(.+)", r"head.class_logits.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(.+)", r"head.offsets.\1"),
)
"""(pattern of a whole torchvision name, our name); older checkpoints spell the convolutions without .0 or .0.0."""

PAPER: Mapping[str, Any] = {
    "classes": 20,
    "pyramid": False,
    "hidden": 4096,
    "anchor_sizes": ((128, 256, 512),),
    "counts": (6000, 300),
    "training_counts": (12000, 2000),
    "box_samples": 128,
    "pooling": "pool",
    "threshold": 0.3,
    "sizing": (600, 1000, 32),
}
"""What the networks of the paper share: section 3.3; the counts before NMS and its last threshold from its code."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "faster_rcnn": {},
    "faster_rcnn_resnet50_fpn": {"backbone": "resnet50"},
    "faster_rcnn_vgg16": {**PAPER, "backbone": "vgg16"},
    "faster_rcnn_zf": {**PAPER, "backbone": "zfnet", "pooled": 6},
    "faster_rcnn_mobilenet_v2": {"backbone": "mobilenet_v2", "sizing": (320, 640, 32)},
    "faster_rcnn_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "first_level": 1,
        "channels": 64,
        "hidden": 256,
        "norm": True,
        "anchor_sizes": ((16,), (32,), (64,), (96,)),
        "counts": (200, 100),
        "training_counts": (300, 150),
        "anchor_samples": 64,
        "box_samples": 32,
        "positive_share": 0.5,
        "sizing": (160, 256, 32),
    },
}
"""Name -> arguments of `faster_rcnn`."""
