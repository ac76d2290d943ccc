import numpy as np
import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

import golden
from siseon.boxes.geometry import overlap
from siseon.interface import Images, RecipeError
from siseon.models.detection.faster_rcnn import VARIANTS, faster_rcnn


def mini(**arguments):
    return faster_rcnn(**{**VARIANTS["faster_rcnn_mini"], "classes": 3, **arguments})


@pytest.fixture(scope="module")
def trained():
    """A small detector that has seen one picture of two objects sixty times."""
    torch.manual_seed(0)
    model = mini(classes=("빨강", "초록")).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 60)
    for _ in range(60):
        optimizer.zero_grad()
        sum(model.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_the_parameters_are_those_published():
    with torch.device("meta"):
        model = faster_rcnn(**VARIANTS["faster_rcnn_resnet50_fpn"])
    assert sum(part.numel() for part in model.parameters()) == golden.PARAMETERS["faster_rcnn_resnet50_fpn"]


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "resnet_mini", "mobilenet_v2", "mobilenet_mini"])
@pytest.mark.parametrize("pyramid", [True, False])
def test_every_backbone_fits(backbone, pyramid):
    small = {"channels": 8, "hidden": 8, "counts": (10, 5), "sizing": (64, 64, 32)}
    model = faster_rcnn(classes=2, backbone=backbone, pyramid=pyramid, **small).eval()
    raw = model(torch.rand(1, 3, 64, 64))
    assert len(raw.features) == len(raw.objectness) == len(raw.offsets) == (5 if pyramid else 1)
    assert raw.class_logits.shape == (len(raw.proposals[0]), 3)
    assert raw.box_offsets.shape == (len(raw.proposals[0]), 12)


def test_arguments_for_the_backbone_reach_it():
    options = {"padding": "tensorflow", "width": 0.5}
    model = faster_rcnn(backbone="mobilenet_v2", backbone_options=options, classes=2, channels=8, hidden=8)
    assert model.backbone.body.channels == (16, 16, 48, 160)
    assert type(model.backbone.body.stem.conv).__name__ == "SameConv2d"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "resnet9"}, r'no backbone "resnet9".*resnet18, '),
        ({"backbone_options": {"with": 2}}, r'resnet_mini has no argument "with".*widths'),
        ({"anchor_sizes": [[16], [32]]}, "anchor_sizes = .*, 4 in all"),
        ({"anchor_sizes": [[16], [32], [64], [96, 128]]}, "the same number of sizes"),
        ({"pyramid": False}, "the maps of stride 16"),
        ({"frozen": 5}, "4 stages"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(RecipeError, match=message):
        mini(**wrong)


def test_the_losses_reach_every_parameter():
    model = mini().train()
    sum(model.loss(picture()[None].repeat(2, 1, 1, 1), [target(), target()]).values()).backward()
    untouched = [name for name, part in model.named_parameters() if part.grad is None or not part.grad.abs().sum()]
    assert untouched == []


def test_frozen_parts_get_no_gradient_and_stay():
    model = mini(frozen=2, freeze_norm=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum(model.loss(picture()[None], [target()]).values()).backward()
    body = model.backbone.body
    assert all(part.grad is None for part in [*body.stem.parameters(), *body.layers["2"].parameters()])
    assert body.layers["3"][0].branch[0].conv.weight.grad is not None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "targets",
    [[NOTHING, NOTHING], [target(), NOTHING], [target(BOXES, LABELS, [True, True])] * 2],
    ids=["no objects", "objects in one picture", "crowd only"],
)
def test_losses_are_finite(targets):
    model = mini().train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"objectness", "proposal", "class", "box"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_losses_are_finite_in_bfloat16():
    model = mini().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(picture()[None], [target()])
    sum(losses.values()).backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


@torch.inference_mode()
def test_one_picture_gives_the_same_alone_and_in_a_batch(trained):
    alone = trained(picture()[None])
    beside = trained(torch.stack([picture(), torch.rand(3, 160, 160)]))
    (found,) = trained.detections(alone, Images.of(picture()[None]), 0.05)
    same, _ = trained.detections(beside, Images.of(torch.rand(2, 3, 160, 160)), 0.05)
    torch.testing.assert_close(found.boxes, same.boxes, atol=1e-2, rtol=0)
    assert found.labels.tolist() == same.labels.tolist()


def assert_finds_both(found, boxes):
    """The surest object of each class is where it should be."""
    for label, box in enumerate(boxes):
        which = (found.labels == label).nonzero()[:1, 0]
        assert overlap(found.boxes[which], box[None]).tolist() == [[pytest.approx(1, abs=0.3)]]
        assert found.scores[which].item() > 0.6


def test_it_learns_a_picture_of_two_objects(trained):
    (found,) = trained.predict(picture())
    assert_finds_both(found, torch.tensor(BOXES))
    assert found.names[0] in ("빨강", "초록")


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_boxes_are_in_the_pixels_of_the_picture(trained, factor):
    enlarged = torch.nn.functional.interpolate(picture()[None], scale_factor=factor, mode="nearest")[0]
    pixels = (enlarged.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    (found,) = trained.predict(pixels)
    assert_finds_both(found, torch.tensor(BOXES) * factor)


def test_pictures_of_different_sizes_share_a_batch(trained):
    pictures = [picture(), torch.full((3, 80, 200), 0.5), picture()]
    first, _, third = trained.predict(pictures, batch=3)
    assert_finds_both(first, torch.tensor(BOXES))
    assert_finds_both(third, torch.tensor(BOXES))


def test_it_can_be_trained_after_predicting(trained):
    trained.predict(picture())
    loss = sum(trained.loss(picture()[None], [target()]).values())
    loss.backward()
    assert torch.isfinite(loss)


def test_detections_are_limited():
    model = mini(limit=3).eval()
    (found,) = model.predict(torch.rand(3, 160, 160), score=0.0)
    assert len(found) == 3
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
