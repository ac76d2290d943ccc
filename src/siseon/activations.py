"""Activation functions: what a layer does to its sums before the next layer sees them.

Without one, a chain of layers is a single linear map, however long. torch's modules where torch has them; maxout is
ours. `ACTIVATIONS` is the table with the formulae and the properties on which notes and papers compare them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.naming import lookup


class Maxout(nn.Module):
    """The greatest of each `pieces` neighbouring channels: Goodfellow et al. 2013.

    [batch, channels, ...], maps or units, becomes [batch, channels / pieces, ...]. The pieces are linear maps, those of
    the layer before, which therefore has `pieces` times the channels and the weights. Raises RecipeError where the
    channels do not divide.
    """

    def __init__(self, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if x.shape[1] % self.pieces:
            raise RecipeError(
                f"maxout cannot share {x.shape[1]} channels among {self.pieces} pieces",
                f"Give the layer before it {self.pieces} times the channels that the next one takes",
            )
        return x.reshape(len(x), -1, self.pieces, *x.shape[2:]).amax(2)

    def extra_repr(self) -> str:  # noqa: D102
        return f"pieces={self.pieces}"


class Activation(NamedTuple):
    """An activation function.

    build: makes its module, which never changes its input in place; formula and derivative: of one value x; low and
    high: the bounds of what it gives, for maxout of what it can give; zero_centred: whether the mean of what it gives
    for standard normal x is within 0.2 of 0; saturates: the sides on which the derivative falls to 0; exponential:
    whether it costs an exponential function; learnt: what gradients change in it; pieces: how many times the channels
    the layer before it needs; paper: where it comes from.
    """

    build: Callable[[], nn.Module]
    formula: str
    derivative: str
    low: float
    high: float
    zero_centred: bool
    saturates: Literal["both", "left", "none"]
    exponential: bool
    paper: str
    learnt: str = ""
    pieces: int = 1


PRELU = "He, Zhang, Ren, Sun 2015, arXiv:1502.01852"
SELU = "Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv:1706.02515"

ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": Activation(
        nn.Sigmoid,
        "1 / (1 + exp(-x))",
        "f(x) (1 - f(x)), at most 1/4",
        0,
        1,
        False,
        "both",
        True,
        "Rumelhart, Hinton, Williams 1986",
    ),
    "tanh": Activation(
        nn.Tanh, "tanh(x)", "1 - f(x)^2, at most 1", -1, 1, True, "both", True, "LeCun, Bottou, Orr, Muller 1998"
    ),
    "relu": Activation(
        nn.ReLU, "max(0, x)", "0 if x < 0, 1 if x > 0", 0, math.inf, False, "left", False, "Nair, Hinton 2010"
    ),
    "leaky_relu": Activation(
        nn.LeakyReLU,  # 0.01 as in the paper; many notes write 0.1
        "max(0.01 x, x)",
        "0.01 if x < 0, 1 if x > 0",
        -math.inf,
        math.inf,
        False,
        "none",
        False,
        "Maas, Hannun, Ng 2013",
    ),
    "prelu": Activation(
        nn.PReLU,  # max(a x, x) only as long as a is at most 1
        "a x if x < 0, x if x > 0; a starts at 0.25",
        "a if x < 0, 1 if x > 0; by a: x if x < 0, 0 if x > 0",
        -math.inf,
        math.inf,
        False,
        "none",
        False,
        PRELU,
        learnt="a",
    ),
    "maxout": Activation(
        Maxout,
        "max(w1 x + b1, w2 x + b2)",
        "w1 or w2, that of the greater",
        -math.inf,
        math.inf,
        False,
        "none",
        False,
        "Goodfellow, Warde-Farley, Mirza, Courville, Bengio 2013, arXiv:1302.4389",
        learnt="w1, b1, w2, b2: those of the layer before",
        pieces=2,
    ),
    "elu": Activation(
        nn.ELU,  # its a is chosen, not learnt
        "a (exp(x) - 1) if x < 0, x if x > 0; a = 1",
        "a exp(x) if x < 0, 1 if x > 0",
        -1,
        math.inf,
        True,
        "left",
        True,
        "Clevert, Unterthiner, Hochreiter 2016, arXiv:1511.07289",
    ),
    "selu": Activation(
        nn.SELU,
        "s a (exp(x) - 1) if x < 0, s x if x > 0; s = 1.0507, a = 1.6733",
        "s a exp(x) if x < 0, s if x > 0",
        -1.0507009873554805 * 1.6732632423543772,
        math.inf,
        True,
        "left",
        True,
        SELU,
    ),
    "identity": Activation(
        nn.Identity, "x", "1", -math.inf, math.inf, True, "none", False, "none: layers without an activation"
    ),
}
"""Name -> activation function."""


def activation(name: str) -> nn.Module:
    """The module of an activation function. Raises RecipeError for a wrong name, with the nearest."""
    return lookup(ACTIVATIONS, name, what="activation").build()


def pieces(name: str) -> int:
    """How many times the channels the layer before needs: 2 for maxout, else 1. Raises as `activation`."""
    return lookup(ACTIVATIONS, name, what="activation").pieces


def values(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """The function and its derivative at each of x [points], by backpropagation; maxout's pieces are x and -x / 2."""
    function = activation(name).to(x)
    x = x.detach().requires_grad_()
    shares = torch.stack([x, -x / 2], 1) if pieces(name) == 2 else x[:, None]
    y = function(shares)[:, 0]
    (slope,) = torch.autograd.grad(y.sum(), x)
    return y.detach(), slope


def plot(path: Path, *, names: Mapping[str, str] | None = None, reach: float = 4.0) -> None:
    """Draw all activation functions, each with its derivative, into one picture file.

    names: titles to write instead of the functions' names, in any language; reach: the greatest |x|.
    """
    from matplotlib.figure import Figure

    from siseon import drawing

    drawing.use_hangul_in_plots()
    shown = [name for name in ACTIVATIONS if name != "identity"]
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    x = torch.linspace(-reach, reach, 401, dtype=torch.float64)
    for name, axes in zip(shown, figure.subplots(2, 4).flat, strict=True):
        y, slope = values(name, x)
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.plot(x, y, label="f(x)")
        axes.plot(x, slope, "--", label="f'(x)")
        axes.set_title((names or {}).get(name, name))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)
