"""Which anchor learns which object, and which anchors take part in the loss.

Faster R-CNN (Ren et al. 2015), section 3.1.2 and 3.1.3.
"""

from typing import Final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

BACKGROUND: Final = -1
"""The anchor shows no object."""
BETWEEN: Final = -2
"""The anchor overlaps too much for background and too little for an object: it takes no part."""


def match(
    overlaps: Float[Tensor, "objects anchors"], *, high: float, low: float, keep_best: bool
) -> Int64[Tensor, " anchors"]:
    """The index of the object that each anchor overlaps most, or BACKGROUND (below `low`) or BETWEEN (below `high`).

    keep_best: the anchors that overlap an object more than all others do are never given up, however little that is;
    each goes to the object that it overlaps most itself. An object that no anchor touches has no best anchor (in
    torchvision all of them are). Without objects everything is background.
    """
    if overlaps.shape[0] == 0:
        return torch.full((overlaps.shape[1],), BACKGROUND, dtype=torch.int64, device=overlaps.device)
    best, objects = overlaps.max(dim=0)
    matched = objects.masked_fill(best < high, BETWEEN).masked_fill(best < low, BACKGROUND)
    if keep_best and overlaps.shape[1]:
        most = overlaps.amax(dim=1, keepdim=True)
        kept = (overlaps == most.masked_fill(most <= 0, torch.inf)).any(dim=0)
        matched = torch.where(kept, objects, matched)
    return matched


def sample(
    positive: Bool[Tensor, " anchors"], negative: Bool[Tensor, " anchors"], *, count: int, positive_share: float
) -> tuple[Int64[Tensor, " positives"], Int64[Tensor, " negatives"]]:
    """Draw at most `count` anchors: up to `positive_share` of them positive, the rest negative. Two lists of indices.

    Random, by torch's global generator. Where positives are few, negatives take their places.
    """
    chosen = _draw(positive, int(count * positive_share))
    return chosen, _draw(negative, count - len(chosen))


def _draw(mask: Tensor, most: int) -> Tensor:
    candidates = mask.nonzero().flatten()
    return candidates[torch.randperm(len(candidates), device=mask.device)[:most]]
