"""Threads for compiled loops: as many as torch has, started once, and anew in a process that was forked.

Within them torch works on one thread, so that a share of the work may call its operators too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier

import torch


def in_threads(work: Callable[[int, int], None], *, most: int) -> None:
    """Call work(part, parts) for each part, as many as torch has threads but at most `most`; it must release the lock.

    A single part is done by the caller.
    """
    parts = max(min(torch.get_num_threads(), most), 1)
    if parts == 1:
        work(0, 1)
        return
    pool = _pool(torch.get_num_threads())
    for each in [pool.submit(work, part, parts) for part in range(parts)]:
        each.result()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    pool, all_started = ThreadPoolExecutor(threads, thread_name_prefix="siseon"), Barrier(threads)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # the first call in a thread takes over what was set last, in any thread
        all_started.wait()

    for each in [pool.submit(start) for _ in range(threads)]:
        each.result()
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
