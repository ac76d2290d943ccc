"""Commands that look at pictures and into networks: predict, portrait, propose, inspect, models."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from siseon.commands.networks import given_to, option, trained
from siseon.commands.output import progress, results

if TYPE_CHECKING:
    from siseon.interface import PictureError


def predict(
    model: Positional[str],
    pictures: Positional[tuple[str, ...]],
    *,
    score: float = 0.5,
    top: int = 5,
    weights: str | None = None,
    options: tuple[str, ...] = (),
    batch: int = 4,
    mirrored: bool = False,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Find things in pictures: a drawn copy of each picture, and all predictions in predictions.json.

    Args:
        model: a run folder, a .safetensors file, or the name of a model with --weights
        pictures: files, folders, patterns such as "photos/*.jpg"
        score: least score of a detection, 0 to 1
        top: how many classes a classifier names
        weights: imagenet, coco or a file, where the model is given by its name
        options: arguments of such a model as name=value, e.g. padding=tensorflow
        batch: pictures at once
        mirrored: a classifier judges each picture and its mirror image, and takes the mean
        precision: bf16 is faster on processors that have it, and the numbers differ in the third digit
        device: auto, cpu, cuda, mps
        out: folder for the results; runs/predict-N if left out
    """
    from siseon.prediction import predict_files

    found, missing = _named(pictures)
    network = trained(model, weights, device, precision, options=options)
    with results(out, "predict") as folder:
        faults = predict_files(network, found, folder, score=score, top=top, batch=batch, mirrored=mirrored)
    for left_out in (*missing, *faults):
        print(f"passed over: {left_out.problem}", file=sys.stderr)
    print(f"{len(found) - len(faults)} of {len(found)} pictures; they and predictions.json are in {folder}")
    return 2 if len(faults) == len(found) else 0


def portrait(
    photos: Positional[tuple[str, ...]],
    *,
    label: Annotated[str, arg(name="class")] = "person",
    blur: float | None = None,
    score: float = 0.5,
    model: str = "fcn_resnet50",
    weights: str | None = None,
    device: str = "auto",
    out: Path | None = None,
) -> int:
    """Blur what is behind the people, or behind the things of another class, in photos; size and EXIF stay.

    Args:
        photos: files, folders, patterns such as "photos/*.jpg"
        label: what stays sharp: a class that the model knows, e.g. dog
        blur: deviation of the blur in pixels of the photo; a fiftieth of the shorter side if left out
        score: least score of a detection, 0 to 1, where the model is a Mask R-CNN
        model: a segmenter or a Mask R-CNN: a run folder, a .safetensors file, or a name of the zoo
        weights: coco or a file, where the model is given by its name; coco if left out
        device: auto, cpu, cuda, mps
        out: folder for the results; runs/portrait-N if left out
    """
    from siseon import zoo
    from siseon.portrait import portraits

    found, missing = _named(photos)
    network = trained(model, weights or ("coco" if model in zoo.ZOO else None), device)
    with results(out, "portrait") as folder:
        faults = portraits(network, found, folder, label=label, blur=blur, score=score)
        for left_out in (*missing, *faults):
            print(f"passed over: {left_out.problem}", file=sys.stderr)
        if len(faults) == len(found):
            raise faults[0]
    print(f"{len(found) - len(faults)} of {len(found)} photos are in {folder}")
    return 0


def inspect(
    model: Positional[str] = "",
    photo: Positional[str] = "",
    *,
    weights: str | None = None,
    options: tuple[str, ...] = (),
    label: Annotated[str | None, arg(name="class")] = None,
    out: Path | None = None,
    image_size: int | None = None,
    formulas: bool = False,
    format: Literal["text", "markdown", "csv", "html"] = "text",
    lang: Literal["en", "ko"] = "en",
    layer: Literal["conv", "depthwise", "transposed", "max_pool", "avg_pool", "fully_connected"] | None = None,
    input: str = "",
    filters: int | None = None,
    kernel: int | None = None,
    stride: int | None = None,
    padding: int = 0,
) -> None:
    """Every layer of a model: output size, parameters, memory, MACs, receptive field; or the arithmetic of one layer.

    With a photo: what the model sees in it, as pictures: feature maps, filters, deconvolution, Grad-CAM, occlusion.

    Args:
        model: name of the model, `siseon models` lists them; or a run folder or a .safetensors file
        photo: the picture to look at
        weights: imagenet, coco or a file, where the model is given by its name
        options: arguments of the model as name=value, e.g. padding=tensorflow
        label: the class to explain; the one that the model predicts if left out
        out: folder for the pictures; runs/inspect-N if left out
        image_size: side of the picture in pixels; the model's own if left out
        formulas: how each number comes about
        format: text, markdown, csv or html
        lang: en or ko
        layer: kind of a single layer, instead of a model
        input: what enters that layer: channels,height,width
        filters: its output channels
        kernel: its kernel, in cells
        stride: its stride
        padding: its padding on each side
    """
    from siseon.inspection.report import inspect_layer, inspect_model
    from siseon.interface import RecipeError
    from siseon.model_sizes import input_of

    if layer is not None:
        window = {"filters": filters, "kernel": kernel, "stride": stride, "padding": padding}
        print(inspect_layer(layer, input, **window, format=format, language=lang), end="")  # type: ignore[arg-type]
        return
    if not model:
        raise RecipeError("a model or --layer is missing", "For example: siseon inspect vgg16 --formulas")
    network, trained = _inspected(model, weights, options)
    if photo and network.task == "generation":
        raise RecipeError(f"{model} makes pictures and sees nothing in a photo", "Leave the photo out")
    if photo:
        return _look(network, Path(photo), out, name=model, label=label, language=lang, trained=trained)
    if network.task == "generation":
        for part, pixels, channels in (
            (network.generator, 1, network.latent),
            (network.discriminator, network.crop, network.channels),
        ):
            said = inspect_model(part, pixels, format=format, language=lang, formulas=formulas, channels=channels)
            print(said, end="\n" if part is network.generator else "")
        return
    size, channels = input_of(network)
    print(
        inspect_model(network, image_size or size, channels=channels, format=format, language=lang, formulas=formulas),
        end="",
    )


def propose(
    pictures: Positional[tuple[str, ...]],
    *,
    mode: Literal["single", "fast", "quality"] = "fast",
    limit: int | None = None,
    shown: int = 50,
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Where objects may be, by Selective Search: no training, no classes. Boxes in proposals.json, the best drawn.

    Args:
        pictures: files, folders, patterns such as "photos/*.jpg"
        mode: single (one strategy), fast (8) or quality (80): more boxes, more found, more time
        limit: only so many of the best boxes of a picture
        shown: how many of the best are drawn
        seed: of the random part of the order
        out: folder for the results; runs/propose-N if left out
    """
    from siseon.models.detection import selective_search
    from siseon.prediction import propose_files

    found, missing = _named(pictures)
    with results(out, "propose") as folder:
        regions = partial(selective_search.propose, mode=mode, limit=limit, seed=seed)
        faults = propose_files(regions, found, folder, shown=shown)
    for left_out in (*missing, *faults):
        print(f"passed over: {left_out.problem}", file=sys.stderr)
    print(f"{len(found) - len(faults)} of {len(found)} pictures; they and proposals.json are in {folder}")
    return 2 if len(faults) == len(found) else 0


def models(
    *,
    task: Literal["all", "classification", "detection", "segmentation", "captioning", "generation", "control"] = "all",
    json: bool = False,
) -> None:
    """List the models: task, parameters with the default classes, MACs of a picture of their own size, year, paper.

    Args:
        task: only those for this task
        json: as JSON
    """
    from rich.console import Console

    from siseon import model_sizes

    rows = model_sizes.rows(None if task == "all" else task)
    if json:
        print(json_format.dumps(rows, ensure_ascii=False, indent=1))
    else:
        Console().print(model_sizes.text(rows))


def _named(words: Sequence[str]) -> tuple[list[Path], list[PictureError]]:
    """The picture files that are meant, and a fault for each word that names none. Raises where all do."""
    from siseon import pictures as files
    from siseon.interface import PictureError

    found: dict[Path, None] = {}
    missing: list[PictureError] = []
    for word in words:
        try:
            found |= dict.fromkeys(files.find([word]))
        except PictureError as fault:
            missing.append(fault)
    if not found:
        raise missing[0] if missing else PictureError("no picture is named", "Name files, folders or patterns")
    return list(found), missing


def _inspected(name: str, weights: str | None, options: Sequence[str]) -> tuple[Any, bool]:
    """The model of a run folder, a file or a name, in evaluation mode, and whether its weights are trained."""
    from siseon.weights import build, load

    if weights is None and (Path(name).exists() or Path(name).suffix):
        return load(name), True
    given = dict(map(option, options)) if weights is None else given_to(name, options)
    return build(name, weights=weights, **given).eval(), weights is not None


def _look(network: Any, photo: Path, out: Path | None, *, trained: bool, **options: Any) -> None:  # noqa: ANN401
    """Write what the network sees in a photo, and say where it is."""
    from siseon.looking.look import look

    if not trained:
        print("note: the weights are random; name trained ones with --weights, or a run folder", file=sys.stderr)
    with results(out, "inspect") as folder, progress("covering the photo") as done:
        page = look(network, photo, folder, trained=trained, progress=done, **options)
    print(f"The pictures are in {page.parent}; {page} explains them")
