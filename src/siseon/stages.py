"""Where the time of a prediction goes: networks name their stages, a measurement adds up the seconds of each.

    with measured() as seconds:
        model.predict("photo.jpg")
    print(seconds)   # {"preparation": 0.004, "features": 0.031, "proposals": 0.012, ...}

Outside of `measured` a stage costs one look at a variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Literal, TypeAlias

import torch

Stage: TypeAlias = Literal["preparation", "proposals", "features", "regions", "head", "selection"]
"""preparation: reading and scaling; proposals: where objects may be; features: the convolutions; regions: cutting the
proposals out of picture or maps; head: classes and boxes of each; selection: decoding, NMS, masks into the picture."""

_seconds: ContextVar[dict[str, float] | None] = ContextVar("_seconds", default=None)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Measure the stages that run inside: gives a dictionary, stage -> seconds, which fills as they end."""
    seconds: dict[str, float] = {}
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Name what runs inside. Stages do not nest: an inner one would be counted twice."""
    seconds = _seconds.get()
    if seconds is None:
        yield
        return
    start = _now()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + _now() - start


def _now() -> float:
    """The clock, after what a GPU has been asked to do is done."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return perf_counter()
