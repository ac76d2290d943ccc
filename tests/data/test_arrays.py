import numpy as np
import pytest

from siseon.data.open_data import open_data
from siseon.interface import DataError

LABELS = np.arange(40) % 4


def pictures(count=40, channels=()):
    return np.random.default_rng(0).integers(0, 256, (count, 12, 10, *channels), np.uint8)


def saved(folder, **arrays):
    file = folder / "글자.npz"
    np.savez(file, **arrays)
    return file


def test_grey_pictures_of_train_and_test(tmp_path):
    images = pictures()
    file = saved(tmp_path, train_images=images, train_labels=LABELS, test_images=images[:8], test_labels=LABELS[:8])
    data = open_data(file)
    assert (data.name, data.classes) == ("글자", ("0", "1", "2", "3"))
    assert {split: len(dataset) for split, dataset in data} == {"train": 36, "val": 4, "test": 8}
    assert data.test.picture(3).shape == (12, 10, 3)
    assert (data.test.picture(3)[..., 1] == images[3]).all()
    assert data.test.annotation(3).label == 3
    assert "4 of 40" in str(data.problems[0])


def test_the_tenth_that_validates_follows_the_seed(tmp_path):
    file = saved(tmp_path, x_train=pictures(), y_train=LABELS)
    first, again, other = (open_data(file, seed=seed).val.images for seed in (0, 0, 1))
    assert (first == again).all()
    assert not (first == other).all()


def test_keras_names_colours_and_named_classes(tmp_path):
    images = pictures(channels=(3,))
    names = np.array(["개", "cat", "새", "fish"])
    data = open_data(
        saved(tmp_path, x_train=images, y_train=LABELS[:, None], x_val=images, y_val=LABELS, classes=names)
    )
    assert data.classes == ("개", "cat", "새", "fish")
    assert not data.problems
    assert (data.train.picture(1) == images[1]).all()
    some = open_data(saved(tmp_path, x_train=images, y_train=LABELS, classes=names), classes=["새", "개"])
    assert some.classes == ("새", "개")
    assert sorted({some.train.annotation(index).label for index in range(len(some.train))}) == [0, 1]


def test_floats_and_labels_with_gaps(tmp_path):
    data = open_data(saved(tmp_path, x_train=pictures() / 255, y_train=LABELS * 10))
    assert data.classes == ("0", "10", "20", "30")
    assert data.train.picture(0).dtype == np.uint8
    assert data.train.picture(0).max() > 200


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pixels": pictures()}, "holds no pictures and labels, only pixels"),
        ({"x_train": pictures(), "y_train": LABELS[:5]}, "y_train is not one whole number"),
        ({"x_train": pictures() - 300.0, "y_train": LABELS}, "x_train holds float64"),
        ({"x_train": pictures()[0], "y_train": LABELS}, "x_train has the shape (12, 10)"),
        ({"x_train": pictures(), "y_train": LABELS, "classes": np.array(["a", "b"])}, "run to 3, but there are 2"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, arrays, words):
    with pytest.raises(DataError) as fault:
        open_data(saved(tmp_path, **arrays))
    assert words in str(fault.value)
    assert "글자.npz" in str(fault.value)


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        open_data(tmp_path / "a.npz")
    with pytest.raises(DataError, match="has none of the classes"):
        open_data(saved(tmp_path, x_train=pictures(), y_train=LABELS), classes=["x"])
