"""SegNet (Badrinarayanan, Kendall, Cipolla 2017, arXiv:1511.00561).

Idea    Where a maximum was taken, there it is put back: the decoder enlarges its maps by the indices that the encoder's
        poolings kept, so that edges stay where they were, and only indices are carried over, not maps.
Flow    images -> VGG-16's 13 convolutions with 5 poolings (indices kept) -> 5 times: unpool by the indices, then
        convolutions -> 13 convolutions in all -> logits of every pixel
Here    Section 3. Each convolution has batch normalisation and a rectifier, but for the last, which gives the logits:
        29.4 million parameters. Deviations: colours are normalised as ImageNet's weights expect instead of local
        contrast normalisation; pictures are padded to a multiple of 32 pixels.
        On a body that halves its maps with strides instead of pooling (mobilenet_v2, not in the paper) the indices are
        those of the maxima in the map before each halving, which the encoder itself does not use, and a 1x1
        convolution brings the coarsest map to the channels of the first. What its stem halves is enlarged bilinearly.
        segnet_mini has VGG-11's depths and narrow channels, for pictures of 64 to 256 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.layers import Body
from siseon.models.detection.bodies import body_of
from siseon.models.segmentation.segmenter import Segmenter


class SegNet(Segmenter):
    """An encoder that keeps the places of its maxima, and a decoder that puts its maps back there.

    classes: a count or the names; backbone: name of the encoder's body, backbone_options: its keyword arguments;
    depths: convolutions of the decoder after each unpooling, the coarsest first; least: channels that all but the last
    of them have at least; class_weights, sizing: see Segmenter.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 11,
        backbone: str = "vgg16_bn",
        backbone_options: Mapping[str, Any] | None = None,
        depths: Sequence[int] = (3, 3, 3, 2, 2),
        least: int = 0,
        class_weights: Sequence[float] | None = None,
        sizing: Sequence[int] = (360, 480, 32),
    ) -> None:
        super().__init__(classes=classes, sizing=sizing, class_weights=class_weights)
        self.body = body_of(backbone, backbone_options)
        *entering, last = halved_channels(self.body)
        self.joint = nn.Identity() if last == entering[-1] else nn.Sequential(*_convolution(last, entering[-1], 1))
        outputs = (*entering[-2::-1], len(self.classes))
        stages = [
            _stage(channels, out, depth, least)
            for channels, out, depth in zip(reversed(entering), outputs, depths, strict=True)
        ]
        self.decoder = nn.ModuleList([*stages[:-1], stages[-1][:-2]])  # the logits have no norm and no rectifier
        initialise(nn.ModuleList([self.joint, self.decoder]))

    def logits(self, normalised: Tensor) -> Tensor:
        """Scores [batch, classes, height, width]; of half the size or less where the stem has a stride."""
        x, places = self.encoded(normalised)
        x = self.joint(x)
        for stage, maxima in zip(self.decoder, reversed(places), strict=True):
            x = stage(F.max_unpool2d(x, maxima, [2, 2]))
        return x

    def encoded(self, normalised: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest map, and for each halving, the finest first, the places of the maxima in the map before it."""
        x = self.body.stem(normalised)
        places = []
        for layer in self.body.layers.values():
            if isinstance(layer, nn.MaxPool2d):
                x, maxima = F.max_pool2d(x, 2, return_indices=True)
                places.append(maxima)
                continue
            before, x = x, layer(x)
            if x.shape[-1] < before.shape[-1]:
                places.append(F.max_pool2d(before, 2, return_indices=True)[1])
        return x, places


def halved_channels(body: Body) -> list[int]:
    """The channels of the map before each halving behind the stem, the finest first, and of the last map."""
    channels = _convolutions(body.stem)[-1].out_channels
    found = []
    for layer in body.layers.values():
        if _halves(layer):
            found.append(channels)
        convolutions = _convolutions(layer)
        channels = convolutions[-1].out_channels if convolutions else channels
    return [*found, channels]


def _halves(layer: nn.Module) -> bool:
    return isinstance(layer, nn.MaxPool2d) or any(part.stride[0] == 2 for part in _convolutions(layer))


def _convolutions(layer: nn.Module) -> list[nn.Conv2d]:
    return [part for part in layer.modules() if isinstance(part, nn.Conv2d)]


def _stage(channels: int, out: int, depth: int, least: int) -> nn.Sequential:
    """`depth` convolutions, of which the last changes the channels to `out`."""
    layers: list[nn.Module] = []
    for number in range(depth):
        width = out if number == depth - 1 else max(channels, least)
        layers += _convolution(channels, width, 3)
        channels = width
    return nn.Sequential(*layers)


def _convolution(channels: int, width: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "segnet": {},
    "segnet_mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "depths": (2, 2, 2, 2),
        "least": 64,
        "sizing": (320, 640, 32),
    },
    "segnet_mini": {
        "backbone": "vgg_mini",
        "backbone_options": {"widths": (16, 32, 48, 64, 64), "norm": True},
        "depths": (2, 2, 2, 1, 1),
        "sizing": (160, 256, 32),
    },
}
"""Name -> arguments of SegNet."""
