import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

from siseon.boxes.geometry import clip, decode, encode, overlap
from siseon.boxes.roi import roi_pool
from siseon.interface import Images, RecipeError
from siseon.models.detection.fast_rcnn import VARIANTS, WEIGHTS, BoxHead, fast_rcnn
from siseon.stages import measured

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


def test_roi_pooling_takes_the_largest_values_of_the_level():
    features, boxes = [torch.rand(1, 4, 40, 40)], [torch.tensor([[10.0, 20, 90, 100], [0, 0, 30, 150]])]
    pooled = head(pooling="pool").pool(features, boxes, (4,))
    assert torch.equal(pooled, roi_pool(features[0], boxes, output=2, scale=1 / 4))


@pytest.mark.parametrize(("background", "expected"), [(0.0, 3), (0.1, 2), (0.3, 1)])
def test_background_is_what_overlaps_an_object_a_little(background, expected):
    # overlaps of 0.2, 1/3 and 0 with the first object
    proposals = torch.tensor([[20.0, 30, 30, 80], [20, 30, 45, 63.33], [0, 100, 15, 150]])
    boxes, outputs, _ = head(background=background).chosen(proposals, target())
    assert (outputs == 0).sum() == expected
    assert (overlap(target().boxes, boxes[outputs == 0]).amax(0) >= background).all()


@pytest.mark.parametrize("truth", [NOTHING, target(BOXES, LABELS, [True, True])], ids=["no object", "crowd only"])
def test_a_picture_without_objects_is_background_from_any_overlap_on(truth):
    _, outputs, _ = head(background=0.1).chosen(torch.tensor([[0.0, 0, 15, 15], [140, 0, 160, 30]]), truth)
    assert outputs.tolist() == [0, 0]


@pytest.mark.parametrize(("beta", "expected"), [(1.0, 0.5 * 0.25 + 1.5), (1 / 9, 0.5 - 1 / 18 + 2 - 1 / 18)])
def test_the_loss_of_the_offsets_is_equation_3(beta, expected):
    wanted = torch.tensor([[0.5, -2.0, 0.0, 0.0]])
    losses = head(beta=beta).loss(torch.zeros(2, 4), torch.zeros(2, 16), torch.tensor([1, 0]), wanted)
    assert losses["box"].item() == pytest.approx(expected / 2)


def around(images):
    """Shifted copies of the two objects, and boxes on a grid, for each picture."""
    corners = torch.cartesian_prod(torch.arange(0.0, 120, 30), torch.arange(0.0, 120, 30))
    boxes = torch.cat([jittered(), torch.cat([corners, corners + 35], 1)])
    return [boxes.clone() for _ in images.sizes]


def mini(**arguments):
    model = fast_rcnn(**{**VARIANTS["fast_rcnn_mini"], "classes": 3, **arguments})
    model.proposals = around
    return model


@pytest.fixture(scope="module")
def trained():
    """A small detector that has seen one picture of two objects forty times."""
    torch.manual_seed(0)
    model = mini(classes=("빨강", "초록")).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 40)
    for _ in range(40):
        optimizer.zero_grad()
        sum(model.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_the_network_of_the_paper_has_its_parameters():
    with torch.device("meta"):
        model = fast_rcnn()
    convolutions, fc6, fc7 = 14_714_688, 25088 * 4096 + 4096, 4096 * 4096 + 4096
    outputs = 4096 * 21 + 21 + 4096 * 84 + 84
    assert sum(part.numel() for part in model.parameters()) == convolutions + fc6 + fc7 + outputs == 134_690_729
    assert (model.backbone.channels, model.backbone.strides) == ((512,), (16,))


@pytest.mark.parametrize(
    ("arguments", "levels"),
    [
        ({"backbone": "vgg_mini"}, [(64, 10)]),
        ({"backbone": "resnet_mini", "stages": 1}, [(16, 40)]),
        ({"backbone": "mobilenet_mini", "pyramid": True, "channels": 8}, [(8, 40), (8, 20), (8, 10), (8, 5), (8, 3)]),
    ],
)
def test_every_backbone_gives_one_map_or_a_pyramid(arguments, levels):
    model = fast_rcnn(classes=2, hidden=8, **arguments).eval()
    model.proposals = around
    raw = model(torch.rand(1, 3, 160, 160))
    assert [(level.shape[1], level.shape[2]) for level in raw.features] == levels
    assert raw.class_logits.shape == (len(raw.proposals[0]), 3)
    assert raw.box_offsets.shape == (len(raw.proposals[0]), 12)


@pytest.mark.parametrize(
    ("wrong", "message"), [({"backbone": "resnet9"}, 'no backbone "resnet9"'), ({"frozen": 5}, "4 stages")]
)
def test_arguments_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(RecipeError, match=message):
        mini(**wrong)


@pytest.mark.parametrize(
    "targets",
    [[target(), target()], [NOTHING, NOTHING], [target(), NOTHING]],
    ids=["objects", "no objects", "objects in one picture"],
)
def test_losses_are_finite_and_reach_every_parameter(targets):
    model = mini().train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"class", "box"}
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())
    if targets[0] is not NOTHING:
        assert [name for name, part in model.named_parameters() if not part.grad.abs().sum()] == []


def test_it_learns_a_picture_of_two_objects(trained):
    (found,) = trained.predict(picture())
    for label, box in enumerate(torch.tensor(BOXES)):
        best = (found.labels == label).nonzero()[0, 0]
        assert overlap(found.boxes[best, None], box[None]).item() > 0.8
        assert found.scores[best] > 0.6


@torch.inference_mode()
def test_one_picture_gives_the_same_alone_and_in_a_batch(trained):
    images = Images.of([picture(), torch.rand(3, 160, 160)])
    alone = trained.detections(trained(picture()[None]), Images.of(picture()[None]), 0.05)
    beside = trained.detections(trained(images), images, 0.05)
    torch.testing.assert_close(alone[0].boxes, beside[0].boxes, atol=1e-2, rtol=0)
    assert alone[0].labels.tolist() == beside[0].labels.tolist()


def test_the_stages_of_a_prediction_are_told_apart(trained):
    with measured() as seconds:
        trained.predict(picture())
    assert set(seconds) == {"preparation", "proposals", "features", "regions", "head", "selection"}
