"""Random changes of pictures: picture, boxes and masks move together, and nothing degenerate comes out."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from faster_coco_eval.core import mask as coco_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon.data.augment import FILL, Augment, Crop, mask, move, outline, placement, runs, warp
from siseon.data.dataset import Annotation
from siseon.interface import Sizing

STILL = {"flip": 0, "scale": (1, 1), "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def generator(seed=0):
    return np.random.default_rng(seed)


def annotated(boxes=(), **more):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Annotation("a", boxes=boxes, labels=np.arange(len(boxes)), crowd=np.zeros(len(boxes), bool), **more)


def smooth_picture(size, seed=0):
    picture = generator(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    return cv2.GaussianBlur(picture, (0, 0), 2)


def interpolated(picture, size):
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    scaled = F.interpolate(tensor, size, mode="bilinear", align_corners=False)
    return scaled[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (33, 71), (1, 9)])
@pytest.mark.parametrize("sizing", [Sizing(32, 48), Sizing(100, 133), Sizing(57, 91), Sizing(48, 64)])
def test_without_changes_it_is_the_bilinear_scaling_of_prediction(size, sizing):
    picture = smooth_picture(size)
    placed, _ = Augment.none().place(picture, annotated(), generator(), frame=sizing)
    assert placed.shape[:2] == sizing.fit(size)
    assert np.abs(placed - interpolated(picture, sizing.fit(size))).max() <= 1


@pytest.mark.parametrize(
    ("frame", "size", "target", "factors"),
    [
        (Sizing(800, 1333), (480, 640), (800, 1066), (800 / 480, 1066 / 640)),
        (Sizing(800, 1333), (300, 900), (444, 1333), (444 / 300, 1333 / 900)),
        (Crop(256, 224), (512, 1024), (224, 224), (0.5, 0.5)),
        (Crop(32, 32), (64, 64), (32, 32), (0.5, 0.5)),
    ],
)
def test_placement(frame, size, target, factors):
    assert placement(frame, size) == (target, pytest.approx(factors))


def test_a_classifier_sees_the_middle():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[10:30, 30:50] = 255  # the middle 20 x 20
    placed, _ = Augment.none().place(picture, annotated(), generator(), frame=Crop(40, 20))
    assert (placed == 255).all()


def test_large_pictures_are_averaged_for_a_classifier():
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[::2] = 255
    placed, _ = Augment.none().place(picture, annotated(), generator(), frame=Crop(40, 40))
    assert abs(placed.mean() - 127.5) < 2
    assert placed.std() < 2


@pytest.mark.parametrize(
    ("matrix", "boxes", "wanted", "crowd"),
    [
        (IDENTITY, [], [], []),
        (IDENTITY, [[1, 2, 5, 7]], [[1, 2, 5, 7]], [False]),
        ([[2, 0, 0], [0, 3, 0]], [[1, 2, 5, 7]], [[2, 6, 10, 20]], [False]),
        ([[-1, 0, 20], [0, 1, 0]], [[1, 2, 5, 7]], [[15, 2, 19, 7]], [False]),
        ([[1, 0, -3], [0, 1, 0]], [[1, 2, 5, 7]], [[0, 2, 2, 7]], [False]),
        ([[1, 0, -4], [0, 1, 0]], [[1, 2, 5, 7]], [[0, 2, 1, 7]], [True]),
        ([[1, 0, -4.5], [0, 1, 0]], [[1, 2, 5, 7]], [], []),
        ([[1, 0, 30], [0, 1, 0]], [[1, 2, 5, 7]], [], []),
        (IDENTITY, [[3, 3, 3, 9], [1, 1, 1.5, 9], [0, 0, 20, 20]], [[0, 0, 20, 20]], [False]),
        (IDENTITY, [[math.nan, 0, 5, 5], [0, 0, math.inf, 5], [0, 0, 2, 2]], [[0, 0, 2, 2]], [False]),
        ([[0, -1, 20], [1, 0, 0]], [[1, 2, 5, 7]], [[13, 1, 18, 5]], [False]),
    ],
)
def test_boxes_move(matrix, boxes, wanted, crowd):
    moved = move(annotated(boxes), np.array(matrix, float), (20, 20), visible=0.3, masks=False)
    np.testing.assert_allclose(moved.boxes, np.reshape(wanted, (-1, 4)), atol=1e-5)
    assert moved.crowd.tolist() == crowd
    assert len(moved.labels) == len(moved.boxes)
    assert moved.boxes.dtype == np.float32


def test_crowd_stays_crowd():
    annotation = Annotation(
        "a", boxes=np.array([[0, 0, 5, 5]], np.float32), labels=np.zeros(1, int), crowd=np.ones(1, bool)
    )
    assert move(annotation, IDENTITY, (9, 9), visible=0.3, masks=False).crowd.tolist() == [True]


def test_a_turned_object_is_boxed_by_its_outline():
    turn = np.array([[0.5**0.5, -(0.5**0.5), 20], [0.5**0.5, 0.5**0.5, 0]])
    diamond = (np.array([[10.0, 5], [15, 10], [10, 15], [5, 10]]),)
    loose = move(annotated([[5, 5, 15, 15]]), turn, (40, 40), visible=0.3, masks=False).boxes[0]
    tight = move(annotated([[5, 5, 15, 15]], segments=(diamond,)), turn, (40, 40), visible=0.3, masks=False).boxes[0]
    assert loose[2] - loose[0] == pytest.approx(10 * 2**0.5, abs=1e-4)
    assert tight[2] - tight[0] == pytest.approx(10 / 2**0.5, abs=1e-4)


def test_an_object_without_an_outline_is_boxed_by_its_box():
    turn = np.array([[0.0, -1, 20], [1, 0, 0]])
    for nothing in ((), np.zeros((20, 20), bool)):
        moved = move(annotated([[1, 2, 5, 7]], segments=(nothing,)), turn, (20, 20), visible=0.3, masks=False)
        np.testing.assert_allclose(moved.boxes, [[13, 1, 18, 5]], atol=1e-5)


def extent(found):
    rows, columns = np.nonzero(found)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), turned=st.booleans())
def test_picture_boxes_and_masks_move_together(seed, turned):
    numbers = generator(seed)
    drawn = np.zeros((60, 80), bool)
    left, top = numbers.integers(0, 50), numbers.integers(0, 35)
    width, height = numbers.integers(12, 30), numbers.integers(12, 25)
    drawn[top : top + height, left : left + width] = True
    picture = np.where(drawn[:, :, None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    strong = {"rotate": 40, "shear": 15, "translate": 0.1} if turned else {}
    augment = Augment(**{**STILL, "flip": 0.5, "scale": (0.6, 1.8), **strong})
    annotation = annotated([extent(drawn)], segments=(drawn,))
    placed, moved = augment.place(picture, annotation, numbers, frame=Sizing(60, 80), masks=True)
    seen = (placed[:, :, 0] >= 128) & (placed[:, :, 1] >= 128)
    if len(moved.boxes):
        assert (moved.segments[0] == seen).mean() > 0.99  # the border of FILL may differ
        if seen.sum() > 30 and not turned:
            assert np.abs(moved.boxes[0] - extent(seen)).max() <= 1
        if seen.sum() > 30:
            around = extent(seen)
            assert (moved.boxes[0][:2] <= around[:2] + 1.5).all()
            assert (moved.boxes[0][2:] >= around[2:] - 1.5).all()
    else:
        assert seen.sum() < 60


def test_a_mirror_is_exact():
    picture = smooth_picture((40, 50))
    placed, moved = Augment(**{**STILL, "flip": 1}).place(
        picture, annotated([[0, 1, 10, 20]]), generator(), frame=Sizing(40, 50)
    )
    assert (placed == picture[:, ::-1]).all()
    assert moved.boxes.tolist() == [[40, 1, 50, 20]]


def test_shrinking_fills_with_the_mean_colour():
    picture = np.full((40, 50, 3), 255, np.uint8)
    placed, moved = Augment(**{**STILL, "scale": (0.5, 0.5)}).place(
        picture, annotated([[0, 0, 50, 40]]), generator(3), frame=Sizing(40, 50)
    )
    white = (placed == 255).all(axis=2)
    assert abs(white.sum() - 20 * 25) < 60
    assert (placed == FILL).all(axis=2).sum() > 40 * 50 - 21 * 26 - 100
    assert (moved.boxes[0][2:] - moved.boxes[0][:2]).tolist() == pytest.approx([25, 20])


def test_no_strength_changes_no_colour():
    assert Augment.none().colours(generator()) is None
    barely = Augment(brightness=1e-12, contrast=0, saturation=0, hue=0).colours(generator())
    np.testing.assert_allclose(barely, np.eye(3, 4), atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_colours_against_their_meaning(seed):
    picture = smooth_picture((9, 9)).astype(float)

    def changed(**strengths):
        colours = Augment(**{**STILL, **strengths}).colours(generator(seed))
        return picture @ colours[:, :3].T + colours[:, 3]

    draws = generator(seed)
    brightness, contrast, saturation, hue = (draws.uniform(-1, 1) for _ in range(4))
    luma = (picture @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_allclose(changed(brightness=0.5), picture * (1 + 0.5 * brightness), atol=1e-6)
    np.testing.assert_allclose(changed(contrast=0.5), (picture - 128) * (1 + 0.5 * contrast) + 128, atol=1e-6)
    np.testing.assert_allclose(changed(saturation=0.5), luma + (picture - luma) * (1 + 0.5 * saturation), atol=1e-6)
    turned = changed(hue=90)
    np.testing.assert_allclose(turned @ [0.299, 0.587, 0.114], luma[..., 0], atol=1e-6)
    grey = np.full((1, 1, 3), 77.0)
    colours = Augment(**{**STILL, "hue": 90}).colours(generator(seed))
    np.testing.assert_allclose(grey @ colours[:, :3].T + colours[:, 3], grey, atol=1e-6)
    assert (abs(turned - picture).max() > 1) == (abs(hue) > 0.05)


def test_the_same_numbers_give_the_same_picture():
    picture, annotation = smooth_picture((50, 60)), annotated([[1, 2, 30, 40]])
    strong = Augment(rotate=20, shear=10, translate=0.1)
    one, other, third = (strong.place(picture, annotation, generator(seed), frame=Sizing(50, 60)) for seed in (4, 4, 5))
    assert (one[0] == other[0]).all()
    assert (one[1].boxes == other[1].boxes).all()
    assert (one[0] != third[0]).any()


@pytest.mark.parametrize("polygons", [1, 2])
def test_a_polygon_becomes_the_pixels_within(polygons):
    square = np.array([[2.0, 3], [8, 3], [8, 7], [2, 7]])
    segment = (square, square + np.array([3, 2]))[:polygons]
    wanted = np.zeros((12, 12), bool)
    for index in range(polygons):
        wanted[3 + 2 * index : 7 + 2 * index, 2 + 3 * index : 8 + 3 * index] = True
    assert (mask(segment, (12, 12)) == wanted).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 40), width=st.integers(1, 50))
def test_polygons_are_drawn_as_coco_draws_them(seed, height, width):
    numbers = generator(seed)
    shift = numbers.uniform(-20, 40, (3, 1, 2))
    segment = tuple(numbers.uniform(-12, 25, (3, 5, 2)) + shift)[: numbers.integers(1, 4)]
    codes = coco_mask.frPyObjects([points.ravel().tolist() for points in segment], height, width)
    assert (mask(segment, (height, width)) == coco_mask.decode(coco_mask.merge(codes))).all()


@pytest.mark.parametrize("segment", [(), (np.zeros((0, 2)),), (np.array([[1.0, 1], [5, 5]]),)])
def test_what_has_no_area_is_no_pixel(segment):
    assert not mask(segment, (8, 9)).any()
    assert coco_mask.area(runs(segment, (8, 9))) == 0


def test_runs_hold_what_the_mask_shows():
    triangle = (np.array([[1.0, 1], [9, 2], [4, 8]]),)
    drawn = mask(triangle, (10, 12))
    assert drawn.any()
    assert (coco_mask.decode(runs(triangle, (10, 12))) == drawn).all()
    assert (coco_mask.decode(runs(drawn, (10, 12))) == drawn).all()


@pytest.mark.parametrize(
    ("segment", "wanted"),
    [
        ((np.array([[1.0, 2], [5, 2], [5, 9]]), np.array([[7.0, 1], [8, 3], [7, 4]])), [1, 1, 8, 9]),
        (np.pad(np.ones((3, 4), bool), ((2, 5), (1, 5))), [1, 2, 5, 5]),
    ],
)
def test_an_outline_reaches_as_far_as_the_segment(segment, wanted):
    points = outline(segment)
    assert [*points.min(axis=0), *points.max(axis=0)] == wanted


def test_a_grey_mask_keeps_its_shape():
    found = warp(np.ones((10, 20), np.uint8), IDENTITY * 0.5, (5, 10), smooth=False)
    assert found.shape == (5, 10)
    assert (found == 1).all()


@pytest.mark.parametrize("seed", range(8))
def test_cutout_wipes_one_square(seed):
    picture = np.zeros((40, 60, 3), np.uint8)
    augment = Augment(flip=0, scale=(1, 1), brightness=0, contrast=0, saturation=0, hue=0, cutout=0.5)
    changed, _ = augment.place(picture, Annotation("a"), np.random.default_rng(seed), frame=Sizing(40, 60, 1))
    wiped = (changed == FILL).all(axis=2)
    rows, columns = np.flatnonzero(wiped.any(1)), np.flatnonzero(wiped.any(0))
    assert wiped.sum() == len(rows) * len(columns) <= 20 * 20
    assert 10 <= len(rows) <= 20
    assert 10 <= len(columns) <= 20
    assert not changed[~wiped].any()
