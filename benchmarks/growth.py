"""How the cost of a prediction grows: with the size of the picture, the objects, the classes and the batch.

One quantity changes, the others stay at BASE. "Of linear" is the growth of the time over that of the quantity, of the
pixels for the side: 1 is a cost in proportion, below 1 a part of the cost does not grow.
"""

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
WORDS = {
    "side": "shorter side of {} pixels, a third more the other way",
    "classes": "{} classes",
    "batch": "{} pictures at once",
    "objects": "{} proposals and detections kept",
}


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each value of each quantity; the values of one quantity take turns."""
    for quantity, values in VALUES.items():
        if given.only is None or quantity in given.only:
            commands = {}
            for value in values:
                settings = [f"{name}={each}" for name, each in {**BASE, quantity: value}.items()]
                commands[str(value)] = [sys.executable, __file__, *settings]
            times, absent = in_turn(commands, runs=given.runs)
            first = times[str(values[0])].median
            for value in values:
                own = times[str(value)]
                grown, linear = own.median / first, (value / values[0]) ** (2 if quantity == "side" else 1)
                note = f"{grown:.2f}x for {linear:g}x: {grown / linear:.3g} of linear"
                name = WORDS[quantity].format(value)
                yield Row("growth", name, {"siseon": own}, "siseon", note="; ".join([note, *absent]))


def work(*settings: str) -> None:
    """Answer the questions on stdin."""
    import torch

    import siseon

    torch.set_num_threads(2)
    torch.manual_seed(0)
    values = {name: int(value) for name, _, value in (each.partition("=") for each in settings)}
    side = values["side"]
    model = siseon.build(
        "faster_rcnn_mobilenet_v2",
        classes=values["classes"],
        counts=(1000, values["objects"]),
        limit=values["objects"],
        sizing=(side, 2 * side, 32),
    )
    model = siseon.optimize(model)
    pictures = [torch.rand(3, side, side * 4 // 3) for _ in range(values["batch"])]
    answer(lambda question: model.predict(pictures, score=0.0, batch=len(pictures)))


if __name__ == "__main__":
    work(*sys.argv[1:])
