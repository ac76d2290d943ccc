import hashlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from siseon.data import digits
from siseon.data.digits import Digits


@pytest.mark.parametrize(
    "split, count, per_class",
    [
        ("train", 1297, [130, 130, 129, 131, 131, 132, 130, 130, 125, 129]),
        ("val", 200, [19, 21, 19, 21, 20, 20, 20, 20, 20, 20]),
        ("test", 300, [29, 31, 29, 31, 30, 30, 31, 29, 29, 31]),
    ],
)
def test_sizes_and_shares_of_the_splits(split, count, per_class):
    data = Digits(split)
    labels = [data.annotation(index).label for index in range(len(data))]
    assert len(data) == count
    assert np.bincount(labels).tolist() == per_class


def test_the_splits_are_all_of_scikit_learn_once():
    ours = sorted(
        (image.tobytes(), int(label))
        for split in digits.SPLITS
        for image, label in zip(*digits.originals(split), strict=True)
    )
    found = load_digits()
    theirs = sorted(
        (image.astype(np.int64).tobytes(), int(label)) for image, label in zip(found.images, found.target, strict=True)
    )
    assert ours == theirs


def test_names_are_unique():
    names = [data.annotation(index).name for _, data in digits.digits() for index in range(len(data))]
    assert len(set(names)) == 1797


def test_data_has_three_splits_of_one_task():
    data = digits.digits()
    assert (data.name, data.task, data.classes) == ("digits", "classification", tuple("0123456789"))
    assert [split for split, _ in data] == ["train", "val", "test"]
    assert all((split.task, split.classes) == (data.task, data.classes) for _, split in data)


@pytest.mark.parametrize(
    "split, index, digest",
    [
        ("train", 0, "13af28d8b4edf70c49c119b970faac181c8f2fb188a8434548bf221c79739ae6"),
        ("val", 100, "cb7514e230a6d72bab9492790fb2bbd16099718ed26becc8d6f1626dfc2c4504"),
        ("test", 299, "b4f6ef91e5955c4557d27b842422696442e838ff62466f3d9c5365896a235eb9"),
    ],
)
def test_pixels_are_the_same_everywhere(split, index, digest):
    assert hashlib.sha256(Digits(split).picture(index).tobytes()).hexdigest() == digest


def test_picture_is_white_ink_on_black_with_a_free_border():
    picture = Digits("train").picture(0)
    assert picture.shape == (*digits.SIZE, 3)
    assert picture.dtype == np.uint8
    assert picture.max() > 200
    assert not picture[[0, -1]].any() and not picture[:, [0, -1]].any()
    assert (picture == picture[..., :1]).all()


def naive_enlarged(digit, side):
    """Bilinear interpolation in floating point, one pixel after the other."""
    bordered = np.pad(digit, 1).astype(float)
    last = len(bordered) - 1
    result = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            y = min(max((row + 0.5) * len(bordered) / side - 0.5, 0), last)
            x = min(max((column + 0.5) * len(bordered) / side - 0.5, 0), last)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, last), min(left + 1, last)
            above = bordered[top, left] * (1 - x + left) + bordered[top, right] * (x - left)
            below = bordered[bottom, left] * (1 - x + left) + bordered[bottom, right] * (x - left)
            result[row, column] = above * (1 - y + top) + below * (y - top)
    return result / 16


@pytest.mark.parametrize("side", [3, 10, 15, 32, 57])
def test_enlarged_is_bilinear(side):
    digit = digits.originals("val")[0][7]
    grey, whole = digits.enlarged(digit, side)
    np.testing.assert_allclose(grey / whole, naive_enlarged(digit, side), atol=1e-12)


def test_full_ink_is_the_whole():
    grey, whole = digits.enlarged(np.full((8, 8), 16), 40)
    assert grey.max() == whole


def test_can_be_sent_to_a_worker():
    data = pickle.loads(pickle.dumps(Digits("val")))
    np.testing.assert_array_equal(data.picture(3), Digits("val").picture(3))
