import hashlib
import math
import pickle

import numpy as np
import pytest

from siseon.data import scenes as drawn
from siseon.data.scene_sentences import CLASSES, KOREAN, Thing
from siseon.data.scenes import SPLITS, Scenes, scenes
from siseon.interface import DataError

RED, GREEN, BLUE, YELLOW, ORANGE = range(5)
CIRCLE, SQUARE, TRIANGLE, STAR, DIGIT = range(5)


@pytest.mark.parametrize(
    "split, index, options, digest",
    [
        ("train", 0, {}, "739a13791c9309956abe629c170f59a46f5dbd7b57ca76b0dc3a853ce8b54de8"),
        ("train", 1999, {}, "9a5a7903d1ffbab67d6cb49ce9a344343d2d2d4e39d5437789f7d3dd3568671b"),
        ("val", 7, {}, "ee321a6f1b69bbe8295a51786d8da02ba8a93749815afc70bd11ff3b887644be"),
        ("test", 299, {}, "13cac57f940816b0f1e6bc5c42355a5ecdea4114ef3a2e3f7eebe0835da50043"),
        ("test", 0, {"seed": 3, "size": 96}, "1c10e61e70c331f56b7f8e28c9fd6b3a059ef535cebc55fb39c853edcd757953"),
        ("test", 1, {"size": 300}, "0ed18762b67b69f70b9aac40364f0164d9db9846155aca2b4a93d31c17bcbab5"),
    ],
)
def test_pixels_and_masks_are_the_same_everywhere(split, index, options, digest):
    data = Scenes(split, **options)
    content = data.picture(index).tobytes() + data.semantic(index).tobytes()
    assert hashlib.sha256(content).hexdigest() == digest


def test_scenes_has_three_splits():
    data = scenes(seed=5)
    assert (data.name, data.task, data.classes) == ("scenes", "detection", CLASSES)
    assert {split: len(part) for split, part in data} == {"train": 2000, "val": 200, "test": 300}
    assert all((part.task, part.classes, part.seed) == ("detection", CLASSES, 5) for _, part in data)


def test_every_class_has_a_korean_name():
    assert list(KOREAN) == list(CLASSES)


def test_splits_and_seeds_differ():
    pictures = {
        Scenes(split, seed=seed).picture(index).tobytes() for split in SPLITS for seed in (0, 1) for index in range(4)
    }
    assert len(pictures) == 24


def test_the_order_of_asking_does_not_matter():
    data = Scenes("val", 40)
    forwards = [data.picture(index) for index in range(40)]
    drawn._scene.cache_clear()
    for index in reversed(range(40)):
        np.testing.assert_array_equal(data.picture(index), forwards[index])


def test_what_is_given_may_be_changed():
    data = Scenes("val", 1)
    before = data.picture(0)
    data.picture(0)[:] = 0
    data.annotation(0).boxes[:] = 0
    data.semantic(0)[:] = 9
    np.testing.assert_array_equal(data.picture(0), before)
    assert data.annotation(0).boxes.all(axis=0).any()


def test_can_be_sent_to_a_worker():
    data = Scenes("test", 5, seed=2, size=100)
    assert pickle.loads(pickle.dumps(data)) == data


@pytest.mark.parametrize("index", [-1, 3])
def test_ends(index):
    data = Scenes("train", 3)
    with pytest.raises(IndexError):
        data.picture(index)


@pytest.mark.parametrize("size", [0, 63, 301])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(DataError, match="64 to 300"):
        Scenes("train", size=size)


@pytest.mark.parametrize("size", [64, 160, 300])
def test_annotations_agree_with_their_masks(size):
    data = Scenes("train", 40, size=size)
    for index in range(len(data)):
        annotation = data.annotation(index)
        assert annotation.name == f"scenes/train/{index:06d}"
        assert annotation.size == (size, size) == data.picture(index).shape[:2]
        assert 1 <= len(annotation.labels) <= 6
        assert len(annotation.labels) == len(annotation.boxes) == len(annotation.segments) == len(annotation.crowd)
        assert annotation.boxes.dtype == np.float32 and annotation.labels.dtype == np.int64
        semantic = np.zeros((size, size), np.uint8)
        for label, box, mask in zip(annotation.labels, annotation.boxes, annotation.segments, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert not semantic[mask].any(), "masks overlap"
            semantic[mask] = label + 1
        np.testing.assert_array_equal(data.semantic(index), semantic)


def test_every_class_and_number_of_objects_occurs():
    annotations = [Scenes("train").annotation(index) for index in range(120)]
    labels = np.concatenate([annotation.labels for annotation in annotations])
    assert np.bincount(labels).min() > 40
    assert {len(annotation.labels) for annotation in annotations} == {1, 2, 3, 4, 5, 6}


def test_objects_have_small_and_large_sides():
    boxes = np.concatenate([Scenes("train").annotation(index).boxes for index in range(120)])
    longest = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert longest.min() <= 16 and longest.max() >= 80


@pytest.mark.parametrize(
    "kind, area",
    [
        ("circle", math.pi),
        ("square", 2 * 1.25**2),
        ("triangle", 3 * math.sqrt(3) / 4 * 1.375**2),
        ("star", 1.12257 * 1.4375**2),
    ],
)
@pytest.mark.parametrize("turn", [0, 14, 50])
def test_shapes_have_the_area_of_their_formula(kind, area, turn):
    coverage = drawn._shape(kind, 64, turn)
    assert coverage.max() == drawn.FULL
    assert coverage.sum() / drawn.FULL == pytest.approx(area * 32**2, rel=0.02)


def naive_corner_distance(kind, turn):
    """The distance of the farthest covered sample from the centre of the uncut shape, per radius of its circle."""
    coverage = drawn._shape(kind, 64, turn)
    centre = np.average(np.stack(np.nonzero(coverage)), axis=1, weights=coverage[coverage > 0])
    return np.linalg.norm(np.stack(np.nonzero(coverage)).T - centre, axis=1).max() / 32


@pytest.mark.parametrize("kind, radius", [("circle", 1), ("square", 1.25), ("triangle", 1.375), ("star", 1.4375)])
def test_shapes_reach_their_corners(kind, radius):
    assert naive_corner_distance(kind, 10) == pytest.approx(radius, abs=0.04)


def test_turns_are_whole_circles_of_cosines_that_every_machine_rounds_alike():
    exact = [1024 * math.cos(math.tau * step / 120) for step in range(120)]
    assert all(abs(abs(value - turn) - 0.5) > 1e-6 for value, turn in zip(exact, drawn.TURNS, strict=True))
    assert all(abs(value - turn) < 0.5 for value, turn in zip(exact, drawn.TURNS, strict=True))


@pytest.mark.parametrize("split", SPLITS)
def test_digits_are_those_of_their_split(split):
    originals = drawn.digits.originals(split)[0]
    coverage = drawn._digit(split, 3, 80)
    ink = originals[3][np.ix_(originals[3].any(axis=1), originals[3].any(axis=0))]
    assert coverage.max() == drawn.FULL
    assert coverage.shape[0] == pytest.approx(10 * ink.shape[0], abs=10)


@pytest.mark.parametrize(
    "covered, allowed",
    [
        ([], True),
        ([0, 0, 0], True),
        ([1, 1], True),
        ([1, 1, 1], False),
        ([1, 0], True),
        ([2], False),
    ],
)
def test_three_quarters_stay_visible(covered, allowed):
    owners = np.array([[0] * 7, [1] * 6 + [0], [1] * 4 + [2] * 3, [2] * 4 + [0] * 3])
    assert drawn._leaves_visible(np.array(covered, np.int64), owners, [10, 9]) is allowed


@pytest.mark.parametrize(
    "colour, below, visible",
    [
        (RED, [(214, 40, 40)] * 8, False),
        (RED, [(40, 214, 40)] * 8, True),
        (RED, [(40, 214, 40)] * 7 + [(214, 40, 40)], True),
        (RED, [(40, 214, 40)] * 6 + [(214, 40, 40)] * 2, False),
    ],
)
def test_things_stand_out_from_what_is_below(colour, below, visible):
    assert drawn._stands_out(Thing(CIRCLE, colour), np.array(below, np.uint8)) is visible
