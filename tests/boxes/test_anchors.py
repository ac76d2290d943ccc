"""Anchors: their sizes, their order, and that they are made once."""

import pytest
import torch

from siseon.boxes import anchors, geometry


def test_cell_anchors_as_torchvision():
    expected = [  # torchvision 0.28, AnchorGenerator.generate_anchors((32, 45), (0.5, 1, 2))
        [-23, -11, 23, 11],
        [-32, -16, 32, 16],
        [-16, -16, 16, 16],
        [-22, -22, 22, 22],
        [-11, -23, 11, 23],
        [-16, -32, 16, 32],
    ]
    assert anchors.cell_anchors((32, 45), (0.5, 1, 2)).tolist() == expected


@pytest.mark.parametrize(  # the shapes of one area of 128 squared, in lectures on Faster R-CNN
    ("ratio", "width", "height"), [(1, 128, 128), (0.5, 181.02, 90.51), (2, 90.51, 181.02)]
)
def test_shapes_of_one_area_differ_from_theory_by_the_rounding_only(ratio, width, height):
    _, _, actual_width, actual_height = geometry.to_center(anchors.cell_anchors((128,), (ratio,)))[0].tolist()
    assert abs(actual_width - width) <= 1
    assert abs(actual_height - height) <= 1


def test_grid_goes_by_row_then_column_then_anchor():
    cell = torch.tensor([[-1.0, -1, 1, 1], [-2, -1, 2, 1]])
    grid = anchors.grid_anchors(cell, (2, 3), (10, 100))
    centers = geometry.to_center(grid)[:, :2].tolist()
    assert centers == [[x, y] for y in (0, 10) for x in (0, 100, 200) for _ in range(2)]
    assert geometry.to_center(grid)[:2, 2:].tolist() == [[2, 2], [4, 2]]


@pytest.mark.parametrize("size", [(0, 3), (2, 0)])
def test_a_grid_without_cells_has_no_anchors(size):
    assert anchors.grid_anchors(torch.zeros(3, 4), size, 8).shape == (0, 4)


def test_one_stride_counts_for_both_directions():
    cell = anchors.cell_anchors((32,), (1,))
    assert torch.equal(anchors.grid_anchors(cell, (2, 3), 16), anchors.grid_anchors(cell, (2, 3), (16, 16)))


GRID = anchors.AnchorGrid(sizes=((32,), (64, 128)), ratios=(0.5, 1, 2))


def test_anchors_per_cell():
    assert GRID.anchors_per_cell == (3, 6)


def test_every_level_has_its_own_sizes():
    fine, coarse = GRID([(4, 6), (2, 3)], [(8, 8), (16, 16)])
    assert fine.shape == (4 * 6 * 3, 4)
    assert torch.equal(coarse, anchors.grid_anchors(anchors.cell_anchors((64, 128), (0.5, 1, 2)), (2, 3), 16))


def test_anchors_are_made_once():
    first, again, other = (GRID([(4, 6), (2, 3)], [stride, 16])[0] for stride in (8, 8, (8, 9)))
    assert first.data_ptr() == again.data_ptr()
    assert first.data_ptr() != other.data_ptr()


def test_anchors_first_seen_in_inference_mode_serve_training():
    with torch.inference_mode():
        (made,) = anchors.AnchorGrid(sizes=((7,),), ratios=(1,))([(3, 3)], [5])
    offsets = torch.zeros(9, 4, requires_grad=True)
    geometry.decode(offsets, made).sum().backward()
    assert offsets.grad is not None


def test_levels_must_be_as_many_as_sizes():
    with pytest.raises(ValueError, match="zip"):
        GRID([(4, 6)], [8])
