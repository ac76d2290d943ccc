"""`export(model, "model.onnx")`: one file that other programs run, without siseon and without torch.

Flow    model -> torch.export -> ONNX -> for a detector the selection: non-maximum suppression, the best first ->
        class names, size rule and task as metadata -> run by onnxruntime beside torch, and the difference
Here    A classifier takes RGB 0..1 [batch, 3, crop, crop], any batch, and gives logits; it normalises itself. A
        one-stage detector takes one picture [1, 3, height, width] of a fixed size and gives boxes [k, 4] in its pixels,
        labels [k] and scores [k], best first: what `predict` finds in a picture of that size. Two-stage detectors are
        refused: which regions their head sees depends on the picture.

The models know nothing of this file: it calls what they have, and what it adds (top-k without holes, ONNX's
NonMaxSuppression) stands here.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from siseon import tensorfile
from siseon.boxes.geometry import clip, decode, large_enough
from siseon.exported import Exported, require
from siseon.interface import Images, SiseonError, Size, Stretch
from siseon.layers import inference
from siseon.models.classification.classifier import Classifier
from siseon.models.detection import ssd
from siseon.models.detection.detector import Detector
from siseon.models.detection.retinanet import RetinaNet
from siseon.models.detection.rpn import rows
from siseon.models.detection.ssd import SSD
from siseon.models.detection.yolo import YOLO, strides_of

if TYPE_CHECKING:
    from onnx import ModelProto

TOLERANCE = 1e-4
"""How far outputs may be from torch's, as a share of the largest output, or of 1 where all are smaller."""

OPSET, IR = 20, 10
"""The versions of ONNX's operators and of its file format that are written."""

LEAST_SIDE = 1e-2
"""Pixels; `detections` of every one-stage detector drops boxes with a shorter side."""

Candidates: TypeAlias = tuple[Tensor, Tensor]
"""Boxes [boxes, 4] in pixels of the input, and how sure each class is of each, [classes, boxes]; 0 never counts."""


@dataclass(frozen=True)
class Export:
    """A file that was written. difference: between its outputs and torch's, as TOLERANCE counts."""

    file: Path
    difference: float

    def __str__(self) -> str:
        return f"{self.file}: {megabytes(self.file)}, {self.difference:.1e} from torch at most"


def megabytes(file: Path) -> str:
    """How large a file is."""
    return f"{file.stat().st_size / 1e6:.2f} MB"


def export(model: nn.Module, out: Path | str, *, size: Size | None = None, score: float = 0.05) -> Export:
    """Write `model` as an ONNX file and run it once with onnxruntime.

    size: (height, width) in pixels of a detector's input; by default what a square picture becomes. score: least score
    of the detections that the file gives, 0 to 1. Raises SiseonError for a model that cannot be exported, a package
    that is missing and outputs that differ.
    """
    require("onnx", "onnxscript", "onnxruntime")
    file = Path(out)
    refuse_what_is_arranged(model)
    model = copy.deepcopy(model).cpu().eval()
    if isinstance(model, Classifier):
        graph: Graph = Logits(model)
        metadata: dict[str, Any] = {"input": "RGB 0..1 [batch, 3, height, width]", "size": size_rule(model)}
    elif isinstance(model, Detector):
        graph = Boxes(model, size or input_size(model))
        metadata = {"input": "RGB 0..1 [1, 3, height, width]", "size": size_rule(model, graph.size), "score": score}
    else:
        raise SiseonError(f"{type(model).__name__} is no classifier and no detector", "Export one of those")
    network, difference = translated(graph)
    if isinstance(graph, Boxes):
        network = with_selection(network, limit=graph.limit, threshold=graph.threshold, score=score)
    name = json.dumps(model.spec, ensure_ascii=False, default=list) if hasattr(model, "spec") else ""
    describe(network, {"task": model.task, "classes": model.classes, **metadata, "spec": name})
    file.parent.mkdir(parents=True, exist_ok=True)
    tensorfile.write_whole(file, [network.SerializeToString()])
    Exported(file).run(graph.example()[:1])
    return Export(file, difference)


def refuse_what_is_arranged(model: nn.Module) -> None:
    """Raise SiseonError for the work of `optimize`, whose layers are oneDNN's alone."""
    if any(type(module).__module__ == "siseon.optimization" for module in model.modules()):
        raise SiseonError("this model was arranged by optimize() for this processor", "Export the model it came from")


# --- what is traced -----


class Graph(nn.Module):
    """What becomes the file: `model` from RGB 0..1 to the tensors that `names` lists."""

    names: tuple[str, ...]

    def __init__(self, model: Any, size: Size) -> None:  # noqa: ANN401
        super().__init__()
        self.model = model
        self.size = size

    def example(self) -> Tensor:
        """Pictures of the right size: [2, 3, height, width]; one is enough for a fixed batch."""
        return torch.rand(2, 3, *self.size, generator=torch.Generator().manual_seed(0))


class Logits(Graph):
    """A classifier: any number of pictures, logits [batch, classes]."""

    names = ("logits",)

    def __init__(self, model: Classifier) -> None:
        super().__init__(model, (model.crop, model.crop))

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        mean, deviation = (each.view(3, 1, 1) for each in (self.model.mean, self.model.deviation))
        return self.model.logits((images - mean) / deviation)


class Boxes(Graph):
    """A detector: one picture, its candidates for the selection."""

    names = ("candidates", "confidence")

    def __init__(self, model: Detector[Any], size: Size) -> None:
        super().__init__(model, size)
        if type(model) not in CANDIDATES:
            raise SiseonError(
                f"{type(model).__name__} cannot be exported: its regions depend on the picture",
                "Export a detector of one stage: ssd, retinanet or yolo",
            )
        if any(side % model.sizing.multiple or side < 1 for side in size):
            raise SiseonError(
                f"an input of {size[0]} x {size[1]} pixels does not suit the model",
                f"Give a height and a width that are multiples of {model.sizing.multiple}",
            )
        self.limit: int = self.model.limit
        self.threshold: float = self.model.threshold

    def example(self) -> Tensor:  # noqa: D102
        return super().example()[:1]

    def forward(self, images: Tensor) -> Candidates:  # noqa: D102
        boxes, confidence = CANDIDATES[type(self.model)](self.model, Images.of(images))
        boxes = clip(boxes, self.size)
        confidence = torch.where(large_enough(boxes, LEAST_SIDE), confidence, 0)
        return boxes[None], confidence[None]


def of_ssd(model: SSD, images: Images) -> Candidates:
    """All default boxes; of each class only the best `count` are sure of anything."""
    raw = model(images)
    confidence = raw.class_logits[0].softmax(1)[:, 1:].T
    best, which = confidence.topk(min(model.count, confidence.shape[1]), dim=1)
    return decode(raw.offsets[0], raw.boxes, ssd.WEIGHTS), torch.zeros_like(confidence).scatter(1, which, best)


def of_retinanet(model: RetinaNet, images: Images) -> Candidates:
    """All anchors; of each level only the best `count` pairs of anchor and class are sure of anything."""
    raw = model(images)
    anchors = model.anchors(raw.features, images.sizes[0])
    boxes, confidence = [], []
    for logits, offsets, fixed in zip(raw.class_logits, raw.offsets, anchors, strict=True):
        flat = rows(logits, len(model.classes))[0].flatten()
        best, which = flat.topk(min(model.count, len(flat)))
        sure = torch.zeros_like(flat).scatter(0, which, best.sigmoid())
        confidence.append(sure.view(-1, len(model.classes)).T)
        boxes.append(decode(rows(offsets, 4)[0], fixed))
    return torch.cat(boxes), torch.cat(confidence, 1)


def of_yolo(model: YOLO, images: Images) -> Candidates:
    """All boxes of all cells."""
    raw = model(images)
    boxes = model.pixels(raw.boxes, strides_of(raw, images))[0].flatten(0, 2)
    confidence = raw.confidence[0].clamp(0, 1)[..., None] * raw.class_scores[0].clamp(0, 1)[..., None, :]
    return boxes, confidence.flatten(0, 2).T


CANDIDATES: Mapping[type[nn.Module], Callable[[Any, Images], Candidates]] = {
    SSD: of_ssd,
    RetinaNet: of_retinanet,
    YOLO: of_yolo,
}
"""Detector -> its candidates, in as many boxes for every picture."""


# --- the file -----


def translated(graph: Graph) -> tuple[ModelProto, float]:
    """The graph in ONNX, and how far its outputs are from torch's. Raises SiseonError above TOLERANCE."""
    images = graph.example()
    with inference(graph):
        expected = as_tuple(graph(images))  # before tracing: anchors that models keep must be real tensors
    batch = {0: torch.export.Dim("batch")} if isinstance(graph, Logits) else None
    with quietly(), torch.no_grad():
        program = torch.onnx.export(
            graph.eval(),
            (images,),
            input_names=["images"],
            output_names=list(graph.names),
            dynamic_shapes=(batch,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    network: ModelProto = program.model_proto
    network.ir_version = IR
    found = Exported.of(network.SerializeToString()).run(images)
    if isinstance(graph, Boxes):  # which of two equal boxes is among the best `count` is left to chance
        found[1], expected = found[1].flatten().sort().values, (expected[0], expected[1].flatten().sort().values)
    difference = max(map(apart, found, expected))
    if not difference <= TOLERANCE:
        raise SiseonError(
            f"the exported {type(graph.model).__name__} is {difference:.1e} from torch, more than {TOLERANCE}",
            "Report it with the versions that `siseon checks` names",
        )
    return network, difference


def as_tuple(outputs: Tensor | Candidates) -> tuple[Tensor, ...]:
    """One or several outputs as several."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def apart(found: Tensor, expected: Tensor) -> float:
    """The greatest difference as a share of the largest value, or of 1 where all are smaller."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporter's remarks about packages that it does not need."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


SELECTION = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
selection (float[groups, n, 4] all_boxes, float[groups, m, n] all_scores)
    => (float[k, 4] boxes, int64[k] labels, float[k] scores)
<int64[1] limit = {{{limit}}}, float[1] overlap = {{{threshold:.9g}}}, float[1] least = {{{score:.9g}}},
 int64[2] group_and_class = {{0, 1}}, int64[2] group_and_box = {{0, 2}}, int64[1] across = {{1}}>
{{
    kept = NonMaxSuppression (all_boxes, all_scores, limit, overlap, least)
    kept_scores = GatherND (all_scores, kept)
    box_places = Gather <axis = 1> (kept, group_and_box)
    kept_boxes = GatherND (all_boxes, box_places)
    either = Gather <axis = 1> (kept, group_and_class)
    kept_labels = ReduceSum <keepdims = 0> (either, across)
    there = Shape <start = 0, end = 1> (kept)
    count = Min (there, limit)
    scores, order = TopK (kept_scores, count)
    boxes = Gather (kept_boxes, order)
    labels = Gather (kept_labels, order)
}}
"""
"""ONNX's own text. `kept` has a row (group, class, box) for each box that stays in its group and class."""


def with_selection(network: ModelProto, *, limit: int, threshold: float, score: float) -> ModelProto:
    """The network followed by the suppression within each class and the best `limit` of what is left."""
    import onnx

    text = SELECTION.format(ir=IR, opset=OPSET, limit=limit, threshold=threshold, score=score)
    pairs = [("candidates", "all_boxes"), ("confidence", "all_scores")]
    merged = onnx.compose.merge_models(network, onnx.parser.parse_model(text), io_map=pairs)
    del merged.opset_import[1:]  # both parts bring theirs
    return merged


def describe(network: ModelProto, metadata: Mapping[str, Any]) -> None:
    """Write the metadata, JSON where it is no text, and who made the file."""
    import onnx

    network.producer_name, network.producer_version = "siseon", version("siseon")
    texts = {
        key: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for key, each in metadata.items()
    }
    onnx.helper.set_model_props(network, texts)


def input_size(model: Detector[Any]) -> Size:
    """What a square picture becomes, padding included."""
    multiple = model.sizing.multiple
    height, width = (-(-side // multiple) * multiple for side in model.sizing.fit((4096, 4096)))
    return height, width


def size_rule(model: Classifier | Detector[Any], size: Size | None = None) -> dict[str, Any]:
    """How a picture of any size becomes the input: see Exported.

    crop: the shorter side is scaled to `resize`, the central square taken; stretch: scaled to the input, whatever its
    shape; fit: scaled to fit into the input, the rest filled with `padding`.
    """
    if isinstance(model, Classifier):
        return {"rule": "crop", "resize": model.resize, "crop": model.crop, "interpolation": model.interpolation}
    assert size is not None
    rule = "stretch" if isinstance(model.sizing, Stretch) else "fit"
    return {"rule": rule, "height": size[0], "width": size[1], "padding": [round(x, 5) for x in model.mean.tolist()]}
