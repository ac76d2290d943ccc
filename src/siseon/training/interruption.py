"""Stopping on request: Ctrl-C and SIGTERM end a run after the step in hand, with everything saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from siseon.interface import SiseonError


class Interrupted(SiseonError):  # noqa: N818
    """A run was stopped by a signal and saved. exit_code: 130 for Ctrl-C, 143 for SIGTERM, as shells expect."""

    def __init__(self, folder: Path, *, number: int, step: int, command: str = "train") -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}; everything is saved in {folder}",
            f"Go on with: siseon {command} --resume {_quoted(folder)}",
        )
        self.folder = folder
        self.exit_code = 128 + number


class Stop(BaseException):
    """Unwinds the loop; a BaseException, so that nobody on the way takes it for a fault and goes on."""


class Signals:
    """While in the `with`, a first Ctrl-C or SIGTERM is noted instead of obeyed. A second Ctrl-C ends at once.

    Where `active` is false, or outside the main thread, nothing is caught.
    """

    def __init__(self, *, active: bool) -> None:
        self.number: int | None = None
        self._active = active and threading.current_thread() is threading.main_thread()
        self._at_once = False
        self._former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> Signals:
        if self._active:
            for number in self._former:
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            for number, handler in self._former.items():
                signal.signal(number, handler)

    def stop_if_asked(self) -> None:
        """Raise Stop if a signal has come."""
        if self.number is not None:
            raise Stop

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While in this `with` a signal raises Stop where it comes: for long work that changes nothing."""
        self._at_once = True
        try:
            self.stop_if_asked()
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._at_once:
            raise Stop


def _quoted(folder: Path) -> str:
    text = str(folder)
    return f'"{text}"' if " " in text else text
