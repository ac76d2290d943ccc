"""What a prediction costs: turns, stages, multiplications, memory."""

import math
import sys

import numpy as np
import pytest

from siseon import weights
from siseon.comparison import measurement
from siseon.comparison.result import REST
from siseon.inspection.table import table
from siseon.stages import stage

PHOTOS = [np.full((32, 32, 3), number, np.uint8) for number in range(7)]


class Watched:
    """Notes which pictures it is shown, and by whom; breaks at the picture `bad`."""

    def __init__(self, name, seen, bad=None):
        self.name, self.seen, self.bad = name, seen, bad

    def predict(self, pictures, *, batch):
        assert batch == len(pictures) == 1
        number = int(pictures[0][0, 0, 0])
        self.seen.append((self.name, number))
        if number == self.bad:
            raise ValueError("broken")
        with stage("features"):
            return [number]


def test_models_take_turns_and_see_each_picture_once():
    seen = []
    models = {name: Watched(name, seen) for name in "ab"}
    timings = measurement.timed(models, PHOTOS, pytest.fail, shown=2)
    assert seen[:8] == [*(("a", number) for number in (255, 0, 3, 6)), *(("b", number) for number in (255, 0, 3, 6))]
    assert sorted(seen) == sorted([(name, number) for name in "ab" for number in (*range(7), 255, 254, 253)])
    for timing in timings.values():
        assert len(timing.seconds) == 7 and timing.predictions == {0: 0, 1: 1}  # those that are shown
        assert set(timing.stages()) == {"features", REST}
        assert all(value >= 0 for value in timing.stages().values())


def test_one_that_fails_is_left_out():
    seen, failed = [], []
    models = {"a": Watched("a", seen, bad=3), "b": Watched("b", seen)}
    timings = measurement.timed(models, PHOTOS, lambda name, fault: failed.append((name, str(fault))), shown=2)
    assert list(timings) == ["b"] and len(timings["b"].seconds) == 7
    assert failed == [("a", "broken")]


def test_the_median_counts():
    timing = measurement.Timing({place: {"head": seconds} for place, seconds in enumerate((0.001, 0.002, 9.0))})
    assert timing.stages() == {"head": 2.0}


@pytest.mark.parametrize("name", ["lenet", "resnet_mini", "mobilenet_mini"])
def test_multiplications_are_those_of_the_layer_table(name):
    model = weights.build(name, classes=10)
    photo = np.zeros((80, 80, 3), np.uint8)
    assert measurement.macs_of(model, [photo]) == table(model, model.crop).totals.macs
    assert math.isnan(measurement.macs_of(model, []))


def test_size_of_a_model():
    model = weights.build("lenet_modern", classes=10)
    assert measurement.parameters_of(model) == 61_706
    assert measurement.megabytes_of(model) == pytest.approx((61_706 + 6) * 4 / 1e6)  # and the scale of the input


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_memory_that_is_freed_again_is_seen(fresh_python):
    # in this process other tests may have told the allocator to keep what is freed
    ended = fresh_python(
        "import numpy as np; from siseon.comparison import memory\n"
        "def work(): return float(np.ones(5_000_000).sum())  # 40 MB\n"
        "work(); print(memory.growth(work))"
    )
    assert float(ended.stdout) == pytest.approx(40, rel=0.15)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_memory_of_a_prediction(tmp_path):
    weights.save(weights.build("resnet18", classes=3), tmp_path / "best.safetensors")
    # at least the first map, and what is before the batch norm: 2 x 64 x 112 x 112 x 4 bytes
    assert 6 < measurement.peak_megabytes(tmp_path, np.zeros((64, 64, 3), np.uint8)) < 100


def test_memory_of_a_model_that_cannot_be_loaded_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(measurement.sys, "executable", str(tmp_path / "no_python"))
    assert math.isnan(measurement.peak_megabytes(tmp_path, PHOTOS[0]))
