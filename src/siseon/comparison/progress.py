"""What is shown while a model of the race trains: its own progress, and how much of the whole race is left."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from siseon.training.progress import Progress

BETWEEN = 30.0
"""Seconds between two lines about epochs: with small data an epoch takes less than one."""


class Standing:
    """The progress of one training in the race. left: the seconds of training that the later models take."""

    def __init__(self, inner: Progress, *, model: str, minutes: float, left: float) -> None:
        self._inner, self._model, self._seconds, self._left = inner, model, 60 * minutes, left
        self._said = time.monotonic()

    def step(self, epoch: str, *, share: float, losses: Mapping[str, float], pictures: int) -> None:
        """A step is done; the epochs, of which there is no end, are not counted against their number."""
        left = clock(self._left + self._seconds * (1 - share))
        whole = f"{epoch.partition('/')[0]} of {self._model}, race {left} left"
        self._inner.step(whole, share=share, losses=losses, pictures=pictures)

    def epoch(self, line: str) -> None:
        """An epoch is done, which is said now and then; other news always."""
        counted = re.match(r"(epoch \d+)/\d+", line)
        if counted and time.monotonic() - self._said < BETWEEN:
            return
        self._said = time.monotonic()
        self._inner.epoch(f"{self._model}: {counted[1] + line[counted.end() :] if counted else line}")

    def close(self) -> None:
        """The training is over, or broken off."""
        self._inner.close()


def clock(seconds: float) -> str:
    """A time as people say it: 40 s, 7 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(round(seconds), 0)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
