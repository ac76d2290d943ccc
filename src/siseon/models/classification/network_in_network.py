"""Network in Network (Lin, Chen, Yan 2013, arXiv:1312.4400).

Idea    After each filter a small network of 1x1 convolutions looks at all maps of one place; and the last maps are the
        classes themselves: the mean of each is its logit, so that no fully connected layer learns the pictures by
        heart.
Flow    images -> 3 or 4 blocks (convolution, 1x1, 1x1) with pooling between them -> a map a class -> mean -> logits
Here    network_in_network is figure 2 for 32x32 pictures (CIFAR-10), with the channels and poolings of the authors'
        published configuration, since the paper names none: 966,986 parameters with 10 classes.
        network_in_network_imagenet is the authors' network for ImageNet, which the paper does not describe: 7,595,176.
        Deviations: no rectifier on the maps of the classes (equation 2 has one), where a class whose map is negative
        everywhere would never learn again; He's initialisation. network_in_network_mini is the first, thin.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body, conv_relu
from siseon.models.classification.classifier import Classifier

Pooling: TypeAlias = Literal["max", "mean"]


def pool(kind: Pooling, dropout: float) -> nn.Sequential:
    """3x3 pooling with stride 2 that keeps incomplete windows at the border, and dropout."""
    layer = nn.MaxPool2d(3, 2, ceil_mode=True) if kind == "max" else nn.AvgPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(OrderedDict[str, nn.Module](pool=layer, dropout=nn.Dropout(dropout)))


class NetworkInNetworkBody(Body):
    """The blocks but for the maps of the classes; `features` gives the end of each block.

    widths: of each block the channels of its convolutions, in the last without those of the classes; kernels: of the
    first convolution of each block, padded to keep the size, but for the very first; first: stride and padding of that;
    poolings: after each block but the last; dropouts: after each pooling.
    """

    def __init__(
        self,
        *,
        widths: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192)),
        kernels: Sequence[int] = (5, 5, 3),
        first: tuple[int, int] = (1, 2),
        poolings: Sequence[Pooling] = ("max", "mean"),
        dropouts: Sequence[float] = (0.5, 0.5),
    ) -> None:
        layers: list[nn.Module] = []
        channels, ends = 3, []
        for number, (block, kernel) in enumerate(zip(widths, kernels, strict=True)):
            stride, padding = (1, kernel // 2) if number else first
            if number:
                layers.append(pool(poolings[number - 1], dropouts[number - 1]))
            layers.append(conv_relu(channels, block[0], kernel=kernel, stride=stride, padding=padding))
            layers += [conv_relu(block[place], width) for place, width in enumerate(block[1:])]
            ends.append(len(layers) - 1)
            channels = block[-1]
        super().__init__(
            layers[0],
            layers[1:],
            ends=tuple(ends),
            channels=tuple(block[-1] for block in widths),
            strides=tuple(first[0] * 2**number for number in range(len(widths))),
            # each pooling needs twice as many cells as the one after it, the last two
            least=(2 ** len(poolings) - 1) * first[0] + kernels[0] - 2 * first[1],
        )
        initialise(self)


class NetworkInNetwork(Classifier):
    """NetworkInNetworkBody, a 1x1 convolution to one map a class, and the mean of each.

    classes: a count or the names; frozen: how many stages, with the stem, are not trained; resize and crop: pixels, see
    Classifier; the others as in NetworkInNetworkBody. Pictures have at least `body.least` pixels a side: 4, or 39.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        widths: Sequence[Sequence[int]] = ((192, 160, 96), (192, 192, 192), (192, 192)),
        kernels: Sequence[int] = (5, 5, 3),
        first: tuple[int, int] = (1, 2),
        poolings: Sequence[Pooling] = ("max", "mean"),
        dropouts: Sequence[float] = (0.5, 0.5),
        frozen: int = 0,
        resize: int = 32,
        crop: int = 32,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = NetworkInNetworkBody(
            widths=widths, kernels=kernels, first=first, poolings=poolings, dropouts=dropouts
        )
        self.body.freeze(frozen)
        self.classifier = nn.Conv2d(self.body.channels[-1], len(self.classes), 1)
        initialise(self.classifier)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1]).mean((2, 3))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "network_in_network": {},
    "network_in_network_imagenet": {
        "classes": 1000,
        "widths": ((96, 96, 96), (256, 256, 256), (384, 384, 384), (1024, 1024)),
        "kernels": (11, 5, 3, 3),
        "first": (4, 0),
        "poolings": ("max", "max", "max"),
        "dropouts": (0.0, 0.0, 0.5),
        "resize": 256,
        "crop": 224,
    },
    "network_in_network_mini": {"widths": ((32, 24, 16), (32, 32, 32), (32, 32))},
}
"""Name -> arguments of NetworkInNetwork."""
