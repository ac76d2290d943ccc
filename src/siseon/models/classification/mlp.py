"""Multilayer perceptron on pixels, the network before convolution (LeCun, Bottou, Bengio, Haffner 1998, section III.C).

Idea    Every unit sees every pixel and does not know which pixels are neighbours: shuffle the pixels of all pictures in
        the same way and it learns as well; move a picture by a few pixels and it is another picture to it.
Flow    images -> grey -> 28x28 values -> 300 -> 100 -> logits
Here    The paper's 28x28-300-100-10 ("LeNet-300-100": 266,610 parameters). Expects bright ink on a dark ground.
        Deviations: ReLU and He's initialisation where the paper has a scaled tanh, because they learn faster; softmax
        on logits instead of squared errors. A picture of another size is averaged (or repeated) to 28x28 first.
        Activation, initialiser and normalisation are keywords, to see what each is worth, and what depth makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from siseon.activations import activation as build_activation
from siseon.activations import pieces
from siseon.initialisers import initialise
from siseon.layers import Grey, to_grid
from siseon.models.classification.classifier import Classifier
from siseon.normalisations import unit_normalisation

DIGITS_MEAN = 0.1307
DIGITS_DEVIATION = 0.3081
"""Of all values 0..1 of MNIST's training pictures, bright ink on a dark ground."""


class MLP(Classifier):
    """Linear layers with activations between them.

    classes: a count or the names; hidden: units of each hidden layer; size: pixels of a side of the picture that the
    first layer sees; activation: a name of activations.ACTIVATIONS; initialiser: one of initialisers.INITIALISERS, or a
    number, a constant deviation; norm: None, or one of normalisations.NORMALISATIONS that takes units, before each
    activation; resize and crop: pixels, see Classifier. Raises RecipeError for a wrong name.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        hidden: Sequence[int] = (300, 100),
        size: int = 28,
        activation: str = "relu",
        initialiser: str | float = "he_normal",
        norm: str | None = None,
        resize: int = 28,
        crop: int = 28,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.mean.fill_(DIGITS_MEAN)
        self.deviation.fill_(DIGITS_DEVIATION)
        self.size = size
        self.grey = Grey()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((size * size, *hidden)):
            wide = outputs * pieces(activation)
            layers.append(nn.Linear(inputs, wide))
            layers += [unit_normalisation(norm, wide)] if norm else []
            layers.append(build_activation(activation))
        self.classifier = nn.Sequential(*layers, nn.Linear((size * size, *hidden)[-1], len(self.classes)))
        initialise(self.classifier, initialiser)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.grey(normalised), self.size).flatten(1))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {},
    "mlp_mini": {"hidden": (64, 32), "size": 32, "resize": 32, "crop": 32},
}
"""Name -> arguments of MLP."""
