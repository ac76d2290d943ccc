"""What a run shows and leaves to read."""

import io

import pytest
from PIL import Image
from rich.console import Console

from siseon.data.dataset import Problem
from siseon.training import records
from siseon.training.progress import Lines, Moving, Silent
from siseon.training.records import Records

ROWS = [
    {
        "epoch": 1,
        "step": 5,
        "loss": 0.1 + 0.2,
        "class": 0.25,
        "lr": 0.01,
        "pictures_per_second": 9.5,
        "seconds": 2.0,
        "AP50": 0.5,
    },
    {
        "epoch": 2,
        "step": 10,
        "loss": 1e-7,
        "class": 0.2,
        "lr": 0.001,
        "pictures_per_second": 9.0,
        "seconds": 2.1,
        "AP50": float("nan"),
    },
]


def test_the_table():
    assert records.table(ROWS).splitlines() == [
        "epoch,step,loss,class,lr,pictures_per_second,seconds,AP50",
        "1,5,0.30000000000000004,0.25,0.01,9.5,2.0,0.5",
        "2,10,1e-07,0.2,0.001,9.0,2.1,nan",
    ]


def test_an_epoch_in_a_line():
    assert records.line(ROWS[0], 20) == "epoch 1/20  step 5  loss 0.3  class 0.25  AP50 0.5  9.5 pictures/s  2 s"


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [{name: ROWS[0][name] for name in list(ROWS[0])[:-1]}]])
def test_the_plot_is_a_picture(rows):
    assert Image.open(io.BytesIO(records.plot(rows))).size == (1000, 400)


def test_each_problem_is_noted_once_also_by_a_resumed_run(tmp_path):
    for _ in range(2):
        notes = Records(tmp_path)
        notes.problem(Problem("사진.jpg", "truncated", "left out"))
        notes.problem(Problem("사진.jpg", "truncated", "left out"))
        notes.close()
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "problem: 사진.jpg: truncated; left out\n"


def test_without_a_folder_nothing_is_written():
    notes = Records(None)
    notes.problem(Problem("a.jpg", "truncated", "left out"))
    notes.epochs(ROWS)
    notes.close()


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    notes = Records(tmp_path, tensorboard=True)
    notes.epochs(ROWS)
    notes.close()
    assert list(tmp_path.glob("events.out.tfevents.*"))


def shown(console, progress):
    progress.step("1/2", share=0.25, losses={"loss": 1.5}, pictures=8)
    progress.step("1/2", share=0.5, losses={"loss": 0.5}, pictures=8)
    progress.epoch("[epoch 1/2] it went well")
    progress.close()
    return console.file.getvalue() if console else ""


def test_the_moving_line():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    text = shown(console, Moving(console))
    assert "epoch 1/2" in text
    assert "loss 1.450" in text  # smoothed
    assert "pictures/s" in text
    assert "[epoch 1/2] it went well" in text


def test_a_moving_line_that_never_moved_is_closed():
    Moving(Console(file=io.StringIO())).close()


def test_plain_lines(capsys):
    shown(None, Lines())
    assert capsys.readouterr().out == "[epoch 1/2] it went well\n"


def test_silence(capsys):
    shown(None, Silent())
    assert capsys.readouterr() == ("", "")
