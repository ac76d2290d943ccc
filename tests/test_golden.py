"""Our networks, given the tensors of torchvision's, give torchvision's numbers."""

import re
import sys

import pytest
import torch

import fill
import golden
import torchvision_names
from siseon import zoo
from siseon.interface import Detections, Images, Target
from siseon.models.detection.rpn import rows


def filled(name, **arguments):
    """The model with every tensor that torchvision's has, by the rules of its own file, in eval mode."""
    model = zoo.create(name, **arguments)
    rules = sys.modules[type(model).__module__].TORCHVISION_NAMES
    own = model.state_dict()
    left = set(own) - {"mean", "deviation"}
    for theirs in getattr(torchvision_names, name)():
        ours = next(re.sub(old, new, theirs) for old, new in rules if re.fullmatch(old, theirs))
        own[ours].copy_(fill.tensor(theirs, own[ours].shape))
        left.remove(ours)
    assert not left
    return model.eval()


def assert_agrees(tensor, summary, tolerance):
    values = tensor.flatten()
    assert tuple(tensor.shape) == summary.shape
    assert values.mean().item() == pytest.approx(summary.mean, rel=tolerance, abs=tolerance)
    assert values.std().item() == pytest.approx(summary.deviation, rel=tolerance, abs=tolerance)
    assert values[:8].tolist() == pytest.approx(summary.head, rel=tolerance, abs=tolerance)
    assert values[-8:].tolist() == pytest.approx(summary.tail, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", golden.LOGITS)
def test_a_classifier_gives_the_logits_of_torchvision(name):
    with torch.inference_mode():
        logits = filled(name)(fill.picture(224, 224)[None])
    assert_agrees(logits[0], golden.LOGITS[name], 1e-4)


@torch.inference_mode()
def test_faster_rcnn_gives_the_numbers_of_torchvision():
    model = filled("faster_rcnn_resnet50_fpn")
    images = model.batch([fill.picture(320, 416)])
    raw = model(images)
    assert images.sizes == ((800, 1040),)
    for maps, summaries in (
        (raw.features, golden.FEATURES),
        (raw.objectness, golden.OBJECTNESS),
        (raw.offsets, golden.OFFSETS),
    ):
        for level, summary in zip(maps, summaries, strict=True):
            assert_agrees(level, summary, 1e-3)
    assert len(raw.proposals[0]) == 1000
    torch.testing.assert_close(raw.proposals[0][:8], torch.tensor(golden.PROPOSALS), rtol=1e-4, atol=1e-2)

    regions = model.head.pool(raw.features[:4], [torch.tensor(golden.FIXED_BOXES)], (4, 8, 16, 32))
    class_logits, box_offsets = model.head(regions)
    assert_agrees(regions, golden.ROI_FEATURES, 1e-3)
    assert_agrees(class_logits, golden.CLASS_LOGITS, 1e-3)
    assert_agrees(box_offsets, golden.BOX_OFFSETS, 1e-3)

    (found,) = model.detections(raw, images, 0.0)
    assert len(found) == 100
    assert found.labels[:12].tolist() == golden.DETECTED_LABELS
    assert found.scores[:12].tolist() == pytest.approx(golden.DETECTED_SCORES, rel=1e-3)
    scale = 320 / 800
    torch.testing.assert_close(found.boxes[:12] * scale, torch.tensor(golden.DETECTED_BOXES), rtol=1e-3, atol=1e-2)


@torch.inference_mode()
def test_faster_rcnn_gives_the_losses_of_torchvision():
    samples = {"anchor_samples": 10**6, "box_samples": 10**6, "training_counts": (200, 100)}
    model = filled("faster_rcnn_resnet50_fpn", sizing=(128, 256, 32), **samples)
    images = model.batch([fill.picture(128, 160), fill.picture(160, 128)])
    targets = [
        Target(torch.tensor(boxes), torch.tensor(labels), torch.zeros(len(labels), dtype=torch.bool))
        for boxes, labels in golden.LOSS_TRUTH
    ]
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.bool))
    losses = {key: loss.item() for key, loss in model.loss(images, targets).items()}
    assert losses == pytest.approx(golden.LOSSES, rel=1e-4)
    without = {key: loss.item() for key, loss in model.loss(images, [nothing, nothing]).items()}
    assert without == pytest.approx(golden.LOSSES_WITHOUT_OBJECTS, rel=1e-4)


def found_agrees(found, boxes, labels, scores, tolerance):
    assert found.labels[: len(labels)].tolist() == labels
    assert found.scores[: len(scores)].tolist() == pytest.approx(scores, rel=1e-4)
    torch.testing.assert_close(found.boxes[: len(boxes)], torch.tensor(boxes), rtol=1e-4, atol=tolerance)


def truth_of(label_shift, *pictures):
    """golden.LOSS_TRUTH for these pictures, with all labels shifted."""
    return [
        Target(torch.tensor(boxes), torch.tensor(labels) + label_shift, torch.zeros(len(labels), dtype=torch.bool))
        for boxes, labels in (golden.LOSS_TRUTH[picture] for picture in pictures)
    ]


@torch.inference_mode()
def test_retinanet_gives_the_numbers_of_torchvision():
    model = filled("retinanet_resnet50_fpn", classes=91, sizing=(128, 256, 32))
    images = model.batch([fill.picture(128, 160), fill.picture(160, 128)])
    first = Images(images.tensor[:1, :, :128], images.sizes[:1])
    raw = model(first)
    assert_agrees(torch.cat([rows(level, 91) for level in raw.class_logits], 1), golden.RETINA_LOGITS, 1e-4)
    assert_agrees(torch.cat([rows(level, 4) for level in raw.offsets], 1), golden.RETINA_OFFSETS, 1e-4)
    (found,) = model.detections(raw, first, 0.0)
    assert len(found) == 300
    found_agrees(found, golden.RETINA_BOXES, golden.RETINA_LABELS, golden.RETINA_SCORES, 1e-2)
    losses = {key: loss.item() for key, loss in model.loss(images, truth_of(1, 0, 1)).items()}
    assert losses == pytest.approx(golden.RETINA_LOSSES, rel=1e-4)


@torch.inference_mode()
def test_ssd_gives_the_numbers_of_torchvision():
    model = filled("ssd300_vgg16")
    images = model.batch([fill.picture(128, 160)])
    raw = model(images)
    assert_agrees(raw.class_logits, golden.SSD_LOGITS, 1e-4)
    assert_agrees(raw.offsets, golden.SSD_OFFSETS, 1e-4)
    (found,) = model.detections(raw, images, 0.0)
    assert len(found) == 200
    scale = torch.tensor([160, 128, 160, 128]) / 300
    found = Detections(found.boxes * scale, found.labels, found.scores, found.classes)
    found_agrees(found, golden.SSD_BOXES, golden.SSD_LABELS, golden.SSD_SCORES, 1e-2)
    (truth,) = truth_of(0, 0)
    stretched = Target(truth.boxes / scale, truth.labels, truth.crowd)
    losses = {key: loss.item() for key, loss in model.loss(images, [stretched]).items()}
    assert losses == pytest.approx(golden.SSD_LOSSES, rel=1e-4)


@torch.inference_mode()
def test_mask_rcnn_gives_the_numbers_of_torchvision():
    model = filled("mask_rcnn_resnet50_fpn")
    images = model.batch([fill.picture(320, 416)])
    features = model.backbone.features(images.normalised(model.mean, model.deviation))
    regions = model.mask_head.pool(features[:4], [torch.tensor(golden.FIXED_BOXES)], (4, 8, 16, 32))
    assert_agrees(model.mask_head(regions), golden.MASK_LOGITS, 1e-3)


def ellipses(boxes, height, width):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack(
        [
            ((2 * x - left - right) / (right - left)) ** 2 + ((2 * y - top - bottom) / (bottom - top)) ** 2 < 1
            for left, top, right, bottom in boxes
        ]
    )


@torch.inference_mode()
def test_mask_rcnn_gives_the_losses_of_torchvision():
    samples = {"anchor_samples": 10**6, "box_samples": 10**6, "training_counts": (200, 100)}
    model = filled("mask_rcnn_resnet50_fpn", sizing=(128, 256, 32), **samples)
    pictures = [fill.picture(128, 160), fill.picture(160, 128)]
    targets = [
        Target(
            torch.tensor(boxes),
            torch.tensor(labels),
            torch.zeros(len(labels), dtype=torch.bool),
            ellipses(boxes, *picture.shape[1:]),
        )
        for (boxes, labels), picture in zip(golden.LOSS_TRUTH, pictures, strict=True)
    ]
    losses = {key: loss.item() for key, loss in model.loss(model.batch(pictures), targets).items()}
    assert losses == pytest.approx({**golden.LOSSES, "mask": golden.MASK_LOSS}, rel=1e-4)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("rpn.head.conv.weight", "rpn.hidden.conv.weight"),
        ("backbone.fpn.inner_blocks.2.bias", "backbone.lateral.2.bias"),
        ("backbone.fpn.layer_blocks.0.weight", "backbone.output.0.weight"),
    ],
)
def test_the_spelling_of_older_checkpoints_is_known_too(theirs, ours):
    from siseon.models.detection.faster_rcnn import TORCHVISION_NAMES

    assert [re.sub(old, new, theirs) for old, new in TORCHVISION_NAMES if re.fullmatch(old, theirs)] == [ours]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("head.classification_head.conv.2.0.weight", "class_tower.4.weight"),
        ("head.classification_head.conv.2.weight", "class_tower.2.weight"),
        ("head.regression_head.conv.6.bias", "box_tower.6.bias"),
        ("backbone.fpn.inner_blocks.2.bias", "backbone.lateral.2.bias"),
    ],
)
def test_the_two_spellings_of_a_tower_are_told_apart(theirs, ours):
    from siseon.models.detection.retinanet import TORCHVISION_NAMES

    assert [re.sub(old, new, theirs) for old, new in TORCHVISION_NAMES if re.fullmatch(old, theirs)] == [ours]


@torch.inference_mode()
def test_fcn_gives_the_numbers_of_torchvision():
    logits = filled("fcn_resnet50")(fill.picture(192, 256)[None])[0]
    assert_agrees(logits, golden.FCN_LOGITS, 1e-4)
    pixels = logits.argmax(0).flatten().bincount(minlength=21)
    assert (pixels - torch.tensor(golden.FCN_PIXELS)).abs().sum() <= 20  # of 49,152; a few are nearly equal
