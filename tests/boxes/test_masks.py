"""Masks against naive loops: what of a mask lies in the cells of a box, and a map enlarged into a picture."""

import math

import numpy as np
import pytest
import torch

from siseon.boxes.masks import cropped, pasted
from siseon.boxes.roi import roi_align


def discs(count, height, width):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([(y - 8 - 4 * k) ** 2 + (x - 10 - 6 * k) ** 2 < (5 + 2 * k) ** 2 for k in range(count)])


def random_boxes(count, height, width):
    corners = torch.rand(count, 2, 2) * torch.tensor([width, height])
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def naive_reading(picture, y, x):
    """The bilinear reading of a picture at (y, x); 0 more than a pixel outside."""
    height, width = picture.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    value = 0.0
    for row in (top, min(top + 1, height - 1)):
        for column in (left, min(left + 1, width - 1)):
            value += max(1 - abs(y - row), 0) * max(1 - abs(x - column), 0) * float(picture[row, column])
    return value


def test_a_cell_is_the_mean_of_its_readings():
    masks = discs(2, 30, 40)
    box = torch.tensor([[3.2, 4.7, 27.9, 22.1]])
    (found,) = cropped(masks, box, torch.tensor([1]), output=4)
    left, top, right, bottom = box[0].tolist()
    across, down = (right - left) / 4, (bottom - top) / 4
    for row, column in ((0, 0), (1, 2), (3, 3)):
        ys = [top + down * (row + (i + 0.5) / math.ceil(down)) for i in range(math.ceil(down))]
        xs = [left + across * (column + (i + 0.5) / math.ceil(across)) for i in range(math.ceil(across))]
        wanted = np.mean([naive_reading(masks[1], y, x) for y in ys for x in xs])
        assert found[row, column].item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("output", [1, 7, 28])
def test_it_is_roi_align_of_the_mask(output):
    masks = discs(3, 40, 60)
    boxes = torch.cat([random_boxes(60, 40, 60), torch.tensor([[0.0, 0, 60, 40], [5, 5, 5.2, 5.1], [59, 39, 60, 40]])])
    objects = torch.randint(0, 3, (len(boxes),)).sort().values
    found = cropped(masks, boxes, objects, output=output)
    whole = roi_align(
        masks[:, None].double(), [boxes[objects == k].double() for k in range(3)], output=output, scale=1, samples=0
    )[:, 0]
    torch.testing.assert_close(found.double(), whole, atol=1e-5, rtol=0)


def test_a_reading_at_a_whole_number_is_that_pixel():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, :, 4:] = True
    (found,) = cropped(masks, torch.tensor([[2.5, 1.5, 6.5, 5.5]]), torch.tensor([0]), output=4)
    assert found.tolist() == [[0, 1, 1, 1]] * 4


def test_half_precision_around_it_changes_nothing():
    masks, boxes = discs(1, 30, 40), random_boxes(9, 30, 40)
    objects = torch.zeros(9, dtype=torch.int64)
    exact = cropped(masks, boxes, objects, output=14)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cropped(masks, boxes, objects, output=14), exact)


def test_no_boxes_and_no_maps():
    nothing = torch.zeros(0, 4)
    assert cropped(discs(1, 9, 9), nothing, torch.zeros(0, dtype=torch.int64), output=28).shape == (0, 28, 28)
    assert cropped(torch.zeros(0, 9, 9, dtype=torch.bool), nothing, torch.zeros(0).long(), output=28).shape[0] == 0
    assert pasted(torch.zeros(0, 28, 28), nothing, (9, 12)).shape == (0, 9, 12)


def naive_pasted(shape, box, size):
    """A map with a rim of zeros, over its box grown by that rim, read at the centres of the pixels."""
    cells = len(shape) + 2
    padded = np.pad(shape.double().numpy(), 1)
    left, top, right, bottom = box.tolist()
    grown = [(right - left) * cells / len(shape) / 2, (bottom - top) * cells / len(shape) / 2]
    left, right = (int((left + right) / 2 + sign * grown[0]) for sign in (-1, 1))
    top, bottom = (int((top + bottom) / 2 + sign * grown[1]) for sign in (-1, 1))
    mask = np.zeros(size, bool)
    for row in range(max(top, 0), min(bottom + 1, size[0])):
        for column in range(max(left, 0), min(right + 1, size[1])):
            y = (row - top + 0.5) * cells / (bottom - top + 1) - 0.5
            x = (column - left + 0.5) * cells / (right - left + 1) - 0.5
            value = naive_reading(padded, min(max(y, 0), cells - 1), min(max(x, 0), cells - 1))
            if abs(value - 0.5) < 1e-6:  # either way is right
                return None
            mask[row, column] = value >= 0.5
    return mask


def test_a_map_is_enlarged_into_the_picture():
    shapes, boxes = torch.rand(12, 6, 6), random_boxes(12, 30, 40)
    boxes[0], boxes[1] = torch.tensor([0.0, 0, 40, 30]), torch.tensor([-5.0, 20, 12, 60])
    found = pasted(shapes, boxes, (30, 40))
    compared = 0
    for mask, shape, box in zip(found, shapes, boxes, strict=True):
        wanted = naive_pasted(shape, box, (30, 40))
        if wanted is not None:
            assert (mask.numpy() == wanted).all()
            compared += 1
    assert compared >= 8 and found.any()


def test_what_is_cut_out_and_pasted_is_the_mask_again():
    masks = discs(3, 60, 80)
    boxes = torch.stack(
        [torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) for y, x in (torch.nonzero(m).T for m in masks)]
    ).float()
    again = pasted(cropped(masks, boxes, torch.arange(3), output=28), boxes, (60, 80))
    shared = (again & masks).sum((1, 2)) / (again | masks).sum((1, 2))
    # RoIAlign of Mask R-CNN reads half a pixel to the right and below, and the paste puts it back where it was.
    assert shared.min() > 0.75


def test_a_box_outside_of_the_picture_gives_an_empty_mask():
    found = pasted(torch.ones(2, 4, 4), torch.tensor([[50.0, 50, 70, 70], [-30, -30, -10, -10]]), (20, 20))
    assert not found.any()
