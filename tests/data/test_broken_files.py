"""What readers do with files that are broken: one bad file, row or box never ends a run, and each is named."""

import pytest
from small_sets import coco_json, objects_of, picture, text, voc_xml, whats

from siseon.data.open_data import open_data
from siseon.interface import DataError

BOX = (5, 6, 25, 26)
ROW = "0 0.375 0.533333333 0.5 0.666666667\n"


def only(data):
    """The objects of the first picture of a data set."""
    return next(rows for split in objects_of(data).values() for rows in split.values())


FAULTS = [
    ("not xml at all <", "is broken XML"),
    ("", "is broken XML"),
    ("<annotations><image/></annotations>", "is <annotations>"),
    ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "document type"),
    ('<!DOCTYPE a [<!ENTITY x "yyyyyyyy">]><annotation><object/></annotation>', "document type"),
    ("<annotation><object><name>cat</name></object></annotation>", "object 1 has no <bndbox>"),
    ("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>", "object 1 has no name"),
]


@pytest.mark.parametrize(("content", "what"), FAULTS)
def test_broken_xml(tmp_path, content, what):
    for name in ("good", "bad"):
        picture(tmp_path / f"{name}.png")
    voc_xml(tmp_path / "good.xml", [("cat", BOX)])
    text(tmp_path / "bad.xml", content)
    data = open_data(tmp_path)
    assert [("cat", BOX)] in [rows for split in objects_of(data).values() for rows in split.values()]
    assert any(what in line and line.startswith("bad.xml: ") for line in whats(data))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="euc-kr"?>'])
def test_xml_in_korean_encodings(tmp_path, encoding, declaration):
    picture(tmp_path / "a.png")
    path = voc_xml(tmp_path / "a.xml", [("고양이", BOX)], extra=declaration)
    text(path, path.read_text(encoding="utf-8"), encoding)
    assert only(open_data(tmp_path)) == [("고양이", BOX)]


def test_class_names_from_a_mac_are_the_same_names(tmp_path):
    decomposed = "\u1100\u1161"
    for name, number in (("가", 1), (decomposed, 2), ("나", 3)):
        picture(tmp_path / ("train" if number < 3 else "val") / name / f"{number}.png")
    assert open_data(tmp_path).classes == ("가", "나")


COCO_FAULTS = [
    ({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}, "has no bbox of four numbers"),
    ({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, "wide"]}, "has no bbox of four numbers"),
    ({"image_id": 1, "category_id": 1, "bbox": None}, "has no bbox of four numbers"),
    ({"image_id": 1, "category_id": 99, "bbox": [1, 2, 3, 4]}, "has the unknown class 99"),
    ({"image_id": 1, "category_id": [1], "bbox": [1, 2, 3, 4]}, "has the unknown class [1]"),
    ({"image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4]}, "belongs to no image"),
    ({"image_id": {}, "category_id": 1, "bbox": [1, 2, 3, 4]}, "belongs to no image"),
    ("annotation", "belongs to no image"),
    ({"image_id": 1, "category_id": 1, "bbox": [1, 2, -3, 4]}, "has no area"),
    ({"image_id": 1, "category_id": 1, "bbox": [1, 2, float("nan"), 4]}, "not a number"),
    ({"image_id": 1, "category_id": 1, "bbox": [100, 2, 3, 4]}, "lies outside"),
]
SHAPE_FAULTS = [
    [[1, 2, 3, 4]],
    [[1, 2, 3, 4, 5]],
    [["a", "b"]],
    {"size": [30, 40], "counts": "garbage!"},
    {"size": [30, 40], "counts": [5000]},
    {"size": 30, "counts": [1200]},
    {"hello": 1},
    "text",
]


@pytest.mark.parametrize(("item", "what"), COCO_FAULTS)
def test_broken_coco_annotation(tmp_path, item, what):
    picture(tmp_path / "a.png")
    good = {"image_id": 1, "category_id": 7, "bbox": [5, 6, 20, 20]}
    data = open_data(coco_json(tmp_path / "a.json", ["a.png"], [good, item]))
    assert only(data) == [("dog", BOX)]
    assert any(what in line for line in whats(data))


@pytest.mark.parametrize("shape", SHAPE_FAULTS)
def test_broken_coco_shape_leaves_the_box(tmp_path, shape):
    picture(tmp_path / "a.png")
    item = {"image_id": 1, "category_id": 7, "bbox": [5, 6, 20, 20], "segmentation": shape}
    data = open_data(coco_json(tmp_path / "a.json", ["a.png"], [item]))
    assert only(data) == [("dog", BOX)]
    assert data.train.annotation(0).segments == ()
    assert any("the shape of annotation 1 is broken" in line for line in whats(data))


@pytest.mark.parametrize(
    ("images", "categories", "what"),
    [
        (["a.png", 5], None, "the image 5 has no id or no file_name"),
        (["a.png", {"id": [2], "file_name": "b.png"}], None, "has no id or no file_name"),
        (["a.png", {"id": 1, "file_name": "b.png"}], None, "two images have the number 1"),
        (["a.png", "gone.png"], None, "its picture 'gone.png' is missing"),
        (["a.png"], [{"id": 1, "name": "cat"}, {"id": 2, "name": " cat "}], "the same name: cat; taken as one"),
        (["a.png"], [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}], "two categories have the number 1"),
        (["a.png"], [{"id": 1, "name": "cat"}, {"name": "dog"}], "has no id or no name"),
        (["a.png"], [{"id": 1, "name": "cat"}, {"id": 2, "name": "Cat"}], "differ only in case or spaces: cat, Cat"),
        (["a.png"], [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "classes without a picture: dog"),
    ],
)
def test_broken_coco_images_and_categories(tmp_path, images, categories, what):
    picture(tmp_path / "a.png")
    item = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20]}
    more = {"categories": categories} if categories else {}
    data = open_data(coco_json(tmp_path / "a.json", images, [item], **more))
    assert only(data)[0][1] == BOX
    assert any(what in line for line in whats(data))


def test_the_project_that_roboflow_writes_as_a_category_is_no_class(tmp_path):
    picture(tmp_path / "train" / "a.png")
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "pets"}]
    item = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20]}
    coco_json(tmp_path / "train" / "_annotations.coco.json", ["a.png"], [item], categories)
    assert open_data(tmp_path).classes == ("cat",)


@pytest.mark.parametrize("content", ['{"images": [', '{"images": [], "annotations": {}}', "{" * 100_000, "\x00\x01"])
def test_broken_json(tmp_path, content):
    picture(tmp_path / "a.png")
    with pytest.raises(DataError) as error:
        open_data(text(tmp_path / "a.json", content))
    assert "a.json" in str(error.value)


YOLO_FAULTS = [
    ("0 0.5 0.5 0.2", "has 4 numbers"),
    ("0 0.5 0.5 0.2 0.2 0.9", "has 6 numbers"),
    ("0 0.5 0.5 0.2 wide", "a word that is no number"),
    ("cat 0.5 0.5 0.2 0.2", "a word that is no number"),
    ("0.5 0.5 0.5 0.2 0.2", "no class number"),
    ("nan 0.5 0.5 0.2 0.2", "no class number"),
    ("7 0.5 0.5 0.2 0.2", "unknown class 7"),
    ("-1 0.5 0.5 0.2 0.2", "unknown class -1"),
    ("0 200 150 40 30", "pixels, not fractions"),
    ("0 0.5 0.5 0 0.2", "has no area"),
    ("0 0.5 0.5 -0.2 0.2", "has no area"),
    ("0 0.5 nan 0.2 0.2", "not a number"),
    ("0 1.5 0.5 0.2 0.2", "lies outside"),
    ("0 0.9 0.5 0.6 0.2", "sticks out"),
]


@pytest.mark.parametrize(("row", "what"), YOLO_FAULTS)
def test_broken_yolo_row(tmp_path, row, what):
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "a.txt", f"\n{ROW}{row}\n")
    text(tmp_path / "data.yaml", "train: images\nnames: [cat]\n")
    data = open_data(tmp_path)
    assert only(data)[0] == ("cat", BOX)
    assert any(what in line and line.startswith("labels/a.txt: ") for line in whats(data))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ("names: [cat\ntrain: images\n", "is broken YAML"),
        ("train: images\n", "has no 'names'"),
        ("train: images\nnames: []\n", "names no class"),
        ("train: images\nnames: {a: cat}\n", "not texts numbered"),
        ("train: images\nnames: [[cat]]\n", "not texts numbered"),
        ("- 1\n", "has no 'names'"),
    ],
)
def test_broken_yaml(tmp_path, settings, what):
    picture(tmp_path / "images" / "a.png")
    path = text(tmp_path / "data.yaml", settings)
    with pytest.raises(DataError, match=what) as error:
        open_data(path)
    assert str(path) in str(error.value)


def test_yolo_notes_what_does_not_belong_together(tmp_path):
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.png")
    for name in "bc":
        text(tmp_path / "labels" / f"{name}.txt", ROW)
    text(tmp_path / "data.yaml", 'train: images\nval: gone\ntest: "\\0"\nnames: [cat, cat]\n')
    lines = whats(open_data(tmp_path))
    assert "images/a.png: has no text file with rows; taken as a picture without objects" in lines
    assert "labels/c.txt: its picture is missing; left out" in lines
    assert "data.yaml: two classes have the same name: cat; taken as one class" in lines
    assert any("'val: gone' is not there" in line for line in lines)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "empty"), (b"hello, this is text", "text"), (b"\x89PNG\r\n\x1a\n\x00", "damaged")],
)
def test_a_picture_that_is_none_is_left_out(tmp_path, content, what):
    for name in "ab":
        picture(tmp_path / f"{name}.png")
        voc_xml(tmp_path / f"{name}.xml", [("cat", BOX)])
    (tmp_path / "a.png").write_bytes(content)
    data = open_data(tmp_path)
    assert "b.png" in {row for rows in objects_of(data).values() for row in rows}
    assert any(line.startswith("a.png: ") and what in line and "left out" in line for line in whats(data))


def test_a_picture_without_boxes_is_kept(tmp_path):
    for name, objects in (("a", [("cat", BOX)]), ("b", [])):
        picture(tmp_path / "train" / f"{name}.png")
        voc_xml(tmp_path / "train" / f"{name}.xml", objects)
    data = open_data(tmp_path)
    assert sorted(map(len, (rows for split in objects_of(data).values() for rows in split.values()))) == [0, 1]


def test_when_nothing_is_usable_the_error_says_why(tmp_path):
    for number in range(5):
        text(tmp_path / f"{number}.png", "x")
        voc_xml(tmp_path / f"{number}.xml", [("cat", BOX)])
    with pytest.raises(DataError) as error:
        open_data(tmp_path)
    assert [f"{number}.png" in str(error.value) for number in range(4)] == [True, True, True, False]
