"""How the cost of a prediction grows: with the size of the picture, the objects found, the classes and the batch."""

import argparse
import sys
from collections.abc import Iterator

if __package__:
    from benchmarks.rows import Row
    from benchmarks.turns import answer, in_turn
else:  # as the program of a worker
    from turns import answer

BASE = {"side": 320, "classes": 20, "batch": 1, "objects": 100}
VALUES = {
    "side": (160, 320, 640, 960),
    "classes": (2, 20, 90, 365),
    "batch": (1, 2, 4, 8),
    "objects": (1, 10, 100, 1000),
}


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each quantity, an engine for each of its values."""
    for quantity, values in VALUES.items():
        if given.only is None or quantity in given.only:
            commands = {}
            for value in values:
                settings = [f"{name}={each}" for name, each in {**BASE, quantity: value}.items()]
                commands[f"siseon {value}"] = [sys.executable, __file__, *settings]
            times, _ = in_turn(commands, runs=given.runs)
            first = times[f"siseon {values[0]}"]
            grown = ", ".join(f"{each.median / first.median:.2f}x {each.peak:.0f} MiB" for each in times.values())
            yield Row("growth", f"{quantity}: {', '.join(map(str, values))}", times, f"siseon {values[0]}", note=grown)


def work(*settings: str) -> None:
    """Answer the questions on stdin."""
    import torch

    import siseon

    torch.set_num_threads(2)
    torch.manual_seed(0)
    values = {name: int(value) for name, _, value in (each.partition("=") for each in settings)}
    side = values["side"]
    model = siseon.build(
        "faster_rcnn_mobilenet_v2", classes=values["classes"], limit=values["objects"], sizing=(side, 2 * side, 32)
    )
    model = siseon.optimize(model)
    pictures = [torch.rand(3, side, side * 4 // 3) for _ in range(values["batch"])]
    answer(lambda question: model.predict(pictures, score=0.0, batch=len(pictures)))


if __name__ == "__main__":
    work(*sys.argv[1:])
