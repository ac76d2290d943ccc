"""The compiled poolings as differentiable functions of CPU tensors; imported by roi when one of them runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from siseon.boxes import _kernels
from siseon.threads import in_threads

CHANNELS_APART = 16
"""Threads share the channels in blocks of this many float32: one cache line, so that no two threads write to one."""


def align(
    features: Sequence[Tensor], *, images: Tensor, levels: Tensor, y: tuple[Tensor, Tensor], x: tuple[Tensor, Tensor]
) -> Tensor:
    """RoIAlign [regions, channels, rows, columns] of taps y and x (places, weights), each region from its level."""
    chosen = [(levels == level).nonzero().flatten().numpy() for level in range(len(features))]
    taps = [_kernels.Taps(places.numpy(), weights.numpy()) for places, weights in (y, x)]
    maps = [each.float() for each in features]
    pooled: Tensor = _Align.apply(images.numpy(), *taps, chosen, *maps)  # type: ignore[no-untyped-call]
    return pooled.to(features[0].dtype)


def largest(features: Tensor, *, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """RoIPool [regions, channels, rows, columns]; y, x: first and one past the last cell of each bin."""
    pooled: Tensor = _Largest.apply(images.numpy(), y.numpy(), x.numpy(), features.float())  # type: ignore[no-untyped-call]
    return pooled.to(features.dtype)


class _Align(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,  # noqa: ANN401  (torch's own class, to which anything may be tied)
        images: np.ndarray,
        y: _kernels.Taps,
        x: _kernels.Taps,
        chosen: list[np.ndarray],
        *features: Tensor,
    ) -> Tensor:
        maps = [_channels_last(each) for each in features]
        pooled = torch.empty(len(images), maps[0].shape[3], y.places.shape[1], x.places.shape[1])

        def work(part: int, parts: int) -> None:
            for each, regions in zip(maps, chosen, strict=True):
                _kernels.align_forward(each, images, y, x, regions, pooled.numpy(), part, parts)

        in_threads(work, most=len(images))
        context.saved = images, y, x, chosen, [each.shape for each in maps]
        return pooled

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        images, y, x, chosen, shapes = context.saved
        maps = [torch.zeros(shape) for shape in shapes]
        pooled = gradient.contiguous().numpy()

        def work(part: int, parts: int) -> None:
            start, stop = _share(pooled.shape[1], part, parts)
            for each, regions in zip(maps, chosen, strict=True):
                _kernels.align_backward(pooled, images, y, x, regions, each.numpy(), start, stop)

        in_threads(work, most=-(-pooled.shape[1] // CHANNELS_APART))
        return None, None, None, None, *(each.permute(0, 3, 1, 2) for each in maps)


class _Largest(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,  # noqa: ANN401
        images: np.ndarray,
        y: np.ndarray,
        x: np.ndarray,
        features: Tensor,
    ) -> Tensor:
        cells = _channels_last(features)
        pooled = torch.empty(len(images), cells.shape[3], y.shape[1], x.shape[1])
        winners = np.empty((len(images), y.shape[1] * x.shape[1], cells.shape[3]), np.int32)

        def work(part: int, parts: int) -> None:
            _kernels.max_forward(cells, images, y, x, pooled.numpy(), winners, part, parts)

        in_threads(work, most=len(images))
        context.saved = winners, cells.shape
        return pooled

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        winners, shape = context.saved
        cells = torch.zeros(shape)
        pooled = gradient.contiguous().numpy()

        def work(part: int, parts: int) -> None:
            _kernels.max_backward(pooled, winners, cells.numpy(), *_share(shape[3], part, parts))

        in_threads(work, most=-(-shape[3] // CHANNELS_APART))
        return None, None, None, cells.permute(0, 3, 1, 2)


def _channels_last(features: Tensor) -> np.ndarray:
    return features.detach().permute(0, 2, 3, 1).contiguous().numpy()


def _share(channels: int, part: int, parts: int) -> tuple[int, int]:
    blocks = -(-channels // CHANNELS_APART)
    return blocks * part // parts * CHANNELS_APART, min(blocks * (part + 1) // parts * CHANNELS_APART, channels)
