"""The box head of Fast R-CNN (Girshick 2015, arXiv:1504.08083): what is in each proposal, and where exactly.

Idea    Run the convolutions once per picture; each proposal then takes its 7x7 piece of the maps and two linear layers.
Flow    maps, proposals -> RoIAlign 7x7 -> 2 linear layers -> class logits, and offsets for each class -> NMS per class
Here    RoIAlign instead of RoI pooling, the level of a pyramid by the size of the box (Lin et al. 2017, equation 1).
        Counts, thresholds and losses are torchvision's: smooth L1 with beta 1/9, divided by the number of sampled
        boxes.

Outputs in this head have one class more than the model: index 0 is the background, index i + 1 the label i.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from siseon.boxes.geometry import clip, decode, encode, large_enough
from siseon.boxes.matching import BACKGROUND, sample
from siseon.boxes.nms import nms_by_group
from siseon.boxes.roi import pooled_from_pyramid
from siseon.interface import Size, Target
from siseon.losses import cross_entropy, smooth_l1
from siseon.models.detection.detector import assign

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of the four offsets: about the inverse of their deviations, so that both losses weigh alike."""


class BoxHead(nn.Module):
    """Two hidden layers of `hidden` on the 7x7 features of each proposal, then class logits and offsets.

    classes: without the background; layer_norm: after each hidden layer, for training from nothing (Wu and He 2018,
    arXiv:1803.08494, with one group); samples:
    proposals learnt per picture, at most `positive_share` of them objects; threshold: the overlap above which the
    lesser of two detections of a class goes; limit: detections kept per picture.
    """

    def __init__(
        self,
        channels: int,
        *,
        classes: int,
        hidden: int = 1024,
        layer_norm: bool = False,
        pooled: int = 7,
        samples: int = 512,
        positive_share: float = 0.25,
        threshold: float = 0.5,
        limit: int = 100,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for inputs in (channels * pooled**2, hidden):
            norm = [nn.LayerNorm(hidden)] if layer_norm else []
            parts += [nn.Linear(inputs, hidden), *norm, nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*parts)
        self.class_logits = nn.Linear(hidden, classes + 1)
        self.offsets = nn.Linear(hidden, 4 * (classes + 1))
        self.pooled = pooled
        self.samples = samples
        self.positive_share = positive_share
        self.threshold = threshold
        self.limit = limit
        for layer in parts:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.class_logits.weight, std=0.01)  # section 2.3
        nn.init.normal_(self.offsets.weight, std=0.001)

    def pool(self, features: Sequence[Tensor], boxes: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
        """The features [all boxes, channels, pooled, pooled] of the boxes of each picture."""
        return pooled_from_pyramid(list(features), list(boxes), tuple(strides), output=self.pooled, samples=2)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [boxes, classes + 1] and offsets [boxes, 4 (classes + 1)] of pooled regions, in float32."""
        hidden = self.hidden(regions.flatten(1))
        return self.class_logits(hidden).float(), self.offsets(hidden).float()

    def chosen(self, proposals: Tensor, target: Target) -> tuple[Tensor, Tensor, Tensor]:
        """What to learn from one picture: boxes [samples, 4], their outputs [samples], the offsets to their objects.

        The true boxes join the proposals, so that there is something to learn from the first step on.
        """
        boxes = torch.cat((proposals, target.boxes[~target.crowd].to(proposals)))
        index = assign(boxes, target, high=0.5, low=0.5, keep_best=False)
        positive, negative = sample(
            index >= 0, index == BACKGROUND, count=self.samples, positive_share=self.positive_share
        )
        both = torch.cat((positive, negative))
        outputs = torch.zeros_like(both)
        outputs[: len(positive)] = target.labels[index[positive]] + 1
        wanted = encode(target.boxes[index[positive]], boxes[positive], WEIGHTS)
        return boxes[both], outputs, wanted

    def loss(self, logits: Tensor, offsets: Tensor, outputs: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """{"class", "box"}: equation 1 of the paper.

        logits [samples, classes + 1], offsets [samples, 4 (classes + 1)], outputs int64 [samples]; wanted: the
        offsets of those samples that are objects, in their order.
        """
        objects = torch.nonzero(outputs)[:, 0]
        own = offsets.view(-1, offsets.shape[1] // 4, 4)[objects, outputs[objects]]
        return {
            "class": cross_entropy(logits, outputs),
            "box": smooth_l1(own, wanted, beta=1 / 9) / max(len(outputs), 1),
        }

    def detections(
        self, logits: Tensor, offsets: Tensor, proposals: Tensor, *, size: Size, score: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes [objects, 4], labels and scores of one picture of `size`, best first."""
        boxes = decode(offsets, proposals, WEIGHTS).view(-1, logits.shape[1], 4)[:, 1:]
        scores = logits.softmax(1)[:, 1:]
        which, labels = torch.nonzero(scores > score, as_tuple=True)
        boxes, scores = clip(boxes[which, labels], size), scores[which, labels]
        some = large_enough(boxes, 1e-2)
        boxes, scores, labels = boxes[some], scores[some], labels[some]
        best = nms_by_group(boxes, scores, labels, self.threshold, limit=self.limit)
        return boxes[best], labels[best], scores[best]
