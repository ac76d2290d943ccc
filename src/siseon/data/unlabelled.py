"""Pictures for a model that needs no labels: any data set that is known, or a folder that only holds pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from siseon.data.dataset import Data, Dataset
from siseon.data.files import FileDataset, Files, Notes, Record
from siseon.data.mending import mend
from siseon.data.open_data import BUILT_IN, FORMATS, open_data
from siseon.interface import DataError, SiseonError
from siseon.pictures import SUFFIXES

CLASS = "picture"
"""What every picture of a folder without classes is called."""


def open_pictures(path: str | Path, *, seed: int = 0) -> Data:
    """What `open_data` opens, with its splits; or all pictures below a folder, to learn from.

    The pictures of a folder without classes are all of one class. What is wrong is left out and listed in `problems`.
    Raises DataError where there are none.
    """
    source = Path(path).expanduser().absolute()
    if str(path) in BUILT_IN or not source.is_dir():
        return open_data(path, seed=seed)
    files = Files(source)
    if any(reader.recognises(files) for reader in FORMATS.values()):
        return open_data(path, seed=seed)
    if not files.pictures:
        raise DataError(f"{source} holds no pictures", f"Put some into it; their names end in {' '.join(SUFFIXES)}")
    notes = Notes(files.root)
    records = mend([Record(picture, picture, "train", label=CLASS) for picture in files.pictures], notes)
    if not records:
        raise DataError(f"{source}: no picture can be read", "See what is wrong with them: siseon check")
    dataset = FileDataset.of(files.root, "classification", (CLASS,), records)
    return Data(files.root.name, "classification", (CLASS,), {"train": dataset}, notes.problems(), str(source))


def are_grey(dataset: Dataset, *, looked_at: int = 24) -> bool:
    """Whether pictures at equal distances in a data set all have no colour; those that cannot be read do not count."""
    for index in np.linspace(0, len(dataset) - 1, min(looked_at, len(dataset))).round().astype(int).tolist():
        try:
            picture = dataset.picture(index)
        except (SiseonError, OSError):
            continue
        if (picture != picture[..., :1]).any():
            return False
    return True
