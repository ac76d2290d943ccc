"""What a prediction costs: seconds by stage, multiplications, memory.

Time    `predict`, one picture at a time, with siseon.stages. The models take turns, so that whatever else the machine
        does meets all of them; each warms up before its turn, on a negative: a model may remember what it found in a
        picture, as those with Selective Search do. Of each stage the median over the pictures counts.
MACs    of convolutions and matrix products in one `predict`, by PyTorch's counter (its FLOPs, halved): every region
        that goes through a network counts. Searching, sorting and resampling are not multiplications of weights.
Memory  in a process of its own (memory.py).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from siseon import pictures
from siseon.comparison.result import REST
from siseon.evaluation import Model
from siseon.interface import Prediction
from siseon.stages import measured

TURNS = 3
"""In how many turns each model predicts the pictures."""
COUNTED = 3
"""On how many pictures multiplications are counted: a detector's depend on what it proposes."""


@dataclass
class Timing:
    """The seconds of each stage in the prediction of each picture, and what was predicted, by the picture's place.

    predictions: of the pictures that are shown; those of all, with the maps of large photos, would fill the memory.
    """

    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    predictions: dict[int, Prediction] = field(default_factory=dict)

    def stages(self) -> dict[str, float]:
        """The median milliseconds of each stage."""
        names = dict.fromkeys(name for one in self.seconds.values() for name in one)
        return {name: 1000 * median(one.get(name, 0.0) for one in self.seconds.values()) for name in names}


def timed(
    models: Mapping[str, Model], photos: Sequence[np.ndarray], fail: Callable[[str, Exception], None], *, shown: int
) -> dict[str, Timing]:
    """Predict every photo with every model, singly, in turns, and keep the predictions of the first `shown`.

    A model that fails is told to `fail` and left out.
    """
    timings = {name: Timing() for name in models}
    for turn in range(min(TURNS, len(photos))):
        for name, model in models.items():
            if name not in timings:
                continue
            try:
                _turn(model, photos, range(turn, len(photos), TURNS), timings[name], shown)
            except Exception as fault:  # whatever goes wrong in one model, the race goes on
                del timings[name]
                fail(name, fault)
    return timings


def _turn(model: Model, photos: Sequence[np.ndarray], places: range, timing: Timing, shown: int) -> None:
    model.predict([negative(photos[places[0]])], batch=1)
    for place in places:
        with measured() as seconds:
            start = perf_counter()
            (prediction,) = model.predict([photos[place]], batch=1)
            total = perf_counter() - start
        if place < shown:
            timing.predictions[place] = prediction
        timing.seconds[place] = {**seconds, REST: max(total - sum(seconds.values()), 0.0)}


def negative(photo: np.ndarray) -> np.ndarray:
    """A picture of the same size that no model has seen."""
    return 255 - photo


def macs_of(model: Model, photos: Sequence[np.ndarray]) -> float:
    """The multiply-accumulate operations of one prediction: the median over some photos."""
    counts = []
    for photo in photos[:COUNTED]:
        with FlopCounterMode(display=False) as counter:
            model.predict([photo], batch=1)
        counts.append(counter.get_total_flops() / 2)
    return float(median(counts)) if counts else math.nan


def parameters_of(model: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in model.parameters())


def megabytes_of(model: nn.Module) -> float:
    """The size of all tensors of the model, in 10^6 bytes."""
    return sum(tensor.nbytes for tensor in model.state_dict().values()) / 1e6


def peak_megabytes(run: Path, photo: np.ndarray) -> float:
    """What a prediction by the model in `run` takes besides the model, in 10^6 bytes; nan where it cannot be known."""
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "photo.png"
        pictures.write(photo, picture)
        # Freed memory goes back at once, so that what is in use can be told from what was.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-m", "siseon.comparison.memory", str(run.resolve()), str(picture)]
        try:
            said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=True)
            return float(json.loads(said.stdout)["megabytes"])
        except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
            return math.nan
