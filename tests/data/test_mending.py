"""Boxes and shapes in the upright picture: EXIF turns, wrong sizes, clipping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from small_sets import EXIF_ORIENTATION, coco_json, objects_of, picture, text, voc_xml, whats

from siseon.data.mending import encode, turn_mask, turn_points
from siseon.data.open_data import open_data

HEIGHT, WIDTH = 30, 40
BOX = (5, 6, 25, 16)
UPRIGHT = {
    1: (5, 6, 25, 16),
    2: (15, 6, 35, 16),
    3: (15, 14, 35, 24),
    4: (5, 14, 25, 24),
    5: (6, 5, 16, 25),
    6: (14, 5, 24, 25),
    7: (14, 15, 24, 35),
    8: (6, 15, 16, 35),
}
"""Where BOX of a picture 30 high and 40 wide is once EXIF's orientation is applied (drawn on paper)."""


def upright(mask, orientation):
    """Pillow's way to turn: an independent second implementation."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    image.info["exif"] = exif.tobytes()
    image.getexif()[EXIF_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image)) > 0


def filled(box, size):
    mask = np.zeros(size, bool)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_points_and_masks_are_where_pillow_puts_them(orientation):
    mask = filled(BOX, (HEIGHT, WIDTH))
    corners = turn_points(np.array(BOX, float).reshape(2, 2), (HEIGHT, WIDTH), orientation)
    box = (*corners.min(0).astype(int), *corners.max(0).astype(int))
    turned = upright(mask, orientation)
    assert box == UPRIGHT[orientation]
    assert (turn_mask(mask, orientation) == turned).all()
    assert (filled(box, turned.shape) == turned).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(5, 9))
def test_boxes_of_the_stored_frame_are_turned_with_the_picture(tmp_path, orientation, suffix):
    picture(tmp_path / f"a.{suffix}", orientation=orientation)
    data = open_data(voc_xml(tmp_path / "a.xml", [("cat", BOX)]).parent)
    assert objects_of(data)["train"] == {f"a.{suffix}": [("cat", UPRIGHT[orientation])]}
    assert data.train.annotation(0).size == data.train.picture(0).shape[:2] == (WIDTH, HEIGHT)
    assert whats(data)[0].endswith("before its EXIF turn; boxes are turned with the picture")


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), None])
def test_boxes_of_the_upright_frame_are_left_alone(tmp_path, size):
    picture(tmp_path / "a.jpg", orientation=6)
    voc_xml(tmp_path / "a.xml", [("cat", BOX)], size=size)
    assert objects_of(open_data(tmp_path))["train"] == {"a.jpg": [("cat", BOX)]}


def test_fractions_are_of_the_upright_picture(tmp_path):
    picture(tmp_path / "images" / "a.jpg", orientation=6)
    text(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.5 0.25\n")
    assert objects_of(open_data(tmp_path))["train"] == {"images/a.jpg": [("0", (7.5, 15, 22.5, 25))]}


def test_a_turn_that_the_size_does_not_show_is_noted(tmp_path):
    picture(tmp_path / "a.jpg", orientation=3)
    voc_xml(tmp_path / "a.xml", [("cat", BOX)])
    data = open_data(tmp_path)
    assert objects_of(data)["train"] == {"a.jpg": [("cat", BOX)]}
    assert "boxes are taken as drawn on the upright picture" in whats(data)[0]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_polygons_and_masks_are_turned_too(tmp_path, orientation):
    picture(tmp_path / "a.jpg", orientation=orientation)
    mask = filled(BOX, (HEIGHT, WIDTH))
    code = encode(mask)
    shapes = [[[5, 6, 25, 6, 25, 16]], {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}]
    items = [{"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 10], "segmentation": shape} for shape in shapes]
    polygons, turned = open_data(coco_json(tmp_path / "a.json", ["a.jpg"], items)).train.annotation(0).segments
    assert (turned == upright(mask, orientation)).all()
    assert (*polygons[0].min(0), *polygons[0].max(0)) == UPRIGHT[orientation]


def test_a_stale_size_is_passed_over_when_the_boxes_lie_in_the_picture(tmp_path):
    for name in "ab":
        picture(tmp_path / f"{name}.png", size=(60, 60))
        voc_xml(tmp_path / f"{name}.xml", [("plate", (5, 6, 55, 56))], size=(30, 40))
    data = open_data(tmp_path)
    assert [rows for split in objects_of(data).values() for rows in split.values()] == [[("plate", (5, 6, 55, 56))]] * 2
    assert whats(data) == [
        "a.xml: states a size that is not the size of the picture (and 1 more files); "
        "boxes lie inside the picture and are used as they are"
    ]


def test_boxes_are_scaled_with_pictures_that_were_made_smaller(tmp_path):
    boxes = {"a": (10, 10, 20, 20), "b": (40, 20, 80, 60)}
    for name, box in boxes.items():
        picture(tmp_path / f"{name}.png", size=(30, 40))
        voc_xml(tmp_path / f"{name}.xml", [("plate", box)], size=(60, 80))
    data = open_data(tmp_path)
    found = {name: rows for split in objects_of(data).values() for name, rows in split.items()}
    assert found == {"a.png": [("plate", (5, 5, 10, 10))], "b.png": [("plate", (20, 10, 40, 30))]}
    assert "boxes are scaled to the picture" in whats(data)[0]


def test_masks_are_scaled_with_pictures_that_were_made_smaller(tmp_path):
    picture(tmp_path / "a.png", size=(30, 40))
    mask = filled((40, 20, 80, 60), (60, 80))
    item = {"image_id": 1, "category_id": 1, "bbox": [40, 20, 40, 40]}
    item["segmentation"] = {"size": [60, 80], "counts": encode(mask)["counts"].decode()}
    entry = {"id": 1, "file_name": "a.png", "height": 60, "width": 80}
    annotation = open_data(coco_json(tmp_path / "a.json", [entry], [item])).train.annotation(0)
    assert (annotation.segments[0] == filled((20, 10, 40, 30), (30, 40))).all()


@pytest.mark.parametrize(
    ("box", "found", "what"),
    [
        ((0, 0, 40, 30), (0, 0, 40, 30), None),
        ((-0.4, 0, 40.4, 30), (0, 0, 40, 30), None),
        ((-3, 6, 25, 16), (0, 6, 25, 16), "the box of 'cat' (-3, 6, 25, 16) sticks out of a.png (40x30); clipped"),
        ((5, 6, 45, 36), (5, 6, 40, 30), "sticks out of a.png (40x30); clipped"),
        ((40, 6, 45, 16), None, "lies outside a.png (40x30); left out"),
        ((-9, -9, -1, -1), None, "lies outside a.png (40x30); left out"),
        ((5, 6, 5, 16), None, "the box of 'cat' (5, 6, 5, 16) has no area; left out"),
        ((25, 16, 5, 6), None, "has no area; left out"),
        (("nan", 6, 25, 16), None, "has a coordinate that is not a number; left out"),
        (("inf", 6, 25, 16), None, "has a coordinate that is not a number; left out"),
    ],
)
def test_boxes_at_and_beyond_the_edge(tmp_path, box, found, what):
    picture(tmp_path / "a.png")
    voc_xml(tmp_path / "a.xml", [("dog", BOX), ("cat", box)])
    data = open_data(tmp_path)
    assert objects_of(data)["train"]["a.png"] == [("dog", BOX), *([("cat", found)] if found else [])]
    noted = [line for line in whats(data) if "classes without" not in line and "only picture" not in line]
    assert noted == [] if what is None else (len(noted) == 1 and noted[0].startswith("a.xml: ") and what in noted[0])


def test_polygons_are_clipped_and_kept_with_their_objects(tmp_path):
    picture(tmp_path / "a.png")
    shapes = [[[-5, 6, 25, 6, 25, 16]], [[1, 1, 3, 1, 3, 3]], [[5, 6, 45, 6, 45, 16]]]
    boxes = [[-5, 6, 30, 10], [1, 1, 0, 2], [5, 6, 40, 10]]
    items = [
        {"image_id": 1, "category_id": 1, "bbox": box, "segmentation": shape}
        for box, shape in zip(boxes, shapes, strict=True)
    ]
    annotation = open_data(coco_json(tmp_path / "a.json", ["a.png"], items)).train.annotation(0)
    assert [ring.tolist() for (ring,) in annotation.segments] == [
        [[0, 6], [25, 6], [25, 16]],
        [[5, 6], [40, 6], [40, 16]],
    ]


def test_shapes_are_left_out_where_not_every_object_has_one(tmp_path):
    picture(tmp_path / "a.png")
    item = {"image_id": 1, "category_id": 1, "bbox": [5, 6, 20, 10]}
    items = [item, {**item, "segmentation": [[5, 6, 25, 6, 25, 16]]}]
    data = open_data(coco_json(tmp_path / "a.json", ["a.png"], items))
    assert data.train.annotation(0).segments == ()
    assert "some objects have a shape and others have none; only the boxes are used" in whats(data)[0]


def test_a_picture_that_is_annotated_twice_counts_once(tmp_path):
    picture(tmp_path / "images" / "a.png")
    for folder in ("annotations", "more"):
        voc_xml(tmp_path / folder / "a.xml", [("cat", BOX)])
    data = open_data(tmp_path)
    assert objects_of(data)["train"] == {"images/a.png": [("cat", BOX)]}
    assert "more/a.xml: images/a.png is annotated twice; only the first is used" in whats(data)


@given(
    orientation=st.integers(1, 8),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5),
)
def test_turning_keeps_points_in_the_picture(orientation, height, width, points):
    inside = np.array([(x % (width + 1), y % (height + 1)) for x, y in points], float).reshape(-1, 2)
    turned = turn_points(inside, (height, width), orientation)
    across = (height, width) if orientation > 4 else (width, height)
    assert turned.shape == inside.shape
    assert (turned >= 0).all()
    assert (turned <= across).all()
