"""A run in the making: the model, what moves it, how far it has come; saving that and taking it up again."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from siseon import tensorfile
from siseon.interface import WeightsError
from siseon.training import checkpoint, preparation
from siseon.training.checkpoint import BEST, LAST, STATE, State
from siseon.training.recipe import Recipe
from siseon.training.records import Row
from siseon.training.schedules import factor
from siseon.training.transfer import Transfer


@dataclass
class Course:
    """How far a run has come: all that changes beside tensors. Plain numbers, so that it can be JSON.

    epoch and batch: those that come next, from 0. seconds: of the whole run. sums: of each loss over the epoch's
    pictures. rate: the learning rate of the last step. best: the score of the best epoch, higher is better; best_epoch:
    its number from 1, 0 before there is one.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    pictures: int = 0
    rate: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    finished: bool = False

    def count(self, figures: Mapping[str, float], *, pictures: int, number: int, seconds: float) -> None:
        """A step is done: its losses, its pictures, the number of its batch, and how long it took."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * pictures
        self.pictures += pictures
        self.batch = number + 1
        self.step += 1
        self.seconds += seconds
        self.epoch_seconds += seconds

    def row(self) -> Row:
        """What metrics.csv says of the epoch, before the validation."""
        return {
            "epoch": self.epoch + 1,
            "step": self.step,
            **{name: value / self.pictures for name, value in self.sums.items()},
            "lr": self.rate,
            "pictures_per_second": round(self.pictures / max(self.epoch_seconds, 1e-9), 2),
            "seconds": round(self.epoch_seconds, 2),
        }

    def close_epoch(self, row: Row, score: float, recipe: Recipe) -> bool:
        """An epoch is over; whether it is the best so far. A score that is not a number is the worst."""
        score = -math.inf if math.isnan(score) else score
        # as long as nothing is found at all, a later epoch is the better one
        improved = score > self.best or score == self.best == 0 or not self.best_epoch
        self.history.append(row)
        self.epoch += 1
        if improved:
            self.best, self.best_epoch = score, self.epoch
        self.batch, self.pictures, self.epoch_seconds, self.sums = 0, 0, 0.0, {}
        in_vain = self.epoch - self.best_epoch
        self.finished = self.epoch >= recipe.epochs or self.out_of_time(recipe) or 0 < recipe.patience <= in_vain
        return improved

    def share(self, recipe: Recipe, steps: int) -> float:
        """How much of the run is done when the coming step is, by steps or by minutes, whichever is further."""
        minutes = self.seconds / 60 / recipe.minutes if recipe.minutes else 0.0
        return min(max((self.step + 1) / steps, minutes), 1.0)

    def out_of_time(self, recipe: Recipe) -> bool:
        """Whether the minutes are spent."""
        return recipe.minutes is not None and self.seconds >= 60 * recipe.minutes


class Training:
    """A model, its optimizer, the running mean of its weights, its course, and the folder where they are kept."""

    def __init__(self, model: nn.Module, recipe: Recipe, folder: Path | None) -> None:
        self.device = preparation.device_of(recipe)
        self.arithmetic = preparation.arithmetic(recipe, self.device)
        preparation.placed(model, recipe, self.device)
        self.model, self.recipe, self.folder = model, recipe, folder
        self.optimizer = preparation.optimizer_of(model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.average = preparation.mean_of_weights(model, recipe)
        self.transfer = Transfer(model, recipe.transfer) if recipe.transfer else None
        self.course = Course()
        self._best: dict[str, Tensor] = {}
        self._saved = time.monotonic()

    @property
    def judged(self) -> nn.Module:
        """The model that is validated: with the running mean of the weights where there is one."""
        return self.average.module if self.average else self.model

    def set_rate(self, steps: int) -> float:
        """Set the learning rate of the coming step and what learns in it; give the share of the run that it ends."""
        share = self.course.share(self.recipe, steps)
        recipe, warmup = self.recipe, self.recipe.warmup
        height = factor(recipe.schedule, share, warmup=warmup if warmup < 1 else 0)
        rise = (self.course.step + 1) / warmup if warmup >= 1 else 1.0
        self.course.rate = recipe.learning_rate * min(height, rise)
        for group in self.optimizer.param_groups:
            group["lr"] = self.course.rate * group["share"]
        if self.transfer:
            self.transfer.at(share)
        return share

    def save(self, *, improved: bool = False) -> None:
        """Save everything; the judged model as the best too, if it improved. Without a folder only the best is kept."""
        self._saved = time.monotonic()
        if self.folder is None:
            if improved:
                self._best = {name: tensor.clone() for name, tensor in self.judged.state_dict().items()}
            return
        average = {} if self.average is None else self.average.state_dict()
        tensors = {
            **checkpoint.optimizer_state(self.optimizer),
            **{f"average/{name}": tensor for name, tensor in average.items()},
        }
        facts = {"course": asdict(self.course), "scaler": self.scaler.state_dict()}
        writers = {LAST: self._model_writer(self.model), STATE: checkpoint.state_writer(State(tensors, facts))}
        if improved:
            writers[BEST] = self._model_writer(self.judged)
        checkpoint.save(self.folder, writers, step=self.course.step, epoch=self.course.epoch)

    def save_if_due(self) -> None:
        """Save if the recipe's seconds have passed since the last time."""
        if time.monotonic() - self._saved >= self.recipe.save_every:
            self.save()

    def restore(self, folder: Path) -> None:
        """Take up the state that a folder holds."""
        state = checkpoint.read_state(folder)
        try:
            self.model.load_state_dict(tensorfile.read(folder / LAST)[0])
        except RuntimeError as fault:
            raise WeightsError(
                f"{folder / LAST} was saved by another model than the one to go on with",
                "Use the version of siseon that began the run, or train again",
            ) from fault
        checkpoint.restore_optimizer(self.optimizer, state.tensors)
        if self.average is not None:
            kept = {name: tensor for name, tensor in state.tensors.items() if name.startswith("average/")}
            self.average.load_state_dict({name.removeprefix("average/"): tensor for name, tensor in kept.items()})
        self.scaler.load_state_dict(state.facts["scaler"])
        self.course = Course(**state.facts["course"])

    def best_model(self) -> nn.Module:
        """The model with its best weights, in evaluation mode."""
        best = self._best if self.folder is None else tensorfile.read(self.folder / BEST)[0]
        self.model.load_state_dict(best)
        return self.model.eval()

    def keep_best(self, model: object) -> None:
        """Save the best model again, after it was completed."""
        if self.folder is not None:
            course = self.course
            checkpoint.save(
                self.folder, {BEST: self._model_writer(cast(nn.Module, model))}, step=course.step, epoch=course.epoch
            )

    def _model_writer(self, model: nn.Module) -> checkpoint.Writer:
        facts = {"epoch": str(self.course.epoch), "step": str(self.course.step)}
        return lambda path: tensorfile.save_model(preparation.contract(model), path, **facts)
