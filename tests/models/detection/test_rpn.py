import pytest
import torch
from scenes_of_two import NOTHING, target

from siseon.boxes.geometry import clip, decode, overlap
from siseon.models.detection.rpn import RegionProposals, rows

SIZE = (64, 96)


def proposer(**arguments):
    torch.manual_seed(1)
    rpn = RegionProposals(6, anchor_sizes=((16,), (32,)), **arguments)
    for part in (rpn.objectness, rpn.offsets):
        torch.nn.init.normal_(part.weight, std=0.3)
    return rpn


def features(batch=2):
    torch.manual_seed(2)
    return [torch.randn(batch, 6, 8, 12), torch.randn(batch, 6, 4, 6)]


def test_the_head_is_shared_by_the_levels():
    objectness, offsets = proposer()(features())
    assert [tuple(level.shape) for level in objectness] == [(2, 3, 8, 12), (2, 3, 4, 6)]
    assert [tuple(level.shape) for level in offsets] == [(2, 12, 8, 12), (2, 12, 4, 6)]


def test_rows_are_ordered_by_row_column_anchor():
    level = torch.arange(2 * 3 * 4 * 2 * 5).reshape(2, 12, 2, 5).float()
    found = rows(level, 4)
    for picture in range(2):
        for y in range(2):
            for x in range(5):
                for anchor in range(3):
                    expected = level[picture, 4 * anchor : 4 * anchor + 4, y, x]
                    assert torch.equal(found[picture, (y * 5 + x) * 3 + anchor], expected)


def test_anchors_follow_the_size_of_the_maps():
    anchors = proposer().anchors(features(), SIZE)
    assert [tuple(level.shape) for level in anchors] == [(8 * 12 * 3, 4), (4 * 6 * 3, 4)]
    centers = (anchors[1][:, :2] + anchors[1][:, 2:]) / 2
    assert centers[::3].unique(dim=0).tolist() == [[16.0 * x, 16.0 * y] for x in range(6) for y in range(4)]


def naive_proposals(rpn, objectness, offsets, anchors, size, count):
    """One picture, box by box."""
    candidates = []
    for level, (logits, shifts, fixed) in enumerate(zip(objectness, offsets, anchors, strict=True)):
        boxes = clip(decode(rows(shifts[None], 4)[0], fixed), size)
        certainty = rows(logits[None], 1)[0, :, 0]
        best = sorted(range(len(boxes)), key=lambda i: -certainty[i])[: count[0]]
        candidates += [(certainty[i].sigmoid().item(), level, boxes[i]) for i in best]
    kept = []
    for _, level, box in sorted(candidates, key=lambda each: -each[0]):
        left, top, right, bottom = box.tolist()
        if right - left < 1e-3 or bottom - top < 1e-3:
            continue
        rivals = torch.stack([torch.zeros(4), *(each for other, each in kept if other == level)])
        if (overlap(box[None], rivals) <= rpn.threshold).all():
            kept.append((level, box))
    return torch.stack([box for _, box in kept[: count[1]]])


@pytest.mark.parametrize("count", [(60, 1000), (20, 30), (5, 3)])
def test_proposals_agree_with_loops(count):
    rpn, maps = proposer(), features()
    # drawn, because the head's own may be equal, and equal scores have no order
    objectness = [torch.randn(2, 3, *level.shape[2:]) for level in maps]
    offsets = [torch.randn(2, 12, *level.shape[2:]) for level in maps]
    anchors = rpn.anchors(maps, SIZE)
    sizes = (SIZE, (40, 50))
    found = rpn.proposals(objectness, offsets, anchors, sizes=sizes, count=count)
    for picture, size in enumerate(sizes):
        levels = ([level[picture] for level in maps] for maps in (objectness, offsets))
        torch.testing.assert_close(found[picture], naive_proposals(rpn, *levels, anchors, size, count))


def test_proposals_have_no_gradient_and_lie_in_the_picture():
    rpn, maps = proposer(), features()
    objectness, offsets = rpn(maps)
    for boxes in rpn.proposals(objectness, offsets, rpn.anchors(maps, SIZE), sizes=(SIZE, SIZE), count=(50, 50)):
        assert not boxes.requires_grad
        assert torch.equal(clip(boxes, SIZE), boxes)


def test_no_object_gives_a_finite_loss_and_no_pull_on_the_offsets():
    rpn, maps = proposer(), features()
    objectness, offsets = rpn(maps)
    losses = rpn.loss(objectness, offsets, torch.cat(rpn.anchors(maps, SIZE)), [NOTHING, NOTHING])
    sum(losses.values()).backward()
    assert losses["proposal"] == 0
    assert torch.isfinite(losses["objectness"])
    assert rpn.offsets.weight.grad.abs().sum() == 0 < rpn.objectness.weight.grad.abs().sum()


def as_maps(values, levels):
    """The inverse of rows for one picture and one value an anchor."""
    parts = values.split([level.shape[1:].numel() for level in levels])
    return [part.view(1, *level.shape[2:], -1).permute(0, 3, 1, 2) for part, level in zip(parts, levels, strict=True)]


def test_certainty_and_perfect_offsets_cost_nothing():
    rpn, maps = proposer(), features(1)
    anchors = torch.cat(rpn.anchors(maps, SIZE))
    objectness, offsets = rpn(maps)
    truth = target(anchors[[100, 200]].tolist())
    certain = torch.where(overlap(anchors, truth.boxes).amax(1) >= 0.7, 50.0, -50.0)
    losses = rpn.loss(as_maps(certain, objectness), [torch.zeros_like(level) for level in offsets], anchors, [truth])
    assert (certain > 0).sum() == 2
    assert losses["objectness"] < 1e-6
    assert losses["proposal"] == 0


def test_half_of_the_samples_at_most_are_objects():
    rpn, maps = proposer(samples=8), features(1)
    anchors = torch.cat(rpn.anchors(maps, SIZE))
    objectness, offsets = rpn(maps)
    logits = [torch.zeros_like(level, requires_grad=True) for level in objectness]
    losses = rpn.loss(logits, offsets, anchors, [target(anchors[:60].tolist(), [0] * 60)])
    losses["objectness"].backward()
    gradients = torch.cat([rows(level.grad, 1) for level in logits], 1)
    assert ((gradients < 0).sum(), (gradients > 0).sum()) == (4, 4)
