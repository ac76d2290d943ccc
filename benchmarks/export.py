"""Our ONNX files in the runtimes that users would take, beside torchvision and the optimized model: one picture.

onnxruntime runs the file of `siseon.export`, "int8" that of `siseon.quantization` (ranges from 32 pictures like the
measured one; its weights are not trained, so that the note on its logits says little), OpenVINO the first in float32.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from benchmarks.inference import CLASSIFIERS, EXPORTED, compared
    from benchmarks.rows import Row

    ENGINES = ("torchvision", "siseon optimized", *EXPORTED)


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each network."""
    for name in CLASSIFIERS:
        if given.only is None or name in given.only:
            yield compared("export", f"{name}, batch 1", name, 1, given, ENGINES)


def exported_engine(engine, name, picture, home: Path, *, batch: int):
    import torch

    from siseon.exported import Exported, require

    require("openvino" if engine == "openvino" else "onnxruntime")
    plain, small = home / "plain.onnx", home / "int8.onnx"
    if not plain.exists():
        from siseon import weights
        from siseon.export import export

        export(weights.from_torchvision(name, torch.load(home / "weights.pt")), plain)
    images = picture.expand(batch, -1, -1, -1).contiguous()
    if engine == "openvino":
        import openvino

        compiled = openvino.Core().compile_model(plain, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda: content(torch.from_numpy(compiled([images.numpy()])[0]))
    if engine.endswith("int8"):
        quantized(plain, small, picture)
    session = Exported(small if engine.endswith("int8") else plain)
    return lambda: content(session.run(images)[0])


def content(logits):
    return lambda: logits[0].tolist()


def quantized(plain: Path, small: Path, picture) -> None:
    """Write the network of 8 bits, with ranges from the picture at different brightness."""
    from siseon.data.dataset import Annotation, Data
    from siseon.quantization import quantize

    class Pictures:
        task, classes = "classification", ("0",)

        def __len__(self) -> int:
            return 32

        def annotation(self, index: int) -> Annotation:
            return Annotation(str(index))

        def picture(self, index: int):
            bright = picture * (0.5 + index / 62)
            return (255 * bright.permute(1, 2, 0)).clamp(0, 255).byte().numpy()

    quantize(plain, small, Data("measured", "classification", ("0",), {"train": Pictures()}))
