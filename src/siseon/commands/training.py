"""Commands that train and judge: train, evaluate, compare, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field
from tyro.conf import OmitArgPrefixes, Positional, Suppress

from siseon.commands.generation import play_anew, play_on
from siseon.commands.networks import option, trained
from siseon.commands.output import progress, results
from siseon.training.recipe import Recipe

if TYPE_CHECKING:
    from siseon.data.dataset import Task
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
    given: Suppress[frozenset[str] | None] = None,
) -> None:
    """Train a model, evaluate the best epoch on the test pictures, and leave all in a run folder.

    Args:
        recipe: the settings of the run
        options: further arguments of the model as name=value, e.g. pyramid=false
        resume: run folder to go on with, as if it had never stopped; needs no other option
        out: run folder to make; runs/train-N if left out
        given: the settings that hold, whatever suits the model; all of them if left out
    """
    from siseon.data.open_data import open_data
    from siseon.evaluation import validate
    from siseon.interface import RecipeError
    from siseon.training.fit import fit
    from siseon.training.fit import resume as go_on
    from siseon.weights import build, load
    from siseon.zoo import entry

    if resume is not None:
        kept = _recipe_of(resume)
        if entry(kept.model).task == "generation":
            return play_on(resume)
        go_on(resume, load=load, evaluate=validate)
        return _test(resume, kept)
    if not recipe.model or not recipe.data:
        missing = "a model" if not recipe.model else "--data"
        raise RecipeError(f"{missing} is missing", "For example: siseon train faster_rcnn_mini --data scenes")
    chosen = recipe.model_dump(include=None if given is None else {"model", *given})
    plain = _of_a_size_that_suits(Recipe(**{**chosen, "options": dict(map(option, options))}))
    if entry(plain.model).task == "generation":
        with results(out, "train") as folder:
            return play_anew(plain, folder)
    if entry(plain.model).task == "control":
        raise RecipeError(f"{plain.model} learns a game, not from pictures", "For example: siseon play breakout_mini")
    data = open_data(plain.data, task=cast("Task", entry(plain.model).task), language=plain.lang)
    arguments = {"classes": data.classes, **plain.options}
    if plain.backbone is not None:
        arguments["backbone"] = plain.backbone
    model = build(plain.model, weights=plain.weights, **arguments)
    with results(out, "train") as folder:
        fit(model, data, out=folder, recipe=plain, evaluate=validate)
    _test(folder, plain)


def _of_a_size_that_suits(recipe: Recipe) -> Recipe:
    """The recipe; with the mini where a paper's network was named for the small built-in pictures, and nothing else.

    On two cores the paper's networks would learn the 160 pixels of a scene for a day, its mini in minutes.
    """
    from siseon.data.open_data import BUILT_IN
    from siseon.zoo import ZOO

    mini = f"{recipe.model}_mini"
    if recipe.data not in BUILT_IN or mini not in ZOO or recipe.backbone or recipe.weights or recipe.options:
        return recipe
    print(f"note: {mini} is trained, which is made for the pictures of {recipe.data}; name a --backbone for another")
    return recipe.changed(model=mini)


def evaluate(
    model: Positional[str],
    *,
    data: str | None = None,
    split: str = "test",
    weights: str | None = None,
    options: tuple[str, ...] = (),
    batch: int = 8,
    mirrored: bool = False,
    precision: Literal["fp32", "bf16"] = "fp32",
    lang: Literal["en", "ko"] | None = None,
    device: str = "auto",
    out: Path | None = None,
) -> None:
    """Compare what a model finds with the truth: AP, accuracy or IoU, of each class too, curves, confusion, pictures.

    Args:
        model: a run folder, a .safetensors file, or the name of a model with --weights
        data: folder or file of the data set, or scenes, or digits; that of the run if left out
        split: train, val or test
        weights: imagenet, coco or a file, where the model is given by its name
        options: arguments of such a model as name=value, e.g. padding=tensorflow
        batch: pictures at once
        mirrored: a classifier judges each picture and its mirror image, and takes the mean
        precision: bf16 is faster on processors that have it, and the numbers differ in the third digit
        lang: of the sentences about scenes; that of the run if left out
        device: auto, cpu, cuda, mps
        out: folder for the report; runs/evaluate-N if left out
    """
    from siseon.data.open_data import open_data
    from siseon.evaluation import evaluate as compare
    from siseon.interface import DataError

    network = trained(model, weights, device, precision, options=options)
    recipe = _recipe_of(Path(model)) if (Path(model) / "recipe.toml").exists() else Recipe()
    source = data or recipe.data
    if not source:
        raise DataError("the data to evaluate on is missing", "Say --data FOLDER, or scenes, or digits")
    opened = open_data(source, task=network.task, language=lang or recipe.lang)
    with results(out, "evaluate") as folder, progress(f"{split} of {source}") as done:
        result = compare(network, opened, split=split, batch=batch, mirrored=mirrored, out=folder, progress=done)
    print(result.table())
    for problem in result.problems:
        print(f"passed over: {problem}", file=sys.stderr)
    print(f"The report is in {folder}")


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
        with results(out, "compare") as folder:
            found = race(models, data, out=folder, family=family, photos=photos, languages=languages, recipe=recipe)
    return 0 if found.finished else 2


def search(
    *,
    data: str = "digits",
    method: Literal["both", "random", "evolution"] = "both",
    minutes: float = 5.0,
    candidates: int | None = None,
    epochs: int = 2,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Search for the cells of a small NASNet: networks drawn at random, and bred by regularised evolution.

    Args:
        data: folder or file of a data set of classes, or digits
        method: both, random (the least that a search must beat) or evolution (AmoebaNet's)
        minutes: for each method
        candidates: stop a method after so many networks
        epochs: how long each network is trained
        seed: the same seed tries the same networks
        out: folder for the results; runs/search-N if left out
    """
    from siseon.data.open_data import open_data
    from siseon.searching import said, search_cells

    methods: tuple[Literal["random", "evolution"], ...] = ("random", "evolution") if method == "both" else (method,)
    opened = open_data(data)
    with results(out, "search") as folder:
        settings = {"minutes": minutes, "candidates": candidates, "epochs": epochs, "seed": seed}
        found = search_cells(opened, folder, methods=methods, **settings)  # type: ignore[arg-type]
    print(said(found))
    print(f"All networks are in {folder}: search.csv, search.png; the best, and how to train it on, in best.json")


def demo(*, out: Path = Path("demo"), seed: int = 0, minutes: float = 2.3) -> None:
    """Train a small Faster R-CNN on drawn scenes, offline, and look at what it finds: under three minutes on two cores.

    Args:
        out: folder for the results
        seed: the same seed gives the same run
        minutes: how long to train
    """
    from siseon.demo import demo as run

    run(out, seed=seed, minutes=minutes)


def _recipe_of(run: Path) -> Recipe:
    return Recipe.from_toml(run / "recipe.toml")


def _test(run: Path, recipe: Recipe) -> None:
    """Evaluate the best epoch of a run on the test pictures, and say where everything is."""
    from siseon.data.open_data import open_data
    from siseon.evaluation import evaluate as compare
    from siseon.training.preparation import device_of
    from siseon.weights import load

    network = cast("Model", load(run).to(device_of(recipe)))
    data = open_data(recipe.data, task=network.task, language=recipe.lang)
    if {"val", "test"} & set(data.splits):
        with progress("evaluating the best epoch on the test pictures") as done:
            result = compare(network, data, batch=recipe.batch, out=run / "test", progress=done)
        print(result.table())
        print(f"The figures and pictures of the evaluation are in {run / 'test'}")
    print(f"The run is in {run}: best.safetensors, metrics.csv, losses.png, recipe.toml")
    print(f"Find things in your pictures with: siseon predict {run} PHOTO ...")
