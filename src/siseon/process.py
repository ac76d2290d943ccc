"""What a program may ask for its own process, so that predictions take less time; the numbers stay the same.

siseon's command line asks for both; in a program of yours they are calls, because they change more than a model.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from siseon.threads import openmp

CPUS = Path("/sys/devices/system/cpu")
"""Where Linux says which processors share a core."""


def keep_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back and clearing new pages.

    A step frees and asks for the same large blocks again; on Linux each fresh page costs about a microsecond. No effect
    elsewhere.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold, gigabyte = -1, -3, 1 << 30
    mallopt(mmap_threshold, gigabyte)
    mallopt(trim_threshold, 2 * gigabyte - 1)


def spread_threads() -> bool:
    """Give each of torch's threads but the caller's a core of its own, where torch works on all cores; whether it did.

    After a pause Linux may wake them all on one core, above all in a virtual machine, and parts them only after tens of
    milliseconds: MobileNetV2 at one picture each half second took 32 ms, spread 10 (2 cores). The caller, and threads
    and processes that it starts, may still run anywhere. Linux only; on other systems nothing happens.
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    cores, threads, library = _cores(sorted(os.sched_getaffinity(0))), torch.get_num_threads(), openmp()
    if library is None or threads < 2 or threads != len(cores):
        return False

    def settle(_: object) -> None:
        if number := library.omp_get_thread_num():
            with suppress(OSError):  # where a container forbids it, the thread stays as it is
                os.sched_setaffinity(0, {cores[number]})

    library.GOMP_parallel(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(settle), None, threads, 0)
    return True


def _cores(cpus: Sequence[int]) -> list[int]:
    """One processor of each core."""
    found: dict[str, int] = {}
    for cpu in cpus:
        file = CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        found.setdefault(file.read_text() if file.exists() else str(cpu), cpu)
    return list(found.values())
