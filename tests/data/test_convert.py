"""`convert`: what is written is read back the same."""

import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sets import coco_json, objects_of, picture, text, voc_xml

from siseon import pictures
from siseon.data.convert import convert, outlines, polygon
from siseon.data.dataset import Annotation, Data
from siseon.data.mending import encode
from siseon.data.open_data import open_data
from siseon.interface import DataError

BOX = (5, 6, 25, 16)
SIZE = (48, 64)


class Drawn:
    """A data set that has no files, as the built-in ones."""

    def __init__(self, annotations, classes, task="detection"):
        self.annotations, self.classes, self.task = annotations, classes, task

    def __len__(self):
        return len(self.annotations)

    def annotation(self, index):
        return self.annotations[index]

    def picture(self, index):
        return np.random.default_rng(index).integers(0, 256, (*SIZE, 3), np.uint8)


def drawn(boxes_of_pictures, classes, split="train"):
    """Data with boxes given as (label, box) for each picture."""
    annotations = [
        Annotation(
            f"set/{split}/{number:03d}",
            size=SIZE,
            boxes=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
            labels=np.array([label for label, _ in objects], np.int64),
            crowd=np.zeros(len(objects), bool),
        )
        for number, objects in enumerate(boxes_of_pictures)
    ]
    return Data("set", "detection", classes, {split: Drawn(annotations, classes)})


def by_stem(data):
    """Split -> stem of the picture -> [(class, box)]."""
    return {
        split: {Path(name).stem.rsplit("_", 1)[-1]: rows for name, rows in found.items()}
        for split, found in objects_of(data).items()
    }


def same(first, second, tolerance):
    """Whether two data sets have the same names in the same order and boxes within `tolerance` pixels."""
    first, second = by_stem(first), by_stem(second)
    assert first.keys() == second.keys()
    for split, found in first.items():
        assert found.keys() == second[split].keys()
        for stem, rows in found.items():
            others = second[split][stem]
            assert [name for name, _ in rows] == [name for name, _ in others]
            assert np.allclose([box for _, box in rows], [box for _, box in others], rtol=0, atol=tolerance)


edges = st.floats(0, 1).map(lambda value: round(value, 3))
boxes = st.tuples(edges, edges, st.floats(0.1, 1), st.floats(0.1, 1)).map(
    lambda box: (
        box[0] * 0.9 * SIZE[1],
        box[1] * 0.9 * SIZE[0],
        (box[0] * 0.9 + box[2] * (1 - box[0] * 0.9)) * SIZE[1],
        (box[1] * 0.9 + box[3] * (1 - box[1] * 0.9)) * SIZE[0],
    )
)
names = st.lists(
    st.text(st.sampled_from("가나다개 고양이ab'\"<&:#-1"), min_size=1, max_size=8).map(str.strip).filter(bool),
    min_size=2,
    max_size=4,
    unique_by=lambda name: " ".join(name.split()).casefold(),
)
contents = st.lists(st.lists(st.tuples(st.integers(0, 1), boxes), max_size=3), min_size=1, max_size=3)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    classes=names,
    objects=contents,
    order=st.permutations(["voc", "coco", "yolo"]),
    split=st.sampled_from(["val", "test"]),
)
def test_every_order_of_formats_keeps_names_and_boxes(classes, objects, order, split):
    data = drawn([*objects, [(0, (1, 2, 3, 4)), (1, (5, 6, 7, 8))]], tuple(classes), split)
    with TemporaryDirectory() as folder:
        last = data
        for format_ in order:
            out = Path(folder) / f"폴더 {format_}"
            convert(last, format_, out)
            last = open_data(out)
        same(data, last, 0.02)


@pytest.mark.parametrize(("format_", "tolerance"), [("voc", 0.0051), ("coco", 0.001), ("yolo", 0.001)])
def test_one_conversion_is_exact(tmp_path, format_, tolerance):
    data = drawn([[(1, (1.2345, 2.3456, 30.4567, 40.5678)), (0, (0, 0, 64, 48))], []], ("고양이", "dog"), "val")
    convert(data, format_, tmp_path / "out")
    back = open_data(tmp_path / "out")
    first = dict(by_stem(back)["val"]["000"])
    assert np.abs(np.subtract(first["dog"], (1.2345, 2.3456, 30.4567, 40.5678))).max() <= tolerance + 0.005
    assert first["고양이"] == (0, 0, 64, 48)
    assert by_stem(back)["val"]["001"] == []


def test_coco_numbers_begin_at_one(tmp_path):
    data = drawn([[(1, BOX)], [(0, BOX), (1, BOX)]], ("a", "b"))
    convert(data, "coco", tmp_path / "out")
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text(encoding="utf-8"))
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert content["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert [(item["id"], item["image_id"], item["category_id"]) for item in content["annotations"]] == [
        (1, 1, 2),
        (2, 2, 1),
        (3, 2, 2),
    ]
    assert content["annotations"][0]["bbox"] == [5, 6, 20, 10]
    assert content["annotations"][0]["area"] == 200


def test_voc_whole_numbers_stay_whole(tmp_path):
    convert(drawn([[(0, (5, 6, 25.5, 16))]], ("a",)), "voc", tmp_path / "out")
    written = (tmp_path / "out" / "Annotations" / "000.xml").read_text(encoding="utf-8")
    assert "<xmin>5</xmin>" in written
    assert "<xmax>25.50</xmax>" in written


def shaped_set(root):
    """A COCO set with a polygon of two parts, a mask with a hole, and a crowd."""
    mask = np.zeros((30, 40), bool)
    mask[4:20, 3:30] = True
    mask[8:12, 10:20] = False
    code = {"size": [30, 40], "counts": encode(mask)["counts"].decode()}
    shapes = [[[5, 6, 15, 6, 15, 16, 5, 16], [20, 6, 25, 6, 25, 16]], code, [[1, 1, 9, 1, 9, 9]]]
    item = {"image_id": 1, "category_id": 1}
    items = [
        {**item, "bbox": box, "segmentation": shape, "iscrowd": crowd}
        for box, shape, crowd in zip([[5, 6, 20, 10], [3, 4, 27, 16], [1, 1, 8, 8]], shapes, (0, 0, 1), strict=True)
    ]
    picture(root / "val" / "a.png")
    coco_json(root / "annotations" / "val.json", ["a.png"], items)
    return open_data(root), mask


def test_coco_keeps_shapes_and_crowd(tmp_path):
    data, mask = shaped_set(tmp_path / "in")
    convert(data, "coco", tmp_path / "out")
    before, after = data.val.annotation(0), open_data(tmp_path / "out").val.annotation(0)
    assert after.crowd.tolist() == [False, False, True]
    assert all((a == b).all() for a, b in zip(before.segments[0], after.segments[0], strict=True))
    assert (after.segments[1] == mask).all()


def test_yolo_keeps_shapes_as_polygons_and_drops_crowd(tmp_path):
    data, mask = shaped_set(tmp_path / "in")
    report = convert(data, "yolo", tmp_path / "out")
    annotation = open_data(tmp_path / "out").val.annotation(0)
    assert annotation.boxes.round(2).tolist() == [[5, 6, 25, 16], [3, 4, 30, 20]]
    assert (report.objects, any("no crowd" in str(problem) for problem in report.problems)) == (2, True)
    (ring,) = annotation.segments[1]
    assert (filled(ring, (30, 40)) == mask).all()


def test_voc_says_that_shapes_are_lost(tmp_path):
    data, _ = shaped_set(tmp_path / "in")
    report = convert(data, "voc", tmp_path / "out")
    assert any("no place for shapes" in str(problem) for problem in report.problems)
    assert any("no object is of dog" in str(problem) for problem in report.problems)
    assert open_data(tmp_path / "out").val.annotation(0).crowd.tolist() == [False, False, True]


def test_yolo_writes_boxes_where_a_shape_is_missing(tmp_path):
    for name in "ab":
        picture(tmp_path / name / "train" / f"{name}.png")
    items = [
        {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 10], "segmentation": [[5, 6, 25, 6, 25, 16]]},
        {"image_id": 2, "category_id": 1, "bbox": [5, 6, 20, 10], "segmentation": []},
    ]
    coco_json(tmp_path / "train.json", ["a.png", "b.png"], items)
    report = convert(open_data(tmp_path), "yolo", tmp_path / "out")
    rows = [path.read_text(encoding="utf-8").split() for path in (tmp_path / "out" / "labels").rglob("*.txt")]
    assert {len(row) for row in rows} == {5}
    assert any("only boxes are written" in str(problem) for problem in report.problems)


def filled(ring, size):
    """A polygon as a mask, by the rule of even and odd at the centre of each pixel, in loops."""
    mask = np.zeros(size, bool)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = column + 0.5, row + 0.5
            for (x1, y1), (x2, y2) in pairwise([*ring, ring[0]]):
                if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                    mask[row, column] ^= True
    return mask


masks = st.integers(0, 2**32 - 1).map(
    lambda seed: cv2.resize(np.random.default_rng(seed).random((3, 4)).astype(np.float32), (12, 9)) > 0.5
)


@settings(max_examples=25, deadline=None)
@given(masks)
def test_a_polygon_made_of_a_mask_fills_the_mask(mask):
    if mask.any():
        ring = polygon(mask, np.zeros(4))
        rows, columns = np.nonzero(mask)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert [*ring.min(0), *ring.max(0)] == extent
        assert (filled(ring, mask.shape) == mask).all()


@pytest.mark.parametrize(
    ("mask", "rings"), [(np.zeros((5, 5), bool), 0), (np.eye(1, dtype=bool), 1), (np.ones((3, 4), bool), 1)]
)
def test_outlines(mask, rings):
    found = outlines(mask)
    assert len(found) == rings
    for ring in found:
        assert (*ring.min(0), *ring.max(0)) == (0, 0, *mask.shape[::-1])


def test_an_empty_mask_becomes_its_box():
    assert polygon(np.zeros((5, 5), bool), np.array([1, 2, 3, 4])).tolist() == [[1, 2], [3, 2], [3, 4], [1, 4]]


@pytest.mark.parametrize("format_", ["voc", "coco", "yolo"])
def test_pictures_are_copied_or_written_upright(tmp_path, format_):
    plain = picture(tmp_path / "in" / "train" / "평 범.jpg")
    turned = picture(tmp_path / "in" / "train" / "turned.jpg", orientation=6)
    for path in (plain, turned):
        voc_xml(path.with_suffix(".xml"), [("cat", BOX)])
    data = open_data(tmp_path / "in" / "train")
    convert(data, format_, tmp_path / "out")
    written = {path.name: path for path in (tmp_path / "out").rglob("*.jpg")}
    assert written["평 범.jpg"].read_bytes() == plain.read_bytes()
    assert pictures.size_and_turn(written["turned.jpg"]) == ((40, 30), False)
    difference = np.abs(pictures.read(written["turned.jpg"]).astype(int) - pictures.read(turned))
    assert difference.mean() < 3
    same(data, open_data(tmp_path / "out"), 0.001)


def test_pictures_of_one_name_stay_apart(tmp_path):
    for folder in ("train/가", "train/b", "val/b"):
        path = picture(tmp_path / "in" / folder / "1.png")
        voc_xml(path.with_suffix(".xml"), [("cat", BOX)])
    for suffix in ("png", "jpg"):
        picture(tmp_path / "in" / "train" / f"2.{suffix}")
    report = convert(open_data(tmp_path / "in"), "voc", tmp_path / "out")
    assert report.pictures == len(list((tmp_path / "out" / "JPEGImages").iterdir())) == 3


def test_a_suffix_alone_tells_pictures_apart(tmp_path):
    for suffix in ("png", "jpg"):
        picture(tmp_path / "in" / "images" / "train" / f"1.{suffix}")
    text(tmp_path / "in" / "labels" / "train" / "1.txt", "0 0.5 0.5 0.5 0.5\n")
    report = convert(open_data(tmp_path / "in"), "yolo", tmp_path / "out")
    assert report.pictures == len(list((tmp_path / "out" / "labels").rglob("*.txt"))) == 2


def test_class_folders(tmp_path):
    for split in ("train", "val"):
        for name in ("개미", "bee"):
            picture(tmp_path / "in" / split / name / "1.png")
    data = open_data(tmp_path / "in")
    convert(data, "folder", tmp_path / "out")
    back = open_data(tmp_path / "out")
    assert (back.classes, {split: len(dataset) for split, dataset in back}) == (("bee", "개미"), {"train": 2, "val": 2})


def test_drawn_pictures_become_png(tmp_path):
    data = drawn([[(0, BOX)]], ("a",))
    convert(data, "coco", tmp_path / "out")
    assert (pictures.read(tmp_path / "out" / "train" / "000.png") == data.train.picture(0)).all()


def test_a_picture_that_cannot_be_read_is_left_out_and_named(tmp_path):
    for name in "ab":
        path = picture(tmp_path / "in" / "train" / f"{name}.jpg", size=(100, 200), orientation=6)
        voc_xml(path.with_suffix(".xml"), [("cat", BOX)], size=None)
    data = open_data(tmp_path / "in")
    cut = tmp_path / "in" / data.train.annotation(0).name
    cut.write_bytes(cut.read_bytes()[:-300])
    report = convert(data, "coco", tmp_path / "out")
    assert report.pictures == 1
    assert [problem.file for problem in report.problems] == [data.train.annotation(0).name]


def test_progress_is_told(tmp_path):
    told = []
    convert(drawn([[(0, BOX)], []], ("a",)), "yolo", tmp_path / "out", lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_the_report_reads_well(tmp_path):
    report = convert(drawn([[(0, BOX)]], ("a", "b")), "voc", tmp_path / "out")
    assert str(report).splitlines()[0] == "1 pictures, 1 objects"
    assert "b; these classes are lost" in str(report)


@pytest.mark.parametrize(
    ("task", "format_", "what"),
    [
        ("detection", "folder", "Choose voc, coco or yolo"),
        ("classification", "voc", "Choose folder"),
        ("classification", "coco", "Choose folder"),
        ("classification", "yolo", "Choose folder"),
        ("detection", "csv", "Choose voc, coco, yolo, folder"),
    ],
)
def test_formats_that_do_not_fit_the_task(tmp_path, task, format_, what):
    data = Data("set", task, ("a",), {"train": Drawn([], ("a",), task)})
    with pytest.raises(DataError, match=what):
        convert(data, format_, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_class_that_cannot_be_a_folder(tmp_path):
    data = Data("set", "classification", ("a/b",), {"train": Drawn([], ("a/b",), "classification")})
    with pytest.raises(DataError, match="Rename the class"):
        convert(data, "folder", tmp_path / "out")


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    text(tmp_path / "out" / "mine.txt", "precious")
    with pytest.raises(DataError, match="not empty"):
        convert(drawn([[(0, BOX)]], ("a",)), "coco", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    convert(drawn([[(0, BOX)]], ("a",)), "coco", tmp_path / "out")
    assert set(by_stem(open_data(tmp_path / "out"))["train"]) == {"000"}


def test_a_broken_off_conversion_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(drawn([[(0, BOX)], []], ("a",)), "coco", tmp_path / "out", stop)
    assert list(tmp_path.iterdir()) == []
