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
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from siseon.convolutions import depthwise, im2col, planar
from siseon.convolutions.depthwise import Depthwise
from siseon.convolutions.im2col import Im2col
from siseon.convolutions.learning import LearningConv2d
from siseon.convolutions.planar import Planar
from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.registers import HEIGHTS, LIMITED, SIGMOID, SWISH, TANH, Activation
from siseon.convolutions.winograd import Winograd, pays
from siseon.interface import RecipeError
from siseon.layers import Addition, Body, Residual, SameConv2d, SqueezeExcitation, same_zeros
from siseon.recording import Repeated

Precision: TypeAlias = Literal["fp32", "bf16"]
Network = TypeVar("Network", bound=nn.Module)


class Ending(NamedTuple):
    """What a layer does with its sums: what oneDNN calls it, with its numbers, and siseon's own convolutions."""

    name: str
    numbers: tuple[float, ...]
    own: Activation

    def is_limit(self) -> bool:
        """Whether it keeps sums between two limits, or does nothing."""
        return self.own.kind == LIMITED


NOTHING = Ending("none", (), Activation())
RECTIFIED = Ending("relu", (), Activation(low=0))
ENDINGS: dict[type[nn.Module], Ending] = {
    nn.ReLU: RECTIFIED,
    nn.ReLU6: Ending("hardtanh", (0.0, 6.0), Activation(low=0, high=6)),
    nn.SiLU: Ending("swish", (), Activation(SWISH)),
    nn.Sigmoid: Ending("sigmoid", (), Activation(SIGMOID)),
    nn.Tanh: Ending("tanh", (), Activation(TANH)),
}


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
        fuse_additions(fast)
        if precision == "bf16":
            widen_inputs(fast)
    fast = fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if getattr(fast, "task", None) == "classification":
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
    """Replace the convolutions and linear layers by those of this file, in place."""
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
            if isinstance(last, Convolution) and last.ending is NOTHING:
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


class Convolution(nn.Module):
    """A convolution, the norm that followed it, and an activation, in one call. Channels last in and out.

    [batch, channels, height, width] of any float type -> the same in the type of the weights.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.same = isinstance(convolution, SameConv2d)
        self.kernel, self.dilation = convolution.kernel_size, convolution.dilation
        self.stride = (convolution.stride[0], convolution.stride[1])
        self.padding = (0, 0) if self.same else (int(convolution.padding[0]), int(convolution.padding[1]))
        self.groups = convolution.groups
        self.out_channels = convolution.out_channels
        self.ending: Ending = NOTHING
        self.dtype = dtype
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach().to(dtype))
        self.bias: Tensor | None
        self.weight: Tensor | None = convolution.weight.detach().to(dtype)
        self.packed: Tensor | None = None
        self.own = self._own() if dtype == torch.float32 else None
        same_size = self.same or self.padding == (1, 1)
        shape = (self.kernel, self.stride, self.dilation, self.groups)
        self.may_be_winograd = shape == ((3, 3), (1, 1), (1, 1), 1) and same_size
        self.winograd: Winograd | None = None
        self.may_be_im2col = (dtype, self.groups, self.dilation, self.own) == (torch.float32, 1, (1, 1), None)
        self.im2col: Im2col | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Convolution, shift and activation."""
        if isinstance(self.own, Planar):
            return self.own(maps.to(self.dtype), self.ending.own)
        maps = self._ready(maps)
        if own := self._faster(maps, self.ending):
            return own(maps, self.ending.own)
        return torch.ops.mkldnn._convolution_pointwise(
            *self._packed(maps),
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            self.ending.name,
            self.ending.numbers,
            "",
        )

    def added_to(self, maps: Tensor, other: Tensor, *, rectified: bool) -> Tensor:
        """convolution(maps) + other, and a rectifier."""
        maps, other, ending = self._ready(maps), self._ready(other), RECTIFIED if rectified else NOTHING
        if (own := self._faster(maps, ending)) and not isinstance(own, Depthwise | Planar):
            return own(maps, ending.own, other)
        maps, weight = self._packed(maps)
        return torch.ops.mkldnn._convolution_pointwise.binary(
            maps,
            other,
            weight,
            self.bias,
            self.padding,
            self.stride,
            self.dilation,
            self.groups,
            "add",
            1.0,
            "relu" if rectified else None,
            [],
            None,
        )

    def _own(self) -> Planar | Pointwise | Depthwise | None:
        """A convolution of siseon's own, where it is faster than oneDNN on maps of any size."""
        assert self.weight is not None
        padding = None if self.same else self.padding
        if self.groups == 1 and self.weight.shape[1] <= planar.MOST_CHANNELS and self.dilation == (1, 1):
            return Planar(self.weight, self.bias, stride=self.stride, padding=padding)
        if (self.kernel, self.stride, self.groups, self.padding) == ((1, 1), (1, 1), 1, (0, 0)):
            return Pointwise(self.weight.flatten(1), self.bias)
        alone = self.groups == self.out_channels and self.weight.shape[1] == 1 and self.dilation == (1, 1)
        if alone and (self.kernel, self.stride) in depthwise.KINDS:
            return Depthwise(self.weight, self.bias, stride=self.stride[0], padding=padding)
        return None

    def _faster(self, maps: Tensor, ending: Ending) -> Winograd | Im2col | Planar | Pointwise | Depthwise | None:
        """What computes the convolution of these maps faster than oneDNN, if anything does."""
        if self.may_be_winograd and ending.is_limit() and pays(maps, self.out_channels, self.dtype):
            if self.winograd is None:
                assert self.weight is not None
                self.winograd = Winograd(self.weight, self.bias)
            return self.winograd
        if self.may_be_im2col and im2col.pays(maps, self.kernel, self.stride):
            if self.im2col is None:
                assert self.weight is not None
                padding = None if self.same else self.padding
                self.im2col = Im2col(self.weight, self.bias, stride=self.stride, padding=padding)
            return self.im2col
        return self.own

    def _ready(self, maps: Tensor) -> Tensor:
        """The maps in the type of the weights, channels last."""
        if maps.dtype == self.dtype and maps.is_contiguous(memory_format=torch.channels_last):
            return maps  # asking is cheaper than converting nothing
        return maps.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def _packed(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The maps, padded where TensorFlow would pad, and packed weights.

        The first maps to come decide how the weights are packed: oneDNN's choice without a size made ResNet-50 slower
        than unpacked (95 ms against 61; 44 with the size).
        """
        if self.same:
            zeros = (same_zeros(maps.shape[2 + axis], self.kernel[axis], self.stride[axis]) for axis in (1, 0))
            maps = F.pad(maps, [*chain(*zeros)]).contiguous(memory_format=torch.channels_last)
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, list(maps.shape)
            )
            if not self.may_be_winograd and not self.may_be_im2col:
                self.weight = None
        return maps, self.packed


class Linear(nn.Module):
    """A linear layer and an activation in one call; in float32 a 1x1 convolution, of which each row is a cell."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.ending: Ending = NOTHING
        self.dtype = dtype
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(dtype))
        weight = linear.weight.detach().to(dtype).contiguous()
        self.own = Pointwise(weight, linear.bias) if dtype == torch.float32 else None
        self.weight = None if self.own else torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(self, features: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        if not features.numel():
            return features.new_zeros(*features.shape[:-1], self.out_features, dtype=self.dtype)
        features = features.to(self.dtype).contiguous()
        if self.own:
            rows = features.view(-1, self.in_features)
            missing = HEIGHTS[0] - len(rows)  # a whole tile reads the weights once, fewer rows once for each
            filled = F.pad(rows, (0, 0, 0, missing)) if len(rows) > 1 and missing > 0 else rows
            found = self.own(filled[..., None, None], self.ending.own)[: len(rows)]
            return found.reshape(*features.shape[:-1], self.out_features)
        return torch.ops.mkldnn._linear_pointwise(
            features, self.weight, self.bias, self.ending.name, self.ending.numbers, ""
        )


class FusedSqueezeExcitation(nn.Module):
    """SqueezeExcitation, of which the two products do their activations."""

    def __init__(self, plain: SqueezeExcitation) -> None:
        super().__init__()
        self.squeeze, self.excite = plain.squeeze, plain.excite
        assert isinstance(self.squeeze, Convolution)
        assert isinstance(self.excite, Convolution)
        self.squeeze.ending, self.excite.ending = ENDINGS[type(plain.activation)], ENDINGS[nn.Sigmoid]

    def forward(self, maps: Tensor) -> Tensor:
        """[batch, channels, height, width] -> the same."""
        return maps * self.excite(self.squeeze(maps.mean((2, 3), keepdim=True)))


class FusedResidual(nn.Module):
    """branch(x) + shortcut(x), and a rectifier, where the last convolution of the branch does the addition."""

    def __init__(self, before: nn.Sequential, last: Convolution, shortcut: nn.Module, *, rectified: bool) -> None:
        super().__init__()
        self.before = before
        self.last = last
        self.shortcut = shortcut
        self.rectified = rectified

    def forward(self, maps: Tensor) -> Tensor:
        """[batch, channels, height, width] -> the same of the block."""
        return self.last.added_to(self.before(maps), self.shortcut(maps), rectified=self.rectified)


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
