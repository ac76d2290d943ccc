"""The receptive field of a network as it is, measured: from which pixels a gradient reaches the centre of a map.

In a copy, in double precision, every weight is positive and random, maxima are means, activation functions and
normalisation are left out: no two paths cancel, none is cut off, and exactly the pixels that a path leads to have a
gradient.
Source: the effective receptive field of Luo et al. 2016 (arXiv:1701.04128), without their trained weights.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from siseon.inspection.operations import tensors_in
from siseon.inspection.table import table
from siseon.interface import SiseonError, Size


class MeasuredField(NamedTuple):
    """The box of pixels that reach the centre cell: size (height, width), and (left, top, right, bottom).

    clipped: the box touches an edge of the picture, so that the field may be larger than was seen.
    """

    size: Size
    box: tuple[int, int, int, int]
    clipped: bool


class _Reached(Exception):  # noqa: N818
    """The layer has run; the rest of the forward is not needed."""


def measured_receptive_field(
    model: nn.Module, image_size: Size | int, *, channels: int = 3, layer: str | None = None
) -> MeasuredField:
    """The receptive field of the centre cell of what `layer` makes (a module's name as in the table), or the model.

    An output that is no map, as that of a fully connected layer, counts as one cell; of several the last
    counts. The model is not changed. Agrees with the table where the picture is large enough (clipped is False); behind
    an upsampling, where neighbours differ, the table has the cell that sees most.
    Raises SiseonError for a layer that is not there, that did not run, or that no pixel reaches.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    network = _linear_copy(model)
    modules = dict(network.named_modules())
    if layer is not None and layer not in modules:
        raise SiseonError(f"{type(model).__name__} has no layer {layer!r}", "Take a name from the layer table.")
    picture = torch.ones(1, channels, *size, dtype=torch.float64, requires_grad=True)
    centre = _centre_of(model, network, modules[layer or ""], picture)
    if centre is None:
        raise SiseonError(
            f"The layer {layer!r} of {type(model).__name__} did not run", "Take one from the layer table."
        )
    gradient = torch.autograd.grad(centre, picture, allow_unused=True)[0] if centre.requires_grad else None
    reached = None if gradient is None else gradient[0].abs().sum(0).nonzero()
    if reached is None or not len(reached):
        raise SiseonError(f"No pixel reaches {layer or type(model).__name__}", "Take a layer that sees the picture.")
    return _box(reached, size)


def _centre_of(model: nn.Module, network: nn.Module, module: nn.Module, picture: Tensor) -> Tensor | None:
    """The sum over channels of the module's centre cell, with its graph; None if the module did not run."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, given: object, made: object) -> None:
        outputs = tensors_in(made)
        if outputs:
            caught.append(_centre(outputs[-1]))
            raise _Reached

    module.register_forward_hook(catch)
    try:
        with warnings.catch_warnings(), torch.enable_grad(), _Linear():
            warnings.simplefilter("ignore")
            network(picture)
    except _Reached:
        pass
    except SiseonError:
        raise
    except Exception as error:  # the layer table says what does not fit
        table(model, (picture.shape[2], picture.shape[3]), channels=picture.shape[1])
        raise SiseonError(f"{type(model).__name__} cannot be measured: {error}", "Take a part of it.") from error
    return caught[0] if caught else None


def _centre(output: Tensor) -> Tensor:
    if output.ndim != 4:
        return output.sum()
    return output[:, :, (output.shape[2] - 1) // 2, (output.shape[3] - 1) // 2].sum()


def _box(reached: Tensor, size: Size) -> MeasuredField:
    (top, left), (bottom, right) = reached.amin(0).tolist(), (reached.amax(0) + 1).tolist()
    clipped = top == 0 or left == 0 or bottom == size[0] or right == size[1]
    return MeasuredField((bottom - top, right - left), (left, top, right, bottom), clipped)


def _linear_copy(model: nn.Module) -> nn.Module:
    """A copy in double precision on the CPU with positive weights whose sums over a unit are about one."""
    network = copy.deepcopy(model).to("cpu", torch.float64).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            inputs = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
            values = torch.rand(parameter.shape, generator=random, dtype=torch.float64)
            parameter.copy_((values + 0.5) / inputs)
    return network


class _Linear(TorchFunctionMode):
    """Inside, activation functions and normalisation return their input, and maxima are means."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name.rstrip("_") in _LEFT_OUT:
            return args[0] if args else kwargs["input"]
        return _REPLACED.get(name, func)(*args, **kwargs)


_LEFT_OUT = {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "threshold"),
    *("hardtanh", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign", "clamp", "clip"),
    *("softmax", "log_softmax", "logsigmoid", "dropout", "dropout2d", "alpha_dropout", "feature_dropout"),
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm"),
}


def _mean_pool(
    input: Tensor,
    kernel_size: Size | int,
    stride: Size | int | None = None,
    padding: Size | int = 0,
    dilation: Size | int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """A mean over the windows of a max pooling."""
    if dilation in (1, (1, 1), [1, 1]):
        return F.avg_pool2d(input, kernel_size, stride or kernel_size, padding, ceil_mode)
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    weights = input.new_ones(input.shape[1], 1, *kernel)
    return F.conv2d(input, weights, None, stride or kernel_size, padding, dilation, input.shape[1])


def _adaptive_mean(input: Tensor, output_size: Size | int, return_indices: bool = False) -> Tensor:
    return F.adaptive_avg_pool2d(input, output_size)


_REPLACED: dict[str, Callable[..., Any]] = {
    "max_pool2d": _mean_pool,
    "max_pool2d_with_indices": lambda *args, **kwargs: (_mean_pool(*args, **kwargs), None),
    "adaptive_max_pool2d": _adaptive_mean,
    "adaptive_max_pool2d_with_indices": lambda *args, **kwargs: (_adaptive_mean(*args, **kwargs), None),
    "amax": Tensor.mean,
    "adaptive_max_pool1d": F.adaptive_avg_pool1d,
}
