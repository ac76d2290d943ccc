"""How fast siseon.boxes is beside plain torch and beside torchvision: milliseconds, best of interleaved runs.

python benchmarks/box_operators.py            ours and plain torch
python benchmarks/box_operators.py --peer     and torchvision, where it can be imported
"""

import argparse
import functools
import importlib
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from siseon.boxes import anchors, geometry, matching, nms, roi

PICTURE = (800, 1088)
RUNS = 60
PATIENCE = 2.0
"""Seconds for one way, the first run apart."""


def compare(name, ours: Callable, plain: Callable | None, peer: Callable | None) -> None:
    """Print one line; None: nothing to compare with."""
    ways = [ours, plain, peer]
    best, spent = [float("inf")] * 3, [0.0] * 3
    for run in range(RUNS + 1):
        for index, way in enumerate(ways):
            if way is None or spent[index] > PATIENCE:
                continue
            start = time.perf_counter()
            way()
            seconds = time.perf_counter() - start
            if run:  # the first run compiles
                best[index], spent[index] = min(best[index], seconds * 1000), spent[index] + seconds
    figures = [f"{best[0]:9.2f}"]
    for other, way in zip(best[1:], ways[1:], strict=True):
        figures.append(f"{other:9.2f} {other / best[0]:6.1f}x" if way else " " * 17)
    print(f"{name:44}", *figures, flush=True)


def random_boxes(count: int, *, low: float, high: float) -> Tensor:
    centers = torch.rand(count, 2) * torch.tensor([PICTURE[1], PICTURE[0]])
    sides = low * (high / low) ** torch.rand(count, 2)
    return geometry.clip(geometry.from_center(torch.cat([centers, sides], dim=1)), PICTURE)


def clustered_boxes(count: int) -> Tensor:
    objects = geometry.to_center(random_boxes(count // 40, low=20, high=220))
    boxes = objects[torch.randint(len(objects), (count,))]
    shaken = [boxes[:, :2] + 6 * torch.randn(count, 2), boxes[:, 2:] * torch.exp(0.15 * torch.randn(count, 2))]
    return geometry.from_center(torch.cat(shaken, dim=1))


def plain_nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes[order]
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for row in range(len(boxes)):
        if alive[row]:
            alive[row + 1 :] &= geometry.overlap(boxes[row : row + 1], boxes[row + 1 :])[0] <= threshold
    return order[alive]


def suppression(peer) -> None:
    for count in (1000, 4000, 12000):
        random, scores, groups = random_boxes(count, low=5, high=200), torch.rand(count), torch.randint(80, (count,))
        for kind, boxes in (("random", random), ("clustered", clustered_boxes(count))):
            ours = functools.partial(nms.nms, boxes, scores, 0.7)
            theirs = peer and functools.partial(peer.nms, boxes, scores, 0.7)
            plain = functools.partial(plain_nms, boxes, scores, 0.7) if count < 12000 else None
            compare(f"nms {count} {kind}", ours, plain, theirs)
            compare("    the first 1000 kept", functools.partial(ours, limit=1000), None, theirs)
        ours = functools.partial(nms.nms_by_group, random, scores, groups, 0.5)
        theirs = peer and functools.partial(peer.batched_nms, random, scores, groups, 0.5)
        compare(f"nms_by_group {count}, 80 groups", ours, None, theirs)


def with_backward(pool: Callable[[Tensor], Tensor], features: Tensor) -> tuple[Callable, Callable]:
    """Two calls: forward, and backward of a forward that was done before."""
    leaf = features.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    pooled = pool(leaf)
    gradient = torch.ones_like(pooled)
    return lambda: pool(features), lambda: torch.autograd.grad(pooled, leaf, gradient, retain_graph=True)


def pooling(peer, kind: str, channels: int, stride: int, regions: int, output: int) -> None:
    size = (PICTURE[0] // stride, PICTURE[1] // stride)
    features = torch.randn(1, channels, *size)
    boxes = [random_boxes(regions, low=4 * stride, high=28 * stride)]
    samples = {"samples": 2} if kind == "align" else {}
    pool = functools.partial(getattr(roi, f"roi_{kind}"), boxes=boxes, output=output, scale=1 / stride, **samples)

    def plain(features: Tensor) -> Tensor:
        with mock.patch.object(roi, "_compiled", return_value=False):
            return pool(features)

    ours = with_backward(pool, features.contiguous(memory_format=torch.channels_last))
    plain_calls = with_backward(plain, features)
    theirs = [None, None]
    if peer:
        function = getattr(peer, f"roi_{kind}")
        theirs = with_backward(lambda maps: function(maps, boxes, output, 1 / stride, *samples.values()), features)
    compare(
        f"roi_{kind} {channels}x{size[0]}x{size[1]}, {regions} regions, {output}", ours[0], plain_calls[0], theirs[0]
    )
    compare("    backward", ours[1], plain_calls[1], theirs[1])


def pyramid(peer) -> None:
    strides = (4, 8, 16, 32)
    levels = [torch.randn(1, 256, PICTURE[0] // stride, PICTURE[1] // stride) for stride in strides]
    fast = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    boxes = [random_boxes(1000, low=16, high=600)]
    theirs = None
    if peer:
        pooler = peer.MultiScaleRoIAlign([str(stride) for stride in strides], 7, 2)
        named = {str(stride): level for stride, level in zip(strides, levels, strict=True)}
        theirs = functools.partial(pooler, named, boxes, [PICTURE])
    compare(
        "pyramid of 4 levels, 1000 regions",
        lambda: roi.pooled_from_pyramid(fast, boxes, strides, output=7),
        None,
        theirs,
    )
    compare(
        "    from channels-first maps", lambda: roi.pooled_from_pyramid(levels, boxes, strides, output=7), None, theirs
    )


def training(peer) -> None:
    grid = anchors.AnchorGrid(sizes=((32,), (64,), (128,), (256,), (512,)), ratios=(0.5, 1, 2))
    sizes = [(200, 272), (100, 136), (50, 68), (25, 34), (13, 17)]
    every = torch.cat(grid(sizes, (4, 8, 16, 32, 64)))
    objects = random_boxes(20, low=20, high=400)
    compare(
        f"overlap 20 x {len(every)}",
        lambda: geometry.overlap(objects, every),
        None,
        peer and (lambda: peer.box_iou(objects, every)),
    )
    overlaps = geometry.overlap(objects, every)
    matcher = peer and importlib.import_module("torchvision.models.detection._utils").Matcher(0.7, 0.3, True)
    compare(
        f"match 20 x {len(every)}",
        lambda: matching.match(overlaps, high=0.7, low=0.3, keep_best=True),
        None,
        matcher and (lambda: matcher(overlaps)),
    )


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--peer", action="store_true", help="compare with torchvision.ops")
    arguments.add_argument("--threads", type=int, default=2)
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    peer = importlib.import_module("torchvision.ops") if chosen.peer else None
    print(
        f"{'milliseconds, ' + str(chosen.threads) + ' threads':44} {'ours':>9} {'plain torch':>17} {'torchvision':>17}"
    )
    suppression(peer)
    for shape in ((256, 4, 1000, 7), (256, 16, 1000, 7), (256, 4, 100, 14), (512, 16, 2000, 7)):
        pooling(peer, "align", *shape)
    pooling(peer, "pool", 512, 16, 300, 7)
    pyramid(peer)
    training(peer)


if __name__ == "__main__":
    main()
