"""NASNet (Zoph, Vasudevan, Shlens, Le 2018, arXiv:1707.07012).

Idea    Let a search draw the network, but only a small part of it: two cells, one that keeps the size and one that
        halves it, found on small pictures. Stacked more often and made wider, the same cells do for large ones.
Flow    images -> 3x3 -> 2 reduction cells -> 3 times (N normal cells), a reduction cell between -> mean -> logits
        Each cell sees the outputs of the two cells before it. On CIFAR's pictures there are no first reduction cells.
Here    NASNet-A, figure 4, by its cells: nasnet_a_mobile, "4 @ 1056" (5,289,978 parameters, as in the Keras and Cadene
        forms), nasnet_a_large, "6 @ 4032" (88,753,150, as in Cadene's), and nasnet_a_cifar, "6 @ 768" (3.3 million).
        Any two cells by keyword, see Plan; siseon.training.architecture_search looks for some. As in the authors'
        code, a normal cell gives out also its older input, and a reduction cell its second step, though both are used.
        Deviations: symmetric zeros instead of TensorFlow's; no auxiliary classifier; ScheduledDropPath drops the later
        cells more, but from the first step on as at the end; on CIFAR's pictures the first cell's older input is
        projected as any other; colours are normalised as in all networks here. torchvision has no weights of these.
        nasnet_mini is "1 @ 192" with a first stride of 2, for 32x32 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.interface import RecipeError
from siseon.layers import Body, StochasticDepth, check_size
from siseon.models.classification.classifier import Classifier

Step: TypeAlias = "tuple[int, str, int, str] | Sequence[Any]"
"""Two operations whose results are added: (input, operation, input, operation)."""


class Plan(NamedTuple):
    """A cell. Inputs are numbered: 0 is the older, 1 the newer of the two that come in, 2 the first step's result, ...

    outputs: the numbers of what the cell gives out, stacked.
    """

    steps: Sequence[Step]
    outputs: Sequence[int]


NORMAL = Plan(
    (
        (1, "separable5", 0, "separable3"),
        (0, "separable5", 0, "separable3"),
        (1, "mean3", 0, "identity"),
        (0, "mean3", 0, "mean3"),
        (1, "separable3", 1, "identity"),
    ),
    (0, 2, 3, 4, 5, 6),
)
"""NASNet-A's normal cell: figure 4, left."""

REDUCTION = Plan(
    (
        (1, "separable5", 0, "separable7"),
        (1, "max3", 0, "separable7"),
        (1, "mean3", 0, "separable5"),
        (2, "mean3", 3, "identity"),
        (2, "separable3", 1, "max3"),
    ),
    (3, 4, 5, 6),
)
"""NASNet-A's reduction cell: figure 4, right."""

SEPARABLE = {"separable3": 3, "separable5": 5, "separable7": 7}
"""Operation -> kernel of a separable convolution."""

OPERATIONS = ("identity", "mean3", "max3", *SEPARABLE)
"""What a step may do; the paper's search had seven more, which NASNet-A does not use."""


def check_plan(plan: Plan, *, halves: bool) -> None:
    """Raise RecipeError where a step or an output of a cell refers to what is not there."""
    for number, (left, first, right, second) in enumerate(plan.steps, 2):
        if not (0 <= left < number and 0 <= right < number):
            raise RecipeError(f"step {number} of a cell uses input {max(left, right)}", "Use only what comes before it")
        for operation in (first, second):
            if operation not in OPERATIONS:
                raise RecipeError(f'a cell has the operation "{operation}"', f"There are {', '.join(OPERATIONS)}")
    least = 2 if halves else 0
    if not plan.outputs or not all(least <= output < 2 + len(plan.steps) for output in plan.outputs):
        raise RecipeError(
            f"a cell gives out {list(plan.outputs)}",
            f"Give numbers from {least} to {1 + len(plan.steps)}; a reduction cell cannot give out its inputs",
        )


def norm(width: int) -> nn.BatchNorm2d:
    """Batch normalisation that adds what the authors add to the variance."""
    return nn.BatchNorm2d(width, eps=0.001)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution. A stride leaves cells out before the product, not in it.

    oneDNN, as torch 2.13 has it, writes outside its memory in the weights' gradient of a 1x1 with a stride, channels
    last, fewer than 16 channels, an odd batch and two threads: pictures of a searched cell, and the process dies.
    """

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        step = self.stride[0]
        return F.conv2d(x[:, :, ::step, ::step], self.weight, self.bias)


def relu_conv_norm(channels: int, width: int, *, stride: int = 1) -> nn.Sequential:
    """A rectifier, a 1x1 convolution, batch normalisation."""
    return nn.Sequential(nn.ReLU(), Pointwise(channels, width, stride), norm(width))


def separable(channels: int, width: int, *, kernel: int, stride: int) -> nn.Sequential:
    """Twice: a rectifier, a convolution of each channel by itself, a 1x1 across channels, batch normalisation."""
    parts: list[nn.Module] = []
    for inward, step in ((channels, stride), (width, 1)):
        parts += [
            nn.ReLU(),
            nn.Conv2d(inward, inward, kernel, step, kernel // 2, groups=inward, bias=False),
            nn.Conv2d(inward, width, 1, bias=False),
            norm(width),
        ]
    return nn.Sequential(*parts)


def operation(kind: str, channels: int, width: int, *, stride: int) -> nn.Module:
    """One of OPERATIONS, from `channels` to `width` channels; where it cannot change them by itself, with a 1x1."""
    if kind in SEPARABLE:
        return separable(channels, width, kernel=SEPARABLE[kind], stride=stride)
    if kind == "identity":
        return nn.Identity() if stride == 1 and channels == width else relu_conv_norm(channels, width, stride=stride)
    pool = nn.MaxPool2d(3, stride, 1) if kind == "max3" else nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if channels == width:
        return pool
    return nn.Sequential(pool, nn.Conv2d(channels, width, 1, bias=False), norm(width))


class FactorisedReduction(nn.Module):
    """Halve a map without losing half of its cells: 1x1 of the even cells, 1x1 of the odd ones, stacked, normalised."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.even = Pointwise(channels, width // 2, 2)
        self.odd = Pointwise(channels, width - width // 2, 2)
        self.norm = norm(width)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = F.relu(x)
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))


class Cell(nn.Module):
    """A cell of a plan.

    older and newer: channels of its inputs; width: of each step; stride: 2 in a reduction cell, for operations on the
    two inputs; older_stride: 2 where the older input is twice as large, 0 where it is left as it is; dropped: share of
    the pictures for which the result of an operation is dropped, identities apart.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        older: int,
        newer: int,
        width: int,
        stride: int,
        older_stride: int,
        dropped: float,
    ) -> None:
        super().__init__()
        self.older: nn.Module = nn.Identity()
        if older_stride:
            self.older = FactorisedReduction(older, width) if older_stride == 2 else relu_conv_norm(older, width)
        self.newer = relu_conv_norm(newer, width)
        self.plan = plan
        self.operations = nn.ModuleList()
        self.drop = StochasticDepth(dropped)
        for left, first, right, second in plan.steps:
            for number, kind in ((left, first), (right, second)):
                channels = older if number == 0 and not older_stride else width
                self.operations.append(operation(kind, channels, width, stride=stride if number < 2 else 1))

    def forward(self, newer: Tensor, older: Tensor) -> Tensor:  # noqa: D102
        states = [self.older(older), self.newer(newer)]
        operations = iter(self.operations)
        for left, first, right, second in self.plan.steps:
            results = [next(operations)(states[left]), next(operations)(states[right])]
            kept = [x if kind == "identity" else self.drop(x) for x, kind in zip(results, (first, second), strict=True)]
            states.append(kept[0] + kept[1])
        return torch.cat([states[number] for number in self.plan.outputs], 1)


class Place(NamedTuple):
    """Where a cell stands: which plan, channels of its steps, stride, and which output before it is its older input."""

    plan: Plan
    width: int
    stride: int
    older: int


def places(*, normal: Plan, reduction: Plan, width: int, repeats: int, stem_cells: bool, skips: bool) -> list[Place]:
    """The cells in their order; older counts outputs from the last: -2 is usual, -1 where nothing else is there."""
    rows = []
    if stem_cells:
        rows += [Place(reduction, width // 4, 2, -1), Place(reduction, width // 2, 2, -2)]
    for stage in range(3):
        if stage:
            rows.append(Place(reduction, width << stage, 2, -2))
        for number in range(repeats):
            older = -3 if skips and stage and not number else -2 if rows else -1
            rows.append(Place(normal, width << stage, 1, older))
    return rows


class NASNetBody(Body):
    """The cells; `features` gives the first reduction cell and the end of each stage (strides 4, 8, 16, 32).

    Without stem cells only the end of each stage (strides 1, 2, 4). width: channels of a step in the first stage;
    repeats: N, normal cells of a stage; first: channels of the first convolution; stem_cells: begin with two reduction
    cells; stride: of the first convolution; normal and reduction: the cells; skips: the cell after a reduction cell
    takes as older input what the reduction cell took, as nasnet_a_large does; dropped: share of the pictures for which
    a path of the last cell is dropped. Pictures have at least `least` pixels a side.
    """

    def __init__(
        self,
        *,
        width: int,
        repeats: int,
        first: int,
        stem_cells: bool = True,
        stride: int = 2,
        normal: Plan | Sequence[Any] = NORMAL,
        reduction: Plan | Sequence[Any] = REDUCTION,
        skips: bool = False,
        dropped: float = 0.0,
    ) -> None:
        normal, reduction = Plan(*normal), Plan(*reduction)
        check_plan(normal, halves=False)
        check_plan(reduction, halves=True)
        rows = places(
            normal=normal, reduction=reduction, width=width, repeats=repeats, stem_cells=stem_cells, skips=skips
        )
        padding = 0 if stem_cells else 1
        stem = nn.Sequential(nn.Conv2d(3, first, 3, stride, padding, bias=False), norm(first))
        cells, outputs = [], [(first, stride)]
        for number, place in enumerate(rows, 1):
            newer, at = outputs[-1]
            older, older_at = outputs[place.older]
            cell = Cell(
                place.plan,
                older=older,
                newer=newer,
                width=place.width,
                stride=place.stride,
                older_stride=0 if stem_cells and number == 1 else at // older_at,
                dropped=dropped * number / len(rows),
            )
            cells.append(cell)
            outputs.append((len(place.plan.outputs) * place.width, at * place.stride))
        offset = 2 if stem_cells else 0
        ends = tuple(offset + (stage + 1) * repeats + stage for stage in range(3))
        ends = (1, *ends) if stem_cells else ends
        channels, strides = zip(*(outputs[end] for end in ends), strict=True)
        # the first convolution of the networks with stem cells has no zeros around the picture
        least = 3 if stem_cells else 1
        super().__init__(stem, cells, ends=ends, channels=channels, strides=strides, least=least)
        self.older = [place.older for place in rows]
        initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:  # noqa: D102
        check_size(images, least=self.least, network="NASNet")
        outputs, maps = [self.stem(images)], []
        for number, (cell, older) in enumerate(zip(self.layers.values(), self.older, strict=False), 1):
            outputs = [*outputs[-2:], cell(outputs[-1], outputs[older])]
            if number in self.ends:
                maps.append(outputs[-1])
        return maps


class NASNet(Classifier):
    """NASNetBody, a rectifier, the mean over each map, dropout, and one linear layer.

    classes: a count or the names; dropout: before the linear layer; frozen: how many stages of `features`, with the
    first convolution, are not trained; resize and crop: pixels, see Classifier; the others as in NASNetBody.
    """

    body: NASNetBody

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        width: int,
        repeats: int,
        first: int,
        stem_cells: bool = True,
        stride: int = 2,
        normal: Plan | Sequence[Any] = NORMAL,
        reduction: Plan | Sequence[Any] = REDUCTION,
        skips: bool = False,
        dropped: float = 0.0,
        dropout: float = 0.5,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = NASNetBody(
            width=width,
            repeats=repeats,
            first=first,
            stem_cells=stem_cells,
            stride=stride,
            normal=normal,
            reduction=reduction,
            skips=skips,
            dropped=dropped,
        )
        self.body.freeze(frozen)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        means = F.relu(self.body.features(normalised)[-1]).mean((2, 3))
        return self.classifier(self.dropout(means))


CIFAR: Mapping[str, Any] = {
    "classes": 10,
    "stem_cells": False,
    "dropout": 0.0,
    "resize": 32,
    "crop": 32,
}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "nasnet_a_mobile": {"width": 44, "repeats": 4, "first": 32},
    "nasnet_a_large": {
        "width": 168,
        "repeats": 6,
        "first": 96,
        "skips": True,
        "dropped": 0.3,
        "resize": 378,
        "crop": 331,
    },
    "nasnet_a_cifar": {**CIFAR, "width": 32, "repeats": 6, "first": 96, "stride": 1, "dropped": 0.4},
    "nasnet_mini": {**CIFAR, "width": 8, "repeats": 1, "first": 24, "stride": 2},
}
"""Name -> arguments of NASNet."""
