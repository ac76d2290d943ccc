"""`siseon export` and `siseon checks` as a user meets them."""

from pathlib import Path

import pytest

from siseon import build, exported, save


def test_a_file_and_its_small_one_are_written_and_can_be_evaluated(run, tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    save(build("mlp_mini", classes=tuple("0123456789")), tmp_path / "숫자.safetensors")
    code, out, err = run("export", "숫자.safetensors", "--int8", "--data", "digits")
    first, second = out.splitlines()
    assert (code, err) == (0, "")
    assert first.startswith("숫자.onnx: ") and "MB, " in first and first.endswith("from torch at most")
    assert second.startswith("숫자-int8.onnx: ") and "8 bits" in second
    assert Path("숫자-int8.onnx").stat().st_size < Path("숫자.onnx").stat().st_size
    code, out, _ = run("evaluate", "숫자-int8.onnx", "--data", "digits", "--out", "figures")
    assert code == 0 and "accuracy" in out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nowhere",), ("nowhere", "--weights")),
        (("nowhere.safetensors",), ("nowhere.safetensors",)),
        (("rcnn.safetensors",), ("FastRCNN", "Selective Search", "faster_rcnn")),
        (("rcnn.safetensors", "--int8"), ("--int8", "--data")),
        (("rcnn.safetensors", "--to", "tflite"), ("onnx",)),
    ],
)
def test_a_mistake_is_said_in_a_line_with_the_remedy(run, tmp_path, monkeypatch, words, named):
    monkeypatch.setattr(exported, "find_spec", lambda name: name)
    save(build("fast_rcnn_mini", classes=2), tmp_path / "rcnn.safetensors")
    code, _, err = run("export", *words)
    assert code == 2 and all(part in err for part in named) and "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["rcnn.safetensors"]


def test_a_missing_package_is_said_before_anything_is_read(run, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    code, _, err = run("export", "nowhere")
    assert (code, err) == (2, "error: onnx is not installed\nremedy: pip install siseon[export]\n")


def test_checks_fill_a_screen_and_end_well(run):
    code, out, err = run("checks")
    assert (code, err) == (0, "")
    assert "torch" in out and "extra export" in out and len(out.splitlines()) < 25
