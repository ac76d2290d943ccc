import json

import numpy as np
import pytest
import torch
from PIL import Image

from siseon import drawing, metrics, pictures
from siseon.data.dataset import Annotation
from siseon.evaluation import evaluate, validate
from siseon.interface import VOID, DataError, PictureError, Segmentation
from siseon.prediction import predict_files

CLASSES = ("background", "길", "tree")


class Maps:
    """Pictures whose red is the class times 100."""

    task = "segmentation"

    def __init__(self, count=5, classes=CLASSES, bad=None):
        self.count, self.classes, self.bad = count, classes, bad

    def __len__(self):
        return self.count

    def annotation(self, index):
        return Annotation(f"그림 {index}", size=(12, 20))

    def semantic(self, index):
        if index == self.bad:
            raise PictureError("the map is broken", "")
        found = np.random.default_rng(index).integers(0, 3, (3, 5)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        found[0] = VOID
        return found

    def picture(self, index):
        classes = np.random.default_rng(index).integers(0, 3, (3, 5)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        return np.stack([classes * 100, classes * 0, classes * 0], 2)


class Reader:
    """Reads the class from the red; the last `wrong` columns it takes for background."""

    task = "segmentation"

    def __init__(self, classes=CLASSES, wrong=0):
        self.classes, self.wrong = classes, wrong

    def predict(self, pictures, batch=1):
        found = []
        for picture in pictures:
            labels = torch.from_numpy(picture[..., 0].astype(np.int64) // 100)
            order = torch.tensor([self.classes.index(name) for name in CLASSES])
            labels = order[labels]
            if self.wrong:
                labels[:, -self.wrong :] = self.classes.index("background")
            found.append(Segmentation(labels, torch.ones(labels.shape), self.classes))
        return found


def naive(truths, found, classes):
    """IoU and accuracy by sets of pixels."""
    rows = []
    for label in range(classes):
        right = sum(int(((t == label) & (f == label)).sum()) for t, f in zip(truths, found, strict=True))
        either = sum(
            int((((t == label) | (f == label)) & (t != VOID)).sum()) for t, f in zip(truths, found, strict=True)
        )
        true = sum(int((t == label).sum()) for t in truths)
        rows.append((right / either if either else float("nan"), right / true if true else float("nan")))
    return rows


def test_figures_equal_a_naive_count():
    random = np.random.default_rng(0)
    truths = [random.choice([0, 1, 2, VOID], (9, 11)).astype(np.uint8) for _ in range(3)]
    found = [random.integers(0, 4, (9, 11)) for _ in range(3)]
    matrix = sum(metrics.confusion_of_maps(f, t, classes=5) for f, t in zip(found, truths, strict=True))
    assert matrix.sum() == sum((t != VOID).sum() for t in truths)
    overlaps, accuracies = metrics.class_overlaps(matrix)
    expected = np.array(naive(truths, found, 5))
    np.testing.assert_allclose(np.stack([overlaps, accuracies], 1), expected)
    figures = metrics.segmentation_figures(matrix)
    known = np.concatenate([t[t != VOID] for t in truths])
    right = np.concatenate([(f == t)[t != VOID] for f, t in zip(found, truths, strict=True)])
    assert figures["pixel_accuracy"] == pytest.approx(right.mean())
    assert figures["mean_IoU"] == pytest.approx(np.mean([row[0] for row in expected[:4]]))  # 3 is predicted only: 0
    assert figures["mean_accuracy"] == pytest.approx(np.mean([row[1] for row in expected[:3]]))
    shares = [(known == label).mean() for label in range(3)]
    assert figures["frequency_IoU"] == pytest.approx(sum(s * row[0] for s, row in zip(shares, expected, strict=False)))


def test_nothing_known_has_no_figures():
    assert all(np.isnan(value) for value in metrics.segmentation_figures(np.zeros((3, 3), np.int64)).values())


def test_a_perfect_answer_is_perfect():
    result = evaluate(Reader(), Maps())
    assert next(iter(result.metrics)) == "mean_IoU"
    assert [result.metrics[name] for name in ("mean_IoU", "pixel_accuracy", "mean_accuracy")] == [1, 1, 1]
    assert result.confusion.sum() == 5 * (12 * 20 - 20)
    assert set(result.per_class["길"]) == {"IoU", "accuracy", "pixels"}
    assert "길" in result.table()


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[::-1]], ids=["same order", "another order"])
def test_wrong_pixels_are_counted_whatever_the_order_of_the_classes(classes):
    data = Maps()
    result = evaluate(Reader(classes, wrong=4), data)
    truths = [data.semantic(index) for index in range(5)]
    found = [data.picture(index)[..., 0] // 100 for index in range(5)]
    for one in found:
        one[:, -4:] = 0
    expected = naive(truths, found, 3)
    assert [row["IoU"] for row in result.per_class.values()] == pytest.approx([row[0] for row in expected])
    assert validate(Reader(classes, wrong=4), data)["mean_IoU"] == pytest.approx(result.metrics["mean_IoU"])


def test_a_model_of_other_classes_does_not_fit():
    with pytest.raises(DataError, match="The model knows the classes"):
        evaluate(Reader(("background", "길", "house", "tree")), Maps())


def test_a_map_that_cannot_be_read_is_passed_over():
    result = evaluate(Reader(), Maps(bad=2))
    assert (result.metrics["pictures"], result.metrics["unreadable"]) == (4, 1)
    assert "the map is broken" in str(result.problems[0])


def test_the_report_shows_maps_the_worst_first(tmp_path):
    evaluate(Reader(wrong=8), Maps(), out=tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert content["confusion"]["names"] == list(CLASSES)
    rows = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert sum(rows[0]["shares"].values()) == pytest.approx(1, abs=1e-3)
    for name in ("confusion.png", "examples.png", "worst.png"):
        assert pictures.read(tmp_path / name).shape[0] > 50


def test_predicted_files_come_with_their_maps(tmp_path):
    data, files = Maps(), []
    for index in range(2):
        pictures.write(data.picture(index), tmp_path / f"사진 {index}.png")
        files.append(tmp_path / f"사진 {index}.png")
    assert predict_files(Reader(), files, tmp_path / "out", say=lambda line: None) == []
    with Image.open(tmp_path / "out" / "maps" / "사진 1.png") as image:
        assert image.mode == "P" and image.size == (20, 12)
        assert np.array_equal(np.asarray(image), data.picture(1)[..., 0] // 100)
    rows = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert set(rows[0]["shares"]) <= set(CLASSES)


def test_a_drawn_map_leaves_the_background_and_names_the_rest():
    picture = np.full((300, 420, 3), 120, np.uint8)
    labels = torch.zeros(300, 420, dtype=torch.int64)
    labels[:, 210:] = 1
    drawn = drawing.draw_map(picture, Segmentation(labels, torch.ones(300, 420), CLASSES))
    assert drawn.shape[1] == 420 and drawn.shape[0] > 320  # a legend stands below
    assert (drawn[150, 50] == 120).all()
    expected = 120 // 5 * 2 + np.array(drawing.colour(1)) // 5 * 3
    assert np.array_equal(drawn[150, 350], expected)
    assert (drawn[300:] != drawing.PAPER[0]).any()


def test_a_legend_takes_as_many_rows_as_it_needs():
    entries = [(drawing.colour(label), f"클래스 {label}") for label in range(12)]
    narrow, wide = drawing.legend(entries, 200, letters=14), drawing.legend(entries, 1400, letters=14)
    assert narrow.shape[1] == 200 and wide.shape[1] == 1400
    assert narrow.shape[0] > 3 * wide.shape[0]
    assert all((narrow == np.array(paint)).all(-1).any() for paint, _ in entries)


def test_shares_leave_void_and_absent_classes_out():
    labels = torch.tensor([[1, 1, 1, VOID]])
    found = Segmentation(labels, torch.ones(1, 4), CLASSES)
    assert found.to_json() == {"길": 0.75}
