import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, target

from siseon.boxes.geometry import clip, decode, encode, overlap
from siseon.models.detection.fast_rcnn import WEIGHTS, BoxHead

SIZE = (160, 160)


def head(**arguments):
    return BoxHead(4, **{"classes": 3, "hidden": 8, "pooled": 2, **arguments})


def jittered(count=6):
    return torch.tensor(BOXES).repeat(count, 1) + torch.linspace(-4, 4, 2 * count)[:, None]


def test_outputs_have_one_class_more_for_the_background():
    class_logits, offsets = head()(torch.rand(5, 4, 2, 2))
    assert (class_logits.shape, offsets.shape) == ((5, 4), (5, 16))


def test_regions_come_in_the_order_of_the_pictures():
    features = [torch.zeros(2, 4, 40, 40), torch.zeros(2, 4, 20, 20)]
    features[0][1] = 7
    boxes = [torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([[0.0, 0, 60, 60], [20, 20, 90, 90]])]
    pooled = head().pool(features, boxes, (4, 8))
    assert pooled.mean((1, 2, 3)).tolist() == [0, 7, 7]


def test_true_boxes_join_the_proposals():
    boxes, outputs, wanted = head().chosen(torch.zeros(0, 4), target())
    assert sorted(boxes.tolist()) == BOXES
    assert sorted(outputs.tolist()) == [label + 1 for label in LABELS]
    assert torch.equal(wanted, torch.zeros(2, 4))


def test_what_to_learn_from_each_sample():
    truth = target()
    proposals = torch.cat([jittered(), torch.tensor([[0.0, 100, 30, 150]])])
    boxes, outputs, wanted = head().chosen(proposals, truth)
    positives = outputs > 0
    assert positives[: len(wanted)].all()
    assert not positives[len(wanted) :].any()
    for box, output, offsets in zip(boxes, outputs, wanted, strict=False):
        best = overlap(box[None], truth.boxes)[0]
        assert best.max() >= 0.5
        assert output == truth.labels[best.argmax()] + 1
        torch.testing.assert_close(offsets, encode(truth.boxes[best.argmax()][None], box[None], WEIGHTS)[0])
    assert (overlap(boxes[len(wanted) :], truth.boxes) < 0.5).all()


@pytest.mark.parametrize(("share", "objects"), [({}, 2), ({"positive_share": 0.5}, 4)])
def test_a_quarter_of_the_samples_at_most_are_objects_or_another_share(share, objects):
    background = torch.tensor([[0.0, 100, 30, 150]]).repeat(20, 1)
    _, outputs, wanted = head(samples=8, **share).chosen(torch.cat([jittered(), background]), target())
    assert (len(outputs), len(wanted), (outputs > 0).sum()) == (8, objects, objects)


def test_crowd_regions_are_neither_objects_nor_background():
    truth = target(BOXES, LABELS, [True, False])
    boxes, outputs, _ = head().chosen(jittered(), truth)
    assert set(outputs.tolist()) == {2}
    assert not (overlap(boxes, truth.boxes[:1]) > 0.5).any()


def test_a_picture_without_objects_is_background():
    boxes, outputs, wanted = head().chosen(jittered(), NOTHING)
    assert (len(boxes), outputs.unique().tolist(), len(wanted)) == (12, [0], 0)


@pytest.mark.parametrize("count", [0, 3])
def test_no_objects_cost_nothing_for_the_offsets(count):
    model = head()
    class_logits, offsets = model(torch.rand(count, 4, 2, 2))
    losses = model.loss(class_logits, offsets, torch.zeros(count, dtype=torch.int64), torch.zeros(0, 4))
    sum(losses.values()).backward()
    assert losses["box"] == 0
    assert torch.isfinite(losses["class"])


def test_only_the_offsets_of_the_true_class_learn():
    model = head()
    class_logits, offsets = model(torch.rand(3, 4, 2, 2))
    offsets.retain_grad()
    model.loss(class_logits, offsets, torch.tensor([2, 3, 0]), torch.ones(2, 4))["box"].backward()
    moved = offsets.grad.view(3, 4, 4).abs().sum(2) > 0
    assert moved.nonzero().tolist() == [[0, 2], [1, 3]]


def naive_detections(logits, offsets, proposals, *, size, score, threshold, limit):
    """Class by class, box by box."""
    found = []
    scores = logits.softmax(1)
    for label in range(logits.shape[1] - 1):
        boxes = clip(decode(offsets[:, 4 * (label + 1) : 4 * (label + 2)], proposals, WEIGHTS), size)
        kept = []
        for row in sorted(range(len(boxes)), key=lambda i: -scores[i, label + 1]):
            box, certainty = boxes[row], scores[row, label + 1].item()
            if certainty <= score or (box[2:] - box[:2]).min() < 0.01:
                continue
            if (overlap(box[None], torch.stack([torch.zeros(4), *kept])) <= threshold).all():
                kept.append(box)
                found.append((certainty, label, box))
    return sorted(found, key=lambda each: -each[0])[:limit]


@pytest.mark.parametrize(("score", "limit"), [(0.0, 1000), (0.2, 1000), (0.05, 7), (0.999, 10)])
def test_detections_agree_with_loops(score, limit):
    corners = torch.rand(30, 2) * 130
    proposals = torch.cat([corners, corners + 5 + torch.rand(30, 2) * 60], 1)
    logits, offsets = torch.randn(30, 4), torch.randn(30, 16)
    boxes, labels, scores = head(limit=limit).detections(logits, offsets, proposals, size=SIZE, score=score)
    expected = naive_detections(logits, offsets, proposals, size=SIZE, score=score, threshold=0.5, limit=limit)
    assert labels.tolist() == [label for _, label, _ in expected]
    assert scores.tolist() == pytest.approx([certainty for certainty, _, _ in expected])
    torch.testing.assert_close(boxes, torch.stack([box for *_, box in expected]) if expected else torch.zeros(0, 4))


def test_no_proposals_give_no_detections():
    boxes, labels, scores = head().detections(
        torch.zeros(0, 4), torch.zeros(0, 16), torch.zeros(0, 4), size=SIZE, score=0.0
    )
    assert (boxes.shape, labels.shape, scores.shape) == ((0, 4), (0,), (0,))
