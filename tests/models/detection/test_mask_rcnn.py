import re

import numpy as np
import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

import golden
from siseon.interface import Images, RecipeError, Target
from siseon.models.detection.mask_rcnn import TORCHVISION_NAMES, VARIANTS, MaskHead, mask_rcnn
from siseon.stages import measured

HOLE = (slice(45, 65), slice(40, 50))
"""Rows and columns of the first object that do not belong to its mask."""


def mini(**arguments):
    return mask_rcnn(**{**VARIANTS["mask_rcnn_mini"], "classes": 3, **arguments})


def masks_of(boxes=BOXES, size=(160, 160)):
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    return masks


def holed():
    """The picture and target of two objects, the first with a hole through which the ground is seen."""
    pixels, masks, plain = picture(), masks_of(), target()
    masks[0][HOLE] = False
    pixels[:, HOLE[0], HOLE[1]] = 0.5
    return pixels, Target(plain.boxes, plain.labels, plain.crowd, masks)


def with_masks(plain):
    return Target(plain.boxes, plain.labels, plain.crowd, masks_of(plain.boxes.tolist()))


@pytest.fixture(scope="module")
def trained():
    """A small model that has seen one picture of two objects eighty times."""
    torch.manual_seed(0)
    model = mini(classes=("빨강", "초록"), mask_depth=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 80)
    pixels, truth = holed()
    for _ in range(80):
        optimizer.zero_grad()
        sum(model.loss(pixels[None], [truth]).values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def test_the_parameters_are_those_published():
    with torch.device("meta"):
        model = mask_rcnn(**VARIANTS["mask_rcnn_resnet50_fpn"])
    assert sum(part.numel() for part in model.parameters()) == golden.PARAMETERS["mask_rcnn_resnet50_fpn"]


def test_the_mask_head_draws_a_mask_of_28_for_each_class_and_the_background():
    head = MaskHead(16, classes=5, width=8)
    assert head(torch.rand(3, 16, 14, 14)).shape == (3, 6, 28, 28)
    assert len(head.hidden) == 4
    assert head(torch.rand(0, 16, 14, 14)).shape == (0, 6, 28, 28)


def test_the_losses_reach_every_parameter():
    model = mini().train()
    sum(model.loss(picture()[None].repeat(2, 1, 1, 1), [with_masks(target())] * 2).values()).backward()
    untouched = [name for name, part in model.named_parameters() if part.grad is None or not part.grad.abs().sum()]
    assert untouched == []


@pytest.mark.parametrize(
    "targets",
    [
        [with_masks(NOTHING), NOTHING],
        [with_masks(target()), NOTHING],
        [with_masks(target(BOXES, LABELS, [True, True]))] * 2,
        [target(), target()],
    ],
    ids=["no objects", "objects in one picture", "crowd only", "no masks"],
)
@pytest.mark.parametrize("pooling", ["align", "pool"])
def test_losses_are_finite(targets, pooling):
    model = mini(pooling=pooling).train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"objectness", "proposal", "class", "box", "mask"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_objects_without_masks_teach_no_masks_but_boxes():
    model = mini().train()
    losses = model.loss(picture()[None], [target()])
    assert losses["mask"] == 0 and losses["class"] > 0
    (with_them, without) = (
        {k: v.item() for k, v in seeded(model, t).items()} for t in (with_masks(target()), target())
    )
    assert with_them.pop("mask") > 0 and without.pop("mask") == 0
    assert with_them == without


def seeded(model, truth):
    torch.manual_seed(0)
    return model.loss(picture()[None], [truth])


def test_losses_are_finite_in_bfloat16():
    model = mini().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(picture()[None], [with_masks(target())])
    sum(losses.values()).backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def overlap_of(found, true):
    return ((found & true).sum() / (found | true).sum()).item()


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_masks_are_in_the_pixels_of_the_picture(trained, factor):
    pixels, truth = holed()
    enlarged = torch.nn.functional.interpolate(pixels[None], scale_factor=factor, mode="nearest")[0]
    (found,) = trained.predict((enlarged.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    true = torch.nn.functional.interpolate(truth.masks[None].float(), scale_factor=factor, mode="nearest")[0] >= 0.5
    assert found.masks.dtype == torch.bool
    assert found.masks.shape == (len(found), *enlarged.shape[1:])
    for label in (0, 1):
        which = (found.labels == label).nonzero()[0, 0]
        assert overlap_of(found.masks[which], true[label]) > 0.7
    whole = found.masks[(found.labels == 0).nonzero()[0, 0]]
    middle = tuple(slice(int((part.start + 3) * factor), int((part.stop - 3) * factor)) for part in HOLE)
    assert whole[middle].float().mean() < 0.3, "the hole is not seen"


def test_masks_are_the_same_alone_and_in_a_batch(trained):
    pixels, _ = holed()
    (alone,) = trained.predict(pixels)
    first, second = trained.predict([pixels, torch.full((3, 320, 320), 0.5)], batch=2)
    assert overlap_of(first.masks[0], alone.masks[0]) > 0.99
    assert second.masks.shape == (len(second), 320, 320)


def test_no_objects_have_no_masks(trained):
    (found,) = trained.predict(picture(), score=1.0)
    assert found.masks.shape == (0, 160, 160)


def test_the_stages_of_the_mask_branch_are_named(trained):
    with measured() as seconds:
        trained.predict(picture())
    assert set(seconds) == {"preparation", "features", "proposals", "regions", "head", "selection"}


@torch.inference_mode()
def test_shapes_are_those_of_the_class_that_was_found():
    model = mini(limit=7).eval()
    images = Images.of(torch.rand(2, 3, 160, 160))
    raw = model(images)
    found = model.detections(raw, images, 0.0)
    shapes = model.shapes(raw, found)
    assert [tuple(each.shape) for each in shapes] == [(7, 28, 28)] * 2
    regions = model.mask_head.pool(raw.features[:3], [each.boxes for each in found], model.backbone.strides[:3])
    logits = model.mask_head(regions)
    wanted = [logits[row, label + 1].sigmoid() for row, label in enumerate(torch.cat([f.labels for f in found]))]
    torch.testing.assert_close(torch.cat(shapes), torch.stack(wanted), atol=1e-5, rtol=1e-4)


def test_pooling_changes_both_heads():
    assert (mini(pooling="pool").head.pooling, mini(pooling="pool").mask_head.pooling) != (
        mini().head.pooling,
        mini().mask_head.pooling,
    )


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match="no backbone"):
        mini(backbone="resnet9")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("roi_heads.mask_head.mask_fcn4.bias", "mask_head.hidden.3.conv.bias"),
        ("roi_heads.mask_head.3.0.bias", "mask_head.hidden.3.conv.bias"),
        ("roi_heads.mask_predictor.conv5_mask.weight", "mask_head.enlarged.weight"),
    ],
)
def test_both_spellings_of_published_checkpoints_are_known(theirs, ours):
    assert [re.sub(old, new, theirs) for old, new in TORCHVISION_NAMES if re.fullmatch(old, theirs)] == [ours]
