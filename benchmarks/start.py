"""How long `import siseon` and `siseon --help` take in a new process, beside `import torch`."""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.rows import Row
from benchmarks.turns import Times

PROGRAMS = {
    "siseon --help": ["-m", "siseon", "--help"],
    "siseon import": ["-c", "import siseon"],
    "python alone": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
}


def measured(given: argparse.Namespace) -> Iterator[Row]:
    """One row."""
    taken = {name: [] for name in PROGRAMS}
    for _ in range(given.runs):
        for name, arguments in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            taken[name].append(1000 * (time.perf_counter() - start))
    times = {name: Times(sorted(each)[len(each) // 2], min(each), max(each), 0) for name, each in taken.items()}
    torch_comes = subprocess.run(
        [sys.executable, "-c", "import sys, siseon.cli; print('torch' in sys.modules)"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    yield Row("start", "a new process", times, "siseon --help", note=f"torch imported: {torch_comes}")
