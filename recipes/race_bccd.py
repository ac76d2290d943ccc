"""The race on blood cells under the microscope (BCCD, 3 classes): every detector on ImageNet's MobileNetV2.

    python recipes/race_bccd.py BCCD_FOLDER MOBILENET_WEIGHTS [--minutes 6]

FIGURES
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
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/race_bccd"))
    given = parser.parse_args()

    siseon.compare(
        given.models, given.data, out=given.out, family="mobilenet_v2", minutes=given.minutes, seed=given.seed,
        weights=given.weights, options=BODY, ema=0.998,
    )  # fmt: skip


if __name__ == "__main__":
    main()
