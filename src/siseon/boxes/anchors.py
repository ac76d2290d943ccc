"""Anchors: the boxes of fixed sizes and shapes that a detector starts from ("default boxes" in SSD, "priors" in YOLO).

Faster R-CNN (Ren et al. 2015), section 3.1.1; one size a pyramid level as in FPN (Lin et al. 2017), section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from siseon.interface import Size


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Float[Tensor, "anchors 4"]:
    """The anchors of one cell, around (0, 0), in pixels rounded to whole ones; all sizes of the first ratio come first.

    sizes: the side of the square of the same area. ratios: height / width, so 0.5 of size 128 is 181.02 x 90.51
    before, and 182 x 90 after, the corners are rounded (as published weights expect).
    """
    tall = torch.tensor(ratios, dtype=torch.float32).sqrt()
    side = torch.tensor(sizes, dtype=torch.float32)
    widths = ((1 / tall)[:, None] * side).flatten()
    heights = (tall[:, None] * side).flatten()
    return (torch.stack([-widths, -heights, widths, heights], dim=1) / 2).round()


def grid_anchors(
    cell: Float[Tensor, "anchors 4"], grid_size: Size, stride: int | Size, device: torch.device | str = "cpu"
) -> Float[Tensor, "all 4"]:
    """The anchors of `cell` on a grid of `grid_size` (height, width) cells: by row, then column, then anchor.

    stride: pixels of the picture from one cell to the next, (vertical, horizontal) or one for both. The first cell is
    at (0, 0).
    """
    vertical, horizontal = stride if isinstance(stride, tuple) else (stride, stride)
    y = torch.arange(grid_size[0], dtype=torch.float32, device=device) * vertical
    x = torch.arange(grid_size[1], dtype=torch.float32, device=device) * horizontal
    y, x = torch.meshgrid(y, x, indexing="ij")
    corners = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)
    return (corners + cell.to(device)).reshape(-1, 4)


@dataclass(frozen=True, kw_only=True)
class AnchorGrid:
    """The anchors of a pyramid: `sizes` in pixels for each level, `ratios` (height / width) for all."""

    sizes: Sequence[Sequence[float]]
    ratios: Sequence[float]

    @property
    def anchors_per_cell(self) -> tuple[int, ...]:
        """How many anchors stand on one cell of each level."""
        return tuple(len(sizes) * len(self.ratios) for sizes in self.sizes)

    def __call__(
        self,
        feature_sizes: Sequence[Size],
        strides: Sequence[int | Size],
        device: torch.device | str = "cpu",
    ) -> list[Tensor]:
        """One [height * width * anchors, 4] a level, for feature maps of `feature_sizes` (height, width).

        strides: pixels of the padded picture a cell, for each level (vertical, horizontal) or one for both. The tensors
        are kept for the next call: do not change them in place. Raises ValueError where the numbers of levels differ.
        """
        levels = zip(self.sizes, feature_sizes, strides, strict=True)
        return [
            _level_anchors(tuple(sizes), tuple(self.ratios), grid_size, stride, torch.device(device))
            for sizes, grid_size, stride in levels
        ]


@lru_cache(maxsize=64)
def _level_anchors(
    sizes: tuple[float, ...], ratios: tuple[float, ...], grid_size: Size, stride: int | Size, device: torch.device
) -> Tensor:
    # A tensor born in inference mode could not be used for training later.
    with torch.inference_mode(False):
        return grid_anchors(cell_anchors(sizes, ratios), grid_size, stride, device)
