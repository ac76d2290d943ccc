"""Every test: shapes and types of the tensor operators are checked, one thread, the same random numbers."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

from jaxtyping import install_import_hook

# An int is a float, as type checkers have it.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(["siseon.boxes", "siseon.losses", "siseon.metrics"], CHECKER)

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    """Call the command line in an empty folder; gives (exit code, stdout, stderr)."""
    from siseon import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    before = signal.getsignal(signal.SIGTERM), logging.getLogger("siseon").handlers

    def call(*words):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return end.value.code or 0, out, err

    yield call
    signal.signal(signal.SIGTERM, before[0])
    logging.getLogger("siseon").handlers = before[1]


@pytest.fixture
def fresh_python():
    """Run a line of Python in a process of its own."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(__file__).parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)

    return run
