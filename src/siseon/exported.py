"""`Exported("model.onnx")`: a file of `siseon export`, run by onnxruntime, with the `predict` of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from siseon.boxes.geometry import clip
from siseon.boxes.masks import pasted
from siseon.interface import Classification, Detections, Picture, Prediction, SiseonError, WeightsError
from siseon.models.classification.classifier import central_crop, one_or_more
from siseon.pictures import to_tensor


def require(*packages: str) -> None:
    """Raise SiseonError where one of the extra "export" is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise SiseonError(f"{missing[0]} is not installed", "pip install siseon[export]")


class Exported:
    """A network in ONNX with its class names and its size rule, as `siseon export` writes them.

    What `evaluate` and `predict_files` need of a model. Raises WeightsError for another file.
    """

    def __init__(self, file: Path | str) -> None:
        if not Path(file).is_file():
            raise WeightsError(f"{file} is not there", "Name a file that siseon export wrote")
        self._open(str(file), str(file))
        texts = self.session.get_modelmeta().custom_metadata_map
        if not {"task", "classes", "size"} <= set(texts):
            raise WeightsError(f"{file} does not say its classes and its size", "Name a file that siseon export wrote")
        self.task: Literal["classification", "detection"] = (
            "detection" if texts["task"] == "detection" else "classification"
        )
        self.classes: tuple[str, ...] = tuple(json.loads(texts["classes"]))
        self.size: dict[str, Any] = json.loads(texts["size"])

    @classmethod
    def of(cls, content: bytes) -> Exported:
        """A network in memory, for `run` only."""
        network = cls.__new__(cls)
        network._open(content, "the exported network")
        return network

    def _open(self, source: str | bytes, name: str) -> None:
        require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime's own errors have no common class
            raise WeightsError(f"onnxruntime cannot read {name} ({fault})", "Export it again") from fault
        self.input = self.session.get_inputs()[0].name

    def run(self, images: Tensor) -> list[Tensor]:
        """The outputs for RGB 0..1 [batch, 3, height, width] of the size of the input."""
        return [torch.from_numpy(each) for each in self.session.run(None, {self.input: images.numpy()})]

    def predict(
        self, pictures: Picture | Sequence[Picture], *, score: float = 0.05, batch: int = 32, mirrored: bool = False
    ) -> list[Prediction]:
        """The class scores of each picture, or the objects above `score` in its pixels: as `predict` of the model.

        batch, mirrored: for a classifier, see Classifier.predict; a detector takes one picture at a time. A score
        below that of the export changes nothing.
        """
        several = one_or_more(pictures)
        if self.task == "detection":
            return [self._found(to_tensor(picture)).above(score) for picture in several]
        results: list[Prediction] = []
        for start in range(0, len(several), batch):
            images = torch.cat([self.prepared(to_tensor(picture)) for picture in several[start : start + batch]])
            scores = self.run(images)[0].softmax(1)
            if mirrored:
                scores = (scores + self.run(images.flip(-1).contiguous())[0].softmax(1)) / 2
            results += [Classification(row, self.classes) for row in scores]
        return results

    def prepared(self, image: Tensor) -> Tensor:
        """The input [1, 3, height, width] that a picture [3, height, width] of any size becomes."""
        rule = {key: value for key, value in self.size.items() if key != "rule"}
        if self.size["rule"] == "crop":
            return central_crop(image, **rule)[None].contiguous()
        size = (self.size["height"], self.size["width"])
        if self.size["rule"] == "stretch":
            return F.interpolate(image[None], size, mode="bilinear")
        factor = self._factor(image)
        scaled = [max(int(side * factor), 1) for side in image.shape[-2:]]
        canvas = torch.tensor(self.size["padding"]).view(1, 3, 1, 1).repeat(1, 1, *size)
        canvas[..., : scaled[0], : scaled[1]] = F.interpolate(image[None], scaled, mode="bilinear")
        return canvas

    def _factor(self, image: Tensor) -> float:
        """How a picture is scaled by the rule "fit"."""
        return min(self.size["height"] / image.shape[-2], self.size["width"] / image.shape[-1])

    def _found(self, image: Tensor) -> Detections:
        boxes, labels, scores, *masks = self.run(self.prepared(image))
        height, width = image.shape[-2:]
        if self.size["rule"] == "stretch":
            down, across = height / self.size["height"], width / self.size["width"]
        else:
            down = across = 1 / self._factor(image)
        boxes = clip(boxes * torch.tensor([across, down, across, down]), (height, width))
        drawn = pasted(masks[0], boxes, (height, width)) if masks else None
        return Detections(boxes, labels, scores, self.classes, drawn)
