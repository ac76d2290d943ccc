"""The game of two networks, visible from top to bottom: a generator and a discriminator that learn in turns.

As algorithm 1 of Goodfellow et al. 2014 (arXiv:1406.2661), with one step of each player a batch. A run folder is that
of fit.py with samples/epoch-*.png (always from the same noise), samples.gif (their film), samples.png (those of the
best epoch) and interpolation.png (from one noise to another). It can be gone on with after a kill at any moment, to the
bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from siseon import gallery, pictures
from siseon.data.augment import Augment
from siseon.data.batches import Batches
from siseon.data.dataset import Data, Dataset
from siseon.data.unlabelled import open_pictures
from siseon.interface import DataError, RecipeError, SiseonError
from siseon.process import keep_memory
from siseon.training import checkpoint, preparation, records
from siseon.training.course import Training
from siseon.training.fit import Evaluate, Run, new_folder
from siseon.training.interruption import Interrupted, Signals, Stop
from siseon.training.progress import Progress, fitting
from siseon.training.recipe import Recipe

SETTINGS: Mapping[str, object] = {
    "epochs": 50, "batch": 64, "lr": 2e-4, "momentum": 0.5, "weight_decay": 0.0, "schedule": "constant",
    "warmup": 0.0, "clip": 0.0, "scale": (1.0, 1.0),
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
}  # fmt: skip
"""What a game wants where a recipe says nothing: Adam as in section 4 of DCGAN (arXiv:1511.06434), no changes of
the pictures, which the generator would learn too. Batches of 64 where the paper has 128: small sets need the steps."""

UNTIL_TIME = 1000
"""Epochs of a game whose length the minutes decide."""

SHOWN = 64
"""Pictures in a grid of samples."""

COLLAPSED = 0.3
"""The variety below which the made pictures count as copies of each other, once they have been more varied."""

NEVER_FOOLED = 0.02
"""The discriminator's loss, over two epochs, below which the generator has lost the game; log 4 is a draw."""

EARLY = 300
"""Steps before which nothing counts as a collapse: the discriminator is ahead at first, and that passes."""


class Players(Protocol):
    """What this loop asks of a model beside being an nn.Module; models/generation/adversary.py says what each gives."""

    crop: int
    generator: nn.Module
    discriminator: nn.Module

    def __call__(self, noise: Tensor) -> Tensor:
        """Pictures from noise."""

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """What pictures are made from."""

    def like(self, images: Tensor) -> Tensor:
        """Real pictures as the discriminator takes them."""

    def discriminator_loss(self, real: Tensor, made: Tensor) -> Tensor:
        """What the discriminator minimises."""

    def generator_loss(self, made: Tensor) -> Tensor:
        """What the generator minimises."""

    def pictures(self, noise: Tensor) -> Tensor:
        """RGB pictures from noise, in evaluation mode."""


def play(
    model: nn.Module,
    data: Data,
    *,
    out: Path | str | None = None,
    recipe: Recipe | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
    **changes: object,
) -> Run:
    """Let the two networks of a model play over data.train, whose labels are ignored; leave all in the folder `out`.

    recipe: fields that nobody gave become those of SETTINGS; changes: further fields of it.
    evaluate: judges an epoch on data.val; without it the best epoch is the last in which the generator had not
    collapsed. Raises RecipeError for settings that do not fit, DataError, Interrupted after Ctrl-C or SIGTERM, and
    SiseonError when a loss is no longer finite.
    """
    recipe = suited((recipe or Recipe()).changed(**changes))
    facts = preparation.contract(model)
    source = data.source or recipe.data or data.name  # the whole path: a run is gone on with from any folder
    recipe = recipe.changed(model=recipe.model or str(facts.spec["name"]), data=source)
    _check(model, recipe, data)
    folder = Path(recipe.data).resolve()
    if out is not None and folder.is_dir() and Path(out).resolve().is_relative_to(folder):
        raise RecipeError(
            f"{out} lies in {recipe.data}, whose next reader would find the made pictures among the real ones",
            "Name another folder with --out",
        )
    recipe = recipe.changed(flip=preparation.flip_of(recipe, "generation", data.classes))
    training = Training(model, recipe, None if out is None else new_folder(Path(out), recipe))
    training.save()
    return _play(training, data, evaluate, progress or fitting())


def resume(
    folder: Path | str,
    *,
    load: Callable[[Path], nn.Module],
    data: Data | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> Run:
    """Go on with the run in `folder` as if it had never stopped; the arguments are those of fit.resume."""
    folder = Path(folder)
    checkpoint.finish(folder)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    data = data or open_pictures(recipe.data)
    model = load(folder / checkpoint.LAST)
    _check(model, recipe, data)
    training = Training(model, recipe, folder)
    training.restore(folder)
    return _play(training, data, evaluate, progress or fitting())


def suited(recipe: Recipe) -> Recipe:
    """The recipe with SETTINGS in the fields that nobody gave; where minutes are given, they decide."""
    if recipe.minutes is not None and "epochs" not in recipe.model_fields_set:
        recipe = recipe.changed(epochs=UNTIL_TIME)
    return recipe.changed(**{name: SETTINGS[name] for name in SETTINGS if name not in recipe.model_fields_set})


def _play(training: Training, data: Data, evaluate: Evaluate | None, progress: Progress) -> Run:
    """Epoch by epoch: play, look, save, write down; until the recipe says that it is enough."""
    recipe, course = training.recipe, training.course
    keep_memory()
    with (
        closing(progress),
        closing(records.Records(training.folder, tensorboard=recipe.tensorboard)) as notes,
        _batches(training, data.train, notes, preparation.augment_of(recipe, "generation")) as batches,
        Signals(active=training.folder is not None) as signals,
    ):
        for problem in data.problems:
            notes.problem(problem)
        try:
            with signals.at_once():
                truth = variety(_real(training, data.train, notes))
            while not course.finished:
                _epoch(training, batches, progress, signals)
                row = course.row()
                before = time.monotonic()
                with signals.at_once():
                    figures, score = _look(training, data, row, truth, evaluate)
                course.seconds += time.monotonic() - before
                improved = course.close_epoch({**row, **figures}, score, recipe)
                training.save(improved=improved)
                notes.epochs(course.history)
                for line in _said(training):
                    notes.note(line)
                    progress.epoch(line)
            model = training.best_model()
            with signals.at_once():
                _show(training, model)
        except Stop:
            if not course.finished:
                training.save()
            assert training.folder and signals.number  # without a folder no signal is caught
            raise Interrupted(training.folder, number=signals.number, step=course.step) from None
        notes.epochs(course.history, last=True)
    metric = records.main_metric(course.history[-1])
    best = course.history[course.best_epoch - 1].get(metric, math.nan)
    return Run(training.folder, model, course.history, metric, best)


def _epoch(training: Training, batches: Batches, progress: Progress, signals: Signals) -> None:
    """What is left of the epoch in hand: on each batch a step of the discriminator, then one of the generator."""
    recipe, course = training.recipe, training.course
    training.model.train()
    before = time.monotonic()
    for batch in batches.epoch(course.epoch, start=course.batch):
        torch.manual_seed(preparation.seed_of(recipe.seed, course.step))
        share = training.set_rate(steps=recipe.epochs * len(batches))
        losses = _turns(training, batch.images.tensor)
        if training.average:
            training.average.update_parameters(training.model)
        now = time.monotonic()
        course.count(losses, pictures=len(batch.names), number=batch.number, seconds=now - before)
        before = now
        progress.step(f"{course.epoch + 1}/{recipe.epochs}", share=share, losses=losses, pictures=len(batch.names))
        signals.stop_if_asked()
        training.save_if_due()
        if course.out_of_time(recipe):
            break
    if not course.pictures:
        raise DataError("none of the training pictures can be read", "See what is wrong with them: siseon check")


def _turns(training: Training, images: Tensor) -> dict[str, float]:
    """One turn of each player on real images RGB 0..1 [batch, 3, height, width]; the losses before their steps."""
    model = players(training.model)
    real = model.like(images)
    with training.arithmetic:
        made = model(model.noise(len(real)))
        discriminator = model.discriminator_loss(real, made.detach())
    _step(training, model.discriminator, discriminator)
    model.discriminator.requires_grad_(requires_grad=False)
    with training.arithmetic:
        generator = model.generator_loss(made)
    _step(training, model.generator, generator)
    model.discriminator.requires_grad_(requires_grad=True)
    losses = {"discriminator": discriminator.item(), "generator": generator.item()}
    if not all(map(math.isfinite, losses.values())):
        said = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        raise SiseonError(
            f"the game broke down in step {training.course.step + 1}: {said}",
            f"Take a lower lr than {training.recipe.learning_rate:g}, or precision fp32",
        )
    return losses


def _step(training: Training, player: nn.Module, loss: Tensor) -> None:
    """A step of one player. One optimizer serves both: it moves only what has a gradient."""
    loss.backward()  # type: ignore[no-untyped-call]
    if training.recipe.clip:
        clip_grad_norm_(player.parameters(), training.recipe.clip)
    training.optimizer.step()
    training.optimizer.zero_grad()


def variety(made: Tensor) -> float:
    """The mean distance of a picture to the one most like it, of pictures [count, channels, height, width].

    The distance is the root of the mean squared difference of values; 0 for copies, nan for fewer than two pictures.
    """
    if len(made) < 2:
        return math.nan
    rows = made.flatten(1).double()
    distances = torch.cdist(rows, rows).fill_diagonal_(math.inf)
    return distances.amin(1).mean().item() / rows.shape[1] ** 0.5


def _look(
    training: Training, data: Data, row: records.Row, truth: float, evaluate: Evaluate | None
) -> tuple[dict[str, float], float]:
    """Write the samples of the epoch; the figures, and the score that chooses the best epoch.

    variety: that of the samples, as a share of that of as many real pictures; collapsed: 1 where it fell below
    COLLAPSED after having been twice as high, or where the discriminator was not fooled for two epochs.
    """
    made = players(training.judged).pictures(_fixed_noise(training))
    if training.folder is not None:
        pictures.write(gallery.grid(made), training.folder / "samples" / f"epoch-{int(row['epoch']):04}.png")
    now = variety(made) / truth if truth > 0 else math.nan
    highest = max((earlier["variety"] for earlier in training.course.history), default=0.0)
    copies = now < COLLAPSED and now < highest / 2
    before = training.course.history[-1]["discriminator"] if training.course.history else math.inf
    lost = max(row["discriminator"], before) < NEVER_FOOLED
    collapsed = training.course.step >= EARLY and (copies or lost)
    figures = {"variety": now, "collapsed": float(collapsed)}
    score = -1.0 if collapsed else row["epoch"]
    if evaluate is not None and {"val", "test"} & set(data.splits):
        torch.manual_seed(training.recipe.seed)
        judged = dict(evaluate(training.judged, data.val))
        figures, score = {**judged, **figures}, next(iter(judged.values()))
    return figures, score


def _said(training: Training) -> list[str]:
    """The line of the last epoch, and one more where the game has gone wrong in it."""
    *earlier, row = training.course.history
    lines = [records.line(row, training.recipe.epochs)]
    if row["collapsed"] and not (earlier and earlier[-1]["collapsed"]):
        lost = row["discriminator"] < NEVER_FOOLED
        what = (
            f"the discriminator is never fooled any more (its loss is {row['discriminator']:.3f})"
            if lost
            else f"the generator makes nearly the same picture again and again (variety {row['variety']:.2f})"
        )
        lines.append(f"collapse in epoch {row['epoch']:.0f}: {what}; try a lower lr, or another seed")
    return lines


def _show(training: Training, model: nn.Module) -> None:
    """Write the samples of the best epoch, the film of all epochs, and the ways from one noise to the next."""
    if training.folder is None:
        return
    noise = _fixed_noise(training)
    pictures.write(gallery.grid(players(model).pictures(noise)), training.folder / "samples.png")
    ways = torch.cat([between(noise[row], noise[row + 1], count=10) for row in range(6)])
    pictures.write(gallery.grid(players(model).pictures(ways), columns=10), training.folder / "interpolation.png")
    gallery.animate(sorted((training.folder / "samples").glob("epoch-*.png")), training.folder / "samples.gif")


def between(start: Tensor, end: Tensor, *, count: int) -> Tensor:
    """`count` points [count, latent] at equal distances on the straight line from one noise [latent] to another."""
    return torch.lerp(start, end, torch.linspace(0, 1, count, device=start.device)[:, None])


def _fixed_noise(training: Training) -> Tensor:
    """The noise of the samples: the same in all epochs, whatever else is drawn."""
    return players(training.model).noise(SHOWN, torch.Generator().manual_seed(training.recipe.seed))


def players(model: nn.Module) -> Players:
    """The same model, seen through what this loop asks of it."""
    return cast(Players, model)


def _real(training: Training, dataset: Dataset, notes: records.Records) -> Tensor:
    """Up to SHOWN real pictures, drawn at random, as the discriminator takes them."""
    found: list[Tensor] = []
    with _batches(training, dataset, notes, Augment.none(), workers=0) as batches:
        for batch in batches.epoch(0):
            found.append(players(training.model).like(batch.images.tensor))
            if sum(map(len, found)) >= SHOWN:
                break
    if not found:
        raise DataError("none of the training pictures can be read", "See what is wrong with them: siseon check")
    return torch.cat(found)[:SHOWN]


def _batches(
    training: Training, dataset: Dataset, notes: records.Records, augment: Augment, workers: int | None = None
) -> Batches:
    return Batches(
        dataset,
        preparation.frame_of(training.model),
        batch=training.recipe.batch,
        seed=training.recipe.seed,
        augment=augment,
        workers=preparation.workers_of(training.recipe, training.device) if workers is None else workers,
        device=training.device,
        on_problem=notes.problem,
    )


def _check(model: nn.Module, recipe: Recipe, data: Data) -> None:
    """Whether model, recipe and data belong together."""
    if "train" not in data.splits:
        raise DataError(f"{data.name} has no training pictures", "Call one of its splits train")
    if getattr(model, "task", "") != "generation":
        raise RecipeError(f"{recipe.model} has no generator and no discriminator", "Train it with fit")
    if recipe.imgsz not in (None, preparation.contract(model).crop):
        raise RecipeError(
            f"the model makes pictures of {preparation.contract(model).crop} pixels, not of {recipe.imgsz}",
            "Build it with that size: --options size=...",
        )
    if recipe.precision == "fp16":
        raise RecipeError("two networks that play do not learn in fp16", "Take precision bf16, fp32 or auto")
    if recipe.transfer or recipe.frozen or recipe.mixup or recipe.cutmix or recipe.smoothing:
        raise RecipeError(
            "transfer, frozen, mixup, cutmix and smoothing are for networks that learn labels", "Leave them out"
        )
