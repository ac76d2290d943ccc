"""Our ONNX files in the runtimes that users would take, beside torchvision and the optimized model: one picture.

onnxruntime and OpenVINO run the file of `siseon.export`, OpenVINO in float32 and in bf16; "int8" is the file of
`siseon.quantization` with all its layers in 8 bits (ranges from four pictures like the measured one; the weights are
not trained, so that the note on its numbers says little), where what stays is float32 in onnxruntime and bf16 in
OpenVINO. A detector's file takes 800 x 1088 pixels (SSD: 300 x 300), scaling and padding counted.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from benchmarks.inference import CLASSIFIERS, EXPORTED, compared
    from benchmarks.rows import Row

    ENGINES = ("torchvision", "siseon optimized", "siseon bf16", *EXPORTED)
    DETECTORS = ("ssd300_vgg16", "retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn")

SMALL = ("onnxruntime int8", "openvino int8", "siseon bf16", "openvino bf16")
"""Engines of other numbers than float32's."""

PICTURES = 4
"""How many find the ranges: time matters here, not how well the numbers are kept."""


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each network and batch size."""
    rows = [(f"{name}, batch {batch}", name, batch) for batch in (1, 8) for name in CLASSIFIERS]
    for title, name, batch in [*rows, *((name, name, 1) for name in DETECTORS)]:
        if given.only is None or name in given.only or title in given.only:
            row = compared("export", title, name, batch, given, ENGINES)
            times = row.engines["torchvision"].median
            said = [
                f"{name} {times / row.engines[name].median:.2f}x torchvision" for name in SMALL if name in row.engines
            ]
            row.note = "; ".join([*said, row.note])
            yield row


def exported_engine(engine, name, picture, home: Path, *, batch: int):
    from siseon.exported import Exported, require

    runtime, _, precision = engine.partition(" ")
    require(runtime)
    plain, small = home / "plain.onnx", home / "int8.onnx"
    if not plain.exists():
        write(name, home / "weights.pt", plain)
    network = Exported(plain)
    if precision == "int8":
        if not small.exists():
            quantized(plain, small, picture, network.task)
        network = Exported(small)
    run = network.run
    if runtime == "openvino":
        run = through_openvino(small if precision == "int8" else plain, "bf16" if precision else "f32")
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


def through_openvino(file: Path, precision: str):
    import openvino
    import torch

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 2}
    compiled = openvino.Core().compile_model(file, "CPU", settings)

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
