"""Detectors of two stages in ONNX: Faster R-CNN, Mask R-CNN and their refined form.

Flow    one picture [1, 3, height, width] -> maps, the best boxes of each level -> suppression -> proposals
        -> RoIAlign from the level of each -> class and box -> suppression -> boxes, labels, scores
        -> RoIAlign of the final boxes -> masks [k, 28, 28], 0..1 over their boxes (Mask R-CNN)
Here    How many proposals there are, the picture decides. What a trace cannot follow stands here as ONNX's own text:
        NonMaxSuppression, the choice of the level, RoiAlign or MaxRoiPool. Everything between is traced from the model
        for any number of boxes, and the parts are joined by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from siseon.boxes.geometry import LARGEST_GROWTH, clip, decode, large_enough, to_center
from siseon.boxes.roi import roi_align
from siseon.export_parts import SELECTION, Graph, Part, Piece, joined, translated
from siseon.interface import Images, Size
from siseon.models.detection import rpn
from siseon.models.detection.fast_rcnn import WEIGHTS, BoxHead
from siseon.models.detection.faster_rcnn import FasterRCNN
from siseon.models.detection.mask_rcnn import MaskHead, MaskRCNN
from siseon.models.detection.refine_rcnn import RefineRCNN

if TYPE_CHECKING:
    from onnx import ModelProto

TwoStage: TypeAlias = FasterRCNN | MaskRCNN | RefineRCNN
"""What can be exported here."""

LEAST_PROPOSAL, LEAST_MOVED, LEAST_SIDE = 1e-3, 1.0, 1e-2
"""Pixels; a proposal and a detection with a shorter side are dropped, a box is not moved to one."""

CANONICAL_SIZE, CANONICAL_LEVEL, NEARLY = 224.0, 4, 1e-6
"""As in boxes.roi.pyramid_level."""


def network_of(model: TwoStage, size: Size, *, score: float) -> tuple[ModelProto, float]:
    """The whole detector for one picture of `size`, and how far its parts are from torch's at most.

    Outputs: boxes [k, 4] in pixels of the input, labels [k], scores [k], best first; of a Mask R-CNN also masks
    [k, 28, 28]. score: least score of a detection.
    """
    name = type(model).__name__
    strides = model.backbone.strides[: model.backbone.region_levels]
    maps = Maps(model, size)
    network, difference = translated(maps, of=name)
    proposals = {"all_boxes": "candidates", "all_scores": "objectness", "boxes": "looked_0"}
    proposals |= {"labels": "levels", "scores": "scores_of_proposals"}
    parts = [
        Part(network, {}),
        Part.of(SELECTION, names=proposals, limit=model.counts[1], threshold=model.rpn.threshold, score=0.0),
    ]
    regions = maps.regions(model.head)
    for look, piece in enumerate(looks(model, size, regions)):
        parts.append(pooling(model.head, strides, boxes=f"looked_{look}", regions=f"regions_{look}"))
        network, own = translated(piece, of=name)
        parts.append(Part(network, {}))
        difference = max(difference, own)
    parts.append(Part.of(SELECTION, limit=model.head.limit, threshold=model.head.threshold, score=score))
    outputs = ["boxes", "labels", "scores"]
    if isinstance(model, MaskRCNN):
        parts.append(pooling(model.mask_head, strides, boxes="boxes", regions="regions_of_masks"))
        network, own = translated(masks(model, maps.regions(model.mask_head)), of=name)
        parts.append(Part(network, {}))
        difference = max(difference, own)
        outputs.append("masks")
    return joined(parts, inputs=["images"], outputs=outputs), difference


# --- what is traced -----


class Maps(Graph):
    """From a picture to the maps that regions are cut from, and the best boxes of each level with their objectness.

    candidates [1, n, 4]; objectness [1, levels, n], 0 where a box is of another level.
    """

    inputs = ("images",)
    unordered = ("candidates", "objectness")

    def __init__(self, model: TwoStage, size: Size) -> None:
        super().__init__()
        self.model = model
        self.size = size
        self.levels = model.backbone.region_levels
        self.names = ("candidates", "objectness", *(f"map_{level}" for level in range(self.levels)))

    def example(self) -> tuple[Tensor]:  # noqa: D102
        return (torch.rand(1, 3, *self.size, generator=torch.Generator().manual_seed(0)),)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        model = self.model
        features = model.backbone.features(Images.of(images).normalised(model.mean, model.deviation))
        objectness, offsets = model.rpn(features)
        anchors = model.rpn.anchors(features, self.size)
        boxes, scores = [], []
        for logits, shifts, fixed in zip(objectness, offsets, anchors, strict=True):
            flat = rpn.rows(logits, 1)[0, :, 0]
            best, chosen = flat.topk(min(model.counts[0], len(flat)))
            level = clip(decode(rpn.rows(shifts, 4)[0][chosen], fixed[chosen], rpn.WEIGHTS), self.size)
            boxes.append(level)
            scores.append(torch.where(large_enough(level, LEAST_PROPOSAL), best.sigmoid(), 0))
        return torch.cat(boxes)[None], torch.block_diag(*scores)[None], *features[: self.levels]  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def regions(self, head: BoxHead | MaskHead) -> tuple[Tensor, Tensor]:
        """Boxes of all levels, to trace the heads with, and their features."""
        height, width = self.size
        whole = torch.tensor([0.0, 0.0, width, height])
        boxes = torch.stack([whole, whole / 2, whole * 0.3 + 5, whole * 0.1 + 9, whole * 0.04 + 3])
        maps = self(*self.example())[2:]
        return boxes, head.pool(maps, [boxes], self.model.backbone.strides[: self.levels])


def looks(model: TwoStage, size: Size, example: tuple[Tensor, Tensor]) -> list[Piece]:
    """The head on the regions of its boxes: once, or each time that a refining network looks.

    Look n takes looked_n [k, 4] and regions_n; one before the last gives looked_n+1 and logits_n, the last all_boxes
    [classes, k, 4] and all_scores [classes, 1, k].
    """
    boxes, regions = example
    refinements = model.refinements if isinstance(model, RefineRCNN) else 0

    def look(boxes: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        logits, offsets = model.head(regions)
        likeliest = 1 + logits[:, 1:].argmax(1)
        after = decoded(offsets, boxes).gather(1, likeliest[:, None, None].expand(-1, 1, 4))[:, 0]
        after = clip(after, size)
        return torch.where(large_enough(after, LEAST_MOVED)[:, None], after, boxes), logits

    def judge(boxes: Tensor, regions: Tensor, *earlier: Tensor) -> tuple[Tensor, Tensor]:
        logits, offsets = model.head(regions)
        logits = torch.stack([*earlier, logits]).mean(0) if earlier else logits
        found = decoded(offsets, boxes)[:, 1:].transpose(0, 1)
        found = clip(found.flatten(0, 1), size)
        scores = logits.softmax(1)[:, 1:].T
        scores = torch.where(large_enough(found, LEAST_SIDE).view_as(scores), scores, 0)
        return found.view(*scores.shape, 4), scores[:, None]

    pieces = [
        Piece(
            model.head,
            look,
            inputs={f"looked_{number}": boxes, f"regions_{number}": regions},
            names=(f"looked_{number + 1}", f"logits_{number}"),
        )
        for number in range(refinements)
    ]
    logits = model.head(regions)[0].detach()
    last = {f"looked_{refinements}": boxes, f"regions_{refinements}": regions}
    last |= {f"logits_{number}": logits for number in range(refinements)}
    return [*pieces, Piece(model.head, judge, inputs=last, names=("all_boxes", "all_scores"))]


def decoded(offsets: Tensor, boxes: Tensor) -> Tensor:
    """boxes.geometry.decode for each class, [k, classes, 4]; that asks for len(boxes), which a trace would keep."""
    each = offsets.unflatten(1, (-1, 4)) / torch.tensor(WEIGHTS)  # type: ignore[no-untyped-call]
    box = to_center(boxes)[:, None]
    center = box[..., :2] + each[..., :2] * box[..., 2:]
    half = torch.exp(each[..., 2:].clamp(max=LARGEST_GROWTH)) * box[..., 2:] / 2
    return torch.cat([center - half, center + half], 2)


def masks(model: MaskRCNN, example: tuple[Tensor, Tensor]) -> Piece:
    """The mask of the label of each region."""
    regions = example[1]

    def drawn(regions: Tensor, labels: Tensor) -> tuple[Tensor]:
        # one region more, because onnxruntime cannot normalise none
        logits = model.mask_head(torch.cat([regions, regions.new_zeros(1, *regions.shape[1:])]))[:-1]
        return (logits[torch.arange(labels.shape[0]), labels + 1].sigmoid(),)

    labels = torch.arange(len(regions)) % len(model.classes)
    return Piece(model.mask_head, drawn, inputs={"regions_of_masks": regions, "labels": labels}, names=("masks",))


# --- what is written in ONNX's own text -----


POOLING = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
pooling (float[k, 4] boxes{maps}) => (float[k, c, p, p] regions)
<int64[1] first = {{0}}, int64[1] across = {{1}}, int64[2] corners = {{0, 1}}, int64[2] opposite = {{2, 3}},
 float[{count}] edges = {{{edges}}}>
{{
    near = Gather <axis = 1> (boxes, corners)
    far = Gather <axis = 1> (boxes, opposite)
    sides = Sub (far, near)
    area = ReduceProd <keepdims = 1> (sides, across)
    side = Sqrt (area)
    passed = GreaterOrEqual (side, edges)
    steps = Cast <to = 7> (passed)
    level = ReduceSum <keepdims = 0> (steps, across)
{levels}
    order = Concat <axis = 0> ({places})
    pooled = Concat <axis = 0> ({pieces})
    all = Shape <start = 0, end = 1> (boxes)
    count = Squeeze (all)
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    numbers = Range (zero, count, one)
    back = ScatterElements (order, order, numbers)
    regions = Gather (pooled, back)
}}
"""
"""Each level pools the boxes that are its own; `back` leads to their order. edges: the least side on each level."""

LEVEL = """
    number{n} = Constant <value_int = {n}> ()
    own{n} = Equal (level, number{n})
    where{n} = NonZero (own{n})
    place{n} = Squeeze (where{n}, first)
    boxes{n} = Gather (boxes, place{n})
    picture{n} = Sub (place{n}, place{n})
{pool}"""

ALIGN = """\
    piece{n} = RoiAlign <mode = "avg", coordinate_transformation_mode = "output_half_pixel", output_height = {pooled},
        output_width = {pooled}, sampling_ratio = 2, spatial_scale = {scale:.9g}> (map_{n}, boxes{n}, picture{n})"""

LARGEST = """\
    column{n} = Unsqueeze (picture{n}, across)
    index{n} = Cast <to = 1> (column{n})
    rows{n} = Concat <axis = 1> (index{n}, boxes{n})
    piece{n} = MaxRoiPool <pooled_shape = [{pooled}, {pooled}], spatial_scale = {scale:.9g}> (map_{n}, rows{n})"""


def pooling(head: BoxHead | MaskHead, strides: Sequence[int], *, boxes: str, regions: str) -> Part:
    """The features of each of `boxes` from the map of its level: `head.pool` of one picture."""
    numbers = range(len(strides))
    pool = ALIGN if head.pooling is roi_align else LARGEST
    levels = [LEVEL.format(n=n, pool=pool.format(n=n, pooled=head.pooled, scale=1 / strides[n])) for n in numbers]
    least = [CANONICAL_SIZE * 2 ** (stride.bit_length() - 1 - CANONICAL_LEVEL - NEARLY) for stride in strides[1:]]
    names: Mapping[str, str] = {"boxes": boxes, "regions": regions}
    return Part.of(
        POOLING,
        names=names,
        maps="".join(f", float[1, c, h{n}, w{n}] map_{n}" for n in numbers),
        count=len(least),
        edges=", ".join(f"{side:.9g}" for side in least),
        levels="".join(levels),
        places=", ".join(f"place{n}" for n in numbers),
        pieces=", ".join(f"piece{n}" for n in numbers),
    )
