"""The deconvolutional view (Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks",
arXiv:1311.2901, section 2.1).

Idea    What in the picture excited this cell? Keep it, set the rest of its layer to zero, and run the layers backwards
        down to the pixels.
Flow    one activation -> unpool (to the places where the maxima were: the switches) -> rectify -> filter with the
        transposed filters -> ... -> pixels
Here    For networks that are a chain of convolutions, rectifiers and max poolings up to the layer; the strongest cell
        of a channel, as in figure 2. Biases play no part. Response normalisation and dropout are passed through, which
        the paper does not describe; batch normalisation, newer than the paper, scales on the way back as on the way
        forth. Where pooling windows overlap and share a maximum, both values are added. Other layers are allowed where
        they are linear in what they get (means, sums over channels) and then transposed exactly.
        The pixels are in the network's own scale (normalised colours): 0 is the mean colour.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from siseon.inspection.activations import IDLE, check_layer, listening
from siseon.inspection.trace import is_leaf
from siseon.interface import SiseonError, Size
from siseon.layers import SameConv2d, inference

RECTIFIERS = (nn.ReLU, nn.ReLU6)
UNCHANGED = (*IDLE, nn.LocalResponseNorm)
"""Layers that are passed through on the way back."""


class Step(NamedTuple):
    """One layer of the chain as it ran. shape: of what it was given; switches: where the maxima of a pooling were."""

    name: str
    module: nn.Module
    shape: torch.Size
    switches: Tensor | None = None


class Projection(NamedTuple):
    """The pixels that excited one cell.

    pixels [channels, height, width] of the picture; strength: the activation; cell: its (row, column); patch: the part
    of the picture that the cell sees, (left, top, right, bottom) in pixels, cut off at the border.
    """

    pixels: Tensor
    strength: float
    cell: tuple[int, int]
    patch: tuple[int, int, int, int]


class _Reached(Exception):  # noqa: N818
    """The layer has run; the rest of the forward is not needed."""


def deconvolution(model: nn.Module, picture: Tensor, layer: str, channel: int) -> Projection:
    """Project the strongest cell of a channel of `layer` down to the pixels.

    picture: [channels, height, width], RGB 0..1, at network size; layer: a module's name as in the layer table. Raises
    SiseonError for a layer or channel that is not there, and where the network up to the layer is no chain of
    convolutions, rectifiers and max poolings.
    """
    steps, maps = chain(model, picture, layer)
    return project(steps, maps, channel)


def project(steps: list[Step], maps: Tensor, channel: int) -> Projection:
    """The projection of the strongest cell of a channel of maps [1, channels, rows, columns], which `chain` gave."""
    if not 0 <= channel < maps.shape[1]:
        raise SiseonError(f"there is no channel {channel}", f"The layer has channels 0 to {maps.shape[1] - 1}")
    row, column = divmod(int(maps[0, channel].argmax()), maps.shape[3])
    strength = float(maps[0, channel, row, column])
    alone = torch.zeros_like(maps)
    alone[0, channel, row, column] = strength
    return Projection(backwards(steps, alone)[0], strength, (row, column), seen(steps, (row, column)))


def chain(model: nn.Module, picture: Tensor, layer: str) -> tuple[list[Step], Tensor]:
    """The layers that run up to `layer`, and its maps [1, channels, rows, columns].

    Raises SiseonError where one does not take what the one before makes, or cannot be run backwards.
    """
    wanted = check_layer(model, layer)
    steps: list[Step] = []
    last: list[object] = []

    def note(name: str, module: nn.Module, given: tuple[Any, ...], made: object) -> None:
        if is_leaf(module):
            follows = given[0] is last[-1] if last else given[0].shape[-2:] == picture.shape[-2:]
            if not follows:
                before = steps[-1].name if steps else "the picture"
                problem = f"{type(model).__name__} is no plain chain of layers: {name} does not follow {before}"
                raise SiseonError(problem, "The deconvolutional view is for networks such as ZFNet, AlexNet and VGG")
            steps.append(_step(name, module, given[0], made))
            last[:] = [made]
        if module is wanted:
            if made is not last[-1]:
                problem = f"{type(model).__name__} is no plain chain of layers: {name} adds to what its layers make"
                raise SiseonError(problem, "The deconvolutional view is for networks such as ZFNet, AlexNet and VGG")
            raise _Reached

    with inference(model), listening(model, note):
        try:
            model(picture[None])
        except _Reached:
            assert isinstance(last[-1], Tensor)
            return steps, last[-1]
    raise SiseonError(f"the layer {layer!r} did not run", "Take one from the layer table.")


def _step(name: str, module: nn.Module, given: Tensor, made: object) -> Step:
    """The layer, if there is a way back through it. Raises SiseonError."""
    if isinstance(module, nn.MaxPool2d):
        _, switches = F.max_pool2d(
            *(given, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode),
            return_indices=True,
        )
        return Step(name, module, given.shape, switches)
    plain = isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"
    if plain or isinstance(module, (*RECTIFIERS, *UNCHANGED, nn.BatchNorm2d)) or _is_linear(module, given, made):
        return Step(name, module, given.shape)
    raise SiseonError(
        f"there is no way back through {name} ({type(module).__name__})",
        "The deconvolutional view is for chains of convolutions, rectifiers and max poolings",
    )


def _is_linear(module: nn.Module, given: Tensor, made: object) -> bool:
    """Whether a layer without parameters, a mean over the colours for one, is linear in what it gets."""
    if not isinstance(made, Tensor) or made.ndim != 4 or next(module.parameters(), None) is not None:
        return False
    return torch.allclose(module.forward(-2 * given), -2 * made, rtol=1e-4, atol=1e-5)


def backwards(steps: list[Step], maps: Tensor) -> Tensor:
    """Run maps [1, channels, rows, columns] through the layers from the last to the first, down to the pixels."""
    with torch.no_grad():
        for step in reversed(steps):
            maps = _back(step, maps)
    return maps


def _back(step: Step, maps: Tensor) -> Tensor:
    """Through one layer: section 2.1's unpooling, rectification and filtering, each where the layer has it."""
    module, size = step.module, (step.shape[2], step.shape[3])
    if step.switches is not None:
        return unpool(maps, step.switches, size)
    if isinstance(module, RECTIFIERS):
        return maps.clamp(min=0)
    if isinstance(module, nn.Conv2d):
        return transposed(module, maps, size)
    if isinstance(module, UNCHANGED):
        return maps
    if isinstance(module, nn.BatchNorm2d):
        assert module.running_var is not None
        scale = (module.running_var + module.eps).rsqrt() * (1 if module.weight is None else module.weight)
        return maps * scale[:, None, None]
    with torch.enable_grad():
        given = torch.zeros(step.shape, device=maps.device, requires_grad=True)
        return torch.autograd.grad(module.forward(given), given, maps)[0]


def transposed(module: nn.Conv2d, maps: Tensor, size: Size) -> Tensor:
    """The transposed filters: from maps of the convolution's output to maps of `size`, (height, width) of its input.

    It is the transposed operator: sum of maps * conv(x) = sum of transposed(maps) * x, the bias left out.
    """
    (top, bottom), (left, right) = (_padding(module, axis, size[axis]) for axis in (0, 1))
    shape = (len(maps), module.in_channels, size[0] + top + bottom, size[1] + left + right)
    numbers = {"stride": module.stride, "dilation": module.dilation, "groups": module.groups}
    full: Tensor = conv2d_input(shape, module.weight, maps, **numbers)  # type: ignore[no-untyped-call]
    return full[:, :, top : top + size[0], left : left + size[1]]


def unpool(maps: Tensor, switches: Tensor, size: Size) -> Tensor:
    """Put each value at the place of its maximum in a map of `size`; the rest is zero. switches: as max_pool2d's."""
    flat = maps.new_zeros(*maps.shape[:2], size[0] * size[1])
    return flat.scatter_add(2, switches.flatten(2), maps.flatten(2)).view(*maps.shape[:2], *size)


def seen(steps: list[Step], cell: tuple[int, int]) -> tuple[int, int, int, int]:
    """The (left, top, right, bottom) in pixels that a cell of the last layer sees, cut off at the picture's border."""
    sides = []
    for axis in (0, 1):
        first = last = cell[axis]
        for step in reversed(steps):
            kernel, stride, padding, dilation = _window(step, axis)
            first, last = first * stride - padding, last * stride - padding + dilation * (kernel - 1)
        length = steps[0].shape[2 + axis]
        sides.append((min(max(first, 0), length - 1), max(min(last + 1, length), 1)))
    (top, bottom), (left, right) = sides
    return left, top, right, bottom


def _window(step: Step, axis: int) -> tuple[int, int, int, int]:
    """(kernel, stride, padding before, dilation) of a layer along an axis."""
    module = step.module
    if isinstance(module, nn.Conv2d):
        padding = _padding(module, axis, step.shape[2 + axis])[0]
        return module.kernel_size[axis], module.stride[axis], padding, module.dilation[axis]
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        dilation = module.dilation if isinstance(module, nn.MaxPool2d) else 1
        numbers = (module.kernel_size, module.stride, module.padding, dilation)
        kernel, stride, padding, dilation = (one if isinstance(one, int) else one[axis] for one in numbers)
        return kernel, stride, padding, dilation
    return 1, 1, 0, 1


def _padding(module: nn.Conv2d, axis: int, length: int) -> tuple[int, int]:
    """The zeros (before, behind) along an axis of an input of `length`."""
    reach, stride = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1, module.stride[axis]
    if isinstance(module, SameConv2d) or module.padding == "same":
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        return total // 2, total - total // 2
    if isinstance(module.padding, str):
        return 0, 0
    padding = module.padding[axis]
    return padding, padding
