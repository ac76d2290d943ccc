"""A race that was never run: results with figures as wished, pictures with answers."""

import math

import numpy as np
import torch

from siseon.comparison.kinds import KINDS
from siseon.comparison.photographs import Photo
from siseon.comparison.result import Comparison, Result
from siseon.data.dataset import Annotation
from siseon.interface import VOID, Classification, Detections, Segmentation

CONDITIONS = {"processor": "x86_64", "cores": "2", "threads": "1", "device": "cpu", "torch": "2.13", "system": "Linux"}
CLASSES = ("원", "star")


def result(model, accuracy=0.5, *, stages=None, small=math.nan, noise=0.0, task="detection", **more):
    """A result whose figures, without each tenth of the pictures, go up and down by `noise`."""
    main = KINDS[task].main
    stages = {"features": 10.0, "rest": 1.0} if stages is None else stages
    swing = noise * np.resize([1, -1], 10)
    figures = {main: accuracy, "pictures": 300.0}
    without = {main: list(accuracy + swing)}
    if task == "detection":
        figures |= {"AP": accuracy / 2, "AP_small": small, "AP_medium": accuracy / 2, "AP_large": math.nan}
        without["AP_small"] = list(small + swing)
    known = {"figures": figures, "without": without, "stages": stages, "parameters": 1000, "macs": 2e6, "epochs": 3}
    return Result(model, model, **(known | {"seconds": 60.0, "weights": 0.004, "peak": 1.5} | more))


def comparison(folder, *results, task="detection", pictures=300):
    """A race with these results."""
    return Comparison(folder, task, "scenes", CLASSES, KINDS[task].main, 5.0, 0, pictures, 20, CONDITIONS, results)


def photos(*models, task="detection", count=2):
    """Grey pictures with one star; each model finds it, or says so. Of a map the lower half is unknown."""
    boxes, labels = np.array([[4, 4, 20, 20]], np.float32), np.array([1])
    box = torch.from_numpy(boxes)
    if task == "detection":
        known = Annotation("사진/1.png", boxes=boxes, labels=labels, crowd=np.zeros(1, bool))
        answer = Detections(box, torch.tensor([1]), torch.tensor([0.9]), CLASSES)
    elif task == "segmentation":
        semantic = np.zeros((40, 40), np.uint8)
        semantic[4:20, 4:20], semantic[20:] = 1, VOID
        known = Annotation("사진/1.png", semantic=semantic)
        answer = Segmentation(torch.ones(40, 40, dtype=torch.int64), torch.ones(40, 40), CLASSES)
    else:
        known = Annotation("사진/1.png", label=1)
        answer = Classification(torch.tensor([0.2, 0.8]), CLASSES)
    return [Photo(np.full((40, 40, 3), 90, np.uint8), known, dict.fromkeys(models, answer)) for _ in range(count)]
