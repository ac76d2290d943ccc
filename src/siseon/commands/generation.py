"""Commands that make pictures: sample, style; and what train does for a model that makes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tyro.conf import Positional

from siseon.commands.networks import option
from siseon.commands.output import progress, results

if TYPE_CHECKING:
    from siseon.models.classification.classifier import Classifier
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
    if columns is not None and columns < 1:
        raise RecipeError(f"--columns {columns}: a row has a picture", "Give 1 or more")
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


def style(
    content: Positional[Path],
    style: Positional[Path],
    *,
    model: str = "vgg19",
    weights: str = "imagenet",
    options: tuple[str, ...] = (),
    size: int = 512,
    steps: int = 150,
    keep_colour: bool = False,
    content_weight: float = 0.05,
    style_weight: float = 1.0,
    variation_weight: float = 0.0,
    start: Literal["content", "style", "noise"] = "content",
    optimizer: Literal["lbfgs", "adam"] = "lbfgs",
    pooling: Literal["mean", "max"] = "mean",
    content_layers: tuple[str, ...] = (),
    style_layers: tuple[str, ...] = (),
    seed: int = 0,
    device: str = "auto",
    out: Path | None = None,
) -> None:
    """Paint a photo in the style of a picture: the result, pictures on the way, both losses as a table and a plot.

    Args:
        content: the photo
        style: the picture whose strokes and colours it gets
        model: the network that looks; any classifier, with its trained weights
        weights: imagenet, or a file of that model
        options: arguments of the model as name=value, e.g. padding=tensorflow
        size: pixels of the longer side of the result
        steps: at each size: a quarter, half, and the whole, for 512 pixels
        keep_colour: paint only the brightness, and keep the photo's colours
        content_weight: more keeps more of the photo
        style_weight: more takes more of the picture
        variation_weight: more makes smoother strokes, e.g. 0.1
        start: what the painting begins with: the photo out of focus, the picture, or noise
        optimizer: lbfgs as in the paper, or adam
        pooling: mean for the network's max pooling, as in the paper, or max
        content_layers: layers of the network's body, instead of those that suit it
        style_layers: likewise
        seed: of the noise to begin with
        device: auto, cpu, cuda, mps
        out: folder for the results; runs/style-N if left out
    """
    from siseon import pictures
    from siseon.interface import RecipeError
    from siseon.models.generation.style_transfer import Layers, layers_of
    from siseon.painting import paint
    from siseon.process import keep_memory
    from siseon.training.preparation import device_of
    from siseon.training.recipe import Recipe
    from siseon.weights import build
    from siseon.zoo import entry

    if entry(model).task != "classification":
        raise RecipeError(f"{model} is no classifier", "Take one with trained weights: --model vgg19 or mobilenet_v2")
    for file in (content, style):
        pictures.size_and_turn(file)  # before a network of half a gigabyte is fetched
    network = cast("Classifier", build(model, weights=weights, **dict(map(option, options))))
    network = network.to(device_of(Recipe(device=device))).eval()
    usual = layers_of(network)
    layers = Layers(content_layers or usual.content, style_layers or usual.style)
    keep_memory()
    with results(out, "style") as folder, progress(f"painting {content.name}") as done:
        found = paint(
            content, style, network, folder, layers=layers, size=size, steps=steps, keep_colour=keep_colour,
            content_weight=content_weight, style_weight=style_weight, variation_weight=variation_weight, start=start,
            optimizer=optimizer, pooling=pooling, seed=seed, progress=done,
        )  # fmt: skip
    print(f"The painting is {found}; the way to it, losses.csv and losses.png are beside it")


def _kind(channels: object) -> str:
    return "grey" if channels == 1 else "colour"


def _where(folder: Path) -> None:
    print(f"The run is in {folder}: samples.gif, samples.png, interpolation.png, losses.png, best.safetensors")
    print(f"Make more pictures with: siseon sample {folder} --count 64 --seed 1")
