"""ResNets for CIFAR-10 and their plain twins (He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 4.2).

Idea    Small networks of any depth, 6n + 2 layers, in which one can see what depth does: plain-56 learns worse than
        plain-20, resnet-56 better than resnet-20, and nothing but the shortcuts differs.
Flow    images -> 3x3 (16) -> 3 stages of n blocks (16, 32, 64 channels; 32, 16, 8 pixels) -> mean -> logits
Here    20, 32, 44, 56 and 110 layers: 0.27, 0.46, 0.66, 0.85 and 1.7 million parameters, the same with shortcuts=False.
        Shortcuts are option A, without parameters: every second pixel, and zeros for the new channels, half before and
        half after the old ones; the paper does not say where, and so were the widely used weights of Y. Idelbayev
        trained (github.com/akamaster/pytorch_resnet_cifar10), which load by their names: build("resnet20",
        weights="resnet20-12fca82f.th"). No other deviation.
        cifar_resnet_mini and cifar_plain_mini have 8 layers of half the channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.layers import Body, Residual, conv_norm, conv_norm_relu
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import initialise


class ZeroPadded(nn.Module):
    """Option A: every `stride`-th pixel, and zeros as the `added` new channels."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        before = self.added // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


def block(channels: int, width: int, stride: int, *, shortcuts: bool) -> nn.Module:
    """Two 3x3 convolutions, with their input added before the last rectifier, or without."""
    branch = nn.Sequential(conv_norm_relu(channels, width, stride=stride), conv_norm(width, width))
    if not shortcuts:
        return nn.Sequential(branch, nn.ReLU(inplace=True))
    changes = stride != 1 or channels != width
    return Residual(branch, ZeroPadded(width - channels, stride) if changes else nn.Identity())


class CifarResNetBody(Body):
    """The first convolution and three stages; `features` gives the end of each (strides 1, 2, 4).

    depth: layers with weights, 6n + 2, the last of them being the classifier's; widths: channels of the stages, the
    first also of the first convolution; shortcuts: see the header. Raises RecipeError for another depth.
    """

    def __init__(self, *, depth: int, widths: Sequence[int] = (16, 32, 64), shortcuts: bool = True) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise RecipeError(
                f"depth = {depth} is not 6n + 2", "Give 8, 14, 20, 26, 32, 44, 56, 110 or another such number"
            )
        stages, channels = [], widths[0]
        for width, stride in zip(widths, (1, 2, 2), strict=True):
            stage = []
            for number in range(blocks):
                stage.append(block(channels, width, 1 if number else stride, shortcuts=shortcuts))
                channels = width
            stages.append(nn.Sequential(*stage))
        super().__init__(
            conv_norm_relu(3, widths[0]), stages, ends=(1, 2, 3), channels=tuple(widths), strides=(1, 2, 4)
        )
        initialise(self, zero_init=False)


class CifarResNet(Classifier):
    """CifarResNetBody, the mean over each map, and one linear layer.

    classes: a count or the names; frozen: how many stages, with the first convolution, are not trained; resize and
    crop: pixels, see Classifier; the others as in CifarResNetBody.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        depth: int,
        widths: Sequence[int] = (16, 32, 64),
        shortcuts: bool = True,
        frozen: int = 0,
        resize: int = 32,
        crop: int = 32,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = CifarResNetBody(depth=depth, widths=widths, shortcuts=shortcuts)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"(?:module\.)?conv1\.(.+)", r"body.stem.conv.\1"),
    (r"(?:module\.)?bn1\.(.+)", r"body.stem.norm.\1"),
    (r"(?:module\.)?layer(\d)\.(\d+)\.conv1\.(.+)", r"body.layers.\1.\2.branch.0.conv.\3"),
    (r"(?:module\.)?layer(\d)\.(\d+)\.conv2\.(.+)", r"body.layers.\1.\2.branch.1.conv.\3"),
    (r"(?:module\.)?layer(\d)\.(\d+)\.bn1\.(.+)", r"body.layers.\1.\2.branch.0.norm.\3"),
    (r"(?:module\.)?layer(\d)\.(\d+)\.bn2\.(.+)", r"body.layers.\1.\2.branch.1.norm.\3"),
    (r"(?:module\.)?linear\.(.+)", r"classifier.\1"),
)
"""(pattern of a whole name in the weights that the header names, our name); torchvision has none of these networks."""

DEPTHS = (20, 32, 44, 56, 110)

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **{f"resnet{depth}": {"depth": depth} for depth in DEPTHS},
    **{f"plain{depth}": {"depth": depth, "shortcuts": False} for depth in DEPTHS},
    "cifar_resnet_mini": {"depth": 8, "widths": (8, 16, 32)},
    "cifar_plain_mini": {"depth": 8, "widths": (8, 16, 32), "shortcuts": False},
}
"""Name -> arguments of CifarResNet."""
