"""Feature pyramid network (Lin, Dollar, Girshick, He, Hariharan, Belongie 2017, arXiv:1612.03144).

Idea    Deep maps know what, fine maps know where: carry the deep ones up, and detect at each size on its own level.
Flow    C2 .. C5 -> 1x1 to one width -> each plus the coarser one, enlarged to its size -> 3x3 -> P2 .. P5; P6 from P5
Here    Figure 3. P6, for the largest anchors, is P5 subsampled (section 4.1, footnote 2), or P6 and P7 are convolutions
        of stride 2, for RetinaNet. SingleLevel is what came before: the last map of a body that ends at stride 16, as
        in Faster R-CNN (2015), one level for all sizes.

Both have features(images) -> maps, finest first, and the tuples channels and strides, one entry a map;
`region_levels` counts the first maps from which boxes take their features (P6 is for anchors only).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from siseon.layers import Body


class FPN(nn.Module):
    """A pyramid of maps with `channels` channels on the stages of a body from number `first` (0 is stride 4) on.

    coarse: what follows P5: "pooled" is P6, every second cell of P5; "C5" or "P5" are P6 and P7 by 3x3 convolutions of
    stride 2 of that map and of relu(P6) (Lin et al. 2017, arXiv:1708.02002, footnote 2). group_norm: after each
    convolution, for training from nothing (Wu and He 2018, arXiv:1803.08494, section 4.2).
    """

    def __init__(
        self,
        body: Body,
        *,
        channels: int = 256,
        first: int = 0,
        coarse: Literal["pooled", "C5", "P5"] = "pooled",
        group_norm: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.first = first
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in body.channels[first:])
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in body.channels[first:])
        self.coarse = coarse
        widths = {"pooled": (), "C5": (body.channels[-1], channels), "P5": (channels, channels)}[coarse]
        self.extra = nn.ModuleList(nn.Conv2d(width, channels, 3, stride=2, padding=1) for width in widths)
        last = body.strides[-1]
        self.strides = (*body.strides[first:], *((2 * last, 4 * last) if widths else (2 * last,)))
        self.channels = (channels,) * len(self.strides)
        self.region_levels = len(self.output)
        convolutions = (*self.lateral, *self.output, *self.extra)
        for convolution in convolutions:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) if group_norm else nn.Identity() for _ in convolutions)

    def features(self, images: Tensor) -> list[Tensor]:
        """P2 .. P6 or P7, each [batch, channels, height, width], of normalised images [batch, 3, height, width]."""
        stages = self.body.features(images)[self.first :]
        norms = iter(self.norms)
        merged = [next(norms)(lateral(stage)) for lateral, stage in zip(self.lateral, stages, strict=True)]
        for level in range(len(merged) - 2, -1, -1):
            merged[level] = merged[level] + F.interpolate(merged[level + 1], merged[level].shape[-2:], mode="nearest")
        maps = [next(norms)(output(level)) for output, level in zip(self.output, merged, strict=True)]
        if self.coarse == "pooled":
            return [*maps, F.max_pool2d(maps[-1], 1, 2)]
        sixth = next(norms)(self.extra[0](stages[-1] if self.coarse == "C5" else maps[-1]))
        return [*maps, sixth, next(norms)(self.extra[1](F.relu(sixth)))]


class SingleLevel(nn.Module):
    """One map: that of the first `stages` stages of a body (3 is stride 16); the rest of the body is cut off."""

    def __init__(self, body: Body, *, stages: int = 3) -> None:
        super().__init__()
        body.end_at(stages)
        self.body = body
        self.channels = body.channels[-1:]
        self.strides = body.strides[-1:]
        self.region_levels = 1

    def features(self, images: Tensor) -> list[Tensor]:
        """One map [batch, channels, height, width] of normalised images [batch, 3, height, width]."""
        return self.body.features(images)[-1:]


Backbone: TypeAlias = FPN | SingleLevel
