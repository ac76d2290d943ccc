import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

import golden
from siseon import weights
from siseon.boxes.geometry import encode, overlap, to_center
from siseon.data.augment import placement
from siseon.interface import Images, RecipeError, SiseonError, Sizing
from siseon.models.detection.ssd import VARIANTS, hardest, ssd
from siseon.stages import measured
from siseon.training.preparation import frame_of


def mini(**arguments):
    return ssd(**{**VARIANTS["ssd_mini"], "classes": 3, **arguments})


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


@pytest.mark.parametrize("name", ["ssd", "ssd300_vgg16"])
def test_the_parameters_are_those_published(name):
    with torch.device("meta"):
        model = ssd(**VARIANTS[name])
    assert sum(part.numel() for part in model.parameters()) == golden.PARAMETERS["ssd300_vgg16"]


def thin(**arguments):
    """SSD300 with VGG-16's layers and an eighth of its channels."""
    widths = {"widths": (8, 16, 32, 64, 64)}
    return ssd(**{"backbone_options": widths, "extra": (64, 32, 32, 32), "classes": 2, **arguments})


@torch.inference_mode()
def test_there_are_8732_default_boxes():
    raw = thin().eval()(torch.rand(1, 3, 300, 300))
    assert [tuple(level.shape[2:]) for level in raw.features] == [(n, n) for n in (38, 19, 10, 5, 3, 1)]
    assert (raw.class_logits.shape, raw.offsets.shape, raw.boxes.shape) == ((1, 8732, 3), (1, 8732, 4), (8732, 4))


@torch.inference_mode()
def test_the_default_boxes_are_those_of_the_paper():
    raw = thin().eval()(torch.rand(1, 3, 300, 300))
    centred = to_center(raw.boxes)
    first = 300 * 0.07
    between = 300 * math.sqrt(0.07 * 0.15)
    lying, standing = first * math.sqrt(2), first / math.sqrt(2)
    half = 300 / 38 / 2
    expected = [(first, first), (between, between), (lying, standing), (standing, lying)]
    torch.testing.assert_close(centred[:4], torch.tensor([[half, half, *sides] for sides in expected]))
    coarse = 38 * 38 * 4 + 19 * 19 * 6 + 10 * 10 * 6 + 5 * 5 * 6 + 3 * 3 * 4
    assert len(raw.boxes) == coarse + 4
    sides = 300 * torch.tensor([[0.87, 0.87], [math.sqrt(0.87 * 1.05)] * 2, [1, 0.87 / 2**0.5], [0.87 / 2**0.5, 1]])
    torch.testing.assert_close(centred[coarse:], torch.cat([torch.full((4, 2), 150.0), sides], 1))


@torch.inference_mode()
@pytest.mark.parametrize(("size", "step"), [(300, 8), (304, 8), (380, 380 / 48)])
def test_steps_hold_for_the_size_that_they_were_given_for(size, step):
    model = thin(steps=(8, 16, 32, 64, 100, 300)).eval()
    raw = model(torch.rand(1, 3, size, size))
    centres = to_center(raw.boxes)[:, 0]
    assert (centres[4] - centres[0]).item() == pytest.approx(step)


def test_pictures_too_small_for_the_last_map_are_refused():
    model = thin().eval()
    assert model(torch.rand(1, 3, 257, 257)).features[-1].shape[2:] == (1, 1)
    with pytest.raises(SiseonError, match="257 pixels on each side"):
        model(torch.rand(1, 3, 256, 300))


@pytest.mark.parametrize(("backbone", "levels"), [("resnet18", 5), ("resnet_mini", 5), ("mobilenet_mini", 5)])
def test_every_backbone_fits(backbone, levels):
    scales, ratios = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [[2]] * levels
    model = ssd(classes=2, backbone=backbone, extra=(16, 16), scales=scales, ratios=ratios, size=64).eval()
    raw = model(torch.rand(1, 3, 64, 64))
    assert [level.shape[2] for level in raw.features] == [8, 4, 2, 1, 1]
    assert raw.class_logits.shape == (1, (64 + 16 + 4 + 1 + 1) * 4, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "resnet9"}, r'no backbone "resnet9".*resnet18, '),
        ({"scales": (0.1, 0.2)}, r"2 scales and 4 lists of ratios do not fit 4 maps\. Give 5 scales"),
        ({"ratios": ((2,),)}, "1 lists of ratios do not fit"),
        ({"steps": (8,)}, "4 steps"),
        ({"frozen": 5}, "4 stages"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(RecipeError, match=message):
        mini(**wrong)


def test_the_fine_map_has_the_length_of_its_scale():
    features = thin().eval()(torch.rand(1, 3, 300, 300)).features
    length = features[0].norm(dim=1)
    torch.testing.assert_close(length[length > 0], torch.full_like(length[length > 0], 20.0))


def test_pictures_are_stretched_to_a_square():
    model = mini()
    images = model.batch([torch.rand(3, 50, 200), torch.rand(3, 300, 100)])
    assert (images.sizes, tuple(images.tensor.shape)) == (((160, 160),) * 2, (2, 3, 160, 160))


def test_the_rule_of_the_square_is_kept_in_a_file(tmp_path):
    model = weights.build("ssd_mini", classes=2)
    model.sizing = model.sizing._replace(shorter=96, longer=96)  # as training at another size does
    weights.save(model, tmp_path / "모델.safetensors")
    assert weights.load(tmp_path / "모델.safetensors").sizing.fit((50, 200)) == (96, 96)
    assert Sizing(96, 96, 1).fit((50, 200)) == (24, 96)


def test_training_stretches_pictures_as_prediction_does():
    assert placement(frame_of(mini()), (50, 200)) == ((160, 160), (160 / 50, 160 / 200))


def test_its_stages_are_named():
    with measured() as seconds:
        mini().predict(torch.rand(3, 64, 64))
    assert list(seconds) == ["preparation", "features", "head", "selection"]


@pytest.mark.parametrize("ratio", [3.0, 1.0, None])
def test_the_losses_are_those_of_a_loop_over_boxes(ratio):
    model = mini(negatives_per_positive=ratio, size=64).eval()
    images = torch.rand(2, 3, 64, 64)
    truth = [target([[4, 4, 20, 20], [20, 10, 60, 60]], [2, 0]), target([[10, 10, 40, 30]], [1])]
    with torch.inference_mode():
        raw = model(images)
        losses = model.loss(images, truth)
    class_loss, box_loss, positives = 0.0, 0.0, 0
    for logits, offsets, wanted in zip(raw.class_logits, raw.offsets, truth, strict=True):
        overlaps = overlap(wanted.boxes, raw.boxes)
        negatives, count = [], 0
        for index in range(len(raw.boxes)):
            own = overlaps[:, index]
            if own.max() >= 0.5 or (own == overlaps.amax(1)).any():
                meant = int(own.argmax())
                count += 1
                class_loss -= logits[index].log_softmax(0)[wanted.labels[meant] + 1].item()
                goal = encode(wanted.boxes[meant : meant + 1], raw.boxes[index : index + 1], (10, 10, 5, 5))[0]
                box_loss += F.smooth_l1_loss(offsets[index], goal, reduction="sum").item()
            else:
                negatives.append(-logits[index].log_softmax(0)[0].item())
        hard = len(negatives) if ratio is None else int(ratio * count)
        class_loss += sum(sorted(negatives, reverse=True)[:hard])
        positives += count
    expected = {"class": class_loss / positives, "box": box_loss / positives}
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_the_hardest_of_each_picture_are_chosen():
    losses = torch.tensor([[5.0, 1, 4, 2], [1, 2, 3, 4]])
    negative = torch.tensor([[False, True, True, True], [True, True, False, True]])
    chosen = hardest(losses, negative, torch.tensor([2.0, 9.0]))
    assert chosen.tolist() == [[False, False, True, True], [True, True, False, True]]
    assert not hardest(losses, negative, torch.zeros(2)).any()


def test_the_losses_reach_every_parameter():
    model = mini().train()
    sum(model.loss(picture()[None].repeat(2, 1, 1, 1), [target(), target()]).values()).backward()
    assert [name for name, part in model.named_parameters() if part.grad is None] == []


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
@pytest.mark.parametrize("ratio", [3.0, None])
def test_losses_are_finite(targets, ratio):
    model = mini(negatives_per_positive=ratio).train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"class", "box"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(part.grad).all() for part in model.parameters() if part.grad is not None)


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


@pytest.mark.parametrize("factors", [(1, 1), (0.5, 0.5), (2, 1), (1, 3)])
def test_it_learns_a_picture_and_gives_boxes_in_its_pixels_however_stretched(trained, factors):
    down, across = factors
    size = (int(160 * down), int(160 * across))
    pixels = F.interpolate(picture()[None], size, mode="nearest")[0].permute(1, 2, 0).numpy()
    (found,) = trained.predict((pixels * 255).astype(np.uint8))
    for label, box in enumerate(torch.tensor(BOXES) * torch.tensor([across, down, across, down])):
        which = (found.labels == label).nonzero()[:1, 0]
        assert overlap(found.boxes[which], box[None]).tolist() == [[pytest.approx(1, abs=0.3)]]
        assert found.scores[which].item() > 0.5
    assert found.names[0] in ("빨강", "초록")


def test_detections_are_limited():
    model = mini(limit=3).eval()
    (found,) = model.predict(torch.rand(3, 160, 160), score=0.0)
    assert len(found) == 3
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(model.predict(torch.rand(3, 160, 160), score=1.0)[0]) == 0


def test_the_colours_of_published_weights_are_on_their_scale():
    with torch.device("cpu"):
        model = thin(mean=(0.48235, 0.45882, 0.40784), deviation=(1 / 255,) * 3)
    scaled = Images.of(torch.ones(1, 3, 300, 300)).normalised(model.mean, model.deviation)
    torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor([132.0, 138.0, 151.0]), atol=1e-2, rtol=0)


def test_weights_of_a_vgg_fill_the_body(tmp_path):
    classifier = weights.build("vgg16", classes=2, widths=(8, 16, 32, 64, 64), hidden=8)
    weights.save(classifier, tmp_path / "vgg.safetensors")
    arguments = {"backbone_options": {"widths": [8, 16, 32, 64, 64]}, "extra": [64, 32, 32, 32], "classes": 2}
    model = weights.build("ssd", weights=tmp_path / "vgg.safetensors", **arguments)
    for name, tensor in model.backbone.body.state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[f"body.{name}"])
