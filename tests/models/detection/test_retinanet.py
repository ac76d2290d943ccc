import math

import numpy as np
import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

import golden
from siseon import weights
from siseon.boxes.geometry import encode, overlap
from siseon.interface import Images, RecipeError
from siseon.models.detection.retinanet import TORCHVISION_TENSORS, VARIANTS, retinanet
from siseon.stages import measured


def mini(**arguments):
    return retinanet(**{**VARIANTS["retinanet_mini"], "classes": 3, **arguments})


@pytest.fixture(scope="module")
def trained():
    """A small detector that has seen one picture of two objects fifty times."""
    torch.manual_seed(0)
    model = mini(classes=("빨강", "초록")).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 50)
    for _ in range(50):
        optimizer.zero_grad()
        sum(model.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def parameters(**arguments):
    with torch.device("meta"):
        return sum(part.numel() for part in retinanet(**arguments).parameters())


def test_the_parameters_are_those_published():
    published = parameters(**VARIANTS["retinanet_resnet50_fpn"], classes=91)
    assert published == golden.PARAMETERS["retinanet_resnet50_fpn"]


def test_p6_from_c5_has_the_channels_of_c5_to_read():
    assert parameters(classes=91) - golden.PARAMETERS["retinanet_resnet50_fpn"] == (2048 - 256) * 256 * 9


def test_the_anchors_are_nine_a_cell_from_32_pixels_to_813():
    with torch.device("meta"):
        grid = retinanet().anchor_grid
    assert grid.anchors_per_cell == (9,) * 5
    assert grid.sizes[0] == [32, 40, 50]  # whole pixels, as the published weights expect
    assert grid.sizes[4] == [512, 645, 812]


@pytest.mark.parametrize("backbone", ["resnet18", "vgg_mini", "resnet_mini", "mobilenet_mini"])
def test_every_backbone_fits(backbone):
    model = retinanet(classes=2, backbone=backbone, channels=8, depth=1, sizing=(64, 64, 32)).eval()
    raw = model(torch.rand(1, 3, 64, 64))
    assert [tuple(level.shape) for level in raw.class_logits] == [(1, 18, side, side) for side in (8, 4, 2, 1, 1)]
    assert [tuple(level.shape) for level in raw.offsets] == [(1, 36, side, side) for side in (8, 4, 2, 1, 1)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "resnet9"}, r'no backbone "resnet9".*resnet18, '),
        ({"anchor_sizes": [[16], [32]]}, "anchor_sizes = .*, 5 in all"),
        ({"anchor_sizes": [[16], [32], [64], [96], [1, 2]]}, "the same number of sizes"),
        ({"frozen": 5}, "4 stages"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(RecipeError, match=message):
        mini(**wrong)


@pytest.mark.parametrize("coarse", ["C5", "P5"])
def test_the_coarse_levels_are_convolutions_of_the_map_that_is_named(coarse):
    pyramid = mini(coarse=coarse, norm=False).backbone.eval()
    images = torch.rand(1, 3, 64, 64)
    maps = pyramid.features(images)
    sixth, seventh = pyramid.extra
    torch.testing.assert_close(maps[3], sixth(maps[2] if coarse == "P5" else pyramid.body.features(images)[-1]))
    torch.testing.assert_close(maps[4], seventh(maps[3].relu()))
    assert pyramid.strides == (8, 16, 32, 64, 128)


def test_its_stages_are_named():
    with measured() as seconds:
        mini().predict(torch.rand(3, 64, 64))
    assert list(seconds) == ["preparation", "features", "head", "selection"]


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_an_untrained_network_states_the_prior(prior):
    raw = mini(prior=prior).eval()(picture()[None])
    chances = torch.cat([level.flatten() for level in raw.class_logits]).sigmoid()
    assert chances.mean().item() == pytest.approx(prior, rel=0.3)


def test_the_losses_are_those_of_a_loop_over_anchors_and_classes():
    model = mini(sizing=(64, 64, 32), alpha=0.3, gamma=1.5).eval()
    images = torch.rand(2, 3, 64, 64)
    truth = [target([[4, 4, 20, 20], [20, 10, 60, 60]], [2, 0]), NOTHING]
    with torch.inference_mode():
        raw = model(images)
        losses = model.loss(images, truth)
    anchors = torch.cat(model.anchors(raw.features, (64, 64)))
    expected = {"class": 0.0, "box": 0.0}
    for row, wanted in enumerate(truth):
        # [A K, h, w] -> cells, A, K: the order of the anchors
        logits = torch.cat([level[row].permute(1, 2, 0).reshape(-1, 3) for level in raw.class_logits])
        offsets = torch.cat([level[row].permute(1, 2, 0).reshape(-1, 4) for level in raw.offsets])
        overlaps = overlap(wanted.boxes, anchors)
        best = overlaps.amax(1) if len(wanted.boxes) else None
        positives, class_loss, box_loss = 0, 0.0, 0.0
        for index in range(len(anchors)):
            own = overlaps[:, index]
            meant = -1
            if len(own) and (own.max() >= 0.5 or (own == best).any()):
                meant = int(own.argmax())
                positives += 1
                goal = encode(wanted.boxes[meant : meant + 1], anchors[index : index + 1])[0]
                box_loss += (offsets[index] - goal).abs().sum().item()
            elif len(own) and own.max() >= 0.4:
                continue
            for label in range(3):
                chance = logits[index, label].sigmoid().item()
                right, weight = chance, 0.3
                if meant < 0 or wanted.labels[meant] != label:
                    right, weight = 1 - chance, 0.7
                class_loss -= weight * (1 - right) ** 1.5 * math.log(right)
        expected["class"] += class_loss / max(positives, 1) / 2
        expected["box"] += box_loss / max(positives, 1) / 2
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-3)


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
@pytest.mark.parametrize("arguments", [{}, {"gamma": 0.0, "alpha": None}], ids=["focal loss", "cross-entropy"])
def test_losses_are_finite(targets, arguments):
    model = mini(**arguments).train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"class", "box"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_losses_are_finite_in_bfloat16():
    model = mini().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(picture()[None], [target()])
    sum(losses.values()).backward()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(torch.isfinite(part.grad).all() for part in model.parameters())


def test_a_crowd_region_is_no_background():
    """Anchors inside it teach nothing, so that the loss falls by what they taught."""
    model = mini().eval()
    whole = [[0.0, 0.0, 160.0, 160.0]]
    with torch.inference_mode():
        as_background = model.loss(picture()[None], [NOTHING])
        as_crowd = model.loss(picture()[None], [target(whole, [0], [True])])
    assert as_crowd["class"] < 0.1 * as_background["class"]


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
        assert found.scores[which].item() > 0.5


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_it_learns_a_picture_and_gives_boxes_in_its_pixels(trained, factor):
    enlarged = torch.nn.functional.interpolate(picture()[None], scale_factor=factor, mode="nearest")[0]
    (found,) = trained.predict((enlarged.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    assert_finds_both(found, torch.tensor(BOXES) * factor)
    assert found.names[0] in ("빨강", "초록")


def test_detections_are_limited_by_level_and_by_picture():
    model = mini(limit=7, count=2).eval()
    (found,) = model.predict(torch.rand(3, 160, 160), score=0.0)
    assert 0 < len(found) <= 7
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(mini(limit=100, count=2).eval().predict(torch.rand(3, 160, 160), score=0.0)[0]) <= 2 * 5
    assert len(model.predict(torch.rand(3, 160, 160), score=1.0)[0]) == 0


def test_detections_are_those_of_a_loop():
    model = mini(count=20, limit=50, sizing=(64, 64, 32), prior=0.4).eval()
    for tower in (model.class_tower, model.box_tower):
        torch.nn.init.normal_(tower[-1].weight, std=0.1)
    images = Images.of(torch.rand(1, 3, 64, 64))
    with torch.inference_mode():
        raw = model(images)
        (found,) = model.detections(raw, images, 0.45)
    candidates = []
    for logits, offsets, anchors in zip(
        raw.class_logits, raw.offsets, model.anchors(raw.features, (64, 64)), strict=True
    ):
        scores = logits[0].permute(1, 2, 0).reshape(-1, 3).sigmoid()
        moved = offsets[0].permute(1, 2, 0).reshape(-1, 4)
        pairs = [(scores[a, k].item(), a, k) for a in range(len(anchors)) for k in range(3) if scores[a, k] > 0.45]
        for score, a, k in sorted(pairs, reverse=True)[:20]:
            (x, y, w, h), (left, top, right, bottom) = moved[a].tolist(), anchors[a].tolist()
            x, y = (left + right) / 2 + x * (right - left), (top + bottom) / 2 + y * (bottom - top)
            w, h = (right - left) * math.exp(w) / 2, (bottom - top) * math.exp(h) / 2
            box = [min(max(edge, 0.0), 64.0) for edge in (x - w, y - h, x + w, y + h)]
            candidates.append((score, k, box))
    kept = []
    for score, k, box in sorted(candidates, reverse=True):
        others = torch.tensor([other for _, label, other in kept if label == k]).reshape(-1, 4)
        if min(box[2] - box[0], box[3] - box[1]) >= 0.01 and not (overlap(torch.tensor([box]), others) > 0.5).any():
            kept.append((score, k, box))
    assert len(found) == min(len(kept), 50) > 10
    assert found.labels.tolist() == [label for _, label, _ in kept[:50]]
    torch.testing.assert_close(found.boxes, torch.tensor([box for _, _, box in kept[:50]]), atol=1e-3, rtol=1e-4)


def test_torchvisions_output_for_the_background_is_left_out():
    theirs = torch.arange(9 * 4).float()  # 9 anchors; background and three classes
    ours = TORCHVISION_TENSORS["class_tower.8.bias"](theirs)
    assert ours.tolist() == [4 * anchor + label + 1 for anchor in range(9) for label in range(3)]
    weight = torch.rand(9 * 4, 5, 3, 3)
    assert torch.equal(TORCHVISION_TENSORS["class_tower.8.weight"](weight)[3], weight[5])


def test_a_checkpoint_with_a_background_gives_a_model_of_the_classes():
    small = {"backbone_options": {"widths": (4, 4, 4, 4)}, "channels": 8}
    tensors = dict(retinanet(**VARIANTS["retinanet_resnet50_fpn"], **small).state_dict())
    tensors |= {"class_tower.8.weight": torch.rand(27, 8, 3, 3), "class_tower.8.bias": torch.rand(27)}
    given = {name.replace("class_tower.8", "head.classification_head.cls_logits"): tensors[name] for name in tensors}
    loaded = weights.from_torchvision("retinanet_resnet50_fpn", given, **small)
    assert len(loaded.classes) == 2
    assert torch.equal(loaded.class_tower[8].bias.view(9, 2), tensors["class_tower.8.bias"].view(9, 3)[:, 1:])
