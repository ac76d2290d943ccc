"""AlexNet (Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks").

Idea    The network of 1989 with everything enlarged, on 1.2 million photos and two graphics cards; rectifiers, which do
        not saturate, make it learn in days, dropout and shifted crops keep it from learning by heart.
Flow    images -> 5 convolutions, halved after the 1st, 2nd and 5th -> 4096 -> 4096 -> logits
Here    alexnet, the default, is the paper's: convolutions 2, 4 and 5 in two groups (one a card), local response
        normalisation before the first two poolings; 60,965,224 parameters. Pictures of 227 pixels: with the paper's 224
        the first convolution would not divide.
        alexnet_one_tower is that of "One weird trick" (Krizhevsky 2014, arXiv:1404.5997) as torchvision has it, without
        groups and normalisation, for its published weights: 61,100,840 parameters.
        Deviations: He's initialisation (the paper's N(0, 0.01^2) with biases of 1 needs its 90 epochs); pictures of
        another size are pooled to 6x6 before the fully connected layers, so that they train too; one crop for
        prediction, not ten. alexnet_mini has a small first filter and fewer channels, for 32x32 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body, before_pooling, to_grid
from siseon.models.classification.classifier import Classifier
from siseon.normalisations import response_norm


def fully_connected(channels: int, hidden: int, classes: int, *, dropout: float) -> nn.Sequential:
    """Two hidden layers, each with dropout, and the logits (section 4.2)."""
    network = nn.Sequential(
        nn.Linear(channels, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )
    initialise(network)
    return network


class AlexNetBody(Body):
    """Five convolutions in a plain chain; `features` gives 1, 2, 5 and the last pooling (strides 4, 8, 16, 32).

    widths: channels of the convolutions; first: (kernel, stride, padding) of the first; groups: of 2, 4 and 5; norm:
    with local response normalisation. Another stride of the first convolution changes the others in proportion.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        first: tuple[int, int, int] = (11, 4, 0),
        groups: int = 2,
        norm: bool = True,
    ) -> None:
        one, two, three, four, five = widths
        layers: list[nn.Module] = []
        for convolution in (nn.Conv2d(3, one, *first), nn.Conv2d(one, two, 5, padding=2, groups=groups)):
            layers += [convolution, nn.ReLU(inplace=True), *([response_norm()] if norm else []), nn.MaxPool2d(3, 2)]
        layers += [nn.Conv2d(two, three, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(three, four, 3, padding=1, groups=groups), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(four, five, 3, padding=1, groups=groups), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)]
        stride = first[1]
        super().__init__(
            layers[0],
            layers[1:],
            ends=before_pooling(layers),
            channels=(one, two, five, five),
            strides=(stride, 2 * stride, 4 * stride, 8 * stride),
            # three poolings of 3x3 need 15 cells after the first convolution
            least=14 * stride + first[0] - 2 * first[2],
        )
        initialise(self)


class AlexNet(Classifier):
    """AlexNetBody, two hidden layers with dropout, and the logits.

    classes: a count or the names; hidden: units of the hidden layers; grid: cells of a side of the map that they see;
    frozen: how many stages, with the stem, are not trained; resize and crop: pixels, see Classifier; the others as in
    AlexNetBody. Pictures have at least `body.least` pixels a side: 67, or 63 in one tower.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        first: tuple[int, int, int] = (11, 4, 0),
        groups: int = 2,
        norm: bool = True,
        hidden: int = 4096,
        grid: int = 6,
        dropout: float = 0.5,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 227,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = AlexNetBody(widths=widths, first=first, groups=groups, norm=norm)
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
    # there dropout comes before each hidden layer, here (as in the paper) after it: the same when nothing is dropped
    (r"classifier\.1\.(.+)", r"classifier.0.\1"),
    (r"classifier\.4\.(.+)", r"classifier.3.\1"),
)
"""(pattern of a whole torchvision name, our name), for alexnet_one_tower, which is torchvision's alexnet."""

ONE_TOWER: Mapping[str, Any] = {
    "widths": (64, 192, 384, 256, 256),
    "first": (11, 4, 2),
    "groups": 1,
    "norm": False,
    "crop": 224,
}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "alexnet": {},
    "alexnet_one_tower": ONE_TOWER,
    "alexnet_mini": {
        "classes": 10,
        "widths": (16, 32, 48, 48, 32),
        "first": (5, 2, 2),
        "hidden": 128,
        "grid": 1,
        "resize": 32,
        "crop": 32,
    },
}
"""Name -> arguments of AlexNet."""
