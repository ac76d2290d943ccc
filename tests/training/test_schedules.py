"""Learning rates: where they begin and end, and that they do not jump where they must not."""

import math
from itertools import pairwise

import pytest

from siseon.training.schedules import DROPS, FLOOR, cosine, factor, steps

SCHEDULES = ("cosine", "step", "constant")


@pytest.mark.parametrize(
    ("schedule", "share", "warmup", "wanted"),
    [
        ("constant", 0, 0, 1),
        ("constant", 1, 0, 1),
        ("constant", 0.05, 0.1, 0.5),
        ("cosine", 0, 0, 1),
        ("cosine", 0.5, 0, (1 + FLOOR) / 2),
        ("cosine", 1, 0, FLOOR),
        ("cosine", 0.1, 0.1, 1),
        ("cosine", 0.55, 0.1, (1 + FLOOR) / 2),
        ("cosine", 1, 0.1, FLOOR),
        ("step", 0.6, 0, 1),
        ("step", 2 / 3, 0, 0.1),
        ("step", 0.88, 0, 0.1),
        ("step", 0.9, 0, 0.01),
        ("step", 1, 0, 0.01),
        ("cosine", -1, 0.2, 0),
        ("cosine", 2, 0.2, FLOOR),
        ("constant", 1, 1, 1),
        ("cosine", 1, 1, FLOOR),
    ],
)
def test_values(schedule, share, warmup, wanted):
    assert factor(schedule, share, warmup=warmup) == pytest.approx(wanted)


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_jumps_but_the_two_of_the_step_schedule(schedule, warmup):
    count = 5000
    values = [factor(schedule, index / count, warmup=warmup) for index in range(1, count + 1)]
    jumps = [index for index, pair in enumerate(pairwise(values), 2) if abs(pair[0] - pair[1]) > 0.01]
    wanted = [math.ceil(drop * count) for drop in DROPS if drop > warmup] if schedule == "step" else []
    assert jumps == wanted


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rate_rises_then_never_again(schedule):
    values = [factor(schedule, index / 1000, warmup=0.1) for index in range(1, 1001)]
    assert all(0 < value <= 1 for value in values)
    assert values[:100] == sorted(values[:100])
    assert values[100:] == sorted(values[100:], reverse=True)


def test_the_parts():
    assert [cosine(0), cosine(1)] == [1, pytest.approx(FLOOR)]
    assert [steps(0), steps(1)] == [1, pytest.approx(0.01)]
