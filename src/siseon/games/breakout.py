"""A Breakout of 12 x 12 pixels, many copies of it moved at once by a few lines of NumPy.

Field   row 0 is below the ceiling, the bricks (two pixels wide) fill rows 2 to 4, the paddle (three pixels) moves on
        the last row. A brick is a point; 18 points clear the wall and win. The ball moves one pixel down or up and
        one sideways a turn. A brick, the walls and the ceiling throw it back. Which part of the paddle it meets
        decides where it goes: the left pixel to the left, the right one to the right, the middle onwards.
Lives   three. A ball that is missed costs one, and the next is served below the bricks, at a random place.
Frames  0 ground, 85 brick, 170 paddle, 255 ball. One frame does not tell where the ball flies to; two do.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from siseon.games.game import Turn
from siseon.interface import RecipeError, Size

ACTIONS: Final = ("stay", "left", "right")
BRICK, PADDLE, BALL = 85, 170, 255
SIDE: Final = 12
FIRST_ROW, ROWS, BRICKS = 2, 3, SIDE // 2
POINTS: Final = ROWS * BRICKS
"""The points of a cleared wall."""
BOTTOM: Final = SIDE - 1
REACH: Final = 1
"""How far the paddle stretches to each side of its middle."""
LIVES: Final = 3
LIMIT: Final = 1000
"""Turns after which a game is broken off: a ball can go round for ever."""
MARGIN: Final = 4
GROUND, METAL, WHITE = (18, 20, 28), (222, 226, 233), (255, 255, 255)
COLOURS: Final = ((214, 69, 65), (232, 158, 48), (88, 168, 86))
"""Of the rows of bricks, from above."""


class Breakout:
    """`copies` games at once; the same seed and actions give the same frames."""

    actions = ACTIONS
    frame_size: Size = (SIDE, SIDE)

    def __init__(self, *, copies: int = 1, seed: int = 0) -> None:
        if copies < 1:
            raise RecipeError(f"{copies} copies of a game cannot be played", "Give 1 or more")
        self.copies = copies
        self._random = np.random.default_rng(seed)
        self.bricks = np.ones((copies, ROWS, BRICKS), bool)
        self.ball, self.speed = np.zeros((2, copies, 2), int)
        """(row, column) of each ball, and by how much it changes in a turn."""
        self.paddle, self.lives, self.turns = np.zeros((3, copies), int)
        self.reset()

    def reset(self) -> np.ndarray:
        """Begin all games anew: the first frames, uint8 [copies, 12, 12]."""
        self._begin(np.ones(self.copies, bool))
        return self._frames()

    def step(self, actions: np.ndarray) -> Turn:
        """Move paddles, then balls. actions [copies]: indices into `actions`."""
        move = np.asarray(actions)
        self.paddle = (self.paddle + (move == 2) - (move == 1)).clip(REACH, SIDE - 1 - REACH)
        self.turns += 1
        hit = self._fly()
        missed = self.ball[:, 0] == BOTTOM
        won = ~self.bricks.any((1, 2))
        self.lives -= missed
        lost = missed | won
        over = won | (self.lives == 0) | (self.turns >= LIMIT)
        self._serve(missed & ~over)
        self._begin(over)
        return Turn(self._frames(), hit.astype(np.float32), lost, over)

    def picture(self, copy: int = 0) -> np.ndarray:
        """One game in colours, 24 pixels for each of its own: RGB [296, 296, 3] uint8."""
        canvas = np.full((SIDE, SIDE, 3), GROUND, np.uint8)
        for row, paint in enumerate(COLOURS):
            canvas[FIRST_ROW + row][self.bricks[copy, row].repeat(2)] = paint
        canvas[BOTTOM, self.paddle[copy] - REACH : self.paddle[copy] + REACH + 1] = METAL
        canvas[tuple(self.ball[copy])] = WHITE
        large = canvas.repeat(24, 0).repeat(24, 1)
        for row in range(ROWS):  # a seam between bricks, which are pairs of pixels
            top = 24 * (FIRST_ROW + row)
            large[top : top + 24, ::48] = GROUND
            large[top + 23] = GROUND
        return np.pad(large, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), constant_values=70)

    def _fly(self) -> np.ndarray:
        """Move each ball by one; whether it met a brick, bool [copies]."""
        every = np.arange(self.copies)
        row, column = (self.ball + self.speed).T
        self.speed[:, 1] *= np.where((column < 0) | (column >= SIDE), -1, 1)
        column = self.ball[:, 1] + self.speed[:, 1]
        self.speed[:, 0] *= np.where(row < 0, -1, 1)
        row = self.ball[:, 0] + self.speed[:, 0]

        line = row - FIRST_ROW
        hit = (line >= 0) & (line < ROWS)
        hit[hit] = self.bricks[every[hit], line[hit], column[hit] // 2]
        self.bricks[every[hit], line[hit], column[hit] // 2] = False

        offset = column - self.paddle
        caught = (row == BOTTOM) & (abs(offset) <= REACH)
        self.speed[:, 1] = np.where(caught & (offset != 0), offset, self.speed[:, 1])
        # a ball that met something stays where it was for this turn: it never stands in a brick or in the paddle
        thrown_back = hit | caught
        self.speed[:, 0] *= np.where(thrown_back, -1, 1)
        self.ball = np.where(thrown_back[:, None], self.ball, np.stack((row, column), 1))
        return hit

    def _begin(self, which: np.ndarray) -> None:
        """Start new games."""
        self.bricks[which] = True
        self.paddle[which] = SIDE // 2
        self.lives[which] = LIVES
        self.turns[which] = 0
        self._serve(which)

    def _serve(self, which: np.ndarray) -> None:
        """Put balls below the bricks, falling to the left or to the right."""
        count = int(which.sum())
        self.ball[which, 0] = FIRST_ROW + ROWS
        self.ball[which, 1] = self._random.integers(0, SIDE, count)
        self.speed[which, 0] = 1
        self.speed[which, 1] = self._random.choice((-1, 1), count)

    def _frames(self) -> np.ndarray:
        every = np.arange(self.copies)
        frames = np.zeros((self.copies, SIDE, SIDE), np.uint8)
        frames[:, FIRST_ROW : FIRST_ROW + ROWS] = self.bricks.repeat(2, 2) * np.uint8(BRICK)
        for offset in range(-REACH, REACH + 1):
            frames[every, BOTTOM, self.paddle + offset] = PADDLE
        frames[every, self.ball[:, 0], self.ball[:, 1]] = BALL
        return frames
