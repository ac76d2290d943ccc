"""Evaluation with stand-ins: a few grey pictures, detectors and a classifier that know the truth or do not."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from siseon.data.dataset import Annotation, Data
from siseon.evaluation import evaluate, validate
from siseon.interface import Classification, DataError, Detections, PictureError
from siseon.prediction import predict_files

CLASSES = ("고양이", "dog")
BOXES = np.array([[10, 10, 50, 50], [60, 60, 90, 90]], np.float32)


class Pictures:
    """Pictures 100 pixels wide whose grey tells their number; number 3 cannot be read, number 2 is empty."""

    def __init__(self, count=6, task="detection", classes=CLASSES):
        self.count, self.task, self.classes = count, task, classes

    def __len__(self):
        return self.count

    def annotation(self, index):
        objects = 0 if index == 2 else 2
        return Annotation(
            name=f"사진/{index}.png",
            size=(100, 100),
            boxes=BOXES[:objects],
            labels=np.array([0, 1])[:objects],
            crowd=np.zeros(objects, bool),
            label=index % 2,
        )

    def picture(self, index):
        if index == 3:
            raise PictureError(f"사진/{index}.png: cut off", "Copy it again.")
        return np.full((100, 100, 3), index, np.uint8)


class Detector:
    """Finds what the annotation says, in the order of `labels`."""

    task = "detection"

    def __init__(self, classes=CLASSES, labels=(0, 1), shift=0.0):
        self.classes, self.labels, self.shift, self.batches = classes, torch.tensor(labels), shift, []

    def predict(self, pictures, *, batch, score=0.05):
        self.batches.append(len(pictures))
        found = []
        for picture in pictures:
            count = 0 if picture[0, 0, 0] == 2 else 2
            boxes = torch.from_numpy(BOXES[:count]) + self.shift
            scores = torch.tensor([0.9, 0.8])[:count]
            found.append(Detections(boxes, self.labels[:count], scores, self.classes).above(score))
        return found


class Classifier:
    """Says what the number of the picture says, wrongly for picture 5."""

    task = "classification"

    def __init__(self, classes=CLASSES):
        self.classes = classes

    def predict(self, pictures, *, batch):
        numbers = [int(picture[0, 0, 0]) for picture in pictures]
        right = [number % 2 if number != 5 else 0 for number in numbers]
        place = [self.classes.index(CLASSES[label]) for label in right]
        return [Classification(torch.eye(len(self.classes))[label] * 0.8 + 0.1, self.classes) for label in place]


def test_a_detector_that_knows_the_truth():
    result = evaluate(Detector(), Pictures())
    assert list(result.metrics)[:2] == ["AP50", "AP"]
    assert result.metrics["AP50"] == result.metrics["AP"] == 1.0
    assert result.confusion.tolist() == [[4, 0, 0], [0, 4, 0], [0, 0, 0]]
    assert result.per_class["고양이"]["objects"] == 4
    assert sum(result.metrics[f"objects_{size}"] for size in ("small", "medium", "large")) == 8


@pytest.mark.parametrize(
    ("detector", "at_half"),
    [(Detector(labels=(1, 0)), 0.0), (Detector(shift=200.0), 0.0), (Detector(shift=3.0), 1.0)],
    ids=["labels exchanged", "far off", "a little off"],
)
def test_a_detector_that_is_wrong(detector, at_half):
    assert evaluate(detector, Pictures()).metrics["AP50"] == at_half


def test_an_unreadable_picture_is_passed_over_and_named():
    result = evaluate(Detector(), Pictures())
    assert (result.metrics["pictures"], result.metrics["unreadable"]) == (5, 1)
    assert [str(problem) for problem in result.problems] == ["사진/3.png: 사진/3.png: cut off; passed over"]


def test_pictures_come_in_batches_and_in_order():
    detector, done = Detector(), []
    result = evaluate(detector, Pictures(9), batch=4, progress=lambda count, total: done.append((count, total)))
    assert detector.batches == [3, 4, 1]
    assert [answer.index for answer in result.answers] == [0, 1, 2, 4, 5, 6, 7, 8]
    assert done == [(4, 9), (8, 9), (9, 9)]


@pytest.mark.parametrize("count", [0, 1])
def test_few_pictures(count):
    result = evaluate(Detector(), Pictures(count))
    assert result.metrics["pictures"] == count
    assert math.isnan(result.metrics["AP50"]) == (count == 0)


def test_classes_are_matched_by_name():
    detector = Detector(classes=("bird", "dog", "고양이"), labels=(2, 1))
    result = evaluate(detector, Pictures())
    assert result.metrics["AP50"] == 1.0
    assert result.answers[0].prediction.names == ["고양이", "dog"]


def test_what_the_data_does_not_know_is_not_a_mistake():
    detector = Detector(classes=("고양이", "bird"), labels=(0, 1))
    assert evaluate(detector, Pictures()).confusion.tolist() == [[4, 0, 0], [0, 0, 4], [0, 0, 0]]


@pytest.mark.parametrize(
    ("model", "data", "named"),
    [
        (Detector(classes=("bird", "fish")), Pictures(), "bird, fish"),
        (Classifier(classes=(*CLASSES, "bird")), Pictures(task="classification"), "bird"),
        (Classifier(), Pictures(), "classification"),
    ],
    ids=["no class in common", "a classifier of other classes", "another task"],
)
def test_model_and_data_that_do_not_fit(model, data, named):
    with pytest.raises(DataError, match=named):
        evaluate(model, data)


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[::-1]], ids=["same order", "another order"])
def test_a_classifier(classes):
    result = evaluate(Classifier(classes), Pictures(task="classification"))
    assert next(iter(result.metrics)) == "accuracy"
    assert result.metrics["accuracy"] == pytest.approx(4 / 5)
    assert result.confusion.tolist() == [[3, 0], [1, 1]]
    assert result.per_class["dog"] == {"precision": 1.0, "recall": 0.5, "F1": pytest.approx(2 / 3), "pictures": 2.0}


def test_a_split_is_taken_and_test_falls_back_to_val():
    data = Data("pictures", "detection", CLASSES, {"train": Pictures(3), "val": Pictures(2)})
    assert evaluate(Detector(), data, split="train").metrics["pictures"] == 3
    assert evaluate(Detector(), data).metrics["pictures"] == 2
    with pytest.raises(DataError, match="no later pictures"):
        evaluate(Detector(), data, split="later")


def test_validation_gives_only_figures_that_repeat():
    assert list(validate(Detector(), Pictures())) == ["AP50", "AP", "AP75", "AR100"]
    assert list(validate(Classifier(), Pictures(task="classification"))) == ["accuracy", "top5", "macro_F1"]


def test_areas_of_shapes_decide_the_sizes():
    class Shaped(Pictures):
        def annotation(self, index):
            triangle = np.array([[10, 10], [50, 10], [10, 50]], np.float32)
            disc = np.zeros((100, 100), bool)
            disc[60:75, 60:75] = True
            known = super().annotation(index)
            return Annotation(
                known.name,
                None,
                known.size,
                known.boxes,
                known.labels,
                known.crowd,
                ((triangle,), disc)[: len(known.boxes)],
            )

    result = evaluate(Detector(), Shaped())
    assert result.metrics["AP_small"] == 1.0 and math.isnan(result.metrics["AP_medium"])


class Masked(Pictures):
    """The same with the shape of each object: a polygon, and a block of pixels."""

    def annotation(self, index):
        polygon = (np.array([[10, 10], [50, 10], [50, 20], [10, 50]], np.float32),)
        block = np.zeros((100, 100), bool)
        block[60:90, 60:90] = True
        known = super().annotation(index)
        return replace(known, segments=(polygon, block)[: len(known.boxes)])


class Drawer(Detector):
    """Finds boxes and draws the masks that fill them."""

    def predict(self, pictures, *, batch, score=0.05):
        drawn = []
        for found in super().predict(pictures, batch=batch, score=score):
            masks = torch.zeros(len(found), 100, 100, dtype=torch.bool)
            for mask, (left, top, right, bottom) in zip(masks, found.boxes.int().tolist(), strict=True):
                mask[top:bottom, left:right] = True
            drawn.append(replace(found, masks=masks))
        return drawn


def test_masks_are_judged_beside_boxes():
    result = evaluate(Drawer(), Masked())
    # The polygon fills five eighths of its box.
    assert result.metrics["AP50"] == result.metrics["AP75"] == 1.0
    assert result.metrics["mask_AP50"] == 1.0
    assert result.metrics["mask_AP75"] == pytest.approx(0.5)
    assert result.per_class["dog"]["mask_AP"] == 1.0
    assert result.per_class["고양이"]["mask_AP"] == pytest.approx(0.3)  # right at 0.50, 0.55 and 0.60 of ten
    assert list(validate(Drawer(), Masked())) == ["AP50", "AP", "AP75", "AR100", "mask_AP50", "mask_AP"]
    assert all(answer.prediction.masks is None and answer.annotation.segments == () for answer in result.answers)


@pytest.mark.parametrize(
    ("detector", "data"), [(Detector(), Masked()), (Drawer(), Pictures())], ids=["no masks found", "none known"]
)
def test_masks_are_judged_only_where_both_have_them(detector, data):
    result = evaluate(detector, data)
    assert not [name for name in result.metrics if "mask" in name]
    assert result.metrics["AP50"] == 1.0


def test_masks_follow_the_names_of_the_classes():
    result = evaluate(Drawer(classes=("bird", "dog", "고양이"), labels=(0, 1)), Masked())
    answer = result.answers[0]
    assert len(answer.found_masks) == len(answer.prediction) == 1
    truth, found = answer.drawable()
    assert truth.masks.shape == (2, 100, 100) and found.masks.shape == (1, 100, 100)
    assert found.masks[0, 60:90, 60:90].all() and found.masks.sum() == 900


def test_a_report_has_the_masks(tmp_path):
    evaluate(Drawer(), Masked(), out=tmp_path / "masks")
    evaluate(Detector(), Pictures(), out=tmp_path / "boxes")
    first = json.loads((tmp_path / "masks" / "predictions.json").read_text(encoding="utf-8"))[0]
    assert coco_mask.area(first["segmentation"]) == 1600 and first["bbox"] == [10, 10, 40, 40]
    with_masks, without = (np.array(Image.open(tmp_path / kind / "examples.png")) for kind in ("masks", "boxes"))
    assert with_masks.shape == without.shape
    assert (with_masks != without).any(2).mean() > 0.05


@pytest.fixture(scope="module")
def detection_report(tmp_path_factory):
    out = tmp_path_factory.mktemp("보고서") / "new"
    return evaluate(Detector(labels=(0, 0)), Pictures(), out=out), out


def test_report_of_a_detector(detection_report):
    result, out = detection_report
    written = {file.name for file in out.iterdir()}
    assert written == {
        *("metrics.json", "predictions.json", "confusion.png", "precision_recall.png", "examples.png", "worst.png")
    }
    figures = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert figures["metrics"]["AP50"] == result.metrics["AP50"]
    assert figures["confusion"]["names"] == ["고양이", "dog", "(background)"]
    assert figures["metrics"]["AP_large"] is None
    first = json.loads((out / "predictions.json").read_text(encoding="utf-8"))[0]
    assert first["file_name"] == "사진/0.png" and first["image_id"] == 1 and first["bbox"] == [10, 10, 40, 40]


def test_pictures_of_a_report_can_be_looked_at(detection_report):
    for name in ("confusion.png", "precision_recall.png", "examples.png", "worst.png"):
        with Image.open(detection_report[1] / name) as picture:
            assert min(picture.size) >= 200, name


def test_report_of_a_classifier(tmp_path):
    evaluate(Classifier(), Pictures(task="classification"), out=tmp_path)
    rows = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert rows[1] == {
        "file_name": "사진/1.png",
        "classes": [{"class": "dog", "score": 0.9}, {"class": "고양이", "score": 0.1}],
    }
    assert not (tmp_path / "precision_recall.png").exists()


def test_a_table_shows_every_figure_and_class():
    table = evaluate(Detector(), Pictures()).table()
    assert all(word in table for word in ("AP50", "1.000", "고양이", "dog", "unreadable"))
    assert max(map(len, table.splitlines())) <= 100


def test_files_are_predicted_into_a_folder(tmp_path):
    paths = [
        tmp_path / "가" / "1.png",
        tmp_path / "나" / "1.png",
        tmp_path / "나" / "broken.jpg",
        tmp_path / "나" / "4.bmp",
    ]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (120, 100), (1, 1, 1)).save(path) if path.stem != "broken" else path.write_bytes(b"no picture")
    said = []
    faults = predict_files(Detector(), paths, tmp_path / "out", batch=2, say=said.append)
    assert [str(paths[2]) in fault.problem for fault in faults] == [True]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"1.png", "1-2.png", "4.png", "predictions.json"}
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert [row["picture"] for row in rows] == [str(paths[0]), str(paths[1]), str(paths[3])]
    assert rows[0]["objects"][0] == {"class": "고양이", "score": 0.9, "box": [10, 10, 50, 50]}
    assert said[0] == f"{paths[0]}: 1 고양이, 1 dog"
