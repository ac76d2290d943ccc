"""A run of seconds for the tests: a small classifier, pictures of noise, and a way to be killed in the middle.

As a program: small_run.py FOLDER makes runs in FOLDER: `whole`, which is left alone, and others in processes of their
own, which are killed at a step, or stopped by a signal, and then gone on with.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from siseon.data.dataset import Annotation, Data
from siseon.interface import PictureError
from siseon.training import records
from siseon.training.fit import fit, resume
from siseon.training.interruption import Interrupted
from siseon.training.progress import Silent

CLASSES = ("원", "네모", "별")
STEPS_OF_AN_EPOCH = 5
RECIPE = {"epochs": 2, "batch": 4, "ema": 0.9, "warmup": 3, "seed": 5, "lr": 0.05, "workers": 1, "optimizer": "sgd"}


class SmallClassifier(nn.Module):
    """Convolution, batch norm, dropout: something of each kind that has a state or is random."""

    task = "classification"
    classes = CLASSES
    spec = {"name": "small", "arguments": {}}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.resize, self.crop = 12, 12
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(8, len(self.classes))

    def loss(self, images, targets):
        features = self.layers(images.tensor).mean((2, 3))
        return {"class": F.cross_entropy(self.head(F.dropout(features, 0.2, self.training)), targets)}


class Noise:
    """Pictures whose brightness tells the class; number 6 cannot be read."""

    task = "classification"
    classes = CLASSES

    def __init__(self, count, bad=6):
        self.count, self.bad = count, bad

    def __len__(self):
        return self.count

    def annotation(self, index):
        return Annotation(f"사진 {index}", size=(14, 16), label=index % 3)

    def picture(self, index):
        if index == self.bad:
            raise PictureError(f"사진 {index} is broken", "Copy it again")
        return np.random.default_rng(index).integers(0, 80 + 80 * (index % 3), (14, 16, 3)).astype(np.uint8)


def noise(train=20, val=5):
    return Data("noise", "classification", CLASSES, {"train": Noise(train), "val": Noise(val)})


def small(path=None):
    torch.manual_seed(0)
    return SmallClassifier()


class At(Silent):
    """Does something at a step, counted from 1."""

    def __init__(self, step, action):
        self.left, self.action = step, action

    def step(self, epoch, **figures):
        self.left -= 1
        if not self.left:
            self.action()


def validation(signal_now=None):
    """A stand-in for `evaluate` that a signal may reach while it works."""

    def evaluate(model, dataset):
        if signal_now and signal_now.pop("ask", None):
            os.kill(os.getpid(), signal.SIGTERM)
        with torch.no_grad():
            total = sum(float(value.double().sum()) for value in model.state_dict().values())
        return {"figure": np.sin(total), "other": 1.0}

    return evaluate


def child(work):
    """Run `work` in a process of its own; its exit status, or the signal that killed it, below zero."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        work()
    except Interrupted as fault:
        print(fault, flush=True)
        os._exit(fault.exit_code)
    os._exit(0)


def send(number):
    return lambda: os.kill(os.getpid(), number)


def break_off_each_way(run):
    """Call run(name, status with which it ends, what happens at a step, changes of the recipe) for each way."""
    kill, term = signal.SIGKILL, signal.SIGTERM
    every, seldom = {"save_every": 1e-9}, {"save_every": 1e9}
    for workers in (0, 2):
        run(f"killed at 7, {workers} workers", -kill, At(7, send(kill)), workers=workers, **every)
        run(f"killed at 7, saved seldom, {workers} workers", -kill, At(7, send(kill)), workers=workers, **seldom)
        run(f"terminated at 7, {workers} workers", 128 + term, At(7, send(term)), workers=workers)
    run("killed at 1", -kill, At(1, send(kill)), **every)
    run("killed at 5", -kill, At(5, send(kill)), **every)
    run("killed at 3, saved seldom", -kill, At(3, send(kill)), **seldom)
    run("Ctrl-C at 7", 128 + signal.SIGINT, At(7, send(signal.SIGINT)))
    run("terminated while validating", 128 + term, evaluate=validation({"ask": True}))


def main(folder):
    records.plot = lambda rows: b"a picture"  # takes longer than all the rest
    known = {"evaluate": validation(), "progress": Silent()}
    fit(small(), noise(), out=folder / "whole", **known, **RECIPE)

    def broken_off_and_resumed(name, status, progress=None, **changes):
        given = {**known, "progress": progress or Silent(), **RECIPE, "workers": 0, **changes}
        assert child(lambda: fit(small(), noise(), out=folder / name, **given)) == status, name
        assert child(lambda: resume(folder / name, load=small, data=noise(), **known)) == 0, name

    break_off_each_way(broken_off_and_resumed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
