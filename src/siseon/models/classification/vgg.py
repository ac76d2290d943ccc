"""VGG (Simonyan, Zisserman 2015, arXiv:1409.1556).

Idea    Only 3x3 filters, in a row: three of them see 7x7 pixels with 27 weights instead of 49 and two rectifiers more.
        Depth is what counts.
Flow    images -> 5 blocks of 3x3 convolutions, each halved at its end -> 4096 -> 4096 -> logits
Here    Table 1: A (11 layers), B (13), D (16) and E (19); not A-LRN, which gained nothing, nor C with its 1x1 filters.
        vgg16_bn and the like have batch normalisation after each convolution, which did not exist yet, as torchvision
        has. Layers are numbered as in torchvision's `features`, so that its published weights fit.
        Deviations: He's initialisation instead of starting from network A's weights; pictures of another size are
        pooled to 7x7 before the fully connected layers; colours are divided by their deviation too, as the published
        weights expect. vgg_mini is A with an eighth of the channels, for 32x32 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body, before_pooling, to_grid
from siseon.models.classification.alexnet import fully_connected
from siseon.models.classification.classifier import Classifier


def convolutions(*, depths: Sequence[int], widths: Sequence[int], norm: bool) -> list[nn.Module]:
    """The chain of table 1 up to the last pooling; depths, widths: convolutions and channels of each block."""
    layers: list[nn.Module] = []
    channels = 3
    for depth, width in zip(depths, widths, strict=True):
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return layers


class VGGBody(Body):
    """Five blocks in a plain chain; `features` gives the last of blocks 3, 4, 5 and the last pooling (4, 8, 16, 32).

    depths: convolutions in each block; widths: their channels; norm: with batch normalisation.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        norm: bool = False,
    ) -> None:
        layers = convolutions(depths=depths, widths=widths, norm=norm)
        channels = (*widths[2:], widths[-1])
        super().__init__(
            layers[0],
            layers[1:],
            ends=before_pooling(layers)[2:],
            channels=channels,
            strides=(4, 8, 16, 32),
            least=32,  # five halvings leave one cell
        )
        initialise(self)


class VGG(Classifier):
    """VGGBody, two hidden layers with dropout, and the logits.

    classes: a count or the names; hidden: units of the hidden layers; grid: cells of a side of the map that they see;
    frozen: how many stages, with the stem, are not trained; resize and crop: pixels, see Classifier; the others as in
    VGGBody. Pictures have at least 32 x 32 pixels.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        norm: bool = False,
        hidden: int = 4096,
        grid: int = 7,
        dropout: float = 0.5,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = VGGBody(depths=depths, widths=widths, norm=norm)
        self.body.freeze(frozen)
        self.grid = grid
        self.classifier = fully_connected(
            self.body.channels[-1] * grid * grid, hidden, len(self.classes), dropout=dropout
        )

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.body.features(normalised)[-1], self.grid).flatten(1))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    (r"features\.0\.(.+)", r"body.stem.\1"),
    (r"features\.(\d+)\.(.+)", r"body.layers.\1.\2"),
)
"""(pattern of a whole torchvision name, our name); those of the fully connected layers are the same."""

DEPTHS: Mapping[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Table 1, columns A, B, D and E."""

BODIES: Mapping[str, Mapping[str, Any]] = {
    **{name: {"depths": depths} for name, depths in DEPTHS.items()},
    **{f"{name}_bn": {"depths": depths, "norm": True} for name, depths in DEPTHS.items()},
    "vgg_mini": {"depths": DEPTHS["vgg11"], "widths": (8, 16, 32, 64, 64)},
}
"""Name -> arguments of VGGBody."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    **BODIES,
    "vgg_mini": {**BODIES["vgg_mini"], "classes": 10, "hidden": 128, "grid": 1, "resize": 32, "crop": 32},
}
"""Name -> arguments of VGG."""
