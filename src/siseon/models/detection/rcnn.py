"""R-CNN (Girshick, Donahue, Darrell, Malik 2014, arXiv:1311.2524): regions with CNN features.

Idea    A network that tells pictures apart also tells parts of a picture apart: cut out 2,000 regions that may hold an
        object, warp each to the network's size, and classify it.
Flow    images -> Selective Search -> proposals, each with context around it, warped to a square -> convolutions ->
        pool5 -> fc6, fc7 -> an SVM for each class; from pool5 a better box for each class -> NMS per class
Here    Trained in the paper's stages. `loss` fine-tunes the CNN: softmax over the classes and the background, 16
        regions of a picture, 4 of them objects (a batch of 8 pictures has the paper's 32 and 96). `complete` then
        leaves the CNN alone and fits, to features kept on disk, the SVMs with hard negatives (section 2.3, appendix B)
        and the box regressors (appendix C). Both are buffers of the model. Until then, and again when the CNN is
        trained further, detections take the scores of the softmax and the proposals as they are.
        rcnn is AlexNet on 227 pixels: 56,954,261 parameters with VOC's 20 classes.
        Deviations: fc6 and fc7 start from random weights. A margin m becomes the score sigmoid(3 m), so that the SVM's
        edges -1 and 1 are 0.05 and 0.95. Warping averages about one bilinear reading for each pixel that it covers.
        For the SVMs features are scaled to a mean length of 20, positives count twice and C is 0.001, as in the
        authors' code. Bodies other than AlexNet have no fc6 and fc7: their last map is pool5 and the SVMs' features at
        once. rcnn_mini is for pictures of 160 pixels, regions of 48.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from siseon import layers
from siseon.boxes.geometry import clip, decode, encode, from_center, large_enough, overlap, to_center
from siseon.boxes.matching import BACKGROUND, sample
from siseon.boxes.nms import nms_by_group
from siseon.boxes.roi import roi_align
from siseon.initialisers import initialise
from siseon.interface import Detections, Images, Size, Sizing, Target
from siseon.layers import Body, to_grid
from siseon.losses import cross_entropy
from siseon.models.classification.alexnet import ONE_TOWER, AlexNetBody
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector, assign, covered
from siseon.models.detection.proposals import Proposals
from siseon.models.detection.rcnn_fitting import fitted_regressors, fitted_svms
from siseon.models.detection.selective_search import Mode
from siseon.stages import stage

CHUNK = 128
"""Regions that go through the CNN at once: of 227 pixels they take about half a gigabyte."""

ALEXNETS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {},
    "alexnet_one_tower": {name: value for name, value in ONE_TOWER.items() if name != "crop"},
}
"""Bodies that only regions of one size can pass, beside those of bodies.BODIES; the second has published weights."""


class Outputs(NamedTuple):
    """What RCNN.forward gives; all but the proposals hold the regions of all pictures in turn."""

    proposals: list[Tensor]
    """[proposals, 4] a picture, best first, in pixels of the network's input."""
    class_logits: Tensor
    """[all proposals, classes + 1] of the softmax, background first."""
    margins: Tensor
    """[all proposals, classes]: how far inside a class the SVM sees the region; its edge lies at 1."""
    box_offsets: Tensor
    """[all proposals, 4 * classes], see boxes.geometry.encode."""


class RegionNetwork(nn.Module):
    """The CNN on warped regions: a body, its last map at grid x grid cells (pool5), then layers of `hidden` units."""

    def __init__(self, body: Body, *, grid: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.body = body
        self.grid = grid
        self.pooled = body.channels[-1] * grid**2
        self.width = hidden[-1] if hidden else self.pooled
        parts: list[nn.Module] = []
        for inputs, outputs in zip((self.pooled, *hidden), hidden, strict=False):
            parts += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*parts)
        initialise(self.hidden)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """pool5 [regions, pooled] and fc7 [regions, width] of normalised regions [regions, 3, crop, crop]."""
        pooled = to_grid(self.body.features(regions)[-1], self.grid).flatten(1)
        return pooled, self.hidden(pooled)


class RCNN(Detector[Outputs]):
    """Proposals from outside, a CNN for each region, linear SVMs and box regressors.

    crop: pixels of a side of a warped region, `context` of them on each side outside of the proposal; samples: regions
    learnt per picture, at most `positive_share` of them objects; threshold: the overlap above which the lesser of two
    detections of a class goes; limit: detections kept per picture.
    """

    svm_weight: Tensor
    svm_bias: Tensor
    regressor_weight: Tensor
    regressor_bias: Tensor
    completed: Tensor

    def __init__(
        self,
        proposals: Callable[[Images], list[Tensor]],
        backbone: RegionNetwork,
        *,
        classes: int | Sequence[str],
        sizing: Sizing,
        crop: int = 227,
        context: int = 16,
        samples: int = 16,
        positive_share: float = 0.25,
        threshold: float = 0.3,
        limit: int = 100,
    ) -> None:
        super().__init__(classes=classes, sizing=sizing)
        self.proposals = proposals
        self.backbone = backbone
        count = len(self.classes)
        self.class_logits = nn.Linear(backbone.width, count + 1)
        nn.init.normal_(self.class_logits.weight, std=0.01)
        nn.init.zeros_(self.class_logits.bias)
        self.register_buffer("svm_weight", torch.zeros(count, backbone.width))
        self.register_buffer("svm_bias", torch.zeros(count))
        self.register_buffer("regressor_weight", torch.zeros(4 * count, backbone.pooled))
        self.register_buffer("regressor_bias", torch.zeros(4 * count))
        # one a class, so that it stays behind with the SVMs where weights meet another number of classes
        self.register_buffer("completed", torch.zeros(count, dtype=torch.bool))
        self.crop = crop
        self.context = context
        self.samples = samples
        self.positive_share = positive_share
        self.threshold = threshold
        self.limit = limit

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("proposals"):
            proposals = self.proposals(images)
        logits, margins, offsets = [], [], []
        for pooled, features in self._described(images, proposals):
            with stage("head"):
                logits.append(self.class_logits(features).float())
                margins.append(features.float() @ self.svm_weight.T + self.svm_bias)
                offsets.append(pooled.float() @ self.regressor_weight.T + self.regressor_bias)
        return Outputs(proposals, torch.cat(logits), torch.cat(margins), torch.cat(offsets))

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"class"}: the fine-tuning of the CNN, for RGB images 0..1 at network size and their true objects.

        In training mode it puts SVMs and regressors aside, which were fitted to other features.
        """
        images = Images.of(images, self.sizing.multiple)
        if self.training:
            self.completed.fill_(value=False)
        chosen = [self._chosen(*picture) for picture in zip(self.proposals(images), targets, strict=True)]
        pixels = images.normalised(self.mean, self.deviation)
        crops = [
            warp(picture, size, boxes, crop=self.crop, context=self.context)
            for picture, size, (boxes, _) in zip(pixels, images.sizes, chosen, strict=True)
        ]
        _, features = self.backbone(torch.cat(crops))
        return {
            "class": cross_entropy(self.class_logits(features).float(), torch.cat([wanted for _, wanted in chosen]))
        }

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `limit` objects above `score` in each picture, best first, in pixels of the network's input."""
        proposals = torch.cat(raw.proposals)
        if self.completed.any():
            scores = torch.sigmoid(3 * raw.margins)
            boxes = decode(raw.box_offsets, proposals).view(-1, len(self.classes), 4)
        else:
            scores = raw.class_logits.softmax(1)[:, 1:]
            boxes = proposals[:, None].expand(-1, len(self.classes), -1)
        counts = [len(own) for own in raw.proposals]
        found = (
            selected(*picture, size=size, score=score, threshold=self.threshold, limit=self.limit)
            for *picture, size in zip(
                torch.split(boxes, counts), torch.split(scores, counts), images.sizes, strict=True
            )
        )
        return [Detections(boxes, labels, scores, self.classes) for boxes, labels, scores in found]

    def complete(self, batches: Iterable[tuple[Images, Sequence[Target]]], *, cache: Path | None = None) -> None:
        """Fit the SVMs and the box regressors to the CNN as it is, on pictures without random changes, seen once.

        cache: where a temporary folder for the features is made, the system's if left out; a region takes two bytes for
        each feature, 16 MB a picture of 2,000 regions. A class that the pictures do not show is never detected.
        """
        with layers.inference(self), TemporaryDirectory(dir=cache, prefix="siseon-") as folder:
            files: list[Path] = []
            for images, targets in batches:
                proposals = self.proposals(images)
                for index, target in enumerate(targets):
                    files.append(Path(folder) / f"{len(files)}.npz")
                    one = Images(images.tensor[index : index + 1], images.sizes[index : index + 1])
                    np.savez(files[-1], allow_pickle=False, **self._example(one, proposals[index], target))
            svms = fitted_svms(files, classes=len(self.classes), width=self.backbone.width)
            regressors = fitted_regressors(files, classes=len(self.classes), width=self.backbone.pooled)
        names = ("svm_weight", "svm_bias", "completed", "regressor_weight", "regressor_bias")
        for name, values in zip(names, (*svms, *regressors), strict=True):
            getattr(self, name).copy_(torch.from_numpy(values))

    def _described(self, images: Images, boxes: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """pool5 and fc7 of the boxes of each picture, in their order, CHUNK by CHUNK."""
        pixels = images.normalised(self.mean, self.deviation)
        for picture, size, own in zip(pixels, images.sizes, boxes, strict=True):
            for some in torch.split(own, CHUNK):
                with stage("regions"):
                    crops = warp(picture, size, some, crop=self.crop, context=self.context)
                with stage("features"):
                    described = self.backbone(crops)
                yield described

    def _chosen(self, proposals: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """What to learn from one picture: boxes [samples, 4] and their outputs [samples]. True boxes join the rest."""
        boxes = torch.cat((proposals, target.boxes[~target.crowd].to(proposals)))
        index = assign(boxes, target, high=0.5, low=0.5, keep_best=False)
        positive, negative = sample(
            index >= 0, index == BACKGROUND, count=self.samples, positive_share=self.positive_share
        )
        outputs = torch.cat((target.labels[index[positive]] + 1, torch.zeros_like(negative)))
        return boxes[torch.cat((positive, negative))], outputs

    def _example(self, images: Images, proposals: Tensor, target: Target) -> dict[str, np.ndarray]:
        """What the SVMs and the regressors learn from one picture.

        features float16 [boxes, width] of the true boxes, of `labels`, then of the proposals; negative bool
        [boxes, classes]: for which SVMs a box is a negative; of those proposals that overlap an object by 0.6 the pool5
        as `pooled` float16, the label of the object as `kinds` and `offsets` to it.
        """
        objects, labels = target.boxes[~target.crowd].to(proposals), target.labels[~target.crowd]
        boxes = torch.cat((objects, proposals))
        described = list(self._described(images, [boxes]))
        pooled, features = (torch.cat([chunk[part] for chunk in described]) for part in range(2))
        overlaps = boxes.new_zeros(len(boxes), len(self.classes))
        for label, box in zip(target.labels.tolist(), target.boxes.to(boxes), strict=True):
            overlaps[:, label] = torch.maximum(overlaps[:, label], overlap(box[None], boxes)[0])
        free = (covered(boxes, target.boxes[target.crowd].to(boxes)) < 0.5).all(1)
        index = assign(proposals, target, high=0.6, low=0.6, keep_best=False)
        near = torch.nonzero(index >= 0)[:, 0]
        example = {
            "features": features.half(),
            "labels": labels,
            "negative": (overlaps < 0.3) & free[:, None],
            "pooled": pooled[len(objects) :][near].half(),
            "kinds": target.labels[index[near]],
            "offsets": encode(target.boxes[index[near]].to(boxes), proposals[near]),
        }
        return {name: values.cpu().numpy() for name, values in example.items()}


def warp(picture: Tensor, size: Size, boxes: Tensor, *, crop: int, context: int) -> Tensor:
    """The boxes of one normalised picture [3, height, width], each warped to [3, crop, crop]; appendix A.

    size: of the picture without its padding. `context` pixels on each side of a warped region lie outside of its box;
    what lies outside of the picture is 0, the mean colour.
    """
    grown = to_center(boxes)
    grown[:, 2:] *= crop / (crop - 2 * context)
    with torch.no_grad():
        own = picture[None, :, : size[0], : size[1]].float()
        return roi_align(own, [from_center(grown)], output=crop, scale=1.0, samples=0, aligned=True)


def selected(
    boxes: Tensor, scores: Tensor, *, size: Size, score: float, threshold: float, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the boxes [boxes, classes, 4] with scores [boxes, classes], those above `score` that NMS per class leaves.

    Boxes [objects, 4], cut to the picture, labels and scores, best first, at most `limit`.
    """
    which, labels = torch.nonzero(scores > score, as_tuple=True)
    boxes, scores = clip(boxes[which, labels], size), scores[which, labels]
    some = large_enough(boxes, 1e-2)
    boxes, scores, labels = boxes[some], scores[some], labels[some]
    best = nms_by_group(boxes, scores, labels, threshold, limit=limit)
    return boxes[best], labels[best], scores[best]


def rcnn(
    *,
    classes: int | Sequence[str] = 20,
    backbone: str = "alexnet",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    crop: int = 227,
    context: int = 16,
    grid: int = 6,
    hidden: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    mode: Mode = "fast",
    proposals: int = 2000,
    folder: str | None = None,
    box_samples: int = 16,
    positive_share: float = 0.25,
    threshold: float = 0.3,
    limit: int = 100,
    sizing: tuple[int, int, int] = Sizing(500, 500, 1),
) -> RCNN:
    """R-CNN on one of ALEXNETS or bodies.BODIES. Raises RecipeError for a backbone that does not exist.

    classes: a count or the names, without the background; backbone_options: more arguments of the body; frozen: how
    many stages, with the stem, are not trained; freeze_norm: keep the batch norm of the backbone as loaded; crop and
    context: pixels of a side of a warped region, and how many of them lie outside of the proposal on each side; grid:
    cells of a side of pool5; hidden, dropout: the units of fc6, fc7, and the share of them dropped in training; mode,
    proposals, folder: of Selective Search, how many boxes a picture at most, and where they are kept from run to run;
    box_samples: learnt per picture, of them at most `positive_share` objects; threshold: of NMS; limit: detections per
    picture; sizing: (shorter side, longer side, multiple) in pixels.
    """
    known = ALEXNETS.get(backbone)
    body = (
        body_of(backbone, backbone_options) if known is None else AlexNetBody(**{**known, **(backbone_options or {})})
    )
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    return RCNN(
        Proposals(mode=mode, limit=proposals, folder=None if folder is None else Path(folder)),
        RegionNetwork(body, grid=grid, hidden=hidden, dropout=dropout),
        classes=classes,
        sizing=Sizing(*sizing),
        crop=crop,
        context=context,
        samples=box_samples,
        positive_share=positive_share,
        threshold=threshold,
        limit=limit,
    )


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "rcnn": {},
    "rcnn_mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "crop": 96,
        "context": 7,
        "grid": 3,
        "hidden": (),
        "proposals": 300,
        "sizing": (320, 640, 1),
    },
    "rcnn_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "crop": 48,
        "context": 4,
        "grid": 2,
        "hidden": (),
        "mode": "single",
        "proposals": 100,
        "sizing": (160, 256, 1),
    },
}
"""Name -> arguments of `rcnn`."""
