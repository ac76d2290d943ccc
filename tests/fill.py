"""Tensors that depend on their torchvision name and shape alone, so that two implementations can be compared offline.

The reference figures of golden.py were computed by torchvision 0.28 on models filled with these.
"""

import zlib

import numpy as np
import torch


def tensor(name, shape):
    """The values that stand for torchvision's tensor `name`, at a size that keeps the maps of a deep network finite."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(normal)
    elif name.endswith(("running_mean", "bias")):
        values = 0.05 * normal
    elif len(shape) == 1:
        ends_branch = name.endswith(("bn2.weight", "bn3.weight"))
        values = (0.2 if ends_branch else 1) * (1 + 0.05 * normal)
    else:
        gain = 0.01 if "module_list" in name else 0.15 if "bbox" in name or "cls_" in name else 1
        values = gain * normal * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return torch.from_numpy(np.asarray(values, np.float32))


def picture(height, width):
    """A smooth colour picture with a few hard edges, [3, height, width], 0..1."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x * a / width + y * b / height + c) for a, b, c in random.uniform(2, 14, (3, 3))]
    pixels = np.stack([0.5 + 0.4 * wave for wave in waves])
    for _ in range(6):
        top, left = random.integers(0, height * 3 // 4), random.integers(0, width * 3 // 4)
        colour = random.random((3, 1, 1))
        down, across = random.integers(12, height // 4), random.integers(12, width // 4)
        pixels[:, top : top + down, left : left + across] = colour
    return torch.from_numpy(pixels.clip(0, 1).astype(np.float32))
