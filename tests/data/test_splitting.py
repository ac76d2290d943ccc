"""Splits of pictures that nobody has split."""

import shutil

import pytest
from small_sets import picture, voc_xml, whats

from siseon.data.open_data import open_data

BOX = (5, 6, 25, 16)


def pool(folder, names, content=None):
    for name in names:
        picture(folder / f"{name}.png", size=(8, 10), content=content)
        voc_xml(folder / f"{name}.xml", [("cat", (1, 1, 5, 5))], size=(8, 10))
    return folder


def places(data):
    return {dataset.annotation(index).name: split for split, dataset in data for index in range(len(dataset))}


def counts(data):
    return {split: len(dataset) for split, dataset in data}


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (1, {"train": 1, "val": 1}),
        (2, {"train": 1, "val": 1}),
        (3, {"train": 1, "val": 1, "test": 1}),
        (10, {"train": 8, "val": 1, "test": 1}),
        (40, {"train": 32, "val": 4, "test": 4}),
    ],
)
def test_a_pool_is_split_80_10_10(tmp_path, pictures, expected):
    data = open_data(pool(tmp_path, [str(number) for number in range(pictures)]))
    assert counts(data) == expected
    assert len(data.val) and len(data.test)
    assert any("only picture" in line for line in whats(data)) == (pictures == 1)


def test_the_split_follows_the_names_and_the_seed_alone(tmp_path):
    names = [str(number) for number in range(30)]
    first = open_data(pool(tmp_path / "a", names))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert places(first) == places(open_data(tmp_path / "b"))
    assert places(first) != places(open_data(tmp_path / "a", seed=1))


def test_copies_stay_together(tmp_path):
    names = [str(number) for number in range(20)]
    for copy in "abc":
        for name in names:
            pool(tmp_path, [f"{copy}{name}"], content=name)
    found = places(open_data(tmp_path))
    assert all(len({found[f"{copy}{name}.png"] for copy in "abc"}) == 1 for name in names)
    assert set(found.values()) == {"train", "val", "test"}


def test_copies_of_one_picture_are_all_there_is(tmp_path):
    data = open_data(pool(tmp_path, "abc", content="same"))
    assert counts(data) == {"train": 3, "val": 3}


def test_variants_of_one_photo_stay_together(tmp_path):
    pool(tmp_path, [f"photo{number}_jpg.rf.{variant}" for number in range(20) for variant in "abc"])
    found = places(open_data(tmp_path))
    assert all(len({found[f"photo{n}_jpg.rf.{variant}.png"] for variant in "abc"}) == 1 for n in range(20))


def test_a_train_folder_alone_is_a_pool(tmp_path):
    assert counts(open_data(pool(tmp_path / "train", map(str, range(10))).parent)) == {"train": 8, "val": 1, "test": 1}


@pytest.mark.parametrize("given", [("train", "val"), ("train", "test"), ("val",), ("test",), ("train", "val", "test")])
def test_splits_of_the_data_are_kept(tmp_path, given):
    for split in given:
        pool(tmp_path / split, "abcd")
    assert counts(open_data(tmp_path)) == dict.fromkeys(given, 4)


def test_pictures_outside_the_splits_are_left_out(tmp_path):
    for folder in ("train", "val", "more"):
        pool(tmp_path / folder, "a")
    data = open_data(tmp_path)
    assert counts(data) == {"train": 1, "val": 1}
    assert "more/a.png: is in none of the splits train, val and test; left out" in whats(data)


def test_every_class_folder_is_split(tmp_path):
    for name in ("ant", "bee", "cat"):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png", size=(8, 10))
    data = open_data(tmp_path)
    assert [sorted(d.annotation(i).label for i in range(len(d))) for d in (data.val, data.test)] == [[0, 1, 2]] * 2
