"""The layers of an optimized network: each gives the best way to compute itself what it is given.

A convolution has its norm and activation in it, and goes by convolutions/ where that is faster than oneDNN; its weights
are packed once, when it is first known what for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.convolutions import depthwise, im2col, planar
from siseon.convolutions.depthwise import Depthwise
from siseon.convolutions.im2col import Im2col
from siseon.convolutions.planar import Planar
from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.registers import HEIGHTS, LIMITED, SIGMOID, SWISH, TANH, Activation
from siseon.convolutions.separable import Separable
from siseon.convolutions.winograd import Winograd, pays
from siseon.layers import SameConv2d, SqueezeExcitation, same_zeros


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
        self.in_channels, self.out_channels = convolution.in_channels, convolution.out_channels
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
            self._check(maps)
            return self.own(maps.to(self.dtype), self.ending.own)
        self._check(maps)
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
        self._check(maps)
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

    def _check(self, maps: Tensor) -> None:
        """Own convolutions read what they are told, wherever that lies."""
        if maps.ndim != 4 or maps.shape[1] != self.in_channels:
            raise RuntimeError(f"maps {[*maps.shape]} for a convolution of {self.in_channels} channels")

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


class SeparableConvolution(nn.Module):
    """A depthwise convolution with the 1x1 convolutions around it, or one of them: in one call where that pays."""

    def __init__(self, layers: Sequence[Convolution]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.first, self.last = layers[0], layers[-1]
        kinds = [layer.own for layer in layers]
        (place, own), *_ = ((place, own) for place, own in enumerate(kinds) if isinstance(own, Depthwise))
        wide, narrow = kinds[0], kinds[-1]
        self.own = Separable(
            wide if isinstance(wide, Pointwise) else None, own, narrow if isinstance(narrow, Pointwise) else None
        )
        self.wide_ending = layers[0].ending.own if place else NOTHING.own
        self.own_ending = layers[place].ending.own

    @property
    def ending(self) -> Ending:
        """Of the last of them."""
        return self.last.ending

    def forward(self, maps: Tensor) -> Tensor:
        """One after the other, or all at once."""
        self.first._check(maps)
        maps = self.last._ready(maps)
        if not self.own.pays(maps):
            found: Tensor = self.layers(maps)
            return found
        return self.own(maps, self.wide_ending, self.own_ending, self.ending.own)

    def added_to(self, maps: Tensor, other: Tensor, *, rectified: bool) -> Tensor:
        """The same + other, and a rectifier."""
        self.first._check(maps)
        maps, other = self.last._ready(maps), self.last._ready(other)
        if not self.own.narrow or not self.own.pays(maps):
            return self.last.added_to(self.layers[:-1](maps), other, rectified=rectified)
        ending = RECTIFIED if rectified else NOTHING
        return self.own(maps, self.wide_ending, self.own_ending, ending.own, other)


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

    def __init__(
        self, before: nn.Sequential, last: Convolution | SeparableConvolution, shortcut: nn.Module, *, rectified: bool
    ) -> None:
        super().__init__()
        self.before = before
        self.last = last
        self.shortcut = shortcut
        self.rectified = rectified

    def forward(self, maps: Tensor) -> Tensor:
        """[batch, channels, height, width] -> the same of the block."""
        return self.last.added_to(self.before(maps), self.shortcut(maps), rectified=self.rectified)
