"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition").

Idea    Small filters that are the same everywhere in the picture, halved maps between them: few weights, learnt by
        gradient from the pixels to the answer.
Flow    images -> grey -> C1 (6 maps) -> S2 (halved) -> C3 (16) -> S4 (halved) -> C5 (120) -> F6 (84) -> outputs
Here    original=True, the default, because a name alone means the paper's network here: scaled tanh after every layer
        up to F6, sub-sampling with a trained coefficient and bias (S2, S4), C3 connected as in table I, and outputs
        that are distances of F6 to fixed +-1 codes: 60,000 trained parameters, 340,908 connections.
        original=False is what is usually drawn today and what most notes mean: C3 sees all of S2, plain average
        pooling, tanh, a last linear layer: 61,706 parameters.
        Deviations: minus the distances are taken as logits, which is equation 9 without its constant for rubbish (the
        paper gives no value); gradients train it, not Levenberg-Marquardt. The codes of ten classes are 7x12 pictures
        of the digits, drawn anew in the manner of figure 3; for another number of classes they are random, as section
        II.B says one could. Larger pictures than 32x32 give larger maps of C5, whose mean F6 sees. Expects bright ink
        on a dark ground.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.layers import Body, Grey, to_grid
from siseon.models.classification.classifier import Classifier

CONNECTIONS = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)
"""Table I: the maps of S2 that each map of C3 sees."""

DIGITS = """
.#####. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .###... .....## .....## ..####. ##..... ##..... ....##. ##...## ##...##
##...## ...#... .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...#... ....##. ..####. ##..##. ######. ######. ...##.. .#####. ##...##
##...## ...#... ...##.. .....## ####### .....## ##...## ...##.. ##...## .######
##...## ...#... ..##... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...#... .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
.#####. .#####. ####### .#####. ....##. .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""
"""The codes of ten classes: 84 values each, # is +1, the rest -1."""


class Squash(nn.Module):
    """1.7159 tanh(2/3 x), which maps +-1 to +-1: equation 6 and appendix A."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return 1.7159 * torch.tanh(2 / 3 * x)


class Subsample(nn.Module):
    """The sum of each 2x2 cells, times a trained coefficient, plus a trained bias, one of each a channel; squashed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 1))
        self.bias = nn.Parameter(torch.empty(channels, 1, 1))
        self.squash = Squash()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.squash(4 * F.avg_pool2d(x, 2) * self.weight + self.bias)


class PartialConvolution(nn.Module):
    """A convolution whose every output map sees only some of the input maps.

    connections: the input maps of each output map; weight [all connections, kernel, kernel] in their order.
    """

    into: Tensor
    out_of: Tensor

    def __init__(self, channels: int, connections: Sequence[Sequence[int]], *, kernel: int) -> None:
        super().__init__()
        self.shape = (len(connections), channels, kernel, kernel)
        self.fans = [len(seen) * kernel * kernel for seen in connections for _ in seen]
        pairs = [(width, channel) for width, seen in enumerate(connections) for channel in seen]
        self.register_buffer("into", torch.tensor([width for width, _ in pairs]), persistent=False)
        self.register_buffer("out_of", torch.tensor([channel for _, channel in pairs]), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel, kernel))
        self.bias = nn.Parameter(torch.empty(len(connections)))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        weight = self.weight.new_zeros(self.shape).index_put((self.into, self.out_of), self.weight)
        return F.conv2d(x, weight, self.bias)


class Codes(nn.Module):
    """Minus the squared distance of [batch, 84] to the fixed code of each class, [batch, classes]: equation 7."""

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.tensor(codes(classes), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return -(x[:, None] - self.codes).square().sum(2)


def codes(classes: int) -> np.ndarray:
    """The +-1 codes [classes, 84]: pictures of the digits for ten classes, else the same random ones each time."""
    if classes != 10:
        return np.random.default_rng(0).choice((-1.0, 1.0), (classes, 84))
    rows = [line.split() for line in DIGITS.split("\n") if line]
    return np.array([[1.0 if sign == "#" else -1.0 for row in rows for sign in row[digit]] for digit in range(10)])


class LeNetBody(Body):
    """C1 to C5; `features` gives S2, S4 and C5 (strides 2, 4, 4). original: see the header."""

    def __init__(self, *, original: bool = True) -> None:
        squash = Squash if original else nn.Tanh
        stem = nn.Sequential(OrderedDict(grey=Grey(), conv=nn.Conv2d(1, 6, 5), squash=squash()))
        c3 = PartialConvolution(6, CONNECTIONS, kernel=5) if original else nn.Conv2d(6, 16, 5)
        layers = [
            Subsample(6) if original else nn.AvgPool2d(2),
            nn.Sequential(OrderedDict[str, nn.Module](conv=c3, squash=squash())),
            Subsample(16) if original else nn.AvgPool2d(2),
            nn.Sequential(OrderedDict[str, nn.Module](conv=nn.Conv2d(16, 120, 5), squash=squash())),
        ]
        super().__init__(stem, layers, ends=(1, 3, 4), channels=(6, 16, 120), strides=(2, 4, 4), least=32)


class LeNet(Classifier):
    """LeNetBody, F6 and the outputs.

    classes: a count or the names; original: see the header; frozen: how many stages, with the stem, are not trained;
    resize and crop: pixels, see Classifier. Pictures have at least 32 x 32 pixels, bright ink on a dark ground.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 10,
        original: bool = True,
        frozen: int = 0,
        resize: int = 32,
        crop: int = 32,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        # 0..1 becomes the paper's -0.1 (ground) .. 1.175 (ink)
        self.mean.fill_(0.1 / 1.275)
        self.deviation.fill_(1 / 1.275)
        self.body = LeNetBody(original=original)
        self.body.freeze(frozen)
        outputs = Codes(len(self.classes)) if original else nn.Linear(84, len(self.classes))
        self.classifier = nn.Sequential(nn.Linear(120, 84), Squash() if original else nn.Tanh(), outputs)
        if original:
            initialise(self)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(to_grid(self.body.features(normalised)[-1], 1).flatten(1))


def initialise(network: nn.Module) -> None:
    """Draw the weights evenly from +-2.4 / fan in (appendix A); biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = torch.tensor(module.weight[0].numel())
        elif isinstance(module, PartialConvolution):
            fan = torch.tensor(module.fans)[:, None, None]
        elif isinstance(module, Subsample):
            fan = torch.tensor(4)
        else:
            continue
        module.weight.data.uniform_(-2.4, 2.4).div_(fan)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "lenet": {"original": True},
    "lenet_modern": {"original": False},
}
"""Name -> arguments of LeNet. Both are small already: 32x32 pictures, a minute of training; there is no mini."""
