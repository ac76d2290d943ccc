"""Threads for compiled loops: as many as torch has, started once, and anew in a process that was forked.

Within them torch works on one thread, so that a share of the work may call its operators too.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Barrier, local

import torch

MAPS = Path("/proc/self/maps")
"""Where Linux says which files a process has loaded."""

OPENMP = ("libgomp", "libomp", "libiomp")
"""How the file names of the libraries begin that may hold the threads of torch."""


_watched = local()

MOST_RUNS = 64
"""Runs of parts that there are counters for; more threads than that share them."""


def in_threads(work: Callable[[int, int], None], *, most: int) -> None:
    """Call work(part, parts) for each part, as many as torch has threads but at most `most`; it must release the lock.

    A single part is done by the caller.
    """
    parts = max(min(torch.get_num_threads(), most), 1)
    if getattr(_watched, "note", None):
        raise NotRecordableError
    if parts == 1:
        work(0, 1)
    else:
        _in_pool(work, parts)


def _in_pool(work: Callable[[int, int], None], parts: int) -> None:
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


RUNS = (
    ("next", ctypes.c_int64 * MOST_RUNS),
    ("threads", ctypes.c_int64),
    ("who", ctypes.c_int64),
    ("parts", ctypes.c_int64),
)


class Shared(ctypes.Structure):
    """What a compiled function is told that divides its work among threads; `_fields_` are RUNS, and then its own.

    parts: how many there are. Each of `threads` has an equal run of them, and `next` counts what was taken of each run,
    so that a thread mostly works on the same place of one map after another, which its cache has; then it helps the
    others. who: the address of the function that numbers the threads, or 0.
    """

    def __init__(self, *values: float) -> None:
        """values: parts, and its own fields."""
        super().__init__((), 0, 0, *values)

    def begin(self) -> None:
        """Nothing has been taken."""
        self.next, self.threads, self.who = (), min(torch.get_num_threads(), MOST_RUNS), thread_number()


def in_torch_threads(work: Callable[[int], None], arguments: Shared) -> None:
    """Call a compiled function, by ctypes, with the address of its arguments in each of torch's threads.

    They are awake between two operators of torch, and begin within microseconds. How many there are is not promised:
    the function takes parts until none is left.
    """
    arguments.begin()
    if note := getattr(_watched, "note", None):
        note(work, arguments)
    threads, library, address = torch.get_num_threads(), openmp(), ctypes.addressof(arguments)
    if threads == 1:
        work(address)
    elif library is None:
        _in_pool(lambda part, parts: work(address), threads)
    else:
        library.GOMP_parallel(work, address, threads, 0)


@contextmanager
def watched(note: Callable[[Callable[[int], None], Shared], None]) -> Iterator[None]:
    """Tell of each function that this thread gives to torch's threads, and of its arguments, before it runs.

    Meanwhile `in_threads` raises NotRecordableError.
    """
    _watched.note = note
    try:
        yield
    finally:
        _watched.note = None


class NotRecordableError(Exception):
    """Somebody watches, and cannot repeat this."""


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


@lru_cache(maxsize=1)
def thread_number() -> int:
    """The address of the function that numbers torch's threads, from 0; 0 where there is none."""
    library = openmp()
    return (ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p).value or 0) if library else 0


@lru_cache(maxsize=1)
def barrier() -> int:
    """The address of the function by which torch's threads wait for each other; 0 where there is none."""
    library = openmp()
    if library is None or not hasattr(library, "GOMP_barrier"):
        return 0
    return ctypes.cast(library.GOMP_barrier, ctypes.c_void_p).value or 0


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
