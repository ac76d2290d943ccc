"""Threads for compiled loops: as many as torch has, started once, and anew in a process that was forked.

Within them torch works on one thread, so that a share of the work may call its operators too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Barrier

import torch

MAPS = Path("/proc/self/maps")
"""Where Linux says which files a process has loaded."""

OPENMP = ("libgomp", "libomp", "libiomp")
"""How the file names of the libraries begin that may hold the threads of torch."""


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


def in_torch_threads(work: Callable[[int], None], arguments: int) -> None:
    """Call a compiled function, by ctypes, with the address of its arguments in each of torch's threads.

    They are awake between two operators of torch, and begin within microseconds. How many there are is not promised:
    the function takes parts until none is left.
    """
    threads, library = torch.get_num_threads(), openmp()
    if threads == 1:
        work(arguments)
    elif library is None:
        in_threads(lambda part, parts: work(arguments), most=threads)
    else:
        library.GOMP_parallel(work, arguments, threads, 0)


@lru_cache(maxsize=1)
def openmp() -> ctypes.CDLL | None:
    """The library whose threads torch works with, of those that the process has loaded; Linux only."""
    if not MAPS.exists():
        return None
    files = {"/" + line.partition("/")[2] for line in MAPS.read_text(encoding="utf-8").splitlines()}
    own = str(Path(torch.__file__).parent)
    for file in sorted(files, key=lambda file: (not file.startswith(own), file)):
        if Path(file).name.startswith(OPENMP):
            with suppress(OSError):  # a file that was replaced since it was loaded
                if hasattr(library := ctypes.CDLL(file), "GOMP_parallel"):
                    library.GOMP_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
                    return library
    return None


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
