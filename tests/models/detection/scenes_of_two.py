"""A picture that a detector can learn in a few steps, and the two objects in it."""

import torch

from siseon.interface import Target

BOXES = [[20.0, 30.0, 70.0, 80.0], [90.0, 60.0, 140.0, 130.0]]
LABELS = [0, 1]


def picture(size=(160, 160)):
    """Grey, with a red and a green rectangle where the boxes are."""
    pixels = torch.full((3, *size), 0.5)
    for channel, (left, top, right, bottom) in enumerate(BOXES):
        pixels[:, int(top) : int(bottom), int(left) : int(right)] = 0.1
        pixels[channel, int(top) : int(bottom), int(left) : int(right)] = 0.9
    return pixels


def target(boxes=BOXES, labels=LABELS, crowd=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    crowd = [False] * len(boxes) if crowd is None else crowd
    return Target(boxes, torch.tensor(labels, dtype=torch.int64), torch.tensor(crowd, dtype=torch.bool))


NOTHING = target([], [])
