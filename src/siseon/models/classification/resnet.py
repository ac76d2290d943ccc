"""ResNet (He, Zhang, Ren, Sun 2016, arXiv:1512.03385).

Idea    Layers learn what to add to their input; the shortcut keeps the gradient of a deep network alive.
Flow    images -> stem (7x7, stride 2; max pooling, stride 2) -> 4 stages of blocks -> mean -> logits
Here    Table 1: 18, 34, 50, 101 and 152 layers. One deviation: a bottleneck that halves the map does so in its 3x3
        convolution, not in its first 1x1 ("v1.5", as torchvision: 0.5 % better on ImageNet, and its published weights
        need it). Shortcuts are option B: projections only where the shape changes.
        resnet_mini has the same structure with one narrow block a stage, for pictures of 32 to 160 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from siseon.layers import Body, Residual, conv_norm, conv_norm_relu
from siseon.models.classification.classifier import Classifier

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels that a block gives out, as a multiple of its width."""


def shortcut(channels: int, out: int, *, stride: int) -> nn.Module:
    """Option B: the input as it is, or a projection where the shape changes."""
    changes = stride != 1 or channels != out
    return conv_norm(channels, out, kernel=1, stride=stride) if changes else nn.Identity()


def basic(channels: int, out: int, *, stride: int) -> Residual:
    """The block of figure 5, left: two 3x3 convolutions."""
    branch = nn.Sequential(conv_norm_relu(channels, out, stride=stride), conv_norm(out, out))
    return Residual(branch, shortcut(channels, out, stride=stride))


def bottleneck(channels: int, inner: int, out: int, *, stride: int, groups: int = 1) -> Residual:
    """Figure 5, right: 1x1, 3x3, 1x1 around `inner` channels; the 3x3 convolution can have `groups`, as ResNeXt's."""
    branch = nn.Sequential(
        conv_norm_relu(channels, inner, kernel=1),
        conv_norm_relu(inner, inner, stride=stride, groups=groups),
        conv_norm(inner, out, kernel=1),
    )
    return Residual(branch, shortcut(channels, out, stride=stride))


def residual_stem(width: int, *, kernel: int = 7, stride: int = 4) -> nn.Sequential:
    """The first layers of a ResNet: a stride of 4 is a convolution and a max pooling, a smaller one a convolution."""
    if stride < 4:
        return conv_norm_relu(3, width, kernel=kernel, stride=stride)
    stem = conv_norm_relu(3, width, kernel=kernel, stride=2)
    stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
    return stem


def residual_stages(
    block: Callable[[int, int, int], nn.Module], *, channels: int, depths: Sequence[int], outputs: Sequence[int]
) -> list[nn.Sequential]:
    """The stages of a residual network, each but the first halved by its first block.

    block: makes one, of channels in, channels out and stride; channels: that enter the first stage; depths and
    outputs: blocks and channels of each stage.
    """
    stages = []
    for number, (depth, out) in enumerate(zip(depths, outputs, strict=True)):
        first = block(channels, out, 2 if number else 1)
        stages.append(nn.Sequential(first, *(block(out, out, 1) for _ in range(depth - 1))))
        channels = out
    return stages


class ResNetBody(Body):
    """The stem and the four stages; `features` gives C2 .. C5 (strides 4, 8, 16, 32).

    kind: the block; depths: blocks in each stage; widths: of the blocks in each stage, the first also of the stem;
    kernel: of the stem's convolution; zero_init: start each branch at zero, so that a block starts as its shortcut
    (Goyal et al. 2017, section 5.1).
    """

    def __init__(
        self,
        *,
        kind: Literal["basic", "bottleneck"],
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        zero_init: bool = False,
    ) -> None:
        outputs = tuple(width * EXPANSION[kind] for width in widths)

        def block(channels: int, out: int, stride: int) -> Residual:
            if kind == "basic":
                return basic(channels, out, stride=stride)
            return bottleneck(channels, out // EXPANSION[kind], out, stride=stride)

        stages = residual_stages(block, channels=widths[0], depths=depths, outputs=outputs)
        stem = residual_stem(widths[0], kernel=kernel)
        super().__init__(stem, stages, ends=(1, 2, 3, 4), channels=outputs, strides=(4, 8, 16, 32))
        initialise(self, zero_init=zero_init)


def initialise(body: nn.Module, *, zero_init: bool) -> None:
    """Draw the convolutions as He et al. 2015 (arXiv:1502.01852, equation 10), by the fan out."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Residual) and zero_init:
            *_, last = (part for part in module.branch.modules() if isinstance(part, nn.BatchNorm2d))
            nn.init.zeros_(last.weight)


class ResNet(Classifier):
    """A ResNetBody, the mean over each map, and one linear layer.

    classes: a count or the names; resize and crop: pixels, see Classifier; frozen: how many stages, with the stem, are
    not trained; the others as in ResNetBody.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        kind: Literal["basic", "bottleneck"],
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        zero_init: bool = False,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = ResNetBody(kind=kind, depths=depths, widths=widths, kernel=kernel, zero_init=zero_init)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"conv1\.(.+)", r"body.stem.conv.\1"),
    (r"bn1\.(.+)", r"body.stem.norm.\1"),
    (r"layer(\d)\.(\d+)\.conv1\.(.+)", r"body.layers.\1.\2.branch.0.conv.\3"),
    (r"layer(\d)\.(\d+)\.conv2\.(.+)", r"body.layers.\1.\2.branch.1.conv.\3"),
    (r"layer(\d)\.(\d+)\.conv3\.(.+)", r"body.layers.\1.\2.branch.2.conv.\3"),
    (r"layer(\d)\.(\d+)\.bn1\.(.+)", r"body.layers.\1.\2.branch.0.norm.\3"),
    (r"layer(\d)\.(\d+)\.bn2\.(.+)", r"body.layers.\1.\2.branch.1.norm.\3"),
    (r"layer(\d)\.(\d+)\.bn3\.(.+)", r"body.layers.\1.\2.branch.2.norm.\3"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(.+)", r"body.layers.\1.\2.shortcut.conv.\3"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(.+)", r"body.layers.\1.\2.shortcut.norm.\3"),
    (r"fc\.(.+)", r"classifier.\1"),
)
"""(pattern of a whole torchvision name, our name)."""

BODIES: Mapping[str, Mapping[str, Any]] = {
    "resnet18": {"kind": "basic", "depths": (2, 2, 2, 2)},
    "resnet34": {"kind": "basic", "depths": (3, 4, 6, 3)},
    "resnet50": {"kind": "bottleneck", "depths": (3, 4, 6, 3)},
    "resnet101": {"kind": "bottleneck", "depths": (3, 4, 23, 3)},
    "resnet152": {"kind": "bottleneck", "depths": (3, 8, 36, 3)},
    "resnet_mini": {"kind": "basic", "depths": (1, 1, 1, 1), "widths": (16, 32, 64, 128), "kernel": 3},
}
"""Name -> arguments of ResNetBody."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **BODIES,
    "resnet_mini": {**BODIES["resnet_mini"], "classes": 10, "resize": 64, "crop": 64},
}
"""Name -> arguments of ResNet."""
