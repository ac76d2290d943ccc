"""Tensors on disk: what is written comes back, and nothing damaged, foreign or dangerous gets through."""

import errno
import hashlib
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siseon import tensorfile
from siseon.interface import SiseonError, Sizing, WeightsError

TENSORS = {
    "weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "nothing": torch.zeros(0, 4),
    "mask": torch.tensor([True, False]),
}
TEXTS = {"classes": json.dumps(["원", "사각형"], ensure_ascii=False), "note": 'a "quoted" \\ line\n', "sha256x": "y"}


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "모델 하나.safetensors"
    tensorfile.write(path, TENSORS, TEXTS)
    return path


def same(given, wanted):
    return given.keys() == wanted.keys() and all(
        given[name].dtype == wanted[name].dtype and torch.equal(given[name], wanted[name]) for name in wanted
    )


def test_tensors_and_texts_come_back(written):
    tensors, metadata = tensorfile.read(written)
    assert same(tensors, TENSORS)
    assert {name: metadata[name] for name in TEXTS} == TEXTS


def test_the_library_alone_reads_the_same(written):
    assert same(safetensors.torch.load_file(written), TENSORS)


def test_write_gives_the_digest_of_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    assert tensorfile.write(path, TENSORS) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert tensorfile.file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_content_gives_the_same_bytes(tmp_path):
    texts = {f"text {index}": str(index) for index in range(20)}
    digests = {tensorfile.write(tmp_path / f"{index}.safetensors", TENSORS, texts) for index in range(5)}
    assert len(digests) == 1


@settings(max_examples=25, deadline=None)
@given(texts=st.dictionaries(st.text(min_size=1), st.text()), name=st.text(min_size=1))
def test_any_text_comes_back(tmp_path_factory, texts, name):
    texts = {
        key.encode(errors="replace").decode(): value.encode(errors="replace").decode() for key, value in texts.items()
    }
    name = name.encode(errors="replace").decode()
    texts = {key: value for key, value in texts.items() if key not in ("sha256", "siseon")}
    path = tmp_path_factory.mktemp("any") / "a.safetensors"
    if name == "__metadata__":
        return
    tensorfile.write(path, {name: torch.ones(2)}, texts)
    tensors, metadata = tensorfile.read(path)
    assert list(tensors) == [name]
    assert {key: metadata[key] for key in texts} == texts


def test_no_tensors_at_all(tmp_path):
    tensorfile.write(tmp_path / "a.safetensors", {})
    assert tensorfile.read(tmp_path / "a.safetensors")[0] == {}


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": TENSORS["weight"], "b": TENSORS["weight"]},
        {"a": TENSORS["weight"], "b": TENSORS["weight"][1]},
        {"a": TENSORS["weight"].to(memory_format=torch.channels_last)},
        {"a": TENSORS["weight"].permute(1, 0, 2, 3)[:2]},
        {"a": torch.nn.Parameter(TENSORS["weight"].clone())},
    ],
    ids=["tied", "view", "channels last", "permuted", "parameter"],
)
def test_shared_and_strided_tensors(tmp_path, tensors):
    tensorfile.write(tmp_path / "a.safetensors", tensors)
    assert same(tensorfile.read(tmp_path / "a.safetensors")[0], tensors)


def test_every_kind_of_flipped_bit_is_refused(written):
    content = written.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    numbers = random.Random(0)
    places = [*range(8 * 8), *(numbers.randrange(8 * 8, 8 * header) for _ in range(300))]
    places += [numbers.randrange(8 * header, 8 * len(content)) for _ in range(100)]
    for place in places:
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        written.write_bytes(damaged)
        with pytest.raises(WeightsError, match="모델 하나"):
            tensorfile.read(written)


def test_every_truncation_is_refused(written):
    content = written.read_bytes()
    for length in range(0, len(content), 7):
        written.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="모델 하나"):
            tensorfile.read(written)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        b"\xff" * 64,
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 20) + b'{"__metadata__":null}',
        struct.pack("<Q", 6) + b'{"a":1',
        pickle.dumps({"a": 1}),
        b"PK\x03\x04 not a zip",
    ],
    ids=range(10),
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_rubbish_is_refused_by_name(tmp_path, content, suffix):
    path = tmp_path / f"쓰레기{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="쓰레기"):
        tensorfile.read_any(path)


def test_a_lost_digest_is_noticed(written):
    written.write_bytes(written.read_bytes().replace(b'"sha256":', b'"sha255":'))
    with pytest.raises(WeightsError, match="SHA-256"):
        tensorfile.read(written)


def test_files_of_others_have_no_digest_and_are_read(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"format": "pt"})
    tensors, metadata = tensorfile.read(path)
    assert same(tensors, TENSORS)
    assert metadata == {"format": "pt"}


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pth", "folder.safetensors", "folder.pth"])
def test_what_is_no_file_is_named(tmp_path, name):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(WeightsError, match=name):
        tensorfile.read_any(tmp_path / name)


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"state_dict": t, "epoch": 3}, lambda t: {"model": t}])
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_are_read(tmp_path, wrap, zipped):
    path = tmp_path / "가중치.pth"
    torch.save(wrap(TENSORS), path, _use_new_zipfile_serialization=zipped)
    tensors, metadata = tensorfile.read_any(path)
    assert same(tensors, TENSORS)
    assert metadata == {}


@pytest.mark.parametrize("content", [{}, [torch.ones(2)], {"a": 1}, torch.ones(2)], ids=str)
def test_pytorch_files_without_named_tensors(tmp_path, content):
    path = tmp_path / "a.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"a\.pt"):
        tensorfile.read_any(path)


class Payload:
    """What it would run if it were unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function", [os.mkdir, os.system, eval, exec, Path, subprocess.getoutput], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("zipped", [True, False])
def test_no_pickle_is_executed(tmp_path, function, zipped):
    trace = tmp_path / "trace"
    argument = {eval: f"__import__('os').mkdir({str(trace)!r})", exec: f"__import__('os').mkdir({str(trace)!r})"}
    path = tmp_path / "evil.pth"
    content = {"weight": torch.ones(2), "payload": Payload(function, argument.get(function, str(trace)))}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="evil"):
        tensorfile.read_any(path)
    assert not trace.exists()


def test_a_flipped_bit_in_a_pytorch_file_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"weight": torch.rand(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        data = next(entry for entry in archive.infolist() if entry.filename.endswith("data/0"))
    content = bytearray(path.read_bytes())
    for offset in (200, 1000, 3999):
        damaged = content.copy()
        damaged[data.header_offset + offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            tensorfile.read_any(path)


class Small(torch.nn.Linear):
    """A model with all that is saved."""

    task = "detection"
    classes = ("원", "네모")
    spec = {"name": "small", "arguments": {"classes": 2}}  # noqa: RUF012

    def __init__(self):
        super().__init__(3, 2)
        self.sizing = Sizing(160, 256, 32)


def test_a_model_is_saved_with_what_rebuilds_it(tmp_path):
    model = Small()
    tensorfile.save_model(model, tmp_path / "m.safetensors", epoch="3")
    tensors, metadata = tensorfile.read(tmp_path / "m.safetensors")
    assert same(tensors, model.state_dict())
    assert json.loads(metadata["spec"]) == model.spec
    assert json.loads(metadata["classes"]) == list(model.classes)
    assert json.loads(metadata["sizing"]) == [160, 256, 32]
    assert metadata["epoch"] == "3"
    assert metadata["task"] == '"detection"'


def test_sizes_are_restored(tmp_path):
    model, other = Small(), Small()
    model.sizing = Sizing(96, 160, 32)
    tensorfile.save_model(model, tmp_path / "m.safetensors")
    tensorfile.restore_sizes(other, tensorfile.read(tmp_path / "m.safetensors")[1])
    assert other.sizing == Sizing(96, 160, 32)
    assert isinstance(other.sizing, Sizing)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_former_file(written, monkeypatch, number):
    before = written.read_bytes()

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SiseonError, match=r"disk is full.*모델 하나"):
        tensorfile.write(written, {"other": torch.ones(3)})
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


LIMITED = """
import resource, signal, sys, torch
from pathlib import Path
from siseon import tensorfile
from siseon.interface import SiseonError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path(sys.argv[1])
tensorfile.write(path, {"small": torch.ones(100)})
try:
    tensorfile.write(path, {"large": torch.ones(100_000)})
except SiseonError as fault:
    print(fault.problem)
print(list(tensorfile.read(path)[0]), [file.name for file in path.parent.iterdir()])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
def test_a_disk_that_is_full_in_the_middle_of_a_file(tmp_path):
    path = tmp_path / "model.safetensors"
    result = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert "the disk is full" in result.stdout
    assert result.stdout.splitlines()[-1] == "['small'] ['model.safetensors']"


def test_a_folder_without_rights_is_named(tmp_path):
    with pytest.raises(SiseonError, match="could not be written"):
        tensorfile.write(tmp_path / "no folder" / "a.safetensors", TENSORS)
