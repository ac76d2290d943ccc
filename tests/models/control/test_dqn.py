"""DQN: the paper's network, the memory, the targets against a naive loop, and learning in a corridor."""

import json

import numpy as np
import pytest
import torch

from siseon import zoo
from siseon.games.game import Turn
from siseon.interface import RecipeError, SiseonError
from siseon.models.control.dqn import (
    DQN,
    Choices,
    Learner,
    ReplayMemory,
    Settings,
    Stacks,
    Transitions,
    targets_of,
)


def tiny(**changes):
    return DQN(**{"classes": 3, "size": (6, 6), "filters": ((4, 3, 1),), "hidden": 8, **changes})


def test_the_network_of_the_paper():
    """Mnih et al. 2015, "Model architecture": 32 of 8x8/4, 64 of 4x4/2, 64 of 3x3/1, 512 units; 4 actions."""
    network = zoo.create("dqn", classes=["noop", "fire", "right", "left"])
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_686_180
    assert network.hidden.in_features == 7 * 7 * 64
    assert network(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape == (2, 4)


@pytest.mark.parametrize("name", ["dqn", "dqn_mini"])
def test_the_contract_of_a_player(name):
    model = zoo.create(name, classes=["가만히", "왼쪽", "오른쪽"])
    assert (model.task, model.classes) == ("control", ("가만히", "왼쪽", "오른쪽"))
    frames = torch.randint(0, 256, (3, 4, *model.size), dtype=torch.uint8)
    losses = model.loss(frames, Choices(torch.tensor([0, 1, 2]), torch.ones(3)))
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    spec = json.loads(json.dumps(model.spec))
    again = zoo.create(spec["name"], **spec["arguments"])
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(frames), model(frames)) and torch.equal(model.act(frames), model(frames).argmax(1))


@pytest.mark.parametrize("name", ["dqn", "dqn_mini"])
def test_no_row_and_no_column_of_a_frame_is_out_of_sight(name):
    """A stride that does not fit the frame leaves its last rows unseen, where the paddle is."""
    network = zoo.create(name)
    frames = torch.rand(4, 4, *network.size, requires_grad=True)
    network(frames).sum().backward()
    assert (frames.grad.abs().sum((0, 1)) > 0).all()


def test_bytes_and_numbers_mean_the_same():
    network, frames = tiny(), torch.randint(0, 256, (2, 4, 6, 6), dtype=torch.uint8)
    torch.testing.assert_close(network(frames), network(frames.float() / 255))


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(SiseonError, match=r"\[batch, 4, 6, 6\]"):
        tiny()(torch.zeros(1, 3, 6, 6))
    with pytest.raises(RecipeError, match="too small"):
        tiny(size=(2, 2))


def test_the_error_is_clipped():
    network, frames = tiny(), torch.zeros(1, 4, 6, 6)
    value = network(frames)[0, 1].item()
    for wrong, loss in ((0.5, 0.125), (-0.5, 0.125), (3.0, 2.5)):
        targets = Choices(torch.tensor([1]), torch.tensor([value + wrong]))
        assert network.loss(frames, targets)["value"].item() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize("double", [False, True])
def test_targets_equal_a_naive_loop(double):
    network, older = tiny(), tiny()
    for each in (network, older):
        torch.nn.init.normal_(each.values.weight)
    frames = torch.randint(0, 256, (40, 4, 6, 6), dtype=torch.uint8)
    next_frames = torch.randint(0, 256, (40, 4, 6, 6), dtype=torch.uint8)
    turns = Transitions(frames, torch.zeros(40, dtype=torch.int64), torch.randn(40), next_frames, torch.rand(40) < 0.3)
    expected, differ = [], 0
    for row in range(40):
        new, old = network(next_frames[row : row + 1])[0].tolist(), older(next_frames[row : row + 1])[0].tolist()
        chosen = new.index(max(new)) if double else old.index(max(old))
        differ += new.index(max(new)) != old.index(max(old))
        later = 0.0 if turns.lost[row] else 0.9 * old[chosen]
        expected.append(turns.rewards[row].item() + later)
    found = targets_of(turns, network, older, discount=0.9, double=double)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert differ > 5 and not found.requires_grad


# --- the memory -----


def filled(turns, kept, *, copies=2, ends=(), breaks=()):
    """A memory after so many turns. The frame of turn t of copy c is filled with 10 t + c + 1, its points are t.

    Games end after the turns `ends`, are broken off after `breaks`.
    """
    memory = ReplayMemory(turns=kept, copies=copies, size=(1, 1), stack=3)
    first = np.ones(copies, bool)
    for turn in range(turns):
        frames = (10 * turn + np.arange(copies) + 1).astype(np.uint8).reshape(copies, 1, 1)
        lost, over = np.full(copies, turn in ends), np.full(copies, turn in ends or turn in breaks)
        memory.add(frames, first, np.full(copies, turn % 3), (np.full(copies, turn, np.float32), lost, over))
        first = over
    return memory


def stack_of(turn, copy, starts):
    """Naively: the frames turn - 2 .. turn, black before the game of `turn` began."""
    begin = max((start for start in starts if start <= turn), default=0)
    return [10 * t + copy + 1 if t >= begin else 0 for t in range(turn - 2, turn + 1)]


@pytest.mark.parametrize("kept", [8, 24])
def test_the_memory_gives_back_what_was_put_in(kept):
    memory = filled(20, kept, ends=(6, 13), breaks=(16,))
    starts = (0, 7, 14, 17)
    turns = memory.sample(500, np.random.default_rng(0))
    seen = set()
    for frames, action, reward, after, lost in zip(*turns, strict=True):
        turn = int(reward)
        copy = (frames[-1].item() - 1) % 10
        seen.add((turn, copy))
        assert frames.flatten().tolist() == stack_of(turn, copy, starts)
        assert (action.item(), lost.item()) == (turn % 3, turn in (6, 13))
        assert after.flatten().tolist() == stack_of(turn + 1, copy, starts)
    oldest = max(20 - kept, 0) + 2
    assert seen == {(turn, copy) for turn in range(oldest, 19) for copy in (0, 1)} - {(16, 0), (16, 1)}


def test_an_empty_memory_is_said():
    memory = filled(3, 8)
    assert len(memory) == 0
    with pytest.raises(SiseonError, match="empty"):
        memory.sample(1, np.random.default_rng(0))


def test_every_turn_is_as_likely():
    counts = np.bincount(filled(12, 24).sample(9000, np.random.default_rng(0)).rewards.int().numpy(), minlength=12)
    assert counts[:2].sum() == 0 and counts[11] == 0
    assert counts[2:11].min() > 850 and counts[2:11].max() < 1150


def test_frames_of_an_earlier_game_are_black_to_the_player():
    stacks = Stacks(np.full((2, 1, 1), 1, np.uint8), 3)
    assert stacks.array[0].flatten().tolist() == [0, 0, 1]
    stacks.add(np.full((2, 1, 1), 2, np.uint8), np.array([False, True]))
    assert stacks.array[..., 0, 0].tolist() == [[0, 1, 2], [0, 0, 2]]


def test_epsilon_falls_in_a_line_and_stays():
    settings = Settings(exploration=100, epsilon=(1.0, 0.1))
    assert [settings.epsilon_at(frame) for frame in (0, 50, 100, 500)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


# --- learning -----


class Corridor:
    """Five cells; the player starts in the middle; the right end is a point, the left is none; both end a game."""

    actions = ("left", "right")
    frame_size = (1, 5)

    def __init__(self, copies):
        self.copies = copies
        self.place = np.full(copies, 2)

    def reset(self):
        self.place[:] = 2
        return self._frames()

    def step(self, actions):
        self.place += np.where(actions == 1, 1, -1)
        won, over = self.place == 4, (self.place == 4) | (self.place == 0)
        self.place[over] = 2
        return Turn(self._frames(), won.astype(np.float32), over, over)

    def _frames(self):
        return (np.eye(5, dtype=np.uint8)[self.place] * 255)[:, None]


@pytest.mark.parametrize(("double", "optimizer"), [(False, "adam"), (True, "adam"), (False, "rmsprop")])
def test_a_corridor_is_learnt(double, optimizer):
    game = Corridor(8)
    network = DQN(classes=list(game.actions), frames=2, size=(1, 5), filters=(), hidden=16)
    settings = Settings(
        double=double, optimizer=optimizer, batch=16, memory=2000, begin=50, frames_per_update=4, renew=20,
        exploration=500, rate=0.01 if optimizer == "adam" else 0.003, discount=0.9,
    )  # fmt: skip
    learner = Learner(network, game, settings)
    turns = learner.learn(game)
    points = [point for _ in range(250) for point in next(turns)]
    assert np.mean(points[:20]) < 0.9 < np.mean(points[-50:])
    stacks = torch.eye(5)[1:4, None, None].expand(3, 2, 1, 5)
    values = network(stacks)
    assert (values[:, 1] > values[:, 0]).all()
    assert values[:, 1].tolist() == pytest.approx([0.81, 0.9, 1.0], abs=0.25)
    assert learner.updates == pytest.approx((8 * 250 - 50) / 4, abs=20)


def test_rewards_are_cut_and_the_game_keeps_its_own():
    class Rich(Corridor):
        def step(self, actions):
            return super().step(actions)._replace(rewards=np.full(self.copies, 7, np.float32))

    game = Rich(2)
    network = DQN(classes=2, frames=2, size=(1, 5), filters=(), hidden=4)
    learner = Learner(network, game, Settings(begin=10**6, memory=100))
    turns = learner.learn(game)
    points = [point for _ in range(40) for point in next(turns)]
    assert learner.memory.rewards.max() == 1 and min(points) >= 14
