"""A search for the two cells of a NASNet: at random, or by regularised evolution.

Idea    A network is a point in a space of choices: train many small ones briefly, keep what does well. Evolution
        changes one choice of the best of a few networks at a time, and lets the oldest die, not the worst: a network
        that was lucky once must prove itself again through its children.
Flow    draw a population -> train and judge each -> choose a parent, change one choice, train and judge -> ... -> best
Here    Regularised evolution (Real, Aggarwal, Huang, Le 2019, arXiv:1802.01548, algorithm 1; both mutations of section
        3.1) in the space of NASNet (arXiv:1707.07012) with the operations that NASNet-A kept, and random search, which
        any search must beat. Each candidate is trained from its first weights for the same few epochs and judged on the
        validation pictures; those for testing are never seen. Deviations: the population is 12, not 100, for a laptop;
        a cell gives out every step that no other uses, not its inputs; the identity mutation is left out. Not here:
        shared weights (ENAS, arXiv:1802.03268), whose ranking is another than that of networks trained by themselves.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import nn

from siseon.data.dataset import Data
from siseon.interface import DataError, RecipeError, SiseonError
from siseon.training.fit import Evaluate, fit
from siseon.training.progress import Lines, Progress, Silent
from siseon.training.recipe import Recipe

Method: TypeAlias = Literal["random", "evolution"]

OPERATIONS = ("identity", "mean3", "max3", "separable3", "separable5", "separable7")
"""What a step may do with an input; the names of models.classification.nasnet."""


class Step(NamedTuple):
    """Two operations whose results are added. Input 0 is the older and 1 the newer of a cell, 2 its first step, ..."""

    left: int
    first: str
    right: int
    second: str


@dataclass(frozen=True, slots=True)
class Cell:
    """The steps of one cell, in order."""

    steps: tuple[Step, ...]

    @property
    def outputs(self) -> tuple[int, ...]:
        """The numbers of the steps that no other step uses: what the cell gives out."""
        used = {number for step in self.steps for number in (step.left, step.right)}
        return tuple(number for number in range(2, 2 + len(self.steps)) if number not in used)

    def plan(self) -> tuple[list[list[int | str]], list[int]]:
        """Steps and outputs as plain lists: the `normal` or `reduction` argument of a NASNet, and JSON."""
        return [list(step) for step in self.steps], list(self.outputs)


@dataclass(frozen=True, slots=True)
class Genotype:
    """The choices that make a network: the cell that keeps the size, and the one that halves it."""

    normal: Cell
    reduction: Cell


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network that was tried.

    score: its main figure on the validation pictures, higher is better (a loss below zero), -inf where training broke
    down; parameters: how many it has; seconds: that training took; parent: its number in the history, None if drawn.
    """

    genotype: Genotype
    score: float
    parameters: int
    seconds: float
    parent: int | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found. best: the highest score; history: all candidates in the order they were tried."""

    best: Candidate
    history: tuple[Candidate, ...]
    method: Method
    seed: int


@dataclass(frozen=True, slots=True)
class Space:
    """How a search draws: steps of a cell, members of the population, and how many of them vie to be a parent."""

    steps: int = 5
    population: int = 12
    sample: int = 4
    operations: tuple[str, ...] = OPERATIONS


SPACE = Space()


def search(
    data: Data,
    *,
    build: Callable[[Genotype], nn.Module],
    minutes: float,
    candidates: int | None = None,
    seed: int = 0,
    method: Method = "evolution",
    space: Space = SPACE,
    recipe: Recipe | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Try networks until `minutes` are over, or `candidates` are tried, and give all of them with the best.

    build: makes the model of a genotype, with a spec, as `zoo.create("nasnet_mini", normal=genotype.normal.plan(),
    reduction=genotype.reduction.plan())` does. recipe: of each short training, 2 epochs if left out. evaluate: judges
    on the validation pictures, their loss if left out. progress: told a line a candidate. The last candidate is
    finished when the time is over, and one is always tried. For a seed the candidates are always the same ones; how
    many there are in `minutes` depends on the machine. Raises DataError without validation pictures, RecipeError for
    settings that make no sense.
    """
    _check(data, method, space, minutes, candidates)
    # without the test pictures nothing can be chosen by them
    pictures = replace(data, splits={name: data.splits[name] for name in ("train", "val")})
    recipe = (recipe or Recipe(epochs=2, batch=32, optimizer="adamw", lr=0.003)).changed(seed=seed)
    generator, history = random.Random(seed), list[Candidate]()
    end = time.monotonic() + 60 * minutes
    with closing(progress or Lines()) as shown:
        while not history or (time.monotonic() < end and len(history) != candidates):
            genotype, parent = propose(history, generator, method=method, space=space)
            history.append(_tried(genotype, parent, build, pictures, recipe, evaluate))
            shown.epoch(_line(history))
    return SearchResult(max(history, key=_score), tuple(history), method, seed)


def propose(
    history: Sequence[Candidate], generator: random.Random, *, method: Method, space: Space = SPACE
) -> tuple[Genotype, int | None]:
    """The next genotype, and the number of its parent: drawn, or the best of a random few of the youngest, mutated."""
    if method == "random" or len(history) < space.population:
        return drawn(generator, space), None
    living = range(len(history) - space.population, len(history))
    parent = max(generator.choices(living, k=space.sample), key=lambda number: history[number].score)
    return mutated(history[parent].genotype, generator, space), parent


def drawn(generator: random.Random, space: Space = SPACE) -> Genotype:
    """A genotype in which every choice is as likely as any other."""

    def cell() -> Cell:
        steps = []
        for number in range(2, 2 + space.steps):
            left, right = generator.randrange(number), generator.randrange(number)
            first, second = generator.choice(space.operations), generator.choice(space.operations)
            steps.append(Step(left, first, right, second))
        return Cell(tuple(steps))

    return Genotype(cell(), cell())


def mutated(genotype: Genotype, generator: random.Random, space: Space = SPACE) -> Genotype:
    """The genotype with one choice changed: an operation, or an input, of one step of one cell."""
    which = generator.choice(("normal", "reduction"))
    steps = list((genotype.normal if which == "normal" else genotype.reduction).steps)
    index, side = generator.randrange(len(steps)), generator.randrange(2)
    inputs, operations = [steps[index].left, steps[index].right], [steps[index].first, steps[index].second]
    if generator.random() < 0.5:
        inputs[side] = generator.choice([number for number in range(index + 2) if number != inputs[side]])
    else:
        operations[side] = generator.choice([name for name in space.operations if name != operations[side]])
    steps[index] = Step(inputs[0], operations[0], inputs[1], operations[1])
    cell = Cell(tuple(steps))
    return replace(genotype, normal=cell) if which == "normal" else replace(genotype, reduction=cell)


def _tried(
    genotype: Genotype,
    parent: int | None,
    build: Callable[[Genotype], nn.Module],
    data: Data,
    recipe: Recipe,
    evaluate: Evaluate | None,
) -> Candidate:
    """Train the network of a genotype from the seed's first weights, and judge it."""
    torch.manual_seed(recipe.seed)
    model = build(genotype)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    before = time.monotonic()
    try:
        run = fit(model, data, recipe=recipe, evaluate=evaluate, progress=Silent())
        score = -run.best if evaluate is None else run.best
    except (DataError, RecipeError):
        raise
    except SiseonError:  # the loss was no longer finite: a bad network is no reason to end the search
        score = -math.inf
    return Candidate(genotype, score, parameters, time.monotonic() - before, parent)


def _score(candidate: Candidate) -> float:
    return candidate.score


def _line(history: Sequence[Candidate]) -> str:
    """How the last candidate did, and the best so far."""
    last, best = history[-1], max(history, key=_score)
    origin = "drawn" if last.parent is None else f"child of {last.parent + 1}"
    return (
        f"candidate {len(history)}, {origin}: score {last.score:.4f}, {last.parameters:,} parameters, "
        f"{last.seconds:.0f} s; best {best.score:.4f}"
    )


def _check(data: Data, method: str, space: Space, minutes: float, candidates: int | None) -> None:
    """Raise what a user can mend before anything is trained."""
    if not {"train", "val"} <= set(data.splits):
        raise DataError(
            f"{data.name} has no train and val splits", "A search needs pictures to learn from and others to choose by"
        )
    if method not in ("random", "evolution"):
        raise RecipeError(f'there is no method "{method}"', "There are random and evolution")
    if min(space.steps, space.population, space.sample) < 1 or len(space.operations) < 2:
        raise RecipeError(f"{space} cannot be searched", "Give at least one of each, and two operations")
    if not minutes > 0 or (candidates is not None and candidates < 1):
        raise RecipeError("a search of no time or no candidates finds nothing", "Give minutes, or candidates, above 0")
