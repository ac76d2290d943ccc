"""Cell nuclei under the microscope (Data Science Bowl 2018): Mask R-CNN on MobileNetV2 with a pyramid, from ImageNet.

    python recipes/nuclei.py NUCLEI_FOLDER MOBILENET_WEIGHTS [--minutes 28] [--pooling pool] [--out runs/nuclei]

NUCLEI_FOLDER has train/ and val/, in each images/ and instances/: for each picture a 16-bit PNG of the same name, 0
where nothing is and k at the k-th nucleus. That is written as COCO JSON beside the run first, into runs/nuclei-data,
where `siseon evaluate runs/nuclei` finds it again. A tenth of the training pictures chooses the best epoch; those of
val/ are kept for the last word.

67 pictures of val/, 1,863 nuclei, seed 0, 10 minutes of training each on two cores of an AMD EPYC that other work
shared (12 epochs with RoIAlign, 9 with RoI pooling), 2026-11-22:

    --pooling   mask AP50  mask AP  mask AP75  box AP50  box AP
    align           0.856    0.482      0.510     0.856   0.522
    pool            0.834    0.443      0.440     0.844   0.457

RoI pooling loses most where the outline must be exact, as in the paper (about 5 points of AP75 on COCO, its table 2c).

--pooling pool takes RoI pooling instead of RoIAlign in both heads: the ablation of the paper's table 2c.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from siseon import build, evaluate, fit, open_data
from siseon.data import coco
from siseon.data.dataset import Annotation
from siseon.evaluation import validate

OPTIONS = {
    "backbone": "mobilenet_v2",
    "backbone_options": {"padding": "tensorflow"},  # the weights were trained so
    "first_level": 0,  # half of the nuclei are below 13 pixels of 256: stride 4 is needed
    "channels": 64,
    "hidden": 256,
    "mask_channels": 64,
    "anchor_sizes": [[12, 18], [26, 36], [52, 72], [104, 144], [208, 288]],
    "counts": [500, 300],
    "training_counts": [1000, 500],
    "box_samples": 128,
    "positive_share": 0.4,
    "frozen": 2,
    "freeze_norm": True,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with train/ and val/, in each images/ and instances/")
    parser.add_argument("weights", help="MobileNetV2's ImageNet weights, under torchvision's names")
    parser.add_argument("--minutes", type=float, default=28)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pooling", choices=("align", "pool"), default="align")
    parser.add_argument("--out", type=Path, default=Path("runs/nuclei"))
    given = parser.parse_args()

    data = open_data(as_coco(given.data, given.out.absolute().with_name(f"{given.out.name}-data")))
    model = build("mask_rcnn", weights=given.weights, classes=data.classes, pooling=given.pooling, **OPTIONS)
    run = fit(
        model, data, out=given.out, evaluate=validate, seed=given.seed, minutes=given.minutes, epochs=100,
        imgsz=448, batch=8, workers=0, optimizer="adamw", lr=4e-4, precision="bf16", ema=0.998,
        scale=(0.7, 1.4), rotate=15,
    )  # fmt: skip
    print(evaluate(run.model, data, out=given.out / "test").table())


def as_coco(source: Path, out: Path) -> Path:
    """Write instance maps as COCO JSON with run-length codes, and the pictures beside; val/ becomes the test split.

    What an earlier run wrote is written anew.
    """
    for split, ours in (("train", "train"), ("val", "test")):
        folder = out / ours
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for file in sorted((source / split / "instances").glob("*.png")):
            numbers = np.array(Image.open(file))
            shutil.copy(source / split / "images" / file.name, folder)
            entries.append((file.name, numbers.shape, coco.items(annotation(file.name, numbers))))
        coco.write(folder / "_annotations.coco.json", entries, ["nucleus"])
    return out


def annotation(name: str, numbers: np.ndarray) -> Annotation:
    """The objects of a map [height, width] that holds 0 for the ground and k for the k-th object."""
    segments = tuple(numbers == number for number in np.unique(numbers[numbers > 0]))
    corners = [
        (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) for rows, columns in map(np.nonzero, segments)
    ]
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    count = len(segments)
    return Annotation(
        name, boxes=boxes, labels=np.zeros(count, np.int64), crowd=np.zeros(count, bool), segments=segments
    )


if __name__ == "__main__":
    main()
