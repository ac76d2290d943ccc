"""A saved state is whole whatever kills the process that saves, and damage is found and named."""

import json
import os
import random
from pathlib import Path

import pytest
import torch

from siseon import tensorfile
from siseon.interface import SiseonError, WeightsError
from siseon.training import checkpoint
from siseon.training.checkpoint import BEST, LAST, MANIFEST, STATE, State

NAMES = (LAST, BEST, STATE)


def save(folder, value, names=NAMES):
    """Save a state of which every tensor is `value`."""
    content = {"weight": torch.full((5,), float(value))}
    writers = {name: (lambda path: tensorfile.write(path, content, {"facts": "{}"})) for name in names}
    checkpoint.save(folder, writers, step=value, epoch=0)


def values(folder):
    """(step of the manifest, the value in each of its files)."""
    manifest = checkpoint.finish(folder)
    found = {name: int(tensorfile.read(folder / name)[0]["weight"][0]) for name in manifest["files"]}
    return manifest["step"], found


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code catches it."""


def dying(function, after):
    """`function`, which dies instead of its call number `after`, from 0; calls afterwards die too."""
    calls = []

    def call(*arguments, **more):
        calls.append(0)
        if len(calls) > after:
            raise Killed
        return function(*arguments, **more)

    return call


@pytest.mark.parametrize("former", [True, False])
@pytest.mark.parametrize(("owner", "name", "calls"), [(Path, "replace", 7), (os, "fsync", 9), (Path, "open", 9)])
def test_a_death_at_any_moment_leaves_the_former_state_or_the_new_one(
    tmp_path, monkeypatch, former, owner, name, calls
):
    seen = set()
    for after in range(calls + 1):
        folder = tmp_path / str(after)
        folder.mkdir()
        if former:
            save(folder, 1)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(getattr(owner, name), after))
            try:
                save(folder, 2)
                survived = True
            except Killed:
                survived = False
        if not former and not (folder / MANIFEST).exists():
            continue
        step, found = values(folder)
        assert found == dict.fromkeys(NAMES, step)
        assert step == 2 or (former and step == 1 and not survived)
        seen.add(step)
        assert sorted(path.name for path in folder.iterdir() if not path.name.endswith(".part")) >= sorted(
            [*NAMES, MANIFEST]
        )
        save(folder, 3)
        assert values(folder) == (3, dict.fromkeys(NAMES, 3))
    assert seen == ({1, 2} if former else {2})


def test_the_best_stays_when_it_is_not_saved_anew(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2, names=(LAST, STATE))
    assert values(tmp_path) == (2, {LAST: 2, BEST: 1, STATE: 2})


def test_an_unfinished_save_that_did_not_count_is_forgotten(tmp_path):
    save(tmp_path, 1)
    tensorfile.write(tmp_path / f"{LAST}.new", {"weight": torch.zeros(5)})
    assert values(tmp_path) == (1, dict.fromkeys(NAMES, 1))
    assert not (tmp_path / f"{LAST}.new").exists()


@pytest.mark.parametrize("name", NAMES)
def test_flipped_bits_are_found(tmp_path, name):
    save(tmp_path, 1)
    content = (tmp_path / name).read_bytes()
    numbers = random.Random(name)
    for place in (numbers.randrange(8 * len(content)) for _ in range(100)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(WeightsError, match=name):
            checkpoint.finish(tmp_path)


def test_a_missing_file_is_named_with_what_is_left(tmp_path):
    save(tmp_path, 1)
    (tmp_path / STATE).unlink()
    with pytest.raises(WeightsError, match=r"state\.safetensors is missing.*last\.safetensors is whole"):
        checkpoint.finish(tmp_path)


def test_all_lost(tmp_path):
    save(tmp_path, 1)
    for name in NAMES:
        (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match="train again"):
        checkpoint.finish(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', "\x00"])
def test_a_damaged_manifest(tmp_path, text):
    save(tmp_path, 1)
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=MANIFEST):
        checkpoint.finish(tmp_path)


@pytest.mark.parametrize("folder", ["없는 폴더", "."])
def test_a_folder_without_a_run(tmp_path, folder):
    with pytest.raises(WeightsError, match="no saved run"):
        checkpoint.finish(tmp_path / folder)


def test_a_full_disk_leaves_the_former_state(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(handle):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SiseonError, match="disk is full"):
            save(tmp_path, 2)
    assert values(tmp_path) == (1, dict.fromkeys(NAMES, 1))


def test_facts_come_back(tmp_path):
    facts = {"course": {"step": 3, "best": -float("inf"), "history": [{"손실": 0.1 + 0.2}]}}
    checkpoint.state_writer(State({"a": torch.ones(2)}, facts))(tmp_path / STATE)
    state = checkpoint.read_state(tmp_path)
    assert state.facts == facts
    assert torch.equal(state.tensors["a"], torch.ones(2))


def stepped(optimizer_class, steps, optimizer=None, layers=None, **settings):
    """A small network after some steps, and its optimizer."""
    if layers is None:
        torch.manual_seed(0)
        layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
        layers = layers.to(memory_format=torch.channels_last)
    optimizer = optimizer or optimizer_class(layers.parameters(), **settings)
    for step in steps:
        torch.manual_seed(step)
        layers(torch.rand(2, 3, 4, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return layers, optimizer


@pytest.mark.parametrize(
    ("optimizer_class", "settings"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.SGD, {"lr": 0.1}),
        (torch.optim.AdamW, {"lr": 0.01}),
    ],
)
@pytest.mark.parametrize("before", [0, 3])
def test_an_optimizer_goes_on_to_the_bit(tmp_path, optimizer_class, settings, before):
    whole, _ = stepped(optimizer_class, range(6), **settings)
    layers, optimizer = stepped(optimizer_class, range(before), **settings)
    tensorfile.write(tmp_path / "a.safetensors", {**layers.state_dict(), **checkpoint.optimizer_state(optimizer)})
    tensors = tensorfile.read(tmp_path / "a.safetensors")[0]

    other, fresh = stepped(optimizer_class, (), **settings)
    other.load_state_dict({name: tensors[name] for name in other.state_dict()})
    checkpoint.restore_optimizer(fresh, tensors)
    stepped(optimizer_class, range(before, 6), fresh, other)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), other.parameters(), strict=True))


def test_the_manifest_holds_the_digest_of_each_file(tmp_path):
    save(tmp_path, 4)
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"] == {name: tensorfile.file_digest(tmp_path / name) for name in NAMES}
