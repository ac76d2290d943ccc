"""SENet: squeeze-and-excitation (Hu, Shen, Albanie, Sun, Wu 2018, arXiv:1709.01507; first at ILSVRC 2017).

Idea    Let a network weigh its own maps: the mean of each map (squeeze) goes through two small layers (excitation),
        and what comes out, 0..1, multiplies that map. It costs hardly any arithmetic, and joins any network.
Flow    images -> a residual network whose branches end in squeeze-and-excitation, before the sum -> mean -> logits
Here    Table 1: se_resnet50 (28,088,024 parameters), se_resnet101 and 152, se_resnext50_32x4d (27,559,896) and
        se_resnext101_32x4d; reduction 16. `add_squeeze_excitation` joins the block to any residual network, for
        2C^2 / r weights and C / r + C biases for each branch of C channels. Deviations: the bottlenecks halve as
        resnet.py says, in the 3x3 convolution; the two layers are 1x1 convolutions on one cell, which is the same as
        linear ones. Not here: SENet-154, the ensemble's largest. torchvision has no weights of these networks.
        se_resnet_mini is one narrow block a stage with a reduction of 4, for 32x32 pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from siseon.layers import Body, SqueezeExcitation
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import BODIES, ResNetBody
from siseon.models.classification.resnext import ResNeXtBody


def add_squeeze_excitation(network: nn.Module, *, reduction: int = 16) -> int:
    """Put a block at the end of every branch of a residual network, in place; gives the number of blocks.

    A branch is a Sequential that its block calls `branch`, as the blocks of all residual networks here do; its channels
    are those of its last convolution.
    """
    branches = [part for name, part in network.named_modules() if name.rpartition(".")[2] == "branch"]
    for branch in branches:
        assert isinstance(branch, nn.Sequential)
        *_, last = (part for part in branch.modules() if isinstance(part, nn.Conv2d))
        branch.append(SqueezeExcitation(last.out_channels, max(last.out_channels // reduction, 1)))
    return len(branches)


class SENet(Classifier):
    """A ResNetBody, or with paths a ResNeXtBody, with squeeze-and-excitation; the mean over each map; one linear layer.

    classes: a count or the names; kind, depths, widths and kernel: as in resnet.ResNetBody; cardinality and path: as in
    resnext.ResNeXtBody, cardinality 1 being a ResNet (the blocks of others are always bottlenecks); reduction: r;
    frozen: how many stages, with the stem, are not trained; resize and crop: pixels, see Classifier.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        kind: Literal["basic", "bottleneck"] = "bottleneck",
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        cardinality: int = 1,
        path: int = 4,
        reduction: int = 16,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body: Body = (
            ResNetBody(kind=kind, depths=depths, widths=widths, kernel=kernel)
            if cardinality == 1
            else ResNeXtBody(depths=depths, cardinality=cardinality, path=path, widths=widths, kernel=kernel)
        )
        add_squeeze_excitation(self.body, reduction=reduction)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "se_resnet50": BODIES["resnet50"],
    "se_resnet101": BODIES["resnet101"],
    "se_resnet152": BODIES["resnet152"],
    "se_resnext50_32x4d": {"depths": (3, 4, 6, 3), "cardinality": 32},
    "se_resnext101_32x4d": {"depths": (3, 4, 23, 3), "cardinality": 32},
    "se_resnet_mini": {
        **BODIES["resnet_mini"],
        "reduction": 4,
        "classes": 10,
        "resize": 32,
        "crop": 32,
    },
}
"""Name -> arguments of SENet."""
