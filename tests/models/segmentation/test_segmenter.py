import numpy as np
import pytest
import torch
import torch.nn.functional as F

from siseon.interface import VOID, Images, RecipeError
from siseon.models.segmentation.segmenter import Segmenter, at_size


class Brightness(Segmenter):
    """Dark pixels are class 0, bright ones class 1; at half the resolution, as networks do."""

    def __init__(self, class_weights=None, sizing=(32, 64, 8)):
        super().__init__(classes=("어둠", "빛"), sizing=sizing, class_weights=class_weights)

    def logits(self, normalised):
        assert normalised.shape[-2] % self.sizing.multiple == normalised.shape[-1] % self.sizing.multiple == 0
        grey = F.avg_pool2d(normalised, 2).mean(1, keepdim=True)
        return torch.cat([-grey, grey], 1)


def half_bright(height, width):
    picture = torch.zeros(3, height, width)
    picture[:, :, width // 2 :] = 1
    return picture


def test_a_prediction_has_the_size_of_its_picture_and_the_right_place():
    (found,) = Brightness().predict(half_bright(90, 140))
    assert found.labels.shape == found.scores.shape == (90, 140)
    assert found.labels.dtype == torch.int64
    assert (found.labels[:, :66] == 0).all() and (found.labels[:, 74:] == 1).all()
    assert ((found.scores >= 0.5) & (found.scores <= 1)).all()
    assert found.to_json() == {"어둠": pytest.approx(0.5, abs=0.03), "빛": pytest.approx(0.5, abs=0.03)}


def test_pictures_of_different_sizes_share_a_batch():
    model = Brightness()
    pictures = [half_bright(90, 140), half_bright(50, 40), np.zeros((33, 61), np.uint8)]
    together = model.predict(pictures, batch=3)
    assert [tuple(one.labels.shape) for one in together] == [(90, 140), (50, 40), (33, 61)]
    for one, picture in zip(together, pictures, strict=True):
        (alone,) = model.predict(picture)
        assert (alone.labels == one.labels).float().mean() > 0.97  # the padding is seen at the edge


@pytest.mark.parametrize("size", [(16, 24), (17, 31), (8, 9)])
def test_logits_have_the_size_of_the_images_whatever_it_is(size):
    assert Brightness()(torch.rand(2, 3, *size)).shape == (2, 2, *size)


def test_the_loss_is_the_mean_over_the_known_pixels():
    model = Brightness()
    images, labels = torch.rand(2, 3, 16, 16), torch.randint(0, 2, (2, 16, 16), dtype=torch.uint8)
    labels[0, :5], labels[1, :, 3] = VOID, VOID
    log_shares = model(images).log_softmax(1)
    terms = [-log_shares[n, int(labels[n, y, x]), y, x] for n, y, x in np.ndindex(2, 16, 16) if labels[n, y, x] != VOID]
    torch.testing.assert_close(model.loss(images, labels)["class"], torch.stack(terms).mean())


def test_class_weights_weigh_the_pixels_of_their_class():
    images, labels = torch.rand(1, 3, 16, 16), torch.randint(0, 2, (1, 16, 16), dtype=torch.uint8)
    weighted = Brightness(class_weights=[1, 3]).loss(images, labels)["class"]
    expected = F.cross_entropy(Brightness()(images), labels.long(), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(weighted, expected)
    assert "class_weights" not in Brightness(class_weights=[1, 3]).state_dict()
    with pytest.raises(RecipeError, match="3 class weights are given for 2 classes"):
        Brightness(class_weights=[1, 2, 3])


@pytest.mark.parametrize("weights", [None, [1.0, 2.0]])
def test_a_picture_of_which_nothing_is_known_has_no_loss(weights):
    labels = torch.full((1, 16, 16), VOID, dtype=torch.uint8)
    assert Brightness(class_weights=weights).loss(torch.rand(1, 3, 16, 16), labels)["class"] == 0


def test_padding_of_a_batch_does_not_reach_the_truth():
    model = Brightness()
    images = Images.of([torch.rand(3, 16, 16), torch.rand(3, 8, 16)], multiple=8)
    labels = torch.full((2, 16, 16), VOID, dtype=torch.uint8)
    labels[0], labels[1, :8] = 0, 1
    model.loss(images, labels)["class"].backward() if model.training and model.class_weights else None
    assert torch.isfinite(model.loss(images, labels)["class"])


def test_enlarging_is_bilinear_and_leaves_the_padding_out():
    logits, normalised = torch.rand(1, 2, 4, 4), torch.zeros(1, 3, 8, 8)
    whole = F.interpolate(logits, (8, 8), mode="bilinear")
    assert torch.equal(at_size(logits, normalised, (7, 5)), whole[..., :7, :5])
