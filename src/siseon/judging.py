"""Made pictures judged by a network that was trained on real ones, not only looked at.

Score   As the Inception score (Salimans et al. 2016, arXiv:1606.03498) asks two things of a classifier: is it sure of
        each picture, and do the pictures spread over all classes? Here both are said apart, in shares and nats.
Frechet The distance between two normal distributions, fitted to the features of real and of made pictures (Heusel et
        al. 2017, arXiv:1706.08500, equation 6). Theirs are Inception's; ours are what enters the last layer of any
        classifier of the zoo. Such distances compare only for one classifier, one set of real pictures and one count:
        the floor, real against real, and the ceiling, noise against real, say what a value means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import SiseonError
from siseon.layers import inference
from siseon.models.classification.classifier import Classifier

SURE = 0.9
"""The score from which a classifier counts as sure of a picture."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a classifier says of made pictures.

    sure: the share, 0..1, of pictures whose best score is above 0.9. spread: the entropy in nats of the mean scores, at
    most log(classes) (2.303 for ten): how evenly the pictures lie over the classes. shares: the share of pictures of
    each class, by the best score. frechet: the distance of their features to those of the real pictures.
    """

    sure: float
    spread: float
    shares: tuple[float, ...]
    frechet: float


def judge(classifier: Classifier, real: Tensor, made: Tensor, *, batch: int = 256) -> Verdict:
    """Judge made pictures against real ones, each RGB 0..1 [count, 3, height, width].

    Both are scaled to the classifier's own size. Raises SiseonError for fewer than two pictures of either.
    """
    features, scores = seen(classifier, made, batch=batch)
    best = scores.argmax(1)
    return Verdict(
        sure=sureness(scores),
        spread=spread(scores),
        shares=tuple((torch.bincount(best, minlength=scores.shape[1]) / len(scores)).tolist()),
        frechet=frechet_distance(seen(classifier, real, batch=batch)[0], features),
    )


def seen(classifier: Classifier, pictures: Tensor, *, batch: int = 256) -> tuple[Tensor, Tensor]:
    """What a classifier makes of pictures RGB 0..1 [count, 3, height, width]: features and scores, on the CPU.

    features [count, width]: what enters its last linear layer; scores [count, classes].
    """
    if not len(pictures):
        raise SiseonError("there are no pictures to judge", "Give two or more")
    last = [module for module in classifier.modules() if isinstance(module, nn.Linear)]
    if not last:
        raise SiseonError(
            f"{type(classifier).__name__} has no linear layer, so no features", "Judge by another network"
        )
    kept: list[Tensor] = []
    hook = last[-1].register_forward_pre_hook(lambda module, given: kept.append(given[0].flatten(1).float().cpu()))
    device, size = classifier.mean.device, (classifier.crop, classifier.crop)
    scores: list[Tensor] = []
    try:
        with inference(classifier):
            for start in range(0, len(pictures), batch):
                part = pictures[start : start + batch].to(device)
                images = F.interpolate(part, size, mode="bilinear", antialias=True)
                scores.append(classifier(images).softmax(1).cpu())
    finally:
        hook.remove()
    return torch.cat(kept), torch.cat(scores)


def sureness(scores: Tensor) -> float:
    """The share of pictures [count, classes] whose best score is above SURE."""
    return (scores.amax(1) > SURE).double().mean().item()


def spread(scores: Tensor) -> float:
    """The entropy, in nats, of the mean scores of pictures [count, classes]: 0 for one class, log(classes) for all."""
    return torch.special.entr(scores.double().mean(0)).sum().item()


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """|m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)) of features [count, width] and [count, width].

    m are their means and C their covariances. In double precision: the root of C1 C2 has the trace of the root of the
    symmetric R C2 R with R = C1^(1/2), whose eigenvalues are real. Raises SiseonError for fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise SiseonError("a distribution of fewer than two pictures has no covariance", "Give two or more of each")
    one, two = first.double(), second.double()
    shift = (one.mean(0) - two.mean(0)).square().sum()
    covariance, other = torch.cov(one.T).reshape(one.shape[1], -1), torch.cov(two.T).reshape(one.shape[1], -1)
    root = _root(covariance)
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    distance = shift + covariance.trace() + other.trace() - 2 * shared
    return max(distance.item(), 0.0)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a covariance; eigenvalues that rounding made negative are zero."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
