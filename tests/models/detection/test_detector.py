import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes_of_two import target

from siseon.boxes.matching import BACKGROUND, BETWEEN
from siseon.interface import Detections, Images, PictureError, Sizing
from siseon.models.detection.detector import Detector, assign, covered


class WholePicture(Detector):
    """Finds one object a picture, all of it, with the score of its mean brightness, and remembers what it was given."""

    def __init__(self):
        super().__init__(classes=("전부",), sizing=Sizing(64, 96, 32))
        self.dropout = torch.nn.Dropout()
        self.seen = []

    def forward(self, images):
        images = Images.of(images, self.sizing.multiple)
        self.seen.append(images)
        return images

    def loss(self, images, targets):
        return {}

    def detections(self, raw, images, score):
        results = []
        for pixels, (height, width) in zip(raw.tensor, raw.sizes, strict=True):
            scores = pixels[:, :height, :width].mean()[None]
            boxes = torch.tensor([[0.0, 0.0, width, height]])[scores > score]
            results.append(
                Detections(boxes, torch.zeros(len(boxes), dtype=torch.int64), scores[scores > score], self.classes)
            )
        return results


@pytest.mark.parametrize("size", [(64, 64), (31, 97), (200, 100), (1, 50), (300, 301)])
@pytest.mark.parametrize("batch", [1, 2])
def test_boxes_are_in_the_pixels_of_each_picture(size, batch):
    pictures = [np.full((*size, 3), 255, np.uint8), np.full((40, 80, 3), 255, np.uint8)]
    first, second = WholePicture().predict(pictures, batch=batch)
    torch.testing.assert_close(first.boxes, torch.tensor([[0.0, 0.0, size[1], size[0]]]))
    torch.testing.assert_close(second.boxes, torch.tensor([[0.0, 0.0, 80.0, 40.0]]))


@pytest.mark.parametrize(
    ("size", "fitted", "padded"),
    [((64, 64), (64, 64), (64, 64)), ((50, 100), (48, 96), (64, 96)), ((80, 40), (96, 48), (96, 64))],
)
def test_pictures_are_scaled_and_padded_by_the_sizing(size, fitted, padded):
    model = WholePicture()
    model.predict(torch.ones(3, *size))
    (images,) = model.seen
    assert (images.sizes, tuple(images.tensor.shape)) == ((fitted,), (1, 3, *padded))
    assert images.tensor[0, :, fitted[0] :].sum() == images.tensor[0, :, :, fitted[1] :].sum() == 0


@pytest.mark.parametrize(("score", "count"), [(0.4, 1), (0.6, 0)])
def test_the_score_is_a_threshold(score, count):
    (found,) = WholePicture().predict(torch.full((3, 64, 64), 0.5), score=score)
    assert (len(found), found.names) == (count, ["전부"] * count)


def test_files_pil_images_arrays_and_tensors_give_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "사진.png")
    pictures = [
        tmp_path / "사진.png",
        str(tmp_path / "사진.png"),
        Image.fromarray(pixels),
        pixels,
        torch.from_numpy(pixels).permute(2, 0, 1),
    ]
    found = WholePicture().predict(pictures)
    assert {each.scores.item() for each in found} == {found[0].scores.item()}


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8broken")
    with pytest.raises(PictureError, match=r"broken\.jpg"):
        WholePicture().predict([tmp_path / "broken.jpg"])


def test_no_pictures_give_no_predictions():
    assert WholePicture().predict([]) == []


def test_predict_restores_the_mode():
    model = WholePicture().train()
    model.dropout.eval()
    model.predict(torch.zeros(3, 8, 8))
    assert (model.training, model.dropout.training) == (True, False)


ANCHORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [40, 40, 50, 50], [20, 20, 30, 30], [25, 20, 45, 30]])


@pytest.mark.parametrize(
    ("objects", "crowd", "expected"),
    [
        ([], [], [BACKGROUND] * 5),
        ([[0, 0, 10, 10]], [False], [0, BETWEEN, BACKGROUND, BACKGROUND, BACKGROUND]),
        ([[0, 0, 10, 10]], [True], [BETWEEN, BETWEEN, BACKGROUND, BACKGROUND, BACKGROUND]),
        # the second object is the only one that counts; half of the last anchor lies in the crowd
        (
            [[15, 15, 35, 35], [0, 0, 10, 10], [40, 40, 50, 50]],
            [True, False, False],
            [1, BETWEEN, 2, BETWEEN, BETWEEN],
        ),
        # an object inside a crowd region stays one
        ([[0, 0, 60, 60], [20, 20, 30, 30]], [True, False], [BETWEEN, BETWEEN, BETWEEN, 1, BETWEEN]),
    ],
)
def test_boxes_are_assigned_to_objects(objects, crowd, expected):
    truth = target(objects, [0] * len(objects), crowd)
    assert assign(ANCHORS, truth, high=0.7, low=0.3, keep_best=False).tolist() == expected


def test_without_boxes_nothing_is_assigned():
    truth = target([[0.0, 0, 10, 10]], [0], [True])
    assert assign(torch.zeros(0, 4), truth, high=0.7, low=0.3, keep_best=True).shape == (0,)


corner = st.integers(0, 20)
side = st.integers(1, 20)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1, max_size=3))
def test_the_covered_part_agrees_with_counted_pixels(boxes, regions):
    def pixels(one):
        return {(x, y) for x in range(one[0], one[2]) for y in range(one[1], one[3])}

    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a)) for b in regions] for a in boxes]
    found = covered(torch.tensor(boxes, dtype=torch.float32), torch.tensor(regions, dtype=torch.float32))
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_an_empty_box_is_not_covered():
    assert covered(torch.tensor([[5.0, 5, 5, 9]]), torch.tensor([[0.0, 0, 10, 10]])).tolist() == [[0.0]]
