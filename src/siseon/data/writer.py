"""What writes the annotations of a data set in one format, as `convert` calls it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from siseon.data.dataset import Annotation, Data
from siseon.data.files import Notes
from siseon.interface import Size


@dataclass(slots=True)
class Writer(ABC):
    """Writes the annotations of `data` in one format into `root`; what the format cannot take goes to `notes`.

    shaped: whether some and whether all pictures with objects have their shapes.
    """

    root: Path
    data: Data
    notes: Notes
    shaped: tuple[bool, bool]

    @abstractmethod
    def folder(self, split: str, annotation: Annotation) -> Path:
        """Where the picture goes."""

    @abstractmethod
    def add(self, split: str, picture: Path, annotation: Annotation, size: Size) -> int:
        """Write what is known of a picture that was written; the number of its objects that were."""

    @abstractmethod
    def finish(self) -> None:
        """Write what can only be written last."""
