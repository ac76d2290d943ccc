"""Proposals that come from outside the network: Selective Search, remembered picture by picture.

R-CNN and Fast R-CNN take their boxes from the pixels alone. That is slow and has nothing to learn, so no picture is
searched twice: the boxes are kept under the SHA-256 of its pixels, in memory and, if a folder is given, on disk.

A picture and its mirror image share one entry, whose boxes are mirrored with it, as the authors of R-CNN trained.
Training that only mirrors pictures therefore searches each of them once; where pictures are also scaled or tinted at
random, each is new and is searched again.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from siseon import tensorfile
from siseon.interface import Images, RecipeError, WeightsError
from siseon.models.detection.selective_search import Mode, propose


class Proposals:
    """The boxes [boxes, 4] of each picture of a batch, best first, in pixels of the network's input.

    limit: boxes a picture at most; folder: where boxes are kept from run to run, one small file a picture, made when
    first needed; remembered: how many pictures stay in memory, the least recently used goes first; propose: searches
    one picture. Copies of a model share its proposals. Not a module: nothing here is learnt or saved with a model.
    """

    def __init__(
        self,
        *,
        mode: Mode = "fast",
        limit: int = 2000,
        folder: Path | None = None,
        remembered: int = 4096,
        propose: Callable[..., Tensor] = propose,
    ) -> None:
        if limit < 1:
            raise RecipeError(f"{limit} proposals a picture are too few", "Give 100 or more")
        self.mode = mode
        self.limit = limit
        self.folder = folder
        self.remembered = remembered
        self.propose = propose
        self._memory: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, images: Images) -> list[Tensor]:
        """float32 [boxes, 4] a picture, on the device of the images; the whole picture where nothing is found."""
        pictures = [_pixels(picture, size) for picture, size in zip(images.tensor, images.sizes, strict=True)]
        keys = [self._key(picture) for picture in pictures]
        wanted = {key: picture for (key, _), picture in zip(keys, pictures, strict=True)}
        mirrored = dict(keys)
        found = {key: boxes for key in wanted if (boxes := self._recalled(key)) is not None}
        missing = [key for key in wanted if key not in found]
        searched = [_mirrored(wanted[key]) if mirrored[key] else wanted[key] for key in missing]
        for key, boxes in zip(missing, self._search(searched), strict=True):
            found[key] = boxes
            self._keep(key, boxes)
        return [
            torch.tensor(_mirrored_boxes(found[key], width) if turned else found[key], device=images.tensor.device)
            for (key, turned), (_, width) in zip(keys, images.sizes, strict=True)
        ]

    def __deepcopy__(self, memo: dict[int, object]) -> Proposals:
        return self

    def _key(self, picture: np.ndarray) -> tuple[str, bool]:
        """The name of the entry, and whether it holds the mirror image: that of the two with the lesser digest."""
        settings = f"{self.mode} {self.limit} {picture.shape[0]} x {picture.shape[1]} ".encode()
        own, other = (
            hashlib.sha256(settings + pixels.tobytes()).hexdigest() for pixels in (picture, _mirrored(picture))
        )
        return min(own, other), other < own

    def _recalled(self, key: str) -> np.ndarray | None:
        """The boxes kept in memory or on disk; None where there are none, or where the file is damaged."""
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        if self.folder is None:
            return None
        try:
            boxes = tensorfile.read(self._file(key))[0]["boxes"]
        except (WeightsError, KeyError):
            return None
        self._remember(key, boxes.numpy())
        return self._memory.get(key)

    def _search(self, pictures: list[np.ndarray]) -> list[np.ndarray]:
        """Selective Search on every picture, several at once."""
        if len(pictures) < 2:
            return [self._searched(picture) for picture in pictures]
        with ThreadPoolExecutor(min(len(pictures), os.cpu_count() or 1)) as threads:
            return list(threads.map(self._searched, pictures))

    def _searched(self, picture: np.ndarray) -> np.ndarray:
        boxes = self.propose(picture, mode=self.mode, limit=self.limit).float().numpy()
        whole = np.array([[0, 0, picture.shape[1], picture.shape[0]]], np.float32)
        return boxes if len(boxes) else whole

    def _keep(self, key: str, boxes: np.ndarray) -> None:
        self._remember(key, boxes)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            tensorfile.write(self._file(key), {"boxes": torch.from_numpy(boxes)})

    def _remember(self, key: str, boxes: np.ndarray) -> None:
        self._memory[key] = boxes
        while len(self._memory) > self.remembered:
            self._memory.popitem(last=False)

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.safetensors"


def _pixels(picture: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The picture without its padding, uint8 [height, width, 3]."""
    own = picture[:, : size[0], : size[1]].detach().float()
    return np.ascontiguousarray((own * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def _mirrored(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[:, ::-1])


def _mirrored_boxes(boxes: np.ndarray, width: int) -> np.ndarray:
    left, top, right, bottom = boxes.T
    return np.stack([width - right, top, width - left, bottom], 1)
