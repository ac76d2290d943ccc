"""The command line as a user meets it: options, faults in one line, exit codes, and what is left on the disk."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from siseon import build, cli, save
from siseon.commands.output import next_folder
from siseon.commands.training import _of_a_size_that_suits, train
from siseon.training.interruption import Interrupted
from siseon.training.recipe import Recipe
from siseon.zoo import Task

SOURCE = Path(__file__).parents[1] / "src"


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """A folder data set of two classes, red and blue, one of them in Hangul; one file is broken."""
    root = tmp_path_factory.mktemp("자료") / "꽃"
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for name, channel in (("빨강", 0), ("blue", 2)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 60, (40, 48, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "train" / "blue" / "broken.png").write_bytes(b"this is text")
    return root


@pytest.fixture(scope="session")
def trained(flowers, tmp_path_factory):
    """The run folder of a small classifier after one epoch."""
    folder = tmp_path_factory.mktemp("run") / "꽃"
    words = ["train", "resnet_mini", "--data", flowers, "epochs=1", "batch=4", "workers=0", "imgsz=32", "--out", folder]
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    assert end.value.code == 0
    return folder


# --- before anything is imported -----

CALL = "import sys; from siseon import cli\ntry: cli.main"
AFTERWARDS = "\nfinally: print('torch' in sys.modules)"


def test_help_does_not_import_torch(fresh_python):
    lines = fresh_python(f"{CALL}(['--help']){AFTERWARDS}").stdout.splitlines()
    assert lines[0].startswith("usage: siseon") and lines[-1] == "False"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_does_not_import_torch(command, fresh_python):
    lines = fresh_python(f"{CALL}(['{command}', '--help']){AFTERWARDS}").stdout.splitlines()
    assert lines[0].startswith(f"usage: siseon {command}") and lines[-1] == "False"


def test_every_command_is_in_the_help():
    assert all(f"siseon {command}" in cli.HELP for command in cli.COMMANDS)


# --- faults that a user can mend -----

MISTAKES = [
    (("trian",), ("Did you mean train?",)),
    (("qqq",), ("siseon --help",)),
    (("train", "faster_rccn", "--data", "scenes"), ('no model "faster_rccn"', 'Did you mean "faster_rcnn')),
    (("train", "resnet_mini"), ("--data is missing", "siseon train")),
    (("train", "--data", "digits"), ("a model is missing", "siseon train")),
    (("train", "resnet_mini", "--data", "digits", "--epochs", "0"), ("epochs = 0",)),
    (("train", "resnet_mini", "--data", "digits", "--epoch", "1"), ("--epochs",)),
    (("train", "resnet_mini", "--data", "digits", "--options", "width"), ("--options width has no value",)),
    (("train", "resnet_mini", "--data", "digits", "--options", "widht=2"), ('no argument "widht"',)),
    (("train", "resnet_mini", "--data", "nowhere"), ("nowhere",)),
    (("train", "--resume", "nowhere"), ("nowhere",)),
    (("evaluate", "nowhere", "--data", "digits"), ("nowhere", "--weights")),
    (("evaluate", "nowhere.safetensors", "--data", "digits"), ("nowhere.safetensors",)),
    (("predict", "resnet_mini", "nowhere.jpg"), ("nowhere.jpg",)),
    (("check", "nowhere"), ("nowhere",)),
    (("convert", "nowhere", "--to", "coco", "--out", "new"), ("nowhere",)),
    (("convert", "digits", "--to", "coco", "--out", "new"), ("coco",)),
    (("play", "breakuot"), ('no game "breakuot"', "breakout_mini")),
    (("play", "breakout_mini", "--minutes", "0"), ("0 minutes",)),
    (("play", "--resume", "nowhere"), ("nowhere", "siseon play")),
    (("blur", "nowhere.jpg", "out.jpg"), ("no --model", "faces_and_plates.py")),
    (("blur", "nowhere.jpg", "out.jpg", "--model", "runs/얼굴"), ("runs/얼굴",)),
    (("train", "dqn_mini", "--data", "digits"), ("learns a game", "siseon play")),
]


@pytest.mark.parametrize(("words", "named"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_said_in_a_line_with_the_remedy(run, words, named):
    code, _, err = run(*words)
    assert code == 2
    assert all(part in err for part in named)
    assert "Traceback" not in err
    if err.startswith("error: "):
        assert [line.split(":")[0] for line in err.splitlines()] == ["error", "remedy"]


def test_a_mistake_leaves_no_empty_folder(run, tmp_path):
    run("train", "resnet_mini", "--data", "nowhere")
    run("predict", "resnet_mini", "nowhere.jpg")
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_it_comes_from():
    with pytest.raises(Exception, match="nowhere"):
        cli.main(["check", "nowhere", "--debug"])


FAULTS = [
    (OSError(errno.ENOSPC, "No space left on device", "runs/a"), 2, "runs/a: the disk is full"),
    (PermissionError(errno.EACCES, "Permission denied", "runs"), 2, "runs: Permission denied"),
    (MemoryError(), 2, "not enough memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, "not enough memory"),
    (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    (Interrupted(Path("runs/a b"), number=signal.SIGINT, step=7), 130, "stopped by SIGINT after step 7"),
    (cli.Terminated(), 143, "stopped by SIGTERM"),
    (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("fault", "code", "said"), FAULTS, ids=[said for _, _, said in FAULTS])
def test_other_faults_end_in_a_line_too(run, monkeypatch, fault, code, said):
    def fail(words):
        raise fault

    monkeypatch.setattr(cli, "_run", fail)
    result = run("check", "somewhere")
    assert result[0] == code
    assert result[2].startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["m", "epochs=3", "weight_decay=0.1"], ["m", "--epochs", "3", "--weight-decay", "0.1"]),
        (["scale=0.8,1.2"], ["--scale", "0.8", "1.2"]),
        (["a=b.jpg", "--epochs", "3", "out="], ["a=b.jpg", "--epochs", "3", "--out", ""]),
        (["data=C:/사진=1"], ["--data", "C:/사진=1"]),
        ([], []),
    ],
)
def test_name_equals_value(words, expected):
    assert cli._as_options(words, train) == expected


def test_remarks_are_said_but_not_without_end(run, capfd):
    run("--version")
    for number in range(100):
        logging.getLogger("siseon").warning("picture %d is odd", number)
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "note: picture 0 is odd"
    assert len(lines) == 21 and "log.txt" in lines[-1]


def test_a_folder_does_not_stay_empty(run, flowers, tmp_path):
    code, _, err = run("train", "faster_rcnn_mini", "--data", flowers)
    assert code == 2 and "detection" in err
    assert list(tmp_path.iterdir()) == []


def test_folders_are_numbered(run):
    run("--version")
    assert [next_folder("predict").as_posix() for _ in range(2)] == ["runs/predict-1", "runs/predict-2"]


# --- what the commands do -----


def test_models_are_listed_with_their_parameters(run):
    code, out, err = run("models", "--json")
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["resnet18"]["parameters"] == 11_689_512 and rows["resnet18"]["year"] == 2016
    assert rows["vgg16"]["macs"] == 15_470_264_320 and rows["vgg16"]["image_size"] == 224
    assert {row["task"] for row in rows.values()} == set(get_args(Task))
    assert "faster_rcnn_mini" in run("models", "--task", "detection")[1]


def test_training_leaves_a_run_and_a_report(trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"recipe.toml", "metrics.csv", "losses.png", "best.safetensors", "last.safetensors", "test"}
    figures = json.loads((trained / "test" / "metrics.json").read_text(encoding="utf-8"))
    assert figures["metrics"]["pictures"] == 8
    assert set(figures["per_class"]) == {"빨강", "blue"}
    assert (trained / "test" / "examples.png").exists()


def test_a_finished_run_is_resumed_to_the_same_end(run, trained):
    before = (trained / "best.safetensors").read_bytes()
    code, out, _ = run("train", "--resume", trained)
    assert (code, (trained / "best.safetensors").read_bytes()) == (0, before)
    assert str(trained) in out


@pytest.mark.parametrize("where", ["folder", "file"])
def test_evaluate_a_run(run, trained, flowers, where):
    model = trained if where == "folder" else trained / "best.safetensors"
    data = [] if where == "folder" else ["--data", flowers]
    code, out, _ = run("evaluate", model, *data, "--split", "val", "--out", "figures")
    assert code == 0
    assert "accuracy" in out and "빨강" in out and "figures" in out
    assert json.loads(Path("figures/metrics.json").read_text(encoding="utf-8"))["metrics"]["pictures"] == 8


def test_predict_builds_a_named_model_with_options(run, flowers, tmp_path):
    save(build("mlp_mini", classes=["ja", "아니"], hidden=(9, 5)), tmp_path / "자.safetensors")
    words = ["predict", "mlp_mini", flowers / "train" / "blue" / "0.png", "--weights", "자.safetensors"]
    code, _, err = run(*words)
    assert code == 2 and "자.safetensors" in err
    assert run(*words, "--options", "hidden=[9,5]", 'classes=["ja","아니"]', "--batch", "1")[0] == 0
    (row,) = json.loads(Path("runs/predict-1/predictions.json").read_text(encoding="utf-8"))
    assert {entry["class"] for entry in row["classes"]} == {"ja", "아니"}


def test_options_are_for_models_given_by_their_name(run, trained, flowers):
    code, _, err = run("predict", trained, flowers / "train" / "blue" / "0.png", "--options", "hidden=[9,5]")
    assert code == 2 and "that it was trained with" in err and "--options" in err


def test_predict_passes_over_what_cannot_be_read(run, trained, flowers):
    code, out, err = run("predict", trained, flowers / "train" / "blue")
    rows = json.loads(Path("runs/predict-1/predictions.json").read_text(encoding="utf-8"))
    assert code == 0
    assert len(rows) == 8 and {row["classes"][0]["class"] for row in rows} <= {"빨강", "blue"}
    assert "broken.png" in err and "8 of 9 pictures" in out and str(Path("runs/predict-1")) in out
    assert len(list(Path("runs/predict-1").glob("*.png"))) == 8


def test_predict_passes_over_a_picture_that_is_not_there(run, trained, flowers):
    code, out, err = run("predict", trained, "nowhere.jpg", flowers / "train" / "blue" / "0.png")
    assert code == 0
    assert "passed over: nowhere.jpg" in err and "1 of 1 pictures" in out


def test_predict_fails_where_nothing_can_be_read(run, trained, flowers):
    code, _, err = run("predict", trained, flowers / "train" / "blue" / "broken.png")
    assert code == 2 and "broken.png" in err


def test_check_names_what_is_wrong(run, flowers):
    code, out, _ = run("check", flowers)
    assert code == 0 and "broken.png" in out
    assert "broken.png" in json.dumps(json.loads(run("check", flowers, "--json")[1]))


def test_convert_keeps_classes(run, flowers):
    code, out, _ = run("convert", flowers, "--to", "folder", "--out", "new")
    assert code == 0 and "32 pictures" in out
    assert len(list(Path("new/train/빨강").iterdir())) == 8


# --- inspect -----


def test_a_model_is_taken_apart_in_korean(run):
    code, out, _ = run("inspect", "lenet_modern", "--lang", "ko")
    assert code == 0
    assert "61,706" in out
    assert "합성곱" in out


def test_a_look_through_a_run(run, trained, flowers):
    code, out, err = run("inspect", trained, flowers / "test" / "빨강" / "0.png", "--class", "빨강", "--lang", "ko")
    folder = Path("runs/inspect-1")
    assert (code, err) == (0, "") and str(folder / "index.html") in out
    assert {"input.png", "filters.png", "features", "grad_cam.png", "occlusion.png"} <= {
        file.name for file in folder.iterdir()
    }
    assert "빨강" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_look_with_random_weights_says_so(run, flowers):
    photo = flowers / "test" / "blue" / "0.png"
    code, _, err = run("inspect", "vgg_mini", photo, "--out", "seen")
    assert code == 0 and len(err.splitlines()) == 1 and "weights are random" in err
    assert Path("seen/deconvolution.png").exists()


def test_a_look_at_nothing_leaves_no_folder(run, tmp_path):
    code, _, err = run("inspect", "vgg_mini", "nowhere.jpg")
    assert code == 2 and "nowhere.jpg" in err
    assert list(tmp_path.iterdir()) == []


def test_the_layers_of_a_run(run, trained):
    code, out, _ = run("inspect", trained)
    assert code == 0 and "ResNet" in out


def test_a_single_layer_is_worked_out(run):
    words = [
        "--layer",
        "conv",
        "--input",
        "3,32,32",
        "--filters",
        "10",
        "--kernel",
        "4",
        "--stride",
        "2",
        "--padding",
        "1",
    ]
    code, out, _ = run("inspect", *words)
    assert code == 0
    assert "16" in out
    assert "490" in out


# --- signals -----


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_sigterm_saves_and_says_how_to_go_on(tmp_path, flowers):
    folder = tmp_path / "run"
    words = [
        "train",
        "resnet_mini",
        "--data",
        flowers,
        "--epochs",
        "2000",
        "--workers",
        "0",
        "--imgsz",
        "32",
        "--out",
        folder,
    ]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "siseon", *map(str, words)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 300
    while not (folder / "metrics.csv").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert f"siseon train --resume {folder}" in err.decode()
    assert "Traceback" not in err.decode()


def test_propose_draws_and_passes_over_what_is_missing(run, tmp_path):
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[10:40, 20:60] = (200, 30, 30)
    Image.fromarray(picture).save(tmp_path / "빨간 상자.png")
    code, out, err = run(
        "propose", tmp_path / "빨간 상자.png", "nothing.jpg", "--mode", "single", "--out", tmp_path / "out"
    )
    assert (code, "1 of 1" in out, "nothing.jpg" in err) == (0, True, True)
    rows = json.loads((tmp_path / "out" / "proposals.json").read_text(encoding="utf-8"))
    assert [20, 10, 60, 40] in rows[0]["boxes"]
    assert (tmp_path / "out" / "빨간 상자.png").exists()
    assert run("propose", "nothing.jpg")[0] == 2


@pytest.mark.parametrize(
    ("given", "trained"),
    [
        ({"model": "retinanet", "data": "scenes"}, "retinanet_mini"),
        ({"model": "resnet50", "data": "digits"}, "resnet50"),
        ({"model": "vgg", "data": "digits"}, "vgg_mini"),
        ({"model": "retinanet", "data": "photos"}, "retinanet"),
        ({"model": "retinanet", "data": "scenes", "backbone": "resnet18"}, "retinanet"),
        ({"model": "retinanet", "data": "scenes", "options": {"channels": 32}}, "retinanet"),
    ],
)
def test_small_pictures_get_the_small_network(given, trained, capsys):
    assert _of_a_size_that_suits(Recipe(**given)).model == trained
    assert ("note:" in capsys.readouterr().out) == (trained != given["model"])


def test_arguments_of_the_model_may_be_called_like_options():
    words = ["resnet18", "--options", "batch=2", "width=3", "--seed", "1", "batch=4"]
    expected = ["resnet18", "--options", "batch=2", "width=3", "--seed", "1", "--batch", "4"]
    assert cli._as_options(words, train) == expected
