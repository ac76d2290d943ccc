"""Where the weights of a network start: by name, for all its convolutions and linear layers.

The output of a layer varies as fan_in * deviation^2 times its input, and half of that after a rectifier; so does the
gradient, with fan_out, on its way back. What is not 1 there is raised to the power of the depth. Hence Xavier's
initialisers, between both fans, for tanh; and He's, twice the inverse of the fan in, for rectifiers.

fan_in and fan_out: how many values a sum adds up, and in how many sums a value occurs: of a linear layer its inputs and
outputs, of a convolution its channels in (of one group) and out times the cells of its kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from siseon.naming import lookup


class Initialiser(NamedTuple):
    """How weights are drawn.

    draw: fills a weight tensor; deviation: what their standard deviation is, of fan in and fan out; formula: the same
    in words; paper: where it comes from; remark: what it is good for, or what is wrong with it.
    """

    draw: Callable[[Tensor], Tensor]
    deviation: Callable[[int, int], float]
    formula: str
    paper: str
    remark: str


def fans(weight: Tensor) -> tuple[int, int]:
    """Fan in and fan out of the weight [out, in, ...] of a linear layer or a convolution."""
    return weight[0].numel(), weight[:, 0].numel()


def by_fans(deviation: Callable[[int, int], float], weight: Tensor) -> Tensor:
    """Draw from a normal distribution whose deviation follows from the fans."""
    return nn.init.normal_(weight, std=deviation(*fans(weight)))


def of_the_notes_xavier(fan_in: int, fan_out: int) -> float:
    """What many notes give as Xavier's."""
    return 1 / math.sqrt(fan_in + fan_out)


def of_the_notes_he(fan_in: int, fan_out: int) -> float:
    """What some notes give as He's."""
    return 1 / math.sqrt(2 * (fan_in + fan_out))


GLOROT = "Glorot, Bengio 2010, equation 12"
HE = "He, Zhang, Ren, Sun 2015, arXiv:1502.01852, equation 10"

INITIALISERS: Mapping[str, Initialiser] = {
    "zero": Initialiser(
        nn.init.zeros_,
        lambda fan_in, fan_out: 0.0,
        "0",
        "none",
        "Nothing is learnt: all units of a layer give the same, and hidden layers get no gradient.",
    ),
    "normal": Initialiser(
        partial(nn.init.normal_, std=0.01),
        lambda fan_in, fan_out: 0.01,
        "0.01",
        "Krizhevsky, Sutskever, Hinton 2012, section 5",
        "The same for every layer: what deep layers get vanishes. A number instead of the name is another deviation.",
    ),
    "lecun_normal": Initialiser(
        partial(nn.init.kaiming_normal_, nonlinearity="linear"),
        lambda fan_in, fan_out: 1 / math.sqrt(fan_in),
        "1 / sqrt(fan_in)",
        "LeCun, Bottou, Orr, Muller 1998, section 4.6",
        "Keeps the variance forwards. Courses teach this form as Xavier's; the two agree where fan_in = fan_out.",
    ),
    "xavier_normal": Initialiser(
        nn.init.xavier_normal_,
        lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
        "sqrt(2 / (fan_in + fan_out))",
        GLOROT,
        "Between keeping the variance forwards and backwards. For tanh; a rectifier halves it in every layer.",
    ),
    "xavier_uniform": Initialiser(
        nn.init.xavier_uniform_,
        lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
        "sqrt(2 / (fan_in + fan_out)), evenly from +-sqrt(6 / (fan_in + fan_out))",
        GLOROT,
        "The paper's own form.",
    ),
    "he_normal": Initialiser(
        partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        lambda fan_in, fan_out: math.sqrt(2 / fan_in),
        "sqrt(2 / fan_in)",
        HE,
        "For rectifiers, which let half of the variance through.",
    ),
    "he_uniform": Initialiser(
        partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
        lambda fan_in, fan_out: math.sqrt(2 / fan_in),
        "sqrt(2 / fan_in), evenly from +-sqrt(6 / fan_in)",
        HE,
        "The same deviation from an even distribution.",
    ),
    "notes_xavier": Initialiser(
        partial(by_fans, of_the_notes_xavier),
        of_the_notes_xavier,
        "1 / sqrt(fan_in + fan_out)",
        "study notes",
        "Xavier's with the 2 under the root left out: every layer halves the variance even without an activation.",
    ),
    "notes_he": Initialiser(
        partial(by_fans, of_the_notes_he),
        of_the_notes_he,
        "1 / sqrt(2 (fan_in + fan_out))",
        "study notes",
        "The 2 belongs above, and fan_out does not belong there: with fan_in = fan_out 2.83 times too small, and"
        " after a rectifier every layer leaves an eighth of the variance.",
    ),
}
"""Name -> initialiser."""


def initialiser(name: str | float) -> Initialiser:
    """The row of the table; a number is a constant deviation. Raises RecipeError for a wrong name, with the nearest."""
    if isinstance(name, str):
        return lookup(INITIALISERS, name, what="initialiser")
    return INITIALISERS["normal"]._replace(
        draw=partial(nn.init.normal_, std=name), deviation=lambda fan_in, fan_out: name, formula=f"{name:g}"
    )


def initialise(network: nn.Module, name: str | float = "he_normal") -> None:
    """Draw the weights of all convolutions and linear layers in `network`; their biases become zero.

    Transposed convolutions are left as they are. Raises as `initialiser`.
    """
    draw = initialiser(name).draw
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
