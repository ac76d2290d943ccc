"""RetinaNet (Lin, Goyal, Girshick, He, Dollar 2017, arXiv:1708.02002).

Idea    One stage can be as exact as two. What held it back is a hundred thousand easy background boxes for each object:
        their small losses drown the object's. The focal loss takes the weight off what is already right.
Flow    images -> body -> P3 .. P7 (fpn.py) -> two towers of four 3x3 convolutions, the same on every level -> for each
        of 9 anchors a cell: the probability of each class, and offsets -> the best 1000 a level -> NMS per class
Here    Figure 3; equation 5 with alpha 0.25 and gamma 2; the prior of section 4.1. gamma=0 is the cross-entropy, with
        alpha=None the plain one. Matching (0.5, 0.4) as in section 4, and the best anchor of an object never goes
        without it. As torchvision: the box loss is L1 instead of smooth L1, and losses are divided by the objects'
        anchors of each picture, then averaged over the batch.
        There is no background output: classes are independent probabilities. retinanet_resnet50_fpn is torchvision's
        network (P6 from P5, at most 300 detections); its output 0 of 91 stands for the background and is never true, so
        it is left out on loading (TORCHVISION_TENSORS). With classes=91 it has the published 34,068,119 parameters.
        retinanet_mini has the same parts, thin, for pictures of 160 pixels with objects of 10 to 80.

Shapes  A anchors per cell, K classes; a map of class logits [batch, A K, height, width], of offsets
        [batch, 4 A, height, width]; anchors and everything in rows are ordered by level, row, column, anchor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from siseon import layers
from siseon.boxes.anchors import AnchorGrid
from siseon.boxes.geometry import clip, decode, encode, large_enough
from siseon.boxes.matching import BETWEEN
from siseon.boxes.nms import nms_by_group
from siseon.interface import Detections, Images, RecipeError, Size, Sizing, Target
from siseon.losses import focal_loss, smooth_l1
from siseon.models.classification import resnet
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector, assign
from siseon.models.detection.fpn import FPN
from siseon.models.detection.rpn import rows
from siseon.stages import stage


class Outputs(NamedTuple):
    """What RetinaNet.forward gives, one map of each a level, finest first."""

    features: list[Tensor]
    """[batch, channels, height, width] a level."""
    class_logits: list[Tensor]
    """[batch, anchors per cell * classes, height, width] a level."""
    offsets: list[Tensor]
    """[batch, anchors per cell * 4, height, width] a level."""


class Tower(nn.Sequential):
    """`depth` 3x3 convolutions with rectifiers, then one to `outputs` channels.

    prior: the probability that the outputs state at first, None for 0.5; group_norm: after each convolution but the
    last.
    """

    def __init__(
        self, channels: int, outputs: int, *, depth: int = 4, prior: float | None = None, group_norm: bool = False
    ) -> None:
        parts: list[nn.Module] = []
        for _ in range(depth):
            parts.append(nn.Conv2d(channels, channels, 3, padding=1))
            parts += [nn.GroupNorm(8, channels)] if group_norm else []
            parts.append(nn.ReLU(inplace=True))
        last = nn.Conv2d(channels, outputs, 3, padding=1)
        super().__init__(*parts, last)
        for module in self:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if prior is not None:  # else the background's loss drowns all else in the first steps (section 3.3)
            nn.init.constant_(last.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]


class RetinaNet(Detector[Outputs]):
    """A pyramid, a tower for classes and a tower for boxes.

    alpha, gamma: of the focal loss; count: candidates of each level that enter NMS; threshold: the overlap above which
    the lesser of two detections of a class goes; limit: detections per picture.
    """

    def __init__(
        self,
        backbone: FPN,
        class_tower: Tower,
        box_tower: Tower,
        anchor_grid: AnchorGrid,
        *,
        classes: int | Sequence[str],
        sizing: Sizing,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        count: int = 1000,
        threshold: float = 0.5,
        limit: int = 100,
    ) -> None:
        super().__init__(classes=classes, sizing=sizing)
        self.backbone = backbone
        self.class_tower = class_tower
        self.box_tower = box_tower
        self.anchor_grid = anchor_grid
        self.alpha = alpha
        self.gamma = gamma
        self.count = count
        self.threshold = threshold
        self.limit = limit

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("features"):
            features = self.backbone.features(images.normalised(self.mean, self.deviation))
        with stage("head"):
            class_logits = [self.class_tower(level) for level in features]
            offsets = [self.box_tower(level) for level in features]
        return Outputs(features, class_logits, offsets)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"class", "box"} for RGB images 0..1 at network size and their true objects."""
        images = Images.of(images, self.sizing.multiple)
        raw = self(images)
        logits = torch.cat([rows(level, len(self.classes)) for level in raw.class_logits], 1)
        offsets = torch.cat([rows(level, 4) for level in raw.offsets], 1)
        anchors = torch.cat(self.anchors(raw.features, (images.tensor.shape[-2], images.tensor.shape[-1])))
        pictures = [self._picture_loss(*each, anchors) for each in zip(logits, offsets, targets, strict=True)]
        class_losses, box_losses = zip(*pictures, strict=True)
        return {"class": torch.stack(class_losses).mean(), "box": torch.stack(box_losses).mean()}

    def _picture_loss(self, logits: Tensor, offsets: Tensor, target: Target, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Both losses of one picture, per anchor that stands for an object; logits [anchors, classes]."""
        index = assign(anchors, target, high=0.5, low=0.4, keep_best=True)
        positive = torch.nonzero(index >= 0)[:, 0]
        truth = torch.zeros_like(logits, dtype=torch.bool)
        truth[positive, target.labels[index[positive]]] = True
        learnt = index != BETWEEN
        wanted = encode(target.boxes[index[positive]], anchors[positive])
        count = max(len(positive), 1)
        return (
            focal_loss(logits[learnt], truth[learnt], alpha=self.alpha, gamma=self.gamma) / count,
            smooth_l1(offsets[positive], wanted, beta=0.0) / count,
        )

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `limit` objects above `score` in each picture, best first, in pixels of the network's input."""
        anchors = self.anchors(raw.features, (images.tensor.shape[-2], images.tensor.shape[-1]))
        logits = [rows(level, len(self.classes)) for level in raw.class_logits]
        offsets = [rows(level, 4) for level in raw.offsets]
        found = []
        for number, size in enumerate(images.sizes):
            levels = zip(logits, offsets, anchors, strict=True)
            best = [self._best(own[number], shifts[number], fixed, score) for own, shifts, fixed in levels]
            boxes, labels, scores = (torch.cat(part) for part in zip(*best, strict=True))
            boxes = clip(boxes, size)
            some = large_enough(boxes, 1e-2)
            boxes, labels, scores = boxes[some], labels[some], scores[some]
            kept = nms_by_group(boxes, scores, labels, self.threshold, limit=self.limit)
            found.append(Detections(boxes[kept], labels[kept], scores[kept], self.classes))
        return found

    def _best(self, logits: Tensor, offsets: Tensor, anchors: Tensor, score: float) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, labels and scores of the best `count` pairs of anchor and class on one level."""
        flat = logits.flatten()
        candidates = torch.nonzero(flat > torch.tensor(score).logit())[:, 0]  # a sigmoid of all would cost more
        best, chosen = flat[candidates].topk(min(self.count, len(candidates)))
        which, labels = candidates[chosen] // logits.shape[1], candidates[chosen] % logits.shape[1]
        return decode(offsets[which], anchors[which]), labels, best.sigmoid()

    def anchors(self, features: Sequence[Tensor], size: Size) -> list[Tensor]:
        """The anchors [anchors, 4] of each level, for a batch padded to `size`."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in features]
        strides = [(size[0] // height, size[1] // width) for height, width in sizes]
        return self.anchor_grid(sizes, strides, features[0].device)


def retinanet(
    *,
    classes: int | Sequence[str] = 90,
    backbone: str = "resnet50",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    first_level: int = 1,
    coarse: Literal["C5", "P5"] = "C5",
    channels: int = 256,
    depth: int = 4,
    norm: bool = False,
    anchor_sizes: Sequence[Sequence[float]] | None = None,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    prior: float = 0.01,
    count: int = 1000,
    limit: int = 100,
    sizing: tuple[int, int, int] = Sizing()[:3],
) -> RetinaNet:
    """RetinaNet on one of bodies.BODIES. Raises RecipeError for a backbone or anchors that do not fit.

    classes: a count or the names; backbone_options: more arguments of the body; frozen: how many stages, with the
    stem, are not trained; freeze_norm: keep the batch norm of the backbone as loaded; first_level: the stage at which
    the pyramid starts (1 is stride 8); coarse: the map from which P6 is made; channels: of the pyramid and the towers;
    depth: convolutions of a tower before its last; norm: normalise pyramid and towers too, for training from nothing;
    anchor_sizes: for each level, pixels of the square anchor, else 4 strides and two thirds of an octave up; ratios:
    height / width; alpha, gamma: of the focal loss; prior: the probability of an object that an untrained network
    states; count: candidates of a level before NMS; limit: detections per picture; sizing: (shorter side, longer side,
    multiple) in pixels.
    """
    body = body_of(backbone, backbone_options)
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    pyramid = FPN(body, channels=channels, first=first_level, coarse=coarse, group_norm=norm)
    sizes = _anchor_sizes(pyramid.strides) if anchor_sizes is None else anchor_sizes
    if len(sizes) != len(pyramid.strides) or len({len(level) for level in sizes}) != 1 or not sizes[0]:
        raise RecipeError(
            f"anchor_sizes = {list(sizes)} does not fit the maps of stride {', '.join(map(str, pyramid.strides))}",
            f"Give a list for each map, {len(pyramid.strides)} in all, each with the same number of sizes",
        )
    grid = AnchorGrid(sizes=sizes, ratios=ratios)
    per_cell = grid.anchors_per_cell[0]
    names = len(classes) if isinstance(classes, Sequence) else classes
    return RetinaNet(
        pyramid,
        Tower(channels, per_cell * names, depth=depth, prior=prior, group_norm=norm),
        Tower(channels, per_cell * 4, depth=depth, group_norm=norm),
        grid,
        classes=classes,
        sizing=Sizing(*sizing),
        alpha=alpha,
        gamma=gamma,
        count=count,
        limit=limit,
    )


def _anchor_sizes(strides: Sequence[int]) -> list[list[float]]:
    """Section 4: 32 pixels at stride 8 and so on, each also 2^(1/3) and 2^(2/3) as large; whole, as torchvision's."""
    return [[4 * stride * 2**octave // 1 for octave in (0, 1 / 3, 2 / 3)] for stride in strides]


def _without_background(outputs: Tensor) -> Tensor:
    """Torchvision's class layer, [9 anchors * outputs, ...], without the first output of each anchor."""
    return outputs.view(9, -1, *outputs.shape[1:])[:, 1:].flatten(0, 1)


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *((rf"backbone\.body\.{old}", f"backbone.{new}") for old, new in resnet.TORCHVISION_NAMES),
    (r"backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"backbone.lateral.\1.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"backbone.output.\1.\2"),
    (r"backbone\.fpn\.extra_blocks\.p6\.(.+)", r"backbone.extra.0.\1"),
    (r"backbone\.fpn\.extra_blocks\.p7\.(.+)", r"backbone.extra.1.\1"),
    *((rf"head\.classification_head\.conv\.{k}\.0\.(.+)", rf"class_tower.{2 * k}.\1") for k in range(4)),
    *((rf"head\.regression_head\.conv\.{k}\.0\.(.+)", rf"box_tower.{2 * k}.\1") for k in range(4)),
    (r"head\.classification_head\.conv\.([0246])\.(weight|bias)", r"class_tower.\1.\2"),
    (r"head\.regression_head\.conv\.([0246])\.(weight|bias)", r"box_tower.\1.\2"),
    (r"head\.classification_head\.cls_logits\.(.+)", r"class_tower.8.\1"),
    (r"head\.regression_head\.bbox_reg\.(.+)", r"box_tower.8.\1"),
)
"""(pattern of a whole torchvision name, our name); older checkpoints, the published one too, count the rectifiers."""

TORCHVISION_TENSORS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "class_tower.8.weight": _without_background,
    "class_tower.8.bias": _without_background,
}
"""Our name -> what becomes of torchvision's tensor."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "retinanet": {},
    "retinanet_resnet50_fpn": {"coarse": "P5", "limit": 300},
    "retinanet_mobilenet_v2": {"backbone": "mobilenet_v2", "channels": 128, "sizing": (320, 640, 32)},
    "retinanet_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "channels": 64,
        "depth": 2,
        "norm": True,
        "anchor_sizes": ((16, 20, 25), (32, 40, 50), (64, 80, 101), (128, 161, 203), (256, 322, 406)),
        "count": 200,
        "sizing": (160, 256, 32),
    },
}
"""Name -> arguments of `retinanet`."""
