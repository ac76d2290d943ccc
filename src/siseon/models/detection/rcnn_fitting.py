"""The second and third stage of R-CNN's training: SVMs and box regressors on features that lie on disk.

Each .npz file holds the regions of one picture, as RCNN.complete writes them: features [boxes, width], those of the
true boxes first; labels of the true boxes; negative [boxes, classes]; and for the regressors pooled [pairs, pooled],
kinds [pairs], offsets [pairs, 4].

Hard negatives: 2,000 regions of every picture are too many to fit an SVM to, and nearly all of them are plainly not the
class. So the pictures are gone through once; only negatives that the SVM of the moment puts inside its edge are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MEAN_LENGTH = 20.0
"""Of a feature vector, as the SVMs and regressors see it: their C and lambda mean something only at a known scale."""
NEVER = -10.0
"""The margin of a class that no training picture shows."""


class Miner:
    """The SVM of one class, and the negatives that were hard for it: inside or near its edge (appendix B)."""

    def __init__(self, positives: np.ndarray) -> None:
        self.positives = positives
        self.negatives: list[np.ndarray] = []
        self.fresh = 0
        self.fitted = False
        self.weight = np.zeros(positives.shape[1], np.float32)
        self.bias = NEVER

    def margins(self, features: np.ndarray) -> np.ndarray:
        """How far inside the class each row of features lies."""
        return features @ self.weight + self.bias

    def look(self, negatives: np.ndarray) -> None:
        """Take in those of a picture's negatives that are hard, all before the first fit; fit anew at 2,000."""
        hard = negatives[self.margins(negatives) > -1] if self.fitted else negatives
        if len(hard):
            self.negatives.append(hard)
            self.fresh += len(hard)
        if self.fresh >= 2000:
            self.fit()

    def fit(self) -> None:
        """Fit the SVM to all positives and the negatives at hand, and let go of those that became easy."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC

        if not (len(self.positives) and self.negatives and self.fresh):
            return
        negatives = np.concatenate(self.negatives)
        svm = LinearSVC(loss="hinge", C=1e-3, class_weight={1: 2}, intercept_scaling=10, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near the optimum is near enough
            svm.fit(np.concatenate((self.positives, negatives)), [1] * len(self.positives) + [0] * len(negatives))
        self.weight, self.bias = svm.coef_[0].astype(np.float32), float(svm.intercept_[0])
        self.negatives = [negatives[self.margins(negatives) > -1.2]]
        self.fresh, self.fitted = 0, True


def fitted_svms(files: Sequence[Path], *, classes: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The SVMs' weights [classes, width], biases [classes], and whether there were pictures of the class [classes].

    True boxes are positives; what overlaps no object of the class by 0.3 is a negative. One pass over the pictures.
    """
    factor = MEAN_LENGTH / _mean_length(files, "features")
    positives: list[list[np.ndarray]] = [[np.zeros((0, width), np.float32)] for _ in range(classes)]
    for file in files:
        with np.load(file) as example:
            labels = example["labels"]
            for label, row in zip(labels, example["features"][: len(labels)], strict=True):
                positives[label].append(factor * row[None].astype(np.float32))
    miners = [Miner(np.concatenate(rows)) for rows in positives]
    for file in files:
        with np.load(file) as example:
            features, negative = factor * example["features"].astype(np.float32), example["negative"]
        for label, miner in enumerate(miners):
            if len(miner.positives):
                miner.look(features[negative[:, label]])
    for miner in miners:
        miner.fit()
    weights = factor * np.stack([miner.weight for miner in miners])
    return weights, np.array([miner.bias for miner in miners], np.float32), np.array([each.fitted for each in miners])


def fitted_regressors(files: Sequence[Path], *, classes: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [4 * classes, width] and biases of the ridge regression from pool5 to the offsets, lambda 1,000."""
    weights, biases = np.zeros((classes, 4, width), np.float32), np.zeros((classes, 4), np.float32)
    factor = MEAN_LENGTH / _mean_length(files, "pooled")
    for label in range(classes):
        count, mean, mean_offset = 0, np.zeros(width, np.float32), np.zeros(4, np.float32)
        square, product = np.zeros((width, width), np.float32), np.zeros((width, 4), np.float32)
        for file in files:
            with np.load(file) as example:
                own = example["kinds"] == label
                if not own.any():
                    continue
                pooled, offsets = factor * example["pooled"][own].astype(np.float32), example["offsets"][own]
            count += len(pooled)
            mean += pooled.sum(0)
            mean_offset += offsets.sum(0)
            square += pooled.T @ pooled
            product += pooled.T @ offsets
        if not count:
            continue
        mean /= count
        mean_offset /= count
        square += 1000 * np.eye(width, dtype=np.float32) - count * np.outer(mean, mean)
        weights[label] = np.linalg.solve(square, product - count * np.outer(mean, mean_offset)).T
        biases[label] = mean_offset - weights[label] @ mean
    return factor * weights.reshape(4 * classes, width), biases.reshape(4 * classes)


def _mean_length(files: Sequence[Path], name: str) -> float:
    """The mean length of the features called `name` in the first 200 pictures."""
    lengths = [np.zeros(0)]
    for file in files[:200]:
        with np.load(file) as example:
            lengths.append(np.linalg.norm(example[name].astype(np.float32), axis=1))
    every = np.concatenate(lengths)
    return float(every.mean()) if every.any() else 1.0
