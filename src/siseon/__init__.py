"""siseon (시선, gaze): the landmarks of convolutional vision, running.

data = siseon.open_data("scenes")
model = siseon.build("faster_rcnn_mini", classes=data.classes)
run = siseon.fit(model, data, out="runs/first", minutes=2)
print(siseon.evaluate(run.model, data).table())
run.model.predict("photo.jpg", score=0.5)

Importing siseon is quick: each name is fetched from its module, and torch with it, when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from siseon import weights as weights
    from siseon.comparison.race import compare as compare
    from siseon.data.open_data import open_data as open_data
    from siseon.evaluation import evaluate as evaluate
    from siseon.exported import Exported as Exported
    from siseon.interface import Classification as Classification
    from siseon.interface import Detections as Detections
    from siseon.interface import Images as Images
    from siseon.interface import Segmentation as Segmentation
    from siseon.interface import SiseonError as SiseonError
    from siseon.interface import Target as Target
    from siseon.optimization import optimize as optimize
    from siseon.training.fit import fit as fit
    from siseon.training.fit import resume as resume
    from siseon.training.recipe import Recipe as Recipe
    from siseon.weights import build as build
    from siseon.weights import load as load
    from siseon.weights import save as save
    from siseon.zoo import names as names

_HOME = {
    "Classification": "siseon.interface",
    "Detections": "siseon.interface",
    "Exported": "siseon.exported",
    "Images": "siseon.interface",
    "Recipe": "siseon.training.recipe",
    "Segmentation": "siseon.interface",
    "SiseonError": "siseon.interface",
    "Target": "siseon.interface",
    "build": "siseon.weights",
    "compare": "siseon.comparison.race",
    "evaluate": "siseon.evaluation",
    "fit": "siseon.training.fit",
    "load": "siseon.weights",
    "names": "siseon.zoo",
    "open_data": "siseon.data.open_data",
    "optimize": "siseon.optimization",
    "resume": "siseon.training.fit",
    "save": "siseon.weights",
}
"""Public name -> the module that has it."""

__all__ = sorted((*_HOME, "weights"))


def __getattr__(name: str) -> object:
    if name == "weights":  # siseon.weights.from_torchvision
        return import_module("siseon.weights")
    if name not in _HOME:
        raise AttributeError(f"module 'siseon' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
