"""No frame between two detections may be left open."""

import numpy as np
import pytest

from siseon.tracking import Track, enlarged, steady, tracks_of

NONE = np.zeros((0, 4))


def walk(count, *, speed=4.0, size=20.0, start=10.0):
    """The true box of an object that walks to the right, in each frame."""
    left = start + speed * np.arange(count)
    return np.stack((left, np.full(count, 30.0), left + size, np.full(count, 30.0 + size)), 1)


def covered(true, boxes):
    """The share of the true box that the boxes cover, at worst by one of them."""
    return max((_share(true, box) for box in boxes), default=0.0)


def _share(true, box):
    sides = np.minimum(true[2:], box[2:]) - np.maximum(true[:2], box[:2])
    return float(sides.clip(0).prod() / (true[2:] - true[:2]).prod())


@pytest.mark.parametrize("seed", range(8))
def test_dropped_detections_leave_no_open_frame(seed):
    """Of 120 frames half lose their detection, up to 11 in a row; every frame must be covered whole."""
    random = np.random.default_rng(seed)
    true, keep = walk(120, speed=3.0), random.random(120) < 0.5
    keep[40:51] = False
    found = [box[None] if kept else NONE for box, kept in zip(true, keep, strict=True)]
    open_before = sum(len(each) == 0 for each in found)
    boxes = steady(found, gap=12, hold=8)
    assert open_before > 40
    assert keep[:8].any() and keep[-8:].any()
    assert min(covered(*pair) for pair in zip(true, boxes, strict=True)) > 0.999


def test_an_object_is_hidden_before_it_is_found_and_after_it_is_lost():
    true = walk(30, speed=0)
    found = [true[0][None] if 10 <= number < 20 else NONE for number in range(30)]
    hidden = [len(each) for each in steady(found, gap=5, hold=4)]
    assert hidden == [0] * 6 + [1] * 18 + [0] * 6


def test_a_gap_that_is_too_long_is_left_and_the_ends_are_held():
    true = walk(40, speed=0)
    found = [true[0][None] if number in (5, 30) else NONE for number in range(40)]
    hidden = np.array([len(each) for each in steady(found, gap=10, hold=3)])
    assert np.flatnonzero(hidden).tolist() == [*range(2, 9), *range(27, 34)]
    assert np.array([len(each) for each in steady(found, gap=24, hold=0)])[5:31].all()


def test_two_objects_side_by_side_are_two_tracks():
    one, other = walk(20), walk(20, start=200.0)
    found = [np.stack(pair) for pair in zip(one, other, strict=True)]
    found[7], found[8] = found[7][:1], found[8][1:]
    tracks = tracks_of(found, gap=5)
    assert sorted(len(track.frames) for track in tracks) == [19, 19]
    boxes = steady(found, gap=5, hold=2)
    assert all(covered(a, row) > 0.999 and covered(b, row) > 0.999 for a, b, row in zip(one, other, boxes, strict=True))


def test_a_filled_box_is_between_its_neighbours_and_a_little_larger():
    frames, boxes = Track([0, 4], [np.array([0.0, 0, 10, 10]), np.array([40.0, 0, 50, 10])]).filled(hold=0, count=9)
    assert frames.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(boxes[2], [20 - 0.6, -0.6, 30 + 0.6, 10.6])
    np.testing.assert_allclose(boxes[[0, 4]], [[0, 0, 10, 10], [40, 0, 50, 10]])


def test_a_filled_box_does_not_grow_without_end():
    _, boxes = Track([0], [np.array([0.0, 0, 10, 10])]).filled(hold=100, count=200)
    np.testing.assert_allclose(boxes[-1], [-5, -5, 15, 15])


def test_nothing_stays_nothing():
    assert steady([], gap=5, hold=5) == []
    assert [len(each) for each in steady([NONE, NONE], gap=5, hold=5)] == [0, 0]


def test_enlarging_keeps_the_middle():
    np.testing.assert_allclose(enlarged(np.array([[10.0, 10, 30, 20]]), 0.5), [[0, 5, 40, 25]])
