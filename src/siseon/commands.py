"""What each command does. Signatures and docstrings are its options and its help; torch is imported within."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field
from tyro.conf import OmitArgPrefixes, Positional, arg

from siseon.command_output import next_folder as next_folder
from siseon.command_output import progress as _progress
from siseon.command_output import results as _results
from siseon.training.recipe import Recipe

if TYPE_CHECKING:
    from siseon.evaluation import Model


class Training(Recipe):
    """The recipe as the command line takes it."""

    model: Positional[str] = Field("", description="name of the model; `siseon models` lists them")


def train(
    recipe: OmitArgPrefixes[Training],
    *,
    options: tuple[str, ...] = (),
    resume: Path | None = None,
    out: Path | None = None,
) -> None:
    """Train a model, evaluate the best epoch on the test pictures, and leave all in a run folder.

    Args:
        recipe: the settings of the run
        options: further arguments of the model as name=value, e.g. pyramid=false
        resume: run folder to go on with, as if it had never stopped; needs no other option
        out: run folder to make; runs/train-N if left out
    """
    from siseon.data.open_data import open_data
    from siseon.evaluation import validate
    from siseon.interface import RecipeError
    from siseon.training.fit import fit
    from siseon.training.fit import resume as go_on
    from siseon.weights import build, load

    if resume is not None:
        go_on(resume, load=load, evaluate=validate)
        return _test(resume, _recipe_of(resume))
    if not recipe.model or not recipe.data:
        missing = "a model" if not recipe.model else "--data"
        raise RecipeError(f"{missing} is missing", "For example: siseon train faster_rcnn_mini --data scenes")
    plain = Recipe(**{**recipe.model_dump(), "options": dict(map(_option, options))})
    data = open_data(plain.data)
    given = {"classes": data.classes, **plain.options}
    if plain.backbone is not None:
        given["backbone"] = plain.backbone
    model = build(plain.model, weights=plain.weights, **given)
    with _results(out, "train") as folder:
        fit(model, data, out=folder, recipe=plain, evaluate=validate)
    _test(folder, plain)


def evaluate(
    model: Positional[str],
    *,
    data: str | None = None,
    split: str = "test",
    weights: str | None = None,
    batch: int = 8,
    mirrored: bool = False,
    device: str = "auto",
    out: Path | None = None,
) -> None:
    """Compare what a model finds with the truth: AP or accuracy, of each class too, curves, confusion, pictures.

    Args:
        model: a run folder, a .safetensors file, or the name of a model with --weights
        data: folder or file of the data set, or scenes, or digits; that of the run if left out
        split: train, val or test
        weights: imagenet, coco or a file, where the model is given by its name
        batch: pictures at once
        mirrored: a classifier judges each picture and its mirror image, and takes the mean
        device: auto, cpu, cuda, mps
        out: folder for the report; runs/evaluate-N if left out
    """
    from siseon.data.open_data import open_data
    from siseon.evaluation import evaluate as compare
    from siseon.interface import DataError

    network = _model(model, weights, device)
    source = data or (_recipe_of(Path(model)).data if (Path(model) / "recipe.toml").exists() else None)
    if source is None:
        raise DataError("the data to evaluate on is missing", "Say --data FOLDER, or scenes, or digits")
    with _results(out, "evaluate") as folder, _progress(f"{split} of {source}") as done:
        result = compare(
            network, open_data(source), split=split, batch=batch, mirrored=mirrored, out=folder, progress=done
        )
    print(result.table())
    for problem in result.problems:
        print(f"passed over: {problem}", file=sys.stderr)
    print(f"The report is in {folder}")


def predict(
    model: Positional[str],
    pictures: Positional[tuple[str, ...]],
    *,
    score: float = 0.5,
    top: int = 5,
    weights: str | None = None,
    batch: int = 4,
    mirrored: bool = False,
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
        batch: pictures at once
        mirrored: a classifier judges each picture and its mirror image, and takes the mean
        device: auto, cpu, cuda, mps
        out: folder for the results; runs/predict-N if left out
    """
    from siseon import pictures as files
    from siseon.interface import PictureError
    from siseon.prediction import predict_files

    found: dict[Path, None] = {}
    missing: list[PictureError] = []
    for words in pictures:
        try:
            found |= dict.fromkeys(files.find([words]))
        except PictureError as fault:
            missing.append(fault)
    if not found:
        raise missing[0] if missing else PictureError("no picture is named", "Name files, folders or patterns")
    network = _model(model, weights, device)
    with _results(out, "predict") as folder:
        faults = predict_files(network, list(found), folder, score=score, top=top, batch=batch, mirrored=mirrored)
    for left_out in (*missing, *faults):
        print(f"passed over: {left_out.problem}", file=sys.stderr)
    print(f"{len(found) - len(faults)} of {len(found)} pictures; they and predictions.json are in {folder}")
    return 2 if len(faults) == len(found) else 0


def compare(
    models: Positional[tuple[str, ...]] = (),
    *,
    data: str | None = None,
    minutes: float = 5.0,
    family: Literal["auto", "mini", "mobilenet_v2", "exact"] = "auto",
    backbone: str | None = None,
    weights: str | None = None,
    imgsz: int | None = None,
    batch: int = 8,
    seed: int = 0,
    photos: int = 20,
    lang: Literal["both", "en", "ko"] = "both",
    device: str = "auto",
    resume: Path | None = None,
    out: Path | None = None,
) -> int:
    """Train models for the same minutes on the same pictures, and compare accuracy, speed by stage, size and memory.

    Args:
        models: names such as rcnn fast_rcnn faster_rcnn mask_rcnn ssd yolo retinanet, or any that `siseon models` lists
        data: folder or file of the data set, or scenes, or digits
        minutes: how long each model is trained
        family: ssd is taken as ssd_mini (mini), as ssd_mobilenet_v2, or as it is (exact); auto: mini for scenes and
            digits, else mobilenet_v2
        backbone: network below each detector, e.g. resnet50
        weights: each starts from imagenet, coco, or a .safetensors or .pth file
        imgsz: longer side (detector) or crop (classifier) in pixels
        batch: pictures in a step
        seed: the same seed gives the same splits and starts
        photos: how many test pictures are timed; the first of them are shown
        lang: of the report: both, en or ko
        device: auto, cpu, cuda, cuda:1, mps
        resume: folder of a race to go on with; needs no other option
        out: folder for the runs and the report; runs/compare-N if left out
    """
    from siseon.comparison.race import RECIPE, go_on
    from siseon.comparison.race import compare as race
    from siseon.interface import DataError

    if resume is not None:
        found = go_on(resume)
    else:
        if data is None:
            raise DataError("the data to compare on is missing", "Say --data FOLDER, or scenes, or digits")
        settings = {"backbone": backbone, "weights": weights, "imgsz": imgsz, "batch": batch, "seed": seed}
        recipe = RECIPE.changed(minutes=minutes, device=device, **settings)
        languages: tuple[Literal["en", "ko"], ...] = ("en", "ko") if lang == "both" else (lang,)
        with _results(out, "compare") as folder:
            found = race(models, data, out=folder, family=family, photos=photos, languages=languages, recipe=recipe)
    return 0 if found.finished else 2


def models(*, task: Literal["all", "classification", "detection"] = "all", json: bool = False) -> None:
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

    if layer is not None:
        window = {"filters": filters, "kernel": kernel, "stride": stride, "padding": padding}
        print(inspect_layer(layer, input, **window, format=format, language=lang), end="")  # type: ignore[arg-type]
        return
    if not model:
        raise RecipeError("a model or --layer is missing", "For example: siseon inspect vgg16 --formulas")
    network, trained = _inspected(model, weights, dict(map(_option, options)))
    if photo:
        return _look(network, Path(photo), out, name=model, label=label, language=lang, trained=trained)
    size = image_size or (network.crop if network.task == "classification" else network.sizing.shorter)
    print(inspect_model(network, size, format=format, language=lang, formulas=formulas), end="")


def check(data: Positional[str], *, json: bool = False) -> int:
    """Read a whole data set and say what is in it and what is wrong with it; exit code 2 if it cannot be used.

    Args:
        data: folder or file of the data set, or scenes, or digits
        json: as JSON
    """
    from siseon.data.check import check as examine

    with _progress(f"reading {data}") as done:
        report = examine(data, done)
    print(json_format.dumps(report.to_json(), ensure_ascii=False, indent=1) if json else report.to_text())
    return 0 if report.usable else 2


def convert(data: Positional[str], *, to: Literal["voc", "coco", "yolo", "folder"], out: Path) -> None:
    """Write a data set in another format; class names and boxes stay what they are.

    Args:
        data: folder or file of the data set, or scenes, or digits
        to: the format to write
        out: folder to make
    """
    from siseon.data.convert import convert as write
    from siseon.data.open_data import open_data

    with _progress(f"writing {out}") as done:
        print(write(open_data(data), to, out, done))


def demo(*, out: Path = Path("demo"), seed: int = 0, minutes: float = 2.3) -> None:
    """Train a small Faster R-CNN on drawn scenes, offline, and look at what it finds: under three minutes on two cores.

    Args:
        out: folder for the results
        seed: the same seed gives the same run
        minutes: how long to train
    """
    from siseon.demo import demo as run

    run(out, seed=seed, minutes=minutes)


def _model(name: str, weights: str | None, device: str) -> Model:
    """The model of a run folder or a file, or a model of the zoo with weights, on its device."""
    from siseon.interface import WeightsError
    from siseon.training.preparation import device_of
    from siseon.weights import build, load

    if weights is not None:
        network = build(name, weights=weights)
    elif Path(name).exists() or Path(name).suffix:
        network = load(name)
    else:
        raise WeightsError(
            f"{name} is no run folder and no file",
            "Name a folder that siseon train made, a .safetensors file, or a model with --weights FILE",
        )
    return cast("Model", network.to(device_of(Recipe(device=device))).eval())


def _inspected(name: str, weights: str | None, given: dict[str, Any]) -> tuple[Any, bool]:
    """The model of a run folder, a file or a name, in evaluation mode, and whether its weights are trained."""
    from siseon.weights import build, load, published_classes
    from siseon.zoo import arguments

    if weights is None and (Path(name).exists() or Path(name).suffix):
        return load(name), True
    if weights is not None and "classes" not in given and arguments(name).get("classes") == 1000:
        given = {"classes": published_classes("imagenet"), **given}
    return build(name, weights=weights, **given).eval(), weights is not None


def _look(network: Any, photo: Path, out: Path | None, *, trained: bool, **options: Any) -> None:  # noqa: ANN401
    """Write what the network sees in a photo, and say where it is."""
    from siseon.looking.look import look

    if not trained:
        print("note: the weights are random; name trained ones with --weights, or a run folder", file=sys.stderr)
    with _results(out, "inspect") as folder, _progress("covering the photo") as done:
        page = look(network, photo, folder, trained=trained, progress=done, **options)
    print(f"The pictures are in {page.parent}; {page} explains them")


def _recipe_of(run: Path) -> Recipe:
    return Recipe.from_toml(run / "recipe.toml")


def _test(run: Path, recipe: Recipe) -> None:
    """Evaluate the best epoch of a run on the test pictures, and say where everything is."""
    from siseon.data.open_data import open_data
    from siseon.evaluation import evaluate as compare
    from siseon.training.preparation import device_of
    from siseon.weights import load

    network = cast("Model", load(run).to(device_of(recipe)))
    data = open_data(recipe.data)
    if {"val", "test"} & set(data.splits):
        with _progress("evaluating the best epoch on the test pictures") as done:
            result = compare(network, data, batch=recipe.batch, out=run / "test", progress=done)
        print(result.table())
        print(f"The figures and pictures of the evaluation are in {run / 'test'}")
    print(f"The run is in {run}: best.safetensors, metrics.csv, losses.png, recipe.toml")
    print(f"Find things in your pictures with: siseon predict {run} PHOTO ...")


def _option(text: str) -> tuple[str, Any]:
    """name=value as the name and the value, which is JSON or else a word."""
    from siseon.interface import RecipeError

    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--options {text} has no value", "Write name=value, e.g. --options pyramid=false")
    try:
        return name, json_format.loads(value)
    except ValueError:
        return name, value
