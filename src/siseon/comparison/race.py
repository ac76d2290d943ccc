"""The race: every model is trained for the same minutes on the same pictures, judged, timed, and put into one report.

Flow    names -> models -> for each: fit, evaluate on the test pictures, result.json -> all in turns: time, count,
        weigh -> report
Fair    One recipe for all: the same split, seed, minutes, batch and picture size, the best epoch chosen on the same
        validation pictures. What single models have set otherwise (`own`) stands in the report. Pictures are only
        mirrored: models that search pictures for proposals then search each of them once. The minutes hold these
        searches and validation; what R-CNN fits after its epochs comes on top, and is in the seconds that the report
        states.
Folder  recipe.toml and race.json (what the race is), for each model a run folder with its result.json, and the report.
        A model with a result is not trained again, one that was interrupted goes on, one that failed is tried again.
"""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from siseon import weights
from siseon.comparison import measurement, noise, result, settings
from siseon.comparison.entrants import Entrant, Family, entrants, task_of
from siseon.comparison.kinds import KINDS
from siseon.comparison.photographs import Photo
from siseon.comparison.progress import Standing, clock
from siseon.comparison.reading import reading
from siseon.comparison.report import write
from siseon.comparison.result import Comparison, Result
from siseon.comparison.settings import Own
from siseon.comparison.tables import text
from siseon.comparison.words import Language
from siseon.data.dataset import Annotation, Data, Dataset, Maps
from siseon.data.open_data import open_data
from siseon.evaluation import Evaluation, Model, evaluate, validate
from siseon.interface import DataError, PictureError, RecipeError, SiseonError
from siseon.metrics import confusion_of_detections
from siseon.training import checkpoint
from siseon.training.checkpoint import MANIFEST
from siseon.training.fit import Run, fit, resume
from siseon.training.interruption import Interrupted
from siseon.training.preparation import device_of
from siseon.training.progress import Progress, fitting
from siseon.training.recipe import Recipe

RECIPE = Recipe(epochs=100_000, minutes=5, scale=(1.0, 1.0), brightness=0, contrast=0, saturation=0, hue=0)
"""The minutes end the training; the epochs never do."""
SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Scores from which detections may be shown."""


class Stopped(SiseonError):  # noqa: N818
    """The race was stopped by a signal; all that was done is kept."""

    def __init__(self, folder: Path, exit_code: int) -> None:
        name = f'"{folder}"' if " " in str(folder) else str(folder)
        super().__init__(
            f"the race was stopped; everything is saved in {folder}", f"Go on with: siseon compare --resume {name}"
        )
        self.exit_code = exit_code


@dataclass(frozen=True)
class Race:
    """What a race is: who runs, on what, how, where to; and how much is shown and said."""

    folder: Path
    entrants: tuple[Entrant, ...]
    data: Data
    recipe: Recipe
    own: Own
    photos: int
    languages: tuple[Language, ...]
    say: Callable[[str], None]
    progress: Callable[[], Progress]


def compare(
    models: Sequence[str],
    data: Data | str | Path,
    *,
    out: Path | str,
    family: Family = "auto",
    photos: int = 20,
    languages: tuple[Language, ...] = ("en", "ko"),
    recipe: Recipe = RECIPE,
    own: Own | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[], Progress] = fitting,
    **changes: object,
) -> Comparison:
    """Train `models` for the same minutes on `data`, compare them, and leave runs and report in the folder `out`.

    models: names of the zoo, or short ones such as ssd, which stand for the variant of `family` (entrants.py). photos:
    how many test pictures the models are timed on. changes: fields of the recipe, such as minutes=5, seed=1, imgsz=320.
    own: what single models have set otherwise, e.g. {"ssd": {"lr": 1e-3, "options": {"wide": 192}}}.
    Where `out` holds this race already, it is gone on with; more models may join it. A model that fails is reported and
    passed over. Raises RecipeError or DataError for what cannot be compared, or where `out` holds another race; Stopped
    after Ctrl-C.
    """
    opened = data if isinstance(data, Data) else open_data(data, task=task_of(models))
    named = opened.source or opened.name if isinstance(data, Data) else settings.lasting(data)
    recipe = recipe.changed(data=named, **changes)
    if photos < 1:
        raise RecipeError(f"photos = {photos} makes no sense", "Give 1 or more")
    runners = entrants(models, opened, family)
    settings.check(recipe, own or {}, runners)
    race = Race(Path(out), runners, opened, recipe, own or {}, photos, languages, say, progress)
    plan = _plan(race)
    facts = {"models": [entrant.given for entrant in runners], "family": family, "photos": photos}
    settings.keep(race.folder, recipe, race.own, {**facts, "languages": languages})
    say(plan)
    try:
        return _run(race)
    except Interrupted as stop:
        raise Stopped(race.folder, stop.exit_code) from None
    except KeyboardInterrupt:
        raise Stopped(race.folder, 130) from None


def go_on(folder: Path | str, *, say: Callable[[str], None] = print) -> Comparison:
    """Go on with the race in `folder` where it stopped, or measure it anew where it is over. Raises RecipeError."""
    folder = Path(folder)
    recipe, facts = settings.read(folder)
    models, languages = facts.pop("models"), tuple(facts.pop("languages"))
    return compare(models, recipe.data, out=folder, recipe=recipe, languages=languages, say=say, **facts)


def _plan(race: Race) -> str:
    """What is going to happen. Raises DataError where there is nothing to learn from, or nothing to judge by."""
    minutes, models = race.recipe.minutes or 0.0, len(race.entrants)
    return (
        f"{models} model{'s' * (models > 1)} on {race.data.name}: {len(race.data.train):,} pictures to learn from, "
        f"{len(race.data.test):,} to judge by, {minutes:g} minutes each: {clock(60 * minutes * models)} of training, "
        "and the time to judge"
    )


def _run(race: Race) -> Comparison:
    results = [_result_of(race, place) for place in range(len(race.entrants))]
    race.say("Timing all of them in turns")
    results, photos = _measured(race, results)
    comparison = _comparison(race, results, timed=len(photos))
    write(comparison, photos, race.languages)
    race.say(text(comparison))
    for sentence in reading(comparison):
        race.say(sentence.within(race.languages, "\n"))
    race.say(f"The report is {race.folder / 'index.html'}; the runs lie beside it")
    return comparison


def _result_of(race: Race, place: int) -> Result:
    """Train and judge one model, unless that was done before. What goes wrong in it becomes its result."""
    given, model = race.entrants[place]
    folder = race.folder / model
    known = result.read(folder / "result.json")
    if known is not None and not known.failure and (folder / MANIFEST).exists():
        race.say(f"{model}: trained before")
        return replace(known, name=given)
    race.say(f"{model} ({place + 1} of {len(race.entrants)})")
    try:
        spent, start = _seconds_spent(folder), monotonic()
        run = _trained(race, place, folder)
        found = _judged(race, race.entrants[place], run, folder, seconds=spent + monotonic() - start)
    except Interrupted:
        raise
    except Exception as fault:  # whatever goes wrong in one model, the race goes on
        found = Result(given, model, failure=_failed(race, model, fault))
    result.write(found, folder / "result.json")
    return found


def _seconds_spent(folder: Path) -> float:
    """What an interrupted training in `folder` had taken until its last save."""
    if not (folder / MANIFEST).exists():
        return 0.0
    checkpoint.finish(folder)
    return float(checkpoint.read_state(folder).facts["course"]["seconds"])


def _trained(race: Race, place: int, folder: Path) -> Run:
    """The run of one model: gone on with where there is one, else begun."""
    minutes = race.recipe.minutes or 0.0
    model = race.entrants[place].model
    left = 60 * minutes * (len(race.entrants) - place - 1)
    standing = Standing(race.progress(), model=model, minutes=minutes, left=left)
    options: dict[str, Any] = {"evaluate": _validate, "progress": standing}
    if (folder / MANIFEST).exists():
        return resume(folder, load=weights.load, data=race.data, **options)
    recipe = settings.recipe_of(race.recipe, race.own, race.entrants[place])
    given: dict[str, Any] = {"classes": race.data.classes, **recipe.options}
    if recipe.backbone is not None:
        given["backbone"] = recipe.backbone
    torch.manual_seed(recipe.seed)
    network = weights.build(model, weights=recipe.weights, **given)
    return fit(network, race.data, out=folder, recipe=recipe, **options)


class _Some:
    """Evenly chosen pictures of a data set."""

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.task, self.classes = dataset.task, dataset.classes
        self.dataset, self.places = dataset, evenly(len(dataset), count)

    def __len__(self) -> int:
        return len(self.places)

    def annotation(self, index: int) -> Annotation:
        return self.dataset.annotation(self.places[index])

    def picture(self, index: int) -> np.ndarray:
        return self.dataset.picture(self.places[index])

    def semantic(self, index: int) -> np.ndarray:
        """Asked for only where the task is segmentation."""
        return cast(Maps, self.dataset).semantic(self.places[index])


def evenly(length: int, count: int) -> list[int]:
    """At most `count` places in 0..length-1, equally far apart."""
    count = min(count, length)
    return [place * length // count for place in range(count)]


def _validate(model: nn.Module, dataset: Dataset) -> dict[str, float]:
    return validate(model, _Some(dataset, KINDS[dataset.task].validated))


def _judged(race: Race, entrant: Entrant, run: Run, folder: Path, *, seconds: float) -> Result:
    """The trained model on the test pictures, with its own report in the folder `test`."""
    model = cast(Model, run.model.to(device_of(race.recipe)).eval())
    evaluation = evaluate(model, race.data, batch=race.recipe.batch, out=folder / "test")
    kind = KINDS[race.data.task]
    network = cast(nn.Module, model)
    return Result(
        entrant.given,
        entrant.model,
        figures=evaluation.metrics,
        per_class={name: row[kind.each] for name, row in evaluation.per_class.items() if kind.each},
        without=noise.values_without(evaluation, kind.noisy),
        score=_score_to_show(evaluation),
        epochs=len(run.history),
        seconds=seconds,
        parameters=measurement.parameters_of(network),
        weights=measurement.megabytes_of(network),
    )


def _score_to_show(evaluation: Evaluation) -> float:
    """The score from which the F1 of the detections, all classes together, is best; a half for a classifier."""
    if evaluation.task != "detection":
        return 0.5
    predictions: list[Any] = [answer.prediction for answer in evaluation.answers]
    truths = [answer.target() for answer in evaluation.answers]
    classes = len(evaluation.classes)

    def f1(score: float) -> float:
        counts = confusion_of_detections(predictions, truths, classes=classes, score=score)
        return float(2 * np.trace(counts) / max(counts[:, :classes].sum() + counts[:classes].sum(), 1))

    return max(SCORES, key=f1)


def _measured(race: Race, results: Sequence[Result]) -> tuple[list[Result], list[Photo]]:
    """The results with what a prediction costs, and the photos with what was predicted."""
    shown = KINDS[race.data.task].shown
    photos = _photos(race.data.test, race.photos)
    arrays = [photo.pixels for photo in photos]
    found = {entry.model: entry for entry in results}

    def fail(model: str, fault: Exception) -> None:
        found[model] = replace(found[model], failure=_failed(race, model, fault))

    models: dict[str, Model] = {}
    for entry in results:
        if not entry.failure:
            try:
                models[entry.model] = cast(
                    Model, weights.load(race.folder / entry.model).to(device_of(race.recipe)).eval()
                )
            except Exception as fault:  # as above
                fail(entry.model, fault)
    timings = measurement.timed(models, arrays, fail, shown=shown)
    for name, timing in timings.items():
        race.say(f"{name}: {sum(timing.stages().values()):.3g} ms a picture")
        found[name] = replace(
            found[name],
            stages=timing.stages(),
            macs=measurement.macs_of(models[name], arrays),
            peak=measurement.peak_megabytes(race.folder / name, arrays[0]),
        )
    answered = [
        photo._replace(answers={name: timing.predictions[place] for name, timing in timings.items()})
        for place, photo in enumerate(photos[:shown])
    ]
    return list(found.values()), [*answered, *photos[shown:]]


def _photos(dataset: Dataset, count: int) -> list[Photo]:
    """Evenly chosen pictures that can be read, with their maps where there are some."""
    photos = []
    for number in evenly(len(dataset), count):
        with suppress(PictureError, DataError):
            known = dataset.annotation(number)
            if dataset.task == "segmentation":
                known = replace(known, semantic=cast(Maps, dataset).semantic(number))
            photos.append(Photo(dataset.picture(number), known, {}))
    if not photos:
        raise SiseonError("none of the test pictures can be read", "See what is wrong with them: siseon check")
    return photos


def _comparison(race: Race, results: Sequence[Result], *, timed: int) -> Comparison:
    judged = [entry for entry in results if entry.figures]
    conditions = {
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": str(device_of(race.recipe)),
        "torch": torch.__version__,
        "system": platform.platform(terse=True),
    }
    return Comparison(
        race.folder,
        race.data.task,
        race.data.name,
        race.data.classes,
        KINDS[race.data.task].main,
        race.recipe.minutes or 0.0,
        race.recipe.seed,
        int(max((entry.figure("pictures") for entry in judged), default=0)),
        timed,
        conditions,
        tuple(results),
        race.own,
    )


def _failed(race: Race, model: str, fault: Exception) -> str:
    """Why a model did not finish, in a line; where it happened is kept in its folder."""
    reason = fault.problem if isinstance(fault, SiseonError) else f"{type(fault).__name__}: {fault}"
    reason = " ".join(reason.split())[:200]
    folder = race.folder / model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.txt").write_text("".join(traceback.format_exception(fault)), encoding="utf-8")
    race.say(f"{model} did not finish: {reason}")
    return reason
