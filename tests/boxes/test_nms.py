"""Suppression: against plain loops, and what must hold whatever the boxes."""

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.boxes import _kernels, geometry
from siseon.boxes.nms import nms, nms_by_group

quick = settings(max_examples=25, deadline=None)


def crowd(count, seed=0):
    """Many boxes around few places, no two scores equal."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(max(count // 8, 1), 4, generator=generator) * torch.tensor([300.0, 200, 60, 60]) + 10
    boxes = places[torch.randint(len(places), (count,), generator=generator)]
    boxes = boxes + torch.randn(count, 4, generator=generator) * 4
    return geometry.from_center(boxes), torch.randperm(count, generator=generator) / max(count, 1)


crowds = st.tuples(st.integers(0, 90), st.integers(0, 10**6)).map(lambda pair: crowd(*pair))
thresholds = st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95])


def loop_nms(boxes, scores, threshold):
    overlaps = geometry.overlap(boxes, boxes).tolist()
    kept = []
    for index in sorted(range(len(boxes)), key=lambda index: (-scores[index].item(), index)):
        if all(overlaps[index][other] <= threshold for other in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "kept"),
    [
        ([], [], 0.5, []),
        ([[0, 0, 10, 10]], [0.1], 0.5, [0]),
        ([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], [0.5, 0.9, 0.1], 0.5, [1, 2]),
        ([[0, 0, 10, 10], [6, 0, 16, 10]], [0.5, 0.9], 0.25, [1, 0]),  # as much as the threshold is not more
        ([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.5], 0.5, [0, 1]),
        ([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.5], 0.4999999, [0]),
        ([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], [0.5, 0.5, 0.5], 0.5, [0]),
        ([[0, 0, 10, 10], [40, 40, 50, 50], [80, 80, 90, 90]], [0.5, 0.7, 0.5], 0.5, [1, 0, 2]),
        ([[5, 5, 5, 5], [5, 5, 5, 5]], [0.5, 0.7], 0.5, [1, 0]),  # two points share no area
    ],
)
def test_nms(boxes, scores, threshold, kept):
    found = nms(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), threshold)
    assert found.tolist() == kept
    assert found.dtype == torch.int64


@quick
@given(crowds, thresholds)
def test_nms_agrees_with_loops(crowd, threshold):
    boxes, scores = crowd
    assert nms(boxes, scores, threshold).tolist() == loop_nms(boxes, scores, threshold)


@quick
@given(crowds, thresholds)
def test_survivors_are_apart_sorted_and_led_by_the_best(crowd, threshold):
    boxes, scores = crowd
    kept = nms(boxes, scores, threshold)
    overlaps = geometry.overlap(boxes[kept], boxes[kept]).fill_diagonal_(0)
    assert (overlaps <= threshold).all()
    assert scores[kept].tolist() == sorted(scores[kept].tolist(), reverse=True)
    assert kept[:1].tolist() == ([scores.argmax().item()] if len(boxes) else [])


@quick
@given(crowds, thresholds)
def test_nms_of_survivors_changes_nothing(crowd, threshold):
    boxes, scores = crowd
    kept = nms(boxes, scores, threshold)
    assert nms(boxes[kept], scores[kept], threshold).tolist() == list(range(len(kept)))


@quick
@given(crowds, thresholds)
def test_the_order_of_the_boxes_does_not_matter(crowd, threshold):
    boxes, scores = crowd
    shuffled = torch.randperm(len(boxes))
    assert (
        shuffled[nms(boxes[shuffled], scores[shuffled], threshold)].tolist() == nms(boxes, scores, threshold).tolist()
    )


@pytest.mark.parametrize("limit", [0, 1, 7, 32, 10**6])
def test_a_limit_is_a_cut(limit):
    boxes, scores = crowd(500)
    assert nms(boxes, scores, 0.5, limit=limit).tolist() == nms(boxes, scores, 0.5)[:limit].tolist()


def test_nothing_is_suppressed_where_nothing_meets():
    """More survivors than one block of the kernel holds."""
    corners = torch.stack(torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij"), 2).reshape(-1, 2) * 10
    boxes = torch.cat([corners, corners + 9], dim=1)
    assert len(nms(boxes, torch.rand(144), 0.0)) == 144


GROUPED = [
    ([], [], []),
    ([[0, 0, 10, 10]] * 3, [7, -7, 7], [0, 1]),
    ([[0, 0, 10, 10]] * 3, [10**12, 5, 0], [0, 1, 2]),
]


@pytest.mark.parametrize(("boxes", "groups", "kept"), GROUPED)
def test_groups_do_not_meet(boxes, groups, kept):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    scores = torch.linspace(1, 0.5, len(boxes))
    assert nms_by_group(boxes, scores, torch.tensor(groups, dtype=torch.int64), 0.5).tolist() == kept


@quick
@given(crowds, thresholds, st.integers(1, 9))
def test_each_group_is_suppressed_by_itself(crowd, threshold, count):
    boxes, scores = crowd
    groups = torch.randint(count, (len(boxes),))
    kept = []
    for group in range(count):
        members = (groups == group).nonzero().flatten()
        kept += members[loop_nms(boxes[members], scores[members], threshold)].tolist()
    kept.sort(key=lambda index: -scores[index].item())
    assert nms_by_group(boxes, scores, groups, threshold).tolist() == kept
    assert nms_by_group(boxes, scores, groups, threshold, limit=5).tolist() == kept[:5]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_compared_in_float32(dtype):
    boxes, scores = crowd(60)
    boxes = boxes.to(dtype)
    assert nms(boxes, scores.to(torch.float64), 0.5).tolist() == loop_nms(boxes.float(), scores, 0.5)


def test_boxes_that_are_being_learned_are_accepted():
    boxes, scores = crowd(20)
    expected = nms(boxes, scores, 0.5)
    assert torch.equal(nms(boxes.requires_grad_(), scores.requires_grad_(), 0.5), expected)


def test_boxes_that_are_not_numbers_suppress_nothing():
    boxes = torch.tensor([[0, 0, 10, 10], [torch.nan, 0, 10, 10], [0, 0, 10, 10]])
    assert nms(boxes, torch.tensor([0.5, 0.9, 0.7]), 0.5).tolist() == [1, 2]


def test_kernels_work_where_nothing_can_be_written(monkeypatch):
    compile_really = numba.njit

    def read_only(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_really(**options)

    monkeypatch.setattr(numba, "njit", read_only)
    transposed = _kernels.compiled(_kernels.transposed.py_func)
    target = np.zeros((3, 2), np.float32)
    transposed(np.arange(6, dtype=np.float32).reshape(2, 3), target)
    assert target.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_numba_is_imported_on_first_use_only(fresh_python):
    code = "import sys, siseon.boxes.nms, siseon.boxes.roi; print('numba' in sys.modules)"
    assert fresh_python(code).stdout.strip() == "False"
