"""Plain networks: ResNets without their shortcuts (He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 3.3).

Idea    The twin that shows what a shortcut is worth: the same layers, and the deeper one learns worse, not better.
Flow    images -> stem (7x7, stride 2; max pooling, stride 2) -> 4 stages of pairs of 3x3 convolutions -> mean -> logits
Here    18 and 34 layers (figure 3, middle; table 2), with batch normalisation as there; 34 layers have 21,623,848
        parameters, the projections of resnet34 less. No deviation. The twins for CIFAR-10 are in cifar_resnet.py.
        plain_mini is the twin of resnet_mini, for pictures of 32 to 160 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from siseon.layers import Residual
from siseon.models.classification.classifier import Classifier
from siseon.models.classification.resnet import ResNetBody


def without_shortcuts(network: nn.Module) -> None:
    """Replace every residual block in `network` by relu(branch(x)), in place."""
    for name, module in list(network.named_children()):
        if isinstance(module, Residual):
            setattr(network, name, nn.Sequential(module.branch, nn.ReLU(inplace=True)))
        else:
            without_shortcuts(module)


class Plain(Classifier):
    """A ResNetBody of basic blocks without shortcuts, the mean over each map, and one linear layer.

    classes: a count or the names; depths: pairs of convolutions in each stage; widths: their channels, the first also
    of the stem; kernel: of the stem; frozen: how many stages, with the stem, are not trained; resize and crop: pixels,
    see Classifier.
    """

    def __init__(
        self,
        *,
        classes: int | Sequence[str] = 1000,
        depths: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        kernel: int = 7,
        frozen: int = 0,
        resize: int = 256,
        crop: int = 224,
    ) -> None:
        super().__init__(classes=classes, resize=resize, crop=crop)
        self.body = ResNetBody(kind="basic", depths=depths, widths=widths, kernel=kernel)
        without_shortcuts(self.body)
        self.body.freeze(frozen)
        self.classifier = nn.Linear(self.body.channels[-1], len(self.classes))

    def logits(self, normalised: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.body.features(normalised)[-1].mean((2, 3)))


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain18": {"depths": (2, 2, 2, 2)},
    "plain34": {"depths": (3, 4, 6, 3)},
    "plain_mini": {
        "depths": (1, 1, 1, 1),
        "widths": (16, 32, 64, 128),
        "kernel": 3,
        "classes": 10,
        "resize": 64,
        "crop": 64,
    },
}
"""Name -> arguments of Plain."""
