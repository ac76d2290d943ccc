"""How the learning rate moves: functions from the share of the training that is done, 0..1, to a factor of the rate.

The share is what a run counts in: steps done of all steps, or minutes spent of those allowed, whichever is further.
"""

from __future__ import annotations

import math

from siseon.training.recipe import Schedule

FLOOR = 0.01
"""The factor at which the cosine ends: a last little movement instead of none."""

DROPS = (2 / 3, 8 / 9)
"""Where the step schedule divides the rate by ten, as Detectron's 60,000 and 80,000 of 90,000 steps."""


def factor(schedule: Schedule, share: float, *, warmup: float) -> float:
    """The factor of the learning rate when `share` of the training is done; a linear rise for the first `warmup` of it.

    The three schedules are 1 where the rise ends, and the rise is proportional to the share.
    """
    share = min(max(share, 0.0), 1.0)
    if share < warmup:
        return share / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return steps(share)
    return cosine((share - warmup) / (1 - warmup) if warmup < 1 else 1.0)


def cosine(share: float) -> float:
    """Half a cosine from 1 down to FLOOR (Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 without restarts)."""
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * share)) / 2


def steps(share: float) -> float:
    """1, a tenth from the first of DROPS on, a hundredth from the second on."""
    return 0.1 ** sum(share >= drop for drop in DROPS)
