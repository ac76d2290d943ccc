"""train, sample and style as a user meets them: any pictures, faults in a line, what is left on the disk."""

import numpy as np
import pytest
from PIL import Image

from siseon import save, zoo
from siseon.training import records


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(records, "plot", lambda rows: b"a picture")


@pytest.fixture
def photos(tmp_path):
    """A folder of a few photos in colour, without classes; one is broken."""
    folder = tmp_path / "사진"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(random.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"text")
    return folder


def test_a_game_over_any_photos_is_trained_resumed_and_sampled(run, photos, tmp_path):
    words = ["dcgan_mini", "--data", photos, "epochs=1", "batch=3", "workers=0", "imgsz=16", "--options", "width=4"]
    code, out, _ = run("train", *words, "--out", "놀이")
    assert code == 0 and "colour pictures: epochs 1, batch 3, lr 0.0002" in out
    assert "siseon sample 놀이" in out and (tmp_path / "놀이" / "samples.gif").exists()
    assert "broken.png" in (tmp_path / "놀이" / "log.txt").read_text(encoding="utf-8")
    before = (tmp_path / "놀이" / "best.safetensors").read_bytes()
    assert run("train", "--resume", "놀이")[0] == 0
    assert (tmp_path / "놀이" / "best.safetensors").read_bytes() == before
    for name in ("a.png", "b.png"):
        assert run("sample", "놀이", "--count", "6", "--columns", "3", "--seed", "4", "--out", name)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as grid:
        assert grid.width % (3 * 18 + 2) == 0 and grid.width * (2 * 18 + 2) == grid.height * (3 * 18 + 2)
    code, out, _ = run("sample", "놀이")
    assert code == 0 and "grid.png" in out and (tmp_path / "runs" / "sample-1" / "grid.png").exists()


def test_grey_pictures_make_a_grey_generator(run, tmp_path):
    (tmp_path / "grey").mkdir()
    for number in range(4):
        Image.fromarray(np.full((16, 16), 40 * number, np.uint8)).save(tmp_path / "grey" / f"{number}.png")
    words = [
        "gan_mini",
        "--data",
        "grey",
        "epochs=1",
        "batch=8",  # usual elsewhere; said, it holds here too
        "workers=0",
        "imgsz=16",
        "--options",
        "hidden=[8]",
        "judging=[4]",
    ]
    code, out, _ = run("train", *words, "--out", "run")
    assert code == 0 and "grey pictures: epochs 1, batch 8, lr 0.0002" in out


def test_what_makes_pictures_neither_predicts_nor_is_it_evaluated(run, tmp_path):
    save(zoo.create("dcgan_mini", width=4, size=8), tmp_path / "made.safetensors")
    for words in (("evaluate", "made.safetensors", "--data", "digits"), ("predict", "made.safetensors", "made.png")):
        Image.new("RGB", (8, 8)).save(tmp_path / "made.png")
        code, _, err = run(*words)
        assert code == 2 and "siseon sample made.safetensors" in err and len(err.splitlines()) == 2


def test_faults_of_sample_are_said_in_a_line(run, tmp_path):
    save(zoo.create("lenet_modern"), tmp_path / "lenet.safetensors")
    code, _, err = run("sample", "lenet.safetensors")
    assert code == 2 and "makes no pictures" in err
    assert run("sample", "nowhere")[0] == 2
    for wrong in (("--count", "0"), ("--columns", "0")):
        assert run("sample", "lenet.safetensors", *wrong)[0] == 2
    assert not (tmp_path / "runs").exists()


def test_a_photo_is_painted(run, photos, tmp_path):
    save(zoo.create("vgg_mini"), tmp_path / "눈.safetensors")
    words = ["--model", "vgg_mini", "--weights", "눈.safetensors", "--size", "32", "--steps", "2", "--keep-colour"]
    code, out, _ = run("style", photos / "0.png", photos / "1.png", *words, "--out", "그림")
    assert code == 0 and "그림/result.png" in out
    assert {path.name for path in (tmp_path / "그림").iterdir()} == {"result.png", "steps", "losses.csv", "losses.png"}
    with Image.open(tmp_path / "그림" / "result.png") as painting:
        assert painting.size == (32, 27)


def test_faults_of_style_are_said_in_a_line(run, photos, tmp_path):
    picture = photos / "0.png"
    for words, said in (
        ((picture, "nowhere.jpg"), "nowhere.jpg"),
        ((picture, photos / "broken.png"), "broken.png"),
        ((picture, picture, "--model", "ssd"), "no classifier"),
        ((picture, picture, "--model", "vgg_mini", "--weights", "nowhere.safetensors"), "nowhere.safetensors"),
    ):
        code, _, err = run("style", *words)
        assert code == 2 and said in err and "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_both_players_are_taken_apart(run):
    code, out, _ = run("inspect", "dcgan_mini")
    assert code == 0 and "Generator" in out and "Discriminator" in out
    assert "transposed" in out


def test_faults_of_a_game_are_said_in_a_line(run, photos, tmp_path):
    (tmp_path / "빈 폴더").mkdir()
    (tmp_path / "파일").write_text("mine")
    words = ["train", "dcgan_mini", "--data", photos, "epochs=1", "workers=0", "--options"]
    for more, said in (
        ([*words[:3], "빈 폴더"], "빈 폴더 holds no pictures"),
        ([*words, "width=넓이"], "dcgan_mini cannot be built with channels=3, width=넓이"),
        ([*words, "width=0"], "width = 0"),
        ([*words, "latent=0"], "latent = 0"),
        ([*words, "width=4", "--out", "파일/안"], "파일 is a file, not a folder"),
        ([*words, "width=4", "--out", photos / "안"], "whose next reader"),
    ):
        code, _, err = run(*more)
        assert code == 2 and said in err and [line.split(":")[0] for line in err.splitlines()] == ["error", "remedy"]
    assert {path.name for path in tmp_path.iterdir()} == {"빈 폴더", "파일", "사진"} and not (photos / "안").exists()


def test_a_single_picture_of_one_pixel_is_no_fault(run, tmp_path):
    (tmp_path / "점").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "점" / "한 점.png")
    words = ["dcgan_mini", "--data", "점", "epochs=1", "workers=0", "imgsz=16", "--options", "width=4"]
    assert run("train", *words, "--out", "놀이")[0] == 0
