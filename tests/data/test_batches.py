"""Batches: the same whatever the workers, nothing read twice or in vain, bad pictures named and left out."""

import os
import signal
import time

import numpy as np
import pytest
import torch

from siseon.data.augment import Augment, Crop
from siseon.data.batches import Batches
from siseon.data.dataset import Annotation
from siseon.interface import DataError, Images, PictureError, SiseonError, Sizing

# Forking with threads alive is what a DataLoader does on Linux; newer Pythons warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class Pictures:
    """Noise of some sizes with a box each; `bad` ones cannot be read. `read` lists what was read in this process."""

    classes = ("원", "네모")

    def __init__(self, count, *, task="detection", bad=(), sizes=((20, 30),)):
        self.count, self.task, self.bad = count, task, bad
        self.sizes = np.array([sizes[index % len(sizes)] for index in range(count)])
        self.read = []

    def __len__(self):
        return self.count

    def annotation(self, index):
        size = tuple(self.sizes[index].tolist())
        box = np.array([[2, 3, 12, 13]], np.float32)
        drawn = np.zeros(size, bool)
        drawn[3:13, 2:12] = True
        more = {"label": index % 2} if self.task == "classification" else {"boxes": box, "segments": (drawn,)}
        return Annotation(f"사진 {index}", size=size, labels=np.zeros(1, int), crowd=np.zeros(1, bool), **more)

    def picture(self, index):
        self.read.append(index)
        if index in self.bad:
            raise PictureError(f"사진 {index} is broken", "Copy it again")
        return np.random.default_rng(index).integers(0, 256, (*self.sizes[index], 3), np.uint8)


SIZING = Sizing(16, 32, 8)
CROP = Crop(18, 16)


def same(one, other):
    if isinstance(one.targets, torch.Tensor):
        targets = torch.equal(one.targets, other.targets)
    else:
        targets = all(
            torch.equal(a.boxes, b.boxes) and torch.equal(a.labels, b.labels) and torch.equal(a.crowd, b.crowd)
            for a, b in zip(one.targets, other.targets, strict=True)
        )
    return (
        targets
        and torch.equal(one.images.tensor, other.images.tensor)
        and (one.images.sizes, one.names, one.number) == (other.images.sizes, other.names, other.number)
    )


def test_a_batch_of_a_detector():
    with Batches(Pictures(4), SIZING, batch=4, shuffle=False) as batches:
        (batch,) = batches.epoch(0)
    assert batch.images.tensor.shape == (4, 3, 16, 24)
    assert batch.images.tensor.dtype == torch.float32
    assert 0.9 < batch.images.tensor.max() <= 1
    assert batch.images.tensor.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.sizes == ((16, 24),) * 4
    assert batch.names == tuple(f"사진 {index}" for index in range(4))
    assert batch.targets[0].boxes.tolist() == pytest.approx(np.array([[2, 3, 12, 13]]) * 0.8)
    assert batch.targets[0].masks is None


def test_a_batch_of_a_classifier():
    with Batches(Pictures(4, task="classification"), CROP, batch=4, shuffle=False) as batches:
        (batch,) = batches.epoch(0)
    assert batch.images.tensor.shape == (4, 3, 16, 16)
    assert batch.targets.tolist() == [0, 1, 0, 1]


def test_masks_where_they_are_wanted():
    with Batches(Pictures(1), SIZING, batch=1, masks=True) as batches:
        (batch,) = batches.epoch(0)
    masks = batch.targets[0].masks
    assert masks.shape == (1, 16, 24)
    assert abs(int(masks.sum()) - 64) < 20


def test_padding_is_what_images_of_pads():
    dataset = Pictures(3, sizes=((20, 30), (20, 33), (20, 21)))
    with Batches(dataset, SIZING, batch=3, shuffle=False) as batches:
        (batch,) = batches.epoch(0)
    rows = zip(batch.images.tensor, batch.images.sizes, strict=True)
    again = Images.of([row[:, : size[0], : size[1]] for row, size in rows], SIZING.multiple)
    assert torch.equal(again.tensor, batch.images.tensor)
    assert again.sizes == batch.images.sizes


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_any_workers_and_any_start_give_the_same_batches(workers, start):
    arguments = {"batch": 3, "seed": 7, "augment": Augment(rotate=5)}
    with Batches(Pictures(10), SIZING, **arguments) as batches:
        wanted = [list(batches.epoch(epoch)) for epoch in (0, 1)]
    with Batches(Pictures(10), SIZING, workers=workers, **arguments) as batches:
        found = [list(batches.epoch(epoch, start=start)) for epoch in (0, 1)]
    for epoch in (0, 1):
        assert len(found[epoch]) == len(wanted[epoch]) - start
        assert all(map(same, found[epoch], wanted[epoch][start:]))
    assert not same(wanted[0][0], wanted[1][0])


def test_a_start_in_the_middle_reads_nothing_before():
    dataset = Pictures(10)
    with Batches(dataset, SIZING, batch=2, shuffle=False) as batches:
        list(batches.epoch(0, start=4))
    assert dataset.read == [8, 9]


def test_an_epoch_that_was_left_early_does_not_disturb_the_next():
    with Batches(Pictures(10), SIZING, batch=2, workers=2) as batches:
        wanted = list(batches.epoch(1))
        next(batches.epoch(0))
        assert all(map(same, batches.epoch(1), wanted))


@pytest.mark.parametrize(
    ("count", "batch", "lengths"),
    [(1, 8, [1]), (8, 8, [8]), (9, 8, [5, 4]), (17, 8, [6, 6, 5]), (3, 1, [1, 1, 1]), (16, 8, [8, 8])],
)
def test_batches_are_of_nearly_equal_length(count, batch, lengths):
    with Batches(Pictures(count), SIZING, batch=batch, shuffle=False) as batches:
        assert [len(found.names) for found in batches.epoch(0)] == lengths
        assert len(batches) == len(lengths)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_picture_comes_once(shuffle):
    with Batches(Pictures(23), SIZING, batch=4, shuffle=shuffle) as batches:
        orders = [[name for batch in batches.epoch(epoch) for name in batch.names] for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == sorted(f"사진 {index}" for index in range(23))
    assert (orders[0] != orders[1]) == shuffle


def test_a_detectors_batch_is_upright_or_across():
    with Batches(Pictures(24, sizes=((20, 30), (30, 20), (25, 25))), SIZING, batch=4) as batches:
        for batch in batches.epoch(0):
            assert len({height > width for height, width in batch.images.sizes}) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pictures_are_named_and_left_out(workers):
    problems = []
    with Batches(
        Pictures(6, bad=(1, 2, 3)), SIZING, batch=2, shuffle=False, workers=workers, on_problem=problems.append
    ) as batches:
        found = list(batches.epoch(0))
    assert [batch.names for batch in found] == [("사진 0",), ("사진 4", "사진 5")]
    assert [batch.number for batch in found] == [0, 2]
    assert [problem.file for problem in problems] == ["사진 1", "사진 2", "사진 3"]
    assert "broken" in problems[0].what


def test_no_pictures_at_all():
    with pytest.raises(DataError):
        Batches(Pictures(0), SIZING, batch=2)


def test_torchs_random_numbers_are_left_alone():
    state = torch.get_rng_state()
    with Batches(Pictures(4), SIZING, batch=2, workers=1, augment=Augment()) as batches:
        list(batches.epoch(0))
    assert torch.equal(state, torch.get_rng_state())


def brightened(picture, annotation, random):
    return np.full_like(picture, random.integers(100, 200)), annotation


def test_a_change_of_ones_own():
    with Batches(Pictures(4), SIZING, batch=4, seed=3, augment=brightened, shuffle=False) as batches:
        (batch,) = batches.epoch(2)
    wanted = [np.random.default_rng([3, 2, index]).integers(100, 200) / 255 for index in range(4)]
    assert batch.images.tensor[:, 0, 0, 0].tolist() == pytest.approx(wanted)


def broken(picture, annotation, random):
    raise ZeroDivisionError("mine")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_ones_own_change_is_not_hidden(workers):
    with (
        pytest.raises(ZeroDivisionError, match="mine"),
        Batches(Pictures(4), SIZING, batch=4, augment=broken, workers=workers) as batches,
    ):
        list(batches.epoch(0))


class Deadly(Pictures):
    """Kills the process that reads its third picture."""

    def picture(self, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().picture(index)


def test_a_killed_worker_is_reported():
    with (
        pytest.raises(SiseonError, match="a process that reads pictures died"),
        Batches(Deadly(8), SIZING, batch=2, workers=2, shuffle=False) as batches,
    ):
        for _ in batches.epoch(0):
            pass
        time.sleep(60)  # its death may be noticed at any moment


def test_workers_are_deaf_to_the_signals_of_a_shutdown():
    with Batches(Pictures(40), SIZING, batch=2, workers=2, shuffle=False) as batches:
        found = batches.epoch(0)
        begun = next(found), next(found)  # one of each worker: both are at work
        for worker in batches._loader._iterator._workers:
            os.kill(worker.pid, signal.SIGINT)
            os.kill(worker.pid, signal.SIGTERM)
        assert [batch.number for batch in begun] == [0, 1]
        assert [batch.number for batch in found] == list(range(2, 20))
        workers = batches._loader._iterator._workers
    assert not any(worker.is_alive() for worker in workers)
