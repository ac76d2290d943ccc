"""NMS and RoIAlign beside torchvision's compiled operators, on the same boxes and maps."""

import argparse
import functools
import sys
from collections.abc import Callable, Iterator

if __package__:
    from benchmarks.rows import Row
    from benchmarks.turns import answer, in_turn, tune
else:  # as the program of a worker
    from turns import answer, tune

ENGINES = ("torchvision", "torchvision tuned", "siseon", "siseon tuned")
COUNTS = (1000, 4000, 12000)
MAPS = {
    "1,000 x 256 x 7 x 7 on 200 x 272": (256, 200, 272, 1000, 7),
    "100 x 256 x 14 x 14 on 200 x 272": (256, 200, 272, 100, 14),
}
CASES = (
    *(f"nms, {count} boxes{kind}" for count in COUNTS for kind in ("", ", clustered")),
    *(f"RoIAlign {pass_}, {name}" for name in MAPS for pass_ in ("forward", "backward")),
    "RoI pooling forward, 300 x 512 x 7 x 7 on 50 x 68",
)


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each case."""
    for case in CASES:
        if given.only is None or any(name in case for name in given.only):
            programs = {"torchvision": given.peer, "siseon": sys.executable}
            commands = {engine: [programs[engine.split()[0]], __file__, engine] for engine in ENGINES}
            times, absent = in_turn(commands, case, runs=given.runs)
            yield Row("operators", case, times, "siseon tuned", note="; ".join(absent))


def boxes_on(height: int, width: int, count: int, *, clustered: bool = False):
    """Boxes [count, 4] of 5 to 200 pixels; clustered: about forty around each of few objects."""
    import torch

    objects = count // 40 if clustered else count
    centres = torch.rand(objects, 2) * torch.tensor([width, height])
    sides = 5 * 40 ** torch.rand(objects, 2)
    if clustered:
        chosen = torch.randint(objects, (count,))
        centres = centres[chosen] + 6 * torch.randn(count, 2)
        sides = sides[chosen] * torch.exp(0.15 * torch.randn(count, 2))
    return torch.cat([centres - sides / 2, centres + sides / 2], 1).clamp(min=0)


def call_of(engine: str, case: str) -> Callable[[], object]:
    """What is timed."""
    import torch

    if engine == "siseon":
        from siseon.boxes.nms import nms
        from siseon.boxes.roi import roi_align, roi_pool
    else:
        from torchvision.ops import nms, roi_align, roi_pool
    torch.manual_seed(0)
    if case.startswith("nms"):
        boxes = boxes_on(800, 1088, int(case.split()[1].strip(",")), clustered=case.endswith("clustered"))
        return functools.partial(nms, boxes, torch.rand(len(boxes)), 0.7)
    pooling = case.startswith("RoI pooling")
    channels, height, width, regions, output = (512, 50, 68, 300, 7) if pooling else MAPS[case.partition(", ")[2]]
    stride = 16 if pooling else 4
    maps = torch.randn(1, channels, height, width)
    if engine == "siseon":
        maps = maps.contiguous(memory_format=torch.channels_last)  # as its networks give them
    boxes = boxes_on(stride * height, stride * width, regions)
    given = [boxes, output, 1 / stride] if pooling else [boxes, output, 1 / stride, 2]
    given[0] = [boxes]
    function = roi_pool if pooling else roi_align
    if engine == "siseon":
        names = ("boxes", "output", "scale", "samples")
        function, given = functools.partial(function, **dict(zip(names, given, strict=False))), []
    if "backward" not in case:
        return lambda: function(maps, *given)
    maps.requires_grad_()
    pooled = function(maps, *given)
    gradient = torch.ones_like(pooled)
    return lambda: torch.autograd.grad(pooled, maps, gradient, retain_graph=True)


def work(engine: str) -> None:
    """Answer the questions on stdin: names of cases."""
    import torch

    torch.set_num_threads(2)
    library, _, tuned = engine.partition(" ")
    __import__({"torchvision": "torchvision", "siseon": "siseon.boxes.nms"}[library])
    if tuned:
        tune()
    prepared = functools.lru_cache(functools.partial(call_of, library))
    answer(lambda case: prepared(case)())


if __name__ == "__main__":
    work(*sys.argv[1:])
