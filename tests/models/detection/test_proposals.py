import copy

import numpy as np
import pytest
import torch

from siseon.interface import Images, RecipeError
from siseon.models.detection.proposals import Proposals
from siseon.models.detection.selective_search import propose


class Bright:
    """Proposes the box of the bright pixels and the left half, and counts how often it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, picture, *, mode, limit):
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        self.asked.append((picture.shape, mode, limit))
        height, width = picture.shape[:2]
        rows, columns = np.nonzero(picture[..., 0] > 200)
        boxes = [[0, 0, width // 2, height]]
        if len(rows):
            boxes.insert(0, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return torch.tensor(boxes, dtype=torch.float32)[:limit]


def bright_at(box, size=(20, 30)):
    picture = torch.zeros(3, *size)
    left, top, right, bottom = box
    picture[:, top:bottom, left:right] = 1
    return picture


BOX, OTHER = [4, 6, 10, 15], [20, 2, 28, 12]


@pytest.fixture
def search():
    return Bright()


def test_each_picture_gets_its_own_boxes_without_its_padding(search):
    images = Images.of([bright_at(BOX), bright_at(OTHER, (24, 40)), bright_at(BOX)], multiple=32)
    first, second, third = Proposals(propose=search)(images)
    assert [first[0].tolist(), second[0].tolist()] == [BOX, OTHER]
    assert torch.equal(first, third)
    assert sorted(shape for shape, _, _ in search.asked) == [(20, 30, 3), (24, 40, 3)]
    assert first.dtype == torch.float32


def test_no_picture_is_searched_twice_not_even_by_a_copy(search):
    proposals = Proposals(propose=search)
    (first,) = proposals(Images.of(bright_at(BOX)))
    first += 100  # what a caller does with its boxes
    (again,) = copy.deepcopy(proposals)(Images.of(bright_at(BOX)))
    assert again[0].tolist() == BOX
    assert len(search.asked) == 1


def test_a_mirrored_picture_has_mirrored_boxes_from_the_same_search(search):
    proposals = Proposals(propose=search)
    picture = bright_at(BOX)
    (there,), (back,) = proposals(Images.of(picture)), proposals(Images.of(picture.flip(2)))
    assert len(search.asked) == 1
    assert [[30 - right, top, 30 - left, bottom] for left, top, right, bottom in back.tolist()] == there.tolist()


def test_the_order_in_which_mirrors_come_changes_nothing(search):
    picture = bright_at(BOX)
    first, second = Proposals(propose=search), Proposals(propose=search)
    both = Images.of([picture, picture.flip(2)])
    for one, two in zip(first(both), reversed(second(Images(both.tensor.flip(0), both.sizes))), strict=True):
        assert torch.equal(one, two)


def test_only_so_many_pictures_are_remembered_the_latest(search):
    proposals = Proposals(propose=search, remembered=2)
    for box in (BOX, OTHER, BOX, [1, 1, 9, 9], BOX, OTHER):
        proposals(Images.of(bright_at(box)))
    assert len(search.asked) == 4


def test_a_folder_keeps_them_from_run_to_run(search, tmp_path):
    folder = tmp_path / "제안" / "one"
    (before,) = Proposals(propose=search, folder=folder)(Images.of(bright_at(BOX)))
    (after,) = Proposals(propose=search, folder=folder)(Images.of(bright_at(BOX)))
    assert torch.equal(before, after)
    assert len(search.asked) == len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"no boxes", None])
def test_a_damaged_file_is_searched_for_and_written_again(search, tmp_path, damage):
    Proposals(propose=search, folder=tmp_path)(Images.of(bright_at(BOX)))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-3] + b"\xff" + whole[-2:] if damage is None else damage)
    (boxes,) = Proposals(propose=search, folder=tmp_path)(Images.of(bright_at(BOX)))
    assert boxes[0].tolist() == BOX
    assert file.read_bytes() == whole
    assert len(search.asked) == 2


@pytest.mark.parametrize("change", [{"limit": 1}, {"mode": "single"}])
def test_other_settings_are_another_search(search, tmp_path, change):
    Proposals(propose=search, folder=tmp_path)(Images.of(bright_at(BOX)))
    (boxes,) = Proposals(propose=search, folder=tmp_path, **change)(Images.of(bright_at(BOX)))
    assert len(boxes) == change.get("limit", 2)
    assert [(mode, limit) for _, mode, limit in search.asked] == [
        ("fast", 2000),
        (change.get("mode", "fast"), change.get("limit", 2000)),
    ]


def test_pixels_of_another_shape_are_another_picture(search):
    proposals = Proposals(propose=search)
    proposals(Images.of(torch.zeros(3, 20, 30)))
    (boxes,) = proposals(Images.of(torch.zeros(3, 30, 20)))
    assert boxes.tolist() == [[0, 0, 10, 30]]


def test_where_nothing_is_found_the_whole_picture_is_proposed():
    (boxes,) = Proposals(propose=lambda *_, **__: torch.zeros(0, 4))(Images.of(torch.zeros(3, 20, 30)))
    assert boxes.tolist() == [[0, 0, 30, 20]]


def test_boxes_found_in_inference_can_be_learnt_from_later(search):
    proposals = Proposals(propose=search)
    with torch.inference_mode():
        proposals(Images.of(bright_at(BOX)))
    (boxes,) = proposals(Images.of(bright_at(BOX)))
    weight = torch.ones(4, requires_grad=True)
    (boxes * weight).sum().backward()
    assert torch.equal(weight.grad, boxes.sum(0))


def test_too_few_are_refused():
    with pytest.raises(RecipeError, match="0 proposals a picture are too few"):
        Proposals(limit=0)


def test_it_is_selective_search_that_proposes():
    random = np.random.default_rng(0)
    picture = np.full((48, 64, 3), 90, np.uint8) + random.integers(0, 9, (48, 64, 3), np.uint8)
    picture[10:30, 20:50] = [220, 40, 30]
    mirror = np.ascontiguousarray(picture[:, ::-1])
    images = Images.of([torch.from_numpy(each).permute(2, 0, 1) / 255 for each in (picture, mirror)])
    straight, mirrored = Proposals(mode="single", limit=50)(images)
    found = [propose(each, mode="single", limit=50) for each in (picture, mirror)]
    assert torch.equal(straight, found[0].float()) or torch.equal(mirrored, found[1].float())
    assert [20, 10, 50, 30] in straight.tolist()
