"""Fast R-CNN (Girshick 2015, arXiv:1504.08083).

Idea    R-CNN ran its network on each of 2,000 regions. Run the convolutions once per picture instead; each proposal
        takes its 7x7 piece of the maps. One network, trained at once, says class and box.
Flow    images -> Selective Search -> proposals; images -> backbone -> maps; maps, proposals -> RoI pooling 7x7 ->
        2 linear layers -> class logits, and offsets for each class -> NMS per class
Here    fast_rcnn is the paper's network L: VGG-16 up to conv5_3 (stride 16), fc6 and fc7, 134,690,729 parameters with
        VOC's 20 classes. 64 samples a picture, a quarter of them objects, background from overlap 0.1 on, smooth L1
        with beta 1, NMS at 0.3 (as the text and the author's settings have it).
        Deviations: every layer trains (`frozen` stops stages; the paper stops conv1 and conv2, a stage here holds three
        blocks); fc6 and fc7 start from random weights, without dropout; offsets are divided by fixed deviations, the
        paper measures them; pictures without objects are learnt as background. No truncated SVD.
        Small objects need a finer stride than 16: fast_rcnn_mini ends its body at stride 4; pyramid=True pools from a
        feature pyramid, which did not exist yet.

BoxHead is the head of Faster R-CNN too. Its defaults are those of torchvision's Faster R-CNN: RoIAlign instead of RoI
pooling, the level of a pyramid by the size of the box (Lin et al. 2017, equation 1), smooth L1 with beta 1/9; both
losses are divided by the number of sampled boxes.

Outputs in this head have one class more than the model: index 0 is the background, index i + 1 the label i.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from siseon import layers
from siseon.boxes.geometry import decode, encode, overlap
from siseon.boxes.matching import BACKGROUND, sample
from siseon.boxes.roi import pooled_from_pyramid, roi_align, roi_pool
from siseon.interface import Detections, Images, Size, Sizing, Target
from siseon.losses import cross_entropy, smooth_l1
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector, assign
from siseon.models.detection.fpn import FPN, Backbone, SingleLevel
from siseon.models.detection.proposals import Proposals
from siseon.models.detection.rcnn import selected
from siseon.models.detection.selective_search import Mode
from siseon.stages import stage

Pooling: TypeAlias = Literal["align", "pool"]
"""RoIAlign, or RoI pooling, which rounds to whole cells."""

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the four offsets: about the inverse of their deviations, so that both losses weigh alike."""


class BoxHead(nn.Module):
    """Two hidden layers of `hidden` on the 7x7 features of each proposal, then class logits and offsets.

    classes: without the background; layer_norm: after each hidden layer, for training from nothing (Wu and He 2018,
    arXiv:1803.08494, with one group); pooling: of the regions; samples: proposals learnt per picture, at most
    `positive_share` of them objects; background: the overlap with an object from which on a box is learnt as
    background; beta: of the smooth L1 loss; threshold: the overlap above which the lesser of two detections of a class
    goes; limit: detections kept per picture.
    """

    def __init__(
        self,
        channels: int,
        *,
        classes: int,
        hidden: int = 1024,
        layer_norm: bool = False,
        pooled: int = 7,
        pooling: Pooling = "align",
        samples: int = 512,
        positive_share: float = 0.25,
        background: float = 0.0,
        beta: float = 1 / 9,
        threshold: float = 0.5,
        limit: int = 100,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for inputs in (channels * pooled**2, hidden):
            norm = [nn.LayerNorm(hidden)] if layer_norm else []
            parts += [nn.Linear(inputs, hidden), *norm, nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*parts)
        self.class_logits = nn.Linear(hidden, classes + 1)
        self.offsets = nn.Linear(hidden, 4 * (classes + 1))
        self.pooled = pooled
        self.pooling = roi_align if pooling == "align" else roi_pool
        self.samples = samples
        self.positive_share = positive_share
        self.background = background
        self.beta = beta
        self.threshold = threshold
        self.limit = limit
        for layer in parts:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.class_logits.weight, std=0.01)  # section 2.3
        nn.init.normal_(self.offsets.weight, std=0.001)

    def pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
        """The features [all boxes, channels, pooled, pooled] of the boxes of each picture."""
        return pooled_from_pyramid(
            list(features), list(boxes), tuple(strides), output=self.pooled, samples=2, pool=self.pooling
        )

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [boxes, classes + 1] and offsets [boxes, 4 (classes + 1)] of pooled regions, in float32."""
        hidden = self.hidden(regions.flatten(1))
        return self.class_logits(hidden).float(), self.offsets(hidden).float()

    def chosen(self, proposals: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """What to learn from one picture: boxes [samples, 4], their outputs [samples], the offsets to their objects.

        The true boxes join the proposals, so that there is something to learn from the first step on.
        """
        boxes = torch.cat((proposals, target.boxes[~target.crowd].to(proposals)))
        index = assign(boxes, target, high=0.5, low=0.5, keep_best=False)
        background = index == BACKGROUND
        if self.background > 0 and not target.crowd.all():
            background &= overlap(target.boxes[~target.crowd], boxes).amax(0) >= self.background
        positive, negative = sample(index >= 0, background, count=self.samples, positive_share=self.positive_share)
        both = torch.cat((positive, negative))
        outputs = torch.zeros_like(both)
        outputs[: len(positive)] = target.labels[index[positive]] + 1
        wanted = encode(target.boxes[index[positive]], boxes[positive], WEIGHTS)
        return boxes[both], outputs, wanted

    def loss(self, logits: Tensor, offsets: Tensor, outputs: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """{"class", "box"}: equation 1 of the paper.

        logits [samples, classes + 1], offsets [samples, 4 (classes + 1)], outputs int64 [samples]; wanted: the
        offsets of those samples that are objects, in their order.
        """
        objects = torch.nonzero(outputs)[:, 0]
        own = offsets.view(-1, offsets.shape[1] // 4, 4)[objects, outputs[objects]]
        return {
            "class": cross_entropy(logits, outputs),
            "box": smooth_l1(own, wanted, beta=self.beta) / max(len(outputs), 1),
        }

    def detections(
        self, logits: Tensor, offsets: Tensor, proposals: Tensor, *, size: Size, score: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes [objects, 4], labels and scores of one picture of `size`, best first."""
        boxes = decode(offsets, proposals, WEIGHTS).view(-1, logits.shape[1], 4)[:, 1:]
        scores = logits.softmax(1)[:, 1:]
        return selected(boxes, scores, size=size, score=score, threshold=self.threshold, limit=self.limit)


class Outputs(NamedTuple):
    """What FastRCNN.forward gives; class_logits and box_offsets hold the proposals of all pictures in turn."""

    proposals: list[Tensor]
    """[proposals, 4] a picture, best first, in pixels of the network's input."""
    features: list[Tensor]
    """[batch, channels, height, width] a level."""
    class_logits: Tensor
    """[all proposals, classes + 1], background first."""
    box_offsets: Tensor
    """[all proposals, 4 * (classes + 1)]."""


class FastRCNN(Detector[Outputs]):
    """Proposals from outside, a backbone and a box head."""

    def __init__(
        self,
        proposals: Callable[[Images], list[Tensor]],
        backbone: Backbone,
        head: BoxHead,
        *,
        classes: int | Sequence[str],
        sizing: Sizing,
    ) -> None:
        super().__init__(classes=classes, sizing=sizing)
        self.proposals = proposals
        self.backbone = backbone
        self.head = head

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("proposals"):
            proposals = self.proposals(images)
        with stage("features"):
            features = self._features(images)
        with stage("regions"):
            regions = self._pool(features, proposals)
        with stage("head"):
            class_logits, box_offsets = self.head(regions)
        return Outputs(proposals, features, class_logits, box_offsets)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"class", "box"} for RGB images 0..1 at network size and their true objects."""
        images = Images.of(images, self.sizing.multiple)
        proposals = self.proposals(images)
        chosen = [self.head.chosen(*picture) for picture in zip(proposals, targets, strict=True)]
        boxes, outputs, wanted = ([picture[part] for picture in chosen] for part in range(3))
        class_logits, box_offsets = self.head(self._pool(self._features(images), boxes))
        return self.head.loss(class_logits, box_offsets, torch.cat(outputs), torch.cat(wanted))

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `head.limit` objects above `score` in each picture, best first, in pixels of the network's input."""
        counts = [len(boxes) for boxes in raw.proposals]
        logits, offsets = torch.split(raw.class_logits, counts), torch.split(raw.box_offsets, counts)
        found = (
            self.head.detections(*picture, size=size, score=score)
            for *picture, size in zip(logits, offsets, raw.proposals, images.sizes, strict=True)
        )
        return [Detections(boxes, labels, scores, self.classes) for boxes, labels, scores in found]

    def _features(self, images: Images) -> list[Tensor]:
        return self.backbone.features(images.normalised(self.mean, self.deviation))

    def _pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        levels = self.backbone.region_levels
        return self.head.pool(features[:levels], boxes, self.backbone.strides[:levels])


def fast_rcnn(
    *,
    classes: int | Sequence[str] = 20,
    backbone: str = "vgg16",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    pyramid: bool = False,
    first_level: int = 0,
    stages: int = 3,
    channels: int = 256,
    pooling: Pooling = "pool",
    hidden: int = 4096,
    norm: bool = False,
    mode: Mode = "fast",
    proposals: int = 2000,
    folder: str | None = None,
    box_samples: int = 64,
    positive_share: float = 0.25,
    background: float = 0.1,
    threshold: float = 0.3,
    limit: int = 100,
    sizing: tuple[int, int, int] = Sizing(600, 1000, 32),
) -> FastRCNN:
    """Fast R-CNN on one of bodies.BODIES. Raises RecipeError for a backbone that does not fit.

    classes: a count or the names, without the background; backbone_options: more arguments of the body; frozen: how
    many stages, with the stem, are not trained; freeze_norm: keep the batch norm of the backbone as loaded; stages: at
    the end of which the single map is taken (3 is stride 16); pyramid: several maps instead, from stage `first_level`
    on (0 is stride 4), with `channels`; pooling: of the regions; hidden: of the head; norm: normalise pyramid and head
    too, for training from nothing; mode, proposals, folder: of Selective Search, how many boxes a picture at most, and
    where they are kept from run to run; box_samples: learnt per picture, of them at most `positive_share` objects;
    background: the overlap with an object from which on a box is learnt as background; threshold: of NMS; limit:
    detections per picture; sizing: (shorter side, longer side, multiple) in pixels.
    """
    body = body_of(backbone, backbone_options)
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    maps = (
        FPN(body, channels=channels, first=first_level, group_norm=norm)
        if pyramid
        else SingleLevel(body, stages=stages)
    )
    return FastRCNN(
        Proposals(mode=mode, limit=proposals, folder=None if folder is None else Path(folder)),
        maps,
        BoxHead(
            maps.channels[0],
            classes=len(classes) if isinstance(classes, Sequence) else classes,
            hidden=hidden,
            layer_norm=norm,
            pooling=pooling,
            samples=box_samples,
            positive_share=positive_share,
            background=background,
            beta=1.0,
            threshold=threshold,
            limit=limit,
        ),
        classes=classes,
        sizing=Sizing(*sizing),
    )


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "fast_rcnn": {},
    "fast_rcnn_mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "pyramid": True,
        "first_level": 1,
        "channels": 128,
        "hidden": 512,
        "proposals": 1000,
        "sizing": (320, 640, 32),
    },
    "fast_rcnn_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "stages": 1,
        "hidden": 256,
        "norm": True,
        "mode": "single",
        "proposals": 100,
        "box_samples": 32,
        "positive_share": 0.5,
        "sizing": (160, 256, 32),
    },
}
"""Name -> arguments of `fast_rcnn`."""
