"""Commands that make pictures: sample, style; and what train does for a model that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from tyro.conf import Positional

from siseon.commands.output import results

if TYPE_CHECKING:
    from siseon.models.generation.adversary import Adversary
    from siseon.training.recipe import Recipe


def play_anew(recipe: Recipe, folder: Path) -> None:
    """Let the two networks of a model play over any pictures, and say where the run is.

    The model makes grey pictures where those to learn from are grey, unless its options say otherwise.
    """
    from siseon.data.unlabelled import are_grey, open_pictures
    from siseon.training.adversarial import SETTINGS, play, suited
    from siseon.weights import build

    data = open_pictures(recipe.data)
    given = {"channels": 1 if are_grey(data.train) else 3, **recipe.options}
    if recipe.imgsz is not None:
        given["size"] = recipe.imgsz
    model = build(recipe.model, weights=recipe.weights, **given)
    chosen = suited(recipe)
    changed = [f"{name} {getattr(chosen, name)}" for name in ("epochs", "batch", "lr") if name in SETTINGS]
    print(f"{recipe.model} learns to make {_kind(given['channels'])} pictures: {', '.join(changed)}")
    play(model, data, out=folder, recipe=recipe)
    _where(folder)


def play_on(folder: Path) -> None:
    """Go on with such a run."""
    from siseon.training.adversarial import resume
    from siseon.weights import load

    resume(folder, load=load)
    _where(folder)


def sample(
    model: Positional[str],
    *,
    count: int = 64,
    seed: int = 0,
    columns: int | None = None,
    out: Path | None = None,
) -> None:
    """Pictures that a trained generator makes, as one grid. The same seed gives the same pictures.

    Args:
        model: a run folder, or a .safetensors file
        count: how many pictures
        seed: of the noise that they are made from
        columns: pictures in a row; a square if left out
        out: the picture file to write; grid.png in runs/sample-N if left out
    """
    from siseon import gallery, pictures
    from siseon.interface import RecipeError
    from siseon.weights import load

    if count < 1:
        raise RecipeError(f"--count {count} are no pictures", "Give 1 or more")
    network = load(model)
    if network.task != "generation":
        raise RecipeError(f"{model} makes no pictures", "Train one that does: siseon train dcgan_mini --data digits")
    made = cast("Adversary", network).sample(count, seed)
    if out is not None:
        pictures.write(gallery.grid(made, columns), out)
        return print(f"{count} pictures are in {out}")
    with results(None, "sample") as folder:
        pictures.write(gallery.grid(made, columns), folder / "grid.png")
    print(f"{count} pictures are in {folder / 'grid.png'}")


def _kind(channels: object) -> str:
    return "grey" if channels == 1 else "colour"


def _where(folder: Path) -> None:
    print(f"The run is in {folder}: samples.gif, samples.png, interpolation.png, losses.png, best.safetensors")
    print(f"Make more pictures with: siseon sample {folder} --count 64 --seed 1")
