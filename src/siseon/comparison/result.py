"""What is known of a model after the race, and of the race as a whole; both as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from siseon import tensorfile
from siseon.data.dataset import Task

REST = "rest"
"""What a prediction does outside of its named stages."""


@dataclass(frozen=True)
class Result:
    """One model. Where `failure` says why it did not finish, the figures are those it had until then.

    name: as it was given; model: in the zoo. figures: those of the evaluation, the main one first; per_class: class ->
    the figure that is told of each class, where there is one (kinds.py); without: figure -> its values with one tenth
    of the pictures left out, for the noise; score: from which its detections are shown, where
    its F1 is best. epochs and seconds: of the training, whatever it did. stages: milliseconds of each in one
    prediction, REST included; milliseconds: their sum. macs: of one prediction. weights and peak: megabytes of the
    tensors, and of what a prediction takes besides.
    """

    name: str
    model: str
    failure: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, float] = field(default_factory=dict)
    without: Mapping[str, list[float]] = field(default_factory=dict)
    score: float = 0.5
    epochs: int = 0
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    parameters: int = 0
    macs: float = math.nan
    weights: float = math.nan
    peak: float = math.nan

    @property
    def milliseconds(self) -> float:
        """Of one prediction; nan where it was not timed."""
        return sum(self.stages.values()) if self.stages else math.nan

    def figure(self, name: str) -> float:
        """A figure of the evaluation; nan where there is none."""
        return self.figures.get(name, math.nan)

    def of_class(self, name: str) -> float:
        """The figure of a class; nan where there is none."""
        return self.per_class.get(name, math.nan)

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it: numbers without meaning are null."""
        return {name: _plain(value) for name, value in asdict(self).items()} | {
            "milliseconds": _plain(self.milliseconds)
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Result:
        """The result that `to_json` wrote."""
        known = {entry.name for entry in fields(Result)}
        return Result(**{name: _number(value) for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Comparison:
    """A race that is over: the results in the order in which the models were named, and what held for all of them.

    data: its name; pictures: how many judged the models; timed: how many they were timed on; main: the name of the main
    figure; conditions: what the figures depend on (processor, threads, versions), in words; own: the settings that
    single models, as they were named, have otherwise than all.
    """

    folder: Path
    task: Task
    data: str
    classes: tuple[str, ...]
    main: str
    minutes: float
    seed: int
    pictures: int
    timed: int
    conditions: Mapping[str, str]
    results: tuple[Result, ...]
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def finished(self) -> tuple[Result, ...]:
        """The models that came to the end."""
        return tuple(result for result in self.results if not result.failure)

    @property
    def failed(self) -> tuple[Result, ...]:
        """The models that did not."""
        return tuple(result for result in self.results if result.failure)

    def to_json(self) -> dict[str, Any]:
        """Everything but the folder."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "folder"}
        return values | {"results": [result.to_json() for result in self.results]}


def write(result: Result, path: Path) -> None:
    """Write a result whole, or not at all."""
    text = json.dumps(result.to_json(), ensure_ascii=False, indent=1) + "\n"
    tensorfile.write_whole(path, [text.encode()])


def read(path: Path) -> Result | None:
    """The result in a file; None where there is none, or none that can be read."""
    try:
        return Result.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:  # noqa: ANN401
    """The reverse of `_plain`: what has no value is nan."""
    if isinstance(value, dict):
        return {name: _number(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_number(inner) for inner in value]
    return math.nan if value is None else value
