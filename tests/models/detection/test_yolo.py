import math
from itertools import product

import numpy as np
import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

from siseon.boxes.geometry import overlap
from siseon.interface import Images, SiseonError
from siseon.models.detection.yolo import VARIANTS, Outputs, responsible, touched, truth_of, yolo

SIDE, CELL, CLASSES = 160, 16, 3


def mini(**arguments):
    torch.manual_seed(0)
    return yolo(**{**VARIANTS["yolo_mini"], "classes": CLASSES, "head_widths": (16,), **arguments})


def paper(**arguments):
    """The paper's network, with a thirty-second of its channels and a grid of 2 x 2."""
    return yolo(**{"classes": CLASSES, "width": 1 / 32, "hidden": 8, "grid": 2, "size": 128, **arguments})


def outputs(pictures=1, rows=10, columns=10, boxes=2, seed=0):
    """Made-up outputs with boxes of a size that objects have."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.rand(pictures, rows, columns, *shape, generator=random)

    raw = torch.cat((drawn(boxes, 2), 0.3 + 0.4 * drawn(boxes, 2)), -1)
    return Outputs(raw, drawn(boxes), drawn(CLASSES))


def loss_of(raw, targets, model=None):
    model = model or mini()
    model.forward = lambda images: raw
    images = torch.zeros(len(targets), 3, CELL * raw.boxes.shape[1], CELL * raw.boxes.shape[2])
    return {name: loss.item() for name, loss in model.loss(images, targets).items()}


def area_of(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def overlap_of(a, b):
    common = area_of((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return common / (area_of(a) + area_of(b) - common)


def is_touched(truth, row, column):
    """Whether a crowd region has a part of the cell."""
    for left, top, right, bottom in truth.boxes[truth.crowd].tolist():
        across = min(right, (column + 1) * CELL) > max(left, column * CELL)
        if across and min(bottom, (row + 1) * CELL) > max(top, row * CELL):
            return True
    return False


def object_of(truth, row, column, grid):
    """The largest object, (box, label), that has its centre in the cell; or None."""
    largest = None
    for box, label, crowd in zip(truth.boxes.tolist(), truth.labels.tolist(), truth.crowd.tolist(), strict=True):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        cell = min(int(y / CELL), grid[0] - 1), min(int(x / CELL), grid[1] - 1)
        if not crowd and cell == (row, column) and (largest is None or area_of(box) > area_of(largest[0])):
            largest = (box, label)
    return largest


def answer_of(boxes, truth, row, column):
    """Which of the boxes of a cell answers for the true box; the overlap of the two, and their squared error."""
    left, top, right, bottom = truth
    wanted = (
        (left + right) / 2 / CELL - column,
        (top + bottom) / 2 / CELL - row,
        math.sqrt((right - left) / SIDE),
        math.sqrt((bottom - top) / SIDE),
    )
    overlaps, errors = [], []
    for each in boxes:
        x, y = (column + each[0]) * CELL, (row + each[1]) * CELL
        half = each[2] ** 2 * SIDE / 2, each[3] ** 2 * SIDE / 2
        overlaps.append(overlap_of((x - half[0], y - half[1], x + half[0], y + half[1]), truth))
        errors.append(sum((a - b) ** 2 for a, b in zip(each, wanted, strict=True)))
    answer = int(np.argmax(overlaps) if max(overlaps) > 0 else np.argmin(errors))
    return answer, overlaps[answer], errors[answer]


def naive_loss(raw, targets):
    """Equation 3, cell by cell and box by box."""
    terms = {"box": 0.0, "object": 0.0, "background": 0.0, "class": 0.0}
    rows, columns = raw.boxes.shape[1:3]
    for (number, truth), row, column in product(enumerate(targets), range(rows), range(columns)):
        confidence = raw.confidence[number, row, column].tolist()
        here, answer = object_of(truth, row, column, (rows, columns)), None
        if here:
            boxes = raw.boxes[number, row, column].tolist()
            answer, covered, error = answer_of(boxes, here[0], row, column)
            terms["box"] += 5 * error
            terms["object"] += (confidence[answer] - covered) ** 2
            scores = raw.class_scores[number, row, column].tolist()
            terms["class"] += sum((score - (label == here[1])) ** 2 for label, score in enumerate(scores))
        if not is_touched(truth, row, column):
            terms["background"] += sum(0.5 * each**2 for box, each in enumerate(confidence) if box != answer)
    return {name: term / len(targets) for name, term in terms.items()}


AT_THE_EDGES = [[0.0, 0, 20, 20], [140, 0, 160, 30], [150, 150, 160, 160], [158, 10, 162, 150], [0, 100, 160, 160]]
SAME_CELL = [[40.0, 40, 60, 60], [30, 30, 70, 70], [46, 44, 54, 56], [100, 100, 120, 130]]


@pytest.mark.parametrize(
    "targets",
    [
        [target()],
        [NOTHING],
        [target(), NOTHING, target(BOXES[::-1])],
        [target(AT_THE_EDGES, [0, 1, 2, 0, 1])],
        [target(SAME_CELL, [0, 1, 2, 0])],
        [target(BOXES, LABELS, [True, False])],
        [target(BOXES, LABELS, [True, True]), target()],
        [target([*BOXES, [22, 30, 74, 84]], [0, 1, 2], [True, False, False])],
    ],
    ids=[
        "two objects",
        "no objects",
        "three pictures",
        "at the edges",
        "in the same cell",
        "a crowd region",
        "only crowd regions",
        "an object in a crowd region",
    ],
)
@pytest.mark.parametrize("boxes", [1, 2, 3])
def test_the_loss_is_equation_3(targets, boxes):
    raw = outputs(len(targets), boxes=boxes)
    assert loss_of(raw, targets, mini(boxes=boxes)) == pytest.approx(naive_loss(raw, targets), rel=1e-4)


def test_the_loss_on_a_grid_that_is_not_square():
    raw = outputs(rows=6, columns=10)
    truth = target([[0.0, 80, 20, 96], [120, 10, 160, 90]], [0, 1])
    assert loss_of(raw, [truth]) == pytest.approx(naive_loss(raw, [truth]), rel=1e-4)


def test_perfect_outputs_cost_nothing():
    raw = Outputs(torch.zeros(1, 10, 10, 2, 4), torch.zeros(1, 10, 10, 2), torch.zeros(1, 10, 10, CLASSES))
    for (left, top, right, bottom), label in zip(BOXES, LABELS, strict=True):
        x, y = (left + right) / 2 / CELL, (top + bottom) / 2 / CELL
        row, column = int(y), int(x)
        sides = math.sqrt((right - left) / SIDE), math.sqrt((bottom - top) / SIDE)
        raw.boxes[0, row, column, 1] = torch.tensor([x - column, y - row, *sides])
        raw.confidence[0, row, column, 1] = 1
        raw.class_scores[0, row, column, label] = 1
    assert loss_of(raw, [target()]) == pytest.approx(
        dict.fromkeys(("box", "object", "background", "class"), 0), abs=1e-9
    )
    (found,) = mini().detections(raw, Images.of(torch.zeros(1, 3, SIDE, SIDE)), 0.5)
    torch.testing.assert_close(found.boxes, torch.tensor(BOXES))
    assert (found.labels.tolist(), found.scores.tolist()) == (LABELS, [1, 1])


def test_without_overlap_the_nearest_box_answers():
    truth = torch.tensor([[0.0, 0, 10, 10]])
    boxes = torch.tensor([[[0.9, 0.9, 0.0, 0.0], [0.3, 0.3, 0.0, 0.0], [0.9, 0.9, 0.0, 0.1]]])
    answers, overlaps = responsible(boxes, torch.tensor([[0.3, 0.3, 0.25, 0.25]]), torch.full((1, 3, 4), 50.0), truth)
    assert (answers.tolist(), overlaps.tolist()) == ([1], [0])


def test_the_highest_overlap_answers():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    pixels = torch.tensor([[[0.0, 0, 10, 5], [0, 0, 10, 9]], [[20, 20, 40, 38], [0, 0, 10, 10]]])
    answers, overlaps = responsible(torch.zeros(2, 2, 4), torch.zeros(2, 4), pixels, truth)
    assert answers.tolist() == [1, 0]
    torch.testing.assert_close(overlaps, torch.tensor([0.9, 0.9]))


def test_of_objects_in_one_cell_the_largest_is_learnt_whatever_their_order():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        truth = truth_of([target([SAME_CELL[i] for i in order], order)], (10, 10), (CELL, CELL))
        assert sorted(zip(truth.labels.tolist(), truth.cells.tolist(), strict=True)) == [(1, [0, 3, 3]), (3, [0, 7, 6])]


def test_boxes_without_area_are_not_learnt():
    truth = truth_of([target([[10.0, 10, 10, 40], [20, 20, 40, 40]], [0, 1])], (10, 10), (CELL, CELL))
    assert truth.labels.tolist() == [1]


def test_cells_that_a_region_touches():
    cells = touched(torch.tensor([[17.0, 0, 48, 16], [159, 159, 160, 160]]), (10, 10), (CELL, CELL))
    assert cells.nonzero().tolist() == [[0, 1], [0, 2], [9, 9]]


def test_the_parameters_of_the_paper():
    """Figure 3, layer by layer: kernel x kernel x inputs x outputs + outputs, and the two connected layers."""
    convolutions = [(7, 3, 64), (3, 64, 192), (1, 192, 128), (3, 128, 256), (1, 256, 256), (3, 256, 512)]
    convolutions += [(1, 512, 256), (3, 256, 512)] * 4 + [(1, 512, 512), (3, 512, 1024)]
    convolutions += [(1, 1024, 512), (3, 512, 1024)] * 2 + [(3, 1024, 1024)] * 4
    counted = sum(kernel**2 * inputs * width + width for kernel, inputs, width in convolutions)
    counted += 7 * 7 * 1024 * 4096 + 4096 + 4096 * 7 * 7 * 30 + 7 * 7 * 30
    with torch.device("meta"):
        model = yolo(**VARIANTS["yolo"])
        raw = model(torch.zeros(1, 3, 448, 448))
    assert len(convolutions) == 24
    assert sum(part.numel() for part in model.parameters()) == counted == 271_703_550
    assert raw.boxes.shape == (1, 7, 7, 2, 4)
    assert raw.confidence.shape == (1, 7, 7, 2)
    assert raw.class_scores.shape == (1, 7, 7, 20)


def test_the_grid_of_named_backbones_follows_the_picture():
    with torch.device("meta"):
        model = yolo(**VARIANTS["yolo_mobilenet_v2"])
        assert model(torch.zeros(1, 3, 448, 448)).boxes.shape == (1, 14, 14, 2, 4)
        assert model(torch.zeros(1, 3, 96, 320)).class_scores.shape == (1, 3, 10, 20)


@pytest.mark.parametrize("norm", [False, True])
def test_the_network_of_the_paper_learns_and_predicts(norm):
    model = paper(norm=norm).train()
    sum(model.loss(torch.rand(2, 3, 128, 128), [target([[10.0, 10, 50, 60]], [2]), NOTHING]).values()).backward()
    assert [name for name, part in model.named_parameters() if part.grad is None] == []
    found = model.predict([torch.rand(3, 90, 200), torch.rand(3, 50, 40)], score=0.0, batch=2)
    assert all(len(each) <= 2 * 2 * 2 * CLASSES for each in found)
    assert (found[0].boxes[:, 2] <= 200).all()


def test_the_network_of_the_paper_refuses_another_grid():
    with pytest.raises(SiseonError, match=r"gives 4 x 2 cells, where the connected layers know 2 x 2\. Take"):
        paper()(torch.zeros(1, 3, 256, 128))


def test_pictures_are_stretched_to_squares():
    images = paper().batch([torch.zeros(3, 30, 90), torch.zeros(3, 200, 100)])
    assert (images.tensor.shape, images.sizes) == ((2, 3, 128, 128), ((128, 128), (128, 128)))


def test_scores_are_class_probability_times_confidence():
    raw = outputs()
    images = Images.of(torch.zeros(1, 3, SIDE, SIDE))
    (found,) = mini(threshold=1.0, limit=10**4).detections(raw, images, 0.0)
    products = raw.confidence[..., None] * raw.class_scores[..., None, :]
    assert len(found) == products.numel()
    torch.testing.assert_close(found.scores, products.flatten().sort(descending=True).values)


def test_linear_outputs_beyond_0_and_1_give_scores_between():
    raw = outputs()._replace(confidence=torch.full((1, 10, 10, 2), 1.5), class_scores=torch.full((1, 10, 10, 3), 2.0))
    raw.class_scores[..., 0] = -1
    (found,) = mini().detections(raw, Images.of(torch.zeros(1, 3, SIDE, SIDE)), 0.1)
    assert found.scores.unique().tolist() == [1]
    assert 0 not in found.labels


def test_of_boxes_that_overlap_the_best_of_a_class_stays():
    raw = Outputs(torch.zeros(1, 10, 10, 2, 4), torch.zeros(1, 10, 10, 2), torch.zeros(1, 10, 10, CLASSES))
    raw.boxes[0, 4, 4] = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.6, 0.5, 0.5, 0.5]])
    raw.confidence[0, 4, 4] = torch.tensor([0.6, 0.9])
    raw.class_scores[0, 4, 4] = torch.tensor([1.0, 0.0, 0.5])
    (found,) = mini().detections(raw, Images.of(torch.zeros(1, 3, SIDE, SIDE)), 0.1)
    assert found.labels.tolist() == [0, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.45])
    torch.testing.assert_close(found.boxes[0], torch.tensor([53.6, 52, 93.6, 92]))


def test_losses_are_finite_in_bfloat16():
    model = mini().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(picture()[None], [target()])
    sum(losses.values()).backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_frozen_stages_stay():
    model = mini(frozen=2, freeze_norm=True).train()
    sum(model.loss(picture()[None], [target()]).values()).backward()
    body = model.backbone.body
    assert all(part.grad is None for part in [*body.stem.parameters(), *body.layers["2"].parameters()])
    assert body.layers["3"][0].branch[0].conv.weight.grad is not None


def test_it_learns_a_picture_of_two_objects():
    model = mini(classes=("빨강", "초록"), head_widths=(64,)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 60)
    for _ in range(60):
        optimizer.zero_grad()
        sum(model.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
        schedule.step()
    for factor in (1, 2):
        enlarged = torch.nn.functional.interpolate(picture()[None], scale_factor=factor, mode="nearest")[0]
        (found,) = model.predict(enlarged)
        for label, box in enumerate(torch.tensor(BOXES) * factor):
            best = (found.labels == label).nonzero()[0, 0]
            assert overlap(found.boxes[best][None], box[None]).item() > 0.7
            assert found.scores[best] > 0.5
    assert found.names[0] in ("빨강", "초록")
