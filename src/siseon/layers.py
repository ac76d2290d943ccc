"""Blocks that two or more papers share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import RecipeError

Padding: TypeAlias = Literal["symmetric", "tensorflow"]
"""Where a convolution puts zeros around its input: on both sides alike, or where TensorFlow's SAME puts them."""


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: input / stride rounded up; an odd zero goes right and bottom.

    With stride 2, kernel 3 and an even size the zeros are right and bottom only; weights that were trained so see
    shifted pictures under symmetric padding.
    """

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        padding: list[int] = []
        for axis in (1, 0):  # F.pad starts from the last axis
            size, kernel, stride = images.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [total // 2, total - total // 2]
        return F.conv2d(F.pad(images, padding), self.weight, self.bias, self.stride, 0, 1, self.groups)


def conv_norm(
    channels: int, width: int, *, kernel: int = 3, stride: int = 1, groups: int = 1, padding: Padding = "symmetric"
) -> nn.Sequential:
    """A convolution without bias from `channels` to `width` channels, then batch normalisation."""
    convolution = (
        SameConv2d(channels, width, kernel, stride, groups=groups, bias=False)
        if padding == "tensorflow"
        else nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    )
    return nn.Sequential(OrderedDict[str, nn.Module](conv=convolution, norm=nn.BatchNorm2d(width)))


def conv_norm_relu(
    channels: int,
    width: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    padding: Padding = "symmetric",
    relu: type[nn.ReLU | nn.ReLU6] = nn.ReLU,
) -> nn.Sequential:
    """`conv_norm`, then a rectifier."""
    block = conv_norm(channels, width, kernel=kernel, stride=stride, groups=groups, padding=padding)
    block.add_module("relu", relu(inplace=True))
    return block


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)): He et al. 2016, equation 1."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.relu(self.branch(x) + self.shortcut(x), inplace=True)


class Body(nn.Module):
    """The convolutional part of a classifier, which is also the backbone of a detector: a stem, then layers.

    `ends` are the numbers, from 1, of the layers whose outputs `features` gives; the stages of the network end there.
    channels and strides: one entry a stage, strides in pixels of the input.
    """

    def __init__(
        self,
        stem: nn.Module,
        layers: Iterable[nn.Module],
        *,
        ends: tuple[int, ...],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleDict({str(number): layer for number, layer in enumerate(layers, 1)})
        self.ends = ends
        self.channels = channels
        self.strides = strides

    def features(self, images: Tensor) -> list[Tensor]:
        """The map at the end of each stage, finest first, of normalised images [batch, 3, height, width]."""
        x = self.stem(images)
        maps = []
        for number, layer in enumerate(self.layers.values(), 1):
            x = layer(x)
            if number in self.ends:
                maps.append(x)
        return maps

    def freeze(self, stages: int) -> None:
        """Fix the stem and the first `stages` stages, their batch norm included; 0 leaves everything to be trained.

        Raises RecipeError where there are not so many.
        """
        if stages > len(self.ends):
            raise RecipeError(f"{stages} stages cannot be frozen", f"The network has {len(self.ends)} stages")
        if stages:
            last = self.ends[stages - 1]
            for module in (self.stem, *list(self.layers.values())[:last]):
                module.requires_grad_(requires_grad=False)
                freeze_norm(module)

    def end_at(self, stages: int) -> None:
        """Cut off everything after the first `stages` stages."""
        for number in list(self.layers)[self.ends[stages - 1] :]:
            del self.layers[number]
        self.ends, self.channels, self.strides = self.ends[:stages], self.channels[:stages], self.strides[:stages]


class FrozenNorm(nn.BatchNorm2d):
    """Batch normalisation that uses its running statistics and does not learn, also after .train()."""

    def train(self, mode: bool = True) -> FrozenNorm:  # noqa: D102
        return super().train(mode=False)


def freeze_norm(module: nn.Module) -> None:
    """Freeze the batch norm in `module`: standard for detectors, whose batches are too small for good statistics."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            # A change of class keeps tensors and names as they are, wherever else the layer is referred to.
            norm.__class__ = FrozenNorm
            norm.requires_grad_(requires_grad=False).eval()


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each part of the model is in the mode in which it was found."""
    training = {module: module.training for module in model.modules()}
    try:
        with torch.inference_mode():
            model.eval()
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
