"""Wide residual networks (Zagoruyko, Komodakis 2016, arXiv:1605.07146).

Idea    Not deeper but wider: a residual network of few layers with k times the channels learns as well as one of a
        thousand layers, and in less time, for wide layers keep a processor busy and deep ones make it wait.
Flow    images -> 3x3 (16) -> 3 stages of n blocks (16k, 32k, 64k channels; 32, 16, 8 pixels) -> mean -> logits;
        6n + 4 convolutions. For ImageNet: ResNet-50 or -101 with twice the channels inside its bottlenecks
Here    WRN-d-k of table 1 for pictures of CIFAR's size, e.g. wrn28_10 (36.5 million parameters, table 4), any depth
        and width by keyword: blocks B(3, 3) that normalise and rectify before each convolution, dropout between them
        if asked for (section 2.4). WRN-50-2-bottleneck of table 8 (68.9 million) is wide_resnet50_2, with
        torchvision's names and numbers, and wide_resnet101_2 (126.9 million) is torchvision's. One deviation: those
        two halve in the 3x3 convolution, as resnet.py says. wide_resnet_mini is WRN-10-2 on half the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.layers import Body, Residual, conv_norm_relu
from siseon.models.classification import resnet
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import EXPANSION, bottleneck, initialise, residual_stages, residual_stem


class PreActivated(nn.Module):
    """branch(first(x)) + x; where the shape changes, the shortcut also starts from first(x) (He et al. 2016b)."""

    def __init__(self, channels: int, width: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            *conv_norm_relu(channels, width, stride=stride),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.changes = stride != 1 or channels != width
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if self.changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        activated = self.first(x)
        return self.branch(activated) + self.shortcut(activated if self.changes else x)


class WideResNetBody(Body):
    """The first convolution and three stages; `features` gives the end of each (strides 1, 2, 4), the last rectified.

    depth: convolutions, 6n + 4, of which the three projections count as such; widening: k;
    base: channels of the first convolution, and of the first stage at k = 1; dropout: share that each block drops.
    Raises RecipeError for another depth.
    """

    def __init__(self, *, depth: int, widening: int, base: int = 16, dropout: float = 0.0) -> None:
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise RecipeError(f"depth = {depth} is not 6n + 4", "Give 10, 16, 22, 28, 40 or another such number")
        outputs = tuple(base * widening * factor for factor in (1, 2, 4))

        def block(channels: int, out: int, stride: int) -> PreActivated:
            return PreActivated(channels, out, stride=stride, dropout=dropout)

        stages = residual_stages(block, channels=base, depths=(blocks,) * 3, outputs=outputs)
        stages[-1].extend([nn.BatchNorm2d(outputs[-1]), nn.ReLU(inplace=True)])
        stem = nn.Conv2d(3, base, 3, padding=1, bias=False)
        super().__init__(stem, stages, ends=(1, 2, 3), channels=outputs, strides=(1, 2, 4))
        initialise(self, zero_init=False)


class WideBottleneckBody(Body):
    """A ResNet's stem and four stages of wide bottlenecks; `features` gives C2 .. C5 (strides 4, 8, 16, 32).

    depths: blocks in each stage; widening: of the channels inside a block, its outputs remain a ResNet's; zero_init:
    see resnet.ResNetBody.
    """

    def __init__(self, *, depths: Sequence[int], widening: int = 2, zero_init: bool = False) -> None:
        outputs = tuple(width * EXPANSION["bottleneck"] for width in (64, 128, 256, 512))

        def block(channels: int, out: int, stride: int) -> Residual:
            return bottleneck(channels, out // EXPANSION["bottleneck"] * widening, out, stride=stride)

        stages = residual_stages(block, channels=64, depths=depths, outputs=outputs)
        super().__init__(residual_stem(64), stages, ends=(1, 2, 3, 4), channels=outputs, strides=(4, 8, 16, 32))
        initialise(self, zero_init=zero_init)


class WideResNet(Classifier):
    """WideResNetBody, the mean over each map, and one linear layer.

    classes: a count or the names; frozen: how many stages, with the first convolution, are not trained; resize and
    crop: pixels, see Classifier; the others as in WideResNetBody.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        depth: int = 28,
        widening: int = 10,
        base: int = 16,
        dropout: float = 0.0,
        frozen: int = 0,
        resize: int = 32,
        crop: int = 32,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = WideResNetBody(depth=depth, widening=widening, base=base, dropout=dropout)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


class WideBottleneckResNet(Classifier):
    """WideBottleneckBody, the mean over each map, and one linear layer.

    classes: a count or the names; frozen: how many stages, with the stem, are not trained; resize and crop: pixels,
    see Classifier; the others as in WideBottleneckBody.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depths: Sequence[int],
        widening: int = 2,
        zero_init: bool = False,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = WideBottleneckBody(depths=depths, widening=widening, zero_init=zero_init)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


TORCHVISION_NAMES = resnet.TORCHVISION_NAMES
"""(pattern of a whole torchvision name, our name), for the bottlenecks: those of a ResNet."""

BOTTLENECK_BODIES: Mapping[str, Mapping[str, Any]] = {
    "wide_resnet50_2": {"depths": (3, 4, 6, 3)},
    "wide_resnet101_2": {"depths": (3, 4, 23, 3)},
}
"""Name -> arguments of WideBottleneckBody, and of WideBottleneckResNet."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "wrn16_4": {"depth": 16, "widening": 4},
    "wrn16_8": {"depth": 16, "widening": 8},
    "wrn28_10": {"depth": 28, "widening": 10},
    "wrn40_2": {"depth": 40, "widening": 2},
    "wrn40_4": {"depth": 40, "widening": 4},
    "wide_resnet_mini": {"depth": 10, "widening": 2, "base": 8},
}
"""Name -> arguments of WideResNet."""
