"""The race: every detector on ImageNet's MobileNetV2, on blood cells (BCCD, 3 classes) or playing cards (6 classes).

    python recipes/race.py cards CARDS_FOLDER MOBILENET_WEIGHTS [--minutes 6]
    python recipes/race.py bccd BCCD_FOLDER MOBILENET_WEIGHTS [--minutes 6]

Cards, 67 test photos with 143 cards (21 of medium size, 122 large, none small), seed 0, 6 minutes each on one core of
an AMD EPYC that other work shared, 2026-11-22, with the settings of single models below:

    model          AP50    AP  AP medium  AP large  ms a picture  parameters   MACs  epochs
    fast_rcnn     0.930 0.630      0.534     0.647           285       5.8 M  4.5 G      10
    yolo          0.888 0.536      0.401     0.561           101       5.7 M  1.4 G      13
    faster_rcnn   0.720 0.438      0.394     0.454           367       6.0 M  4.8 G       3
    ssd           0.580 0.365      0.399     0.378           169       4.0 M  1.4 G       6
    retinanet     0.388 0.307      0.321     0.321           171       2.9 M  1.8 G       9

    ms of a prediction   features  proposals  regions  head  (a quieter half hour before, in all)
    fast_rcnn                  72         74       30   103   225
    yolo                       77                        18    83
    faster_rcnn               128         22       24   186   177
    ssd                       142                        17    98
    retinanet                 114                        51   116

As in the papers: Faster R-CNN makes in 22 ms the proposals that take Fast R-CNN 74, and the one-stage models are the
fastest. Otherwise than there Fast R-CNN is ahead of Faster R-CNN: Selective Search has nothing to learn, each photo is
searched once and kept, and a step learns 64 boxes a photo, Faster R-CNN's 512. So its 6 minutes were 10 epochs, Faster
R-CNN's 3, at 2.4 photos a second, half of what it did where nothing shared the core; 11 minutes of two cores are 13
epochs and AP50 0.949 (cards.py). YOLO is ahead of SSD and RetinaNet, which find cards and do not yet know which: SSD
calls 38 of the 84 that it finds at score 0.5 by a wrong name, RetinaNet gives only 2 a score of 0.5, and its AP is near
its AP50. Faster R-CNN, SSD and YOLO had their minutes a second time, because the machine stood still in the first. Fast
R-CNN searched with the paper's order of boxes.

BCCD, 72 test photos with 945 cells (7 small, so that AP small says little, 295 medium, 643 large), seed 0, 2026-11-22,
with one recipe for all, without the settings of single models below, which are those of bccd.py, where RetinaNet and
SSD reach 0.90. 5 minutes each on two cores of an AMD EPYC that about ten other processes shared; R-CNN 12 minutes on
one core:

    model          AP50    AP  AP small  ms a picture  parameters  epochs
    faster_rcnn   0.869 0.462     0.286           548      18.8 M       2
    fast_rcnn     0.787 0.454     0.103           244       5.8 M       9
    ssd           0.657 0.395     0.005            74       4.3 M      22
    yolo          0.630 0.318     0.001           100       5.7 M      11
    rcnn          0.578 0.313     0.011         2,154       1.8 M       4
    retinanet     0.291 0.175     0.000           159       4.1 M       8

R-CNN spends 85 % of its time in the convolutions of 300 regions, as its paper tells. RetinaNet had found only the red
cells, nine tenths of all objects, when its time was over. The milliseconds are of the plain models on a busy machine.
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
