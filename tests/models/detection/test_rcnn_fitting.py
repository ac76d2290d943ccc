import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from siseon.models.detection.rcnn_fitting import MEAN_LENGTH, NEVER, Miner, fitted_regressors, fitted_svms

WIDTH, CLASSES = 6, 3


@pytest.fixture
def files(tmp_path):
    """Features of 60 pictures: the class adds 3 to its own axis; class 2 does not occur."""
    random = np.random.default_rng(0)
    paths = []
    for number in range(60):
        label = number % 2
        features = random.normal(size=(80, WIDTH)).astype(np.float32)
        features[0, label] += 3
        negative = np.ones((80, CLASSES), bool)
        negative[0, label] = False
        pooled = random.normal(size=(20, WIDTH)).astype(np.float16)
        offsets = pooled[:, :4].astype(np.float32) * (1 + label) + 0.5
        paths.append(tmp_path / f"{number}.npz")
        np.savez(
            paths[-1],
            features=features.astype(np.float16),
            labels=np.array([label]),
            negative=negative,
            pooled=pooled,
            kinds=np.full(20, label),
            offsets=offsets,
        )
    return paths


def gathered(files, name):
    return np.concatenate([np.load(file)[name] for file in files])


def mean_length(rows):
    return np.linalg.norm(rows.astype(np.float32), axis=1).mean()


def test_mined_svms_agree_with_svms_on_everything(files):
    weights, biases, fitted = fitted_svms(files, classes=CLASSES, width=WIDTH)
    features, negative = gathered(files, "features").astype(np.float32), gathered(files, "negative")
    scaled = features * MEAN_LENGTH / mean_length(features)
    for label in range(2):
        whole = LinearSVC(loss="hinge", C=1e-3, class_weight={1: 2}, intercept_scaling=10, random_state=0)
        whole.fit(scaled, ~negative[:, label])
        margins, expected = features @ weights[label] + biases[label], whole.decision_function(scaled)
        assert np.corrcoef(margins, expected)[0, 1] > 0.97
        assert ((margins > 0) == (expected > 0)).mean() > 0.99
    assert fitted.tolist() == [True, True, False]


def test_a_class_without_pictures_is_far_outside(files):
    weights, biases, _ = fitted_svms(files, classes=CLASSES, width=WIDTH)
    assert not weights[2].any()
    assert biases[2] == NEVER


def test_only_hard_negatives_are_kept():
    random = np.random.default_rng(0)
    miner = Miner(random.normal(5, 1, (50, 4)).astype(np.float32))
    miner.look(random.normal(-5, 1, (2500, 4)).astype(np.float32))
    assert miner.fitted
    assert sum(len(rows) for rows in miner.negatives) < 500
    hard = np.full((3, 4), 4.0, np.float32)
    miner.look(np.concatenate([hard, np.full((90, 4), -6.0, np.float32)]))
    assert miner.fresh == 3
    assert np.array_equal(miner.negatives[-1], hard)


def test_without_negatives_nothing_is_fitted():
    miner = Miner(np.ones((5, 4), np.float32))
    miner.look(np.zeros((0, 4), np.float32))
    miner.fit()
    assert not miner.fitted


def test_regressors_are_ridge_regressions_with_lambda_1000(files):
    weights, biases = fitted_regressors(files, classes=CLASSES, width=WIDTH)
    pooled = gathered(files, "pooled").astype(np.float32)
    kinds, offsets = gathered(files, "kinds"), gathered(files, "offsets")
    factor = MEAN_LENGTH / mean_length(pooled)
    for label in range(2):
        own = kinds == label
        ridge = Ridge(alpha=1000).fit(pooled[own] * factor, offsets[own])
        rows = slice(4 * label, 4 * label + 4)
        np.testing.assert_allclose(pooled @ weights[rows].T + biases[rows], ridge.predict(pooled * factor), atol=1e-3)
    assert not weights[8:].any()
    assert not biases[8:].any()


def test_no_pictures_give_no_svms():
    weights, biases, fitted = fitted_svms([], classes=2, width=3)
    assert (weights.tolist(), biases.tolist(), fitted.tolist()) == ([[0] * 3] * 2, [NEVER] * 2, [False] * 2)
