"""The network that a command was told to use, and its further arguments."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from siseon.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from siseon.evaluation import Model


def loaded(name: str, weights: str | None, options: Sequence[str] = ()) -> nn.Module:
    """The model of a run folder or a file, or a model of the zoo with weights, as it was saved.

    options: arguments of the model as name=value, where it is named with weights.
    """
    from siseon.interface import RecipeError, WeightsError
    from siseon.weights import build, load

    if weights is not None:
        return build(name, weights=weights, **given_to(name, options))
    if options:
        raise RecipeError(
            f"{name} has the arguments that it was trained with",
            "Leave --options out, or name a model of the zoo with --weights FILE",
        )
    if Path(name).exists() or Path(name).suffix:
        return load(name)
    raise WeightsError(
        f"{name} is no run folder and no file",
        "Name a folder that siseon train made, a .safetensors file, or a model with --weights FILE",
    )


def given_to(name: str, options: Sequence[str]) -> dict[str, Any]:
    """The arguments of a model with weights: the options, and ImageNet's names where it has a thousand classes."""
    from siseon.weights import published_classes
    from siseon.zoo import arguments

    given = dict(map(option, options))
    if "classes" not in given and arguments(name).get("classes") == 1000:
        given["classes"] = published_classes("imagenet")
    return given


def trained(
    name: str,
    weights: str | None,
    device: str,
    precision: Literal["fp32", "bf16"] = "fp32",
    *,
    options: Sequence[str] = (),
) -> Model:
    """What `loaded` gives, on its device and arranged for speed; an exported file as it is.

    On a processor it is optimized, and the process keeps freed memory, because giving it back and taking it anew costs
    a third of the time, and its threads apart. options: as for `loaded`.
    """
    from siseon.exported import Exported
    from siseon.interface import RecipeError, WeightsError
    from siseon.optimization import optimize
    from siseon.process import keep_memory, spread_threads
    from siseon.training.preparation import device_of

    if Path(name).suffix == ".onnx" and not options:
        return cast("Model", Exported(name))
    network = loaded(name, weights, options)
    if network.task == "control":
        raise WeightsError(f"{name} plays a game, and finds nothing in pictures", "See it play: play.gif in its folder")
    if network.task == "generation":
        raise RecipeError(
            f"{name} makes pictures and finds nothing in them", f"See what it makes: siseon sample {name}"
        )
    place = device_of(Recipe(device=device))
    if place.type == "cpu":
        keep_memory()
        spread_threads()
        return cast("Model", optimize(network, precision=precision))
    if precision != "fp32":
        raise RecipeError(f"precision {precision} is for the processor", "Leave it out, or say --device cpu")
    return cast("Model", network.to(place).eval())


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
