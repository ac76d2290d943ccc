"""The saved state of a run: whole at every moment, whatever kills the process.

A folder holds manifest.json (file -> SHA-256, and step and epoch) and the safetensors files it names. Saving writes
each file as NAME.new, then replaces manifest.json, which is the moment at which the new state counts, then renames each
NAME.new over NAME. A NAME that is not the one in the manifest therefore is an older one whose successor still is called
NAME.new: `finish` renames it. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from siseon import tensorfile
from siseon.interface import WeightsError

LAST, BEST, STATE = "last.safetensors", "best.safetensors", "state.safetensors"
MANIFEST = "manifest.json"

Writer = Callable[[Path], str]
"""Writes one file and gives its SHA-256."""


@dataclass(frozen=True, slots=True)
class State:
    """What a run needs to go on, beside the model: tensors by name, and facts as JSON."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def save(folder: Path, writers: Mapping[str, Writer], *, step: int, epoch: int) -> None:
    """Replace the files named in `writers`, all of them or none; others of the folder stay in the manifest.

    Raises SiseonError when the disk is full; the state saved before is then still whole.
    """
    files = dict(_manifest(folder)["files"]) if (folder / MANIFEST).exists() else {}
    for name, writer in writers.items():
        files[name] = writer(folder / f"{name}.new")
    text = json.dumps({"step": step, "epoch": epoch, "files": files}, indent=1)
    tensorfile.write_whole(folder / MANIFEST, [text.encode()])
    for name in writers:
        (folder / f"{name}.new").replace(folder / name)
    tensorfile.flush_folder(folder)


def finish(folder: Path) -> dict[str, Any]:
    """Finish a save that was interrupted after it counted, check every file, and give the manifest.

    Raises WeightsError naming a file that is missing or damaged.
    """
    manifest = _manifest(folder)
    for name, digest in manifest["files"].items():
        (folder / f"{name}.new.part").unlink(missing_ok=True)
        if tensorfile.file_digest(folder / name) == digest:
            (folder / f"{name}.new").unlink(missing_ok=True)
        elif tensorfile.file_digest(folder / f"{name}.new") == digest:
            (folder / f"{name}.new").replace(folder / name)
        else:
            raise WeightsError(f"{folder / name} is missing or damaged", _remedy(folder, name, manifest["files"]))
    tensorfile.flush_folder(folder)
    return manifest


def read_state(folder: Path) -> State:
    """The state that a `finish`ed folder holds."""
    tensors, metadata = tensorfile.read(folder / STATE)
    return State(tensors, json.loads(metadata["facts"]))


def state_writer(state: State) -> Writer:
    """What writes a state."""
    facts = json.dumps(state.facts, ensure_ascii=False)
    return lambda path: tensorfile.write(path, state.tensors, {"facts": facts})


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimizer, as optimizer/NUMBER OF THE PARAMETER/NAME."""
    content = optimizer.state_dict()["state"]
    return {
        f"optimizer/{number}/{name}": value
        for number, entries in content.items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer of the same parameters its tensors back; its settings come from the recipe."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    content: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            number, _, name = rest.partition("/")
            content.setdefault(int(number), {})[name] = _laid_out_as(parameters[int(number)], value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": content})


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """In the parameter's memory format: arithmetic in another order of memory may differ in the last bit."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest["files"], dict):
            raise TypeError(manifest)
        return manifest
    except OSError as fault:
        raise WeightsError(
            f"{folder} holds no saved run (there is no readable {MANIFEST})",
            "Name the folder of a run, which the training printed at its start",
        ) from fault
    except (ValueError, KeyError, TypeError) as fault:
        raise WeightsError(f"{path} is damaged", f"Start from {folder / LAST} with --weights") from fault


def _remedy(folder: Path, name: str, files: Mapping[str, str]) -> str:
    """Which whole file of the run may still be used."""
    for other in (LAST, BEST):
        if other != name and other in files and tensorfile.file_digest(folder / other) == files[other]:
            return f"{folder / other} is whole: use it to predict, or train on from it with --weights"
    return "Copy the run from a backup, or train again"
