"""Tensors on disk, safely: safetensors files that carry their own SHA-256, written whole or not at all.

The digest stands in the file's metadata under "sha256" and covers every byte of the file but its own 64 digits, so that
a flipped bit anywhere, header included, is found. Files of other programs carry none and are read as they are. Nothing
here executes a pickle: .pth and .pt files are read with torch's weights_only loader.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from siseon.interface import SiseonError, WeightsError

MARK = "siseon"
"""The metadata key of files written here; a file that has it must have a true digest."""

STATE_KEYS = ("state_dict", "model", "model_state_dict")
"""Where checkpoints of other programs keep the tensors."""

SIZES = ("sizing", "resize", "crop")
"""The size rule of a detector, and the two numbers of a classifier's."""

_BLANK = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Saveable(Protocol):
    """What `save_model` needs of a model."""

    classes: tuple[str, ...]

    @property
    def task(self) -> str:
        """The kind of answer: classification or detection."""

    @property
    def spec(self) -> dict[str, Any]:
        """What rebuilds the model, JSON-able."""

    def state_dict(self) -> dict[str, Any]:
        """The tensors by name."""


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write tensors and texts to one safetensors file, atomically, and give the SHA-256 of the whole file.

    The tensors may lie on any device and in any memory format. Raises SiseonError when the file cannot be written; what
    was there before is then untouched.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    texts = {MARK: _version(), **(metadata or {}), "sha256": _BLANK}
    content = safetensors.torch.save(_unshared(plain), texts)
    header, body = _header_in_order(content), memoryview(content)[8 + _header_length(content) :]
    start = _digest_at(header, path)
    digest = _sha256(header[:start], header[start + 64 :], body).encode()
    pieces = (header[:start], digest, header[start + 64 :], body)
    write_whole(path, pieces)
    return _sha256(*pieces)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file. Raises WeightsError when it is missing or damaged."""
    content = _bytes(path)
    data = memoryview(content)
    try:
        header = json.loads(content[8 : 8 + _header_length(content)])
        tensors = safetensors.torch.load(content)
        metadata = header.get("__metadata__", {})
    except (SafetensorError, ValueError, OverflowError, struct.error, KeyError, AttributeError, TypeError) as fault:
        raise _damaged(path, f"it is no whole safetensors file ({fault})") from fault
    if MARK in metadata or "sha256" in metadata:
        start = _digest_at(data, path)
        if _sha256(data[:start], data[start + 64 :]) != bytes(data[start : start + 64]).decode():
            raise _damaged(path, "its SHA-256 is not the one it was written with")
    return tensors, metadata


def read_any(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a .safetensors file, or of a .pth or .pt file of PyTorch, without executing anything in it.

    A PyTorch file holds a dictionary of tensors, or one under "state_dict", "model" or "model_state_dict"; its metadata
    is empty. Raises WeightsError.
    """
    if path.suffix == ".safetensors":
        return read(path)
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        raise WeightsError(
            f"{path} holds more than tensors, or is no PyTorch file; it was not opened",
            "Save its state_dict() alone: torch.save(model.state_dict(), file)",
        ) from fault
    except Exception as fault:  # its reader of damaged files meets anything, an IndexError for one
        raise _damaged(path, f"PyTorch cannot read it ({str(fault).partition(chr(10))[0]})") from fault
    return _tensors_in(content, path), {}


def save_model(model: Saveable, path: Path, **metadata: str) -> str:
    """Write a model's tensors and what rebuilds it: spec, task, classes, sizing or crop and resize, as JSON.

    metadata: further texts. Gives the SHA-256 of the file.
    """
    sizes = {name: getattr(model, name) for name in SIZES if hasattr(model, name)}
    facts = {"spec": model.spec, "task": model.task, "classes": model.classes, **sizes}
    texts = {name: json.dumps(fact, ensure_ascii=False) for name, fact in facts.items()}
    return write(path, model.state_dict(), {**texts, **metadata})


def restore_sizes(model: object, metadata: Mapping[str, str]) -> None:
    """Give a rebuilt model the picture sizes that it was saved with: training may have changed those of its spec."""
    for name in SIZES:
        if name in metadata and hasattr(model, name):
            size = json.loads(metadata[name])
            setattr(model, name, type(getattr(model, name))(*size) if name == "sizing" else size)


def write_whole(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file atomically: beside it, flushed to the disk, then renamed over it.

    A kill or a full disk at any moment leaves the former file. Raises SiseonError, naming the file.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        flush_folder(path.parent)
    except OSError as fault:
        with contextlib.suppress(OSError):
            part.unlink()
        if fault.errno in _NO_ROOM:
            raise SiseonError(
                f"the disk is full: {path} could not be written", "Make room and go on; what was saved before is whole"
            ) from fault
        raise SiseonError(
            f"{path} could not be written ({fault.strerror})", "Choose a folder that you may write to"
        ) from fault


def flush_folder(folder: Path) -> None:
    """Bring renames in a folder to the disk, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def file_digest(path: Path) -> str | None:
    """The SHA-256 of a whole file, or None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as fault:
        raise WeightsError(f"{path} is not there", "Check the name and the folder") from fault
    except OSError as fault:
        raise WeightsError(f"{path} cannot be read ({fault.strerror})", "Give a file that you may read") from fault


def _digest_at(data: bytes | memoryview, path: Path) -> int:
    """Where the 64 digits of the digest begin. Quotes within texts are escaped, so the pattern is unique."""
    found = _DIGEST.search(data[8 : 8 + _header_length(data)])
    if found is None:
        raise _damaged(path, "its SHA-256 is gone")
    return 8 + found.start(1)


def _header_in_order(content: bytes) -> bytes:
    """The header, its length before it, with the texts in the order of their names: the library's order is random."""
    header = json.loads(content[8 : 8 + _header_length(content)])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _header_length(data: bytes | memoryview) -> int:
    return int(struct.unpack("<Q", data[:8])[0])


def _sha256(*pieces: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _damaged(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"{path} is damaged: {reason}", "Copy or download it again, or take another file of the run")


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors that share memory with an earlier one, because a safetensors file cannot say so."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        whole = tensor.untyped_storage().nbytes() == tensor.nbytes
        if address in seen or not whole:
            tensors[name] = tensor.clone()
        seen.add(address)
    return tensors


def _check_archive(path: Path) -> None:
    """Test the checksums of a PyTorch file, which is a zip archive: torch itself does not."""
    if not path.is_file():
        _bytes(path)
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as fault:
        raise _damaged(path, str(fault)) from fault
    if wrong:
        raise _damaged(path, f"the checksum of {wrong} within it is wrong")


def _tensors_in(content: object, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        inner = next((content[key] for key in STATE_KEYS if isinstance(content.get(key), Mapping)), content)
        tensors = {str(name): value.detach() for name, value in inner.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise WeightsError(f"{path} holds no tensors by name", "Give a file with a state_dict")


def _version() -> str:
    try:
        return version("siseon")
    except PackageNotFoundError:  # run from the source tree
        return "0"
