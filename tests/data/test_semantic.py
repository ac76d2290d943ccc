import numpy as np
import pytest
import torch

from siseon.data.augment import Augment, moved_map
from siseon.data.batches import Batches
from siseon.data.check import examine
from siseon.data.dataset import Annotation, Data
from siseon.data.open_data import open_data
from siseon.data.scenes import Scenes
from siseon.data.semantic import Painted, class_weights
from siseon.interface import VOID, PictureError, Sizing


class Quarters:
    """Pictures whose red says the class of each pixel: 0, 1, 2 and unknown."""

    task = "segmentation"
    classes = ("가", "나", "다")

    def __init__(self, count=4, size=(16, 24), bad=None):
        self.count, self.size, self.bad = count, size, bad

    def __len__(self):
        return self.count

    def annotation(self, index):
        return Annotation(f"그림 {index}", size=self.size)

    def semantic(self, index):
        if index == self.bad:
            raise PictureError(f"map {index}: broken", "Make it again")
        found = np.zeros(self.size, np.uint8)
        height, width = self.size
        found[: height // 2, width // 2 :] = 1
        found[height // 2 :, : width // 2] = 2
        found[height // 2 :, width // 2 :] = VOID
        return found

    def picture(self, index):
        red = self.semantic(index) % 251 * 60
        return np.stack([red, np.zeros_like(red), np.zeros_like(red)], 2).astype(np.uint8)


def test_scenes_as_maps_are_their_semantic_maps():
    data = open_data("scenes", task="segmentation")
    assert (data.task, data.classes[0], len(data.classes)) == ("segmentation", "background", 6)
    for index in range(3):
        assert np.array_equal(data.val.semantic(index), Scenes("val").semantic(index))


def test_another_task_leaves_the_data_as_it_is():
    assert open_data("scenes", task="detection").task == "detection"
    assert open_data("digits", task="segmentation").task == "classification"


def test_an_object_without_a_shape_is_named():
    class Boxes(Scenes):
        def annotation(self, index):
            known = super().annotation(index)
            return Annotation(known.name, size=known.size, boxes=known.boxes, labels=known.labels, crowd=known.crowd)

    with pytest.raises(Exception, match="scenes/val/000000: an object has no shape"):
        Painted(Boxes("val", 1)).semantic(0)


def test_a_batch_has_the_map_of_each_picture_with_void_in_the_padding():
    with Batches(Quarters(2), Sizing(16, 24, 32), batch=2) as batches:
        (batch,) = batches.epoch(0)
    assert batch.images.tensor.shape == (2, 3, 32, 32)
    assert batch.targets.shape == (2, 32, 32) and batch.targets.dtype == torch.uint8
    assert np.array_equal(batch.targets[0, :16, :24].numpy(), Quarters().semantic(0))
    assert (batch.targets[:, 16:] == VOID).all() and (batch.targets[:, :, 24:] == VOID).all()


@pytest.mark.parametrize(
    "augment",
    [
        Augment(flip=1, scale=(1, 1), brightness=0, contrast=0, saturation=0, hue=0),
        Augment(
            flip=0.5, scale=(0.5, 2), rotate=30, shear=10, translate=0.2, brightness=0, contrast=0, saturation=0, hue=0
        ),
    ],
)
def test_the_map_moves_with_the_picture(augment):
    """The red of the picture says the class: away from edges the two still agree."""
    data = Quarters(size=(64, 96))
    agreeing = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        known = Annotation("x", size=(64, 96), semantic=data.semantic(0))
        picture, moved = augment.place(data.picture(0), known, random, frame=Sizing(64, 96, 32))
        assert moved.semantic.shape == picture.shape[:2] and moved.semantic.dtype == np.uint8
        plain = (picture[..., 1] == 0) & (moved.semantic != VOID)
        agreeing.append((np.abs(picture[..., 0][plain] - 60.0 * moved.semantic[plain]) < 8).mean())
        assert set(np.unique(moved.semantic)) <= {0, 1, 2, VOID}
    assert min(agreeing) > 0.9


def test_mirroring_a_map_is_exact_and_beyond_the_edge_is_void():
    found = Quarters().semantic(0)
    mirrored = moved_map(found, np.array([[-1.0, 0, 24], [0, 1, 0]]), (16, 24))
    assert np.array_equal(mirrored, found[:, ::-1])
    shifted = moved_map(found, np.array([[1.0, 0, 5], [0, 1, 0]]), (16, 24))
    assert (shifted[:, :5] == VOID).all() and np.array_equal(shifted[:, 5:], found[:, :-5])


def test_a_map_that_cannot_be_read_is_left_out_of_its_batch_and_named():
    problems = []
    with Batches(Quarters(4, bad=2), Sizing(16, 24, 8), batch=4, on_problem=problems.append) as batches:
        (batch,) = batches.epoch(0)
    assert len(batch.names) == 3 and "그림 2" not in batch.names
    assert "map 2: broken" in str(problems[0])


def test_rare_classes_weigh_more():
    class Uneven(Quarters):
        def semantic(self, index):
            found = np.full((10, 10), VOID, np.uint8)
            found[:8] = 0  # 80 pixels in each of 4 pictures
            if index < 2:
                found[8] = 1  # 10 pixels in two of them: 10 of 90
            return found

    # frequencies: 320 of 340 and 20 of 180; their median is 0.5262
    assert class_weights(Uneven(4)) == pytest.approx([0.5591, 4.7353, 0], abs=1e-3)


def test_check_counts_the_pictures_in_which_a_class_is_seen():
    report = examine(Data("quarters", "segmentation", Quarters.classes, {"train": Quarters(4, bad=1)}))
    assert report.usable
    assert report.splits["train"].classes == {"가": 3, "나": 3, "다": 3}
    assert report.splits["train"].unreadable == 1
