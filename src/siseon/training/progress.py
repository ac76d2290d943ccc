"""What a run shows while it trains: a moving line in a terminal, else one plain line an epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

SMOOTHING = 0.95
"""How much of the shown loss is the loss shown before."""


class Progress(Protocol):
    """What `fit` tells whoever watches."""

    def step(self, epoch: str, *, share: float, losses: Mapping[str, float], pictures: int) -> None:
        """A step is done. epoch: which of how many; share: of the whole run, 0..1; pictures: in this step."""

    def epoch(self, line: str) -> None:
        """An epoch is done; the line says how it went."""

    def close(self) -> None:
        """The run is over, or broken off."""


class Silent:
    """Shows nothing."""

    def step(self, epoch: str, *, share: float, losses: Mapping[str, float], pictures: int) -> None:
        """Nothing."""

    def epoch(self, line: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines(Silent):
    """One line an epoch, for logs and pipes."""

    def epoch(self, line: str) -> None:
        """Print the line."""
        print(line, flush=True)


class Moving:
    """A line that is drawn anew in a terminal, above which the epochs stay."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(), refresh_per_second=4, transient=True)
        self._losses: dict[str, float] = {}
        self._started: tuple[float, float] | None = None
        self._speed = 0.0
        self._before = time.monotonic()

    def step(self, epoch: str, *, share: float, losses: Mapping[str, float], pictures: int) -> None:
        """Show epoch, smoothed losses, pictures a second and the time left."""
        if self._started is None:
            self._live.start()
        now = time.monotonic()
        self._speed = self._smooth(self._speed, pictures / max(now - self._before, 1e-9))
        self._before = now
        self._started = self._started or (now, share)
        self._losses = {name: self._smooth(self._losses.get(name, 0.0), value) for name, value in losses.items()}
        self._live.update(Text(self._line(epoch, share, now)))

    def epoch(self, line: str) -> None:
        """Print the line above the moving one."""
        self._live.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Take the moving line away."""
        self._live.stop()

    def _line(self, epoch: str, share: float, now: float) -> str:
        started, first = self._started or (now, share)
        done = share - first
        left = (now - started) * (1 - share) / done if done > 0 else 0.0
        losses = "  ".join(f"{name} {value:.3f}" for name, value in self._losses.items())
        full = round(20 * share)
        bar = "█" * full + "░" * (20 - full)
        return f"epoch {epoch}  {bar} {share:4.0%}  {losses}  {self._speed:.1f} pictures/s  {_clock(left)} left"

    @staticmethod
    def _smooth(before: float, value: float) -> float:
        return value if not before else SMOOTHING * before + (1 - SMOOTHING) * value


def fitting() -> Progress:
    """What fits the place that the output goes to: a moving line in a terminal, else plain lines."""
    return Moving() if sys.stdout.isatty() else Lines()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
