"""Look at one photo through a network: a folder of pictures, layer by layer, and index.html that explains them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from siseon import pictures
from siseon.inspection import deconvolution
from siseon.inspection.activations import Activation, activations
from siseon.inspection.class_activation import grad_cam
from siseon.inspection.guided_backpropagation import guided_backpropagation
from siseon.inspection.occlusion import Box, covered, occlusion
from siseon.inspection.words import Language
from siseon.interface import Classification, Detections, Images, Prediction, RecipeError, Segmentation, SiseonError
from siseon.looking import figures, page
from siseon.looking.figures import Row
from siseon.looking.words import sentence

Progress = Callable[[int, int], None]

CHANNELS = 16
"""How many channels of a layer are shown."""
STEPS = 32
"""How many steps of a network are shown at most."""
DEEP = 5
"""Of how many layers the strongest channels are led back to the pixels."""
ACROSS = 4
"""How many channels of each of them."""
CLASSES = 3
"""How many classes Grad-CAM explains."""
SCORE = 0.3
"""The least score of a detection."""

AFTERWARDS = (
    *("BatchNorm2d", "FrozenNorm", "GroupNorm", "InstanceNorm2d", "LocalResponseNorm"),
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "SiLU", "GELU", "Sigmoid", "Tanh", "Hardswish", "Squash"),
)
"""Layers that belong to the one before them: only the last of these is shown."""


class Network(Protocol):
    """What this needs of a model beside being an nn.Module: what both kinds of models have."""

    task: str
    classes: tuple[str, ...]
    mean: Tensor

    def predict(self, pictures: Any) -> Sequence[Prediction]:  # noqa: ANN401
        """A prediction a picture."""


@dataclass
class Look:
    """One look: the network, the picture [3, height, width] that it sees, its answer, and the page as it grows."""

    model: Any
    picture: Tensor
    prediction: Prediction
    out: Path
    language: Language
    sections: list[page.Section] = field(default_factory=list)

    def say(self, name: str, /, **values: object) -> str:
        """A sentence in the language of the page."""
        return sentence(name, self.language, **values)

    def add(self, name: str, sentences: Sequence[str], *files: str, rows: Sequence[tuple[str, str]] = ()) -> None:
        """A section of the page."""
        self.sections.append(page.Section(self.say(name), sentences, files, rows))


def look(
    model: nn.Module,
    photo: Path,
    out: Path,
    *,
    name: str,
    label: str | None = None,
    language: Language = "en",
    trained: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write what `model` sees in a photo into the folder `out`, and give the path of its index.html.

    model: of the zoo; name: what the page calls it, of a path its end; label: the class to explain, the best if left
    out; trained: False says on the page that the weights are random; progress: called with (done, of) while the photo
    is covered.

    Written are input.png, filters.png, features/NN-LAYER.png; for classifiers deconvolution.png or
    guided_backpropagation.png, grad_cam.png and occlusion.png. Raises PictureError for a photo that cannot be read,
    RecipeError for an unknown class.
    """
    if cast(Network, model).task == "captioning":
        raise RecipeError(
            f"{name} says sentences, and no page explains them yet", "Look into its backbone's classifier"
        )
    picture, prediction = seen_by(model, pictures.read(photo))
    this = Look(model, picture, prediction, out, language)
    labels = _labels(this, label) if isinstance(prediction, Classification) else []
    (out / "features").mkdir(parents=True, exist_ok=True)
    _input(this)
    _filters(this)
    try:
        found = shown(activations(model, picture))
    except SiseonError:  # a multilayer perceptron
        found = []
    if found:
        _features(this, found)
    if labels and found:
        _channels(this, found)
        _grad_cam(this, labels)
    if labels:
        _occlusion(this, labels[0], progress)
    notes = [] if trained else [this.say("random")]
    if not labels:
        notes.append(this.say("classifiers"))
    title = this.say("title", model=Path(name).name, photo=photo.name)
    index = out / "index.html"
    index.write_text(page.html(title, notes, this.sections, language), encoding="utf-8")
    return index


def seen_by(model: nn.Module, photo: np.ndarray) -> tuple[Tensor, Prediction]:
    """The picture [3, height, width], 0..1, that reaches the network when it predicts a photo, and its answer."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, given: tuple[Any, ...]) -> None:
        caught.append(Images.of(given[0]).tensor[0].clone())

    handle = model.register_forward_pre_hook(catch)
    network: Any = model
    try:
        (prediction,) = network.predict(photo)
    finally:
        handle.remove()
    return caught[0], prediction


def shown(found: Sequence[Activation], limit: int = STEPS) -> list[Activation]:
    """The steps worth a picture: a layer with its normalisation and rectifier is one; of many steps a part, evenly."""
    merged: list[Activation] = []
    for one in found:
        if merged and one.kind in AFTERWARDS and one.map.shape == merged[-1].map.shape:
            merged[-1] = Activation(one.name, f"{merged[-1].kind} + {one.kind}", one.map)
        else:
            merged.append(one)
    if len(merged) > limit:  # the heads of a detector run on each level of its pyramid
        merged = [one for one in merged if not one.name.endswith(")")]
    places = np.linspace(0, len(merged) - 1, min(limit, len(merged))).round().astype(int)
    return [merged[place] for place in places]


def _labels(this: Look, label: str | None) -> list[int]:
    """The classes to explain, the one asked for or the best first."""
    classes: tuple[str, ...] = this.model.classes
    assert isinstance(this.prediction, Classification)
    best = this.prediction.scores.topk(min(CLASSES, len(classes))).indices.tolist()
    if label is None:
        return best
    if label not in classes:
        near = difflib.get_close_matches(label, classes, 1, 0.4)
        remedy = f'Did you mean "{near[0]}"?' if near else f"Its classes are {', '.join(classes[:8])}, ..."
        raise RecipeError(f'the model knows no class "{label}"', remedy)
    first = classes.index(label)
    return [first, *(one for one in best if one != first)][:CLASSES]


def _input(this: Look) -> None:
    pictures.write(figures.pixels(this.picture), this.out / "input.png")
    height, width = this.picture.shape[-2:]
    this.add("input", [this.say("input text", height=height, width=width)], "input.png")
    if isinstance(this.prediction, Classification):
        rows = [(name, f"{score:.3f}") for name, score in this.prediction.top(5)]
    elif isinstance(this.prediction, Segmentation):
        rows = [(name, f"{share:.1%}") for name, share in this.prediction.shares().items()][:10]
    else:
        sure = cast(Detections, this.prediction).above(SCORE)
        rows = [(name, f"{score:.3f}") for name, score in zip(sure.names, sure.scores.tolist(), strict=True)][:10]
        rows = rows or [(this.say("nothing", score=SCORE), "")]
    this.add("answer", [], rows=rows)


def _filters(this: Look) -> None:
    """The first convolution's filters, in colour where it sees colours."""
    named = ((name, one) for name, one in this.model.named_modules() if isinstance(one, nn.Conv2d))
    name, first = next(named, ("", None))
    if first is None or max(first.kernel_size) == 1:
        return
    weights = first.weight.detach()
    if weights.shape[1] != 3:
        weights = weights[:, :1]
    columns = 8 if len(weights) <= 32 else 16
    side = 104 if columns == 8 else 60
    tiles = [figures.resized(figures.signed_picture(one), side, smooth=False) for one in weights[:96]]
    size = " × ".join(map(str, first.weight.shape))
    figures.plate(
        [Row("", tiles, [""] * len(tiles))], this.out / "filters.png", title=f"{name}   {size}", columns=columns
    )
    this.add("filters", [this.say("filters text", name=name)], "filters.png")


def _features(this: Look, found: Sequence[Activation]) -> None:
    """One picture a step: its channels that vary most."""
    files = []
    for number, one in enumerate(found, 1):
        varying = one.map.flatten(1).std(1, correction=0).topk(min(CHANNELS, len(one.map))).indices.tolist()
        tiles = [figures.map_picture(one.map[channel], 124) for channel in varying]
        size = " × ".join(map(str, one.map.shape))
        file = f"features/{number:02d}-{re.sub(r'[^0-9A-Za-z._-]+', '-', one.name).strip('-')}.png"
        captions = [this.say("channel", channel=channel) for channel in varying]
        kind = "" if one.kind == "Sequential" else f"{one.kind.removeprefix('Sequential + ')}   "
        figures.plate([Row("", tiles, captions)], this.out / file, title=f"{number}   {one.name}   {kind}{size}")
        files.append(file)
    this.add("features", [this.say("features text", count=CHANNELS)], *files)


def _channels(this: Look, found: Sequence[Activation]) -> None:
    """What excited the strongest channels: the deconvolutional view, or where there is none, guided backpropagation."""
    maps = [
        one
        for one in found
        if not one.kind.startswith(("MaxPool", "AvgPool", "AdaptiveAvgPool")) and one.map.shape[1:].numel() > 1
    ]
    places = np.linspace(0, len(maps) - 1, min(DEEP, len(maps))).round().astype(int)
    chosen = [maps[place] for place in places]
    try:
        rows = [_deconvolved(this, one) for one in chosen]
        figures.plate(rows, this.out / "deconvolution.png", columns=ACROSS)
        this.add("deconvolution", [this.say("deconvolution text")], "deconvolution.png")
        return
    except SiseonError:  # no plain chain of layers
        pass
    try:
        rows = [_guided(this, one) for one in chosen]
    except SiseonError:
        this.add("deconvolution", [this.say("no way back")])
        return
    figures.plate(rows, this.out / "guided_backpropagation.png", columns=ACROSS)
    this.add("guided", [this.say("guided text")], "guided_backpropagation.png")


def _row(this: Look, one: Activation, backs: Sequence[tuple[int, Tensor, Box]]) -> Row:
    """Patches of the picture, each beside what in it excited a channel; backs: (channel, pixels, patch)."""
    tiles, captions = [], []
    for channel, back, (left, top, right, bottom) in backs:
        patch, excited = (part[:, top:bottom, left:right] for part in (this.picture, back))
        tiles.append(figures.pair(figures.pixels(patch), figures.signed_picture(excited), 132))
        captions.append(this.say("strength", channel=channel, strength=f"{one.map[channel].max():.2f}"))
    return Row(f"{one.name}   {' × '.join(map(str, one.map.shape))}", tiles, captions)


def _strongest(one: Activation) -> list[int]:
    return one.map.amax((1, 2)).topk(min(ACROSS, len(one.map))).indices.tolist()


def _deconvolved(this: Look, one: Activation) -> Row:
    """The strongest channels of one layer led back through the chain of layers."""
    steps, maps = deconvolution.chain(this.model, this.picture, one.name)
    found = {channel: deconvolution.project(steps, maps, channel) for channel in _strongest(one)}
    return _row(this, one, [(channel, back.pixels, back.patch) for channel, back in found.items()])


def _guided(this: Look, one: Activation) -> Row:
    """The strongest channels of one step led back by guided backpropagation."""
    found = {
        channel: guided_backpropagation(this.model, this.picture, one.name, channel) for channel in _strongest(one)
    }
    return _row(this, one, [(channel, back, excited(back)) for channel, back in found.items()])


def excited(back: Tensor, share: float = 0.08) -> Box:
    """The square around the pixels [channels, height, width] whose size is at least a share of the largest."""
    height, width = back.shape[-2:]
    strong = back.abs().amax(0)
    rows, columns = (strong > share * strong.max()).nonzero().unbind(1)
    if not len(rows):
        return 0, 0, width, height
    middle = [(int(place.min()) + int(place.max()) + 1) // 2 for place in (rows, columns)]
    extent = max(int(place.max()) - int(place.min()) + 1 for place in (rows, columns))
    side = min(max(round(1.2 * extent), min(height, width) // 8, 1), height, width)
    top, left = (
        min(max(centre - side // 2, 0), length - side) for centre, length in zip(middle, (height, width), strict=True)
    )
    return left, top, left + side, top + side


def _grad_cam(this: Look, labels: Sequence[int]) -> None:
    """The photo, and where in it each of the classes lies."""
    assert isinstance(this.prediction, Classification)
    photo = figures.pixels(this.picture)
    tiles, captions = [figures.resized(photo, 270)], [""]
    for label in labels:
        try:
            heat = grad_cam(this.model, this.picture, label)
        except SiseonError:  # a network without maps
            return
        tiles.append(figures.resized(figures.overlay(photo, heat), 270))
        captions.append(f"{this.model.classes[label]}  {this.prediction.scores[label]:.3f}")
    figures.plate([Row("", tiles, captions)], this.out / "grad_cam.png", columns=4)
    this.add("grad_cam", [this.say("grad_cam text")], "grad_cam.png")


def _occlusion(this: Look, label: int, progress: Progress | None) -> None:
    """The photo with the square where it harms most, the probability under squares, and its drop over the photo."""
    assert isinstance(this.prediction, Classification)
    name, before = this.model.classes[label], float(this.prediction.scores[label])
    height, width = this.picture.shape[-2:]
    step = max(min(height, width) // 16, 1)
    square = min(3 * step, height, width)
    colour = this.model.mean.detach()
    heat = occlusion(this.model, this.picture, label, square=square, step=step, colour=colour, progress=progress)
    row, column = divmod(int(heat.argmin()), width)
    top, left = (min(max(place - square // 2, 0), side - square) for place, side in ((row, height), (column, width)))
    harmed = covered(this.picture, (left, top, left + square, top + square), colour)
    with torch.inference_mode():
        after = float(this.model(harmed[None]).softmax(1)[0, label])
    photo = figures.pixels(this.picture)
    drop = (before - heat).clamp(min=0)
    tiles = [
        figures.pixels(harmed),
        figures.coloured((heat - heat.min()) / (heat.max() - heat.min()).clamp(min=1e-9), "viridis"),
        figures.overlay(photo, drop / drop.max().clamp(min=1e-9)),
    ]
    captions = [
        f"{name}  {before:.3f}\n{this.say('covered', score=f'{after:.3f}')}",
        this.say("probability", low=f"{heat.min():.3f}", high=f"{heat.max():.3f}"),
        this.say("drop"),
    ]
    figures.plate([Row("", [figures.resized(one, 340) for one in tiles], captions)], this.out / "occlusion.png")
    this.add("occlusion", [this.say("occlusion text", square=square, name=name)], "occlusion.png")
