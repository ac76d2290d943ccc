import pytest
import torch

from siseon import zoo
from siseon.stages import measured, stage


def test_nothing_is_measured_outside():
    with stage("head"):
        pass
    with measured() as seconds:
        pass
    assert seconds == {}


def test_seconds_of_a_stage_add_up():
    with measured() as seconds:
        with stage("head"):
            pass
        first = seconds["head"]
        with stage("head"):
            torch.rand(100, 100).sum()
        assert seconds["head"] > first
    with stage("head"):
        pass
    assert list(seconds) == ["head"]


def test_a_fault_ends_the_measurement():
    with pytest.raises(ValueError, match="why"), measured() as seconds, stage("head"):
        raise ValueError("why")
    with stage("features"):
        pass
    assert list(seconds) == ["head"]


def test_a_detector_names_all_its_stages():
    with measured() as seconds:
        zoo.create("faster_rcnn_mini", classes=3).predict(torch.rand(3, 64, 64))
    assert list(seconds) == ["preparation", "features", "proposals", "regions", "head", "selection"]


def test_a_classifier_names_its_stages():
    with measured() as seconds:
        zoo.create("lenet", classes=3).predict(torch.rand(3, 64, 64))
    assert list(seconds) == ["preparation", "features"]
