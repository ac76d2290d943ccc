"""GoogLeNet (Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2015, arXiv:1409.4842).

Idea    Do not choose a filter size: take 1x1, 3x3, 5x5 and pooling side by side and stack their maps; 1x1 convolutions
        before the larger filters make the maps few, and so the filters cheap. A mean instead of fully connected layers.
Flow    images -> stem (stride 4) -> 2 inception modules -> halve -> 5 -> halve -> 2 -> mean -> logits
        in the loss also: module 4a -> auxiliary logits, module 4d -> auxiliary logits
Here    googlenet, the default, is table 1: 6,998,552 parameters, 13,378,280 with the two auxiliary classifiers, which
        only `loss` uses, at 0.3 of the weight (section 5).
        googlenet_bn is torchvision's, for its published weights: batch normalisation instead of biases and response
        normalisation (norm=True) and, with published=True, two slips that the weights were trained with: a 3x3 filter
        where the paper has 5x5, and 2x2 pooling before 5a; 6,624,904 parameters. Without auxiliary classifiers by
        default, since those in the published file were never trained. That file also wants pixels from -1 to 1, which
        weights.py knows; the network itself is normalised as all others here.
        Deviations: He's initialisation; the auxiliary classifiers pool to 4x4 whatever the size (the paper 5x5 with
        stride 3, which at 224 pixels gives 4x4 too). googlenet_mini has an eighth of the channels, for 32x32 pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.interface import Images
from siseon.layers import Body, check_size, conv_norm_relu, conv_relu
from siseon.models.classification.classifier import Classifier
from siseon.normalisations import response_norm

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Table 1, channels: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; after the pooling."""

LAYERS = {"3a": 3, "3b": 4, "4a": 6, "4b": 7, "4c": 8, "4d": 9, "4e": 10, "5a": 12, "5b": 13}
"""The numbers of the modules in the body; 1 is the end of the stem; 2, 5 and 11 are poolings."""


AUXILIARY = ("4a", "4d")
"""The modules whose maps the auxiliary classifiers see."""

BRANCHES = ("one", "three", "five", "pooled")
"""The branches of a module, in the order of their channels."""


def convolution(channels: int, width: int, *, kernel: int = 1, stride: int = 1, norm: bool) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride) and a rectifier, with a bias or batch normalisation."""
    if norm:
        block = conv_norm_relu(channels, width, kernel=kernel, stride=stride)
        statistics = block.get_submodule("norm")
        assert isinstance(statistics, nn.BatchNorm2d)
        statistics.eps = 0.001  # of the published weights
        return block
    return conv_relu(channels, width, kernel=kernel, stride=stride, padding=kernel // 2)


def halve(kernel: int = 3) -> nn.MaxPool2d:
    """Max pooling with stride 2 that keeps incomplete windows at the border."""
    return nn.MaxPool2d(kernel, 2, ceil_mode=True)


class Inception(nn.Module):
    """Figure 2b: four branches whose maps are stacked.

    widths: a row of INCEPTIONS; norm: batch normalisation; kernel: of the largest filter.
    """

    def __init__(self, channels: int, widths: Sequence[int], *, norm: bool, kernel: int) -> None:
        super().__init__()
        one, reduced_three, three, reduced_five, five, pooled = widths
        self.branches = nn.ModuleDict(
            {
                "one": convolution(channels, one, norm=norm),
                "three": nn.Sequential(
                    convolution(channels, reduced_three, norm=norm),
                    convolution(reduced_three, three, kernel=3, norm=norm),
                ),
                "five": nn.Sequential(
                    convolution(channels, reduced_five, norm=norm),
                    convolution(reduced_five, five, kernel=kernel, norm=norm),
                ),
                "pooled": nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(channels, pooled, norm=norm)),
            }
        )
        self.width = one + three + five + pooled

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return torch.cat([branch(x) for branch in self.branches.values()], 1)


class GoogLeNetBody(Body):
    """The stem and nine inception modules; `features` gives the end of the stem, 3b, 4e and 5b (strides 4, 8, 16, 32).

    width: multiplier of all channels; norm and published: see the header.
    """

    def __init__(self, *, width: float = 1.0, norm: bool = False, published: bool = False) -> None:
        first, second = round(64 * width), round(192 * width)
        stem: list[nn.Module] = [convolution(3, first, kernel=7, stride=2, norm=norm), halve()]
        end: list[nn.Module] = [convolution(first, first, norm=norm), convolution(first, second, kernel=3, norm=norm)]
        if not norm:
            stem.append(response_norm())
            end.append(response_norm())
        layers: list[nn.Module] = [nn.Sequential(*end)]
        channels, outputs = second, [second]
        for name, widths in INCEPTIONS.items():
            if name.endswith("a"):
                layers.append(halve(2 if published and name == "5a" else 3))
            scaled = [round(part * width) for part in widths]
            module = Inception(channels, scaled, norm=norm, kernel=3 if published else 5)
            layers.append(module)
            channels = module.width
            outputs += [channels] if name in ("3b", "4e", "5b") else []
        ends = (1, LAYERS["3b"], LAYERS["4e"], LAYERS["5b"])
        super().__init__(
            nn.Sequential(*stem),
            layers,
            ends=ends,
            channels=tuple(outputs),
            strides=(4, 8, 16, 32),
            # 3x3 poolings need twice as many cells as they give, the last two; a 2x2 one is content with one
            least=15 if published else 31,
        )
        initialise(self)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """The maps after every layer, of normalised images [batch, 3, height, width]."""
        check_size(images, least=self.least, network="GoogLeNet")
        x = self.stem(images)
        return [x := layer(x) for layer in self.layers.values()]


def auxiliary_classifier(channels: int, classes: int, *, width: float, norm: bool) -> nn.Sequential:
    """A small classifier on the maps of a module in the middle (section 5)."""
    narrow, hidden = round(128 * width), round(1024 * width)
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            pool=nn.AdaptiveAvgPool2d(4),
            conv=convolution(channels, narrow, norm=norm),
            flatten=nn.Flatten(),
            hidden=nn.Linear(16 * narrow, hidden),
            relu=nn.ReLU(inplace=True),
            dropout=nn.Dropout(0.7),
            classifier=nn.Linear(hidden, classes),
        )
    )


class GoogLeNet(Classifier):
    """GoogLeNetBody, the mean over each map, dropout of 0.4, one linear layer; in training two auxiliary classifiers.

    classes: a count or the names; auxiliary: with auxiliary classifiers; frozen: how many stages, with the stem, are
    not trained; resize and crop: pixels, see Classifier; the others as in GoogLeNetBody. Pictures have at least
    `body.least` pixels a side: 31, or 15 if published.
    """

    body: GoogLeNetBody

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        width: float = 1.0,
        norm: bool = False,
        published: bool = False,
        auxiliary: bool = True,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = GoogLeNetBody(width=width, norm=norm, published=published)
        self.body.freeze(frozen)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))
        self.auxiliary = nn.ModuleDict()
        if auxiliary:
            for name in AUXILIARY:
                channels = sum(round(INCEPTIONS[name][part] * width) for part in (0, 2, 4, 5))
                self.auxiliary[name] = auxiliary_classifier(channels, len(self.classes), width=width, norm=norm)
        initialise(self.auxiliary)

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self._classify(self.body.features(normalised)[-1])

    def loss(self, images: Images | Tensor, targets: Tensor) -> dict[str, Tensor]:
        """{"class": cross-entropy, "auxiliary": 0.3 of the sum of the auxiliary ones}; targets as in Classifier."""
        if not self.auxiliary:
            return super().loss(images, targets)
        maps = self.body.outputs(Images.of(images).normalised(self.mean, self.deviation))
        extra = [head(maps[LAYERS[name] - 1]) for name, head in self.auxiliary.items()]
        return {
            "class": F.cross_entropy(self._classify(maps[-1]), targets),
            "auxiliary": 0.3 * sum((F.cross_entropy(logits, targets) for logits in extra), torch.zeros(())),
        }

    def _classify(self, last: Tensor) -> Tensor:
        return self.classifier(self.dropout(last.mean((2, 3))))


TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *(
        (rf"{theirs}\.{part}\.(.+)", rf"{ours}.{part.replace('bn', 'norm')}.\1")
        for theirs, ours in (
            ("conv1", "body.stem.0"),
            ("conv2", "body.layers.1.0"),
            ("conv3", "body.layers.1.1"),
            ("aux1\\.conv", "auxiliary.4a.conv"),
            ("aux2\\.conv", "auxiliary.4d.conv"),
        )
        for part in ("conv", "bn")
    ),
    *(
        (
            rf"inception{name}\.branch{number}\.(\d\.)?{part}\.(.+)",
            rf"body.layers.{LAYERS[name]}.branches.{branch}.\1{part.replace('bn', 'norm')}.\2",
        )
        for name in INCEPTIONS
        for number, branch in enumerate(BRANCHES, 1)
        for part in ("conv", "bn")
    ),
    (r"aux1\.fc1\.(.+)", r"auxiliary.4a.hidden.\1"),
    (r"aux1\.fc2\.(.+)", r"auxiliary.4a.classifier.\1"),
    (r"aux2\.fc1\.(.+)", r"auxiliary.4d.hidden.\1"),
    (r"aux2\.fc2\.(.+)", r"auxiliary.4d.classifier.\1"),
    (r"fc\.(.+)", r"classifier.\1"),
)
"""(pattern of a whole torchvision name, our name), for googlenet_bn, which is torchvision's googlenet."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "googlenet": {},
    "googlenet_bn": {"norm": True, "published": True, "auxiliary": False},
    "googlenet_mini": {"classes": 10, "width": 0.125, "resize": 32, "crop": 32},
}
"""Name -> arguments of GoogLeNet."""
