"""Deep Q-Network (Mnih et al. 2013, arXiv:1312.5602; 2015, Nature 518, 529-533) and Double DQN (van Hasselt, Guez,
Silver 2016, arXiv:1509.06461).

Idea    A network looks at the last four frames of a game and says what each action is worth: the sum of the discounted
        points to come, Q(s, a). It learns from its own play, by equation 2 of 2015: the worth of what was done is the
        points of the turn and the discounted worth of the best action after it. Two things keep this from running away:
        turns are learnt in random order from a large memory, and the worth that is learnt towards comes from an older
        copy of the network.
Flow    frame -> stack of 4 -> 3 convolutions -> 512 units -> one value an action -> the best, or one at random
        (epsilon) -> points and next frame -> memory -> 32 random turns -> targets -> a step down the gradient
Double  the learning network chooses the best next action and the older copy says what it is worth: taking both from one
        copy overrates whatever is rated too high by chance.
Here    The network is that of 2015: 1,686,180 parameters for four actions. Several copies of the game are played at
        once, each turn of all of them one pass of the network, and `Settings.frames_per_update` keeps the paper's
        ratio of frames and updates. Frames are numbers 0..1, and weights start as He et al. 2015 have it. RMSProp is
        torch's centred one, whose small constant stands outside the root. Points are cut to -1..1 and the error of a
        value too, which is Huber's loss. A turn at which a game was broken off for its length is not learnt.

Shapes  B batch, C copies of the game, K frames that are seen at once (4), H x W the size of a frame
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.games.game import Game
from siseon.interface import RecipeError, SiseonError, Size, class_names


class Choices(NamedTuple):
    """What was done, and what it turned out to be worth: actions int64 [B], values float [B]."""

    actions: Tensor
    values: Tensor


class Transitions(NamedTuple):
    """Turns of a game: frames, next_frames uint8 [B, K, H, W]; actions int64 [B]; rewards float [B]; lost bool [B]."""

    frames: Tensor
    actions: Tensor
    rewards: Tensor
    next_frames: Tensor
    lost: Tensor


class DQN(nn.Module):
    """What each action is worth.

    classes: the actions, a count or the names; frames: how many are seen at once; size: (height, width) of a frame;
    filters: (channels, kernel, stride) of each convolution; hidden: units of the layer before the last.
    """

    task: Literal["control"] = "control"

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 4,
        frames: int = 4,
        size: Size = (84, 84),
        filters: Sequence[tuple[int, int, int]] = ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.classes = class_names(classes)
        self.frames = frames
        self.size = (size[0], size[1])
        layers: list[nn.Module] = []
        channels, height, width = frames, *self.size
        for width_out, kernel, stride in filters:
            layers += [nn.Conv2d(channels, width_out, kernel, stride), nn.ReLU(inplace=True)]
            channels, height, width = width_out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        if min(height, width) < 1:
            raise RecipeError(f"frames of {size[0]} x {size[1]} are too small for the convolutions", "Take fewer")
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels * height * width, hidden)
        self.values = nn.Linear(hidden, len(self.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.uniform_(self.values.weight, -1e-2, 1e-2)  # nothing is known yet, so all values are near zero

    def forward(self, frames: Tensor) -> Tensor:
        """The value of each action, [B, actions], of frames [B, K, H, W]: uint8, or float 0..1."""
        if frames.shape[1:] != (self.frames, *self.size):
            wanted = f"[batch, {self.frames}, {self.size[0]}, {self.size[1]}]"
            raise SiseonError(f"frames {list(frames.shape)} do not fit the network", f"Give {wanted}")
        x = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        return self.values(F.relu(self.hidden(self.convolutions(x).flatten(1))))

    def loss(self, images: Tensor, targets: Choices) -> dict[str, Tensor]:
        """{"value": Huber's loss of the values of what was done}; images: frames as `forward` takes them."""
        done = self(images).gather(1, targets.actions[:, None])[:, 0]
        return {"value": F.huber_loss(done, targets.values)}

    @torch.no_grad()
    def act(self, frames: Tensor) -> Tensor:
        """The best action of each stack of frames, int64 [B]."""
        return self(frames).argmax(1)


def targets_of(turns: Transitions, network: DQN, older: DQN, *, discount: float, double: bool) -> Tensor:
    """What the actions of the turns were worth, float [B]: equation 2 of 2015; double: equation 4 of 2016."""
    with torch.no_grad():
        worth = older(turns.next_frames)
        best = (network(turns.next_frames) if double else worth).argmax(1, keepdim=True)
        later = worth.gather(1, best)[:, 0]
    return turns.rewards + discount * later * ~turns.lost


class ReplayMemory:
    """The last turns of C copies of a game: each frame is kept once, as uint8, and stacks are made when asked for.

    turns: how many of each copy are kept.
    """

    def __init__(self, *, turns: int, copies: int, size: Size, stack: int = 4) -> None:
        self.frames = np.zeros((turns, copies, *size), np.uint8)
        self.actions = np.zeros((turns, copies), np.int64)
        self.rewards = np.zeros((turns, copies), np.float32)
        self.lost, self.first, self.over = np.zeros((3, turns, copies), bool)
        self.count = 0
        self._stack = stack

    def add(self, frames: np.ndarray, first: np.ndarray, actions: np.ndarray, after: tuple[np.ndarray, ...]) -> None:
        """Keep a turn: the frames [C, H, W] that were seen, whether they began a game, the actions, and what followed.

        after: rewards, lost and over, [C] each.
        """
        place = self.count % len(self.frames)
        self.frames[place], self.first[place], self.actions[place] = frames, first, actions
        self.rewards[place], self.lost[place], self.over[place] = after
        self.count += 1

    def __len__(self) -> int:
        """How many turns there are to draw from: those before and after which enough is kept."""
        return max(min(self.count, len(self.frames)) - self._stack, 0) * self.frames.shape[1]

    def sample(self, batch: int, random: np.random.Generator) -> Transitions:
        """`batch` turns drawn at random, each as likely as another. Raises SiseonError where there is none yet."""
        if not len(self):
            raise SiseonError("the memory is empty", f"Play more than {self._stack} turns first")
        oldest = max(self.count - len(self.frames), 0) + self._stack - 1
        turns, copies = np.zeros((2, 0), np.int64)
        while len(turns) < batch:
            drawn = random.integers(oldest, self.count - 1, batch)
            of = random.integers(0, self.frames.shape[1], batch)
            place = drawn % len(self.frames)
            # where a game was broken off, the frame after it is of another game
            known = self.lost[place, of] | ~self.over[place, of]
            turns, copies = np.append(turns, drawn[known])[:batch], np.append(copies, of[known])[:batch]
            if not known.any() and bool((self.over & ~self.lost).all()):
                raise SiseonError("the memory holds only broken games", "Play longer games")
        return self._transitions(turns, copies)

    def _transitions(self, turns: np.ndarray, copies: np.ndarray) -> Transitions:
        span = (turns[:, None] + np.arange(1 - self._stack, 2)) % len(self.frames)  # [B, K + 1], the next frame last
        frames = self.frames[span, copies[:, None]]
        first = self.first[span, copies[:, None]]
        place = turns % len(self.frames)
        return Transitions(
            torch.from_numpy(_own(frames[:, :-1], first[:, :-1])),
            torch.from_numpy(self.actions[place, copies]),
            torch.from_numpy(self.rewards[place, copies]),
            torch.from_numpy(_own(frames[:, 1:], first[:, 1:])),
            torch.from_numpy(self.lost[place, copies]),
        )


def _own(frames: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Stacks [B, K, H, W] with black for the frames before the game of the last frame; first bool [B, K]."""
    black = np.zeros_like(first)
    black[:, :-1] = np.logical_or.accumulate(first[:, :0:-1], 1)[:, ::-1]
    return frames * ~black[..., None, None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a network learns; the paper's numbers (2015, extended data table 1), in frames that the player sees.

    memory: frames kept; begin: frames before the first update; renew: updates between two copies of the network;
    exploration: frames in which epsilon falls from its first value to its second; rate: of the optimizer's steps.
    """

    double: bool = False
    discount: float = 0.99
    batch: int = 32
    memory: int = 1_000_000
    begin: int = 50_000
    frames_per_update: float = 4
    renew: int = 10_000
    exploration: int = 1_000_000
    epsilon: tuple[float, float] = (1.0, 0.1)
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    rate: float = 2.5e-4

    def epsilon_at(self, frame: int) -> float:
        """The share of random actions after so many frames."""
        first, last = self.epsilon
        return first + (last - first) * min(frame / self.exploration, 1.0)


class Stacks:
    """The last K frames of C copies of a game, [C, K, H, W]; black before a game began."""

    def __init__(self, first: np.ndarray, frames: int) -> None:
        self.array = np.zeros((len(first), frames, *first.shape[1:]), np.uint8)
        self.add(first, np.ones(len(first), bool))

    def add(self, frames: np.ndarray, first: np.ndarray) -> None:
        """Add a frame to each; first: where a new game begins with it."""
        self.array[:, :-1] = self.array[:, 1:] * ~first[:, None, None, None]
        self.array[:, -1] = frames


class Learner:
    """A network that learns a game, with all that it needs to go on: older copy, optimizer, memory, counts."""

    def __init__(self, network: DQN, game: Game, settings: Settings, *, seed: int = 0) -> None:
        self.network = network
        self.older = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.settings = settings
        self.optimizer = _optimizer(network, settings)
        self.memory = ReplayMemory(
            turns=max(settings.memory // game.copies, network.frames + 2),
            copies=game.copies,
            size=game.frame_size,
            stack=network.frames,
        )
        self.frames = 0
        self.updates = 0
        self.owed = 0.0
        self.random = np.random.default_rng(seed)

    @property
    def epsilon(self) -> float:
        """The present share of random actions."""
        return self.settings.epsilon_at(self.frames)

    def choose(self, stacks: np.ndarray, epsilon: float) -> np.ndarray:
        """An action for each stack [C, K, H, W]: the best, or with the chance epsilon any."""
        device = next(self.network.parameters()).device
        best = self.network.act(torch.from_numpy(stacks).to(device)).cpu().numpy()
        any_ = self.random.integers(0, len(self.network.classes), len(best))
        return np.where(self.random.random(len(best)) < epsilon, any_, best)

    def update(self) -> float:
        """Learn from one batch of the memory; the loss."""
        device = next(self.network.parameters()).device
        turns = Transitions(*(part.to(device) for part in self.memory.sample(self.settings.batch, self.random)))
        values = targets_of(
            turns, self.network, self.older, discount=self.settings.discount, double=self.settings.double
        )
        loss = self.network.loss(turns.frames, Choices(turns.actions, values))["value"]
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.updates += 1
        if self.updates % self.settings.renew == 0:
            self.older.load_state_dict(self.network.state_dict())
        return loss.item()

    def learn(self, game: Game) -> Iterator[list[float]]:
        """Play and learn without end: algorithm 1 of 2015. Each turn gives the points of the games that ended in it."""
        frames, first = game.reset(), np.ones(game.copies, bool)
        stacks, points = Stacks(frames, self.network.frames), np.zeros(game.copies)
        while True:
            actions = self.choose(stacks.array, self.epsilon)
            turn = game.step(actions)
            self.memory.add(frames, first, actions, (turn.rewards.clip(-1, 1), turn.lost, turn.over))
            self.frames += game.copies
            points += turn.rewards
            ended = points[turn.over].tolist()
            points[turn.over] = 0
            frames, first = turn.frames, turn.over
            stacks.add(frames, first)
            # counted in frames of this memory, because one that was gone on with begins with an empty memory
            if self.memory.count * game.copies > self.settings.begin and len(self.memory):
                self.owed += game.copies / self.settings.frames_per_update
            while self.owed >= 1:
                self.update()
                self.owed -= 1
            yield ended

    def restore(self, older: Mapping[str, Tensor], *, frames: int, updates: int) -> None:
        """Go on from there; the memory is filled anew."""
        self.older.load_state_dict(older)
        self.frames, self.updates = frames, updates


def _optimizer(network: DQN, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), settings.rate)
    return torch.optim.RMSprop(network.parameters(), settings.rate, alpha=0.95, eps=0.01, centered=True)


VARIANTS: dict[str, dict[str, Any]] = {
    "dqn": {},
    "dqn_mini": {"classes": 3, "size": (12, 12), "filters": ((32, 4, 2), (32, 3, 1)), "hidden": 128},
}
"""dqn: section "Model architecture" of 2015; dqn_mini: for the small Breakout."""
