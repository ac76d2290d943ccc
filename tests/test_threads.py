"""Compiled loops share their work among threads."""

import multiprocessing
import threading

import pytest
import torch

from siseon.threads import in_threads


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("most", "parts"), [(1, 1), (2, 2), (3, 3), (100, 3), (0, 1)])
def test_each_part_is_done_once(most, parts):
    done = []
    in_threads(lambda part, of: done.append((part, of)), most=most)
    assert sorted(done) == [(part, parts) for part in range(parts)]


def test_torch_has_one_thread_within_and_all_outside():
    inside = []
    in_threads(lambda part, parts: inside.append(torch.get_num_threads()), most=3)
    assert inside == [1, 1, 1]
    assert torch.get_num_threads() == 3


def test_a_fault_reaches_the_caller():
    def work(part, parts):
        if part == 2:
            raise ValueError("of part 2")

    with pytest.raises(ValueError, match="of part 2"):
        in_threads(work, most=3)


def test_callers_in_several_threads():
    done = []
    callers = [
        threading.Thread(target=in_threads, args=(lambda part, parts: done.append(part),), kwargs={"most": 3})
        for _ in range(5)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert sorted(done) == sorted([0, 1, 2] * 5)


def in_the_child():
    torch.set_num_threads(2)
    in_threads(lambda part, parts: None, most=2)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_process_starts_its_own():
    in_threads(lambda part, parts: None, most=3)
    child = multiprocessing.get_context("fork").Process(target=in_the_child)
    child.start()
    child.join(30)
    hangs = child.is_alive()
    child.kill()
    assert not hangs
    assert child.exitcode == 0
