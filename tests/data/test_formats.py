"""Readers of VOC, COCO, YOLO and class folders: layouts, names, coordinates, and what is broken."""

import pickle

import numpy as np
import pytest
from small_sets import coco_json, objects_of, picture, text, voc_xml, whats

from siseon import pictures
from siseon.data.mending import encode
from siseon.data.open_data import open_data
from siseon.interface import DataError

BOX = (5, 6, 25, 26)


def only(data):
    """The objects of the first picture of a data set."""
    return next(rows for split in objects_of(data).values() for rows in split.values())


# Layouts


def test_voc_with_lists(tmp_path):
    for name in ("가 나", "b", "c", "d"):
        picture(tmp_path / "JPEGImages" / f"{name}.png")
        voc_xml(tmp_path / "Annotations" / f"{name}.xml", [("고양이", BOX)])
    for split, names in {"train": "가 나\n", "val": "b\n", "test": "c\n", "trainval": "가 나\nb\n"}.items():
        text(tmp_path / "ImageSets" / "Main" / f"{split}.txt", names)
    data = open_data(tmp_path)
    assert {split: list(rows) for split, rows in objects_of(data).items()} == {
        "train": ["JPEGImages/가 나.png"],
        "val": ["JPEGImages/b.png"],
        "test": ["JPEGImages/c.png"],
    }
    assert data.classes == ("고양이",)
    assert whats(data) == ["Annotations/d.xml: is in no list of ImageSets/Main; left out"]


def test_data_says_what_opens_it_again_from_any_folder(tmp_path, monkeypatch):
    picture(tmp_path / "자료" / "train" / "a.png")
    voc_xml(tmp_path / "자료" / "train" / "a.xml", [("dog", BOX)])
    monkeypatch.chdir(tmp_path)
    assert open_data("자료").source == str(tmp_path / "자료")
    assert open_data("digits").source == "digits"


def test_voc_trainval_without_train_is_train(tmp_path):
    for name in "ab":
        picture(tmp_path / "JPEGImages" / f"{name}.png")
        voc_xml(tmp_path / "Annotations" / f"{name}.xml", [("cat", BOX)])
    text(tmp_path / "ImageSets" / "Main" / "trainval.txt", "a\n")
    text(tmp_path / "ImageSets" / "Main" / "test.txt", "b\n")
    assert set(open_data(tmp_path).splits) == {"train", "test"}


@pytest.mark.parametrize(
    ("folder", "xml_folder"),
    [("{}", "{}"), ("images/{}", "annotations/{}"), ("JPEGImages/{}", "Annotations/{}"), ("{}/images", "{}/labels")],
)
def test_voc_pictures_of_one_name_in_two_splits(tmp_path, folder, xml_folder):
    for split, name in (("train", "cat"), ("valid", "dog")):
        picture(tmp_path / folder.format(split) / "1.png")
        voc_xml(tmp_path / xml_folder.format(split) / "1.xml", [(name, BOX)], filename="1.png")
    found = objects_of(open_data(tmp_path))
    assert found == {
        "train": {f"{folder.format('train')}/1.png": [("cat", BOX)]},
        "val": {f"{folder.format('valid')}/1.png": [("dog", BOX)]},
    }


def test_voc_file_name_of_another_suffix(tmp_path):
    picture(tmp_path / "images" / "Cars.2.jpg")
    voc_xml(tmp_path / "annotations" / "Cars.2.xml", [("plate", BOX)], filename="Cars.2.png")
    assert only(open_data(tmp_path)) == [("plate", BOX)]


@pytest.mark.parametrize(
    "place", ["{}.json", "annotations/{}.json", "annotations/instances_{}2017.json", "{}/_annotations.coco.json"]
)
def test_coco_layouts(tmp_path, place):
    for split, number in (("train", 1), ("valid", 7)):
        picture(tmp_path / split / "한 장.png")
        coco_json(
            tmp_path / place.format(split),
            ["한 장.png"],
            [{"image_id": 1, "category_id": number, "bbox": [5, 6, 20, 20]}],
        )
    assert objects_of(open_data(tmp_path)) == {
        "train": {"train/한 장.png": [("고양이", BOX)]},
        "val": {"valid/한 장.png": [("dog", BOX)]},
    }


def test_coco_captions_and_keypoints_are_not_read_twice(tmp_path):
    picture(tmp_path / "val" / "1.png")
    for kind in ("instances", "person_keypoints", "captions"):
        coco_json(
            tmp_path / "annotations" / f"{kind}_val.json",
            ["1.png"],
            [{"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20]}],
        )
    assert only(open_data(tmp_path)) == [("고양이", BOX)]


def test_one_json_is_one_split(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "1.png")
        item = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20]}
        coco_json(tmp_path / "annotations" / f"{split}.json", ["1.png"], [item])
    data = open_data(tmp_path / "annotations" / "val.json")
    assert objects_of(data) == {"val": {"val/1.png": [("고양이", BOX)]}}


@pytest.mark.parametrize(
    "stated", ["1.png", "val/1.png", "./val/1.png", "D:\\work\\val\\1.png", "/home/somebody/data/1.png"]
)
def test_coco_file_names_with_folders(tmp_path, stated):
    for split in ("train", "val"):
        picture(tmp_path / split / "1.png")
    item = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20]}
    coco_json(tmp_path / "annotations" / "val.json", [stated], [item])
    assert list(objects_of(open_data(tmp_path))["val"]) == ["val/1.png"]


def test_a_missing_picture_is_not_replaced_by_another_of_its_name(tmp_path):
    picture(tmp_path / "val" / "1.png")
    picture(tmp_path / "train" / "2.png")
    items = [{"image_id": number, "category_id": 1, "bbox": [5, 6, 20, 20]} for number in (1, 2)]
    coco_json(tmp_path / "annotations" / "train.json", ["1.png", "2.png"], items)
    data = open_data(tmp_path)
    assert [row for rows in objects_of(data).values() for row in rows] == ["train/2.png"] * 2
    assert "annotations/train.json: its picture '1.png' is missing; left out" in whats(data)


ROW = "0 0.375 0.533333333 0.5 0.666666667\n"


@pytest.mark.parametrize(
    ("pictures_in", "labels_in"),
    [("images/{}", "labels/{}"), ("{}/images", "{}/labels"), ("{}", "{}"), ("images/{}2017", "labels/{}2017")],
)
@pytest.mark.parametrize("settings", [True, False])
def test_yolo_layouts(tmp_path, pictures_in, labels_in, settings):
    for split in ("train", "val"):
        picture(tmp_path / pictures_in.format(split) / "사 진.png")
        text(tmp_path / labels_in.format(split) / "사 진.txt", ROW)
    if settings:
        places = "".join(f"{split}: ../{pictures_in.format(split)}\n" for split in ("train", "val"))
        text(tmp_path / "data.yaml", f"path: ../datasets/mine\n{places}test:\nnc: 1\nnames: [고양이]\n")
    else:
        text(tmp_path / "classes.txt", "고양이\n")
    assert objects_of(open_data(tmp_path)) == {
        split: {f"{pictures_in.format(split)}/사 진.png": [("고양이", BOX)]} for split in ("train", "val")
    }


def test_yolo_lists_of_pictures(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.png")
        text(tmp_path / "labels" / f"{name}.txt", ROW)
    text(tmp_path / "train.txt", "./images/a.png\n")
    text(tmp_path / "val.txt", "/home/somebody/images/b.png\n")
    text(tmp_path / "my.yaml", "train: train.txt\nval: val.txt\nnames:\n  0: no\n")
    data = open_data(tmp_path / "my.yaml")
    assert objects_of(data) == {
        "train": {"images/a.png": [("no", BOX)]},
        "val": {"images/b.png": [("no", BOX)]},
    }


def test_yolo_without_names_uses_the_numbers(tmp_path):
    for number, name in enumerate("ab"):
        picture(tmp_path / "images" / f"{name}.png")
        text(tmp_path / "labels" / f"{name}.txt", f"{10 - number}{ROW[1:]}")
    assert open_data(tmp_path).classes == ("9", "10")


@pytest.mark.parametrize("prefix", ["", "train/", "mine/data/"])
def test_class_folders(tmp_path, prefix):
    for name in ("벌", "ant"):
        for number in range(4):
            picture(tmp_path / prefix / name / f"{number}.png")
    if prefix == "train/":
        picture(tmp_path / "val" / "ant" / "1.png")
        picture(tmp_path / "val" / "벌" / "deeper" / "1.png")
    data = open_data(tmp_path)
    labels = [dataset.annotation(index).label for _, dataset in data for index in range(len(dataset))]
    assert (data.task, data.classes, sum(labels)) == ("classification", ("ant", "벌"), len(labels) // 2)
    assert set(data.splits) == ({"train", "val"} if prefix == "train/" else {"train", "val", "test"})


def test_a_class_may_be_called_train(tmp_path):
    for name in ("bus", "train", "car"):
        picture(tmp_path / name / "1.png")
    assert open_data(tmp_path).classes == ("bus", "car", "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "it holds no files"),
        (["a.png"], "it holds 1 .png"),
        (["images/a.png"], "1 .png in the folders images"),
        (["train/a.png", "test/a.png"], "2 .png in the folders test, train"),
        (["x.json", "images/a.png"], "1 .json, 1 .png"),
    ],
)
def test_a_folder_that_is_no_data_set(tmp_path, files, message):
    for name in files:
        if name.endswith(".png"):
            picture(tmp_path / name)
        else:
            text(tmp_path / name, '{"hello": 1}')
    with pytest.raises(DataError, match="Looked for: YOLO") as error:
        open_data(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "remedy"), [("data.zip", "Unpack it"), ("data.csv", "Looked for"), ("no", "scenes")])
def test_a_path_that_is_no_data_set(tmp_path, name, remedy):
    if name != "no":
        text(tmp_path / name, "x")
    with pytest.raises(DataError) as error:
        open_data(tmp_path / name)
    assert remedy in error.value.remedy


def test_hidden_files_are_no_data(tmp_path):
    for name in ("ant", "bee", ".ipynb_checkpoints"):
        picture(tmp_path / name / "1.png")
        text(tmp_path / name / "._1.png", "AppleDouble")
    data = open_data(tmp_path)
    assert (data.classes, whats(data)) == (("ant", "bee"), [])


# Coordinates


@pytest.mark.parametrize(
    ("database", "expected"),
    [(None, (1, 6, 40, 30)), ("Unknown", (1, 6, 40, 30)), ("The VOC2007 Database", (0, 5, 40, 30))],
)
def test_voc_counts_from_one_only_in_the_organisers_files(tmp_path, database, expected):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", (1, 6, 40, 30))], database=database)
    assert only(open_data(tmp_path)) == [("cat", expected)]


def test_voc_difficult_is_crowd(tmp_path):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", BOX, True), ("cat", BOX, False)])
    assert open_data(tmp_path).train.annotation(0).crowd.tolist() == [True, False]


def test_coco_shapes(tmp_path):
    mask = np.zeros((30, 40), bool)
    mask[6:26, 5:25] = True
    code = encode(mask)
    counts = [5 * 30 + 6, *[20, 10] * 19, 20, 15 * 30 + 4]
    shapes = [
        [[5, 6, 25, 6, 25, 26, 5, 26], [1, 1, 3, 1, 3, 3]],
        {"size": [30, 40], "counts": code["counts"].decode()},
        {"size": [30, 40], "counts": counts},
    ]
    picture(tmp_path / "a.png")
    items = [{"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 20], "segmentation": shape} for shape in shapes]
    items[1]["iscrowd"] = 1
    annotation = open_data(coco_json(tmp_path / "a.json", ["a.png"], items)).train.annotation(0)
    polygons, *masks = annotation.segments
    assert [ring.tolist() for ring in polygons] == [[[5, 6], [25, 6], [25, 26], [5, 26]], [[1, 1], [3, 1], [3, 3]]]
    assert all(found.dtype == bool and (found == mask).all() for found in masks)
    assert annotation.crowd.tolist() == [False, True, False]


def test_coco_box_from_the_polygon_where_there_is_none(tmp_path):
    picture(tmp_path / "a.png")
    item = {"image_id": 1, "category_id": 1, "segmentation": [[5, 6, 25, 6, 25, 26]]}
    assert only(open_data(coco_json(tmp_path / "a.json", ["a.png"], [item]))) == [("고양이", BOX)]


def test_yolo_boxes_and_polygons(tmp_path):
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "a.txt", "0 0.125 0.2 0.625 0.2 0.625 0.8666667\n")
    text(tmp_path / "data.yaml", "train: images\nnames: {0: cat}\n")
    annotation = open_data(tmp_path).train.annotation(0)
    assert annotation.boxes.round(3).tolist() == [list(BOX)]
    assert annotation.segments[0][0].round(3).tolist() == [[5, 6], [25, 6], [25, 26]]


# The data set


def test_chosen_classes_are_kept_in_their_order(tmp_path):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", BOX), ("dog", BOX), ("고양이", BOX)])
    data = open_data(tmp_path, classes=("고양이", "bird", "cat"))
    assert data.classes == ("고양이", "bird", "cat")
    assert data.train.annotation(0).labels.tolist() == [2, 0]
    assert any("1 of the class 'dog', which was not chosen; left out" in line for line in whats(data))


@pytest.mark.parametrize(("classes", "what"), [(("bird",), "It has cat"), (("cat", "cat"), "twice")])
def test_chosen_classes_that_make_no_sense(tmp_path, classes, what):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", BOX)])
    with pytest.raises(DataError, match=what):
        open_data(tmp_path, classes=classes)


def test_chosen_classes_of_class_folders(tmp_path):
    for name in ("ant", "bee", "cat"):
        picture(tmp_path / "train" / name / "1.png")
        picture(tmp_path / "val" / name / "1.png")
    data = open_data(tmp_path, classes=("cat", "ant"))
    assert [data.val.annotation(index).label for index in range(len(data.val))] == [1, 0]


def test_a_data_set_can_be_pickled_and_reads_its_pictures(tmp_path):
    path = picture(tmp_path / "한글 폴더" / "a.png", size=(20, 50))
    voc_xml(tmp_path / "한글 폴더" / "a.xml", [("cat", BOX)], size=(20, 50))
    dataset = pickle.loads(pickle.dumps(open_data(tmp_path / "한글 폴더").train))
    annotation = dataset.annotation(0)
    assert (annotation.size, annotation.path, annotation.name) == ((20, 50), path, "a.png")
    assert (dataset.picture(0) == pictures.read(path)).all()
    assert [array.dtype for array in (annotation.boxes, annotation.labels, annotation.crowd)] == [
        np.float32,
        np.int64,
        bool,
    ]


def test_annotations_are_copies(tmp_path):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", BOX)])
    dataset = open_data(tmp_path).train
    dataset.annotation(0).boxes[:] = 0
    assert dataset.annotation(0).boxes.tolist() == [list(BOX)]


def test_indexes_beyond_the_end_raise(tmp_path):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("cat", BOX)])
    dataset = open_data(tmp_path).train
    assert dataset.annotation(-1).name == "a.png"
    with pytest.raises(IndexError):
        dataset.annotation(1)
