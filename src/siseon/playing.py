"""`siseon play`: a network learns a game by playing it, and shows how well: beside a random player, and at play.

A run folder holds play.json (the settings), scores.csv, curve.png, play.gif, best.safetensors and last.safetensors
(each a network that `load` opens) and state.safetensors. It can be gone on with; the memory of turns is too large to be
kept and is filled anew first.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from siseon import tensorfile, zoo
from siseon.drawing import use_hangul_in_plots
from siseon.games.atari import Atari
from siseon.games.breakout import POINTS, Breakout
from siseon.games.game import Game
from siseon.interface import RecipeError, WeightsError
from siseon.models.control.dqn import DQN, Learner, Settings, Stacks
from siseon.training import checkpoint
from siseon.training.interruption import Interrupted, Signals, Stop

FILE = "play.json"
TESTS = 12
"""How often a run is tested on its way, at most."""
TESTED = 0.2
"""The greatest share of the time that tests may take: a game of Atari takes longer than a short run has."""
EPSILON = 0.01
"""The share of random actions of a network that is tested; without any, a ball could go round for ever."""
SHOWN_TURNS = 400


@dataclass(frozen=True, slots=True)
class Playable:
    """A game that can be learnt: the network of the zoo, how it learns, how many copies; most: its points, if known."""

    game: Callable[..., Game]
    network: str
    settings: Settings
    copies: int
    tested: int
    most: float | None = None
    milliseconds: int = 50
    """How long a frame of the animation is shown."""


PLAYABLE: Mapping[str, Playable] = {
    "breakout_mini": Playable(
        Breakout,
        "dqn_mini",
        Settings(
            batch=64,
            memory=200_000,
            begin=2_000,
            frames_per_update=8,
            renew=200,
            exploration=30_000,
            epsilon=(1.0, 0.05),
            optimizer="adam",
            rate=5e-4,
        ),
        copies=32,
        tested=50,
        most=POINTS,
    ),
    "breakout": Playable(
        partial(Atari, game="Breakout"), "dqn", Settings(memory=100_000), copies=4, tested=4, milliseconds=66
    ),
}
"""The games. Of the paper's million frames of memory, which are seven gigabytes, breakout keeps a tenth."""


@dataclass
class PlayRun:
    """How a run went. rows: one a test; points: of the best network in games that chose nothing; random: a player's."""

    folder: Path
    rows: list[dict[str, float]] = field(default_factory=list)
    random: list[float] = field(default_factory=list)
    points: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The best mean of the tests."""
        return max((row["mean"] for row in self.rows), default=-math.inf)


def play(
    name: str,
    out: Path,
    *,
    minutes: float = 8.0,
    double: bool = False,
    seed: int = 0,
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> PlayRun:
    """Learn the game `name` for so long, and leave scores, curve, animation and network in the folder `out`.

    double: Double DQN. Raises RecipeError for a game that there is not, or whose packages are missing, and Interrupted
    after Ctrl-C or SIGTERM.
    """
    playable(name)
    if not minutes > 0:
        raise RecipeError(f"{minutes:g} minutes are no time to learn", "Give a number above 0")
    if (out / FILE).exists():
        raise RecipeError(
            f"{out} already holds a run", f"Go on with it: siseon play --resume {out}; or name another --out"
        )
    facts = {"game": name, "minutes": minutes, "double": double, "seed": seed, "device": device}
    players = _Players(facts)
    out.mkdir(parents=True, exist_ok=True)
    tensorfile.write_whole(out / FILE, [json.dumps(facts, indent=1).encode()])
    return _learn(players, PlayRun(out), 0.0, say)


def go_on(out: Path, *, minutes: float | None = None, say: Callable[[str], None] = print) -> PlayRun:
    """Go on with the run in the folder `out`; minutes: the new length of the whole run."""
    try:
        facts = json.loads((out / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise WeightsError(f"{out} holds no game that was begun", "Name a folder that siseon play made") from fault
    checkpoint.finish(out)
    state = checkpoint.read_state(out)
    if minutes is not None:
        facts["minutes"] = minutes
        tensorfile.write_whole(out / FILE, [json.dumps(facts, indent=1).encode()])
    players = _Players(facts)
    learner = players.learner
    learner.network.load_state_dict(tensorfile.read(out / checkpoint.LAST)[0])
    older = {key.removeprefix("older/"): value for key, value in state.tensors.items() if key.startswith("older/")}
    learner.restore(older, frames=state.facts["frames"], updates=state.facts["updates"])
    checkpoint.restore_optimizer(learner.optimizer, state.tensors)
    return _learn(players, PlayRun(out, state.facts["rows"], state.facts["random"]), state.facts["seconds"], say)


def playable(name: str) -> Playable:
    """The row of a game. Raises RecipeError naming those that there are."""
    if name not in PLAYABLE:
        raise RecipeError(f'there is no game "{name}"', f"There are {', '.join(PLAYABLE)}")
    return PLAYABLE[name]


class _Players:
    """The game of a run, twice (to learn and to be tested), and who learns it."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        self.what = playable(facts["game"])
        torch.manual_seed(facts["seed"])
        self.game = self.what.game(copies=self.what.copies, seed=facts["seed"])
        network = cast(DQN, zoo.create(self.what.network, classes=list(self.game.actions))).to(facts["device"])
        settings = replace(self.what.settings, double=facts["double"])
        self.learner = Learner(network, self.game, settings, seed=facts["seed"])

    def test(self, seed: int, games: int) -> list[float]:
        """The points of the network in fresh games."""
        game = self.what.game(copies=games, seed=seed)
        return points_of(game, lambda stacks: self.learner.choose(stacks, EPSILON), self.learner.network.frames)


def points_of(game: Game, choose: Callable[[np.ndarray], np.ndarray], frames: int = 4) -> list[float]:
    """The points of one game in each copy; choose gives the actions of stacks [copies, frames, height, width]."""
    stacks, points, done = Stacks(game.reset(), frames), np.zeros(game.copies), np.zeros(game.copies, bool)
    while not done.all():
        turn = game.step(choose(stacks.array))
        points += turn.rewards * ~done
        done |= turn.over
        stacks.add(turn.frames, turn.over)
    return points.tolist()


def random_points(what: Playable, *, seed: int, games: int) -> list[float]:
    """The points of a player who does anything."""
    game, random = what.game(copies=games, seed=seed), np.random.default_rng(seed)
    return points_of(game, lambda stacks: random.integers(0, len(game.actions), len(stacks)))


def _learn(players: _Players, run: PlayRun, before: float, say: Callable[[str], None]) -> PlayRun:
    """The loop: turns of the game until the time is over, with tests on the way."""
    what, learner, seed = players.what, players.learner, players.facts["seed"]
    run.random = run.random or random_points(what, seed=seed + 1000, games=2 * what.tested)
    say(f"a random player gets {_spread(run.random)}")
    limit = 60 * players.facts["minutes"]
    start, due = time.monotonic() - before, limit / TESTS * (math.floor(before / limit * TESTS) + 1)
    saved = time.monotonic()
    with Signals(active=True) as signals, _bar() as show:
        turns = learner.learn(players.game)
        try:
            while (seconds := time.monotonic() - start) < limit:
                next(turns)
                signals.stop_if_asked()
                show(seconds, limit, learner, run)
                if seconds >= due:
                    _test(players, run, seconds)
                    took = time.monotonic() - start - seconds
                    due = max(due + limit / TESTS, seconds + took / TESTED)
                    say(_line(run.rows[-1], limit))
                if time.monotonic() - saved > 60:
                    _save(players, run, seconds)
                    saved = time.monotonic()
        except Stop:
            _save(players, run, time.monotonic() - start)
            raise Interrupted(
                run.folder, number=cast(int, signals.number), step=learner.updates, command="play"
            ) from None
        _test(players, run, limit)
        _save(players, run, limit)
    return _finish(players, run, say)


def _test(players: _Players, run: PlayRun, seconds: float) -> None:
    """Play fresh games, note the points, and keep the network if it is the best so far."""
    what, learner = players.what, players.learner
    points = players.test(players.facts["seed"] + 2000 + len(run.rows), what.tested)
    low, high = np.percentile(points, (10, 90)).tolist()
    best = run.best
    run.rows.append(
        {
            "seconds": round(seconds, 1),
            "frames": learner.frames,
            "updates": learner.updates,
            "epsilon": round(learner.epsilon, 4),
            "mean": float(np.mean(points)),
            "low": low,
            "high": high,
        }
    )
    if run.rows[-1]["mean"] > best:
        _save(players, run, seconds, best=True)
    _write(players, run)


def _save(players: _Players, run: PlayRun, seconds: float, *, best: bool = False) -> None:
    learner = players.learner
    tensors = {f"older/{name}": value for name, value in learner.older.state_dict().items()}
    tensors |= checkpoint.optimizer_state(learner.optimizer)
    facts = {"frames": learner.frames, "updates": learner.updates, "seconds": seconds}
    state = checkpoint.State(tensors, {**facts, "rows": run.rows, "random": run.random})
    write_network = partial(tensorfile.save_model, cast(tensorfile.Saveable, learner.network))
    writers: dict[str, checkpoint.Writer] = {
        checkpoint.LAST: write_network,
        checkpoint.STATE: checkpoint.state_writer(state),
    }
    if best or not (run.folder / checkpoint.BEST).exists():
        writers[checkpoint.BEST] = write_network
    checkpoint.save(run.folder, writers, step=learner.updates, epoch=len(run.rows))


def _finish(players: _Players, run: PlayRun, say: Callable[[str], None]) -> PlayRun:
    """Test the best network once more, in games that did not choose it, and film it."""
    what = players.what
    players.learner.network.load_state_dict(tensorfile.read(run.folder / checkpoint.BEST)[0])
    run.points = players.test(players.facts["seed"] + 3000, 2 * what.tested)
    _write(players, run)
    film(
        players.learner,
        what.game(copies=1, seed=players.facts["seed"] + 4000),
        run.folder / "play.gif",
        what.milliseconds,
    )
    times = np.mean(run.points) / max(float(np.mean(run.random)), 1e-9)
    most = f" of {what.most:g}" if what.most else ""
    say(
        f"the network gets {_spread(run.points)}{most}, {times:.1f} times the random player's {np.mean(run.random):.2f}"
    )
    if not players.learner.updates:
        frames, begin = players.learner.frames, what.settings.begin
        say(f"Nothing was learnt: {frames:,} frames were played, learning begins after {begin:,}. Give more --minutes")
    say(f"The run is in {run.folder}: curve.png, play.gif (at play), scores.csv, best.safetensors")
    return run


def film(learner: Learner, game: Game, path: Path, milliseconds: int) -> None:
    """Write an animation of one game, at most SHOWN_TURNS of it."""
    stacks, pictures = Stacks(game.reset(), learner.network.frames), [Image.fromarray(game.picture())]
    for _ in range(SHOWN_TURNS):
        turn = game.step(learner.choose(stacks.array, EPSILON))
        if turn.over[0]:
            break
        stacks.add(turn.frames, turn.over)
        pictures.append(Image.fromarray(game.picture()))
    whole = io.BytesIO()
    pictures[0].save(whole, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    tensorfile.write_whole(path, [whole.getvalue()])


def _write(players: _Players, run: PlayRun) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(run.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.rows)
    tensorfile.write_whole(run.folder / "scores.csv", [text.getvalue().encode()])
    tensorfile.write_whole(run.folder / "curve.png", [curve(run, str(players.facts["game"]), players.what.most)])


def curve(run: PlayRun, game: str, most: float | None) -> bytes:
    """A PNG: points against frames, with the span of 10 to 90 of 100 games, and the random player's."""
    from matplotlib.figure import Figure

    use_hangul_in_plots()
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    frames = [0.0, *(row["frames"] for row in run.rows)]
    low, high = np.percentile(run.random, (10, 90)).tolist()
    axes.fill_between((0, frames[-1]), low, high, color="tab:gray", alpha=0.2)
    axes.axhline(float(np.mean(run.random)), color="tab:gray", label="random player · 무작위")
    seen = frames[1:]
    axes.fill_between(seen, [row["low"] for row in run.rows], [row["high"] for row in run.rows], alpha=0.2)
    axes.plot(seen, [row["mean"] for row in run.rows], marker=".", color="tab:blue", label="network · 신경망")
    if most:
        axes.axhline(most, color="tab:green", linestyle=":", label="all there is · 만점")
    axes.set(xlabel="frames seen · 본 프레임", ylabel="points of a game · 한 판의 점수", title=game)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, frames[-1])
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _spread(points: list[float]) -> str:
    return f"{np.mean(points):.2f} points (deviation {np.std(points):.2f}, {len(points)} games)"


def _line(row: Mapping[str, float], limit: float) -> str:
    return (
        f"{row['frames']:,.0f} frames  {row['updates']:,.0f} updates  epsilon {row['epsilon']:.2f}  "
        f"points {row['mean']:.2f} ({row['low']:g} to {row['high']:g})  {_clock(limit - row['seconds'])} left"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(round(seconds), 0), 60)
    return f"{minutes}:{rest:02}"


@contextmanager
def _bar() -> Iterator[Callable[[float, float, Learner, PlayRun], None]]:
    """A moving line with the time left, if the output is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]} left"))
    with Progress(*columns, console=Console(), disable=not sys.stdout.isatty(), transient=True) as bar:
        task = bar.add_task("playing", total=1.0, left="")

        def show(seconds: float, limit: float, learner: Learner, run: PlayRun) -> None:
            what = f"{learner.frames:,} frames, epsilon {learner.epsilon:.2f}, best {max(run.best, 0):.2f}"
            bar.update(task, completed=seconds / limit, description=what, left=_clock(limit - seconds))

        yield show
