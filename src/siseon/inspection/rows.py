"""The figures of one layer, and sums of them. Shapes are (channels, height, width), the batch axis left out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

from siseon.interface import Size

BYTES_PER_VALUE = 4  # fp32

Shape: TypeAlias = tuple[int, ...]

Kind: TypeAlias = Literal[
    "input",
    "convolution",
    "depthwise convolution",
    "grouped convolution",
    "transposed convolution",
    "max pooling",
    "average pooling",
    "adaptive pooling",
    "global average pooling",
    "normalisation",
    "activation",
    "fully connected",
    "matrix product",
    "attention",
    "recurrent",
    "embedding",
    "dropout",
    "flatten",
    "padding",
    "upsampling",
    "addition",
    "multiplication",
    "concatenation",
    "identity",
    "other",
    "own parameters",
    "not run",
]

Measure: TypeAlias = Literal["parameters", "activations", "macs"]


class Window(NamedTuple):
    """How a convolution or a pooling slides, each pair as (height, width).

    padding is added on both sides; extra_padding once, at one side or the other (padding="same" with an even kernel);
    rounded_up: a pooling with ceil_mode, which keeps the last, incomplete window.
    """

    kernel: Size
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    groups: int = 1
    transposed: bool = False
    output_padding: Size = (0, 0)
    extra_padding: Size = (0, 0)
    rounded_up: bool = False

    def reach(self, axis: int) -> int:
        """The cells from the first to the last that one window touches: D(K - 1) + 1."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1


class Reach(NamedTuple):
    """What a cell sees: receptive field in pixels, and jump (pixels between neighbouring cells); (height, width)."""

    receptive_field: Size
    jump: tuple[Fraction, Fraction]


class Totals(NamedTuple):
    """Sums over layers: parameters, values of activations, multiply-accumulates."""

    weights: int = 0
    biases: int = 0
    activations: int = 0
    macs: int = 0

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def bytes(self) -> int:
        """The memory of the activations in fp32."""
        return self.activations * BYTES_PER_VALUE

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Row:
    """One layer, as it ran.

    name: the module, or the module in whose forward the operation stands; type: its class or function.
    items: the size of the first axis, the batch, or the number of regions in a detector's head.
    activations: values of memory written anew, over all items: 0 in place, for views and for dropout at rest.
    weights, biases: counted at the first use; shares names the row that holds them where they are used again.
    reach, reach_before: receptive field and jump after and before the layer; None where they cannot be told.
    """

    name: str
    kind: Kind
    type: str
    inputs: tuple[Shape, ...] = ()
    output: Shape = ()
    items: int = 1
    window: Window | None = None
    weights: int = 0
    biases: int = 0
    activations: int = 0
    macs: int = 0
    reach: Reach | None = None
    reach_before: Reach | None = None
    shares: str = ""
    in_place: bool = False

    @property
    def input(self) -> Shape:
        """The shape of the first input."""
        return self.inputs[0] if self.inputs else ()

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def bytes(self) -> int:
        """The memory of the activations in fp32."""
        return self.activations * BYTES_PER_VALUE

    @property
    def receptive_field(self) -> Size | None:
        """(height, width) in pixels, picture edges not counted."""
        return None if self.reach is None else self.reach.receptive_field

    @property
    def jump(self) -> tuple[Fraction, Fraction] | None:
        """The stride of the output with respect to the picture, (height, width); 1/2 after enlarging beyond it."""
        return None if self.reach is None else self.reach.jump

    @property
    def totals(self) -> Totals:
        """The countable figures."""
        return Totals(self.weights, self.biases, self.activations, self.macs)
