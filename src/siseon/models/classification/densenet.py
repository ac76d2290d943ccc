"""DenseNet (Huang, Liu, van der Maaten, Weinberger 2017, arXiv:1608.06993).

Idea    Each layer sees the maps of all layers before it, stacked, not added, and adds a few of its own: nothing is
        computed twice, and the loss is never more than a few layers away.
Flow    images -> stem (7x7, stride 2; max pooling, stride 2) -> 4 dense blocks, between them transitions (1x1 to half
        the channels, mean pooling, stride 2) -> mean -> logits
Here    Table 1: densenet121 (7,978,856 parameters), 169, 201 and, with torchvision, 161 (growth rate 48). Table 2, for
        CIFAR's pictures, three blocks after a 3x3 convolution: densenet_bc_100_12 (0.8 million), others by keyword;
        bottleneck=False and compression=1 give the first form, without B and C. `features` gives the end of each
        dense block, only the last one normalised and rectified. No deviation. densenet_mini has three blocks of three
        layers and a first stride of 2, for 32x32 pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import residual_stem


def norm_relu_conv(channels: int, width: int, *, kernel: int, dropout: float) -> nn.Sequential:
    """Batch normalisation, a rectifier, a convolution: the paper's order (section 3, "composite function")."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            norm=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
            dropout=nn.Dropout(dropout),
        )
    )


class DenseLayer(nn.Module):
    """x, and `growth` new maps computed from it: equation 2. bottleneck: first a 1x1 to 4 * growth maps."""

    def __init__(self, channels: int, growth: int, *, bottleneck: bool, dropout: float) -> None:
        super().__init__()
        reduced = 4 * growth if bottleneck else channels
        reduce = [norm_relu_conv(channels, reduced, kernel=1, dropout=dropout)] if bottleneck else []
        self.new = nn.Sequential(*reduce, norm_relu_conv(reduced, growth, kernel=3, dropout=dropout))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([x, self.new(x)], 1)


class DenseNetBody(Body):
    """The stem, dense blocks and transitions; `features` gives the end of each block (strides 4, 8, 16, 32).

    depths: layers of each block; growth: maps that a layer adds; first: channels of the stem; kernel and stride: of the
    stem, another stride changes all in proportion; compression: share of the channels that a transition keeps;
    bottleneck: see DenseLayer; dropout: share that each convolution but the first drops. Pictures have at least `least`
    pixels a side: 29 after a stem of stride 4, 4 for CIFAR's networks.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        growth: int = 32,
        first: int = 64,
        kernel: int = 7,
        stride: int = 4,
        compression: float = 0.5,
        bottleneck: bool = True,
        dropout: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = []
        channels, outputs = first, []
        for number, depth in enumerate(depths):
            if number:
                kept = int(channels * compression)
                transition = norm_relu_conv(channels, kept, kernel=1, dropout=dropout)
                transition.add_module("pool", nn.AvgPool2d(2))
                layers.append(transition)
                channels = kept
            block = nn.Sequential()
            for index in range(depth):
                layer = DenseLayer(channels, growth, bottleneck=bottleneck, dropout=dropout)
                block.add_module(str(index + 1), layer)
                channels += growth
            layers.append(block)
            outputs.append(channels)
        block.add_module("norm", nn.BatchNorm2d(channels))
        block.add_module("relu", nn.ReLU(inplace=True))
        # with stride 1 the first convolution is bare: the first layer normalises
        stem = residual_stem(first, kernel=kernel, stride=stride) if stride > 1 else bare(first, kernel)
        super().__init__(
            stem,
            layers,
            ends=tuple(range(1, len(layers) + 1, 2)),
            channels=tuple(outputs),
            strides=tuple(stride << number for number in range(len(depths))),
            # each mean pooling drops an odd row, so the stem must leave two cells for each
            least=(2 ** (len(depths) - 1) - 1) * stride + 1,
        )
        initialise(self)


def bare(width: int, kernel: int) -> nn.Conv2d:
    """The first convolution of the networks for CIFAR, without normalisation."""
    return nn.Conv2d(3, width, kernel, padding=kernel // 2, bias=False)


class DenseNet(Classifier):
    """DenseNetBody, the mean over each map, and one linear layer.

    classes: a count or the names; frozen: how many dense blocks, with the stem and the transitions between, are not
    trained; resize and crop: pixels, see Classifier; the others as in DenseNetBody.
    """

    body: DenseNetBody

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depths: Sequence[int],
        growth: int = 32,
        first: int = 64,
        kernel: int = 7,
        stride: int = 4,
        compression: float = 0.5,
        bottleneck: bool = True,
        dropout: float = 0.0,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = DenseNetBody(
            depths=depths,
            growth=growth,
            first=first,
            kernel=kernel,
            stride=stride,
            compression=compression,
            bottleneck=bottleneck,
            dropout=dropout,
        )
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"features\.(conv|norm)0\.(.+)", r"body.stem.\1.\2"),
    *(
        (
            # the published files have a point before the number: norm.1
            rf"features\.denseblock{block}\.denselayer(\d+)\.(norm|conv)\.?{part}\.(.+)",
            rf"body.layers.{2 * block - 1}.\1.new.{part - 1}.\2.\3",
        )
        for block in (1, 2, 3, 4)
        for part in (1, 2)
    ),
    *((rf"features\.transition{block}\.(.+)", rf"body.layers.{2 * block}.\1") for block in (1, 2, 3)),
    (r"features\.norm5\.(.+)", r"body.layers.7.norm.\1"),
)
"""(pattern of a whole torchvision name, our name)."""

CIFAR: Mapping[str, Any] = {"kernel": 3, "stride": 1, "classes": 10, "resize": 32, "crop": 32}

FIRST_FORM: Mapping[str, Any] = {**CIFAR, "first": 16, "compression": 1.0, "bottleneck": False}
"""Without bottlenecks and compression."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "densenet121": {"depths": (6, 12, 24, 16)},
    "densenet161": {"depths": (6, 12, 36, 24), "growth": 48, "first": 96},
    "densenet169": {"depths": (6, 12, 32, 32)},
    "densenet201": {"depths": (6, 12, 48, 32)},
    "densenet_40_12": {**FIRST_FORM, "depths": (12, 12, 12), "growth": 12},
    "densenet_bc_100_12": {**CIFAR, "depths": (16, 16, 16), "growth": 12, "first": 24},
    "densenet_bc_250_24": {**CIFAR, "depths": (41, 41, 41), "growth": 24, "first": 48},
    "densenet_bc_190_40": {**CIFAR, "depths": (31, 31, 31), "growth": 40, "first": 80},
    "densenet_mini": {**CIFAR, "depths": (3, 3, 3), "growth": 12, "first": 24, "stride": 2},
}
"""Name -> arguments of DenseNet."""
