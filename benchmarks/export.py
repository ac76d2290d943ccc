"""Our ONNX files in the runtimes that users would take, beside torchvision and the optimized model: one picture.

onnxruntime runs the file of `siseon.export`, "int8" that of `siseon.quantization` with all its layers in 8 bits (ranges
from four pictures like the measured one; the weights are not trained, so that the note on its numbers says little),
OpenVINO the first in float32. A detector's file takes 800 x 1088 pixels (SSD: 300 x 300), scaling and padding counted.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from benchmarks.inference import CLASSIFIERS, EXPORTED, compared
    from benchmarks.rows import Row

    ENGINES = ("torchvision", "siseon optimized", *EXPORTED)
    DETECTORS = ("ssd300_vgg16", "retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn")

PICTURES = 4
"""How many find the ranges: time matters here, not how well the numbers are kept."""


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each network and batch size."""
    rows = [(f"{name}, batch {batch}", name, batch) for batch in (1, 8) for name in CLASSIFIERS]
    for title, name, batch in [*rows, *((name, name, 1) for name in DETECTORS)]:
        if given.only is None or name in given.only or title in given.only:
            row = compared("export", title, name, batch, given, ENGINES)
            small = row.engines.get("onnxruntime int8")
            said = [f"int8 {row.engines['torchvision'].median / small.median:.2f}x torchvision"] if small else []
            row.note = "; ".join([*said, row.note])
            yield row


def exported_engine(engine, name, picture, home: Path, *, batch: int):
    from siseon.exported import Exported, require

    require("openvino" if engine == "openvino" else "onnxruntime")
    plain, small = home / "plain.onnx", home / "int8.onnx"
    if not plain.exists():
        write(name, home / "weights.pt", plain)
    network = Exported(plain)
    if engine.endswith("int8"):
        quantized(plain, small, picture, network.task)
        network = Exported(small)
    run = through_openvino(plain) if engine == "openvino" else network.run
    if network.task == "detection":
        return lambda: scores(run(network.prepared(picture)))
    images = picture.expand(batch, -1, -1, -1).contiguous()
    return lambda: content(run(images)[0])


def write(name: str, saved: Path, plain: Path) -> None:
    """Export the network with torchvision's weights."""
    import torch

    from siseon import weights
    from siseon.export import export
    from siseon.interface import Stretch

    model = weights.from_torchvision(name, torch.load(saved))
    square = model.task == "classification" or isinstance(model.sizing, Stretch)
    export(model, plain, size=None if square else (800, 1088))


def through_openvino(plain: Path):
    import openvino
    import torch

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2}
    compiled = openvino.Core().compile_model(plain, "CPU", settings)

    def run(images):
        found = compiled([images.numpy()])
        return [torch.from_numpy(found[output].copy()) for output in compiled.outputs]

    return run


def content(logits):
    return lambda: logits[0].tolist()


def scores(outputs):
    return lambda: {"scores": outputs[2].tolist()}


def quantized(plain: Path, small: Path, picture, kind: str) -> None:
    """Write the network of 8 bits, with ranges from the picture at different brightness."""
    from siseon.data.dataset import Annotation, Data
    from siseon.quantization import quantize

    class Pictures:
        task, classes = kind, ("0",)

        def __len__(self) -> int:
            return PICTURES

        def annotation(self, index: int) -> Annotation:
            return Annotation(str(index))

        def picture(self, index: int):
            bright = picture * (0.5 + index / 2 / PICTURES)
            return (255 * bright.permute(1, 2, 0)).clamp(0, 255).byte().numpy()

    quantize(plain, small, Data("measured", kind, ("0",), {"train": Pictures()}), tolerance=None)
