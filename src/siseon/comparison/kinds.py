"""What a race of one task shows: which figures, of how many pictures, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from siseon.comparison.words import MEANINGS, Text
from siseon.data.dataset import Task


@dataclass(frozen=True)
class Kind:
    """A task.

    models, model: what the networks are called, many and one. main: the figure that ranks them; figures: the accuracies
    of the tables, main first; noisy: those whose noise is asked for; each: the figure that is told of each class, ""
    for none. plot: (file, heading) of the plot beside those of time, or nothing. validated: on how many validation
    pictures at most an epoch is judged, because those of a slow model take its minutes too; shown: how many test
    pictures are. meanings: what its stages do, where that is its own.
    """

    models: Text
    model: str
    main: str
    figures: tuple[str, ...]
    validated: int
    shown: int
    noisy: tuple[str, ...]
    each: str = ""
    plot: tuple[tuple[str, str], ...] = ()
    meanings: Mapping[str, Text] = field(default_factory=dict)

    def meaning(self, stage: str) -> Text:
        """What a stage does."""
        return self.meanings.get(stage, MEANINGS[stage])


KINDS: Mapping[Task, Kind] = {
    "detection": Kind(
        models=Text("detectors", "검출기"),
        model="detector",
        main="AP50",
        figures=("AP50", "AP", "mask_AP50", "mask_AP", "AP_small", "AP_medium", "AP_large"),
        validated=100,
        shown=6,
        noisy=("AP50", "AP_small"),
        plot=(("sizes.png", "sizes"),),
    ),
    "classification": Kind(
        models=Text("classifiers", "분류기"),
        model="classifier",
        main="accuracy",
        figures=("accuracy", "top5", "macro_F1"),
        validated=500,
        shown=16,
        noisy=("accuracy",),
    ),
    "segmentation": Kind(
        models=Text("segmenters", "분할 모델"),
        model="segmenter",
        main="mean_IoU",
        figures=("mean_IoU", "pixel_accuracy", "mean_accuracy"),
        validated=100,
        shown=6,
        noisy=("mean_IoU",),
        each="IoU",
        plot=(("classes.png", "classes"),),
        meanings={
            "features": Text("the convolutions, up to the scores of every pixel", "합성곱, 화소마다 점수를 낼 때까지"),
            "selection": Text("the best class of each pixel of the photo", "사진의 화소마다 가장 좋은 클래스를 고른다"),
        },
    ),
}
"""The tasks whose models can be compared."""
