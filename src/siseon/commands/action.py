"""Commands that act: play."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from siseon.commands.output import results


def play(
    game: Positional[str] = "breakout_mini",
    *,
    minutes: float | None = None,
    double: bool = False,
    seed: int = 0,
    device: str = "auto",
    resume: Path | None = None,
    out: Path | None = None,
) -> None:
    """A network learns a game by playing it (DQN); its points beside a random player's, and an animation of it at play.

    Args:
        game: breakout_mini, which needs nothing; breakout, the Atari game, needs pip install 'siseon[atari]'
        minutes: how long to learn; 8 if left out
        double: Double DQN
        seed: the same seed gives the same games
        device: auto, cpu, cuda, mps; auto is the processor for breakout_mini
        resume: run folder to go on with; minutes is then the new length of the whole run
        out: run folder to make; runs/play-N if left out
    """
    from siseon.playing import go_on, playable
    from siseon.playing import play as learn
    from siseon.training.preparation import device_of
    from siseon.training.recipe import Recipe

    if resume is not None:
        go_on(resume, minutes=minutes)
        return
    small = playable(game).network == "dqn_mini"  # its passes are too short to be worth a way to another device
    where = "cpu" if small and device == "auto" else str(device_of(Recipe(device=device)))
    with results(out, "play") as folder:
        learn(game, folder, minutes=8.0 if minutes is None else minutes, double=double, seed=seed, device=where)
