"""Maps of classes from one format to another and back: every pixel stays what it is."""

import json

import numpy as np
import pytest
from PIL import Image
from small_sets import picture, text

from siseon import cli
from siseon.data.convert import MAPS, convert
from siseon.data.map_writers import palette
from siseon.data.open_data import open_data
from siseon.interface import VOID, DataError

CLASSES = ("하늘", "a, b", "3", "나무 2")
INDEX = np.array([[0, 0, 1, 1], [2, 2, VOID, 3]], np.uint8)


@pytest.fixture
def data(tmp_path):
    """Three splits of pictures with index maps."""
    for number, split in enumerate(("train", "train", "val", "val", "test", "test")):
        name = f"{split}/사진 {number}"
        picture(tmp_path / "set" / "images" / f"{name}.jpg", (2, 4))
        (tmp_path / "set" / "masks" / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(INDEX, number % 2, axis=1)).save(tmp_path / "set" / "masks" / f"{name}.png")
    text(tmp_path / "set" / "classes.json", json.dumps(CLASSES))
    return open_data(tmp_path / "set")


@pytest.mark.parametrize("format", MAPS)
def test_there_and_back(data, format, tmp_path):
    written = convert(data, format, tmp_path / "새 것")
    assert str(written) == "6 pictures, 24 areas"
    found = open_data(tmp_path / "새 것", task="segmentation")
    assert found.classes == CLASSES and found.problems == () and list(found.splits) == ["train", "val", "test"]
    for split, dataset in data:
        again = found.splits[split]
        assert len(again) == 2
        for index in range(2):
            assert np.array_equal(again.semantic(index), dataset.semantic(index))
            assert np.array_equal(again.picture(index), dataset.picture(index))


def test_a_viewer_shows_the_classes_in_colours_and_a_program_reads_their_numbers(data, tmp_path):
    convert(data, "masks", tmp_path / "masks")
    convert(data, "colours", tmp_path / "colours")
    with Image.open(tmp_path / "masks" / "masks" / "train" / "사진 0.png") as image:
        assert image.mode == "P" and np.array_equal(np.array(image), INDEX)
        shown = np.array(image.convert("RGB"))
    with Image.open(tmp_path / "colours" / "masks" / "train" / "사진 0.png") as image:
        assert image.mode == "RGB" and np.array_equal(np.array(image), shown)
    table = json.loads((tmp_path / "colours" / "classes.json").read_text(encoding="utf-8"))
    assert table == {"하늘": [0, 0, 0], "a, b": [128, 0, 0], "3": [0, 128, 0], "나무 2": [128, 128, 0]}


def test_the_palette_is_that_of_pascal_voc():
    colours = palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 4: (0, 0, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {label: tuple(colours[label].tolist()) for label in known} == known
    assert len({tuple(colour) for colour in colours.tolist()}) == 256 and tuple(colours[VOID]) == (224, 224, 192)


def test_a_panoptic_json_says_where_each_class_is(data, tmp_path):
    convert(data, "panoptic", tmp_path / "new")
    content = json.loads((tmp_path / "new" / "annotations" / "panoptic_val.json").read_text(encoding="utf-8"))
    assert [category["name"] for category in content["categories"]] == list(CLASSES)
    first = content["annotations"][0]["segments_info"]
    assert first[1] == {"id": 2, "category_id": 2, "area": 2, "bbox": [2, 0, 2, 1], "iscrowd": 0}
    with Image.open(tmp_path / "new" / "annotations" / "panoptic_val" / "사진 2.png") as image:
        assert np.array(image)[1].tolist() == [[3, 0, 0], [3, 0, 0], [0, 0, 0], [4, 0, 0]]


def test_shapes_of_objects_become_masks_by_the_command(tmp_path, capsys):
    picture(tmp_path / "set" / "a.png", (20, 20))
    square = [[5, 5, 15, 5, 15, 15, 5, 15]]
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "annotations": [{**box, "segmentation": square}],
        "categories": [{"id": 1, "name": "별"}],
    }
    text(tmp_path / "set" / "train.json", json.dumps(content))
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", str(tmp_path / "set"), "--to", "masks", "--out", str(tmp_path / "new")])
    assert not end.value.code and "areas" in capsys.readouterr().out
    labels = np.array(Image.open(tmp_path / "new" / "masks" / "train" / "a.png"))
    assert labels[5:15, 5:15].all() and labels.sum() == 100


def test_what_cannot_be_written_is_refused(data, tmp_path):
    for format in ("coco", "voc", "yolo", "folder"):
        with pytest.raises(DataError, match="Choose masks, colours, panoptic"):
            convert(data, format, tmp_path / "new")
    with pytest.raises(DataError, match="has no maps of classes"):
        convert(open_data("digits"), "masks", tmp_path / "new")
    assert not (tmp_path / "new").exists()
