"""The command that writes a trained model for other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from siseon.commands.networks import loaded
from siseon.commands.output import progress


def export(
    model: Positional[str],
    *,
    to: Literal["onnx"] = "onnx",
    weights: str | None = None,
    size: tuple[int, int] | None = None,
    score: float = 0.05,
    int8: bool = False,
    data: str | None = None,
    out: Path | None = None,
) -> None:
    """Write a classifier or a detector as an ONNX file, which programs run without siseon and torch.

    The file is run once by onnxruntime; the difference to torch is said. Boxes come after non-maximum suppression,
    masks as 28 x 28 probabilities over their boxes.

    Args:
        model: a run folder, a .safetensors file, or the name of a model with --weights
        to: the format
        weights: imagenet, coco or a file, where the model is given by its name
        size: height and width of a detector's input in pixels; a square of the model's own size if left out
        score: least score of the detections that the file gives, 0 to 1
        int8: write a second file, MODEL-int8.onnx, with weights and maps of 8 bits; parts that would lose much by it
            stay in 32 and are named
        data: folder or file of a data set whose pictures find the ranges of the 8 bits; that of the run if left out
        out: file to write; RUN/model.onnx or MODEL.onnx if left out
    """
    from siseon.data.open_data import open_data
    from siseon.export import export as write
    from siseon.exported import require
    from siseon.quantization import quantize

    require("onnx", "onnxscript", "onnxruntime")
    pictures = open_data(pictures_of(model, data)) if int8 else None
    network = loaded(model, weights)
    file = out or (Path(model) / "model.onnx" if Path(model).is_dir() else Path(f"{Path(model).stem}.onnx"))
    print(write(network, file, size=size, score=score))
    if pictures is not None:
        small = file.with_name(f"{file.stem}-int8{file.suffix}")
        with progress("finding the ranges and the noise") as done:
            written = quantize(file, small, pictures, progress=done)
        print(written)


def pictures_of(model: str, data: str | None) -> str:
    """The data named, or else that of the run. Raises DataError where there is neither."""
    from siseon.interface import DataError
    from siseon.training.recipe import Recipe

    if data is not None:
        return data
    recipe = Path(model) / "recipe.toml"
    if not recipe.exists():
        raise DataError("the pictures for --int8 are missing", "Say --data FOLDER, or scenes, or digits")
    return Recipe.from_toml(recipe).data
