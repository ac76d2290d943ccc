"""The race on blood cells under the microscope (BCCD, 3 classes): every detector on ImageNet's MobileNetV2.

    python recipes/race_bccd.py BCCD_FOLDER MOBILENET_WEIGHTS [--minutes 5]

72 test photos, seed 0, 5 minutes each on two cores of an AMD EPYC that about ten other processes shared, 2026-11-22
(the fifth of what a quiet machine does in 20 minutes, at best):

    model          AP50    AP  AP small  ms a picture  parameters  epochs
    faster_rcnn   0.869 0.462     0.286           548      18.8 M       2
    fast_rcnn     0.787 0.454     0.103           244       5.8 M       9
    ssd           0.657 0.395     0.005            74       4.3 M      22
    yolo          0.630 0.318     0.001           100       5.7 M      11
    retinanet     0.291 0.175     0.000           159       4.1 M       8

RetinaNet had found only the red cells, nine tenths of all objects, when its time was over. The milliseconds are of the
plain models on a busy machine. R-CNN was not run.
"""

import argparse
from pathlib import Path

import siseon

MODELS = ("faster_rcnn", "retinanet", "ssd", "yolo", "fast_rcnn", "rcnn")
BODY = {
    "backbone_options": {"padding": "tensorflow"},  # the weights were trained so
    "frozen": 2,
    "freeze_norm": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="folder with Annotations, ImageSets and JPEGImages")
    parser.add_argument("weights", help="MobileNetV2's ImageNet weights, under torchvision's names")
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/race_bccd"))
    given = parser.parse_args()

    siseon.compare(
        given.models, given.data, out=given.out, family="mobilenet_v2", minutes=given.minutes, seed=given.seed,
        weights=given.weights, options=BODY, ema=0.998,
    )  # fmt: skip


if __name__ == "__main__":
    main()
