"""Fully convolutional networks (Long, Shelhamer, Darrell 2015, arXiv:1411.4038).

Idea    A classifier's fully connected layers are convolutions that cover their whole input: as convolutions they slide
        over a picture of any size and give a map of scores in one pass. The map is coarse, so finer layers give scores
        too, which are added while the map is enlarged; all of it learns from whole pictures.
Flow    images -> VGG-16 -> fc6 7x7 -> fc7 1x1 -> scores (stride 32) -> x2 + scores of pool4 (16) -> x2 + scores of
        pool3 (8) -> x8 -> logits
Here    FCN-32s, 16s and 8s of section 4 on VGG-16. Enlarging by 2 is a transposed convolution that starts as bilinear
        interpolation and learns; the last enlarging stays bilinear interpolation. The scores of all stages start at
        zero. Deviations: instead of 100 pixels of padding around the picture and crops afterwards, fc6 has a padding of
        3 and the picture is padded to a multiple of 32, so that all maps lie exactly on each other; FCN-8s learns in
        one go, not from 32s over 16s; the loss is a mean over pixels, not a sum, and has class weights if wished.
        A stride of 4 (not in the paper) adds scores of one finer map. Other bodies give their maps of strides 8 and 16
        where VGG gives pool3 and pool4.
        DilatedFCN is torchvision's form of the idea: a ResNet whose last two stages have dilated filters instead of
        strides, a 3x3 and a 1x1 convolution on its map, no skips, and one bilinear enlargement by 8; published weights
        exist for it. Its auxiliary head on stage 3 counts half in the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.initialisers import initialise
from siseon.interface import Images
from siseon.layers import Body, conv_norm_relu
from siseon.losses import pixel_cross_entropy
from siseon.models.classification import resnet
from siseon.models.classification.vgg import VGGBody
from siseon.models.detection.bodies import body_of
from siseon.models.segmentation.segmenter import Segmenter, at_size


class FCN(Segmenter):
    """A body, fc6 and fc7 as convolutions, and scores of the coarsest map and of finer ones.

    classes: a count or the names; backbone: name of the body, backbone_options: its keyword arguments; stride: of the
    finest scores, 32, 16, 8 or 4; hidden, kernel: channels of fc6 and fc7, and cells of a side that fc6 sees; dropout:
    behind both; class_weights, sizing: see Segmenter.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 21,
        backbone: str = "vgg16",
        backbone_options: Mapping[str, Any] | None = None,
        stride: Literal[4, 8, 16, 32] = 8,
        hidden: int = 4096,
        kernel: int = 7,
        dropout: float = 0.5,
        class_weights: Sequence[float] | None = None,
        sizing: Sequence[int] = (500, 500, 32),
    ) -> None:
        super().__init__(classes=classes, sizing=sizing, class_weights=class_weights)
        self.body = body_of(backbone, backbone_options)
        self.fc6 = nn.Conv2d(self.body.channels[-1], hidden, kernel, padding=kernel // 2)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        initialise(nn.ModuleList([self.fc6, self.fc7]))
        self.dropout = nn.Dropout(dropout)
        count = len(self.classes)
        self.score = _scores(hidden, count)
        steps = {32: 0, 16: 1, 8: 2, 4: 3}[stride]
        self.finer = nn.ModuleList(_scores(channels, count) for channels in _finer_channels(self.body)[:steps])
        self.twice = nn.ModuleList(_twice(count) for _ in range(steps))

    def logits(self, normalised: Tensor) -> Tensor:
        """Scores [batch, classes, height / stride, width / stride]."""
        maps = self.body.features(normalised)
        scores = self.coarse_scores(maps[-1])
        for twice, score, finer in zip(self.twice, self.finer, _finer_maps(self.body, maps), strict=False):
            scores = twice(scores) + score(finer)
        return scores

    def coarse_scores(self, coarsest: Tensor) -> Tensor:
        """The scores of the coarsest map: what a classifier of its windows says, everywhere at once."""
        x = self.dropout(F.relu(self.fc6(coarsest)))
        x = self.dropout(F.relu(self.fc7(x)))
        return self.score(x)


def _scores(channels: int, classes: int) -> nn.Conv2d:
    """A 1x1 convolution to a score for each class, at first zero everywhere (section 4.3)."""
    layer = nn.Conv2d(channels, classes, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias) if layer.bias is not None else None
    return layer


def _twice(classes: int) -> nn.ConvTranspose2d:
    """Enlarge by 2, at first bilinearly (section 3.3)."""
    layer = nn.ConvTranspose2d(classes, classes, 4, stride=2, padding=1, bias=False)
    weights = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_(torch.eye(classes)[:, :, None, None] * weights[:, None] * weights)
    return layer


def _finer_maps(body: Body, maps: Sequence[Tensor]) -> list[Tensor]:
    """The maps of strides 16, 8 and 4: of VGG pool4, pool3 and conv3_3, whose features end before their poolings."""
    if isinstance(body, VGGBody):
        return [F.max_pool2d(maps[1], 2), F.max_pool2d(maps[0], 2), maps[0]]
    return [maps[2], maps[1], maps[0]]


def _finer_channels(body: Body) -> tuple[int, ...]:
    """The channels of `_finer_maps`."""
    channels = body.channels
    return (channels[1], channels[0], channels[0]) if isinstance(body, VGGBody) else channels[2::-1]


def without_padding(model: FCN) -> FCN:
    """The same network without zeros around its maps, in place: each of its coarse scores then sees one window only.

    A score is then to the last digits what the network says of that window alone (section 3.1), which zeros at the edge
    of each window would change.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    return model


class DilatedFCN(Segmenter):
    """torchvision's form: a body with dilated last stages, and a head of two convolutions on its map.

    classes: a count or the names; backbone: name of the body, a resnet or mobilenet, backbone_options: its keyword
    arguments; dilated: how many of its stages keep their resolution; dropout: in the heads; auxiliary: with a second
    head on the last stage but one, which serves training only; class_weights, sizing: see Segmenter.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 21,
        backbone: str = "resnet50",
        backbone_options: Mapping[str, Any] | None = None,
        dilated: int = 2,
        dropout: float = 0.1,
        auxiliary: bool = False,
        class_weights: Sequence[float] | None = None,
        sizing: Sequence[int] = (520, 780, 1),
    ) -> None:
        super().__init__(classes=classes, sizing=sizing, class_weights=class_weights)
        self.body = body_of(backbone, backbone_options)
        if dilated:
            self.body.dilate(dilated)
        self.head = _head(self.body.channels[-1], len(self.classes), dropout)
        self.auxiliary = _head(self.body.channels[-2], len(self.classes), dropout) if auxiliary else None

    def logits(self, normalised: Tensor) -> Tensor:
        """Scores [batch, classes, height / 8, width / 8] where two stages are dilated."""
        return self.head(self.body.features(normalised)[-1])

    def loss(self, images: Images | Tensor | Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """As every segmenter's; and "auxiliary", half the loss of the second head, where there is one."""
        if self.auxiliary is None:
            return super().loss(images, targets)
        normalised, size = self.prepared(images)
        *_, middle, last = self.body.features(normalised)
        labels = targets.long()
        main, second = (
            pixel_cross_entropy(at_size(logits, normalised, size), labels, self.class_weights)
            for logits in (self.head(last), self.auxiliary(middle))
        )
        return {"class": main, "auxiliary": 0.5 * second}


def _head(channels: int, classes: int, dropout: float) -> nn.Sequential:
    """3x3 to a quarter of the channels, dropout, 1x1 to the classes."""
    hidden = channels // 4
    return nn.Sequential(conv_norm_relu(channels, hidden), nn.Dropout(dropout), nn.Conv2d(hidden, classes, 1))


CLASSIFIER_NAMES: tuple[tuple[str, str], ...] = (
    (r"classifier\.0\.(.+)", r"fc6.\1"),
    (r"classifier\.3\.(.+)", r"fc7.\1"),
)
"""(name in VGG, ours) of the fully connected layers that become convolutions."""

TORCHVISION_NAMES: tuple[tuple[str, str], ...] = (
    *((rf"backbone\.{old}", new) for old, new in resnet.TORCHVISION_NAMES),
    *(
        (rf"{theirs}\.{old}\.(.+)", rf"{ours}.{new}.\1")
        for theirs, ours in (("classifier", "head"), ("aux_classifier", "auxiliary"))
        for old, new in (("0", "0.conv"), ("1", "0.norm"), ("4", "2"))
    ),
)
"""(pattern of a whole torchvision name, our name), for DilatedFCN."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "fcn": {},
    "fcn32s_vgg16": {"stride": 32},
    "fcn16s_vgg16": {"stride": 16},
    "fcn8s_vgg16": {"stride": 8},
    "fcn_mobilenet_v2": {
        "backbone": "mobilenet_v2",
        "hidden": 256,
        "kernel": 3,
        "dropout": 0.1,
        "sizing": (320, 640, 32),
    },
    "fcn_mini": {
        "backbone": "resnet_mini",
        "backbone_options": {"widths": (32, 64, 96, 128)},
        "hidden": 128,
        "kernel": 3,
        "dropout": 0.0,
        "sizing": (160, 256, 32),
    },
}
"""Name -> arguments of FCN."""

DILATED_VARIANTS: Mapping[str, Mapping[str, Any]] = {"fcn_resnet50": {}}
"""Name -> arguments of DilatedFCN."""
