"""EfficientNet (Tan, Le 2019, arXiv:1905.11946).

Idea    Depth, width and resolution of a network belong together: scale all three by fixed rates with one number, phi.
        The network that is scaled, B0, was found by a search over inverted residuals with squeeze-and-excitation.
Flow    images -> stem (3x3, stride 2) -> 7 stages of MBConv blocks -> 1x1 to 1280 -> mean -> logits
Here    Table 1 scaled to B0 .. B7: 5,288,548 to 66,347,960 parameters. `compound` is equation 3; the released networks
        use its results rounded by hand, COEFFICIENTS. Stochastic depth drops the branches of 0 to 20 % of the blocks,
        the later the more. Deviations: batch normalisation of B0 .. B4 adds 1e-5 to the variance, as torchvision, whose
        weights need it (the authors 1e-3, as B5 .. B7 here); pictures for B2 have the 288 pixels of torchvision's
        weights, not the paper's 260. `predict` scales pictures bicubically, as the published weights expect; the frames
        of training are bilinear, as of all networks. padding="tensorflow" puts the zeros of strided convolutions where
        the authors' weights expect them. `features` ends with stage 7: the last 1x1 serves the classifier.
        efficientnet_mini has one block a stage, half the channels and a first stride of 1, for 32x32 pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from siseon.layers import Addition, Body, Padding, SqueezeExcitation, StochasticDepth, conv_norm
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.mobilenet import initialise, scaled


class Stage(NamedTuple):
    """One row of table 1: widening of a block, its kernel, the first block's stride, channels and blocks of B0."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
"""Table 1, stages 2 to 8: what lies between the stem and the last 1x1."""

ENDS = (2, 3, 5, 7)
"""The stages after which the map is halved, and the last."""


class Scale(NamedTuple):
    """Multiples of B0's depth, width and resolution."""

    depth: float
    width: float
    resolution: float


RATES = Scale(1.2, 1.1, 1.15)
"""alpha, beta and gamma: what a search at phi = 1 gave, with alpha * beta^2 * gamma^2 near 2 (section 4, step 1)."""


def compound(phi: float, *, rates: Scale = RATES) -> Scale:
    """Equation 3: each rate to the power of phi. The cost grows with depth * width^2 * resolution^2, 1.92^phi here."""
    return Scale(*(rate**phi for rate in rates))


def repeated(blocks: int, depth: float) -> int:
    """Blocks of a stage at a multiple of the depth, rounded up."""
    return math.ceil(blocks * depth)


def conv_norm_swish(
    channels: int, width: int, *, kernel: int, stride: int = 1, groups: int = 1, padding: Padding
) -> nn.Sequential:
    """A convolution, batch normalisation, and x * sigmoid(x)."""
    block = conv_norm(channels, width, kernel=kernel, stride=stride, groups=groups, padding=padding)
    block.add_module("swish", nn.SiLU(inplace=True))
    return block


class MBConv(Addition):
    """Widen, convolve each channel, weigh each channel, narrow; plus the input where its shape is kept.

    stage: the row of the table, of which channels are those given out; stride: of this block; dropped: share of the
    pictures whose branch is dropped.
    """

    def __init__(self, channels: int, stage: Stage, *, stride: int, dropped: float, padding: Padding) -> None:
        hidden = channels * stage.expansion
        widen = [] if stage.expansion == 1 else [conv_norm_swish(channels, hidden, kernel=1, padding=padding)]
        branch = nn.Sequential(
            *widen,
            conv_norm_swish(hidden, hidden, kernel=stage.kernel, stride=stride, groups=hidden, padding=padding),
            SqueezeExcitation(hidden, max(channels // 4, 1), activation=nn.SiLU),
            conv_norm(hidden, stage.channels, kernel=1),
        )
        super().__init__(branch, adds=stride == 1 and channels == stage.channels)
        self.drop = StochasticDepth(dropped)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + self.drop(self.branch(x)) if self.adds else self.branch(x)


class EfficientNetBody(Body):
    """The stem and seven stages of MBConv; `features` gives 2, 3, 5 and 7 (strides 4, 8, 16, 32).

    depth and width: multiples of B0's; stride: of the stem, another one changes all in proportion; dropped: share of
    the pictures whose last branch is dropped, falling to 0 at the first; epsilon: added to the variances; padding: see
    the header.
    """

    def __init__(
        self,
        *,
        depth: float = 1.0,
        width: float = 1.0,
        stride: int = 2,
        dropped: float = 0.2,
        epsilon: float = 1e-5,
        padding: Padding = "symmetric",
    ) -> None:
        rows = [
            row._replace(channels=scaled(row.channels, width), blocks=repeated(row.blocks, depth)) for row in STAGES
        ]
        total = sum(row.blocks for row in rows)
        channels, done = scaled(32, width), 0
        stem = conv_norm_swish(3, channels, kernel=3, stride=stride, padding=padding)
        layers = []
        for row in rows:
            stage = nn.Sequential()
            for index in range(row.blocks):
                first = 1 if index else row.stride
                stage.append(MBConv(channels, row, stride=first, dropped=dropped * done / total, padding=padding))
                channels, done = row.channels, done + 1
            layers.append(stage)
        super().__init__(
            stem,
            layers,
            ends=ENDS,
            channels=tuple(rows[end - 1].channels for end in ENDS),
            strides=(2 * stride, 4 * stride, 8 * stride, 16 * stride),
        )
        initialise(self)
        set_epsilon(self, epsilon)


def set_epsilon(network: nn.Module, epsilon: float) -> None:
    """Let every batch normalisation in `network` add this to its variances."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon


class EfficientNet(Classifier):
    """EfficientNetBody, 1x1 to 1280 channels times the width, the mean over each map, dropout, one linear layer.

    classes: a count or the names; dropout: before the linear layer; frozen: how many stages of `features`, with the
    stem, are not trained; resize and crop: pixels, see Classifier; the others as in EfficientNetBody.
    """

    interpolation: Literal["bilinear", "bicubic"] = "bicubic"

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depth: float = 1.0,
        width: float = 1.0,
        stride: int = 2,
        dropped: float = 0.2,
        dropout: float = 0.2,
        epsilon: float = 1e-5,
        padding: Padding = "symmetric",
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = EfficientNetBody(
            depth=depth, width=width, stride=stride, dropped=dropped, epsilon=epsilon, padding=padding
        )
        self.body.freeze(frozen)
        last = scaled(1280, width)
        self.last = conv_norm_swish(self.body.channels[-1], last, kernel=1, padding=padding)
        initialise(self.last)
        set_epsilon(self.last, epsilon)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        x = self.last(self.body.features(normalised)[-1]).mean((2, 3))
        return self.classifier(self.dropout(x))


PARTS = {"conv": "0", "norm": "1"}
"""Of a convolution with normalisation: our name, torchvision's number."""

TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *((rf"features\.0\.{number}\.(.+)", rf"body.stem.{part}.\1") for part, number in PARTS.items()),
    *((rf"features\.8\.{number}\.(.+)", rf"last.{part}.\1") for part, number in PARTS.items()),
    (r"features\.(\d)\.(\d+)\.block\.(\d)\.fc1\.(.+)", r"body.layers.\1.\2.branch.\3.squeeze.\4"),
    (r"features\.(\d)\.(\d+)\.block\.(\d)\.fc2\.(.+)", r"body.layers.\1.\2.branch.\3.excite.\4"),
    *(
        (rf"features\.(\d)\.(\d+)\.block\.(\d)\.{number}\.(.+)", rf"body.layers.\1.\2.branch.\3.{part}.\4")
        for part, number in PARTS.items()
    ),
    (r"classifier\.1\.(.+)", r"classifier.\1"),
)
"""(pattern of a whole torchvision name, our name)."""

COEFFICIENTS: Mapping[str, tuple[float, float, float]] = {
    "efficientnet_b0": (1.0, 1.0, 0.2),
    "efficientnet_b1": (1.1, 1.0, 0.2),
    "efficientnet_b2": (1.2, 1.1, 0.3),
    "efficientnet_b3": (1.4, 1.2, 0.3),
    "efficientnet_b4": (1.8, 1.4, 0.4),
    "efficientnet_b5": (2.2, 1.6, 0.4),
    "efficientnet_b6": (2.6, 1.8, 0.5),
    "efficientnet_b7": (3.1, 2.0, 0.5),
}
"""Of the released networks: multiples of depth and width, and dropout (section 5.2)."""

SIZES: Mapping[str, tuple[int, int]] = {
    "efficientnet_b0": (256, 224),
    "efficientnet_b1": (256, 240),
    "efficientnet_b2": (288, 288),
    "efficientnet_b3": (320, 300),
    "efficientnet_b4": (384, 380),
    "efficientnet_b5": (456, 456),
    "efficientnet_b6": (528, 528),
    "efficientnet_b7": (600, 600),
}
"""resize and crop of torchvision's weights, in pixels."""

EPSILON_OF_THE_AUTHORS = ("efficientnet_b5", "efficientnet_b6", "efficientnet_b7")

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **{
        name: {
            "depth": depth,
            "width": width,
            "dropout": dropout,
            "epsilon": 1e-3 if name in EPSILON_OF_THE_AUTHORS else 1e-5,
            "resize": SIZES[name][0],
            "crop": SIZES[name][1],
        }
        for name, (depth, width, dropout) in COEFFICIENTS.items()
    },
    "efficientnet_mini": {
        "depth": 0.25,
        "width": 0.5,
        "stride": 1,
        "dropped": 0.0,
        "classes": 10,
        "resize": 32,
        "crop": 32,
    },
}
"""Name -> arguments of EfficientNet."""
