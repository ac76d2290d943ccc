"""Regions are hidden so that nothing comes back, and nothing else is touched."""

import numpy as np
import pytest

from siseon.hiding import hide, regions

BOX = np.array([[10, 8, 34, 28]])


def noise(shape, dtype=np.uint8):
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (np.random.default_rng(0).random(shape) * top).astype(dtype)


@pytest.mark.parametrize("how", ["fill", "pixelate", "blur"])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((40, 50, 3), np.uint8),
        ((40, 50), np.uint8),
        ((40, 50, 4), np.uint16),
        ((40, 50), np.uint16),
        ((40, 50), np.float32),
    ],
)
def test_only_the_region_changes(how, shape, dtype):
    pixels = noise(shape, dtype)
    before = pixels.copy()
    hidden = hide(pixels, BOX, how=how, margin=0)
    inside = np.zeros(shape[:2], bool)
    inside[8:28, 10:34] = True
    assert np.array_equal(pixels, before) and (hidden.dtype, hidden.shape) == (pixels.dtype, pixels.shape)
    assert np.array_equal(hidden[~inside], pixels[~inside])
    assert (hidden[inside] != pixels[inside]).mean() > 0.9


def test_a_fill_is_one_colour_and_leaves_alpha():
    hidden = hide(noise((40, 50, 4)), BOX, how="fill", margin=0, black=(1, 2, 3))
    assert (hidden[8:28, 10:34, :3] == (1, 2, 3)).all()
    assert np.array_equal(hidden[..., 3], noise((40, 50, 4))[..., 3])


def test_a_pixelation_has_sixteen_tiles_and_is_never_the_same():
    one, other = (hide(noise((40, 50, 3)), BOX, how="pixelate", margin=0)[8:28, 10:34] for _ in range(2))
    assert len(np.unique(one.reshape(-1, 3), axis=0)) <= 16
    assert not np.array_equal(one, other)


def test_two_faces_become_alike_in_pixelation():
    """Of two patterns with the same means nothing is left that tells them apart."""
    grey = np.full((40, 50, 3), 120, np.uint8)
    chess = grey + np.where(np.indices((40, 50)).sum(0) % 2, 20, -20)[..., None].astype(np.uint8)
    means = [
        np.mean([hide(each, BOX, how="pixelate", margin=0)[8:28, 10:34].reshape(4, 5, 4, 6, 3).mean((1, 3, 4))
                 for _ in range(60)], 0)
        for each in (grey, chess)
    ]  # fmt: skip
    assert (chess != grey).all() and np.abs(means[0] - means[1]).max() < 20


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ([10.4, 8.6, 33.2, 27.1], 0, [[10, 8, 34, 28]]),  # outward to whole pixels
        ([10, 10, 20, 30], 0.1, [[9, 8, 21, 32]]),
        ([-5, -5, 5, 5], 0, [[0, 0, 5, 5]]),
        ([45, 35, 80, 90], 0.2, [[38, 24, 50, 40]]),
        ([60, 60, 80, 90], 0, []),
        ([5, 5, 5, 9], 0, []),
    ],
)
def test_regions_lie_in_the_picture(box, margin, expected):
    assert regions(np.array([box]), (40, 50), margin).tolist() == expected


def test_no_box_changes_nothing():
    assert np.array_equal(hide(noise((9, 9, 3)), np.zeros((0, 4)), how="fill", margin=1), noise((9, 9, 3)))


@pytest.mark.parametrize("how", ["fill", "pixelate", "blur"])
def test_a_region_of_one_pixel(how):
    hidden = hide(noise((9, 9, 3)), np.array([[4, 4, 5, 5]]), how=how, margin=0)
    assert np.array_equal(np.delete(hidden.reshape(-1, 3), 40, 0), np.delete(noise((9, 9, 3)).reshape(-1, 3), 40, 0))
