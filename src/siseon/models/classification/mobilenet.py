"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861) and MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381).

Idea    V1: a 3x3 convolution of each channel by itself, then a 1x1 across channels, costs an eighth of a 3x3 across
        all. V2: the same between two narrow maps: widen by 1x1, convolve each channel, narrow by 1x1 without a
        rectifier (a rectifier would destroy what few channels hold), and add the narrow input where shapes allow.
Flow    images -> stem (3x3, stride 2) -> 13 separable or 17 inverted residual blocks -> (V2: 1x1 to 1280) -> mean ->
        logits
Here    Table 1 of V1 (4,231,976 parameters), table 2 of V2 (3,504,872), both with the width multiplier. V1 uses plain
        ReLU, as its text says; Google's code, ReLU6. padding="tensorflow" puts the zeros of strided convolutions
        where TensorFlow does, for weights trained there. V2's features end with block 17 (320 channels, stride 32):
        the 1x1 to 1280 serves the classifier, and a detector would reduce it again at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.layers import Addition, Body, Padding, conv_norm, conv_norm_relu
from siseon.models.classification.classifier import Classifier

STAGES_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Table 1 of V1: (channels, stride) of each block."""

STAGES_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Table 2 of V2: (expansion, channels, blocks, stride of the first block) of each row."""


def scaled(channels: int, multiplier: float) -> int:
    """Multiply, and round to a multiple of 8, but never down by more than a tenth (the authors' code)."""
    rounded = max(8, int(channels * multiplier + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * multiplier else rounded


class InvertedResidual(Addition):
    """Widen, convolve each channel, narrow; plus the input where stride and channels keep its shape (V2, figure 4)."""

    def __init__(self, channels: int, width: int, *, stride: int, expansion: int, padding: Padding) -> None:
        hidden = channels * expansion
        widen = [] if expansion == 1 else [conv_norm_relu(channels, hidden, kernel=1, relu=nn.ReLU6)]
        branch = nn.Sequential(
            *widen,
            conv_norm_relu(hidden, hidden, stride=stride, groups=hidden, padding=padding, relu=nn.ReLU6),
            conv_norm(hidden, width, kernel=1),
        )
        super().__init__(branch, adds=stride == 1 and channels == width)


class MobileNetV1Body(Body):
    """Stem and 13 separable blocks; `features` gives blocks 3, 5, 11 and 13 (strides 4, 8, 16, 32).

    width: the multiplier of all channels; padding: see the header.
    """

    def __init__(self, *, width: float = 1.0, padding: Padding = "symmetric") -> None:
        channels = scaled(32, width)
        stem = conv_norm_relu(3, channels, stride=2, padding=padding)
        layers, outputs = [], []
        for base, stride in STAGES_V1:
            wider = scaled(base, width)
            each = conv_norm_relu(channels, channels, stride=stride, groups=channels, padding=padding)
            layers.append(nn.Sequential(each, conv_norm_relu(channels, wider, kernel=1)))
            outputs.append(wider)
            channels = wider
        ends = (3, 5, 11, 13)
        widths = tuple(outputs[end - 1] for end in ends)
        super().__init__(stem, layers, ends=ends, channels=widths, strides=(4, 8, 16, 32))
        initialise(self)


class MobileNetV2Body(Body):
    """Stem and 17 inverted residuals; `features` gives blocks 3, 6, 13 and 17 (strides 4, 8, 16, 32).

    width: the multiplier of all channels; padding: see the header.
    """

    def __init__(self, *, width: float = 1.0, padding: Padding = "symmetric") -> None:
        channels = scaled(32, width)
        stem = conv_norm_relu(3, channels, stride=2, padding=padding, relu=nn.ReLU6)
        layers, outputs = [], []
        for expansion, base, blocks, first in STAGES_V2:
            wider = scaled(base, width)
            for number in range(blocks):
                stride = 1 if number else first
                layers.append(InvertedResidual(channels, wider, stride=stride, expansion=expansion, padding=padding))
                outputs.append(wider)
                channels = wider
        ends = (3, 6, 13, 17)
        widths = tuple(outputs[end - 1] for end in ends)
        super().__init__(stem, layers, ends=ends, channels=widths, strides=(4, 8, 16, 32))
        initialise(self)


def initialise(body: nn.Module) -> None:
    """Draw the convolutions by the fan out, as for a rectifier."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")


class MobileNetV1(Classifier):
    """MobileNetV1Body, the mean over each map, and one linear layer.

    classes: a count or the names; width: multiplier; padding: see the header; frozen: how many stages, with the stem,
    are not trained; resize and crop: pixels, see Classifier.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        width: float = 1.0,
        padding: Padding = "symmetric",
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = MobileNetV1Body(width=width, padding=padding)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


class MobileNetV2(Classifier):
    """MobileNetV2Body, 1x1 to 1280 channels, the mean over each map, dropout of 0.2, and one linear layer.

    The arguments are MobileNetV1's. A multiplier below 1 leaves the 1280 channels as they are.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        width: float = 1.0,
        padding: Padding = "symmetric",
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = MobileNetV2Body(width=width, padding=padding)
        self.body.freeze(frozen)
        last = scaled(1280, max(1.0, width))
        self.last = conv_norm_relu(self.body.channels[-1], last, kernel=1, relu=nn.ReLU6)
        initialise(self.last)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(last, len(self.classes))
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        x = self.last(self.body.features(normalised)[-1]).mean((2, 3))
        return self.classifier(self.dropout(x))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"features\.0\.0\.(.+)", r"body.stem.conv.\1"),
    (r"features\.0\.1\.(.+)", r"body.stem.norm.\1"),
    (r"features\.18\.0\.(.+)", r"last.conv.\1"),
    (r"features\.18\.1\.(.+)", r"last.norm.\1"),
    (r"features\.(\d+)\.conv\.(\d)\.0\.(.+)", r"body.layers.\1.branch.\2.conv.\3"),
    (r"features\.(\d+)\.conv\.(\d)\.1\.(.+)", r"body.layers.\1.branch.\2.norm.\3"),
    (r"features\.1\.conv\.1\.(.+)", r"body.layers.1.branch.1.conv.\1"),
    (r"features\.1\.conv\.2\.(.+)", r"body.layers.1.branch.1.norm.\1"),
    (r"features\.(\d+)\.conv\.2\.(.+)", r"body.layers.\1.branch.2.conv.\2"),
    (r"features\.(\d+)\.conv\.3\.(.+)", r"body.layers.\1.branch.2.norm.\2"),
    (r"classifier\.1\.(.+)", r"classifier.\1"),
)
"""(pattern of a whole torchvision name, our name), for MobileNetV2; torchvision has no V1."""

BODIES: Mapping[str, Mapping[str, Any]] = {
    "mobilenet_v2": {},
    "mobilenet_mini": {"width": 0.35},
}
"""Name -> arguments of MobileNetV2Body."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "mobilenet_v1": {},
    "mobilenet_v2": {},
    "mobilenet_mini": {"width": 0.35, "classes": 10, "resize": 64, "crop": 64},
}
"""Name -> arguments of MobileNetV1 (mobilenet_v1) or MobileNetV2 (the others)."""
