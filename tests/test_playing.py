"""`siseon play`: what a run leaves, that it can be gone on with, and what is said where it cannot."""

import csv
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from siseon import playing, weights
from siseon.games.breakout import Breakout
from siseon.interface import RecipeError, WeightsError
from siseon.models.control.dqn import DQN
from siseon.training.interruption import Interrupted


@pytest.fixture
def short(monkeypatch):
    """The small Breakout with few tests of few games, which end after few turns."""
    what = playing.PLAYABLE["breakout_mini"]
    settings = replace(what.settings, begin=64, batch=8, memory=640, frames_per_update=64)
    monkeypatch.setitem(playing.PLAYABLE, "breakout_mini", replace(what, settings=settings, tested=3, copies=4))
    monkeypatch.setattr(playing, "TESTS", 2)
    monkeypatch.setattr("siseon.games.breakout.LIMIT", 60)


def test_a_run_leaves_scores_a_curve_an_animation_and_the_network(short, tmp_path):
    lines = []
    run = playing.play("breakout_mini", tmp_path / "벽돌", minutes=0.01, double=True, say=lines.append)
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {"play.json", "scores.csv", "curve.png", "play.gif", "best.safetensors", "last.safetensors"}
    with (run.folder / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["frames"]) for row in rows] == [row["frames"] for row in run.rows] and rows
    assert len(run.random) == len(run.points) == 6
    assert json.loads((run.folder / "play.json").read_text())["double"] is True
    with Image.open(run.folder / "play.gif") as image:
        assert image.size == (296, 296) and image.n_frames > 5
    with Image.open(run.folder / "curve.png") as image:
        assert image.width > 500
    assert "random player" in lines[0] and any("left" in line for line in lines) and "play.gif" in lines[-1]
    network = weights.load(run.folder)
    assert isinstance(network, DQN) and network.classes == ("stay", "left", "right")


def test_a_run_too_short_to_learn_says_so_and_tests_take_a_share_of_it(short, tmp_path, monkeypatch):
    what = playing.PLAYABLE["breakout_mini"]
    monkeypatch.setitem(
        playing.PLAYABLE, "breakout_mini", replace(what, settings=replace(what.settings, begin=10**9, memory=640))
    )
    monkeypatch.setattr(playing, "TESTS", 10**6)  # due all the time
    monkeypatch.setattr(playing, "TESTED", 0.01)
    lines = []
    run = playing.play("breakout_mini", tmp_path / "run", minutes=0.02, say=lines.append)
    assert any("Nothing was learnt" in line and "--minutes" in line for line in lines)
    assert len(run.rows) <= 3  # the first, its share of the time, and the one at the end


def test_a_run_is_gone_on_with(short, tmp_path):
    first = playing.play("breakout_mini", tmp_path / "a", minutes=0.01, say=lambda line: None)
    before = first.rows[-1]
    again = playing.go_on(tmp_path / "a", minutes=0.02, say=lambda line: None)
    assert again.rows[: len(first.rows)] == first.rows and again.random == first.random
    assert again.rows[-1]["frames"] > before["frames"] and again.rows[-1]["seconds"] > before["seconds"]


def test_ctrl_c_saves_and_says_how_to_go_on(short, tmp_path, monkeypatch):
    test = playing._test
    monkeypatch.setattr(playing, "TESTS", 10_000)  # the first comes at once

    def interrupted(*words):
        test(*words)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(playing, "_test", interrupted)
    with pytest.raises(Interrupted, match="siseon play --resume") as fault:
        playing.play("breakout_mini", tmp_path / "a", minutes=5, say=lambda line: None)
    assert fault.value.exit_code == 130
    monkeypatch.setattr(playing, "_test", test)
    monkeypatch.setattr(playing, "TESTS", 2)
    assert playing.go_on(tmp_path / "a", minutes=0.01, say=lambda line: None).rows[0]["frames"] > 0


def test_faults_that_a_user_can_mend(tmp_path):
    with pytest.raises(RecipeError, match="breakout_mini"):
        playing.play("tetris", tmp_path / "a")
    with pytest.raises(RecipeError, match="no time"):
        playing.play("breakout_mini", tmp_path / "a", minutes=-1)
    with pytest.raises(WeightsError, match="siseon play"):
        playing.go_on(tmp_path)
    (tmp_path / "play.json").write_text("{}")
    with pytest.raises(RecipeError, match="already holds a run"):
        playing.play("breakout_mini", tmp_path)


def test_points_are_those_of_the_first_game_of_each_copy():
    """A player who follows the ball clears the wall, or nearly."""
    game = Breakout(copies=5, seed=2)

    def follow(stacks):
        side = game.ball[:, 1] - game.paddle
        return np.where(side < 0, 1, np.where(side > 0, 2, 0))

    points = playing.points_of(game, follow)
    assert len(points) == 5 and min(points) >= 6 and max(points) <= 18


def test_a_random_player_gets_little():
    points = playing.random_points(playing.PLAYABLE["breakout_mini"], seed=0, games=200)
    assert 0.5 < np.mean(points) < 2
