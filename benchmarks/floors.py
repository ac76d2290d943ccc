"""The least time that a number of multiplications can take: at the speed of a large matrix product here."""

from __future__ import annotations

import time
from functools import lru_cache


def milliseconds(macs: float) -> float:
    """For so many multiplications with additions, in float32 on two threads."""
    return 1000 * macs / peak()


@lru_cache(maxsize=1)
def peak() -> float:
    """Multiplications a second of oneDNN's product of 2048 x 2048 matrices, the best of ten."""
    import torch

    torch.set_num_threads(2)
    side = 2048
    one, other = torch.randn(side, side), torch.randn(side, side)
    packed = torch.ops.mkldnn._reorder_linear_weight(other)
    best = float("inf")
    for _ in range(12):
        start = time.perf_counter()
        torch.ops.mkldnn._linear_pointwise(one, packed, None, "none", (), "")
        best = min(best, time.perf_counter() - start)
    return side**3 / best
