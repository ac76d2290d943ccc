"""Normalisations of maps [batch, channels, height, width] by name: (x - mean) / deviation, each over other axes.

All but the response normalisation are one formula, y = weight * (x - mean) / sqrt(variance + epsilon) + bias with one
weight and one bias a channel; only whose mean and variance it is differs, and that is what the table says. torch's
modules throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from siseon.interface import RecipeError
from siseon.naming import lookup


def response_norm() -> nn.LocalResponseNorm:
    """AlexNet's, with the paper's k, n, alpha and beta; torch divides alpha by n = 5, the paper does not."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def groups(channels: int) -> int:
    """How many groups group normalisation makes: the paper's 32, or as many of two channels or more as divide them."""
    return math.gcd(32, max(channels // 2, 1))


class Normalisation(NamedTuple):
    """A normalisation.

    build: makes it for so many channels of maps; units: for so many units [batch, units], where it makes sense; axes:
    of [batch, channels, height, width] over which mean and variance are taken, in a group those of its channels, none
    for the response; statistics: how many means there are; depends: whether a picture's result depends on the others
    in its batch in training (and on running means in evaluation); paper: where it comes from.
    """

    build: Callable[[int], nn.Module]
    units: Callable[[int], nn.Module] | None
    axes: tuple[int, ...]
    statistics: str
    depends: bool
    paper: str


NORMALISATIONS: Mapping[str, Normalisation] = {
    "response": Normalisation(
        lambda channels: response_norm(),
        None,
        (),
        "none: x / (2 + 1e-4 * the sum of squares of 5 neighbouring channels)^0.75",
        False,
        "Krizhevsky, Sutskever, Hinton 2012, section 3.3",
    ),
    "batch": Normalisation(
        nn.BatchNorm2d, nn.BatchNorm1d, (0, 2, 3), "channels", True, "Ioffe, Szegedy 2015, arXiv:1502.03167"
    ),
    "layer": Normalisation(
        # torch's LayerNorm has a weight for each cell, and so wants maps of one size; one group is the same mean.
        lambda channels: nn.GroupNorm(1, channels),
        lambda channels: nn.GroupNorm(1, channels),
        (1, 2, 3),
        "pictures",
        False,
        "Ba, Kiros, Hinton 2016, arXiv:1607.06450",
    ),
    "instance": Normalisation(
        lambda channels: nn.InstanceNorm2d(channels, affine=True),
        None,
        (2, 3),
        "pictures x channels",
        False,
        "Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022",
    ),
    "group": Normalisation(
        lambda channels: nn.GroupNorm(groups(channels), channels),
        lambda channels: nn.GroupNorm(groups(channels), channels),
        (1, 2, 3),
        "pictures x groups",
        False,
        "Wu, He 2018, arXiv:1803.08494",
    ),
}
"""Name -> normalisation."""


def normalisation(name: str, channels: int) -> nn.Module:
    """The module that normalises maps of `channels` channels. Raises RecipeError for a wrong name, with the nearest."""
    return lookup(NORMALISATIONS, name, what="normalisation").build(channels)


def unit_normalisation(name: str, units: int) -> nn.Module:
    """The module that normalises [batch, units]. Raises RecipeError for a wrong name, or one that needs maps."""
    build = lookup(NORMALISATIONS, name, what="normalisation").units
    if build is None:
        known = ", ".join(each for each, row in NORMALISATIONS.items() if row.units)
        raise RecipeError(f'the normalisation "{name}" needs maps, not units', f"For units there are {known}")
    return build(units)
