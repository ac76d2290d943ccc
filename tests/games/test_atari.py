"""Atari's games: what is said where the extra is missing, and the preprocessing, on a console that is made up."""

import sys

import numpy as np
import pytest

from siseon.games import atari
from siseon.interface import RecipeError


class Console:
    """Breakout's shell: the frame is the number of console frames so far; life 5 is lost at 20, the game over at 30."""

    def __init__(self):
        self.unwrapped = self.ale = self
        self.time = 0
        self.log = []

    def get_action_meanings(self):
        return ["NOOP", "FIRE", "RIGHT", "LEFT"]

    def lives(self):
        return 5 if self.time < 20 else 4

    def frame(self):
        picture = np.zeros((210, 160), np.uint8)
        picture[:, 80 * (self.time % 2) :][:, :80] = self.time  # every other frame draws only one half
        return picture

    def reset(self, seed=None):
        self.time = 0
        self.log.append(("reset", seed))
        return self.frame(), {}

    def step(self, action):
        self.time += 1
        self.log.append(action)
        return self.frame(), 1.5, self.time >= 30, False, {}

    def getScreenRGB(self):  # noqa: N802 - the console's own name
        return np.zeros((210, 160, 3), np.uint8)


@pytest.fixture
def game(monkeypatch):
    monkeypatch.setattr(atari, "_console", lambda name: Console())
    monkeypatch.setattr(atari, "WAIT", 1)
    game = atari.Atari(copies=1, seed=7)
    game.reset()
    return game


def test_a_missing_package_is_said_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(RecipeError, match=r"ale_py.*pip install 'siseon\[atari\]'.*breakout_mini"):
        atari.Atari()


def test_a_game_begins_with_nothing_done_and_then_fire(game):
    console = game._consoles[0]
    assert console.log == [("reset", 700_021), 0, 1]
    assert game.actions == ("noop", "fire", "right", "left")


def test_an_action_is_held_for_four_frames_and_the_last_two_are_joined(game):
    console = game._consoles[0]
    turn = game.step(np.array([3]))
    assert console.log[-4:] == [3, 3, 3, 3] and console.time == 6
    assert turn.rewards.tolist() == [6.0] and turn.frames.shape == (1, 84, 84)
    assert (turn.frames[0, 0, 0], turn.frames[0, 0, -1]) == (6, 5)  # halves of the sixth and the fifth frame


def test_a_lost_life_ends_what_is_owed_but_not_the_game(game):
    turns = [game.step(np.array([0])) for _ in range(5)]
    assert [bool(turn.lost[0]) for turn in turns] == [False, False, False, False, True]
    assert not any(turn.over[0] for turn in turns)
    assert game._consoles[0].log[-1] == 1  # the next life is fired


def test_the_end_of_a_game_begins_the_next(game):
    console = game._consoles[0]
    while not (turn := game.step(np.array([2]))).over[0]:
        pass
    assert turn.lost[0] and console.log[-3:] == [("reset", None), 0, 1] and console.time == 2


def test_a_game_without_end_is_broken_off(game):
    game._turns[:] = atari.LIMIT - 1
    turn = game.step(np.array([0]))
    assert (turn.over[0], turn.lost[0]) == (True, False)


def test_the_picture_is_twice_the_screen(game):
    assert game.picture().shape == (420, 320, 3)
