"""`optimize(model)`: the same network, arranged for prediction on a processor; the numbers differ by rounding only.

Idea    In eval mode batch norm is a factor and a shift of each channel: both go into the convolution before it. What is
        left, convolution, rectifier and the addition of a residual block, is one call of oneDNN each, on weights that
        are packed once, in channels-last memory, so that nothing is written and read again between them.
Here    No compiling: nn.Sequential and Body.layers say what follows what, so `optimize` takes a fraction of a second.
        Layers that it does not know stay as they are. Convolutions go by convolutions/ where that is faster than
        oneDNN, and a classifier's whole pass is repeated from a recording (recording.py). precision="bf16" halves the
        width of weights and maps: faster where the processor multiplies in bf16, and the numbers differ in the third
        digit.

torch.ops.mkldnn is not promised to stay: where an operator is missing, plain convolutions with folded norms are used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from siseon.convolutions.depthwise import Depthwise
from siseon.convolutions.learning import LearningConv2d
from siseon.convolutions.pointwise import Pointwise
from siseon.interface import RecipeError
from siseon.layers import Addition, Body, Residual, SameConv2d, SqueezeExcitation
from siseon.packed_layers import (
    ENDINGS,
    NOTHING,
    Convolution,
    FusedResidual,
    FusedSqueezeExcitation,
    Linear,
    SeparableConvolution,
)
from siseon.recording import Repeated, suits

Precision: TypeAlias = Literal["fp32", "bf16"]
Network = TypeVar("Network", bound=nn.Module)


def optimize(model: Network, *, precision: Precision = "fp32") -> Network:
    """A copy of the model for prediction: norms folded, layers fused, weights packed. It cannot be trained or saved.

    precision: "fp32" gives the same numbers up to rounding (about 1e-6 of their size); "bf16" about 1e-2 of theirs.
    A model that was optimized before is given back as it is. Raises RecipeError for bf16 on a processor without it.
    """
    if any(isinstance(module, Convolution | Linear) for module in model.modules()):
        return model
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise RecipeError("this processor does not compute in bf16", "Leave precision at fp32")
    fast = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    fold_norms(fast)
    if has_operators() and all(parameter.device.type == "cpu" for parameter in fast.parameters()):
        pack(fast, torch.bfloat16 if precision == "bf16" else torch.float32)
        fuse_activations(fast)
        fuse_separable(fast)
        fuse_additions(fast)
        if precision == "bf16":
            widen_inputs(fast)
    fast = fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if suits(fast):
        fast.forward = Repeated(fast)
    return fast


def fold_norms(model: nn.Module) -> None:
    """Put each batch norm that directly follows a convolution into it, in place; the norm becomes an identity."""
    for container, before, after in list(_neighbours(model)):
        convolution, norm = container[before], container[after]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            container[before] = fuse_conv_bn_eval(convolution, norm)
            container[after] = nn.Identity()


def pack(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions and linear layers by those of packed_layers.py, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and _is_plain(child):
                module.register_module(name, Convolution(child, dtype))
            elif type(child) is nn.Linear:
                module.register_module(name, Linear(child, dtype))


def fuse_activations(model: nn.Module) -> None:
    """Give activations to the packed layers before them, in place."""
    for container, before, after in list(_neighbours(model)):
        layer, activation = container[before], container[after]
        if isinstance(layer, Convolution | Linear) and layer.ending is NOTHING and type(activation) in ENDINGS:
            layer.ending = ENDINGS[type(activation)]
            container[after] = nn.Identity()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is SqueezeExcitation and isinstance(child.squeeze, Convolution):
                module.register_module(name, FusedSqueezeExcitation(child))


def fuse_separable(model: nn.Module) -> None:
    """Join depthwise convolutions with the 1x1 convolutions before and after them, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential):
                layers = list(_leaves(child))
                joined = list(_joined(layers))
                if len(joined) < len(layers):
                    module.register_module(name, nn.Sequential(*joined))


def _joined(layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    kinds = [type(layer.own) if isinstance(layer, Convolution) else None for layer in layers]
    place = 0
    while place < len(layers):
        for pattern in ((Pointwise, Depthwise, Pointwise), (Pointwise, Depthwise), (Depthwise, Pointwise)):
            if tuple(kinds[place : place + len(pattern)]) == pattern:
                yield SeparableConvolution(cast("list[Convolution]", layers[place : place + len(pattern)]))
                place += len(pattern)
                break
        else:
            yield layers[place]
            place += 1


def fuse_additions(model: nn.Module) -> None:
    """Give the additions of residual blocks to their last convolution, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is Residual:
                shortcut, rectified = child.shortcut, True
            elif isinstance(child, Addition) and child.adds:
                shortcut, rectified = nn.Identity(), False
            else:
                continue
            *before, last = _leaves(child.branch)
            if isinstance(last, Convolution | SeparableConvolution) and last.ending is NOTHING:
                fused = FusedResidual(nn.Sequential(*before), last, shortcut, rectified=rectified)
                module.register_module(name, fused)


def widen_inputs(model: nn.Module) -> None:
    """Let layers that keep float32 weights, such as transposed convolutions, take maps of any float type, in place."""
    for module in model.modules():
        if list(module.parameters(recurse=False)) and not list(module.children()):
            module.register_forward_pre_hook(_as_float)


def _as_float(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each.float() if isinstance(each, Tensor) and each.is_floating_point() else each for each in inputs)


def _neighbours(model: nn.Module) -> Iterator[tuple[Any, Any, Any]]:
    """(container, key, next key) of layers of which the second takes what the first gives, and nothing else does."""
    for module in model.modules():
        if isinstance(module, nn.Sequential):
            places = [place for place, layer in enumerate(module) if not isinstance(layer, nn.Identity)]
            yield from ((module, *pair) for pair in pairwise(places))
        elif isinstance(module, Body):
            layers = module.layers
            names = [name for name, layer in layers.items() if not isinstance(layer, nn.Identity)]
            seen = set(map(str, module.ends))  # what `features` gives must stay as it is
            yield from ((layers, *pair) for pair in pairwise(names) if pair[0] not in seen)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of nested nn.Sequential, in order, without identities."""
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    elif not isinstance(module, nn.Identity):
        yield module


def _is_plain(convolution: nn.Conv2d) -> bool:
    known = type(convolution) in (nn.Conv2d, SameConv2d, LearningConv2d)
    return known and convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


def has_operators() -> bool:
    """Whether this build of torch has the operators of oneDNN that `optimize` calls."""
    return all(
        hasattr(torch.ops.mkldnn, name)
        for name in (
            "_convolution_pointwise",
            "_linear_pointwise",
            "_reorder_convolution_weight",
            "_reorder_linear_weight",
        )
    )
