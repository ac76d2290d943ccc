"""The race: every detector on ImageNet's MobileNetV2, on blood cells (BCCD, 3 classes) or playing cards (6 classes).

    python recipes/race.py cards CARDS_FOLDER MOBILENET_WEIGHTS [--minutes 6]
    python recipes/race.py bccd BCCD_FOLDER MOBILENET_WEIGHTS [--minutes 6]

BCCD, 72 test photos, seed 0, 5 minutes each on two cores of an AMD EPYC that about ten other processes shared,
2026-11-22, with one recipe for all (without the settings of single models below, which are those of bccd.py):

    model          AP50    AP  AP small  ms a picture  parameters  epochs
    faster_rcnn   0.869 0.462     0.286           548      18.8 M       2
    fast_rcnn     0.787 0.454     0.103           244       5.8 M       9
    ssd           0.657 0.395     0.005            74       4.3 M      22
    yolo          0.630 0.318     0.001           100       5.7 M      11
    retinanet     0.291 0.175     0.000           159       4.1 M       8

RetinaNet had found only the red cells, nine tenths of all objects, when its time was over. The milliseconds are of the
plain models on a busy machine.
"""

import argparse
from pathlib import Path
from typing import Any

import siseon

MODELS = ("faster_rcnn", "retinanet", "ssd", "yolo", "fast_rcnn")
BODY: dict[str, Any] = {
    "backbone_options": {"padding": "tensorflow"},  # the weights were trained so
    "frozen": 2,
    "freeze_norm": True,
}
ALL: dict[str, dict[str, Any]] = {
    "bccd": {"imgsz": 480},
    "cards": {"imgsz": 384, "flip": 0},  # a mirrored card is no card
}
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "bccd": {
        # no cell is so small that stride 4 would help, and that level costs most
        "faster_rcnn": {
            "options": {"first_level": 1, "channels": 128, "hidden": 512, "anchor_sizes": [[32], [64], [96], [160]]}
        },
        "retinanet": {
            "batch": 4,
            "lr": 1e-3,
            "options": {
                "channels": 96,
                "depth": 2,
                "norm": True,
                # the smallest cells, of 20 to 40 pixels, must be found at stride 8
                "anchor_sizes": [[20, 28, 40], [56, 72, 90], [110, 135, 165], [200, 240, 290], [350, 400, 450]],
            },
        },
        "ssd": {
            "imgsz": 416,
            "lr": 1e-3,
            "options": {
                "frozen": 1,
                "wide": 192,
                "extra": [256, 256, 128],
                "scales": [0.065, 0.16, 0.27, 0.42, 0.6, 0.8, 1.0],
            },
        },
    },
    "cards": {
        "faster_rcnn": {
            "options": {"first_level": 1, "channels": 128, "hidden": 512, "anchor_sizes": [[48], [80], [128], [208]]}
        },
        "retinanet": {"batch": 4, "lr": 1e-3, "options": {"channels": 96, "depth": 2, "norm": True}},
        "ssd": {"lr": 1e-3, "options": {"frozen": 1, "extra": [256, 256, 128]}},
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=ALL, help="which of the two")
    parser.add_argument("data", help="folder of BCCD, or of the cards with train/ and test/")
    parser.add_argument("weights", help="MobileNetV2's ImageNet weights, under torchvision's names")
    parser.add_argument("--models", nargs="*", default=MODELS, help="rcnn too, which takes its time")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="runs/race_bccd or runs/race_cards if left out")
    given = parser.parse_args()

    own = {model: settings for model, settings in OWN[given.name].items() if model in given.models}
    siseon.compare(
        given.models, given.data, out=given.out or Path(f"runs/race_{given.name}"), family="mobilenet_v2",
        minutes=given.minutes, seed=given.seed, weights=given.weights, options=BODY, own=own, ema=0.998,
        **ALL[given.name],
    )  # fmt: skip


if __name__ == "__main__":
    main()
