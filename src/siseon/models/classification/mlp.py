"""Multilayer perceptron on pixels, the network before convolution (LeCun, Bottou, Bengio, Haffner 1998, section III.C).

Idea    Every unit sees every pixel and does not know which pixels are neighbours: shuffle the pixels of all pictures in
        the same way and it learns as well; move a picture by a few pixels and it is another picture to it.
Flow    images -> grey -> 28x28 values -> 300 -> 100 -> logits
Here    The paper's 28x28-300-100-10 ("LeNet-300-100": 266,610 parameters). Expects bright ink on a dark ground.
        Deviations: ReLU and He's initialisation where the paper has a scaled tanh, because they learn faster; softmax
        on logits instead of squared errors. A picture of another size is averaged (or repeated) to 28x28 first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from siseon.models.classification.classifier import Classifier

DIGITS_MEAN = 0.1307
DIGITS_DEVIATION = 0.3081
"""Of all values 0..1 of MNIST's training pictures, bright ink on a dark ground."""


class Grey(nn.Module):
    """The mean of the colours: [batch, 3, height, width] to [batch, 1, height, width]."""

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return images.mean(1, keepdim=True)


def to_grid(maps: Tensor, side: int) -> Tensor:
    """Maps [batch, channels, height, width] of side x side cells as they are, others averaged (or repeated) to that."""
    return maps if maps.shape[-2:] == (side, side) else F.adaptive_avg_pool2d(maps, side)


class MLP(Classifier):
    """Linear layers with rectifiers between them.

    classes: a count or the names; hidden: units of each hidden layer; size: pixels of a side of the picture that the
    first layer sees; resize and crop: pixels, see Classifier.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        hidden: Sequence[int] = (300, 100),
        size: int = 28,
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
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        self.classifier = nn.Sequential(*layers, nn.Linear((size * size, *hidden)[-1], len(self.classes)))
        initialise(self.classifier)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.grey(normalised), self.size).flatten(1))


def initialise(network: nn.Module) -> None:
    """Draw the weights as He et al. 2015 (arXiv:1502.01852, equation 10), by the fan in; biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "mlp": {},
    "mlp_mini": {"hidden": (64, 32), "size": 32, "resize": 32, "crop": 32},
}
"""Name -> arguments of MLP."""
