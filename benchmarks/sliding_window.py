"""One pass of a fully convolutional network over a picture against the same network on every window of it.

    python benchmarks/sliding_window.py [--side 500] [--backbone vgg_mini] [--kernel 2] [--threads 1]
    python -m benchmarks sliding

Section 3.1 of Long, Shelhamer, Darrell 2015 times AlexNet on a 500 x 500 picture: a 10 x 10 map of scores takes 22 ms
in one pass and 1.2 ms a window one by one, more than five times as long. Here the network has no padding, so that both
ways give the same scores; windows are taken `--batch` at a time, which is the faster way to slide. Medians of 5.

One thread of an AMD EPYC that much other work shared, 2026-11-22, so in milliseconds of the processor and not of the
clock (time.process_time): one pass 39.4, the 100 windows of 182 pixels 450.8, 11.4 times as long; the largest
difference of a score is 2.9e-06, of scores up to 5.0.
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from siseon.interface import SiseonError
from siseon.models.segmentation.fcn import FCN, without_padding

if __package__:
    from benchmarks.rows import Row
    from benchmarks.turns import in_turn
else:  # as a program, or the program of a worker
    from turns import answer

WAYS = ("one pass", "sliding window")


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """The two ways in turns."""
    commands = {way: [sys.executable, __file__, "--answer", way] for way in WAYS}
    times, _ = in_turn(commands, runs=given.runs)
    ratio = times[WAYS[1]].median / times[WAYS[0]].median
    yield Row("sliding", "FCN-32s on vgg_mini, 500 x 500", times, WAYS[0], note=f"{ratio:.1f} times as long by windows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--backbone", default="vgg_mini")
    parser.add_argument("--kernel", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--answer", choices=WAYS, help="time one way, asked on stdin")
    given = parser.parse_args()

    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = without_padding(FCN(backbone=given.backbone, kernel=given.kernel, hidden=given.hidden, stride=32)).eval()
    nn.init.normal_(model.score.weight, std=0.1)
    window, step = window_of(model, given.side)
    picture = torch.rand(1, 3, given.side, given.side)
    windows = picture.unfold(2, window, step).unfold(3, window, step)[0].flatten(1, 2).transpose(0, 1)
    ways = {
        WAYS[0]: lambda: scores(model, picture),
        WAYS[1]: lambda: torch.cat([scores(model, part) for part in windows.split(given.batch)]),
    }
    if given.answer:
        torch.set_num_threads(2)
        return answer(torch.inference_mode()(lambda question: ways[given.answer]()))
    with torch.inference_mode():
        whole, sliding = (ways[way]() for way in WAYS)
        difference = (whole[0].flatten(1).T - sliding[..., 0, 0]).abs().max().item()
        once, many = (median(ways[way]) for way in WAYS)
    print(f"{given.side} x {given.side} pixels, {len(windows)} windows of {window} pixels, {step} apart")
    print(f"one pass        {1000 * once:9.1f} ms")
    print(f"sliding window  {1000 * many:9.1f} ms, {many / once:.1f} times as long")
    print(f"largest difference of a score {difference:.1e}, of scores up to {whole.abs().max().item():.1f}")


def scores(model: FCN, images: Tensor) -> Tensor:
    return model.coarse_scores(model.body.features(images)[-1])


def median(work: Callable[[], object], times: int = 5) -> float:
    """Seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def window_of(model: FCN, side: int) -> tuple[int, int]:
    """The side of the window that one score sees, the least that gives any, and the step from one to the next."""
    probe = copy.deepcopy(model).to("meta")

    def gives_a_score(pixels: int) -> bool:
        try:
            return scores(probe, torch.empty(1, 3, pixels, pixels, device="meta")).numel() > 0
        except (RuntimeError, SiseonError):  # a map without a cell
            return False

    return next(pixels for pixels in range(1, side + 1) if gives_a_score(pixels)), model.body.strides[-1]


if __name__ == "__main__":
    main()
