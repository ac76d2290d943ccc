import copy

import pytest
import torch
from scenes_of_two import BOXES, LABELS, NOTHING, picture, target

from siseon.boxes.geometry import decode, overlap
from siseon.interface import Images, RecipeError
from siseon.models.detection import rcnn as paper
from siseon.models.detection.rcnn import VARIANTS, rcnn, warp

SIZE = (160, 160)


def around(images):
    """Shifted and scaled copies of the two objects, and boxes on a grid, for each picture."""
    shifts = torch.linspace(-8, 8, 6)[:, None] * torch.tensor([[1.0, 1, 1, 1]])
    growth = torch.linspace(-8, 8, 6)[:, None] * torch.tensor([[-1.0, -1, 1, 1]])
    near = [torch.tensor([box]) + change for box in BOXES for change in (shifts, growth)]
    corners = torch.cartesian_prod(torch.arange(0.0, 120, 30), torch.arange(0.0, 120, 30))
    boxes = torch.cat([*near, torch.cat([corners, corners + 35], 1)])
    return [boxes.clone() for _ in images.sizes]


def mini(**arguments):
    options = {"classes": 2, "crop": 32, "backbone_options": {"widths": (8, 16, 24, 32)}, **arguments}
    model = rcnn(**{**VARIANTS["rcnn_mini"], **options})
    model.proposals = around
    return model


def batches(count=2):
    images = Images.of(picture()[None].repeat(count, 1, 1, 1))
    return [(images, [target()] * count)]


@pytest.fixture(scope="module")
def tuned():
    """A small CNN that has seen one picture of two objects fifty times."""
    torch.manual_seed(0)
    model = mini(classes=("빨강", "초록"), box_samples=32).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(50):
        optimizer.zero_grad()
        sum(model.loss(picture()[None], [target()]).values()).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def completed(tuned):
    """The same with SVMs and regressors; it stays as it was otherwise."""
    before = {name: value.clone() for name, value in tuned.named_parameters()}
    model = copy.deepcopy(tuned).train()
    model.complete(batches(24))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    return model.eval()


def test_the_cnn_of_the_paper_has_its_parameters():
    with torch.device("meta"):
        model = rcnn()
    alexnet_of_1000, last_layer = 60_965_224, 4096 * 1000 + 1000
    assert sum(part.numel() for part in model.parameters()) == alexnet_of_1000 - last_layer + 4096 * 21 + 21
    assert (model.svm_weight.shape, model.regressor_weight.shape) == ((20, 4096), (80, 9216))


def test_a_region_of_227_pixels_has_6_by_6_cells_in_pool5():
    model = rcnn(classes=2, backbone_options={"widths": (4, 4, 4, 4, 4)}, hidden=(8, 8)).eval()
    pooled, features = model.backbone(torch.rand(2, 3, 227, 227))
    assert (pooled.shape, features.shape) == ((2, 4 * 36), (2, 8))


@pytest.mark.parametrize("backbone", ["mobilenet_mini", "resnet18"])
def test_every_body_describes_regions(backbone):
    model = rcnn(classes=3, backbone=backbone, crop=64, context=4, grid=2, hidden=()).eval()
    model.proposals = around
    raw = model(torch.rand(1, 3, 160, 160))
    assert raw.class_logits.shape == (len(raw.proposals[0]), 4)
    assert raw.box_offsets.shape == (len(raw.proposals[0]), 12)


def test_alexnet_comes_in_one_tower_too_for_its_published_weights():
    with torch.device("meta"):
        model = rcnn(backbone="alexnet_one_tower")
    assert model.backbone.body.channels == (64, 192, 256, 256)
    assert model.backbone.pooled == 9216


def test_a_body_that_does_not_exist_is_refused():
    with pytest.raises(RecipeError, match='no backbone "resnet9"'):
        rcnn(backbone="resnet9")


def test_warping_without_scaling_copies_pixels_with_their_context():
    pixels = torch.rand(3, 40, 50)
    regions = warp(pixels, (40, 50), torch.tensor([[10.0, 8, 22, 20]]), crop=16, context=2)
    torch.testing.assert_close(regions[0], pixels[:, 6:22, 8:24])


def test_a_region_fills_its_square_but_for_the_context():
    pixels = torch.zeros(3, 80, 100)
    pixels[:, 20:60, 30:50] = 1
    (region,) = warp(pixels, (80, 100), torch.tensor([[30.0, 20, 50, 60]]), crop=24, context=4)
    torch.testing.assert_close(region[:, 5:19, 5:19], torch.ones(3, 14, 14))
    assert region[:, 4:20, 4:20].min() > 0.75
    assert region[:, :3].sum() == region[:, 21:].sum() == region[:, :, :3].sum() == region[:, :, 21:].sum() == 0


def test_beyond_the_picture_lies_the_mean_colour_also_in_padding():
    pixels = torch.ones(3, 64, 64)
    (region,) = warp(pixels, (20, 30), torch.tensor([[0.0, 0, 30, 20]]), crop=32, context=8)
    torch.testing.assert_close(region[:, 8:24, 8:24], torch.ones(3, 16, 16))
    assert region[:, :6].abs().sum() == region[:, 26:].abs().sum() == region[:, :, :6].abs().sum() == 0


def test_large_regions_are_averaged_down():
    pixels = torch.rand(3, 128, 128)
    (region,) = warp(pixels, (128, 128), torch.tensor([[0.0, 0, 128, 128]]), crop=16, context=0)
    torch.testing.assert_close(region, torch.nn.functional.avg_pool2d(pixels, 8), atol=1e-5, rtol=0)


def test_regions_are_described_alike_in_any_pieces(monkeypatch):
    model = mini().eval()
    images = Images.of([torch.rand(3, 160, 160), torch.rand(3, 120, 100)])
    with torch.inference_mode():
        whole = model(images)
        monkeypatch.setattr(paper, "CHUNK", 7)
        pieces = model(images)
    torch.testing.assert_close(whole.class_logits, pieces.class_logits)
    assert len(whole.class_logits) == sum(len(boxes) for boxes in whole.proposals)


def test_a_quarter_of_the_regions_to_learn_are_objects():
    boxes, outputs = mini(box_samples=16)._chosen(around(Images.of(picture()))[0], target())
    assert outputs.tolist() == sorted(outputs.tolist(), key=lambda output: output == 0)
    assert (outputs > 0).sum() == 4
    best = overlap(target().boxes, boxes).max(0)
    assert (best.values[:4] >= 0.5).all()
    assert (best.values[4:] < 0.5).all()
    assert torch.equal(outputs[:4] - 1, target().labels[best.indices[:4]])


@pytest.mark.parametrize(
    "targets",
    [[NOTHING, NOTHING], [target(), NOTHING], [target(BOXES, LABELS, [True, True])] * 2],
    ids=["no objects", "objects in one picture", "crowd only"],
)
def test_losses_are_finite_and_reach_every_parameter(targets):
    model = mini().train()
    losses = model.loss(torch.rand(2, 3, 160, 160), targets)
    sum(losses.values()).backward()
    assert set(losses) == {"class"}
    assert all(torch.isfinite(part.grad).all() and part.grad.abs().sum() for part in model.parameters())


def test_before_completion_the_softmax_scores_the_proposals(tuned):
    raw = tuned(picture()[None])
    (found,) = tuned.detections(raw, Images.of(picture()[None]), 0.3)
    assert not tuned.completed.any()
    assert torch.isin(found.scores, raw.class_logits.softmax(1)).all()
    assert overlap(found.boxes, raw.proposals[0].clamp(0, 160)).amax(1).min() == pytest.approx(1)


def test_svms_find_both_objects(completed):
    (found,) = completed.predict(picture(), score=0.5)
    assert completed.completed.tolist() == [True, True]
    for label, box in enumerate(torch.tensor(BOXES)):
        best = (found.labels == label).nonzero()[0, 0]
        assert overlap(found.boxes[best, None], box[None]) > 0.7


def test_regressors_bring_proposals_nearer_to_their_object(completed):
    raw = completed(picture()[None])
    boxes = decode(raw.box_offsets, raw.proposals[0]).view(-1, 2, 4)
    for label, box in enumerate(torch.tensor(BOXES)):
        before, after = (overlap(box[None], each)[0] for each in (raw.proposals[0], boxes[:, label]))
        near = (before > 0.6) & (before < 0.9)
        assert near.sum() > 5
        assert after[near].mean() > before[near].mean() + 0.005


def test_a_margin_of_one_is_a_score_of_95_percent(completed):
    raw = completed(picture()[None])
    margins = torch.full_like(raw.margins, -9)
    margins[3, 1] = 1
    (found,) = completed.detections(raw._replace(margins=margins), Images.of(picture()[None]), 0.05)
    assert found.scores.tolist() == [pytest.approx(0.9526, abs=1e-4)]
    expected = decode(raw.box_offsets[3:4, 4:], raw.proposals[0][3:4])
    torch.testing.assert_close(found.boxes, expected.clamp(0, 160))


def test_what_was_fitted_is_saved_with_the_model(completed):
    again = mini(classes=("빨강", "초록"))
    again.load_state_dict(completed.state_dict())
    (first,), (second,) = completed.predict(picture()), again.predict(picture())
    assert torch.equal(first.scores, second.scores)


def test_further_training_puts_it_aside_and_validation_does_not(completed):
    model = mini()
    model.load_state_dict(completed.state_dict())
    model.eval().loss(picture()[None], [target()])
    assert model.completed.all()
    model.train().loss(picture()[None], [target()])
    assert not model.completed.any()


def test_a_class_that_no_picture_shows_is_never_detected():
    model = mini(classes=3).eval()
    model.complete(batches(1))
    assert model.completed.tolist() == [True, True, False]
    (found,) = model.predict(picture(), score=1e-6)
    assert 2 not in found.labels.tolist()


def test_without_any_object_the_softmax_stays():
    model = mini().eval()
    model.complete([(Images.of(picture()[None]), [NOTHING])])
    assert not model.completed.any()


def test_features_lie_in_the_folder_given_and_go(tmp_path):
    seen = []

    def watched():
        yield from batches(1)
        seen.extend(tmp_path.rglob("*.npz"))

    mini().complete(watched(), cache=tmp_path)
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_svms_and_regressors_learn_from_a_picture():
    model = mini(classes=3).eval()
    truth = target([*BOXES, [0.0, 90, 60, 160]], [0, 1, 2], [False, False, True])
    proposals = torch.tensor([[22.0, 32, 72, 82], [60, 30, 110, 80], [0, 100, 50, 150], [95, 65, 140, 120]])
    with torch.inference_mode():
        example = model._example(Images.of(picture()[None]), proposals, truth)
    assert example["features"].shape == (6, model.backbone.width)
    assert example["labels"].tolist() == [0, 1]
    # rows: both true boxes, a copy of the first, one that touches it by 0.11, one in the crowd, a copy of the second
    assert example["negative"].T.tolist() == [
        [False, True, False, True, False, True],
        [True, False, True, True, False, False],
        [True, True, True, True, False, True],
    ]
    assert example["kinds"].tolist() == [0, 1]
    near = proposals[[0, 3]]
    torch.testing.assert_close(decode(torch.from_numpy(example["offsets"]), near), torch.tensor(BOXES))
