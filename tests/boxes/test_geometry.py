"""Areas, overlaps, clipping and offsets: literal tables, properties, and a second implementation in plain loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.boxes import geometry

edge = st.integers(0, 20)
box = st.tuples(edge, edge, edge, edge).map(
    lambda e: [min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3])]
)
many = st.lists(box, max_size=6).map(lambda rows: torch.tensor(rows, dtype=torch.float32).reshape(-1, 4))
quick = settings(max_examples=25, deadline=None)


def loop_overlap(a, b):
    rows = torch.zeros(len(a), len(b))
    for i, (left, top, right, bottom) in enumerate(a.tolist()):
        for j, (other_left, other_top, other_right, other_bottom) in enumerate(b.tolist()):
            width = max(0, min(right, other_right) - max(left, other_left))
            height = max(0, min(bottom, other_bottom) - max(top, other_top))
            union = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
            union -= width * height
            rows[i, j] = width * height / union if union else 0
    return rows


def test_area_counts_no_extra_pixel():
    assert geometry.area(torch.tensor([[0.0, 0, 4, 3], [1, 1, 1, 5]])).tolist() == [12, 0]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1),
        ([0, 0, 10, 10], [5, 0, 15, 10], 1 / 3),
        ([0, 0, 10, 10], [2, 2, 7, 6], 0.2),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0),
        ([0, 0, 10, 10], [30, 30, 40, 40], 0),
        ([5, 5, 5, 5], [0, 0, 10, 10], 0),
        ([5, 5, 5, 5], [5, 5, 5, 5], 0),
        ([8, 8, 2, 2], [0, 0, 10, 10], 0),
    ],
)
def test_overlap(a, b, expected):
    assert geometry.overlap(torch.tensor([a]).float(), torch.tensor([b]).float()).item() == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b"), [(0, 3), (3, 0), (0, 0)])
def test_overlap_without_boxes_keeps_its_axes(a, b):
    assert geometry.overlap(torch.ones(a, 4), torch.ones(b, 4)).shape == (a, b)


@quick
@given(many, many)
def test_overlap_agrees_with_loops_and_is_symmetric(a, b):
    overlap = geometry.overlap(a, b)
    torch.testing.assert_close(overlap, loop_overlap(a, b))
    torch.testing.assert_close(overlap, geometry.overlap(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1)).all()


@quick
@given(many, st.integers(-50, 50), st.sampled_from([0.5, 2.0, 8.0]))
def test_overlap_does_not_depend_on_place_or_unit(boxes, shift, unit):
    torch.testing.assert_close(
        geometry.overlap((boxes + shift) * unit, (boxes + shift) * unit), geometry.overlap(boxes, boxes)
    )


def test_overlap_can_be_learned_from():
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 4, 8, 20]], dtype=torch.float64, requires_grad=True)
    others = torch.tensor([[1.0, 2, 9, 11], [50, 50, 60, 60]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda moved: geometry.overlap(moved, others), boxes)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([-5, -6, 5, 6], [0, 0, 5, 6]),
        ([90, 40, 130, 70], [90, 40, 100, 50]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([120, 60, 130, 70], [100, 50, 100, 50]),
    ],
)
def test_clip_takes_height_then_width(before, after):
    assert geometry.clip(torch.tensor([before]).float(), (50, 100)).tolist() == [after]


def test_large_enough_asks_both_sides():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1.9, 9], [0, 0, 9, 1], [9, 9, 0, 0]])
    assert geometry.large_enough(boxes, 2).tolist() == [True, False, False, False]


def test_scale_takes_the_vertical_factor_first():
    assert geometry.scale(torch.tensor([[1.0, 2, 3, 4]]), (10, 100)).tolist() == [[100, 20, 300, 40]]


def test_to_center():
    assert geometry.to_center(torch.tensor([[10.0, 20, 50, 100]])).tolist() == [[30, 60, 40, 80]]


@quick
@given(many)
def test_from_center_undoes_to_center(boxes):
    torch.testing.assert_close(geometry.from_center(geometry.to_center(boxes)), boxes)


ANCHORS = torch.tensor([[10.0, 20, 50, 100], [0, 0, 30, 30]])
OBJECTS = torch.tensor([[12.0, 15, 60, 90], [5, 6, 20, 44]])


@pytest.mark.parametrize(  # torchvision 0.28, BoxCoder.encode_single
    ("weights", "expected"),
    [
        ((1, 1, 1, 1), [[0.15, -0.09375, 0.1823216, -0.0645385], [-0.0833333, 0.3333333, -0.6931472, 0.2363888]]),
        ((10, 10, 5, 5), [[1.5, -0.9375, 0.911608, -0.3226926], [-0.8333333, 3.3333333, -3.4657359, 1.1819438]]),
    ],
)
def test_encode_as_torchvision(weights, expected):
    torch.testing.assert_close(geometry.encode(OBJECTS, ANCHORS, weights), torch.tensor(expected))


def test_decode_as_torchvision():
    offsets = torch.tensor([[0.1, -0.2, 0.3, 5, 1, 0, 0, -1], [0, 0, 0, 0, 2, -1, 0.5, 0.25]])
    expected = [  # torchvision 0.28, BoxCoder.decode_single
        [9.163267, -50.331268, 51.636734, 167.131271, 14, 27.250771, 54, 92.749229],
        [0, 0, 30, 30, 4.422436, -3.769066, 37.577564, 27.769066],
    ]
    torch.testing.assert_close(geometry.decode(offsets, ANCHORS, (10, 10, 5, 5)), torch.tensor(expected))


def test_no_offset_decodes_to_the_anchor():
    torch.testing.assert_close(geometry.decode(torch.zeros(2, 12), ANCHORS), ANCHORS.repeat(1, 3))


def test_decode_holds_the_growth():
    width = geometry.to_center(geometry.decode(torch.tensor([[0, 0, 1000.0, 0]]), ANCHORS[:1]))[0, 2]
    assert width.item() == pytest.approx(40 * 1000 / 16)


@pytest.mark.parametrize("columns", [4, 12])
def test_decode_without_boxes_keeps_its_axes(columns):
    assert geometry.decode(torch.zeros(0, columns), torch.zeros(0, 4)).shape == (0, columns)


def test_encode_without_boxes_keeps_its_axes():
    assert geometry.encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def test_decode_of_bfloat16_offsets_is_computed_in_float32():
    offsets = torch.tensor([[0.25, -0.5, 0.125, 0.75]], dtype=torch.bfloat16)
    boxes = geometry.decode(offsets, ANCHORS[:1] + 1000)
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes, geometry.decode(offsets.float(), ANCHORS[:1] + 1000))


side = st.floats(0.5, 200, width=32)
real_box = st.tuples(st.floats(-100, 500, width=32), st.floats(-100, 500, width=32), side, side)


@quick
@given(st.lists(st.tuples(real_box, real_box), min_size=1, max_size=5))
def test_decode_undoes_encode(pairs):
    boxes, anchors = (
        geometry.from_center(torch.tensor([pair[i] for pair in pairs], dtype=torch.float64)) for i in (0, 1)
    )
    # beyond the largest growth decode must not follow
    growth = (geometry.to_center(boxes) / geometry.to_center(anchors))[:, 2:].log()
    fits = (growth < math.log(1000 / 16)).all(1)
    weights = (10, 10, 5, 5)
    again = geometry.decode(geometry.encode(boxes, anchors, weights), anchors, weights)
    torch.testing.assert_close(again[fits], boxes[fits])
