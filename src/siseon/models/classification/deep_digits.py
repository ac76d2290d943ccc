"""The deep network for handwritten digits of "Deep Learning from Scratch" (Saito 2016, chapter 8, figure 8-1).

Idea    What VGG did for photos does for digits too: only 3x3 filters, one after the other, twice as many at half the
        size.
Flow    images -> grey -> 16, 16 -> halve -> 32, 32 -> halve -> 64, 64 -> halve -> 50 -> logits
Here    28x28 pictures; the second convolution of 32 has padding 2, so that 14 becomes 16 and halves twice more: 4x4
        maps, 123,552 parameters. ReLU everywhere, He's initialisation, dropout of 0.5 after the 50 units. The book
        gives 99.38 % on MNIST. Expects bright ink on a dark ground.
        Deviations: values are normalised as MNIST's; the book drops at random also the logits, which only makes the
        loss noisy; larger pictures are averaged to 4x4 before the 50 units. Activation, initialiser and normalisation
        are keywords, to see what each is worth.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.activations import activation as build_activation
from siseon.activations import pieces
from siseon.initialisers import initialise
from siseon.layers import Body, Grey, before_pooling, to_grid
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.mlp import DIGITS_DEVIATION, DIGITS_MEAN
from siseon.normalisations import normalisation

PADDINGS = ((1, 1), (1, 2), (1, 1))
"""Of the two convolutions of each block."""


class DeepDigitsBody(Body):
    """Three blocks of two convolutions; `features` gives their maps and the last, halved (strides 1, 2, 4, 8).

    widths: channels of each block; activation, initialiser and norm: see DeepDigits.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (16, 32, 64),
        activation: str = "relu",
        initialiser: str | float = "he_normal",
        norm: str | None = None,
    ) -> None:
        first = nn.Conv2d(1, widths[0] * pieces(activation), 3, padding=1)
        layers: list[nn.Module] = []
        channels = 1
        for width, paddings in zip(widths, PADDINGS, strict=True):
            for padding in paddings:
                wide = width * pieces(activation)
                layers.append(nn.Conv2d(channels, wide, 3, padding=padding))
                layers += [normalisation(norm, wide)] if norm else []
                layers.append(build_activation(activation))
                channels = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(
            nn.Sequential(OrderedDict[str, nn.Module](grey=Grey(), conv=first)),
            layers[1:],
            ends=before_pooling(layers),
            channels=(*widths, widths[-1]),
            strides=(1, 2, 4, 8),
            least=4,
        )
        initialise(self, initialiser)


class DeepDigits(Classifier):
    """DeepDigitsBody, one hidden layer and the logits.

    classes: a count or the names; widths: channels of each block; hidden: units; activation: a name of
    activations.ACTIVATIONS; initialiser: one of initialisers.INITIALISERS, or a number, a constant deviation; norm:
    None, or one of normalisations.NORMALISATIONS, between each convolution and its activation; frozen: how many stages,
    with the stem, are not trained; resize and crop: pixels, see Classifier. Pictures have at least 4 x 4 pixels.
    Raises RecipeError for a wrong name.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        widths: Sequence[int] = (16, 32, 64),
        hidden: int = 50,
        dropout: float = 0.5,
        activation: str = "relu",
        initialiser: str | float = "he_normal",
        norm: str | None = None,
        frozen: int = 0,
        resize: int = 28,
        crop: int = 28,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.mean.fill_(DIGITS_MEAN)
        self.deviation.fill_(DIGITS_DEVIATION)
        self.body = DeepDigitsBody(widths=widths, activation=activation, initialiser=initialiser, norm=norm)
        self.body.freeze(frozen)
        self.classifier = nn.Sequential(
            nn.Linear(self.body.channels[-1] * 4 * 4, hidden * pieces(activation)),
            build_activation(activation),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(self.classes)),
        )
        initialise(self.classifier, initialiser)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.body.features(normalised)[-1], 4).flatten(1))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "deep_digits": {},
    "deep_digits_mini": {"widths": (8, 16, 32), "resize": 32, "crop": 32},
}
"""Name -> arguments of DeepDigits. 32 pixels end in 4x4 maps too."""
