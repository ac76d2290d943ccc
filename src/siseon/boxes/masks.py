"""Masks of objects and small maps over their boxes: what a mask head learns, and how its answer gets into the picture.

Mask R-CNN (He et al. 2017), section 3: the mask of an object is learnt and drawn as a map of 28x28 cells over its box.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from siseon.interface import Size


def cropped(
    masks: Bool[Tensor, "objects height width"],
    boxes: Float[Tensor, "regions 4"],
    objects: Int64[Tensor, " regions"],
    *,
    output: int,
) -> Float[Tensor, "regions rows columns"]:
    """How much of each of output x output cells of a box its object fills, 0..1: RoIAlign of the mask, in float32.

    boxes are in pixels of the masks; objects: the index of the mask that each box is about. A cell is the mean of
    about one bilinear reading a pixel; numbers as torchvision's roi_align(masks, sampling_ratio=-1) gives them.
    """
    if not len(boxes):
        return boxes.new_zeros(0, output, output)
    height, width = masks.shape[1:]
    corners = boxes.float()
    # RoIAlign's readings form a grid, so that the mean of a cell is rows @ mask @ columns.
    rows = _shares(corners[:, 1], corners[:, 3], height, output)
    columns = _shares(corners[:, 0], corners[:, 2], width, output)
    edges = torch.cat([corners[:, :2].floor() - 1, corners[:, 2:].ceil() + 2, objects[:, None].float()], 1).long()
    filled = []
    with torch.autocast(masks.device.type, enabled=False):
        for region, (left, top, right, bottom, index) in enumerate(edges.clamp(min=0).tolist()):
            # A box narrower than a pixel is widened to one, hence the pixel more on either side.
            seen = masks[index, top:bottom, left:right].float()
            filled.append(rows[region, :, top:bottom] @ seen @ columns[region, :, left:right].T)
    return torch.stack(filled)


def pasted(
    shapes: Float[Tensor, "objects rows columns"], boxes: Float[Tensor, "objects 4"], size: Size
) -> Bool[Tensor, "objects height width"]:
    """The masks in a picture of `size` of small maps 0..1 over boxes in its pixels: where they are 0.5 or more.

    Each map gets a rim of zeros, its box grows by as much, and it is enlarged to the box bilinearly; pixels as in
    torchvision. Object by object on the CPU: beside the result, of which memory that no box covers stays untouched,
    there is never more than one enlarged map.
    """
    masks = np.zeros((len(shapes), *size), bool)  # torch.zeros would write to all of it
    padded = np.pad(shapes.float().cpu().numpy(), ((0, 0), (1, 1), (1, 1)))
    corners = _grown(boxes.float().cpu(), (padded.shape[1] / shapes.shape[1], padded.shape[2] / shapes.shape[2]))
    for mask, small, (left, top, right, bottom) in zip(masks, padded, corners.long().tolist(), strict=True):
        large = cv2.resize(small, (right - left + 1, bottom - top + 1), interpolation=cv2.INTER_LINEAR)
        part = mask[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)]
        seen = large[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
        part[: seen.shape[0], : seen.shape[1]] = seen >= 0.5
    return torch.from_numpy(masks)


def _shares(start: Tensor, stop: Tensor, pixels: int, cells: int) -> Tensor:
    """Along one axis, the weight of each pixel in the mean of each cell of each region, [regions, cells, pixels]."""
    # Products and quotients in the order of roi.roi_align, so that readings fall on the same pixels.
    extent = (stop - start).clamp(min=1)
    step = (extent / cells)[:, None, None]
    readings = step.ceil()
    number = torch.arange(int(readings.max()), device=start.device, dtype=start.dtype)
    cell = torch.arange(cells, device=start.device, dtype=start.dtype)[:, None]
    position = start[:, None, None] + cell * step + (number + 0.5) * step / readings
    counts = (number < readings) & (position >= -1) & (position <= pixels)
    position = position.clamp(0, pixels - 1)
    low = position.long().clamp(max=max(pixels - 2, 0))
    fraction = position - low
    shares = start.new_zeros(len(start), cells, pixels)
    shares.scatter_add_(2, low, (1 - fraction) * counts / readings)
    return shares.scatter_add_(2, (low + 1).clamp(max=pixels - 1), fraction * counts / readings)


def _grown(boxes: Tensor, factors: tuple[float, float]) -> Tensor:
    """The boxes grown about their centres by `factors` (vertical, horizontal)."""
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * boxes.new_tensor(factors[::-1])
    return torch.cat([centre - half, centre + half], 1)
