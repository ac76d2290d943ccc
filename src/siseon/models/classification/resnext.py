"""ResNeXt (Xie, Girshick, Dollar, Tu, He 2017, arXiv:1611.05431).

Idea    Split the bottleneck into `cardinality` equal paths and add up what they give: at the same cost more paths
        help more than more channels or more layers. One grouped convolution computes all paths at once (figure 3c).
Flow    images -> stem (7x7, stride 2; max pooling, stride 2) -> 4 stages of blocks -> mean -> logits
Here    Table 1: resnext50_32x4d (25,028,904 parameters), with its 101-layer form and torchvision's 32x8d and 64x4d;
        section 5.3: resnext29_8x64d and 16x64d for CIFAR's pictures, three stages after a 3x3 convolution. "32x4d"
        is 32 paths of 4 channels each in the first stage, twice as wide in every next one. Only the block differs from
        resnet.py. No deviation: this paper, too, halves in the 3x3 convolution. resnext_mini has 4 paths, one block a
        stage, and a first stride of 2, for 32x32 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.layers import Body, Residual
from siseon.models.classification import resnet
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import EXPANSION, bottleneck, initialise, residual_stages, residual_stem


class ResNeXtBody(Body):
    """The stem and the stages; `features` gives the end of each, C2 .. C5 (strides 4, 8, 16, 32).

    depths: blocks in each stage, of which there may be fewer than four; cardinality: paths of a block; path: channels
    of a path in the first stage; widths: a quarter of the channels of each stage, the first also of the stem; kernel
    and stride: of the stem, another stride changes all in proportion; zero_init: see resnet.ResNetBody.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        cardinality: int = 32,
        path: int = 4,
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        stride: int = 4,
        zero_init: bool = False,
    ) -> None:
        outputs = tuple(width * EXPANSION["bottleneck"] for width in widths)

        def block(channels: int, out: int, stride: int) -> Residual:
            inner = cardinality * path * (out // outputs[0])
            return bottleneck(channels, inner, out, stride=stride, groups=cardinality)

        stages = residual_stages(block, channels=widths[0], depths=depths, outputs=outputs)
        ends = tuple(range(1, len(stages) + 1))
        strides = tuple(stride << number for number in range(len(stages)))
        stem = residual_stem(widths[0], kernel=kernel, stride=stride)
        super().__init__(stem, stages, ends=ends, channels=outputs, strides=strides)
        initialise(self, zero_init=zero_init)


class ResNeXt(Classifier):
    """ResNeXtBody, the mean over each map, and one linear layer.

    classes: a count or the names; frozen: how many stages, with the stem, are not trained; resize and crop: pixels,
    see Classifier; the others as in ResNeXtBody.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depths: Sequence[int],
        cardinality: int = 32,
        path: int = 4,
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        stride: int = 4,
        zero_init: bool = False,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = ResNeXtBody(
            depths=depths,
            cardinality=cardinality,
            path=path,
            widths=widths,
            kernel=kernel,
            stride=stride,
            zero_init=zero_init,
        )
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


TORCHVISION_NAMES = resnet.TORCHVISION_NAMES
"""(pattern of a whole torchvision name, our name): those of a ResNet."""

CIFAR: Mapping[str, Any] = {"depths": (3, 3, 3), "path": 64, "widths": (64, 128, 256), "kernel": 3, "stride": 1}

BODIES: Mapping[str, Mapping[str, Any]] = {
    "resnext50_32x4d": {"depths": (3, 4, 6, 3)},
    "resnext101_32x4d": {"depths": (3, 4, 23, 3)},
    "resnext101_32x8d": {"depths": (3, 4, 23, 3), "path": 8},
    "resnext101_64x4d": {"depths": (3, 4, 23, 3), "cardinality": 64},
    "resnext29_8x64d": {**CIFAR, "cardinality": 8},
    "resnext29_16x64d": {**CIFAR, "cardinality": 16},
    "resnext_mini": {
        "depths": (1, 1, 1),
        "cardinality": 4,
        "path": 4,
        "widths": (16, 32, 64),
        "kernel": 3,
        "stride": 2,
    },
}
"""Name -> arguments of ResNeXtBody."""

SMALL: Mapping[str, Any] = {"classes": 10, "resize": 32, "crop": 32}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **BODIES,
    "resnext29_8x64d": {**BODIES["resnext29_8x64d"], **SMALL},
    "resnext29_16x64d": {**BODIES["resnext29_16x64d"], **SMALL},
    "resnext_mini": {**BODIES["resnext_mini"], **SMALL},
}
"""Name -> arguments of ResNeXt."""
