"""Greedy non-maximum suppression: of boxes that overlap, the best stays."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


def nms(
    boxes: Float[Tensor, "boxes 4"], scores: Float[Tensor, " boxes"], threshold: float, *, limit: int | None = None
) -> Int64[Tensor, " kept"]:
    """The indices of the boxes that stay, best first: none overlaps a better one by more than `threshold`.

    Equal scores keep their order. limit: stop once so many are found, which is the same as cutting the result and much
    faster. Computed in float32, and on the CPU wherever the boxes are, since each step waits for the one before; the
    indices return to the boxes' device.
    """
    groups = np.zeros(len(boxes), np.int64)
    return _suppressed(boxes, scores, groups, threshold=threshold, limit=limit)


def nms_by_group(
    boxes: Float[Tensor, "boxes 4"],
    scores: Float[Tensor, " boxes"],
    groups: Int64[Tensor, " boxes"],
    threshold: float,
    *,
    limit: int | None = None,
) -> Int64[Tensor, " kept"]:
    """`nms` within each group (class, level or picture) apart; one result, best first. Any integers name the groups."""
    _, compact = torch.unique(groups.cpu(), return_inverse=True)
    return _suppressed(boxes, scores, compact.numpy(), threshold=threshold, limit=limit)


def _suppressed(boxes: Tensor, scores: Tensor, groups: np.ndarray, *, threshold: float, limit: int | None) -> Tensor:
    # numba takes half a second to import
    from siseon.boxes import _kernels

    order = scores.detach().cpu().argsort(descending=True, stable=True)
    kept = _kernels.nms(
        boxes.detach().to("cpu", torch.float32).contiguous().numpy(),
        order.numpy(),
        groups,
        np.bincount(groups),
        _at_most(threshold),
        len(boxes) if limit is None else limit,
    )
    return torch.from_numpy(kept).to(boxes.device)


def _at_most(value: float) -> np.float32:
    # x > value in float64 is x > this in float32, for every x of float32
    near = np.float32(value)
    return near if float(near) <= value else np.nextafter(near, np.float32(-np.inf))
