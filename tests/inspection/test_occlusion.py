"""Occlusion finds the part of the picture that a network made by hand looks at."""

import pytest
import torch
from torch import nn

from siseon.inspection.occlusion import covered, occlusion, squares
from siseon.interface import SiseonError


class LooksAt(nn.Module):
    """The logit of class 1 is ten times the mean of one quadrant."""

    def __init__(self, top, left):
        super().__init__()
        self.rows = slice(0, 8) if top else slice(8, 16)
        self.columns = slice(0, 8) if left else slice(8, 16)

    def forward(self, images):
        seen = images[:, :, self.rows, self.columns].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(seen), 10 * seen], 1)


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_the_quadrant_is_found(top, left):
    network, picture = LooksAt(top, left), torch.full((3, 16, 16), 0.4)
    whole = network(picture[None]).softmax(1)[0, 1]
    heat = occlusion(network, picture, 1, square=4, step=2, colour=0.0)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[network.rows, network.columns] = True
    assert heat.shape == (16, 16)
    assert heat[inside].max() < heat[~inside].min()
    far = torch.roll(inside, (8, 8), (0, 1))
    far[3:13, :] = far[:, 3:13] = False  # no square there reaches the quadrant
    assert torch.allclose(heat[far], whole.expand(9))


def test_the_probability_under_one_square_by_hand():
    network, picture = LooksAt(top=True, left=True), torch.full((1, 16, 16), 0.4)
    heat = occlusion(network, picture, 1, square=8, step=8, colour=0.0)
    assert torch.allclose(heat[0, 0], torch.tensor(0.5))
    assert torch.allclose(heat[15, 15], torch.tensor(4.0).sigmoid())


@pytest.mark.parametrize(
    ("size", "square", "step"), [((16, 16), 8, 8), ((9, 31), 4, 3), ((7, 7), 7, 2), ((5, 8), 1, 1)]
)
def test_squares_cover_every_pixel_and_lie_alike_on_both_sides(size, square, step):
    times = torch.zeros(size)
    for left, top, right, bottom in squares(*size, square=square, step=step):
        assert 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
        assert right - left <= square and bottom - top <= square
        times[top:bottom, left:right] += 1
    assert times.min() >= 1
    assert (times.flip(0, 1) - times).abs().max() <= 1 or step > 1


def test_progress_and_batches_change_nothing():
    network, picture, calls = LooksAt(top=True, left=False), torch.rand(3, 16, 16), []
    one = occlusion(network, picture, 1, square=5, step=3, batch=1)
    many = occlusion(network, picture, 1, square=5, step=3, batch=7, progress=lambda *done: calls.append(done))
    assert torch.allclose(one, many)
    assert calls[-1][0] == calls[-1][1] == len(squares(16, 16, square=5, step=3))


def test_the_picture_stays_and_colours_are_taken():
    picture = torch.zeros(3, 4, 4)
    copy = covered(picture, (1, 0, 3, 2), torch.tensor([0.1, 0.2, 0.3]))
    assert picture.sum() == 0
    assert torch.allclose(copy[:, 1, 2], torch.tensor([0.1, 0.2, 0.3])) and copy[:, 2:].sum() == 0


@pytest.mark.parametrize("options", [{"square": 17}, {"square": 4, "step": 5}])
def test_sizes_that_make_no_sense(options):
    with pytest.raises(SiseonError, match="do not fit a picture of 16 x 16"):
        occlusion(LooksAt(top=True, left=True), torch.zeros(3, 16, 16), **options)


def test_only_for_classifiers():
    with pytest.raises(SiseonError, match="for classifiers"):
        occlusion(nn.Conv2d(3, 1, 1), torch.zeros(3, 8, 8))
