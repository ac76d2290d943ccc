"""How far figures can be trusted: a delete-a-group jackknife over the pictures that judged the models.

The pictures are dealt into ten groups; each figure is computed anew without each group. All models are judged on the
same pictures, so their difference is known better than either figure: its standard error comes from the differences of
these values (Kott 2001, Journal of Official Statistics 17(4)). What another seed of the training would change is not
in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from siseon.answers import JUDGES
from siseon.evaluation import Evaluation

GROUPS = 10
SURE = 2.0
"""How many standard errors make a difference."""


def values_without(evaluation: Evaluation, names: Sequence[str]) -> dict[str, list[float]]:
    """The figures called `names`, computed without each group of pictures; empty for fewer than two pictures."""
    answers = evaluation.answers
    groups = min(GROUPS, len(answers))
    found: dict[str, list[float]] = {name: [] for name in names if name in evaluation.metrics}
    if groups < 2:
        return found
    for group in range(groups):
        rest = [answer for number, answer in enumerate(answers) if number % groups != group]
        figures, *_ = JUDGES[evaluation.task](rest, evaluation.classes)
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
