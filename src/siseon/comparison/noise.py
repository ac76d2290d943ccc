"""How far figures can be trusted: a delete-a-group jackknife over the pictures that judged the models.

The pictures are dealt into ten groups; each figure is computed anew without each group. All models are judged on the
same pictures, so their difference is known better than either figure: its standard error comes from the differences of
these values (Kott 2001, Journal of Official Statistics 17(4)). What another seed of the training would change is not
in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from siseon.answers import Answer
from siseon.data.dataset import Annotation, Task
from siseon.evaluation import Evaluation, Model, evaluate
from siseon.interface import Prediction

GROUPS = 10
SURE = 2.0
"""How many standard errors make a difference."""


class _Part:
    """Some of the answers of an evaluation as data whose pictures need not be seen again."""

    def __init__(self, answers: Sequence[Answer], task: Task, classes: tuple[str, ...]) -> None:
        self.answers, self.task, self.classes = answers, task, classes

    def __len__(self) -> int:
        return len(self.answers)

    def annotation(self, index: int) -> Annotation:
        """What is known of the picture."""
        return self.answers[index].annotation

    def picture(self, index: int) -> np.ndarray:
        """A pixel: who answers knows the answer."""
        return np.zeros((1, 1, 3), np.uint8)


class _Replay:
    """Gives the answers again, in order, as a model."""

    def __init__(self, part: _Part) -> None:
        self.task, self.classes = part.task, part.classes
        self._left: Iterator[Answer] = iter(part.answers)
        self.predict: Callable[..., list[Prediction]] = self._next

    def _next(self, pictures: Sequence[np.ndarray], **options: object) -> list[Prediction]:
        return [next(self._left).prediction for _ in pictures]


def values_without(evaluation: Evaluation, names: Sequence[str]) -> dict[str, list[float]]:
    """The figures called `names`, computed without each group of pictures; empty for fewer than two pictures."""
    answers = evaluation.answers
    groups = min(GROUPS, len(answers))
    found: dict[str, list[float]] = {name: [] for name in names if name in evaluation.metrics}
    if groups < 2:
        return found
    for group in range(groups):
        rest = [
            replace(answer, index=place)
            for place, answer in enumerate(a for number, a in enumerate(answers) if number % groups != group)
        ]
        part = _Part(rest, evaluation.task, evaluation.classes)
        figures = evaluate(cast(Model, _Replay(part)), part, batch=64).metrics
        for name, values in found.items():
            values.append(figures[name])
    return found


def standard_error(first: Sequence[float], second: Sequence[float] | None = None) -> float:
    """Of a figure, or of the difference of two, from the values without each group; nan where there are too few."""
    if len(first) < 2 or (second is not None and len(second) != len(first)):
        return math.nan
    values = np.asarray(first) - (0.0 if second is None else np.asarray(second))
    groups = len(values)
    return math.sqrt((groups - 1) / groups * float(((values - values.mean()) ** 2).sum()))


def is_sure(difference: float, error: float) -> bool:
    """Whether a difference is more than noise; never where the noise is unknown."""
    return abs(difference) > SURE * error if math.isfinite(error) else False
