import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from siseon import zoo
from siseon.interface import PictureError
from siseon.models.classification.classifier import Classifier, one_or_more


class MeanColour(Classifier):
    """Logits are the mean of each normalised channel."""

    def __init__(self, *, resize=8, crop=4):
        super().__init__(classes=("red", "초록", "blue"), resize=resize, crop=crop)
        self.dropout = nn.Dropout()

    def logits(self, normalised):
        return normalised.mean((2, 3))


GREY = np.full((10, 12, 3), 128, np.uint8)


def test_pictures_are_normalised_inside():
    image = torch.tensor([0.485, 0.456 + 0.224, 0.406]).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    torch.testing.assert_close(MeanColour()(image), torch.tensor([[0.0, 1.0, 0.0]]))


@pytest.mark.parametrize(
    "targets", [torch.tensor([1, 2]), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])], ids=["labels", "shares"]
)
def test_the_loss_takes_labels_or_shares(targets):
    model, images = MeanColour(), torch.rand(2, 3, 4, 4)
    scores = model(images).softmax(1)
    expected = -(scores[0, 1].log() + scores[1, 2].log()) / 2
    torch.testing.assert_close(model.loss(images, targets), {"class": expected})


@pytest.mark.parametrize(
    "picture",
    [GREY, GREY.astype(np.float32) / 255, Image.fromarray(GREY), torch.from_numpy(GREY).permute(2, 0, 1)],
    ids=["uint8 array", "float array", "PIL image", "tensor"],
)
def test_every_kind_of_picture_is_taken(picture):
    (one,) = MeanColour().predict(picture)
    (same,) = MeanColour().predict([picture])
    expected = (torch.full((3,), 128 / 255) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(one.scores, expected.softmax(0), atol=1e-3, rtol=0)
    assert torch.equal(one.scores, same.scores)
    assert one.classes == ("red", "초록", "blue")


def test_files_are_read_also_with_hangul_in_their_names(tmp_path):
    path = tmp_path / "사진 1.png"
    Image.fromarray(GREY).save(path)
    model = MeanColour()
    from_files = model.predict([path, str(path)])
    assert [torch.equal(each.scores, model.predict(GREY)[0].scores) for each in from_files] == [True, True]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PictureError, match="nothing"):
        MeanColour().predict(tmp_path / "nothing.png")


def test_no_pictures_give_no_predictions():
    assert MeanColour().predict([]) == []


def test_the_batch_size_does_not_matter():
    pictures = [np.random.default_rng(seed).integers(0, 256, (9 + seed, 12, 3), np.uint8) for seed in range(5)]
    model = MeanColour()
    for one, two in zip(model.predict(pictures, batch=1), model.predict(pictures, batch=2), strict=True):
        torch.testing.assert_close(one.scores, two.scores)


@pytest.mark.parametrize("training", [True, False])
def test_predict_restores_the_mode(training):
    model = MeanColour().train(training)
    model.predict(GREY)
    assert (model.training, model.dropout.training) == (training, training)


def test_predict_takes_the_centre_of_a_wide_picture():
    picture = torch.zeros(3, 8, 24)
    picture[0, :, :10], picture[1, :, 10:14], picture[2, :, 14:] = 1, 1, 1
    (found,) = MeanColour(resize=8, crop=4).predict(picture)
    assert found.top(1)[0][0] == "초록"


def test_scaling_down_averages():
    stripes = torch.zeros(3, 64, 64)
    stripes[:, :, ::2] = 1
    model = MeanColour(resize=8, crop=8)
    prepared = model._prepared(stripes)
    torch.testing.assert_close(prepared, torch.full((3, 8, 8), 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 60), (9, 9)])
def test_scaling_is_that_of_pillow(kind, size):
    picture = np.random.default_rng(0).integers(64, 192, (*size, 3), np.uint8)  # nothing for Pillow to clip
    model = MeanColour(resize=16, crop=16)
    model.interpolation = kind
    height, width = (16 * side // min(size) for side in size)
    scaled = (
        np.array(Image.fromarray(picture).resize((width, height), Image.Resampling[kind.upper()]), np.float32) / 255
    )
    left = round((width - 16) / 2)
    found = model._prepared(picture).permute(1, 2, 0).numpy()
    assert np.abs(found - scaled[:, left : left + 16]).max() < 0.01
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize(
    ("given", "count"),
    [("a.png", 1), (GREY, 1), (torch.zeros(3, 4, 4), 1), (torch.zeros(5, 3, 4, 4), 5), (["a", "b"], 2), ([], 0)],
)
def test_one_picture_or_several(given, count):
    assert len(one_or_more(given)) == count


def test_mirrored_is_the_mean_of_both_views():
    torch.manual_seed(0)
    model = zoo.create("resnet_mini", classes=3)
    picture = torch.rand(3, 40, 50)
    both = model.predict(picture, mirrored=True)[0].scores
    one, other = (model.predict(view)[0].scores for view in (picture, picture.flip(-1)))
    torch.testing.assert_close(both, (one + other) / 2)
    assert not torch.allclose(one, other, atol=1e-5)
    torch.testing.assert_close(model.predict(picture.flip(-1), mirrored=True)[0].scores, both)
