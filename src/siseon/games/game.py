"""What a game is to a player: several copies of it run side by side, each a turn at a time.

A game that is over begins anew by itself; the frame that a turn gives is then the first of the next game.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from siseon.interface import Size


class Turn(NamedTuple):
    """What follows an action in each of the copies; all arrays have one entry a copy.

    frames uint8 [copies, height, width]; rewards float32: points of this turn; lost bool: a life, or the game, was lost
    or won, so that nothing later is owed to this turn; over bool: the game ended, and frames shows the next one.
    """

    frames: np.ndarray
    rewards: np.ndarray
    lost: np.ndarray
    over: np.ndarray


class Game(Protocol):
    """Copies of one game. The same seed and the same actions give the same frames."""

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of what a player can do."""

    @property
    def copies(self) -> int:
        """How many run side by side."""

    @property
    def frame_size(self) -> Size:
        """(height, width) of the frames."""

    def reset(self) -> np.ndarray:
        """Begin all copies anew: the first frames, uint8 [copies, height, width]."""

    def step(self, actions: np.ndarray) -> Turn:
        """Take an action, an index into `actions`, in each copy."""

    def picture(self, copy: int = 0) -> np.ndarray:
        """What a person would see of one copy: RGB [height, width, 3] uint8."""
