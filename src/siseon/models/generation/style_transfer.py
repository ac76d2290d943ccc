"""Neural style transfer (Gatys, Ecker, Bethge 2016, CVPR; 2015, arXiv:1508.06576).

Idea    The maps of a network for photos say what stands where; how the channels of a layer occur together, their Gram
        matrix, says in what strokes and colours, and no longer where. So paint the one picture that has the maps of a
        photo and the Gram matrices of a painting, by gradient descent on its pixels. Nothing is trained.
Flow    photo -> network -> maps of a layer, painting -> network -> Gram matrices of several layers
        picture -> network -> both losses -> gradient of the pixels -> L-BFGS or Adam -> a better picture, and again
Here    Equations 1 to 7 with VGG-19's conv4_2 for the content and conv1_1 to conv5_1 for the style, weighed alike, and
        mean pooling instead of the greatest (section 2; pooling="max" leaves the network as it is). Any classifier of
        the zoo will do: see `layers_of`.
        Deviations: each loss is a share, 1 where maps or Gram matrices are as wrong as if they were all zero, so that
        one weight fits all networks and sizes; a Gram matrix is divided by the cells, so that the two pictures
        may differ in size; the picture grows: 128, 256, 512 pixels, each size starting from the one before, which
        makes strokes that are larger than what a layer sees; values beyond 0..1 are pulled back by a small loss.
        Total variation (equation 3 of Mahendran, Vedaldi 2015, arXiv:1412.0035, with beta 2) is an option, and so is
        the photo's own colour: only the brightness is painted, from a painting whose brightness was first given the
        photo's mean and deviation (Gatys, Bethge, Hertzmann, Shechtman 2016, arXiv:1606.05897, section 5).
        MobileNetV2's layers were chosen by looking at a street in the style of The Starry Night. The widened maps
        before the linear bottlenecks of blocks 2, 4, 6, 8 and 11, behind ReLU6, with the stem, and block 7's for the
        content, give whole swirls. Blocks 2 to 7 only: short strokes. The outputs of blocks 1, 3 and 6: long strokes
        and a smoother ground, but no swirls. Before the ReLU6, or with a plain ReLU for it: hardly a difference.
        Noise is no start for it: its strides leave patterns of single pixels that no loss takes away. The photo out
        of focus is, and at each size both losses fall, after the first steps to the strokes. The weight of the
        content, 0.05, was chosen so too; with VGG-19 it has not been tried.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import RecipeError, SiseonError, Size
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.mobilenet import MobileNetV2
from siseon.models.classification.vgg import VGG

Start: TypeAlias = Literal["content", "style", "noise"]
Optimizer: TypeAlias = Literal["lbfgs", "adam"]
Pooling: TypeAlias = Literal["mean", "max"]

SMALLEST = 128
"""The longer side, in pixels, of the first and smallest picture."""

BLUR = 4
"""How many times smaller the photo is made, and enlarged again, before it is begun with: its details are painted."""

MEMORY = 20
"""Steps that L-BFGS remembers."""

ASTRAY = 2.0
"""How many times the least total loss so far is too much."""

ADAM_RATE = 0.02
"""Adam's learning rate, in units of pixels 0..1."""

PULL = 10.0
"""The weight of the mean square by which values lie beyond 0..1."""

LUMINANCE = (0.299, 0.587, 0.114)
"""The brightness of RGB, as YIQ has it."""


class Layers(NamedTuple):
    """The layers of a network whose outputs count, as its body names them ("stem", "layers.4.branch.0")."""

    content: tuple[str, ...]
    style: tuple[str, ...]


class Step(NamedTuple):
    """One step of the painting: number from 1 of how many in all, the picture [3, height, width], the losses."""

    number: int
    of: int
    picture: Tensor
    content: float
    style: float
    variation: float
    total: float


def stylise(
    content: Tensor,
    style: Tensor,
    network: Classifier,
    *,
    layers: Layers | None = None,
    size: int = 512,
    steps: int = 150,
    content_weight: float = 0.05,
    style_weight: float = 1.0,
    variation_weight: float = 0.0,
    start: Start = "content",
    optimizer: Optimizer = "lbfgs",
    pooling: Pooling = "mean",
    keep_colour: bool = False,
    seed: int = 0,
    watch: Callable[[Step], None] = lambda step: None,
) -> Tensor:
    """The photo `content` painted in the style of `style`: both and the result are RGB 0..1 [3, height, width].

    network: with trained weights, in any mode; layers: those of `layers_of` if left out; size: pixels of the result's
    longer side, its shape is the photo's; steps: at each size of `sizes`; seed: of the noise to start from; watch: told
    each step. Raises RecipeError for settings that make no sense, SiseonError when the losses are no longer finite.
    """
    _check(size, steps, content_weight, style_weight)
    features = Features(network, layers or layers_of(network), pooling=pooling)
    device = network.mean.device
    photo, painting = content.to(device), style.to(device)
    if keep_colour:
        photo, painting = grey(photo), like(grey(painting), grey(photo))
    picture: Tensor | None = None
    every = sizes(size)
    for number, side in enumerate(every):
        small, strokes = scaled(photo, side), scaled(painting, side)
        before = begun(start, small, strokes, seed) if picture is None else resized(picture, _size(small))
        canvas = Canvas(before, features, small, strokes, (content_weight, style_weight, variation_weight))
        for step in range(steps):
            losses = canvas.step(optimizer)
            shown = coloured(canvas.picture, scaled(content.to(device), side)) if keep_colour else canvas.picture
            watch(Step(number * steps + step + 1, len(every) * steps, shown, *losses))
        picture = canvas.best
    assert picture is not None
    return coloured(picture, scaled(content.to(device), size)) if keep_colour else picture.clamp(0, 1)


class Features(nn.Module):
    """What some layers of a network give for a picture: a copy of its body, cut off behind the last of them.

    pooling: mean for max pooling, as the paper has it, or max, as it is. Raises RecipeError for a layer that is not
    there.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: Classifier, layers: Layers, *, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.layers = layers
        body = copy.deepcopy(network.body).eval().requires_grad_(requires_grad=False)
        for parent in body.modules():
            for name, part in parent.named_children():
                if isinstance(part, nn.ReLU | nn.ReLU6):
                    part.inplace = False  # it would change what a layer before it gave
                if isinstance(part, nn.MaxPool2d) and pooling == "mean":
                    setattr(parent, name, mean_pooling(part))
        wanted = {*layers.content, *layers.style}
        modules = dict(body.named_modules())
        missing = sorted(wanted - set(modules))
        if missing:
            raise RecipeError(f'{type(network).__name__} has no layer "{missing[0]}"', _some(modules))
        last = max((int(name.split(".")[1]) for name in wanted if name.startswith("layers.")), default=0)
        for number in [number for number in body.layers if int(number) > last]:
            del body.layers[number]
        if isinstance(network, VGG):  # each pooling that is left halves what is left of a narrow picture
            body.least = 2 ** sum(isinstance(part, nn.AvgPool2d | nn.MaxPool2d) for part in body.layers.values())
        self.body, self.kept = body, dict[str, Tensor]()
        for name in wanted:
            modules[name].register_forward_hook(self._keeper(name))
        self.register_buffer("mean", network.mean.detach().view(3, 1, 1).clone())
        self.register_buffer("deviation", network.deviation.detach().view(3, 1, 1).clone())

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        """The maps [channels, height, width] of each layer for a picture RGB 0..1 [3, height, width]."""
        self.kept.clear()
        self.body.features(((picture - self.mean) / self.deviation)[None])
        return dict(self.kept)

    def _keeper(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, given: Any, maps: Tensor) -> None:  # noqa: ANN401
            self.kept[name] = maps[0]

        return keep


class Canvas:
    """A picture that is being painted: its pixels, what it should look like, and the rule of a step.

    best: the pixels [3, height, width] with the least total loss so far.
    """

    def __init__(
        self, start: Tensor, features: Features, content: Tensor, style: Tensor, weights: tuple[float, float, float]
    ) -> None:
        self.pixels = start.detach().clone().requires_grad_()
        self.features, self.weights = features, weights
        with torch.no_grad():
            self.content = {name: features(content)[name] for name in features.layers.content}
            maps = features(style)
            self.style = {name: gram(maps[name]) for name in features.layers.style}
        self.best, self._least = self.picture, math.inf
        self._rule: torch.optim.Optimizer | None = None
        self._losses = (0.0, 0.0, 0.0, 0.0)

    @property
    def picture(self) -> Tensor:
        """The pixels as they are, which may lie a little beyond 0..1."""
        return self.pixels.detach().clone()

    def step(self, optimizer: Optimizer) -> tuple[float, float, float, float]:
        """One step on the pixels; content, style, variation and total loss before it.

        L-BFGS has no line search, which would double its cost: where it goes astray, it starts anew from the best.
        """
        if self._rule is None:
            lbfgs = {"max_iter": 1, "history_size": MEMORY, "tolerance_grad": 0.0, "tolerance_change": 0.0}
            adam = optimizer == "adam"
            self._rule = (
                torch.optim.Adam([self.pixels], lr=ADAM_RATE) if adam else torch.optim.LBFGS([self.pixels], **lbfgs)  # type: ignore[arg-type]
            )
        self._rule.step(self._closure)
        if not self._losses[3] <= ASTRAY * self._least:  # also where it is no number
            with torch.no_grad():
                self.pixels.copy_(self.best)
            self._rule = None
        return self._losses

    def _closure(self) -> float:
        maps = self.features(self.pixels)
        content = sum_of(content_loss(maps[name], wanted) for name, wanted in self.content.items())
        style = sum_of(style_loss(maps[name], wanted) for name, wanted in self.style.items())
        variation = total_variation(self.pixels)
        beyond = (self.pixels - self.pixels.clamp(0, 1)).square().mean()
        parts = (content / len(self.content), style / len(self.style), variation)
        total = sum_of(weight * part for weight, part in zip(self.weights, parts, strict=True))
        (self.pixels.grad,) = torch.autograd.grad(total + PULL * beyond, self.pixels)
        self._losses = (parts[0].item(), parts[1].item(), variation.item(), total.item())
        if not torch.isfinite(total) and self._least == math.inf:
            raise SiseonError("the losses are no longer finite", "Take --optimizer adam, or more weight on the content")
        if self._losses[3] < self._least:
            self.best, self._least = self.picture, self._losses[3]
        return self._losses[3]


def gram(maps: Tensor) -> Tensor:
    """How the channels of maps [channels, height, width] occur together: [channels, channels], the mean over cells."""
    rows = maps.flatten(1)
    return rows @ rows.T / rows.shape[1]


def content_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """The squared differences of maps as a share of the squares of those wanted: equation 1, but for the scale."""
    return (maps - wanted).square().sum() / wanted.square().sum().clamp(min=1e-12)


def style_loss(maps: Tensor, wanted: Tensor) -> Tensor:
    """The squared differences of the Gram matrix from the one wanted, as a share of its squares: equation 4."""
    return (gram(maps) - wanted).square().sum() / wanted.square().sum().clamp(min=1e-12)


def total_variation(picture: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels, downwards and to the right, of [3, height, width]."""
    down, right = picture[:, 1:] - picture[:, :-1], picture[:, :, 1:] - picture[:, :, :-1]
    return down.square().mean() + right.square().mean()


def layers_of(network: Classifier) -> Layers:
    """The layers that serve best: the paper's for VGG, those of the header for MobileNetV2, else the ends of stages."""
    if isinstance(network, VGG):
        names = vgg_names(network)
        return Layers(
            (names.get("conv4_2", names["conv4_1"]),), tuple(names[f"conv{block}_1"] for block in range(1, 6))
        )
    if isinstance(network, MobileNetV2):
        return MOBILENET
    body = network.body
    ends = tuple(f"layers.{end}" for end in body.ends)
    return Layers((ends[len(ends) // 2],), ("stem", *ends[:-1]))


def vgg_names(network: VGG) -> dict[str, str]:
    """The paper's names of VGG's layers, conv1_1 to conv5_4, each with the name of the rectifier behind it."""
    names: dict[str, str] = {}
    block = number = 1
    for index, layer in network.body.layers.items():
        if isinstance(layer, nn.ReLU):
            names[f"conv{block}_{number}"] = f"layers.{index}"
            number += 1
        if isinstance(layer, nn.MaxPool2d):
            block, number = block + 1, 1
    return names


MOBILENET = Layers(
    ("layers.7.branch.0",),
    ("stem", "layers.2.branch.0", "layers.4.branch.0", "layers.6.branch.0", "layers.8.branch.0", "layers.11.branch.0"),
)
"""The layers of MobileNetV2 that were chosen by looking; see the header."""


def mean_pooling(greatest: nn.MaxPool2d) -> nn.AvgPool2d:
    """Mean pooling over the same windows."""
    return nn.AvgPool2d(
        greatest.kernel_size, greatest.stride, greatest.padding, greatest.ceil_mode, count_include_pad=False
    )


def sizes(size: int) -> tuple[int, ...]:
    """The longer sides of the growing picture: size halved as long as it is at least SMALLEST, smallest first."""
    found = [size]
    while found[0] // 2 >= SMALLEST:
        found.insert(0, found[0] // 2)
    return tuple(found)


def scaled(picture: Tensor, side: int) -> Tensor:
    """A picture [3, height, width] scaled so that its longer side has `side` pixels."""
    height, width = _size(picture)
    factor = side / max(height, width)
    return resized(picture, (max(round(height * factor), 1), max(round(width * factor), 1))).clamp(0, 1)


def resized(picture: Tensor, size: Size) -> Tensor:
    """A picture [3, height, width] at another size."""
    return F.interpolate(picture[None], list(size), mode="bicubic", antialias=True)[0]


def begun(start: Start, content: Tensor, style: Tensor, seed: int) -> Tensor:
    """The picture to begin with, of the size of the content: the photo out of focus, the painting, or even noise."""
    if start == "content":
        return resized(scaled(content, max(max(_size(content)) // BLUR, 1)), _size(content)).clamp(0, 1)
    if start == "style":
        return resized(style, _size(content))
    return torch.rand(content.shape, generator=torch.Generator().manual_seed(seed)).to(content.device)


def grey(picture: Tensor) -> Tensor:
    """The brightness of a picture RGB [3, height, width], three times."""
    return luminance(picture).expand(3, -1, -1)


def luminance(picture: Tensor) -> Tensor:
    """The brightness [1, height, width] of a picture RGB [3, height, width]."""
    return (picture * picture.new_tensor(LUMINANCE).view(3, 1, 1)).sum(0, keepdim=True)


def like(painting: Tensor, photo: Tensor) -> Tensor:
    """A grey painting with the mean and the deviation of a grey photo."""
    deviation = painting.std().clamp(min=1e-6)
    return ((painting - painting.mean()) / deviation * photo.std() + photo.mean()).clamp(0, 1)


def coloured(painted: Tensor, photo: Tensor) -> Tensor:
    """The brightness of the painted picture and the colour of the photo, both [3, height, width], within 0..1."""
    return (photo - luminance(photo) + luminance(painted)).clamp(0, 1)


def sum_of(losses: Any) -> Tensor:  # noqa: ANN401
    """The sum of one or more losses."""
    return torch.stack(list(losses)).sum()


def _size(picture: Tensor) -> Size:
    return picture.shape[-2], picture.shape[-1]


def _some(modules: Sequence[str] | dict[str, nn.Module]) -> str:
    named = [name for name in modules if name]
    return f"It has {', '.join(named[:12])}, ..."


def _check(size: int, steps: int, content_weight: float, style_weight: float) -> None:
    if size < 32 or steps < 1:
        raise RecipeError(f"a picture of {size} pixels in {steps} steps cannot be painted", "Give 32 and 1, or more")
    if min(content_weight, style_weight) < 0 or content_weight + style_weight <= 0:
        raise RecipeError("one of the weights is below 0, or both are 0", "Give e.g. 0.05 and 1")
