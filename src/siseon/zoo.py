"""Every model by its name: one literal table. The only place that lists models."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import nn

from siseon.interface import RecipeError
from siseon.models.classification import mobilenet, resnet
from siseon.models.classification.mobilenet import MobileNetV1, MobileNetV2
from siseon.models.classification.resnet import ResNet
from siseon.models.detection import faster_rcnn as two_stage
from siseon.models.detection.faster_rcnn import faster_rcnn

Task: TypeAlias = Literal["classification", "detection"]


class Entry(NamedTuple):
    """One model: what it is for, the function that builds it (keyword arguments only), and where it comes from."""

    task: Task
    build: Callable[..., nn.Module]
    paper: str
    year: int
    authors: str


RESNET = ("Deep Residual Learning for Image Recognition, arXiv:1512.03385", 2016, "He, Zhang, Ren, Sun")
MOBILENET_V1 = ("MobileNets: Efficient CNNs for Mobile Vision Applications, arXiv:1704.04861", 2017, "Howard et al.")
MOBILENET_V2 = ("MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381", 2018, "Sandler et al.")
FASTER_RCNN = ("Faster R-CNN, arXiv:1506.01497", 2015, "Ren, He, Girshick, Sun")

ZOO: Mapping[str, Entry] = {
    "resnet18": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet18"]), *RESNET),
    "resnet34": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet34"]), *RESNET),
    "resnet50": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet50"]), *RESNET),
    "resnet101": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet101"]), *RESNET),
    "resnet152": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet152"]), *RESNET),
    "resnet_mini": Entry("classification", partial(ResNet, **resnet.VARIANTS["resnet_mini"]), *RESNET),
    "mobilenet_v1": Entry("classification", partial(MobileNetV1, **mobilenet.VARIANTS["mobilenet_v1"]), *MOBILENET_V1),
    "mobilenet_v2": Entry("classification", partial(MobileNetV2, **mobilenet.VARIANTS["mobilenet_v2"]), *MOBILENET_V2),
    "mobilenet_mini": Entry(
        "classification", partial(MobileNetV2, **mobilenet.VARIANTS["mobilenet_mini"]), *MOBILENET_V2
    ),
    **{
        name: Entry("detection", partial(faster_rcnn, **arguments), *FASTER_RCNN)
        for name, arguments in two_stage.VARIANTS.items()
    },
}


def names(task: Task | None = None) -> list[str]:
    """The names of the models, of one task or of all."""
    return [name for name, entry in ZOO.items() if task in (None, entry.task)]


def entry(name: str) -> Entry:
    """The table's row for `name`. Raises RecipeError suggesting the nearest name."""
    if name not in ZOO:
        near = difflib.get_close_matches(name, ZOO, n=1, cutoff=0.4)
        meant = f'Did you mean "{near[0]}"? ' if near else ""
        raise RecipeError(f'there is no model "{name}"', f"{meant}There are {', '.join(ZOO)}")
    return ZOO[name]


def arguments(name: str) -> dict[str, Any]:
    """The keyword arguments of a model, with their defaults."""
    return {key: parameter.default for key, parameter in inspect.signature(entry(name).build).parameters.items()}


def create(name: str, **given: object) -> nn.Module:
    """Build the model `name` with random weights.

    model.spec = {"name", "arguments"} is all that is needed to build it again, and can be written as JSON. Raises
    RecipeError for a name or an argument that does not exist, or a value that cannot be written as JSON.
    """
    known = arguments(name)
    for key in given:
        if key not in known:
            raise RecipeError(f'{name} has no argument "{key}"', f"It takes {', '.join(known)}")
    try:
        plain = json.loads(json.dumps(given))
    except TypeError as fault:
        raise RecipeError(
            f"an argument of {name} cannot be written to a file ({fault})", "Give numbers, words and lists"
        ) from fault
    model = entry(name).build(**given)
    model.spec = {"name": name, "arguments": plain}  # type: ignore[assignment]
    return model
