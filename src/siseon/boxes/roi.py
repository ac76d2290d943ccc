"""Regions of a feature map, each pooled to the same size: RoIPool, RoIAlign, and the choice of the pyramid level.

A region is a box in pixels of the picture; `scale` leads from there to the cells of the map (1 / stride). Both poolings
are differentiable by the features, not by the boxes.

Two ways to one result. On the CPU, compiled kernels in float32 that read channels-last memory: at once where the map is
channels_last already, after a copy where it is not. Elsewhere, and for float64, plain torch.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from siseon.interface import Size


def roi_align(
    features: Float[Tensor, "batch channels height width"],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    *,
    output: int | Size,
    scale: float,
    samples: int = 2,
    aligned: bool = False,
) -> Float[Tensor, "regions channels rows columns"]:
    """The mean of samples x samples bilinear readings in each bin of each region; regions in the order of the boxes.

    boxes: one [boxes, 4] a picture of the batch. output: bins (rows, columns), or one number for both. samples: 0 takes
    about one reading a cell. aligned: shift by half a cell, so that the centre of cell 0 lies at 0.5; without it
    regions are at least one cell wide. Readings more than one cell outside the map count as 0.
    Mask R-CNN (He et al. 2017), section 3; numbers as in torchvision.
    """
    regions = _Regions.of(boxes, features)
    return _align((features,), (scale,), regions, output=_both(output), samples=samples, aligned=aligned)


def roi_pool(
    features: Float[Tensor, "batch channels height width"],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    *,
    output: int | Size,
    scale: float,
) -> Float[Tensor, "regions channels rows columns"]:
    """The largest value in each bin of each region, edges rounded to whole cells; a bin without cells is 0.

    boxes: one [boxes, 4] a picture of the batch. output: bins (rows, columns), or one number for both. Of equal values
    the first gets the gradient. Fast R-CNN (Girshick 2015), section 2.1; numbers as in torchvision.
    """
    regions, output = _Regions.of(boxes, features), _both(output)
    # The C rounding of the reference: halves away from 0, where torch.round goes to even.
    corners = regions.boxes * scale
    whole = corners.trunc()
    corners = whole + corners.sign() * ((corners - whole).abs() >= 0.5)
    extents = (corners[:, 2:] - corners[:, :2] + 1).clamp(min=1)
    y, x = (_bins(corners[:, i], extents[:, i], bins=output[1 - i], cells=features.shape[3 - i]) for i in (1, 0))
    if _compiled(features):
        from siseon.boxes import _pooling  # numba takes half a second to import

        return _pooling.largest(features, images=regions.images, y=y, x=x)
    return _plain_pool(features, regions.images, y, x)


def pyramid_level(
    boxes: Float[Tensor, "boxes 4"],
    *,
    lowest: int,
    highest: int,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> Int64[Tensor, " boxes"]:
    """The level lowest..highest from which each box is pooled: canonical_level at canonical_size squared.

    One level less for half the size. FPN (Lin et al. 2017), equation 1; 1e-6 keeps a box of exactly the size on its
    level, as in torchvision.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).float().sqrt()
    level = torch.floor(canonical_level + torch.log2(sides / canonical_size) + 1e-6)
    return level.nan_to_num(nan=lowest).clamp(lowest, highest).long()


def pooled_from_pyramid(
    features: Sequence[Float[Tensor, "batch channels _ _"]],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    strides: Sequence[int],
    *,
    output: int | Size,
    samples: int = 2,
    pool: Callable[..., Tensor] = roi_align,
) -> Float[Tensor, "regions channels rows columns"]:
    """Each box pooled from its `pyramid_level`; regions in the order of the boxes.

    features: the levels, finest first, with `strides` that are successive powers of two. samples: for roi_align. Any
    other `pool` is called as pool(features, boxes, output=..., scale=...), one level at a time.
    """
    lowest = round(math.log2(strides[0]))
    highest = lowest + len(strides) - 1
    levels = [pyramid_level(each, lowest=lowest, highest=highest) - lowest for each in boxes]
    scales = [1 / stride for stride in strides]
    if pool is roi_align:
        regions = _Regions.of(boxes, features[0], torch.cat(levels))
        return _align(features, scales, regions, output=_both(output), samples=samples, aligned=False)
    pooled = []
    for index, (level_features, scale) in enumerate(zip(features, scales, strict=True)):
        chosen = [each[level == index] for each, level in zip(boxes, levels, strict=True)]
        pooled.append(pool(level_features, chosen, output=output, scale=scale))
    return torch.cat(pooled)[torch.cat(levels).argsort(stable=True).argsort()]


class _Regions(NamedTuple):
    """The regions of a batch: picture [regions], box [regions, 4] and level of the pyramid [regions] of each."""

    images: Tensor
    boxes: Tensor
    levels: Tensor

    @staticmethod
    def of(boxes: Sequence[Tensor], features: Tensor, levels: Tensor | None = None) -> "_Regions":
        """Those of `boxes`, one tensor a picture; boxes as float32, or float64 where the features are."""
        if len(boxes) != len(features):
            raise ValueError(f"boxes of {len(boxes)} pictures for features of {len(features)}")
        images = torch.cat([torch.full((len(each),), index, device=each.device) for index, each in enumerate(boxes)])
        corners = torch.cat(list(boxes)).detach().to(torch.promote_types(features.dtype, torch.float32))
        return _Regions(images, corners, torch.zeros_like(images) if levels is None else levels)


class _Taps(NamedTuple):
    """Along one axis: the cells that each bin reads, and their weights, [regions, bins, taps]."""

    places: Tensor
    weights: Tensor


def _both(size: int | Size) -> Size:
    return size if isinstance(size, tuple) else (size, size)


def _compiled(features: Tensor) -> bool:
    return features.device.type == "cpu" and features.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _align(
    features: Sequence[Tensor],
    scales: Sequence[float],
    regions: _Regions,
    *,
    output: Size,
    samples: int,
    aligned: bool,
) -> Tensor:
    boxes, device = regions.boxes, regions.boxes.device
    scale = torch.tensor(scales, dtype=boxes.dtype, device=device)[regions.levels]
    corners = boxes * scale[:, None] - (0.5 if aligned else 0.0)
    extents = corners[:, 2:] - corners[:, :2]
    if not aligned:
        extents = extents.clamp(min=1)
    sizes = torch.tensor([each.shape[2:] for each in features], device=device)[regions.levels]
    y = _taps(corners[:, 1], extents[:, 1], sizes[:, 0], bins=output[0], samples=samples)
    x = _taps(corners[:, 0], extents[:, 0], sizes[:, 1], bins=output[1], samples=samples)
    if all(_compiled(each) for each in features):
        from siseon.boxes import _pooling  # numba takes half a second to import

        return _pooling.align(features, images=regions.images, levels=regions.levels, y=y, x=x)
    return _plain_align(features, regions, y, x)


def _taps(start: Tensor, extent: Tensor, cells: Tensor, *, bins: int, samples: int) -> _Taps:
    # Each product and quotient in the order of the reference, so that float32 readings fall on the same cells.
    step = (extent / bins)[:, None, None]
    if samples > 0:
        grid, most = torch.full_like(step, samples), samples
    else:
        grid = step.ceil().nan_to_num(0, posinf=0).clamp(min=0)
        most = max(int(grid.max()), 1) if len(grid) else 1
    bin_index = torch.arange(bins, dtype=start.dtype, device=start.device)[:, None]
    sample = torch.arange(most, dtype=start.dtype, device=start.device)
    position = start[:, None, None] + bin_index * step + (sample + 0.5) * step / grid.clamp(min=1)
    last = cells[:, None, None] - 1
    inside = (position >= -1) & (position <= last + 1) & (sample < grid)
    position = position.where(inside, 0).clamp(min=0)
    low = torch.minimum(position.long(), last)
    fraction = (position - low).where(low < last, 0)
    weights = torch.stack([1 - fraction, fraction], dim=3) * (inside / grid.clamp(min=1))[..., None]
    places = torch.stack([low, torch.minimum(low + 1, last)], dim=3)
    return _Taps(places.flatten(2), weights.flatten(2))


def _bins(start: Tensor, extent: Tensor, *, bins: int, cells: int) -> Tensor:
    """First and one past the last cell of each bin, [regions, bins, 2]."""
    step = (extent / bins)[:, None]
    index = torch.arange(bins, dtype=start.dtype, device=start.device)
    edges = torch.stack([(index * step).floor(), ((index + 1) * step).ceil()], dim=2) + start[:, None, None]
    return edges.nan_to_num(0).clamp(0, cells).long()


def _plain_align(features: Sequence[Tensor], regions: _Regions, y: _Taps, x: _Taps) -> Tensor:
    pooled = []
    for level, each in enumerate(features):
        chosen = regions.levels == level
        height, width = each.shape[2:]
        rows = regions.images[chosen, None, None] * height + y.places[chosen]
        # [regions, rows, columns, taps y, taps x]
        places = rows[:, :, None, :, None] * width + x.places[chosen][:, None, :, None, :]
        weights = y.weights[chosen][:, :, None, :, None] * x.weights[chosen][:, None, :, None, :]
        cells = each.permute(0, 2, 3, 1).flatten(0, 2).to(weights.dtype)
        bags, shares = (taps.flatten(3).flatten(0, 2) for taps in (places, weights))
        bins = F.embedding_bag(bags, cells, per_sample_weights=shares, mode="sum")
        pooled.append(bins.reshape(*places.shape[:3], each.shape[1]).permute(0, 3, 1, 2).to(each.dtype))
    return torch.cat(pooled)[regions.levels.argsort(stable=True).argsort()]


def _plain_pool(features: Tensor, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    pooled = [features[:0, :, :1, :1].expand(-1, -1, y.shape[1], x.shape[1])]
    for image, rows, columns in zip(images, y, x, strict=True):
        row, column = _window(rows), _window(columns)
        window = features[image][:, row[:, None, :, None], column[None, :, None, :]]
        empty = (rows[:, 1] <= rows[:, 0])[:, None] | (columns[:, 1] <= columns[:, 0])
        pooled.append(window.flatten(3).max(dim=3).values.masked_fill(empty, 0)[None])
    return torch.cat(pooled)


def _window(edges: Tensor) -> Tensor:
    """The cells of each bin, [bins, cells]; shorter bins repeat their last one, which changes no winner."""
    longest = max(int((edges[:, 1] - edges[:, 0]).max()), 1)
    cells = edges[:, :1] + torch.arange(longest, device=edges.device)
    return torch.minimum(cells, edges[:, 1:] - 1).clamp(min=0)
