"""Losses as plain functions of tensors, finite when there is nothing to learn from."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from siseon.interface import VOID


def cross_entropy(logits: Float[Tensor, "samples classes"], labels: Int64[Tensor, " samples"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of softmax(logits); 0 without samples, where torch's mean is nan."""
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def pixel_cross_entropy(
    logits: Float[Tensor, "batch classes height width"],
    labels: Int64[Tensor, "batch height width"],
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The mean cross-entropy of the pixels that are not VOID, each with the weight of its true class; 0 without any."""
    known = labels[labels != VOID]
    total = known.new_tensor(len(known)) if weights is None else weights[known].sum()
    return F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="sum") / total.clamp(min=1e-6)


def binary_cross_entropy(logits: Float[Tensor, " samples"], truth: Float[Tensor, " samples"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of sigmoid(logits) against truth in 0..1; 0 without samples."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / max(len(truth), 1)


def focal_loss(
    logits: Float[Tensor, "*any"], truth: Bool[Tensor, "*any"], *, alpha: float | None = 0.25, gamma: float = 2.0
) -> Float[Tensor, ""]:
    """The sum of -alpha_t (1 - p_t)^gamma log(p_t): equation 5 of RetinaNet (Lin et al. 2017, arXiv:1708.02002).

    p_t is the probability given to the truth. alpha weighs what is true, 1 - alpha what is not; None weighs neither.
    gamma = 0 is the cross-entropy. The caller divides by the count that its paper names.
    """
    log_right = F.logsigmoid(torch.where(truth, logits, -logits))
    loss = -log_right * (-torch.expm1(log_right)) ** gamma  # 1 - exp would lose all digits of a small 1 - p_t
    return loss.sum() if alpha is None else (loss * torch.where(truth, alpha, 1 - alpha)).sum()


def smooth_l1(
    offsets: Float[Tensor, "boxes 4"], targets: Float[Tensor, "boxes 4"], beta: float = 1.0
) -> Float[Tensor, ""]:
    """The sum over boxes and edges of 0.5 d^2 / beta where |d| < beta, else |d| - beta / 2, with d = offsets - targets.

    Fast R-CNN (Girshick 2015), equation 3, has beta = 1; beta = 0 is |d|. The caller divides by the count that its
    paper names.
    """
    return F.smooth_l1_loss(offsets, targets, reduction="sum", beta=beta)
