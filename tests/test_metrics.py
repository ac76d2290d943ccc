"""COCO's figures against a naive second program; confusion and accuracy against tables and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from siseon.interface import Detections, Target
from siseon.metrics import (
    Masks,
    coco_results,
    coco_scores,
    confusion_of_detections,
    confusion_of_labels,
    decoded,
    objects_by_size,
    precision_recall_f1,
    run_lengths,
    top_k,
)

CLASSES = ("고양이", "dog")
NAN = math.nan


def found(*rows):
    """Detections from rows (label, score, left, top, right, bottom)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, 2:], table[:, 0].long(), table[:, 1], CLASSES)


def true(*rows, crowd=()):
    """Objects from rows (label, left, top, right, bottom); crowd: the indices of those that are crowds."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    mask = torch.zeros(len(table), dtype=torch.bool)
    mask[list(crowd)] = True
    return Target(table[:, 1:], table[:, 0].long(), mask)


# --- a naive second program: plain loops, from the description of the metric -----


def naive_overlap(a, b, crowd):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    whole = area_a if crowd else area_a + area_b - width * height
    return width * height / whole if whole else 0.0


def naive_picture(detections, objects, threshold, span):
    """[(score, "right" | "wrong")] of one picture and class, and how many objects count."""
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box, _ in objects]
    skipped = [crowd or not span[0] <= size <= span[1] for (_, crowd), size in zip(objects, area, strict=True)]
    order = sorted(range(len(objects)), key=lambda index: skipped[index])
    taken, rows = set(), []
    for score, box in sorted(detections, key=lambda row: -row[0])[:100]:
        best, best_overlap = None, min(threshold, 1 - 1e-10)
        for index in order:
            true_box, crowd = objects[index]
            if index in taken and not crowd:
                continue
            if best is not None and not skipped[best] and skipped[index]:
                break
            value = naive_overlap(box, true_box, crowd)
            if value >= best_overlap:
                best, best_overlap = index, value
        if best is not None:
            taken.add(best)
            if not skipped[best]:
                rows.append((score, True))
        elif span[0] <= (box[2] - box[0]) * (box[3] - box[1]) <= span[1]:
            rows.append((score, False))
    return rows, sum(not skip for skip in skipped)


def naive_average_precision(predictions, truths, label, threshold, span):
    rows, objects = [], 0
    for detections, truth in zip(predictions, truths, strict=True):
        ours = [
            (score, box)
            for score, box, own in zip(
                detections.scores.tolist(), detections.boxes.tolist(), detections.labels.tolist(), strict=True
            )
            if own == label
        ]
        theirs = [
            (box, crowd)
            for box, crowd, own in zip(truth.boxes.tolist(), truth.crowd.tolist(), truth.labels.tolist(), strict=True)
            if own == label
        ]
        picture_rows, picture_objects = naive_picture(ours, theirs, threshold, span)
        rows += picture_rows
        objects += picture_objects
    if not objects:
        return None
    rows.sort(key=lambda row: -row[0])
    points, right = [], 0
    for count, (_, is_right) in enumerate(rows, start=1):
        right += is_right
        points.append((right / objects, right / count))
    steps = [max((p for r, p in points if r >= step), default=0.0) for step in np.linspace(0, 1, 101)]
    return sum(steps) / len(steps)


def naive_mean(predictions, truths, thresholds, span):
    values = [
        naive_average_precision(predictions, truths, label, threshold, span)
        for label in range(len(CLASSES))
        for threshold in thresholds
    ]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else NAN


# --- COCO -----


sides = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 110), st.integers(1, 110))
boxes = sides.map(lambda s: (s[0], s[1], s[0] + s[2], s[1] + s[3]))
pictures = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 1), st.booleans(), boxes), max_size=5),
        st.lists(st.tuples(st.integers(0, 1), boxes), max_size=6),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(pictures, st.randoms(use_true_random=False))
def test_coco_agrees_with_a_naive_program(drawn, random):
    truths, predictions = [], []
    for objects, guesses in drawn:
        truths.append(
            true(
                *[(label, *box) for label, _, box in objects],
                crowd=[index for index, (_, crowd, _) in enumerate(objects) if crowd],
            )
        )
        near = [(label, tuple(edge + random.choice((0, 0, 1, 2)) for edge in box)) for label, _, box in objects]
        predictions.append(found(*[(label, random.random(), *box) for label, box in guesses + near]))
    figures = coco_scores(predictions, truths, classes=CLASSES).figures
    all_thresholds, any_area = np.linspace(0.5, 0.95, 10), (0, 1e10)
    expected = {
        "AP50": naive_mean(predictions, truths, [0.5], any_area),
        "AP": naive_mean(predictions, truths, all_thresholds, any_area),
        "AP_small": naive_mean(predictions, truths, all_thresholds, (0, 32**2)),
        "AP_medium": naive_mean(predictions, truths, all_thresholds, (32**2, 96**2)),
        "AP_large": naive_mean(predictions, truths, all_thresholds, (96**2, 1e10)),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


CAT, DOG = (0, 10, 10, 50, 50), (1, 60, 60, 90, 90)

PERFECT = [
    ("all found", [found((0, 0.9, *CAT[1:]), (1, 0.8, *DOG[1:]))], [true(CAT, DOG)], 1.0, 1.0),
    ("nothing found", [found()], [true(CAT, DOG)], 0.0, 0.0),
    ("nothing there, nothing found", [found()], [true()], NAN, NAN),
    ("nothing there, something found", [found((0, 0.9, 0, 0, 5, 5))], [true()], NAN, NAN),
    ("no pictures", [], [], NAN, NAN),
    ("a class without pictures is left out of the mean", [found((0, 0.9, *CAT[1:]))], [true(CAT)], 1.0, 1.0),
    ("of the wrong class", [found((1, 0.9, *CAT[1:]))], [true(CAT)], 0.0, 0.0),
    ("twice found", [found((0, 0.9, *CAT[1:]), (0, 0.8, *CAT[1:]))], [true(CAT)], 1.0, 1.0),
    ("the wrong one first", [found((0, 0.9, 0, 0, 5, 5), (0, 0.8, *CAT[1:]))], [true(CAT)], 0.5, 0.5),
    ("half of it: overlap 0.5", [found((0, 0.9, 10, 10, 30, 50))], [true(CAT)], 1.0, 0.1),
    (
        "in a crowd",
        [found((0, 0.9, *CAT[1:]), (0, 0.95, 60, 60, 70, 70))],
        [true(CAT, (0, *DOG[1:]), crowd=[1])],
        1.0,
        1.0,
    ),
]


@pytest.mark.parametrize(
    ("predictions", "truths", "at_half", "mean"), [row[1:] for row in PERFECT], ids=[r[0] for r in PERFECT]
)
def test_coco_on_cases_that_a_person_can_check(predictions, truths, at_half, mean):
    figures = coco_scores(predictions, truths, classes=CLASSES).figures
    assert (figures["AP50"], figures["AP"]) == pytest.approx((at_half, mean), nan_ok=True, abs=1e-9)


def test_figures_of_each_class():
    scores = coco_scores([found((0, 0.9, *CAT[1:]))], [true(CAT, DOG, DOG, crowd=[2])], classes=CLASSES)
    assert scores.per_class == {
        "고양이": {"AP50": 1.0, "AP": 1.0, "AR100": 1.0, "objects": 1.0},
        "dog": {"AP50": 0.0, "AP": 0.0, "AR100": 0.0, "objects": 1.0},
    }


def test_known_areas_decide_the_sizes():
    arguments = ([found((0, 0.9, *CAT[1:]))], [true(CAT)])
    by_box = coco_scores(*arguments, classes=CLASSES).figures
    by_mask = coco_scores(*arguments, classes=CLASSES, areas=[torch.tensor([900.0])]).figures
    assert math.isnan(by_box["AP_small"]) and by_box["AP_medium"] == 1.0
    assert by_mask["AP_small"] == 1.0 and math.isnan(by_mask["AP_medium"])


def test_curve_of_a_class():
    predictions = [found((0, 0.9, *CAT[1:]), (0, 0.6, 0, 0, 5, 5), (0, 0.5, 60, 60, 90, 90))]
    curves = coco_scores(predictions, [true(CAT, (0, *DOG[1:]))], classes=CLASSES).curves
    curve = curves["고양이"]
    assert curve.precisions[[0, 50, 51, 100]].tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])
    assert curve.scores[[0, 100]].tolist() == pytest.approx([0.9, 0.5])
    assert np.isnan(curves["dog"].precisions).all()


def test_nothing_is_printed(capfd):
    coco_scores([found((0, 0.9, *CAT[1:]))], [true(CAT)], classes=CLASSES)
    assert capfd.readouterr() == ("", "")


def test_boxes_are_not_changed():
    predictions, truths = [found((0, 0.9, *CAT[1:]))], [true(CAT)]
    coco_scores(predictions, truths, classes=CLASSES)
    assert predictions[0].boxes.tolist() == truths[0].boxes.tolist() == [[10, 10, 50, 50]]


def test_results_are_in_cocos_format():
    assert coco_results(found((1, 0.5, 10, 20, 40, 60)), 7) == [
        {"image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40], "score": 0.5}
    ]


# --- masks -----


def filled(*boxes, size=(110, 120)):
    """Masks of whole boxes."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def coded(found_boxes, true_boxes):
    return Masks(run_lengths(filled(*found_boxes)), run_lengths(filled(*true_boxes)))


@settings(max_examples=30, deadline=None)
@given(pictures, st.randoms(use_true_random=False))
def test_masks_that_fill_their_boxes_are_judged_as_the_boxes(drawn, random):
    truths, predictions, masks = [], [], []
    for objects, guesses in drawn:
        crowd = [index for index, (_, is_crowd, _) in enumerate(objects) if is_crowd]
        truths.append(true(*[(label, *box) for label, _, box in objects], crowd=crowd))
        predictions.append(found(*[(label, random.random(), *box) for label, box in guesses]))
        whole = [[box for _, _, box in objects], [box for _, box in guesses]]
        masks.append(Masks(*(run_lengths(filled(*part, size=(180, 180))) for part in reversed(whole))))
    by_box = coco_scores(predictions, truths, classes=CLASSES)
    by_mask = coco_scores(predictions, truths, classes=CLASSES, masks=masks)
    assert by_mask.figures == pytest.approx(by_box.figures, nan_ok=True)


def test_a_mask_is_judged_by_its_own_overlap():
    box = (10, 10, 50, 50)
    half, most = (10, 10, 50, 30), (10, 10, 50, 42)
    for drawn, at_half, at_most in ((half, 1.0, 0.0), (most, 1.0, 1.0), ((10, 10, 50, 29), 0.0, 0.0)):
        scores = coco_scores([found((0, 0.9, *box))], [true((0, *box))], classes=CLASSES, masks=[coded([drawn], [box])])
        assert (scores.figures["AP50"], scores.figures["AP75"]) == (at_half, at_most)


def test_the_size_of_a_wrong_mask_is_its_own():
    big, thin = (0, 0, 100, 100), (0, 0, 100, 2)
    truths, guesses = [true((0, 105, 100, 115, 108))], [found((0, 0.9, *big), (0, 0.8, 105, 100, 115, 108))]
    masks = [coded([thin, (105, 100, 115, 108)], [(105, 100, 115, 108)])]
    assert coco_scores(guesses, truths, classes=CLASSES, masks=masks).figures["AP_small"] == pytest.approx(0.5)
    assert coco_scores(guesses, truths, classes=CLASSES).figures["AP_small"] == 1.0


def test_masks_come_back_from_their_codes():
    masks = torch.rand(3, 20, 30) > 0.5
    assert torch.equal(decoded(run_lengths(masks)), masks)
    assert decoded(run_lengths(masks[:0])).shape[0] == 0


# --- confusion -----

CONFUSIONS = [
    ("right", [found((0, 0.9, *CAT[1:]))], [true(CAT)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ("taken for another class", [found((1, 0.9, *CAT[1:]))], [true(CAT)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    ("missed", [found()], [true(CAT)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
    ("not sure enough", [found((0, 0.4, *CAT[1:]))], [true(CAT)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
    ("where nothing is", [found((1, 0.9, 0, 0, 5, 5))], [true()], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ("too far off", [found((0, 0.9, 30, 10, 70, 50))], [true(CAT)], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
    ("twice", [found((0, 0.9, *CAT[1:]), (1, 0.8, *CAT[1:]))], [true(CAT)], [[1, 0, 0], [0, 0, 0], [0, 1, 0]]),
    ("in a crowd", [found((1, 0.9, 65, 65, 75, 75))], [true(DOG, crowd=[0])], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ("no pictures", [], [], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
]


@pytest.mark.parametrize(
    ("predictions", "truths", "expected"), [row[1:] for row in CONFUSIONS], ids=[row[0] for row in CONFUSIONS]
)
def test_confusion_of_detections(predictions, truths, expected):
    assert confusion_of_detections(predictions, truths, classes=2).tolist() == expected


@settings(max_examples=40, deadline=None)
@given(pictures)
def test_confusion_counts_every_object_and_detection_once(drawn):
    truths = [true(*[(label, *box) for label, _, box in objects]) for objects, _ in drawn]
    predictions = [found(*[(label, 0.9, *box) for label, box in guesses]) for _, guesses in drawn]
    matrix = confusion_of_detections(predictions, truths, classes=2)
    assert matrix[:2].sum() == sum(len(truth.labels) for truth in truths)
    assert matrix[:, :2].sum() == sum(len(detections) for detections in predictions)
    assert matrix[2, 2] == 0


labelled = st.integers(2, 5).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=30),
    )
)


@settings(max_examples=60, deadline=None)
@given(labelled)
def test_classification_agrees_with_scikit_learn(drawn):
    classes, pairs = drawn
    labels, predicted = (torch.tensor(column) for column in zip(*pairs, strict=True))
    matrix = confusion_of_labels(predicted, labels, classes=classes)
    assert (matrix == confusion_matrix(labels, predicted, labels=range(classes))).all()
    ours = precision_recall_f1(matrix)
    theirs = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=np.nan)
    np.testing.assert_allclose(ours[:, 0], theirs[0])
    np.testing.assert_allclose(ours[:, 1], theirs[1])
    np.testing.assert_allclose(ours[:, 2], theirs[2])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 1000))
def test_top_k_agrees_with_scikit_learn(rows, count, seed):
    random = np.random.default_rng(seed)
    scores, labels = random.random((rows, 6)), random.integers(0, 6, rows)
    expected = top_k_accuracy_score(labels, scores, k=count, labels=range(6))
    assert top_k(torch.tensor(scores), torch.tensor(labels), count=count) == pytest.approx(expected)


def test_objects_are_counted_by_the_sizes_of_coco():
    sides = (5, 32, 33, 96, 97, 500)
    one = true(*[(0, 0, 0, side, side) for side in sides[:3]], (1, 0, 0, 9, 9), crowd=[3])
    two = true(*[(1, 0, 0, side, side) for side in sides[3:]])
    areas = [torch.tensor([25.0, 1024.0, 1089.0, 81.0]), torch.tensor([9216.0, 9409.0, 250_000.0])]
    assert objects_by_size([one, two], areas) == {"objects_small": 2, "objects_medium": 3, "objects_large": 3}
    assert set(objects_by_size([], []).values()) == {0}


def test_no_pictures_at_all():
    nothing = torch.zeros(0, dtype=torch.long)
    assert confusion_of_labels(nothing, nothing, classes=2).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(precision_recall_f1(np.zeros((2, 2), np.int64))).all()
    assert math.isnan(top_k(torch.zeros(0, 3), nothing, count=2))
