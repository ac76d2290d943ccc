"""Matching and sampling: tables, a double loop, and what must hold of every draw."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.boxes import matching
from siseon.boxes.matching import BACKGROUND, BETWEEN

OVERLAPS = torch.tensor(
    [
        [0.8, 0.6, 0.1, 0.0, 0.2],
        [0.7, 0.5, 0.4, 0.0, 0.0],
        [0.0, 0.0, 0.2, 0.0, 0.2],
    ]
)


def loop_match(overlaps, high, low, keep_best):
    matched = []
    for anchor in range(overlaps.shape[1]):
        column = overlaps[:, anchor].tolist()
        value = max(column)
        found = column.index(value)
        best_of_one = any(x > 0 and x == max(overlaps[i].tolist()) for i, x in enumerate(column))
        if value < high and not (keep_best and best_of_one):
            found = BACKGROUND if value < low else BETWEEN
        matched.append(found)
    return matched


@pytest.mark.parametrize(
    ("keep_best", "expected"), [(False, [0, BETWEEN, BETWEEN, BACKGROUND, BACKGROUND]), (True, [0, BETWEEN, 1, -1, 0])]
)
def test_match(keep_best, expected):
    assert matching.match(OVERLAPS, high=0.7, low=0.3, keep_best=keep_best).tolist() == expected


def test_thresholds_belong_to_the_upper_side():
    overlaps = torch.tensor([[0.5, 0.25]])
    assert matching.match(overlaps, high=0.5, low=0.25, keep_best=False).tolist() == [0, BETWEEN]


def test_an_object_that_no_anchor_touches_takes_none():
    overlaps = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.1]])
    assert matching.match(overlaps, high=0.7, low=0.3, keep_best=True).tolist() == [1, BACKGROUND, BACKGROUND]


@pytest.mark.parametrize("keep_best", [False, True])
def test_without_objects_all_is_background(keep_best):
    assert matching.match(torch.zeros(0, 3), high=0.7, low=0.3, keep_best=keep_best).tolist() == [BACKGROUND] * 3


@pytest.mark.parametrize("keep_best", [False, True])
def test_without_anchors_nothing_is_matched(keep_best):
    matched = matching.match(torch.zeros(2, 0), high=0.7, low=0.3, keep_best=keep_best)
    assert matched.shape == (0,)
    assert matched.dtype == torch.int64


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6), st.booleans())
def test_match_agrees_with_loops(objects, anchors, seed, keep_best):
    # few values, so that ties are common
    overlaps = torch.randint(0, 6, (objects, anchors), generator=torch.Generator().manual_seed(seed)) / 5
    matched = matching.match(overlaps, high=0.6, low=0.4, keep_best=keep_best)
    assert matched.tolist() == loop_match(overlaps, 0.6, 0.4, keep_best)


def mask(count, total=100, start=0):
    return (torch.arange(total) >= start) & (torch.arange(total) < start + count)


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(50, 50, (8, 8)), (3, 50, (3, 13)), (0, 50, (0, 16)), (50, 5, (8, 5)), (0, 0, (0, 0)), (50, 0, (8, 0))],
)
def test_sample_fills_up_with_negatives(positives, negatives, expected):
    chosen = matching.sample(mask(positives), mask(negatives, start=50), count=16, positive_share=0.5)
    assert tuple(map(len, chosen)) == expected


def test_sample_draws_each_index_once_from_its_own_mask():
    positive, negative = mask(30), mask(60, start=40)
    chosen, rest = matching.sample(positive, negative, count=64, positive_share=0.25)
    assert positive[chosen].all()
    assert negative[rest].all()
    assert len(chosen.unique()) == 16
    assert len(rest.unique()) == 48


def test_the_global_seed_repeats_the_sample():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(matching.sample(mask(30), mask(60, start=40), count=16, positive_share=0.5)[1].tolist())
    assert draws[0] == draws[1] != draws[2]


def test_sample_without_anchors():
    none = torch.zeros(0, dtype=torch.bool)
    assert [len(part) for part in matching.sample(none, none, count=8, positive_share=0.5)] == [0, 0]
