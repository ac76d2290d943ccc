"""Who takes part: short names become models of one family, and all must fit the task of the data."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from siseon import zoo
from siseon.comparison.kinds import KINDS
from siseon.data.dataset import Data, Task
from siseon.data.open_data import BUILT_IN
from siseon.interface import DataError, RecipeError

Family: TypeAlias = Literal["auto", "mini", "mobilenet_v2", "exact"]
"""mini: NAME_mini; mobilenet_v2: NAME_mobilenet_v2; exact: every name as it is; auto: mini for the built-in data, else
mobilenet_v2."""


class Entrant(NamedTuple):
    """A name as it was given, and the model of the zoo that it stands for."""

    given: str
    model: str


def entrants(names: Sequence[str], data: Data, family: Family = "auto") -> tuple[Entrant, ...]:
    """The models that `names` stand for, in their order.

    A name NAME of which the zoo has NAME_family stands for that variant, any other for the model so called. Raises
    RecipeError for an unknown name, one given twice, or models of two tasks; DataError where the data is for another.
    """
    if not names:
        raise RecipeError("no model is named", "For example: siseon compare faster_rcnn ssd retinanet --data scenes")
    if family == "auto":
        family = "mini" if data.name in BUILT_IN else "mobilenet_v2"
    found = tuple(Entrant(name, _model(name, family)) for name in names)
    models = [entrant.model for entrant in found]
    twice = next((model for model in models if models.count(model) > 1), None)
    if twice is not None:
        raise RecipeError(f"{twice} is named twice", "Name each model once")
    _check_tasks(models, data)
    return found


def _model(name: str, family: Family) -> str:
    variant = f"{name}_{family}"
    if variant in zoo.ZOO:
        return variant
    if name in zoo.ZOO:
        return name
    short = [model.removesuffix(f"_{family}") for model in zoo.ZOO if model.endswith(f"_{family}")]
    near = difflib.get_close_matches(name, [*short, *zoo.ZOO], n=1, cutoff=0.4)
    meant = f'Did you mean "{near[0]}"? ' if near else ""
    raise RecipeError(f'there is no model "{name}"', f"{meant}siseon models lists all {len(zoo.ZOO)}")


def task_of(names: Sequence[str]) -> Task | None:
    """What data has to be opened for: segmentation where all models are for it, else whatever the data is for."""
    tasks = {
        zoo.entry(model).task
        for name in names
        for model in (name, f"{name}_mini", f"{name}_mobilenet_v2")
        if model in zoo.ZOO
    }
    return "segmentation" if tasks == {"segmentation"} else None


def _check_tasks(models: Sequence[str], data: Data) -> None:
    tasks: dict[str, str] = {}
    for model in models:
        tasks.setdefault(zoo.entry(model).task, model)
    if len(tasks) > 1:
        said = " and ".join(f"{model} is for {task}" for task, model in tasks.items())
        raise RecipeError(f"{said}: they cannot be compared", "Name models of one task")
    task, model = next(iter(tasks.items()))
    if task not in KINDS:
        raise RecipeError(f"{model} is for {task}, which is not raced", "Use siseon train and evaluate")
    if data.task not in tasks:
        remedy = f"Take models of that task; siseon models --task {data.task} lists them"
        raise DataError(f"{model} is for {task}, the data {data.name} for {data.task}", remedy)
