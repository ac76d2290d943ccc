"""`check`: counts, pictures that cannot be decoded, copies across splits, the report as text and as JSON."""

import json

import cv2
import numpy as np
import pytest
from small_sets import coco_json, picture, text, voc_xml

from siseon.data.check import Copy, brightness_steps, check, render
from siseon.interface import DataError

BOX = (5, 6, 25, 16)


def labelled(path, objects=(("cat", BOX),), **options):
    """A picture and its VOC file."""
    picture(path, **options)
    return voc_xml(path.with_suffix(".xml"), objects, size=options.get("size", (30, 40)))


def detection_set(root):
    sizes = {"a": (0, 0, 31, 31), "b": (0, 0, 32, 32), "c": (0, 0, 96, 96)}
    for name, box in sizes.items():
        labelled(root / "train" / f"{name}.png", [("고양이", box), ("dog", BOX, name == "a")], size=(100, 200))
    labelled(root / "train" / "empty.png", [], size=(100, 100))
    labelled(root / "val" / "d.png", [("dog", BOX)], size=(120, 200))
    return root


def test_counts_by_split_class_and_size(tmp_path):
    report = check(detection_set(tmp_path))
    train = report.splits["train"]
    assert (train.pictures, train.unreadable, train.empty, train.objects, train.crowd) == (4, 0, 1, 5, 1)
    assert train.classes == {"고양이": 3, "dog": 2}
    assert train.sizes == {"small": 3, "medium": 1, "large": 1}
    assert (train.smallest, train.largest) == ((100, 100), (100, 200))
    assert report.splits["val"].classes == {"고양이": 0, "dog": 1}
    assert report.usable


def test_counts_of_class_folders(tmp_path):
    for name in ("ant", "bee"):
        for number in range(5):
            picture(tmp_path / "train" / name / f"{number}.png")
            picture(tmp_path / "val" / name / f"{number}.png")
    report = check(tmp_path)
    assert report.splits["train"].classes == {"ant": 5, "bee": 5}
    assert (report.splits["val"].objects, report.splits["val"].empty, report.usable) == (0, 0, True)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_found_and_named(tmp_path, suffix):
    for name in ("good", "cut"):
        labelled(tmp_path / "train" / f"{name}.{suffix}", size=(100, 200))
    cut = tmp_path / "train" / f"cut.{suffix}"
    cut.write_bytes(cut.read_bytes()[:-400])
    report = check(tmp_path / "train")
    assert sum(counts.unreadable for counts in report.splits.values()) == 1
    (problem,) = [problem for problem in report.problems if problem.done == "cannot be used"]
    assert problem.file == f"cut.{suffix}"
    assert str(tmp_path) not in problem.what


def test_progress_is_told(tmp_path):
    told = []
    check(detection_set(tmp_path), lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]


def test_equal_pictures_in_two_splits(tmp_path):
    labelled(tmp_path / "train" / "a.png", content="same")
    labelled(tmp_path / "test" / "b.png", content="same")
    report = check(tmp_path)
    assert report.copies == (Copy("train/a.png", "test/b.png", None),)
    assert "In two splits: 1 picture (train/a.png = test/b.png)" in report.findings[0]


def test_nearly_equal_pictures_in_two_splits(tmp_path):
    train = picture(tmp_path / "train" / "a.png", size=(200, 300))
    for number in range(20):
        labelled(tmp_path / "val" / f"{number}.png", size=(200, 300))
    small = cv2.resize(cv2.imread(str(train)), (150, 100), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "val" / "small.jpg"), small)
    voc_xml(train.with_suffix(".xml"), [("cat", BOX)], size=(200, 300))
    voc_xml(tmp_path / "val" / "small.xml", [("cat", BOX)], size=(100, 150))
    (copy,) = check(tmp_path).copies
    assert (copy.first, copy.second) == ("train/a.png", "val/small.jpg")


def test_blank_and_tiny_pictures_are_not_nearly_equal(tmp_path):
    for split, grey in (("train", 250), ("val", 251)):
        for name, size in (("blank", (200, 200)), ("tiny", (20, 20))):
            path = tmp_path / split / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.full((*size, 3), grey, np.uint8)
            pixels[:, :: 2 if name == "tiny" else 500] = 0
            cv2.imwrite(str(path), pixels)
            voc_xml(path.with_suffix(".xml"), [("cat", (1, 1, 9, 9))], size=size)
    assert check(tmp_path).copies == ()


def naive_steps(picture):
    """The difference hash in loops."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = ""
    for row in range(8):
        for column in range(8):
            bits += "1" if small[row, column] > small[row, column + 1] else "0"
    return int(bits, 2)


def test_brightness_steps_agree_with_loops():
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(0, 256, (50, 70, 3), np.uint8)
        assert brightness_steps(pixels) == naive_steps(pixels)


def test_turned_pictures_are_listed(tmp_path):
    labelled(tmp_path / "train" / "a.jpg", orientation=6)
    labelled(tmp_path / "train" / "b.jpg")
    report = check(tmp_path)
    assert report.turned == ("train/a.jpg",)
    assert any("Turned by EXIF: 1 picture (train/a.jpg)" in finding for finding in report.findings)


def test_uneven_classes_and_classes_without_training(tmp_path):
    labelled(tmp_path / "train" / "a.png", [("cat", BOX)] * 11 + [("개", BOX)])
    labelled(tmp_path / "val" / "b.png", [("bird", BOX)])
    assert check(tmp_path).findings == ["Uneven classes in train: 11 'cat', 1 '개'", "In val but not in train: bird"]


def test_nothing_usable_is_a_report(tmp_path):
    for name in "abcd":
        text(tmp_path / f"{name}.png", "no picture")
        voc_xml(tmp_path / f"{name}.xml", [("cat", BOX)])
    report = check(tmp_path)
    assert not report.usable
    assert [problem.file for problem in report.problems] == ["a.png", "b.png", "c.png", "d.png"]
    assert report.lines()[-1] == "This data set cannot be used."


def test_no_object_to_learn_from_is_not_usable(tmp_path):
    for split, box in (("train", [1, 1, 0, 0]), ("val", [1, 1, 9, 9])):
        picture(tmp_path / split / "a.png")
        coco_json(tmp_path / f"{split}.json", ["a.png"], [{"image_id": 1, "category_id": 1, "bbox": box}])
    report = check(tmp_path)
    assert (report.usable, report.reasons) == (False, ("No picture has an object",))


def test_no_data_set_is_an_error(tmp_path):
    with pytest.raises(DataError):
        check(tmp_path)


def test_the_report_as_json(tmp_path):
    labelled(tmp_path / "train" / "a.png", [("고양이", BOX), ("고양이", (5, 6, 5, 6))], content="same")
    labelled(tmp_path / "val" / "b.png", [("고양이", BOX)], content="same")
    plain = json.loads(json.dumps(check(tmp_path).to_json(), ensure_ascii=False))
    assert plain["splits"]["train"]["classes"] == {"고양이": 1}
    assert plain["copies"] == [{"first": "train/a.png", "second": "val/b.png", "bits": None}]
    assert plain["usable"] is True
    assert plain["problems"][0]["file"] == "train/a.xml"


def test_the_report_as_text_is_aligned_for_hangul(tmp_path):
    lines = check(detection_set(tmp_path)).to_text().splitlines()
    start = lines.index("Classes")
    assert lines[start + 1 : start + 4] == ["  class   train  val", "  dog     2      1", "  고양이  3      0"]


def test_tables_list_so_many_problems(tmp_path):
    labelled(tmp_path / "train" / "a.png", [("cat", BOX)] + [("cat", (5, 6, 5, 6))] * 9)
    tables = {table.title: table for table in render(check(tmp_path), problems=3)}
    assert [row[1] for row in tables["Problems"].rows][-1] == "7 more"
    assert all(len(row) == len(table.columns) for table in tables.values() for row in table.rows)
