"""The deep network for handwritten digits of "Deep Learning from Scratch" (Saito 2016, chapter 8, figure 8-1).

Idea    What VGG did for photos does for digits too: only 3x3 filters, one after the other, twice as many at half the
        size.
Flow    images -> grey -> 16, 16 -> halve -> 32, 32 -> halve -> 64, 64 -> halve -> 50 -> logits
Here    28x28 pictures; the second convolution of 32 has padding 2, so that 14 becomes 16 and halves twice more: 4x4
        maps, 123,552 parameters. ReLU everywhere, He's initialisation, dropout of 0.5 after the 50 units. The book
        gives 99.38 % on MNIST. Expects bright ink on a dark ground.
        Deviations: values are normalised as MNIST's; the book drops at random also the logits, which only makes the
        loss noisy; larger pictures are averaged to 4x4 before the 50 units.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.layers import Body
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.lenet import check_size
from siseon.models.classification.mlp import DIGITS_DEVIATION, DIGITS_MEAN, Grey, initialise, to_grid

PADDINGS = ((1, 1), (1, 2), (1, 1))
"""Of the two convolutions of each block."""


class DeepDigitsBody(Body):
    """Three blocks of two convolutions; `features` gives their maps and the last, halved (strides 1, 2, 4, 8).

    widths: channels of each block.
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64)) -> None:
        first = nn.Conv2d(1, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        channels = 1
        for width, paddings in zip(widths, PADDINGS, strict=True):
            for padding in paddings:
                layers += [nn.Conv2d(channels, width, 3, padding=padding), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        stem = nn.Sequential(OrderedDict[str, nn.Module](grey=Grey(), conv=first))
        super().__init__(stem, layers[1:], ends=(3, 8, 13, 14), channels=(*widths, widths[-1]), strides=(1, 2, 4, 8))
        self.least = 4
        initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:  # noqa: D102
        check_size(images, least=self.least, network="this network for digits")
        return super().features(images)


class DeepDigits(Classifier):
    """DeepDigitsBody, one hidden layer and the logits.

    classes: a count or the names; widths: channels of each block; hidden: units; frozen: how many stages, with the
    stem, are not trained; resize and crop: pixels, see Classifier. Pictures have at least 4 x 4 pixels.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        widths: Sequence[int] = (16, 32, 64),
        hidden: int = 50,
        dropout: float = 0.5,
        frozen: int = 0,
        resize: int = 28,
        crop: int = 28,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.mean.fill_(DIGITS_MEAN)
        self.deviation.fill_(DIGITS_DEVIATION)
        self.body = DeepDigitsBody(widths=widths)
        self.body.freeze(frozen)
        self.classifier = nn.Sequential(
            nn.Linear(self.body.channels[-1] * 4 * 4, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(self.classes)),
        )
        initialise(self.classifier)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.body.features(normalised)[-1], 4).flatten(1))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "deep_digits": {},
    "deep_digits_mini": {"widths": (8, 16, 32), "resize": 32, "crop": 32},
}
"""Name -> arguments of DeepDigits. 32 pixels end in 4x4 maps too."""
