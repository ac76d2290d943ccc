"""Batches whose labels are shares: label smoothing, Mixup, CutMix. The label is always what the picture really holds.

Shares are float [batch, classes], each row summing to one; cross-entropy takes them as they are.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

Pictures = Float[Tensor, "batch 3 height width"]
Shares = Float[Tensor, "batch classes"]


def smoothed(labels: Int64[Tensor, " batch"], *, classes: int, smoothing: float = 0.0) -> Shares:
    """The labels as shares: 1 - smoothing for the true class, and `smoothing` spread over all classes alike.

    Szegedy et al. 2016 (arXiv:1512.00567), section 7: the true class ends with 1 - smoothing + smoothing / classes.
    """
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mixup(images: Pictures, shares: Shares, *, alpha: float, random: np.random.Generator) -> tuple[Pictures, Shares]:
    """Each picture blended with another of the batch, and its label with the other's, by one share for the batch.

    Zhang et al. 2018 (arXiv:1710.09412), section 2: the share is drawn from Beta(alpha, alpha).
    """
    share = float(random.beta(alpha, alpha))
    other = torch.from_numpy(random.permutation(len(images))).to(images.device)
    return torch.lerp(images[other], images, share), torch.lerp(shares[other], shares, share)


def cutmix(images: Pictures, shares: Shares, *, alpha: float, random: np.random.Generator) -> tuple[Pictures, Shares]:
    """A rectangle of each picture replaced by that of another, and the label by the area that each really has.

    Yun et al. 2019 (arXiv:1905.04899), equations 1 and 2: the sides are sqrt(1 - share) of the picture's, the centre is
    anywhere, so that the edge may cut the rectangle; the label counts the pixels that are left.
    """
    height, width = images.shape[-2:]
    side = (1 - float(random.beta(alpha, alpha))) ** 0.5
    top, bottom = _interval(height, side, random)
    left, right = _interval(width, side, random)
    other = torch.from_numpy(random.permutation(len(images))).to(images.device)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[other, :, top:bottom, left:right]
    share = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, torch.lerp(shares[other], shares, share)


def _interval(length: int, side: float, random: np.random.Generator) -> tuple[int, int]:
    """First and last + 1 pixel of a side of `side * length` pixels around a random pixel, cut at the edges."""
    centre, half = int(random.integers(length)), side * length / 2
    return max(round(centre - half), 0), min(round(centre + half), length)
