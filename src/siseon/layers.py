"""Blocks that two or more papers share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import RecipeError, SiseonError

Padding: TypeAlias = Literal["symmetric", "tensorflow"]
"""Where a convolution puts zeros around its input: on both sides alike, or where TensorFlow's SAME puts them."""


def same_zeros(size: int, kernel: int, stride: int, *, dilation: int = 1) -> tuple[int, int]:
    """Zeros that TensorFlow's SAME puts before and after an axis of `size` cells; an odd one comes after."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def padded_axis(size: int, kernel: int, stride: int, zeros: int | None) -> tuple[int, int]:
    """Zeros before an axis of `size` cells, and cells of the result, of a convolution with `zeros` on each side.

    None puts them where TensorFlow's SAME does.
    """
    if zeros is None:
        return same_zeros(size, kernel, stride)[0], -(-size // stride)
    return zeros, (size + 2 * zeros - kernel) // stride + 1


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: input / stride rounded up; an odd zero goes right and bottom.

    With stride 2, kernel 3 and an even size the zeros are right and bottom only; weights that were trained so see
    shifted pictures under symmetric padding.
    """

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        padding = [
            zeros
            for axis in (1, 0)  # F.pad starts from the last axis
            for zeros in same_zeros(
                images.shape[2 + axis], self.kernel_size[axis], self.stride[axis], dilation=self.dilation[axis]
            )
        ]
        return F.conv2d(F.pad(images, padding), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


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


def conv_relu(channels: int, width: int, *, kernel: int = 1, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """A convolution with bias from `channels` to `width` channels, then a rectifier."""
    convolution = nn.Conv2d(channels, width, kernel, stride, padding)
    return nn.Sequential(OrderedDict[str, nn.Module](conv=convolution, relu=nn.ReLU(inplace=True)))


class Grey(nn.Module):
    """The mean of the colours: [batch, 3, height, width] to [batch, 1, height, width]."""

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return images.mean(1, keepdim=True)


def to_grid(maps: Tensor, side: int) -> Tensor:
    """Maps [batch, channels, height, width] of side x side cells as they are, others averaged (or repeated) to that."""
    return maps if maps.shape[-2:] == (side, side) else F.adaptive_avg_pool2d(maps, side)


class SqueezeExcitation(nn.Module):
    """x times one number, 0..1, for each of its `channels`: Hu et al. 2018, equations 2 to 4.

    squeezed: units of the hidden layer, C / r; activation: of the hidden layer (the paper's is a rectifier).
    """

    def __init__(self, channels: int, squeezed: int, *, activation: type[nn.ReLU | nn.SiLU] = nn.ReLU) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation(inplace=True)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        means = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(self.activation(self.squeeze(means))))


class StochasticDepth(nn.Module):
    """In training, zero for whole pictures at random; the others are enlarged to keep the mean (Huang et al. 2016).

    share: of the pictures [batch, channels, height, width] that are dropped, 0..1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.share
        return x * kept.to(x.dtype) / max(1 - self.share, 1e-8)


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)): He et al. 2016, equation 1."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.relu(self.branch(x) + self.shortcut(x), inplace=True)


class Addition(nn.Module):
    """branch(x) + x, or branch(x) alone where `adds` is False because the branch changes the shape."""

    def __init__(self, branch: nn.Module, *, adds: bool) -> None:
        super().__init__()
        self.branch = branch
        self.adds = adds

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + self.branch(x) if self.adds else self.branch(x)


def before_pooling(layers: Sequence[nn.Module]) -> tuple[int, ...]:
    """The numbers of the layers that a max pooling follows, and of the last: where the stages of a plain chain end."""
    ends = (number for number in range(len(layers) - 1) if isinstance(layers[number + 1], nn.MaxPool2d))
    return (*ends, len(layers) - 1)


def check_size(images: Tensor, *, least: int, network: str) -> None:
    """Raise SiseonError where pictures [batch, channels, height, width] have a side of fewer than `least` pixels."""
    height, width = images.shape[-2:]
    if min(height, width) < least:
        raise SiseonError(
            f"pictures of {height} x {width} pixels are too small for {network}",
            f"It needs {least} pixels on each side: scale them up, or take a network with fewer poolings",
        )


class Body(nn.Module):
    """The convolutional part of a classifier, which is also the backbone of a detector: a stem, then layers.

    `ends` are the numbers, from 1, of the layers whose outputs `features` gives; the stages of the network end there.
    channels and strides: one entry a stage, strides in pixels of the input; least: pixels that each side of a picture
    must have, so that the last map is not empty.
    """

    def __init__(
        self,
        stem: nn.Module,
        layers: Iterable[nn.Module],
        *,
        ends: tuple[int, ...],
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        least: int = 1,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.layers = nn.ModuleDict({str(number): layer for number, layer in enumerate(layers, 1)})
        self.ends = ends
        self.channels = channels
        self.strides = strides
        self.least = least

    def features(self, images: Tensor) -> list[Tensor]:
        """The map at the end of each stage, finest first, of normalised images [batch, 3, height, width].

        Raises SiseonError for pictures that are too small, see `check_size`.
        """
        check_size(images, least=self.least, network=type(self).__name__.removesuffix("Body"))
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

    def dilate(self, stages: int) -> None:
        """Let the last `stages` stages keep the resolution of the one before: no stride, but filters with gaps.

        A filter of a weight that was trained after a stride then sees the same pixels as before (Yu, Koltun 2016,
        arXiv:1511.07122). Raises RecipeError for a body that halves its maps by pooling, as VGG.
        """
        kept = len(self.ends) - stages
        dilation = 1
        for layer in list(self.layers.values())[self.ends[kept - 1] :]:
            for block in layer if isinstance(layer, nn.Sequential) else [layer]:
                entering = dilation
                for convolution in block.modules():
                    if isinstance(convolution, nn.Conv2d):
                        stride = convolution.stride[0]
                        _widen(convolution, dilation)
                        dilation = max(dilation, entering * stride)
        if dilation == 1:
            raise RecipeError("this network halves its maps by pooling, which cannot be dilated", "Take a resnet")
        self.strides = (*self.strides[:kept], *(self.strides[kept - 1],) * stages)


def _widen(convolution: nn.Conv2d, dilation: int) -> None:
    """Take a convolution's stride away and put gaps between its weights; the size of its map stays."""
    convolution.stride = (1, 1)
    if convolution.kernel_size != (1, 1):
        convolution.dilation = (dilation, dilation)
        if convolution.padding != (0, 0):  # SameConv2d finds its own
            convolution.padding = (dilation * (convolution.kernel_size[0] // 2),) * 2


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
