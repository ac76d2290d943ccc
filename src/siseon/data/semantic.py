"""Data sets of objects seen as maps: the class of each pixel, from the shapes of the objects on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from siseon.data.augment import mask
from siseon.data.dataset import Annotation, Data, Dataset, Maps, Task
from siseon.data.files import FileDataset
from siseon.interface import VOID, DataError, PictureError

BACKGROUND = "background"
"""The class, with label 0, of what is no object."""


@dataclass(frozen=True)
class Painted:
    """A split of objects with shapes as one of maps: 0 background, then the classes in their order."""

    objects: Dataset

    @property
    def task(self) -> Task:
        """Segmentation."""
        return "segmentation"

    @property
    def classes(self) -> tuple[str, ...]:
        """The background and the classes of the objects."""
        return BACKGROUND, *self.objects.classes

    def __len__(self) -> int:
        return len(self.objects)

    def annotation(self, index: int) -> Annotation:
        """What is known of picture `index`, without its objects."""
        known = self.objects.annotation(index)
        return Annotation(known.name, known.path, known.size, sentences=known.sentences)

    def picture(self, index: int) -> np.ndarray:
        """The pixels [height, width, 3] uint8 RGB, upright. Raises PictureError naming the file."""
        return self.objects.picture(index)

    def semantic(self, index: int) -> np.ndarray:
        """The class of each pixel, [height, width] uint8: small objects lie on large ones; crowd regions are VOID.

        Raises DataError for a picture with an object that has no shape.
        """
        known = self.objects.annotation(index)
        size = known.size or self.picture(index).shape[:2]
        size = (size[0], size[1])
        classes = np.zeros(size, np.uint8)
        if len(known.segments) != len(known.boxes):
            raise DataError(
                f"{known.path or known.name}: an object has no shape, only a box", "Draw it, or leave it out"
            )
        masks = [mask(segment, size) for segment in known.segments]
        for number in sorted(range(len(masks)), key=lambda number: -int(np.count_nonzero(masks[number]))):
            classes[masks[number]] = VOID if known.crowd[number] else known.labels[number] + 1
        return classes


@dataclass(frozen=True)
class PaintedFiles(Painted):
    """The same for pictures in files, whose sizes are known without reading them."""

    objects: FileDataset

    @property
    def sizes(self) -> np.ndarray:
        """(height, width) of all pictures, [pictures, 2]."""
        return self.objects.sizes


def painted(data: Data) -> Data:
    """A data set of objects as one of the task segmentation. Raises DataError where no object has a shape."""
    known = [dataset for dataset in data.splits.values() if isinstance(dataset, FileDataset)]
    if known and not any(dataset.shaped.any() for dataset in known):
        raise DataError(
            f"no object of {data.name} has a shape, only a box",
            "Take data with polygons or masks (COCO), or pictures and masks in folders",
        )
    splits = {
        split: PaintedFiles(dataset) if isinstance(dataset, FileDataset) else Painted(dataset)
        for split, dataset in data.splits.items()
    }
    return replace(data, task="segmentation", classes=(BACKGROUND, *data.classes), splits=splits)


def class_weights(dataset: Dataset) -> list[float]:
    """Weights that let rare classes count as much as frequent ones: the median frequency over that of each class.

    The frequency of a class is its pixels over all known pixels of the pictures in which it is seen (Eigen, Fergus
    2015, arXiv:1411.4734, section 6.3.2). A class that is never seen weighs nothing. Reads all maps; one that cannot
    be read is passed over.
    """
    assert isinstance(dataset, Maps)
    counts = np.zeros(len(dataset.classes))
    places = np.zeros(len(dataset.classes))
    for index in range(len(dataset)):
        try:
            found = dataset.semantic(index)
        except (DataError, PictureError):
            continue
        pixels = np.bincount(found[found != VOID], minlength=len(counts))
        counts += pixels
        places += (pixels > 0) * pixels.sum()
    seen = counts > 0
    frequencies = counts[seen] / places[seen]
    weights = np.zeros(len(counts))
    weights[seen] = np.median(frequencies) / frequencies
    return [round(float(weight), 4) for weight in weights]
