"""Describe: frame by frame a detector finds things, the memory says whether they are news, and a sentence is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from siseon.describing.memory import Memory
from siseon.describing.places import Thing
from siseon.describing.sentences import described
from siseon.interface import Caption, Detections
from siseon.language.counting import Language


class Detector(Protocol):
    """What is needed of a detector."""

    def predict(self, pictures: np.ndarray, *, score: float) -> list[Detections]:
        """The objects in a picture [height, width, 3] uint8."""


class Captioner(Protocol):
    """What is needed of a captioner."""

    def predict(self, pictures: np.ndarray) -> list[Caption]:
        """A sentence about a picture [height, width, 3] uint8."""


@dataclass(frozen=True, slots=True)
class Description:
    """One frame: its name, the things in it, what is said of it ("" where nothing is new), and seconds of the work."""

    name: str
    things: tuple[Thing, ...]
    text: str
    seconds: float


def describe(
    frames: Iterable[tuple[str, np.ndarray]],
    detector: Detector,
    *,
    captioner: Captioner | None = None,
    language: Language = "ko",
    score: float = 0.5,
    steady: int = 1,
) -> Iterator[Description]:
    """A Description of each frame; text only where the scene has changed since it was told last.

    score: from which a thing is spoken of; steady: see Memory. The captioner is asked only where there is news, and its
    language is that of the sentences which it learnt.
    """
    memory = Memory(score=score, steady=steady)
    for name, picture in frames:
        begin = perf_counter()
        (found,) = detector.predict(picture, score=score / 2)
        things = memory.see(found, (picture.shape[0], picture.shape[1]))
        text = ""
        if memory.changed():
            caption = captioner.predict(picture)[0] if captioner else None
            text = described(things, language, caption)
        yield Description(name, things, text, perf_counter() - begin)
