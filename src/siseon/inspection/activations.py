"""Feature maps: what each step of a network makes of one picture.

A step is a layer, or a block of layers that belong together: a module that the network's author wrote as one (a
residual, an inception module), or a Sequential around a single convolution. A module that holds half of the network's
convolutions or more is the network rather than a step of it, and its parts are looked at instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from siseon.inspection.trace import is_leaf
from siseon.interface import SiseonError
from siseon.layers import inference

Hook: TypeAlias = Callable[[str, nn.Module, Any, Any], Tensor | None]
"""Called as (name, module, arguments, result) when a module has run; what it returns replaces the result."""

IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout)
"""Layers that give back what they get when a network is at rest."""


class Activation(NamedTuple):
    """What one step made of a picture. kind: the class of the module, e.g. Conv2d."""

    name: str
    kind: str
    map: Tensor
    """[channels, height, width], with the sign it has there."""


def activations(model: nn.Module, picture: Tensor) -> list[Activation]:
    """The feature maps of every step, in the order of execution.

    picture: [channels, height, width], RGB 0..1, at the size at which `model` takes it. A step that runs several times
    has a number behind its name, as `rpn.conv (2)`; one that makes several maps, as `pyramid [1]`. What is no map of
    this one picture (logits, the regions of a detector) is left out. The model is not changed. Raises SiseonError where
    there is no map at all.
    """
    found: list[Activation] = []
    large = sum(map(is_convolution, model.modules())) / 2
    runs: Counter[str] = Counter()

    def note(name: str, module: nn.Module, given: object, made: object) -> None:
        maps = maps_in(made)
        if not maps or isinstance(module, IDLE) or not is_step(module, model, large):
            return
        found[:] = [one for one in found if not one.name.startswith(f"{name}.")]  # parts end before the whole
        runs[name] += 1
        called = name if runs[name] == 1 else f"{name} ({runs[name]})"
        for number, one in enumerate(maps):
            label = called if len(maps) == 1 else f"{called} [{number}]"
            # A copy: a rectifier that works in place would change it.
            found.append(Activation(label or type(module).__name__, type(module).__name__, one[0].clone()))

    with inference(model), listening(model, note):
        model(picture[None])
    if not found:
        raise SiseonError(
            f"{type(model).__name__} has no feature maps", "It is no convolutional network: look at its layer table"
        )
    return found


def is_step(module: nn.Module, model: nn.Module, large: float) -> bool:
    """Whether a module counts as one step of `model`; large: the number of convolutions from which it does not."""
    if is_leaf(module):
        return True
    convolutions = sum(map(is_convolution, module.modules()))
    if module is model or convolutions == 0:
        return False
    return convolutions == 1 if isinstance(module, nn.Sequential) else convolutions < large


def is_convolution(module: nn.Module) -> bool:
    """Whether a module is a convolution of pictures."""
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d)


def maps_in(made: object) -> list[Tensor]:
    """The feature maps [1, channels, height, width] that a module gives, or none if it gives anything else too."""
    several = list(made) if isinstance(made, list | tuple) else [made]
    maps = [one for one in several if isinstance(one, Tensor) and one.ndim == 4 and len(one) == 1]
    return maps if len(maps) == len(several) else []


@contextmanager
def listening(model: nn.Module, hook: Hook) -> Iterator[None]:
    """Call `hook` for each module of `model` that runs inside; the hooks are gone afterwards."""
    handles = []
    for name, module in model.named_modules():

        def leave(module: nn.Module, given: Any, made: Any, name: str = name) -> Tensor | None:  # noqa: ANN401
            return hook(name, module, given, made)

        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def check_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module called `layer`. Raises SiseonError where there is none."""
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if layer not in modules or not layer:
        raise SiseonError(f"{type(model).__name__} has no layer {layer!r}", "Take a name from the layer table.")
    return modules[layer]


@contextmanager
def resting(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients; afterwards each part of the model is in the mode in which it was found."""
    training = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            model.eval()
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
