"""A recipe: every setting of a training run, with its meaning and its limits. Importing it does not import torch.

The same fields are the options of the command line, the keyword arguments of `fit` and the lines of recipe.toml.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, NoReturn, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

Schedule: TypeAlias = Literal["cosine", "step", "constant"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]

LEARNING_RATES = {("sgd", False): 0.02, ("sgd", True): 0.01, ("adamw", False): 0.001, ("adamw", True): 0.0004}
"""The learning rate where none is given, by optimizer and by whether the training starts from weights."""


class Recipe(BaseModel):
    """The settings of one training run. Wrong values raise RecipeError, in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field(default="", description="name of the model in the zoo")
    data: str = Field(default="", description="folder or file of the data set, or scenes, or digits")
    lang: Literal["en", "ko"] = Field(default="en", description="of the sentences about scenes (captioning)")
    backbone: str | None = Field(default=None, description="network below a detector or segmenter, e.g. mobilenet_v2")
    weights: str | None = Field(default=None, description="start from imagenet, coco, or a .safetensors or .pth file")
    epochs: int = Field(default=20, ge=1, description="passes over the training pictures")
    minutes: float | None = Field(default=None, gt=0, description="stop after so long; the learning rate follows")
    imgsz: int | None = Field(default=None, ge=16, description="longer side, or crop of a classifier, in pixels")
    batch: int = Field(default=8, ge=1, description="pictures in a step")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    workers: int | None = Field(default=None, ge=0, le=64, description="processes that read pictures; else what pays")
    seed: int = Field(default=0, ge=0, description="the same seed gives the same run")
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without a better validation; 0 never")
    optimizer: Literal["sgd", "adamw"] = Field(default="adamw", description="the rule of a step")
    lr: float | None = Field(default=None, gt=0, description="highest learning rate; the optimizer's usual if left out")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd; beta 1 of adamw")
    weight_decay: float = Field(default=1e-4, ge=0, description="pull of weights, not norms and biases, to zero")
    schedule: Schedule = Field(default="cosine", description="how the learning rate falls")
    warmup: float = Field(default=0.05, ge=0, description="linear rise of the rate: share of the run, or steps")
    clip: float = Field(default=10.0, ge=0, description="greatest length of the gradient; 0 for any")
    precision: Precision = Field(default="auto", description="of the arithmetic; auto is bf16 where it is fast")
    ema: float = Field(default=0.0, ge=0, lt=1, description="decay of a mean of the weights, e.g. 0.999; 0 for none")
    frozen: int | None = Field(default=None, ge=0, description="first stages of the backbone that do not train")
    freeze_norm: bool | None = Field(default=None, description="batch norms do not train; else the model's own way")
    transfer: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the run in which only new layers learn; then all, the body slower",
    )
    flip: float | None = Field(default=None, ge=0, le=1, description="share of pictures mirrored; else what suits")
    scale: tuple[float, float] = Field(default=(0.8, 1.25), description="least and greatest random enlargement")
    rotate: float = Field(default=0.0, ge=0, le=180, description="greatest random turn in degrees")
    shear: float = Field(default=0.0, ge=0, le=45, description="greatest random slant in degrees")
    translate: float = Field(default=0.0, ge=0, le=1, description="greatest random shift, as a share of the side")
    brightness: float = Field(default=0.2, ge=0, lt=1, description="greatest random change of brightness, as a share")
    contrast: float = Field(default=0.2, ge=0, lt=1, description="greatest random change of contrast, as a share")
    saturation: float = Field(default=0.2, ge=0, lt=1, description="greatest random change of saturation, as a share")
    hue: float = Field(default=5.0, ge=0, le=180, description="greatest random turn of the colours in degrees")
    cutout: float = Field(default=0.0, ge=0, le=1, description="side of a square wiped out, as a share of the picture")
    mixup: float = Field(default=0.0, ge=0, description="alpha of Mixup (classifier), e.g. 0.2; 0 for none")
    cutmix: float = Field(default=0.0, ge=0, description="alpha of CutMix (classifier), e.g. 1; 0 for none")
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing (classifier), e.g. 0.1")
    save_every: float = Field(default=60.0, gt=0, description="seconds between saves; each epoch is saved anyway")
    tensorboard: bool = Field(default=False, description="write events for TensorBoard too")
    options: dict[str, Any] = Field(default_factory=dict, description="further keyword arguments of the model")

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, values: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            recipe = handler(values)
        except ValidationError as fault:
            _refuse(fault)
        if not 0 < recipe.scale[0] <= recipe.scale[1]:
            _recipe_error(
                f"scale = {list(recipe.scale)}: the least must be above 0 and not above the greatest",
                "Give e.g. 0.8 1.25",
            )
        return recipe

    @property
    def learning_rate(self) -> float:
        """The highest learning rate: the one given, or the usual one."""
        return LEARNING_RATES[self.optimizer, self.weights is not None] if self.lr is None else self.lr

    def changed(self, **changes: object) -> Recipe:
        """The same recipe with some fields changed. Raises RecipeError for a wrong name or value.

        A field that nobody gave stays so: `model_fields_set` of the new recipe has those of this one, and the changes.
        """
        return Recipe.model_validate({**self.model_dump(exclude_unset=True), **changes})

    def to_toml(self) -> str:
        """One line a field, with its meaning; fields that are left out stand as comments."""
        lines = [
            _toml_line(name, getattr(self, name), str(field.description))
            for name, field in type(self).model_fields.items()
        ]
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_toml(path: Path) -> Recipe:
        """Read a recipe.toml. Raises RecipeError naming the file."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            _recipe_error(f"{path} is not there", "Name the folder of a run")
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
            _recipe_error(
                f"{path} is no readable recipe ({fault})", "Mend that line, or copy the recipe of another run"
            )
        return Recipe(**values)


def _toml_line(name: str, value: object, meaning: str) -> str:
    if value is None:
        return f"# {name} is left out: {meaning}"
    return f"{name} = {_toml(value)}  # {meaning}"


def _toml(value: object) -> str:
    """A value as TOML. JSON's numbers, texts and booleans are TOML's; tables and None are not."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if value is None:
        _recipe_error("options hold None, which recipe.toml cannot", "Leave that option out")
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _refuse(fault: ValidationError) -> NoReturn:
    """Turn pydantic's list of faults into one line about the first."""
    first = fault.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Recipe.model_fields, 1, 0.5)
        _recipe_error(
            f"a recipe has no field {name}", f"Did you mean {near[0]}?" if near else "See siseon train --help"
        )
    field = Recipe.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    meaning = f"{name}: {field.description}" if field else ""
    _recipe_error(f"{name} = {first['input']!r} makes no sense: {first['msg'].lower()}", meaning)


def _recipe_error(problem: str, remedy: str) -> NoReturn:
    from siseon.interface import RecipeError  # here, because interface imports torch

    raise RecipeError(problem, remedy) from None
