"""The training loop, visible from top to bottom, and the run that it leaves.

A run folder holds recipe.toml, metrics.csv, losses.png, log.txt, best.safetensors and last.safetensors (each a model
that `load` opens; the best holds the running mean of the weights where the recipe asks for one), state.safetensors and
manifest.json. It can be gone on with after a kill at any moment; on one machine, without a limit of minutes, weights
and figures are then to the bit those of a run that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from siseon import tensorfile
from siseon.data.augment import Augment, Augmentation
from siseon.data.batches import Batch, Batches
from siseon.data.dataset import Data, Dataset
from siseon.data.open_data import open_data
from siseon.interface import DataError, RecipeError, SiseonError
from siseon.layers import inference
from siseon.process import keep_memory
from siseon.training import checkpoint, preparation, records
from siseon.training.course import Training
from siseon.training.interruption import Interrupted, Signals, Stop
from siseon.training.progress import Progress, fitting
from siseon.training.recipe import Recipe

Evaluate = Callable[[nn.Module, Dataset], Mapping[str, float]]
"""Judges a model on the validation pictures: figures by name, the main one first, of which higher is better."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training. model: with its best weights, in evaluation mode; history: the rows of metrics.csv.

    metric and best: the figure that chose the best epoch, and its value: the evaluation's first, else val_loss, or loss
    where there are no validation pictures.
    """

    folder: Path | None
    model: nn.Module
    history: list[records.Row]
    metric: str
    best: float


def fit(
    model: nn.Module,
    data: Data,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
    augment: Augment | Augmentation | None = None,
    **changes: object,
) -> Run:
    """Train a model on data.train, choose the best epoch on data.val, and leave all in the folder `out`, if given.

    changes: fields of the recipe. augment: instead of the recipe's random changes. progress: what to show; if left out,
    a moving line in a terminal, else a line an epoch. Raises RecipeError for settings that do not fit model and data,
    DataError, Interrupted after Ctrl-C or SIGTERM, and SiseonError when the loss is no longer finite.
    """
    recipe = (recipe or Recipe()).changed(**changes)
    facts = preparation.contract(model)
    source = data.source or recipe.data or data.name  # the whole path: a run is gone on with from any folder
    recipe = recipe.changed(model=recipe.model or str(facts.spec["name"]), data=source)
    _check(facts, data)
    recipe = recipe.changed(flip=preparation.flip_of(recipe, data.task, data.classes))
    training = Training(model, recipe, None if out is None else new_folder(Path(out), recipe))
    training.save()  # so that a kill before the first step, too, leaves a run to go on with
    return _train(training, data, evaluate, progress or fitting(), augment)


def resume(
    folder: Path | str,
    *,
    load: Callable[[Path], nn.Module],
    data: Data | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
    augment: Augment | Augmentation | None = None,
) -> Run:
    """Go on with the run in `folder` as if it had never stopped.

    load: builds the model of a .safetensors file (`siseon.load`); data: opened from the recipe if left out. The rest is
    what `fit` was given. Raises WeightsError naming a file that is damaged.
    """
    folder = Path(folder)
    checkpoint.finish(folder)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    model = load(folder / checkpoint.LAST)
    facts = preparation.contract(model)
    words = facts.classes if facts.task == "captioning" else None
    data = data or open_data(recipe.data, task=facts.task, language=recipe.lang, classes=words)
    _check(facts, data)
    training = Training(model, recipe, folder)
    training.restore(folder)
    return _train(training, data, evaluate, progress or fitting(), augment)


def _train(
    training: Training,
    data: Data,
    evaluate: Evaluate | None,
    progress: Progress,
    augment: Augment | Augmentation | None,
) -> Run:
    """Epoch by epoch: train, validate, save, write down; until the recipe says that it is enough."""
    recipe, course = training.recipe, training.course
    keep_memory()
    with (
        closing(progress),
        closing(records.Records(training.folder, tensorboard=recipe.tensorboard)) as notes,
        _batches(training, data.train, notes, augment or preparation.augment_of(recipe, data.task)) as batches,
        Signals(active=training.folder is not None) as signals,
    ):
        for problem in data.problems:
            notes.problem(problem)
        try:
            while not course.finished:
                _epoch(training, batches, progress, signals)
                row = course.row()
                before = time.monotonic()
                with signals.at_once():
                    figures, score = _validate(training, data, row, notes, evaluate)
                course.seconds += time.monotonic() - before
                improved = course.close_epoch({**row, **figures}, score, recipe)
                training.save(improved=improved)
                notes.epochs(course.history)
                line = records.line(course.history[-1], recipe.epochs)
                notes.note(line)
                progress.epoch(line)
            model = training.best_model()
            if isinstance(model, preparation.Completed):
                with signals.at_once():
                    _complete(model, training, data.train, notes, progress)
        except Stop:
            if not course.finished:  # else everything is saved, and the model at hand is the best, not the last
                training.save()
            assert training.folder and signals.number  # without a folder no signal is caught
            raise Interrupted(training.folder, number=signals.number, step=course.step) from None
        notes.epochs(course.history, last=True)
    history = course.history
    metric = records.main_metric(history[-1])
    best = history[course.best_epoch - 1][metric]
    return Run(training.folder, model, history, metric, best)


def _complete(
    model: preparation.Completed, training: Training, dataset: Dataset, notes: records.Records, progress: Progress
) -> None:
    """Fit what is not learnt by gradients, on the training pictures as they are, and save the best model again."""
    progress.epoch("the epochs are over; fitting what is not learnt by gradients")
    with _batches(training, dataset, notes, augment=None) as batches:
        model.complete((batch.images, batch.targets) for batch in batches.epoch(0))
    training.keep_best(model)


def _epoch(training: Training, batches: Batches, progress: Progress, signals: Signals) -> None:
    """What is left of the epoch in hand, batch by batch: losses, gradient, step."""
    model, recipe, course = training.model.train(), training.recipe, training.course
    optimizer, scaler = training.optimizer, training.scaler
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    classes = len(preparation.contract(model).classes)
    before = time.monotonic()
    for batch in batches.epoch(course.epoch, start=course.batch):
        torch.manual_seed(preparation.seed_of(recipe.seed, course.step))
        share = training.set_rate(steps=recipe.epochs * len(batches))
        images, targets = preparation.mixed(batch, recipe, classes, step=course.step)
        with training.arithmetic:
            losses = preparation.contract(model).loss(images, targets)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
        scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        length = clip_grad_norm_(parameters, recipe.clip or math.inf)
        figures = _finite({"loss": total, **losses}, length, batch, training)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if training.average:
            training.average.update_parameters(model)
        now = time.monotonic()
        course.count(figures, pictures=len(batch.names), number=batch.number, seconds=now - before)
        before = now
        progress.step(f"{course.epoch + 1}/{recipe.epochs}", share=share, losses=figures, pictures=len(batch.names))
        signals.stop_if_asked()
        training.save_if_due()
        if course.out_of_time(recipe):
            break
    if not course.pictures:
        raise DataError("none of the training pictures can be read", "See what is wrong with them: siseon check")


def _finite(losses: Mapping[str, Tensor], length: Tensor, batch: Batch, training: Training) -> dict[str, float]:
    """The losses as numbers. Raises SiseonError, before the step is taken, when one or the gradient is not finite."""
    values = torch.stack([*(loss.detach().float() for loss in losses.values()), length.float()]).tolist()
    figures = dict(zip(losses, values, strict=False))
    # a scaled gradient of fp16 may overflow: the scaler then leaves out the step
    if math.isfinite(figures["loss"]) and (math.isfinite(values[-1]) or training.scaler.is_enabled()):
        return figures
    course, recipe = training.course, training.recipe
    said = ", ".join(f"{name} {value:.3g}" for name, value in [*figures.items(), ("gradient", values[-1])])
    names = ", ".join(batch.names[:8]) + (" ..." if len(batch.names) > 8 else "")
    kept = f"; what was learnt until the last save is in {training.folder}" if training.folder else ""
    raise SiseonError(
        f"training broke down in step {course.step + 1} (epoch {course.epoch + 1}): {said}; pictures: {names}",
        f"Take a lower lr than {recipe.learning_rate:g}, or a longer warmup, or look at these pictures{kept}",
    )


def _validate(
    training: Training, data: Data, row: records.Row, notes: records.Records, evaluate: Evaluate | None
) -> tuple[dict[str, float], float]:
    """What validation says, the main figure first, and the score: the main figure, or the loss below zero."""
    if not {"val", "test"} & set(data.splits):
        return {}, -row["loss"]
    torch.manual_seed(training.recipe.seed)
    if evaluate is not None:
        figures = dict(evaluate(training.judged, data.val))
        return figures, next(iter(figures.values()))
    loss = _validation_loss(training, data.val, notes)
    return {"val_loss": loss}, -loss


def _validation_loss(training: Training, dataset: Dataset, notes: records.Records) -> float:
    """The mean loss over the pictures, without random changes, in evaluation mode."""
    total, pictures = 0.0, 0
    model = training.judged
    with inference(model), _batches(training, dataset, notes, augment=None) as batches:
        for batch in batches.epoch(0):
            with training.arithmetic:
                losses = preparation.contract(model).loss(batch.images, batch.targets)
            total += sum(loss.item() for loss in losses.values()) * len(batch.names)
            pictures += len(batch.names)
    return total / pictures if pictures else math.nan


def _batches(
    training: Training, dataset: Dataset, notes: records.Records, augment: Augment | Augmentation | None
) -> Batches:
    """The batches of a split: shuffled and changed at random for training, as they are for validation."""
    return Batches(
        dataset,
        preparation.frame_of(training.model),
        batch=training.recipe.batch,
        seed=training.recipe.seed,
        augment=augment,
        workers=preparation.workers_of(training.recipe, training.device),
        shuffle=augment is not None,
        masks=preparation.learns_masks(training.model),
        device=training.device,
        on_problem=notes.problem,
    )


def new_folder(folder: Path, recipe: Recipe) -> Path:
    """Make the folder of a new run. Raises RecipeError where there is a run already."""
    if (folder / checkpoint.MANIFEST).exists():
        raise RecipeError(f"{folder} holds a run already", "Go on with it (resume), or choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise RecipeError(f"{folder} cannot be made ({fault.strerror})", "Choose another folder") from fault
    tensorfile.write_whole(folder / "recipe.toml", [recipe.to_toml().encode()])
    return folder


def _check(model: preparation.Model, data: Data) -> None:
    """Whether model and data belong together. A model that only numbers its classes takes the names of the data."""
    if "train" not in data.splits:
        raise DataError(f"{data.name} has no training pictures", "Call one of its splits train")
    if model.task != data.task:
        raise RecipeError(
            f"the model is for {model.task}, the data for {data.task}",
            "Take another model (siseon play learns a game), or other data; open_data(..., task=model.task) gives maps "
            "where objects have shapes",
        )
    annotations = (data.train.annotation(index) for index in range(len(data.train)))
    if model.task == "detection" and model.needs_masks and not any(known.segments for known in annotations):
        raise RecipeError(
            f"the model learns masks, and no object of {data.name} has one",
            "Take a model that finds boxes (faster_rcnn), or data with polygons or masks",
        )
    numbered = tuple(map(str, range(len(data.classes))))
    if model.classes == numbered:
        model.classes = data.classes
        arguments = {**model.spec["arguments"], "classes": list(data.classes)}
        model.spec = {**model.spec, "arguments": arguments}
    if model.classes != data.classes:
        raise RecipeError(
            f"the model knows {_some(model.classes)}, the data {_some(data.classes)}",
            "Build the model with classes=data.classes",
        )


def _some(classes: tuple[str, ...]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:3])}{' ...' if len(classes) > 3 else ''})"
