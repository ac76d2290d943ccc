import pytest
import torch
from scenes_of_two import BOXES, NOTHING, picture, target

from siseon.boxes.geometry import clip, decode, overlap
from siseon.interface import Images
from siseon.models.detection import faster_rcnn
from siseon.models.detection.fast_rcnn import WEIGHTS
from siseon.models.detection.refine_rcnn import TORCHVISION_NAMES, VARIANTS, moved, refine_rcnn

SMALL = {
    **VARIANTS["refine_rcnn_mini"],
    "classes": 3,
    "channels": 16,
    "hidden": 16,
    "counts": (40, 12),
    "training_counts": (40, 12),
}


def model(**arguments):
    torch.manual_seed(0)
    return refine_rcnn(**{**SMALL, **arguments})


def plain():
    torch.manual_seed(0)
    return faster_rcnn.faster_rcnn(**SMALL)


def test_without_refinement_it_is_faster_rcnn_to_the_bit():
    ours, theirs = model(refinements=0).eval(), plain().eval()
    images = Images.of(torch.stack([picture(), torch.rand(3, 160, 160)]))
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        one, two = ours(images), theirs(images)
    assert torch.equal(one.class_logits, two.class_logits)
    assert torch.equal(one.box_offsets, two.box_offsets)
    for first, second in zip(ours.detections(one, images, 0.0), theirs.detections(two, images, 0.0), strict=True):
        assert len(first) > 0
        assert torch.equal(first.boxes, second.boxes)
        assert torch.equal(first.scores, second.scores)


def test_without_refinement_the_losses_are_those_of_faster_rcnn():
    losses = []
    for network in (model(refinements=0).train(), plain().train()):
        torch.manual_seed(1)
        losses.append(network.loss(picture()[None], [target()]))
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_refining_adds_no_parameter():
    names = [{name: part.shape for name, part in network.state_dict().items()} for network in (model(), plain())]
    assert names[0] == names[1]
    assert TORCHVISION_NAMES == faster_rcnn.TORCHVISION_NAMES


@torch.no_grad()
def test_each_look_starts_where_the_one_before_led():
    network = model(refinements=2).eval()
    images = Images.of(picture()[None])
    raw = network(images)
    assert [len(look[0]) for look in raw.boxes] == [len(raw.boxes[0][0])] * 3
    logits = []
    for look in range(3):
        class_logits, offsets = network._look(raw.features, raw.boxes[look])
        logits.append(class_logits)
        if look < 2:
            for row, box in enumerate(raw.boxes[look][0]):
                best = 1 + class_logits[row, 1:].argmax()
                after = clip(decode(offsets[row, 4 * best : 4 * best + 4][None], box[None], WEIGHTS), (160, 160))[0]
                torch.testing.assert_close(raw.boxes[look + 1][0][row], after)
    torch.testing.assert_close(raw.class_logits, sum(logits) / 3)
    torch.testing.assert_close(raw.box_offsets, offsets)
    assert not torch.equal(raw.boxes[0][0], raw.boxes[1][0])


def test_a_box_moves_by_the_offsets_of_its_likeliest_class():
    boxes = [torch.tensor([[10.0, 10, 30, 50]]), torch.tensor([[0.0, 0, 20, 20], [40, 40, 60, 80]])]
    logits = torch.tensor([[9.0, 0, 1], [0, 2, 1], [9, 3, 4]])
    offsets = torch.zeros(3, 3, 4)
    offsets[:, 0] = 50  # the background's are never used
    offsets[0, 2, 0] = 5  # half the width to the right: 5 / 10
    offsets[1, 1, 1] = -5  # half the height up, over the edge
    offsets[2, 1] = 50
    one, two = moved(boxes, logits, offsets.flatten(1), [(100, 100), (100, 100)])
    assert one.tolist() == [[20, 10, 40, 50]]
    assert two.tolist() == [[0, 0, 20, 10], [40, 40, 60, 80]]


def test_a_box_that_would_leave_the_picture_stays():
    boxes = [torch.tensor([[10.0, 10, 30, 30]])]
    offsets = torch.zeros(1, 2, 4)
    offsets[0, 1, 0] = 1000
    (after,) = moved(boxes, torch.zeros(1, 2), offsets.flatten(1), [(40, 40)])
    assert after.tolist() == boxes[0].tolist()


def test_no_boxes_move_nowhere():
    (after,) = moved([torch.zeros(0, 4)], torch.zeros(0, 4), torch.zeros(0, 16), [(40, 40)])
    assert after.shape == (0, 4)


@pytest.mark.parametrize("targets", [[target(), NOTHING], [NOTHING, NOTHING], [target(crowd=[True, True])] * 2])
def test_every_look_has_its_losses(targets):
    network = model(refinements=2).train()
    losses = network.loss(torch.rand(2, 3, 160, 160), targets)
    looks = {f"{name}{suffix}" for name in ("class", "box") for suffix in ("", "_1", "_2")}
    assert set(losses) == looks | {"objectness", "proposal"}
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(part.grad).all() for part in network.parameters())


def test_looks_share_the_weight_of_one():
    """A head that knows nothing of the boxes loses the same at each look."""
    network = model(refinements=2, box_samples=10**4).train()
    for part in network.head.parameters():
        torch.nn.init.zeros_(part)
    losses = network.loss(picture()[None], [NOTHING])
    assert losses["class"].item() == pytest.approx(losses["class_2"].item())
    assert sum(losses[f"class{look}"].item() for look in ("", "_1", "_2")) == pytest.approx(torch.tensor(4.0).log())


def test_it_learns_a_picture_of_two_objects():
    network = model(refinements=1, hidden=64, channels=32).train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 50)
    for _ in range(50):
        optimizer.zero_grad()
        sum(network.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
        schedule.step()
    (found,) = network.predict(picture())
    for label, box in enumerate(torch.tensor(BOXES)):
        best = (found.labels == label).nonzero()[0, 0]
        assert overlap(found.boxes[best][None], box[None]).item() > 0.7
        assert found.scores[best] > 0.6
