"""Speech: texts go to a process of their own (speaker.py), which says them or writes them to a file."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from siseon.interface import SiseonError

SPEAKER = (sys.executable, str(Path(__file__).with_name("speaker.py")))


class Voice:
    """Says one text at a time; of those that come meanwhile only the last, because a scene that is gone is no news.

    To be used in a `with`, which lets it end the last text. command: of the process. Raises SiseonError with a remedy
    where there is no speech, and `say` raises what went wrong with an earlier text.
    """

    def __init__(self, language: str, *, command: Sequence[str] = SPEAKER) -> None:
        self.language = language
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._next: str | None = None
        self._ended = False
        self._fault: SiseonError | None = None
        self._wake = threading.Condition()
        self._pipe = threading.Lock()
        self._thread: threading.Thread | None = None
        try:
            self._answer()
        except SiseonError:
            self._end()
            raise

    def save(self, text: str, file: Path) -> float:
        """Write the text as a .wav file (16 bits, one channel); its seconds."""
        file.parent.mkdir(parents=True, exist_ok=True)
        return float(self._ask(text, file)["seconds"])

    def say(self, text: str) -> None:
        """Say the text as soon as what is being said has ended; returns at once."""
        with self._wake:
            if self._fault:
                raise self._fault
            self._next = text
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._speak, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait until the last text has been said, and end the process. Raises what went wrong with it."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._end()
        if self._fault:
            raise self._fault

    def __enter__(self) -> Voice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fault is None:
            self.close()
        else:
            self._end()

    def _speak(self) -> None:
        """The thread: text after text, until the end."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._next is not None or self._ended)
                text, self._next = self._next, None
            if text is None:
                return
            try:
                self._ask(text, None)
            except SiseonError as fault:
                self._fault = fault
                return

    def _ask(self, text: str, file: Path | None) -> dict[str, Any]:
        request = {"text": text, "language": self.language, "file": None if file is None else str(file)}
        assert self._process.stdin is not None
        with self._pipe:
            with suppress(OSError):  # a process that is gone gives no answer, which is noticed below
                self._process.stdin.write(json.dumps(request, ensure_ascii=False).encode() + b"\n")
                self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The next line of the process. Raises SiseonError where it says what is wrong, or says nothing more."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise SiseonError("the process that speaks died", "Leave out --speak, or install espeak-ng anew") from None
        if "error" in answer:
            raise SiseonError(answer["error"], answer["remedy"])
        return answer

    def _end(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
