"""What `siseon checks` says is so."""

import json
import tomllib
from pathlib import Path

import torch

from siseon import surroundings
from siseon.commands.surroundings import checks
from siseon.surroundings import EXTRAS, extra, features, published
from siseon.weights import PUBLISHED

ROOT = Path(__file__).parents[1]


def test_every_extra_of_the_package_is_looked_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {name: tuple(each.partition(">")[0] for each in packages) for name, packages in extras.items()}
    del named["dev"]
    assert named.items() <= EXTRAS.items()


def test_the_whole_screen(capsys):
    checks()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 + len(EXTRAS) and len(lines) < 25
    rows = {line[:19].strip(): line[19:].strip() for line in lines}
    assert rows["torch"].startswith(f"{torch.__version__}, {torch.get_num_threads()} threads")
    assert rows["kernels"].startswith("compiled by numba")
    assert "Hangul" in rows["font"]
    checks(json=True)
    assert set(json.loads(capsys.readouterr().out)) == set(rows)


def test_without_onednn_it_says_so(monkeypatch):
    monkeypatch.setattr(surroundings, "has_operators", lambda: False)
    assert "bf16" not in " ".join(features())
    assert "norms folded only" in surroundings.surroundings()["optimize"]


def test_a_missing_package_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setitem(EXTRAS, "other", ("numpy", "no-such-package-anywhere"))
    assert extra("other") == "not installed: pip install siseon[other]"
    monkeypatch.setitem(EXTRAS, "other", ("numpy",))
    assert extra("other").startswith("numpy 2")


def test_published_weights_are_found(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert published() == f"{tmp_path / 'checkpoints'}: none yet"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / PUBLISHED["resnet50", "imagenet"]).touch()
    (tmp_path / "checkpoints" / "another.pth").touch()
    assert published().endswith(": resnet50 (imagenet)")
