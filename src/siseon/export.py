"""`export(model, "model.onnx")`: one file that other programs run, without siseon and without torch.

Flow    model -> torch.export -> ONNX -> for a detector the selection: non-maximum suppression, the best first ->
        class names, size rule and task as metadata -> run by onnxruntime beside torch, and the difference
Here    A classifier takes RGB 0..1 [batch, 3, crop, crop], any batch, and gives logits; it normalises itself. A
        detector takes one picture [1, 3, height, width] of a fixed size and gives boxes [k, 4] in its pixels, labels
        [k] and scores [k], best first: what `predict` finds in a picture of that size. Mask R-CNN also gives masks
        [k, 28, 28] over those boxes, 0..1. R-CNN and Fast R-CNN are refused: Selective Search is no network.

The models know nothing of this file: it calls what they have. Detectors of two stages: export_regions.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from siseon import export_regions, tensorfile
from siseon.boxes.geometry import clip, decode, large_enough
from siseon.export_parts import SELECTION, Graph, Part, joined, translated
from siseon.exported import Exported, require
from siseon.interface import Images, SiseonError, Size, Stretch
from siseon.models.classification.classifier import Classifier
from siseon.models.detection import ssd
from siseon.models.detection.detector import Detector
from siseon.models.detection.faster_rcnn import FasterRCNN
from siseon.models.detection.mask_rcnn import MaskRCNN
from siseon.models.detection.refine_rcnn import RefineRCNN
from siseon.models.detection.retinanet import RetinaNet
from siseon.models.detection.rpn import rows
from siseon.models.detection.ssd import SSD
from siseon.models.detection.yolo import YOLO, strides_of
from siseon.optimization import fold_norms

if TYPE_CHECKING:
    from onnx import ModelProto

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
    fold_norms(model)
    if isinstance(model, Classifier):
        size = (model.crop, model.crop)
        network, difference = translated(Logits(model), of=type(model).__name__)
        metadata: dict[str, Any] = {"input": "RGB 0..1 [batch, 3, height, width]", "size": size_rule(model)}
    elif isinstance(model, Detector):
        size = fitting(model, size)
        network, difference = detector(model, size, score=score)
        metadata = {"input": "RGB 0..1 [1, 3, height, width]", "size": size_rule(model, size), "score": score}
    else:
        raise SiseonError(f"{type(model).__name__} is no classifier and no detector", "Export one of those")
    name = json.dumps(model.spec, ensure_ascii=False, default=list) if hasattr(model, "spec") else ""
    describe(network, {"task": model.task, "classes": model.classes, **metadata, "spec": name})
    file.parent.mkdir(parents=True, exist_ok=True)
    tensorfile.write_whole(file, [network.SerializeToString()])
    Exported(file).run(noise(size))
    return Export(file, difference)


def refuse_what_is_arranged(model: nn.Module) -> None:
    """Raise SiseonError for the work of `optimize`, whose layers are oneDNN's alone."""
    if any(type(module).__module__ == "siseon.packed_layers" for module in model.modules()):
        raise SiseonError("this model was arranged by optimize() for this processor", "Export the model it came from")


# --- what is traced -----


class Logits(Graph):
    """A classifier: any number of pictures, logits [batch, classes]."""

    inputs, names, rows = ("images",), ("logits",), True

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def example(self) -> tuple[Tensor]:  # noqa: D102
        return (noise((self.model.crop, self.model.crop), batch=2),)

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        mean, deviation = (each.view(3, 1, 1) for each in (self.model.mean, self.model.deviation))
        return self.model.logits((images - mean) / deviation)


class Boxes(Graph):
    """A detector of one stage: one picture, its candidates for the selection."""

    inputs, names, unordered = ("images",), ("candidates", "confidence"), ("confidence",)

    def __init__(self, model: SSD | RetinaNet | YOLO, size: Size) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def example(self) -> tuple[Tensor]:  # noqa: D102
        return (noise(self.size),)

    def forward(self, images: Tensor) -> Candidates:  # noqa: D102
        boxes, confidence = CANDIDATES[type(self.model)](self.model, Images.of(images))
        boxes = clip(boxes, self.size)
        confidence = torch.where(large_enough(boxes, LEAST_SIDE), confidence, 0)
        return boxes[None], confidence[None]

    def apart(self, found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """As of any graph, but of boxes that are chosen one in a hundred may be another: the last are nearly equal."""
        if not isinstance(self.model, RetinaNet):
            return super().apart(found, expected)
        (one, sure), (other, surer) = ([each[0].double() for each in pair] for pair in (found, expected))
        shift = torch.cdist(one, other, p=torch.inf).amin(1).quantile(0.99) / max(self.size)
        return max(float(shift), float((sure.flatten().sort().values - surer.flatten().sort().values).abs().max()))


def noise(size: Size, *, batch: int = 1) -> Tensor:
    """Pictures to compare with, always the same."""
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def detector(model: Detector[Any], size: Size, *, score: float) -> tuple[ModelProto, float]:
    """The whole detector for pictures of `size`, and how far it is from torch's."""
    if isinstance(model, FasterRCNN | MaskRCNN | RefineRCNN):
        return export_regions.network_of(model, size, score=score)
    if not isinstance(model, SSD | RetinaNet | YOLO):
        raise SiseonError(
            f"{type(model).__name__} cannot be exported: its regions come from Selective Search, which is no network",
            "Export a detector that finds its regions itself, such as faster_rcnn",
        )
    network, difference = translated(Boxes(model, size), of=type(model).__name__)
    names = {"all_boxes": "candidates", "all_scores": "confidence"}
    selection = Part.of(SELECTION, names=names, limit=model.limit, threshold=model.threshold, score=score)
    outputs = ["boxes", "labels", "scores"]
    return joined([Part(network, {}), selection], inputs=["images"], outputs=outputs), difference


def of_ssd(model: SSD, images: Images) -> Candidates:
    """All default boxes; of each class only the best `count` are sure of anything."""
    raw = model(images)
    confidence = raw.class_logits[0].softmax(1)[:, 1:].T
    best, which = confidence.topk(min(model.count, confidence.shape[1]), dim=1)
    return decode(raw.offsets[0], raw.boxes, ssd.WEIGHTS), torch.zeros_like(confidence).scatter(1, which, best)


def of_retinanet(model: RetinaNet, images: Images) -> Candidates:
    """The anchors of each level with its best `count` pairs of anchor and class; only those pairs are sure of anything.

    As many anchors as pairs are enough, those whose best class is best.
    """
    raw = model(images)
    anchors = model.anchors(raw.features, images.sizes[0])
    boxes, confidence = [], []
    for logits, offsets, fixed in zip(raw.class_logits, raw.offsets, anchors, strict=True):
        every = rows(logits, len(model.classes))[0]
        some = every.amax(1).topk(min(model.count, len(every))).indices
        flat = every[some].flatten()
        best, which = flat.topk(min(model.count, len(flat)))
        sure = torch.zeros_like(flat).scatter(0, which, best.sigmoid())
        confidence.append(sure.view(-1, len(model.classes)).T)
        boxes.append(decode(rows(offsets, 4)[0][some], fixed[some]))
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


def describe(network: ModelProto, metadata: Mapping[str, Any]) -> None:
    """Write the metadata, JSON where it is no text, and who made the file."""
    import onnx

    network.producer_name, network.producer_version = "siseon", version("siseon")
    texts = {
        key: each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for key, each in metadata.items()
    }
    onnx.helper.set_model_props(network, texts)


def fitting(model: Detector[Any], size: Size | None) -> Size:
    """The size of the input, what a square picture becomes if none is given. Raises SiseonError for one that cannot."""
    multiple = model.sizing.multiple
    if size is None:
        height, width = (-(-side // multiple) * multiple for side in model.sizing.fit((4096, 4096)))
        return height, width
    if any(side % multiple or side < 1 for side in size):
        raise SiseonError(
            f"an input of {size[0]} x {size[1]} pixels does not suit the model",
            f"Give a height and a width that are multiples of {multiple}",
        )
    return size


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
