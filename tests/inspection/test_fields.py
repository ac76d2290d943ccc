"""Receptive fields against sets of pixels, followed one cell at a time."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from siseon.inspection.fields import Span, meet

PIXELS = 200

windows = st.tuples(st.just("window"), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
transposed = st.tuples(
    st.just("transposed"), st.integers(1, 5), st.integers(1, 3), st.integers(0, 1), st.integers(1, 2)
)
enlarged = st.tuples(st.just("enlarged"), st.sampled_from([1, 2]), st.integers(2, 3))


def naive(operation: tuple, seen: list[set[int]]) -> list[set[int]]:
    """The pixels that each cell sees after one more layer."""
    if operation[0] == "window":
        _, kernel, stride, padding, dilation = operation
        cells = (len(seen) + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        taps = [[cell * stride - padding + tap * dilation for tap in range(kernel)] for cell in range(cells)]
    elif operation[0] == "transposed":
        _, kernel, stride, padding, dilation = operation
        cells = (len(seen) - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
        taps = [[] for _ in range(max(cells, 0))]
        for source in range(len(seen)):
            for tap in range(kernel):
                if 0 <= (cell := source * stride - padding + tap * dilation) < cells:
                    taps[cell].append(source)
    else:
        _, neighbours, factor = operation
        taps = [[cell // factor] for cell in range(len(seen) * factor)]
        if neighbours == 2:
            places = [(cell + 0.5) / factor - 0.5 for cell in range(len(seen) * factor)]
            taps = [[round(place)] if place.is_integer() else [math.floor(place), math.ceil(place)] for place in places]
    inside = [[source for source in sources if 0 <= source < len(seen)] for sources in taps]
    return [set().union(*(seen[source] for source in sources)) for sources in inside]


def computed(operation: tuple, span: Span, cells: int) -> Span:
    if operation[0] == "enlarged":
        return span.interpolated(cells, taps=operation[1])
    _, kernel, stride, padding, dilation = operation
    slide = span.window if operation[0] == "window" else span.transposed
    return slide(kernel=kernel, stride=stride, padding=padding, dilation=dilation, cells=cells)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(windows, transposed, enlarged), min_size=1, max_size=3))
def test_every_cell_in_the_middle_sees_what_it_is_said_to_see(operations):
    span, seen = Span(PIXELS), [{pixel} for pixel in range(PIXELS)]
    for operation in operations:
        seen = naive(operation, seen)
        assume(1 <= len(seen) <= 1000)
        span = computed(operation, span, len(seen))
    for cell in range(len(seen) // 3, 2 * len(seen) // 3):
        expected = span.seen(cell)
        if expected is None or (expected[0] > 0 and expected[1] < PIXELS - 1):
            assert expected == ((min(seen[cell]), max(seen[cell])) if seen[cell] else None)


@pytest.mark.parametrize(
    ("cells", "wanted", "field", "jump"),
    [(7, 7, 1, 1), (14, 7, 2, 2), (7, 1, 7, 1), (13, 5, 4, 13 / 5), (1, 7, 1, 1 / 7)],
)
def test_adaptive_pooling(cells, wanted, field, jump):
    span = Span(cells).adaptive(wanted)
    assert (span.cells, span.size, float(span.jump)) == (wanted, field, pytest.approx(jump))


@pytest.mark.parametrize(("small", "large", "jump"), [(13, 25, 4), (25, 50, 4), (7, 13, 4), (3, 9, 8 / 3)])
def test_enlarging_back_to_a_map_of_odd_size_halves_the_jump(small, large, jump):
    deep = Span(large).window(kernel=1, stride=8, padding=0, dilation=1, cells=small)
    assert float(deep.interpolated(large, taps=1).jump) == pytest.approx(jump)


def test_branches_of_different_jumps_do_not_meet():
    plain = Span(8)
    strided = plain.window(kernel=1, stride=2, padding=0, dilation=1, cells=8)
    assert meet([(plain, plain), (strided, strided)]) is None


def test_an_unknown_branch_makes_the_sum_unknown():
    assert meet([(Span(8), Span(8)), None]) is None
    assert meet([]) is None


def test_a_pooled_gate_shows_every_cell_the_whole_map():
    plain = Span(8)
    gate = plain.whole()
    rows, _ = meet([(plain, plain), (gate, gate)])
    assert (rows.size, rows.cells) == (8, 8)
    later = rows.window(kernel=3, stride=1, padding=1, dilation=1, cells=8)
    assert later.size == 8, "a later window sees the same pixels through every gate"


def test_a_pooled_picture_spread_out_again_is_uniform():
    spread = Span(8).whole().interpolated(8, taps=2)
    assert (spread.size, spread.uniform) == (8, True)
    rows, _ = meet([(spread, spread), (spread, spread)])
    assert rows.size == 8
