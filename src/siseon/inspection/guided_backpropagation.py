"""Guided backpropagation (Springenberg, Dosovitskiy, Brox, Riedmiller 2015, "Striving for Simplicity: The All
Convolutional Net", arXiv:1412.6806, section 3.4).

Idea    The deconvolutional view needs a chain of layers with max pooling. The gradient runs backwards through any
        network; hold back at each rectifier what is negative there, on the way forth (as the gradient does) or on the
        way back (as the deconvolutional view does), and what stays are the pixels that excited the cell.
Flow    picture -> the strongest cell of a channel; its gradient with respect to the pixels, cut at each rectifier
Here    Figure 1c, for ReLU and ReLU6, written as layers or as functions. A ReLU6 counts as a ReLU on the way back:
        nothing else would lead back from a cell that has reached 6. It is not the deconvolutional view: that one does
        not look at what was negative on the way forth. The pixels are in the network's own scale (normalised
        colours): 0 is the mean colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from siseon.inspection.activations import check_layer, listening, maps_in, resting
from siseon.inspection.trace import is_leaf
from siseon.interface import SiseonError


class _Found(Exception):  # noqa: N818
    """The layer has run; the rest of the forward is not needed."""


def guided_backpropagation(model: nn.Module, picture: Tensor, layer: str, channel: int) -> Tensor:
    """What in the pixels excited the strongest cell of a channel of `layer`: [channels, height, width] of the picture.

    picture: [channels, height, width], RGB 0..1, at network size; layer: a module's name as in the layer table. Raises
    SiseonError for a layer or channel that is not there, and for a network without ReLU below the layer.
    """
    wanted = check_layer(model, layer)
    found: list[Tensor] = []
    pixels: list[Tensor] = []

    def begin(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if pixels or not is_leaf(module):
            return None
        pixels.append(given[0].detach().requires_grad_())
        return (pixels[0], *given[1:])

    def note(name: str, module: nn.Module, given: object, made: object) -> None:
        if module is wanted:
            found.extend(maps_in(made)[:1])
            raise _Found

    guided = _Guided()
    handles = [module.register_forward_pre_hook(begin) for module in model.modules()]
    try:
        with resting(model), listening(model, note), guided:
            model(picture[None])
    except _Found:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if not found or not guided.met:
        missing = "makes no map" if not found else "has no ReLU below it"
        raise SiseonError(f"the layer {layer!r} {missing}", "Take a convolutional layer of a network with ReLU")
    if not 0 <= channel < found[0].shape[1]:
        raise SiseonError(f"there is no channel {channel}", f"The layer has {found[0].shape[1]} channels")
    cells = found[0][0, channel].flatten()
    strongest = cells[cells.argmax()]  # one cell, also where several are equal (a ReLU6 at 6)
    return torch.autograd.grad(strongest, pixels[0])[0][0]


class _Rectifier(torch.autograd.Function):
    """min(max(x, 0), top), whose gradient passes where both it and x are positive."""

    @staticmethod
    def forward(context: Any, x: Tensor, top: float) -> Tensor:  # noqa: ANN401
        """As the rectifier."""
        context.save_for_backward(x > 0)
        return x.clamp(0, top)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Cut twice."""
        (positive,) = context.saved_tensors
        return gradient.clamp(min=0) * positive, None


class _Guided(TorchFunctionMode):
    """Inside, every ReLU and ReLU6 is a _Rectifier; met: whether there was one."""

    def __init__(self) -> None:
        super().__init__()
        self.met = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = dict(kwargs or {})
        top = _top(getattr(func, "__name__", "").rstrip("_"), kwargs)
        if top is None:
            return func(*args, **kwargs)
        self.met = True
        return _Rectifier.apply(args[0] if args else kwargs["input"], top)  # type: ignore[no-untyped-call]


def _top(name: str, options: Mapping[str, Any]) -> float | None:
    """The largest value of a rectifier, or None for any other function. nn.ReLU6 calls hardtanh from 0 to 6."""
    if name == "relu":
        return float("inf")
    if name == "relu6":
        return 6.0
    return float(options["max_val"]) if name == "hardtanh" and options.get("min_val") == 0 else None
