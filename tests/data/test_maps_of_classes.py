import json

import numpy as np
import pytest
from PIL import Image
from small_sets import coco_json, picture, text, whats

from siseon.data import map_files
from siseon.data.open_data import open_data
from siseon.interface import VOID, DataError, PictureError

INDEX = np.array([[0, 0, 1, 1], [2, 2, 255, 1]], np.uint8)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def index_map(path, pixels=INDEX, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def colour_map(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(path)


def pairs(root, masks="masks", count=4, **options):
    for number in range(count):
        picture(root / "images" / f"사진 {number}.jpg", (2, 4))
        index_map(root / masks / f"사진 {number}.png", **options)
    return root


def first(data):
    return next(iter(data.splits.values())).semantic(0).tolist()


@pytest.mark.parametrize("folder", ["masks", "labels", "annotations", "SegmentationMaps", "gt", "semantic_maps"])
def test_pictures_beside_index_maps(tmp_path, folder):
    text(tmp_path / "classes.txt", "하늘\n길\n나무\n")
    data = open_data(pairs(tmp_path, folder))
    assert (data.task, data.classes) == ("segmentation", ("하늘", "길", "나무"))
    assert sum(len(split) for _, split in data) == 4
    assert first(data) == INDEX.tolist()
    assert data.train.annotation(0).size == (2, 4)
    assert data.problems == ()


def test_a_map_may_be_named_after_its_picture_and_lie_beside_it(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    for number in range(3):
        picture(tmp_path / f"{number}.png", (2, 4))
        index_map(tmp_path / f"{number}_mask.png")
    data = open_data(tmp_path)
    assert sum(len(split) for _, split in data) == 3
    assert first(data) == INDEX.tolist()


def test_a_palette_holds_indices_where_no_table_has_its_colours(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    palette = [*BLUE, *RED, *GREEN]
    assert first(open_data(pairs(tmp_path, palette=palette))) == INDEX.tolist()


def test_a_palette_is_read_by_its_colours_where_the_table_has_them(tmp_path):
    text(tmp_path / "classes.txt", "red, 255, 0, 0\ngreen, 0, 255, 0\nblue, 0, 0, 255")
    data = open_data(pairs(tmp_path, palette=[*BLUE, *RED, *GREEN]))
    assert data.classes == ("red", "green", "blue")
    assert first(data) == [[2, 2, 0, 0], [1, 1, VOID, 0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "하늘, 255, 0, 0\n길, 0, 255, 0\nvoid, 0, 0, 255"),
        ("label_colors.txt", "255 0 0\t하늘\n0 255 0\t\t길\n0 0 255 Void"),
        ("class_dict.csv", "name,r,g,b\n하늘,255,0,0\n길,0,255,0\nvoid,0,0,255"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\n하늘:255,0,0::\n길:0,255,0::\nignore:0,0,255::"),
        ("classes.json", json.dumps({"하늘": [255, 0, 0], "길": [0, 255, 0], "void": [0, 0, 255]})),
    ],
)
def test_colours_are_explained_by_a_table(tmp_path, name, content):
    text(tmp_path / name, content)
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.jpg", (1, 4))
        colour_map(tmp_path / "masks" / f"{number}.png", [[RED, GREEN, BLUE, WHITE]])
    data = open_data(tmp_path)
    assert data.classes == ("하늘", "길")
    assert first(data) == [[0, 1, VOID, VOID]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "0 sky\n1 road\n2 tree"),
        ("codes.txt", "sky\nroad\ntree"),
        ("classes.json", '["sky", "road", "tree"]'),
        ("classes.json", '{"0": "sky", "2": "tree", "1": "road"}'),
        ("classes.json", '{"sky": 0, "road": 1, "tree": 2}'),
    ],
)
def test_names_without_colours(tmp_path, name, content):
    text(tmp_path / name, content)
    assert open_data(pairs(tmp_path)).classes == ("sky", "road", "tree")


def test_without_a_table_classes_are_called_by_their_numbers(tmp_path):
    data = open_data(pairs(tmp_path))
    assert data.classes == ("0", "1", "2")
    assert "no list of the classes" in whats(data)[0]


def test_without_a_table_each_colour_is_a_class(tmp_path):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.jpg", (1, 2))
        colour_map(tmp_path / "masks" / f"{number}.png", [[RED, BLUE]])
    data = open_data(tmp_path)
    assert data.classes == ("#ff0000", "#0000ff")
    assert first(data) == [[0, 1]]


def test_colours_without_end_are_no_classes(tmp_path):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.jpg", (40, 40))
        picture(tmp_path / "masks" / f"{number}.png", (40, 40))
    with pytest.raises(DataError, match=r"more than 254 colours.*Write classes\.txt"):
        open_data(tmp_path)


@pytest.mark.parametrize("values", [(0, 255), (0, 1)])
def test_two_values_are_background_and_foreground(tmp_path, values):
    low, high = values
    data = open_data(pairs(tmp_path, pixels=[[low, low, high, high]] * 2))
    assert first(data) == [[0, 0, 1, 1]] * 2
    assert data.classes == (("background", "foreground") if high == 255 else ("0", "1"))


def test_camvid_in_segnets_form_is_known(tmp_path):
    for split in ("train", "val", "test"):
        for number in range(2):
            picture(tmp_path / split / f"{split}{number}.jpg", (2, 4))
            index_map(tmp_path / f"{split}annot" / f"{split}{number}.png", [[0, 1, 2, 3], [10, 9, 8, 11]])
    data = open_data(tmp_path)
    assert (data.classes[0], data.classes[-1], len(data.classes)) == ("sky", "bicyclist", 11)
    assert {split: len(dataset) for split, dataset in data} == {"train": 2, "val": 2, "test": 2}
    assert first(data) == [[0, 1, 2, 3], [10, 9, 8, VOID]]
    assert data.train.annotation(0).name == "train/train0.jpg"


def test_the_maps_of_voc_are_taken_for_segmentation_by_their_lists(tmp_path):
    from small_sets import voc_xml

    for number, split in enumerate(("train", "train", "val")):
        picture(tmp_path / "JPEGImages" / f"{number}.jpg", (2, 4))
        voc_xml(tmp_path / "Annotations" / f"{number}.xml", [("dog", (1, 1, 3, 2))], size=(2, 4))
        index_map(tmp_path / "SegmentationClass" / f"{number}.png", [[0, 0, 12, 12], [0, 255, 12, 12]], [0] * 768)
        index_map(tmp_path / "SegmentationObject" / f"{number}.png", [[0, 0, 1, 1]] * 2, [0] * 768)
        file = tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt"
        text(file, (file.read_text() if file.exists() else "") + f"{number}\n")
    assert open_data(tmp_path).task == "detection"
    data = open_data(tmp_path, task="segmentation")
    assert {split: len(dataset) for split, dataset in data} == {"train": 2, "val": 1}
    assert (data.classes[0], data.classes[12], len(data.classes)) == ("background", "dog", 21)
    assert first(data) == [[0, 0, 12, 12], [0, VOID, 12, 12]]


def test_what_does_not_belong_together_is_left_out_and_named(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    pairs(tmp_path, count=5)
    picture(tmp_path / "images" / "alone.jpg", (2, 4))
    index_map(tmp_path / "masks" / "orphan.png")
    index_map(tmp_path / "masks" / "사진 0.png", [[0, 1]] * 4)
    (tmp_path / "masks" / "사진 1.png").write_bytes(b"no picture")
    data = open_data(tmp_path)
    assert sum(len(split) for _, split in data) == 3
    said = "\n".join(whats(data))
    for part in ("alone.jpg: has no map", "orphan.png: is a map without a picture", "사진 0.png: is 2x4", "사진 1.png"):
        assert part in said


def test_a_broken_map_is_named_when_it_is_read(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    data = open_data(pairs(tmp_path))
    for _, split in data:
        for index in range(len(split)):
            file = tmp_path / "masks" / (split.annotation(index).path.stem + ".png")
            file.write_bytes(file.read_bytes()[:40])
            with pytest.raises(PictureError, match="the map of classes cannot be read"):
                split.semantic(index)


def test_a_map_drawn_before_the_turn_of_exif_is_turned_with_the_picture(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.jpg", (2, 4), orientation=6)
        index_map(tmp_path / "masks" / f"{number}.png")
    data = open_data(tmp_path)
    assert data.train.annotation(0).size == (4, 2)
    assert first(data) == np.rot90(INDEX, -1).tolist()


def test_a_larger_map_is_scaled_to_its_picture(tmp_path):
    text(tmp_path / "classes.txt", "a\nb\nc")
    data = open_data(pairs(tmp_path, pixels=INDEX.repeat(2, 0).repeat(2, 1)))
    assert first(data) == INDEX.tolist()
    assert "scaled to it" in whats(data)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_relabelling_equals_a_loop(dtype):
    pixels = np.random.default_rng(0).integers(0, 9, (20, 30)).astype(dtype)
    labels = {1: 0, 3: 2, 8: 1}
    expected = [[labels.get(int(value), VOID) for value in row] for row in pixels]
    assert map_files.relabelled(pixels, labels).tolist() == expected
    assert (map_files.relabelled(pixels, {}) == VOID).all()


def panoptic(root):
    categories = [{"id": 3, "name": "고양이", "isthing": 1}, {"id": 90, "name": "sky", "isthing": 0}]
    images, annotations = [], []
    for number in range(4):
        picture(root / "val2017" / f"{number}.jpg", (1, 4))
        # 300 = 44 + 256: a segment's number is a colour of three bytes
        colour_map(root / "panoptic_val2017" / f"{number}.png", [[(44, 1, 0), (5, 0, 0), (0, 0, 0), (7, 0, 0)]])
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 1, "width": 4})
        segments = [
            {"id": 300, "category_id": 90},
            {"id": 5, "category_id": 3},
            {"id": 7, "category_id": 3, "iscrowd": 1},
        ]
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    content = {"images": images, "annotations": annotations, "categories": categories}
    return text(root / "annotations" / "panoptic_val2017.json", json.dumps(content, ensure_ascii=False))


@pytest.mark.parametrize("given", ["folder", "file"])
def test_panoptic_coco_becomes_maps(tmp_path, given):
    file = panoptic(tmp_path)
    data = open_data(tmp_path if given == "folder" else file, task="segmentation")
    assert data.classes == ("고양이", "sky")
    assert first(data) == [[1, 0, VOID, VOID]]


def test_a_panoptic_file_with_holes_says_so(tmp_path):
    file = panoptic(tmp_path)
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["annotations"][0]["segments_info"]
    (tmp_path / "panoptic_val2017" / "1.png").unlink()
    text(file, json.dumps(content))
    data = open_data(file)
    assert sum(len(split) for _, split in data) == 2
    assert any("segments_info" in one for one in whats(data)) and any(
        "'1.png' is missing" in one for one in whats(data)
    )


def test_objects_with_polygons_become_maps_small_ones_on_top(tmp_path):
    for number in range(3):
        picture(tmp_path / "images" / f"{number}.jpg", (30, 40))
    square = {"bbox": [0, 0, 20, 20], "segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
    inside = {"bbox": [5, 5, 5, 5], "segmentation": [[5, 5, 10, 5, 10, 10, 5, 10]]}
    crowd = {"bbox": [30, 0, 10, 10], "segmentation": {"size": [30, 40], "counts": [900, 300]}, "iscrowd": 1}
    items = [
        {"image_id": image, "category_id": category, **item}
        for image in (1, 2, 3)
        for category, item in ((7, inside), (1, square), (7, crowd))
    ]
    coco_json(tmp_path / "annotations.json", ["0.jpg", "1.jpg", "2.jpg"], items)
    data = open_data(tmp_path, task="segmentation")
    assert data.classes == ("background", "고양이", "dog")
    found = data.train.semantic(0)
    assert [found[2, 2], found[7, 7], found[25, 5], found[5, 35]] == [1, 2, 0, VOID]
    assert data.train.annotation(0).boxes.shape == (0, 4)


def test_objects_without_shapes_cannot_become_maps(tmp_path):
    picture(tmp_path / "a.jpg")
    coco_json(tmp_path / "a.json", ["a.jpg"], [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}])
    with pytest.raises(DataError, match="only a box"):
        open_data(tmp_path, task="segmentation")
