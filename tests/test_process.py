"""Memory and threads of a process, asked for in one of their own."""

import os

import pytest

LINUX = hasattr(os, "sched_setaffinity")

SPREAD = """
import os, subprocess, sys, torch
from siseon import process
torch.set_num_threads({threads})
print(process.spread_threads(), len(process._cores(sorted(os.sched_getaffinity(0)))))
print(*(len(os.sched_getaffinity(int(each))) for each in os.listdir("/proc/self/task")))
print(len(os.sched_getaffinity(0)), flush=True)
subprocess.run([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"], check=True)
"""


@pytest.mark.skipif(not LINUX, reason="only Linux binds threads")
def test_each_thread_but_the_callers_has_a_core(fresh_python):
    all_cpus = len(os.sched_getaffinity(0))
    lines = fresh_python(SPREAD.format(threads="len(process._cores(sorted(os.sched_getaffinity(0))))")).stdout.split(
        "\n"
    )
    done, cores = lines[0].split()
    bound = [each for each in lines[1].split() if each == "1"]
    if all_cpus > 1 and done == "True":
        assert len(bound) == int(cores) - 1
    assert lines[2] == lines[3] == str(all_cpus)


@pytest.mark.skipif(not LINUX, reason="only Linux binds threads")
def test_one_thread_is_left_alone(fresh_python):
    assert fresh_python(SPREAD.format(threads=1)).stdout.startswith("False")


def test_memory_that_is_kept_is_not_paged_in_again(fresh_python):
    faults = fresh_python(
        "import resource, numpy as np; from siseon.process import keep_memory\n"
        "keep_memory()\n"
        "def work(): np.ones(5_000_000)\n"
        "work(); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "work(); print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    assert int(faults.stdout) < 1000 or not LINUX
