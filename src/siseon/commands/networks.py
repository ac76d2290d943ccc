"""The network that a command was told to use, and its further arguments."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from siseon.training.recipe import Recipe

if TYPE_CHECKING:
    from siseon.evaluation import Model


def trained(name: str, weights: str | None, device: str) -> Model:
    """The model of a run folder or a file, or of the zoo with weights, on its device; an exported file as it is."""
    from siseon.exported import Exported
    from siseon.interface import WeightsError
    from siseon.training.preparation import device_of
    from siseon.weights import build, load

    if Path(name).suffix == ".onnx":
        return cast("Model", Exported(name))
    if weights is not None:
        network = build(name, weights=weights)
    elif Path(name).exists() or Path(name).suffix:
        network = load(name)
    else:
        raise WeightsError(
            f"{name} is no run folder and no file",
            "Name a folder that siseon train made, a .safetensors file, or a model with --weights FILE",
        )
    return cast("Model", network.to(device_of(Recipe(device=device))).eval())


def option(text: str) -> tuple[str, Any]:
    """name=value as the name and the value, which is JSON or else a word."""
    from siseon.interface import RecipeError

    name, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--options {text} has no value", "Write name=value, e.g. --options pyramid=false")
    try:
        return name, json_format.loads(value)
    except ValueError:
        return name, value
