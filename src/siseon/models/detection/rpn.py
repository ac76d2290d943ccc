"""Region proposal network (Ren, He, Girshick, Sun 2015, arXiv:1506.01497, section 3.1).

Idea    The network proposes boxes itself: at every place of its own maps, for every anchor there, is it an object, and
        how must the anchor move?
Flow    maps -> 3x3, relu -> 1x1 objectness, 1x1 offsets -> the best of each level -> clip -> NMS -> proposals
Here    The paper's, applied to every level of a pyramid with one set of weights (Lin et al. 2017, section 4.1). Counts,
        thresholds and losses are torchvision's: offsets' smooth L1 with beta 1/9, both losses divided by the number of
        sampled anchors. Anchors that cross the border are learnt too (the paper leaves them out).

Shapes  A anchors per cell; a map of objectness [batch, A, height, width], of offsets [batch, 4 A, height, width];
        anchors and everything in rows are ordered by level, row, column, anchor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from siseon.boxes.anchors import AnchorGrid
from siseon.boxes.geometry import clip, decode, encode, large_enough
from siseon.boxes.matching import BACKGROUND, sample
from siseon.boxes.nms import nms_by_group
from siseon.interface import Size, Target
from siseon.layers import conv_relu
from siseon.losses import binary_cross_entropy, smooth_l1
from siseon.models.detection.detector import assign

WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""Of the four offsets, see boxes.geometry.encode."""


class RegionProposals(nn.Module):
    """Proposals from the maps of a backbone, and the losses that train them.

    anchor_sizes: for each level, the square roots of its anchors' areas in pixels; ratios: height / width; samples:
    anchors learnt per picture, at most half of them objects. The counts of proposals are given with each call.
    """

    def __init__(
        self,
        channels: int,
        *,
        anchor_sizes: Sequence[Sequence[float]],
        ratios: Sequence[float] = (0.5, 1.0, 2.0),
        threshold: float = 0.7,
        samples: int = 256,
    ) -> None:
        super().__init__()
        self.anchor_grid = AnchorGrid(sizes=anchor_sizes, ratios=ratios)
        per_cell = self.anchor_grid.anchors_per_cell[0]
        self.hidden = conv_relu(channels, channels, kernel=3, padding=1)
        self.objectness = nn.Conv2d(channels, per_cell, 1)
        self.offsets = nn.Conv2d(channels, 4 * per_cell, 1)
        self.threshold = threshold
        self.samples = samples
        for module in (*self.hidden, self.objectness, self.offsets):
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The maps of objectness (logits) and of offsets, one of each a level."""
        hidden = [self.hidden(level) for level in features]
        return [self.objectness(level) for level in hidden], [self.offsets(level) for level in hidden]

    def anchors(self, features: Sequence[Tensor], size: Size) -> list[Tensor]:
        """The anchors [anchors, 4] of each level, for a batch padded to `size`."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in features]
        strides = [(size[0] // height, size[1] // width) for height, width in sizes]
        return self.anchor_grid(sizes, strides, features[0].device)

    def proposals(
        self,
        objectness: Sequence[Tensor],
        offsets: Sequence[Tensor],
        anchors: Sequence[Tensor],
        *,
        sizes: Sequence[Size],
        count: tuple[int, int],
    ) -> list[Tensor]:
        """The best boxes [proposals, 4] of each picture, best first, without gradients.

        sizes: of the pictures, without padding; count: how many of each level enter NMS, how many of a picture leave
        it.
        """
        boxes, scores, levels = [], [], []
        for number, (logits, shifts, fixed) in enumerate(zip(objectness, offsets, anchors, strict=True)):
            logits = rows(logits.detach(), 1)[..., 0]
            best, chosen = logits.topk(min(count[0], logits.shape[1]), dim=1)
            shifts = rows(shifts.detach(), 4).gather(1, chosen[..., None].expand(-1, -1, 4))
            boxes.append(decode(shifts.flatten(0, 1), fixed[chosen].flatten(0, 1), WEIGHTS).view_as(shifts))
            scores.append(best.sigmoid())
            levels.append(torch.full_like(chosen, number))
        batch = zip(torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(levels, 1), sizes, strict=True)
        return [self._kept(*picture, count[1]) for picture in batch]

    def _kept(self, boxes: Tensor, scores: Tensor, levels: Tensor, size: Size, count: int) -> Tensor:
        """The boxes of one picture that NMS on each level leaves."""
        boxes = clip(boxes, size)
        some = large_enough(boxes, 1e-3)
        boxes = boxes[some]
        return boxes[nms_by_group(boxes, scores[some], levels[some], self.threshold, limit=count)]

    def loss(
        self, objectness: Sequence[Tensor], offsets: Sequence[Tensor], anchors: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """{"objectness", "proposal"}: equation 1 of the paper over sampled anchors; anchors are those of all levels."""
        logits = torch.cat([rows(level, 1) for level in objectness], 1)[..., 0]
        shifts = torch.cat([rows(level, 4) for level in offsets], 1)
        chosen_logits, truth, moved, wanted = [], [], [], []
        for own_logits, own_shifts, target in zip(logits, shifts, targets, strict=True):
            index = assign(anchors, target, high=0.7, low=0.3, keep_best=True)
            positive, negative = sample(index >= 0, index == BACKGROUND, count=self.samples, positive_share=0.5)
            both = torch.cat((positive, negative))
            chosen_logits.append(own_logits[both])
            truth.append((index[both] >= 0).float())
            moved.append(own_shifts[positive])
            wanted.append(encode(target.boxes[index[positive]], anchors[positive], WEIGHTS))
        samples = sum(len(picture) for picture in truth)
        return {
            "objectness": binary_cross_entropy(torch.cat(chosen_logits), torch.cat(truth)),
            "proposal": smooth_l1(torch.cat(moved), torch.cat(wanted), beta=1 / 9) / max(samples, 1),
        }


def rows(level: Tensor, values: int) -> Tensor:
    """[batch, A * values, height, width] -> [batch, height * width * A, values] in float32, as pixels need."""
    batch, _, height, width = level.shape
    return level.float().view(batch, -1, values, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)
