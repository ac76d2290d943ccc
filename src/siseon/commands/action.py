"""Commands that act: play, blur."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from siseon.commands.networks import trained
from siseon.commands.output import progress, results


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


def blur(
    source: Annotated[Positional[str], arg(metavar="IN")],
    out: Annotated[Positional[Path], arg(metavar="OUT")],
    *,
    model: UseAppendAction[tuple[str, ...]] = (),
    label: Annotated[UseAppendAction[tuple[str, ...]], arg(name="class")] = (),
    how: Literal["fill", "pixelate", "blur"] = "fill",
    score: float = 0.3,
    margin: float = 0.1,
    weights: str | None = None,
    device: str = "auto",
) -> int:
    """Hide faces and number plates in a photo, a video or a folder of them; metadata is taken out too.

    What the detector misses stays open: look at the results before you publish them. Originals are not changed.

    Args:
        source: a photo, a video or a folder
        out: a file for a file, a folder for a folder
        model: run folder, .safetensors file, or name with --weights; several may be given, e.g. one for faces and one
            for plates
        label: what to hide; faces and plates if left out
        how: fill (one colour; nothing is left), pixelate (4 x 4 tiles with noise), blur (for looks: it can be undone)
        score: least score of what is hidden, 0 to 1; lower hides more, also what is none
        margin: how much larger a hidden region is than what was found, on each side, as a share
        weights: imagenet, coco or a file, where the model is given by its name
        device: auto, cpu, cuda, mps
    """
    from siseon.blurring import Finder, blur_files
    from siseon.interface import RecipeError

    if not model:
        raise RecipeError(
            "no --model is named that finds faces or plates",
            "Train some with recipes/faces_and_plates.py, then: siseon blur IN OUT --model RUN",
        )
    if not (0 <= score <= 1 and 0 <= margin <= 10):
        raise RecipeError(
            f"--score {score:g} --margin {margin:g} make no sense", "Give a score of 0..1, a margin of 0..10"
        )
    if how == "blur":
        print("warning: a Gaussian blur can be undone in part; --how fill cannot", file=sys.stderr)
    find = Finder.of([trained(name, weights, device) for name in model], label, score=score)
    print(f"hiding {', '.join(find.classes)}")
    with progress("hiding") as done:
        faults = blur_files(find, Path(source), out, how=how, margin=margin, progress=done)
    for fault in faults:
        print(f"passed over: {fault.problem}", file=sys.stderr)
    print(f"The results are in {out}. What the detector missed is open: look at them before you publish them")
    return 2 if faults else 0
