"""Games of the Atari 2600, seen as Mnih et al. 2015 saw them ("Preprocessing"): `pip install 'siseon[atari]'`.

Each turn    the action is held for 4 frames of the console; of the last two the brighter pixels are kept, because the
             console draws some things in every other frame only; grey, 84 x 84.
Each game    begins with up to 30 turns of doing nothing, at random; it is broken off after half an hour of play.
Each life    ends what is owed to a turn, though the game goes on. FIRE is pressed where a life begins, which the paper
             left to the player to find out.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np

from siseon.games.game import Turn
from siseon.interface import RecipeError, Size

SKIP: Final = 4
WAIT: Final = 30
SIDE: Final = 84
LIMIT: Final = 108_000 // SKIP
"""Turns of half an hour at 60 frames a second."""


class Atari:
    """`copies` consoles with one game, e.g. "Breakout". The same seed and actions give the same frames.

    Raises RecipeError where gymnasium or ale-py is missing, or there is no such game.
    """

    frame_size: Size = (SIDE, SIDE)

    def __init__(self, *, game: str = "Breakout", copies: int = 1, seed: int = 0) -> None:
        if copies < 1:
            raise RecipeError(f"{copies} copies of a game cannot be played", "Give 1 or more")
        self.copies = copies
        self._consoles = [_console(game) for _ in range(copies)]
        self._seeds: list[int | None] = [seed * 100_003 + number for number in range(copies)]
        self._random = [np.random.default_rng(number) for number in self._seeds]
        self.actions: tuple[str, ...] = tuple(
            word.lower() for word in self._consoles[0].unwrapped.get_action_meanings()
        )
        self._lives, self._turns = np.zeros((2, copies), int)

    def reset(self) -> np.ndarray:
        """Begin all games anew: the first frames, uint8 [copies, 84, 84]."""
        return np.stack([self._begin(number) for number in range(self.copies)])

    def step(self, actions: np.ndarray) -> Turn:
        """Hold an action for four frames in each console. actions [copies]: indices into `actions`."""
        turns = [self._step(number, int(action)) for number, action in enumerate(np.asarray(actions))]
        frames, rewards, lost, over = zip(*turns, strict=True)
        return Turn(np.stack(frames), np.array(rewards, np.float32), np.array(lost), np.array(over))

    def picture(self, copy: int = 0) -> np.ndarray:
        """The console's screen in colours: RGB [420, 320, 3] uint8."""
        return self._consoles[copy].unwrapped.ale.getScreenRGB().repeat(2, 0).repeat(2, 1)

    def _begin(self, number: int) -> np.ndarray:
        console = self._consoles[number]
        frame, _ = console.reset(seed=self._seeds[number])
        self._seeds[number] = None  # a console is seeded once; later games go on with its random numbers
        for _ in range(int(self._random[number].integers(1, WAIT + 1))):
            frame, _, ended, _, _ = console.step(0)
            if ended:
                frame, _ = console.reset()
        self._turns[number] = 0
        self._lives[number] = console.unwrapped.ale.lives()
        return _small(self._fire(number, frame))

    def _fire(self, number: int, frame: np.ndarray) -> np.ndarray:
        """Begin a life; the frame after it."""
        if "fire" in self.actions:
            frame, *_ = self._consoles[number].step(self.actions.index("fire"))
        return frame

    def _step(self, number: int, action: int) -> tuple[np.ndarray, float, bool, bool]:
        console, points, seen, ended = self._consoles[number], 0.0, [], False
        for _ in range(SKIP):
            frame, reward, ended, _, _ = console.step(action)
            seen.append(frame)
            points += float(reward)
            if ended:
                break
        self._turns[number] += 1
        lives = console.unwrapped.ale.lives()
        lost = ended or lives < self._lives[number]
        self._lives[number] = lives
        over = ended or self._turns[number] >= LIMIT
        if over:
            return self._begin(number), points, lost, over
        if lost:
            return _small(self._fire(number, frame)), points, lost, over
        return _small(np.maximum.reduce(seen[-2:])), points, lost, over


def _console(game: str) -> Any:  # noqa: ANN401
    try:
        import ale_py
        import gymnasium
    except ImportError as fault:
        raise RecipeError(
            f"Atari's games need {fault.name}, which is not installed",
            "pip install 'siseon[atari]'; or siseon play breakout_mini, which needs nothing",
        ) from fault
    gymnasium.register_envs(ale_py)
    settings = {"obs_type": "grayscale", "frameskip": 1, "repeat_action_probability": 0.0, "full_action_space": False}
    try:
        return gymnasium.make(f"ALE/{game}-v5", **settings)
    except gymnasium.error.Error as fault:
        raise RecipeError(
            f'there is no Atari game "{game}"', "Give a name such as Breakout, Pong, SpaceInvaders"
        ) from fault


def _small(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
