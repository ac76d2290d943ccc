import math

import numpy as np
import pytest
import torch

from siseon.comparison import noise
from siseon.data.dataset import Annotation
from siseon.evaluation import evaluate
from siseon.interface import Classification, Detections

CLASSES = ("원", "star")
BOX = np.array([[10, 10, 40, 40]], np.float32)


class Pictures:
    """Pictures whose grey is their number, with one object each."""

    classes = CLASSES

    def __init__(self, count, task):
        self.count, self.task = count, task

    def __len__(self):
        return self.count

    def annotation(self, index):
        known = {"boxes": BOX, "labels": np.array([0]), "crowd": np.zeros(1, bool), "label": 0}
        return Annotation(f"{index}.png", size=(50, 50), **known)

    def picture(self, index):
        return np.full((50, 50, 3), index, np.uint8)


class Sometimes:
    """Is right in the pictures `right`."""

    classes = CLASSES

    def __init__(self, task, right):
        self.task, self.right = task, right

    def predict(self, pictures, **options):
        numbers = [int(picture[0, 0, 0]) in self.right for picture in pictures]
        if self.task == "classification":
            return [Classification(torch.tensor([0.9, 0.1] if hit else [0.1, 0.9]), CLASSES) for hit in numbers]
        return [
            Detections(torch.from_numpy(BOX) + (0.0 if hit else 100.0), torch.tensor([0]), torch.tensor([0.9]), CLASSES)
            for hit in numbers
        ]


def test_the_error_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).random(10)
    without = [(values.sum() - value) / 9 for value in values]
    assert noise.standard_error(without) == pytest.approx(values.std(ddof=1) / math.sqrt(10))


def test_what_both_models_share_is_no_noise():
    one = [0.8, 0.9, 0.7]
    assert noise.standard_error(one, [value - 0.1 for value in one]) == pytest.approx(0)
    assert noise.is_sure(0.1, noise.standard_error(one, [value - 0.1 for value in one]))
    assert not noise.is_sure(0.1, noise.standard_error(one))


@pytest.mark.parametrize("values", [([], None), ([0.5], None), ([0.5, 0.6], [0.5])])
def test_too_few_values_say_nothing(values):
    assert math.isnan(noise.standard_error(*values))
    assert not noise.is_sure(1.0, math.nan)


@pytest.mark.parametrize(("task", "main"), [("classification", "accuracy"), ("detection", "AP50")])
def test_values_without_a_group_are_those_of_the_other_pictures(task, main):
    right = set(range(0, 20, 2)) | {1, 3}
    evaluation = evaluate(Sometimes(task, right), Pictures(20, task))
    values = noise.values_without(evaluation, (main, "AP_small"))
    assert list(values) == ([main] if task == "classification" else [main, "AP_small"])
    for group, value in enumerate(values[main]):
        rest = [number for number in range(20) if number % 10 != group]
        if task == "classification":
            assert value == pytest.approx(np.mean([number in right for number in rest]))
    hits = evaluate(Sometimes(task, set(range(1, 20))), Pictures(20, task))  # wrong in the first picture alone
    found = noise.values_without(hits, (main,))[main]
    assert found[0] == pytest.approx(1.0)  # without its group all is right
    assert all(value < 1 for value in found[1:]) and len(found) == 10


@pytest.mark.parametrize(("pictures", "groups"), [(0, 0), (1, 0), (2, 2), (7, 7)])
def test_few_pictures(pictures, groups):
    evaluation = evaluate(Sometimes("classification", {0}), Pictures(pictures, "classification"))
    assert len(noise.values_without(evaluation, ("accuracy",))["accuracy"]) == groups
