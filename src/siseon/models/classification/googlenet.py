"""GoogLeNet (Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich 2015, arXiv:1409.4842).

Idea    Do not choose a filter size: take 1x1, 3x3, 5x5 and pooling side by side and stack their maps; 1x1 convolutions before
        the larger filters make the maps few, and so the filters cheap. A mean instead of fully connected layers.
Flow    images -> stem (stride 4) -> 2 inception modules -> halve -> 5 -> halve -> 2 -> mean -> logits
        in the loss also: module 4a -> auxiliary logits, module 4d -> auxiliary logits
Here    googlenet, the default, is table 1: 6,998,552 parameters, 13,378,280 with the two auxiliary classifiers, which only
        `loss` uses, at 0.3 of the weight (section 5). googlenet_bn is torchvision's, for its published weights: batch
        normalisation instead of biases and response normalisation (norm=True), and, with published=True, two slips that the
        weights were trained with: a 3x3 filter where the paper has 5x5, and 2x2 pooling before 5a; pixels from -1 to 1;
        6,624,904 parameters without auxiliary classifiers, which its weights never had trained.
        Deviations: He's initialisation; the auxiliary classifiers pool to 4x4 whatever the size (the paper 5x5 with stride
        3, which at 224 pixels gives 4x4 too). googlenet_mini has an eighth of the channels and a first stride of 1, for
        32x32 pictures.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import Images
from siseon.layers import Body, conv_norm_relu
from siseon.models.classification.alexnet import response_norm
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.lenet import check_size
from siseon.models.classification.mlp import initialise
from siseon.models.classification.network_in_network import conv_relu

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


BRANCHES = ("one", "three", "five", "pooled")
"""The branches of a module, in the order of their channels."""


def convolution(channels: int, width: int, *, kernel: int = 1, stride: int = 1, norm: bool) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride) and a rectifier, with a bias or batch normalisation."""
    if norm:
        return conv_norm_relu(channels, width, kernel=kernel, stride=stride)
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

    width: multiplier of all channels; stride: of the first convolution; another one changes all in proportion; norm and
    published: see the header.
    """

    def __init__(self, *, width: float = 1.0, stride: int = 2, norm: bool = False, published: bool = False) -> None:
        first, second = round(64 * width), round(192 * width)
        stem = [convolution(3, first, kernel=7, stride=stride, norm=norm), halve()]
        end = [convolution(first, first, norm=norm), convolution(first, second, kernel=3, norm=norm)]
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
        strides = (2 * stride, 4 * stride, 8 * stride, 16 * stride)
        super().__init__(nn.Sequential(*stem), layers, ends=ends, channels=tuple(outputs), strides=strides)
        # 3x3 poolings need twice as many cells as they give, the last two; a 2x2 one is content with one
        self.least = (7 if published else 15) * stride + 1
        initialise(self)

    def features(self, images: Tensor) -> list[Tensor]:  # noqa: D102
        check_size(images, least=self.least, network="GoogLeNet")
        return super().features(images)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """The maps after every layer, of normalised images [batch, 3, height, width]."""
        check_size(images, least=self.least, network="GoogLeNet")
        x = self.stem(images)
        return [x := layer(x) for layer in self.layers.values()]


def auxiliary(channels: int, classes: int, *, width: float, norm: bool) -> nn.Sequential:
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
    """GoogLeNetBody, the mean over each map, dropout of 0.4, and one linear layer; in training two auxiliary classifiers.

    classes: a count or the names; auxiliary: with auxiliary classifiers; frozen: how many stages, with the stem, are not
    trained; resize and crop: pixels, see Classifier; the others as in GoogLeNetBody. Pictures have at least `body.least`
    pixels a side: 31, or 15 if published.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        width: float = 1.0,
        stride: int = 2,
        norm: bool = False,
        published: bool = False,
        auxiliary: bool = True,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        if published:
            self.mean.fill_(0.5)
            self.deviation.fill_(0.5)
        self.body = GoogLeNetBody(width=width, stride=stride, norm=norm, published=published)
        self.body.freeze(frozen)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))
        self.auxiliary = nn.ModuleDict()
