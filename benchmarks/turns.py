"""Processes that work in turn, so that what else the machine does falls on all of them alike.

A worker is a command that answers lines on its stdin: to a question with one line of JSON, the milliseconds that it
took; to "peak" with the most memory that the process ever had, in MiB.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

PAUSE = 0.05
"""Seconds between two turns: idle threads of the engine before spin for a while, on a core that the next one needs."""

SOURCE = Path(__file__).parents[1] / "src"
"""Where every worker finds siseon, whatever is installed in its Python."""

AWAKE = 250
"""Milliseconds that an engine works in its turn at least; its last run counts. After a pause, which is the turn of the
others, a virtual machine wakes threads late and all on one core: a quick network takes two or three times as long then.
"""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one engine: median, least and greatest; peak: MiB of its process."""

    median: float
    least: float
    greatest: float
    peak: float


def in_turn(
    commands: Mapping[str, Sequence[str]], question: str = "run", *, runs: int, warm: int = 2, threads: int = 2
) -> tuple[dict[str, Times], list[str]]:
    """Ask each engine in turn, `warm` times without counting and `runs` times; and the engines that could not start."""
    from siseon.cli import IDLE_TURNS  # here, because the peer's workers import this file without siseon

    workers, absent = {}, []
    for engine, command in commands.items():
        paths = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
        if engine != "torchvision":  # as it comes; the others as the command line of siseon sets it
            environment["GOMP_SPINCOUNT"] = IDLE_TURNS
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        if worker.stdout.readline():
            workers[engine] = worker
        else:
            absent.append(f"{engine}: {(worker.stderr.read().strip().splitlines() or ['it ended'])[-1]}")
    taken = {engine: [] for engine in workers}
    for run in range(warm + runs):
        for engine, worker in workers.items():
            time.sleep(PAUSE)
            spent = milliseconds = asked(worker, question)
            while spent < AWAKE:
                spent += (milliseconds := asked(worker, question))
            if run >= warm:
                taken[engine].append(milliseconds)
    times = {
        engine: Times(statistics.median(each), min(each), max(each), asked(workers[engine], "peak"))
        for engine, each in taken.items()
    }
    for worker in workers.values():
        asked(worker, "end")
        worker.stdin.close()
        worker.wait()
    return times, absent


def asked(worker: subprocess.Popen, question: str) -> float:
    """The answer of a worker to one line."""
    worker.stdin.write(question + "\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(worker.stderr.read())
    return json.loads(line)


def answer(run: Callable[[str], object], end: Callable[[], object] = lambda: None) -> None:
    """The worker's side: call `run` with each question and say how long it took; `end` before the process ends."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        question = line.strip()
        if question == "peak":
            print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), flush=True)
        elif question == "end":
            end()
            print(json.dumps(0), flush=True)
        else:
            start = time.perf_counter()
            run(question)
            print(json.dumps(1000 * (time.perf_counter() - start)), flush=True)


def tune() -> None:
    """What siseon's command line asks for its process, for a peer whose Python does not have siseon."""
    spec = spec_from_file_location("process", SOURCE / "siseon" / "process.py")
    process = module_from_spec(spec)
    spec.loader.exec_module(process)
    process.keep_memory()
    process.spread_threads()
