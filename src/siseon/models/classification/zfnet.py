"""ZFNet (Zeiler, Fergus 2014, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901).

Idea    Look at what AlexNet's filters see and mend it: a 7x7 first filter at every second pixel keeps fine patterns
        that 11x11 at every fourth lost, and one card means that every convolution sees all maps.
Flow    images -> 5 convolutions, halved after the 1st, 2nd and 5th -> 4096 -> 4096 -> logits
Here    Figure 3 with its sizes 110, 55, 26, 13, 6: 62,357,608 parameters. Its "contrast normalised across feature maps"
        is AlexNet's normalisation, after the pooling.
        Deviations: He's initialisation; the limit on the length of the first filters (section 3) is left out; other
        picture sizes are pooled to 6x6, as in alexnet.py. zfnet_mini has strides of 1 and fewer channels, for 32x32
        pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body, to_grid
from siseon.models.classification.alexnet import fully_connected
from siseon.models.classification.classifier import Classifier
from siseon.normalisations import response_norm


class ZFNetBody(Body):
    """Five convolutions; `features` gives normalised 1, 2, 5 and the last pooling (strides 4, 8, 16, 32).

    widths: channels of the convolutions; stride: of the first two convolutions; another one changes all in proportion.
    """

    def __init__(self, *, widths: Sequence[int] = (96, 256, 384, 384, 256), stride: int = 2) -> None:
        one, two, three, four, five = widths
        layers: list[nn.Module] = []
        for convolution in (nn.Conv2d(3, one, 7, stride, 1), nn.Conv2d(one, two, 5, stride)):
            layers += [convolution, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), response_norm()]
        for channels, width in ((two, three), (three, four), (four, five)):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(3, 2))
        square = stride * stride
        super().__init__(
            layers[0],
            layers[1:],
            ends=(3, 5, 13, 14),
            channels=(one, two, five, five),
            strides=(2 * stride, 2 * square, 4 * square, 8 * square),
            # The last pooling needs 3 cells, from 5 before the second, from stride * 4 + 5 after the first, from twice
            # that less 1 before it.
            least=(2 * (4 * stride + 5) - 2) * stride + 5,
        )
        initialise(self)


class ZFNet(Classifier):
    """ZFNetBody, two hidden layers with dropout, and the logits.

    classes: a count or the names; hidden: units of the hidden layers; grid: cells of a side of the map that they see;
    frozen: how many stages, with the stem, are not trained; resize and crop: pixels, see Classifier; the others as in
    ZFNetBody. Pictures have at least `body.least` pixels a side.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        stride: int = 2,
        hidden: int = 4096,
        grid: int = 6,
        dropout: float = 0.5,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = ZFNetBody(widths=widths, stride=stride)
        self.body.freeze(frozen)
        self.grid = grid
        self.classifier = fully_connected(
            self.body.channels[-1] * grid * grid, hidden, len(self.classes), dropout=dropout
        )

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.body.features(normalised)[-1], self.grid).flatten(1))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "zfnet": {},
    "zfnet_mini": {
        "classes": 10,
        "widths": (16, 32, 48, 48, 32),
        "stride": 1,
        "hidden": 128,
        "grid": 2,
        "resize": 32,
        "crop": 32,
    },
}
"""Name -> arguments of ZFNet."""
