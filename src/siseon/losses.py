"""Losses as plain functions of tensors, finite when there is nothing to learn from."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def cross_entropy(logits: Float[Tensor, "samples classes"], labels: Int64[Tensor, " samples"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of softmax(logits); 0 without samples, where torch's mean is nan."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def binary_cross_entropy(logits: Float[Tensor, " samples"], truth: Float[Tensor, " samples"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of sigmoid(logits) against truth in 0..1; 0 without samples."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / max(len(truth), 1)


def smooth_l1(
    offsets: Float[Tensor, "boxes 4"], targets: Float[Tensor, "boxes 4"], beta: float = 1.0
) -> Float[Tensor, ""]:
    """The sum over boxes and edges of 0.5 d^2 / beta where |d| < beta, else |d| - beta / 2, with d = offsets - targets.

    Fast R-CNN (Girshick 2015), equation 3, has beta = 1. The caller divides by the count that its paper names.
    """
    return F.smooth_l1_loss(offsets, targets, reduction="sum", beta=beta)
