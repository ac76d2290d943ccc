"""`siseon describe` from photo to sentence, with an untrained detector that finds something everywhere."""

import numpy as np
import pytest
from PIL import Image

from siseon import build, save


@pytest.fixture
def files(tmp_path):
    """(a detector, a captioner, a folder of three photos, one of them broken, the others the same)."""
    detector = save(build("ssd_mini", classes=["dog", "고양이"]), tmp_path / "detector.safetensors")
    captioner = save(build("nic_mini", classes=["dog", "."], longest=3), tmp_path / "captioner.safetensors")
    folder = tmp_path / "사진"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for number in (1, 2):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"text")
    return detector, captioner, folder


@pytest.mark.parametrize(("language", "end"), [("ko", "다."), ("en", ".")])
def test_a_folder_is_described_and_an_equal_picture_is_no_news(run, files, language, end):
    detector, captioner, folder = files
    code, out, err = run(
        "describe", folder, "--model", detector, "--caption", captioner, "--score", "0.2", "--lang", language
    )
    assert code == 0
    (line,) = out.splitlines()
    assert "1.png: " in line and line.endswith(end)
    assert ("아마" in line or "것 같습니다" in line) if language == "ko" else ("may be" in line or "probably" in line)
    assert "passed over" in err and "3.png" in err


def test_nothing_found_is_said(run, files):
    code, out, _ = run("describe", files[2] / "1.png", "--model", files[0], "--score", "1.0")
    assert code == 0 and out.endswith("아는 것이 보이지 않습니다.\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), ("name pictures or a camera",)),
        (("--model", "detector.safetensors", "--camera", "97"), ("camera 97 gives no picture", "--camera 1")),
        (("1.png", "--model", "captioner.safetensors"), ("is for captioning, not for detection",)),
        (("1.png", "--model", "nowhere"), ("nowhere is no run folder",)),
    ],
)
def test_a_mistake_is_said_with_its_remedy(run, files, words, named):
    words = [files[2] / word if word == "1.png" else word for word in words]
    code, _, err = run("describe", *words)
    assert code == 2 and all(part in err for part in named)
