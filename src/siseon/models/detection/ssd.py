"""SSD: Single Shot MultiBox Detector (Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg 2016, arXiv:1512.02325).

Idea    No proposals: every cell of several maps, from fine to coarse, says at once what is in each of its default boxes
        and how the box must move. Fine maps find small objects, coarse maps large ones.
Flow    300x300 -> VGG-16 -> conv4_3, fc7, then ever smaller maps by convolution: 38, 19, 10, 5, 3, 1 cells a side ->
        a 3x3 convolution on each: class logits and offsets of 8,732 default boxes -> NMS per class
Here    Figure 2: fc6 and fc7 as convolutions, fc6 dilated; conv4_3 with its length normalised to a learnt scale; hard
        negatives 3 to 1 (section 2.2). The default boxes are those for COCO (section 3.4); a box that is the best of
        two objects learns the one that it overlaps more. Deviation: no random crops by overlap (section 2.2, data
        augmentation); training changes pictures as it does for every detector.
        ssd300_vgg16 is torchvision's network to the number: 35,641,826 parameters with 90 classes. Its cells stand
        8, 16, 32, 64, 100 and 300 pixels apart, as in the authors' code, and its weights take colours 0..255 less
        their mean; ssd divides the side by the cells and takes ImageNet's colours, so that weights="imagenet" fits it.
        On another body the maps are its stages from stride 8 on, and every further layer halves. ssd_mobilenet_v2 is
        for speed; ssd_mini has the same parts, thin, for pictures of 160 pixels with objects of 10 to 80.

Outputs have one class more than the model: index 0 is the background, index i + 1 the label i.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon import layers
from siseon.boxes.geometry import clip, decode, encode, from_center, large_enough
from siseon.boxes.matching import BACKGROUND
from siseon.boxes.nms import nms_by_group
from siseon.interface import Detections, Images, RecipeError, Size, Stretch, Target
from siseon.layers import Body, check_size, conv_norm_relu
from siseon.losses import smooth_l1
from siseon.models.classification.classifier import IMAGENET_DEVIATION, IMAGENET_MEAN
from siseon.models.classification.vgg import VGGBody
from siseon.models.detection.bodies import body_of
from siseon.models.detection.detector import Detector, assign
from siseon.models.detection.rpn import rows
from siseon.stages import stage

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the four offsets: the inverse of the authors' "variances" 0.1 and 0.2."""


class Outputs(NamedTuple):
    """What SSD.forward gives; default boxes are ordered by level, row, column, shape."""

    features: list[Tensor]
    """[batch, channels, height, width] a level."""
    class_logits: Tensor
    """[batch, default boxes, classes + 1], background first."""
    offsets: Tensor
    """[batch, default boxes, 4]."""
    boxes: Tensor
    """The default boxes [default boxes, 4], in pixels of the network's input."""


class Rescale(nn.Module):
    """Each cell's vector over the channels to length one, times a learnt scale of each channel (ParseNet, 2015)."""

    def __init__(self, channels: int, *, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.weight[:, None, None] * F.normalize(x)


class Maps(nn.Module):
    """The maps of SSD: stages `shown` of a body, the first rescaled, each `widened` if at all, then by `extra`."""

    def __init__(
        self,
        body: Body,
        extra: Sequence[nn.Module],
        *,
        shown: slice,
        rescale: bool,
        widths: Sequence[int],
        widened: Sequence[nn.Module] = (),
        least: int = 1,
    ) -> None:
        super().__init__()
        self.body = body
        self.widened = nn.ModuleList(widened)
        self.rescale = Rescale(body.channels[shown][0]) if rescale else nn.Identity()
        self.extra = nn.ModuleList(extra)
        self.shown = shown
        self.channels = tuple(widths) if widened else (*body.channels[shown], *widths)
        self.least = least
        for module in (*self.widened.modules(), *self.extra.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps [batch, channels, height, width], finest first, of normalised images [batch, 3, height, width]."""
        check_size(images, least=self.least, network="SSD on VGG")
        stages = self.body.features(images)
        maps = stages[self.shown]
        maps[0] = self.rescale(maps[0])
        if self.widened:
            maps = [widen(each) for widen, each in zip(self.widened, maps, strict=True)]
        x = stages[-1]
        for layer in self.extra:
            x = layer(x)
            maps.append(x)
        return maps


def vgg_maps(body: VGGBody, widths: Sequence[int], *, norm: bool) -> Maps:
    """Figure 2: conv4_3, fc7, and convolutions to `widths`, of which the first two halve, the others cut a border."""
    for module in body.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True  # 75 cells become 38, as in the paper
    body.end_at(3)  # without the last pooling, which is another here
    deep = 2 * body.channels[-1]
    sixth = nn.Conv2d(body.channels[-1], deep, 3, padding=6, dilation=6)
    first = nn.Sequential(nn.MaxPool2d(3, 1, 1), sixth, nn.ReLU(), nn.Conv2d(deep, deep, 1), nn.ReLU())
    halving = [number < 2 for number in range(len(widths))]
    extra = [first, *smaller_maps(deep, widths, halving=halving, norm=norm)]
    # conv10_2 and conv11_2 need five cells after conv9_2, which are nine before it and 17 of stride 16 before that
    return Maps(body, extra, shown=slice(1, 2), rescale=True, widths=(deep, *widths), least=257)


def body_maps(body: Body, widths: Sequence[int], *, first: int, wide: int, norm: bool) -> Maps:
    """The stages of any body from number `first` on, and convolutions to `widths`, each halving.

    wide: the channels to which the stages are brought, 0 leaves them.
    """
    extra = smaller_maps(body.channels[-1], widths, halving=[True] * len(widths), norm=norm)
    widened = [conv_norm_relu(channels, wide) for channels in body.channels[first:] if wide]
    widths = (*[wide] * len(widened), *widths)
    return Maps(body, extra, shown=slice(first, None), rescale=False, widths=widths, widened=widened)


def smaller_maps(channels: int, widths: Sequence[int], *, halving: Sequence[bool], norm: bool) -> list[nn.Module]:
    """For each of `widths` a 1x1 convolution to half of it and a 3x3 one that halves the map or cuts its border."""
    steps: list[nn.Module] = []
    for width, halves in zip(widths, halving, strict=True):
        stride, padding = (2, 1) if halves else (1, 0)
        parts: list[nn.Module] = []
        for convolution in (
            nn.Conv2d(channels, width // 2, 1),
            nn.Conv2d(width // 2, width, 3, stride=stride, padding=padding),
        ):
            parts += [convolution, *([nn.GroupNorm(8, convolution.out_channels)] if norm else []), nn.ReLU()]
        steps.append(nn.Sequential(*parts))
        channels = width
    return steps


class SSD(Detector[Outputs]):
    """The maps, and for each a convolution to class logits and one to offsets.

    scales: the side of a square default box of each level, as a share of the picture's side, and one more; ratios: for
    each level the ratios of sides other than 1; steps: see `ssd`; negatives_per_positive: how many background boxes
    are learnt for each box with an object, the hardest; None: all; limit: detections per picture.
    """

    def __init__(
        self,
        backbone: Maps,
        *,
        classes: int | Sequence[str],
        size: int,
        scales: Sequence[float],
        ratios: Sequence[Sequence[float]],
        steps: Sequence[float] | None = None,
        negatives_per_positive: float | None = 3.0,
        threshold: float = 0.45,
        count: int = 400,
        limit: int = 200,
    ) -> None:
        super().__init__(classes=classes, sizing=Stretch(size, size, 1))
        self.backbone = backbone
        self.sides = default_sides(scales, ratios)
        self.steps = None if steps is None else (size, tuple(steps))
        self.negatives_per_positive = negatives_per_positive
        self.threshold = threshold
        self.count = count
        self.limit = limit
        outputs = [(width, len(sides)) for width, sides in zip(backbone.channels, self.sides, strict=True)]
        names = len(self.classes) + 1
        self.class_logits = nn.ModuleList(nn.Conv2d(width, boxes * names, 3, padding=1) for width, boxes in outputs)
        self.offsets = nn.ModuleList(nn.Conv2d(width, boxes * 4, 3, padding=1) for width, boxes in outputs)
        for module in (*self.class_logits, *self.offsets):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, images: Images | Tensor | Sequence[Tensor]) -> Outputs:
        """The raw outputs for RGB images 0..1 at network size."""
        images = Images.of(images, self.sizing.multiple)
        with stage("features"):
            features = self.backbone.features(images.normalised(self.mean, self.deviation))
        with stage("head"):
            names = len(self.classes) + 1
            logits = [rows(layer(level), names) for layer, level in zip(self.class_logits, features, strict=True)]
            offsets = [rows(layer(level), 4) for layer, level in zip(self.offsets, features, strict=True)]
            boxes = self.default_boxes(features, (images.tensor.shape[-2], images.tensor.shape[-1]))
            return Outputs(features, torch.cat(logits, 1), torch.cat(offsets, 1), boxes)

    def default_boxes(self, features: Sequence[Tensor], size: Size) -> Tensor:
        """The default boxes [default boxes, 4] of all levels, for a batch of `size`."""
        cells = tuple((level.shape[-2], level.shape[-1]) for level in features)
        steps = None if self.steps is None or size != (self.steps[0],) * 2 else self.steps[1]
        return default_boxes(cells, size, self.sides, steps, self.mean.device)

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """{"class", "box"} for RGB images 0..1 at network size and their true objects: equation 1."""
        raw = self(images)
        index = torch.stack([assign(raw.boxes, target, high=0.5, low=0.5, keep_best=True) for target in targets])
        outputs, moved, wanted = torch.zeros_like(index), [], []
        for own, offsets, output, target in zip(index, raw.offsets, outputs, targets, strict=True):
            positive = torch.nonzero(own >= 0)[:, 0]
            output[positive] = target.labels[own[positive]] + 1
            moved.append(offsets[positive])
            wanted.append(encode(target.boxes[own[positive]], raw.boxes[positive], WEIGHTS))
        losses = F.cross_entropy(raw.class_logits.flatten(0, 1), outputs.flatten(), reduction="none").view_as(index)
        negative = index == BACKGROUND
        if self.negatives_per_positive is not None:
            negative = hardest(losses.detach(), negative, self.negatives_per_positive * (index >= 0).sum(1))
        count = (index >= 0).sum().clamp(min=1)
        return {
            "class": losses[(index >= 0) | negative].sum() / count,
            "box": smooth_l1(torch.cat(moved), torch.cat(wanted)) / count,
        }

    def detections(self, raw: Outputs, images: Images, score: float) -> list[Detections]:
        """At most `limit` objects above `score` in each picture, best first, in pixels of the network's input."""
        return [
            self._best(*picture, raw.boxes, score)
            for picture in zip(raw.class_logits, raw.offsets, images.sizes, strict=True)
        ]

    def _best(self, logits: Tensor, offsets: Tensor, size: Size, defaults: Tensor, score: float) -> Detections:
        """The objects in one picture of `size`: the best `count` boxes of each class enter NMS."""
        by_class = logits.softmax(1)[:, 1:].T.contiguous()
        scores, which = by_class.topk(min(self.count, by_class.shape[1]), dim=1)
        labels, places = torch.nonzero(scores > score, as_tuple=True)
        scores, which = scores[labels, places], which[labels, places]
        boxes = clip(decode(offsets[which], defaults[which], WEIGHTS), size)
        some = large_enough(boxes, 1e-2)
        boxes, labels, scores = boxes[some], labels[some], scores[some]
        kept = nms_by_group(boxes, scores, labels, self.threshold, limit=self.limit)
        return Detections(boxes[kept], labels[kept], scores[kept], self.classes)


def hardest(losses: Tensor, negative: Tensor, counts: Tensor) -> Tensor:
    """Which background boxes are learnt, bool [batch, boxes]: in each picture the `counts` of greatest loss.

    losses, negative (bool): [batch, boxes]; counts: [batch].
    """
    order = losses.masked_fill(~negative, -torch.inf).argsort(1, descending=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return negative & (rank < counts[:, None])


Sides: TypeAlias = tuple[tuple[float, float], ...]
"""The (width, height) of each default box of a cell, as shares of the picture's."""


def default_sides(scales: Sequence[float], ratios: Sequence[Sequence[float]]) -> tuple[Sides, ...]:
    """Section 2.2, "choosing scales and aspect ratios for default boxes": the sides for each level.

    A square of the level's scale, one of the geometric mean with the next level's, and for each ratio one lying and one
    standing; none longer than the picture.
    """
    levels = []
    for scale, following, level in zip(scales, scales[1:], ratios, strict=False):
        square = math.sqrt(scale * following)
        sides = [(scale, scale), (square, square)]
        for ratio in level:
            long, short = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            sides += [(long, short), (short, long)]
        levels.append(tuple((min(width, 1.0), min(height, 1.0)) for width, height in sides))
    return tuple(levels)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # a tensor born in inference mode could not be used for training later
def default_boxes(
    cells: tuple[Size, ...], size: Size, sides: tuple[Sides, ...], steps: tuple[float, ...] | None, device: torch.device
) -> Tensor:
    """The default boxes [boxes, 4] in pixels of a picture of `size`, by level, row, column, shape.

    cells: (rows, columns) of each level; steps: pixels from one cell to the next, or None to divide the picture evenly.
    """
    levels = []
    for number, ((height, width), shapes) in enumerate(zip(cells, sides, strict=True)):
        down, across = (size[0] / height, size[1] / width) if steps is None else (steps[number],) * 2
        y, x = torch.meshgrid((torch.arange(height) + 0.5) * down, (torch.arange(width) + 0.5) * across, indexing="ij")
        centres = torch.stack([x, y], 2).view(-1, 1, 2).expand(-1, len(shapes), 2)
        lengths = (torch.tensor(shapes) * torch.tensor([size[1], size[0]])).expand(height * width, -1, 2)
        levels.append(from_center(torch.cat([centres, lengths], 2).view(-1, 4)))
    return torch.cat(levels).to(device)


def ssd(
    *,
    classes: int | Sequence[str] = 90,
    backbone: str = "vgg16",
    backbone_options: Mapping[str, Any] | None = None,
    frozen: int = 0,
    freeze_norm: bool = False,
    first_level: int = 1,
    wide: int = 0,
    extra: Sequence[int] = (512, 256, 256, 256),
    norm: bool = False,
    scales: Sequence[float] = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    ratios: Sequence[Sequence[float]] = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    steps: Sequence[float] | None = None,
    negatives_per_positive: float | None = 3.0,
    limit: int = 200,
    size: int = 300,
    mean: Sequence[float] = IMAGENET_MEAN,
    deviation: Sequence[float] = IMAGENET_DEVIATION,
) -> SSD:
    """SSD on one of bodies.BODIES. Raises RecipeError for a backbone or default boxes that do not fit.

    classes: a count or the names, without the background; backbone_options: more arguments of the body; frozen: how
    many stages, with the stem, are not trained; freeze_norm: keep the batch norm of the backbone as loaded;
    first_level: the stage that is the finest map (1 is stride 8; VGG's is always conv4_3); wide: channels to which a
    3x3 convolution brings the maps of other bodies, whose stages end narrow, before their boxes, 0 for none; extra:
    channels of the maps behind the body; norm: normalise those, for training from nothing; scales: of the default boxes
    of each level, as shares of the side, and one more; ratios: for each level the ratios of their sides beside 1;
    steps: pixels from one cell to the next at each level for pictures of `size`, else the side divided by the cells;
    negatives_per_positive: hard background boxes learnt for each box of an object, None for all there are; limit:
    detections per picture; size: pixels of the square to which pictures are stretched; mean, deviation: of RGB 0..1,
    the input's scale.
    """
    body = body_of(backbone, backbone_options)
    if freeze_norm:
        layers.freeze_norm(body)
    body.freeze(frozen)
    if isinstance(body, VGGBody):
        maps = vgg_maps(body, extra, norm=norm)
    else:
        maps = body_maps(body, extra, first=first_level, wide=wide, norm=norm)
    levels = len(maps.channels)
    if len(ratios) != levels or len(scales) != levels + 1 or len(steps or ratios) != levels:
        raise RecipeError(
            f"{len(scales)} scales and {len(ratios)} lists of ratios do not fit {levels} maps",
            f"Give {levels + 1} scales, {levels} lists of ratios and, if any, {levels} steps",
        )
    model = SSD(
        maps,
        classes=classes,
        size=size,
        scales=scales,
        ratios=ratios,
        steps=steps,
        negatives_per_positive=negatives_per_positive,
        limit=limit,
    )
    model.mean, model.deviation = torch.tensor(mean), torch.tensor(deviation)
    return model


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\.scale_weight", r"backbone.rescale.weight"),
    (r"backbone\.features\.0\.(.+)", r"backbone.body.stem.\1"),
    (r"backbone\.features\.(\d+)\.(.+)", r"backbone.body.layers.\1.\2"),
    *((rf"backbone\.extra\.0\.{k}\.(weight|bias)", rf"backbone.body.layers.{k + 23}.\1") for k in (1, 3, 5)),
    (r"backbone\.extra\.0\.7\.(.+)", r"backbone.extra.0.\1"),
    (r"backbone\.extra\.(.+)", r"backbone.extra.\1"),
    (r"head\.classification_head\.module_list\.(.+)", r"class_logits.\1"),
    (r"head\.regression_head\.module_list\.(.+)", r"offsets.\1"),
)
"""(pattern of a whole torchvision name, our name), on VGG-16."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "ssd": {},
    "ssd300_vgg16": {
        "steps": (8, 16, 32, 64, 100, 300),
        "mean": (0.48235, 0.45882, 0.40784),
        "deviation": (1 / 255, 1 / 255, 1 / 255),
    },
    "ssd_mobilenet_v2": {"backbone": "mobilenet_v2", "wide": 192, "extra": (512, 256, 256), "norm": True, "size": 320},
    "ssd_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "extra": (128,),
        "norm": True,
        "scales": (0.12, 0.22, 0.36, 0.55, 0.75),
        "ratios": ((2,), (2,), (2,), (2,)),
        "size": 160,
    },
}
"""Name -> arguments of `ssd`."""
