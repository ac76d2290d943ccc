"""The search: it draws and mutates within its space, ages its population, beats chance, and repeats itself."""

import math
import random

import pytest
from small_run import Noise, noise, small

from siseon.data.dataset import Data
from siseon.interface import DataError, RecipeError, SiseonError
from siseon.models.classification import nasnet
from siseon.training import architecture_search, records
from siseon.training.architecture_search import (
    OPERATIONS,
    Candidate,
    Cell,
    Space,
    Step,
    drawn,
    mutated,
    propose,
    search,
)
from siseon.training.progress import Silent
from siseon.training.recipe import Recipe

FAST = {"recipe": Recipe(epochs=1, batch=8, workers=0, lr=0.01), "progress": Silent(), "minutes": 60}


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch):
    monkeypatch.setattr(records, "plot", lambda rows: b"")


def choices(genotype):
    return [value for cell in (genotype.normal, genotype.reduction) for step in cell.steps for value in step]


def test_the_operations_are_those_of_the_network():
    assert OPERATIONS == nasnet.OPERATIONS


@pytest.mark.parametrize(
    ("steps", "outputs"),
    [
        ([Step(0, "max3", 1, "max3")], (2,)),
        ([Step(0, "max3", 1, "max3"), Step(2, "max3", 1, "max3")], (3,)),
        ([Step(0, "max3", 1, "max3"), Step(0, "max3", 1, "max3")], (2, 3)),
        ([Step(0, "max3", 1, "max3"), Step(2, "max3", 2, "max3"), Step(0, "max3", 0, "max3")], (3, 4)),
    ],
)
def test_a_cell_gives_out_what_no_step_uses(steps, outputs):
    assert Cell(tuple(steps)).outputs == outputs


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_and_mutated_can_be_built(seed):
    generator, genotype = random.Random(seed), None
    for _ in range(10):
        genotype = drawn(generator) if genotype is None else mutated(genotype, generator)
        nasnet.check_plan(nasnet.Plan(*genotype.normal.plan()), halves=False)
        nasnet.check_plan(nasnet.Plan(*genotype.reduction.plan()), halves=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_mutation_changes_one_choice(seed):
    generator = random.Random(seed)
    before = drawn(generator)
    pairs = zip(choices(before), choices(mutated(before, generator)), strict=True)
    assert sum(one != two for one, two in pairs) == 1


def test_mutations_reach_every_choice():
    generator, before = random.Random(0), drawn(random.Random(0))
    changed = set()
    for _ in range(1000):
        after = choices(mutated(before, generator))
        changed |= {index for index, value in enumerate(after) if value != choices(before)[index]}
    assert changed == set(range(len(choices(before))))


def candidate(genotype, score):
    return Candidate(genotype, score, 0, 0.0, None)


def explored(method, seed, *, count, space):
    """A search without training: the score is the share of operations that are separable3."""
    generator, history = random.Random(seed), []
    for _ in range(count):
        genotype, _ = propose(history, generator, method=method, space=space)
        history.append(candidate(genotype, choices(genotype).count("separable3") / (4 * space.steps)))
    return history


def test_the_oldest_die_however_good_they_were():
    space, generator = Space(population=3, sample=50), random.Random(0)
    history = [candidate(drawn(generator), score) for score in (9.0, 1.0, 2.0, 0.0)]
    assert propose(history, generator, method="evolution", space=space)[1] == 2


def test_both_methods_begin_with_the_same_draws():
    space = Space(population=5)
    one, two = (explored(method, 3, count=6, space=space) for method in ("random", "evolution"))
    assert one[:5] == two[:5]
    assert one[5] != two[5]


def test_evolution_beats_chance():
    def best(method):
        return sum(max(each.score for each in explored(method, seed, count=150, space=Space())) for seed in range(5))

    assert best("evolution") > 1.2 * best("random")


def nasnet_of(genotype):
    model = nasnet.NASNet(
        classes=noise().classes,
        width=4,
        repeats=1,
        first=4,
        stem_cells=False,
        dropout=0.0,
        resize=12,
        crop=12,
        normal=genotype.normal.plan(),
        reduction=genotype.reduction.plan(),
    )
    model.spec = {"name": "nasnet_mini", "arguments": {}}
    return model


def test_a_seed_gives_the_same_search_twice():
    def once():
        found = search(noise(), build=nasnet_of, candidates=3, seed=7, space=Space(steps=1, population=2), **FAST)
        return [(each.genotype, each.score, each.parameters, each.parent) for each in found.history], found

    first, found = once()
    assert first == once()[0]
    assert found.best.score == max(score for _, score, _, _ in first)
    assert [parent is None for _, _, _, parent in first] == [True, True, False]
    assert (found.method, found.seed) == ("evolution", 7)


def test_the_score_is_the_main_figure():
    figures = iter([0.25, 0.75, 0.5])
    found = search(
        noise(),
        build=lambda genotype: small(),
        candidates=3,
        method="random",
        evaluate=lambda model, dataset: {"accuracy": next(figures), "other": 9.0},
        **FAST,
    )
    assert [each.score for each in found.history] == [0.25, 0.75, 0.5]
    assert found.best is found.history[1]


def test_the_test_pictures_are_never_seen():
    class Secret(Noise):
        def picture(self, index):
            raise AssertionError("a test picture was read")

    data = noise()
    with_test = Data("noise", data.task, data.classes, {**data.splits, "test": Secret(5)})
    assert len(search(with_test, build=lambda genotype: small(), candidates=1, **FAST).history) == 1


def test_one_is_tried_however_little_time_there_is():
    found = search(noise(), build=lambda genotype: small(), **{**FAST, "minutes": 1e-9})
    assert len(found.history) == 1


def test_a_network_that_breaks_down_is_the_worst(monkeypatch):
    def broken(*given, **more):
        raise SiseonError("training broke down in step 3")

    monkeypatch.setattr(architecture_search, "fit", broken)
    found = search(noise(), build=lambda genotype: small(), candidates=2, **FAST)
    assert [each.score for each in found.history] == [-math.inf, -math.inf]


def test_it_says_how_each_candidate_did():
    lines = []

    class Told(Silent):
        def epoch(self, line):
            lines.append(line)

    given = {**FAST, "progress": Told(), "candidates": 3, "space": Space(population=2)}
    search(noise(), build=lambda genotype: small(), **given)
    assert [line.split(":")[0] for line in lines[:2]] == ["candidate 1, drawn", "candidate 2, drawn"]
    assert lines[2].startswith("candidate 3, child of ")


@pytest.mark.parametrize(
    ("changes", "fault", "complaint"),
    [
        ({"method": "enas"}, RecipeError, "enas"),
        ({"space": Space(steps=0)}, RecipeError, "cannot be searched"),
        ({"space": Space(operations=("max3",))}, RecipeError, "two operations"),
        ({"minutes": 0}, RecipeError, "no time"),
        ({"candidates": 0}, RecipeError, "no candidates"),
    ],
)
def test_settings_that_make_no_sense(changes, fault, complaint):
    with pytest.raises(fault, match=complaint):
        search(noise(), build=lambda genotype: small(), **{**FAST, **changes})


def test_without_validation_pictures_there_is_no_search():
    data = Data("noise", "classification", noise().classes, {"train": Noise(5)})
    with pytest.raises(DataError, match="val"):
        search(data, build=lambda genotype: small(), **FAST)
