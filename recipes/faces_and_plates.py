"""Detectors of faces (WIDER FACE) and of number plates, for `siseon blur`: RF-RCNN on MobileNetV2, from ImageNet.

    python recipes/faces_and_plates.py FACES_FOLDER PLATES_FOLDER MOBILENET_WEIGHTS [--minutes 18] [--peer RFB.onnx]
    siseon blur holiday/ hidden/ --model runs/faces_and_plates/face --model runs/faces_and_plates/plate --margin 0.2

Data    174 photos with 3,385 faces (wider_val200), 183 with 189 plates (plates183). In the photos of faces nobody
        marked the plates, nor the faces in those of plates: learnt together, each would teach that the other is
        background. So there are two networks, each of which sees its own photos only, in half of the minutes. The
        photos were stretched to squares; here they get their shape back (640 pixels wide for faces, 480 for plates),
        because a user's photos are not stretched. Faces that WIDER calls invalid or that are below 10 pixels of the
        original photo count neither as faces nor as background.
Split   by a hash of the file name: a fifth is for the test, a tenth chooses the best epoch.
Peer    --peer: version-RFB-640 (Ultra-Light-Fast-Generic-Face-Detector-1MB, MIT), trained on all of WIDER's 12,880
        training photos, on the same held-out photos. The heights of the original photos were once estimated with its
        help, by which it may gain a little.
Result  seed 0, 18 minutes in one thread of an AMD EPYC that other work shared, 2026-11-22. Plates: AP50 0.924, AP 0.494
        on the 36 test photos; faces: AP50 0.426, AP 0.177 on 41; the peer 0.521, 0.252. Below, recall at overlap 0.5 by
        size in pixels (small below 32^2, large from 96^2), objects hidden whole (95 % of their pixels) with a margin of
        0.1 and of 0.2, and boxes that are on no object:

          score       small         medium       large        all    +0.1   +0.2   false
          plates 0.3  0.750 of 4    1.000 of 24  1.000 of 9   0.973  0.865  0.973   1.8 a photo
                 0.5  0.750         1.000        1.000        0.973  0.838  0.973   0.9
          faces  0.3  0.548 of 423  0.863 of 80  1.000 of 11  0.607  0.646  0.712  41.8
                 0.5  0.440         0.863        1.000        0.518  0.510  0.586  15.5
                 0.7  0.324         0.838        1.000        0.418  0.362  0.453   4.3
          peer   0.3  0.414         0.863        1.000        0.496  0.407  0.514   2.3
                 0.5  0.357         0.850        1.000        0.447  0.370  0.457   1.1

        Our faces are found where they are not, too: with as few false boxes the peer, which saw a hundred times as many
        photos, finds more. Half of the small faces stay open. A margin of 0.2 closes what 0.1 leaves of plates.
"""

import argparse
import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import torch

from siseon import build, evaluate, fit, open_data, pictures
from siseon.blurring import Finder, blur_files
from siseon.boxes.geometry import overlap
from siseon.boxes.nms import nms
from siseon.data import coco
from siseon.evaluation import Evaluation, validate
from siseon.hiding import hide, regions
from siseon.interface import Detections

SCORES = 0.3, 0.5, 0.7
"""Of which `siseon blur --score` takes one; 0.3 if it is left out."""
BODY: dict[str, Any] = {
    "backbone": "mobilenet_v2",
    "backbone_options": {"padding": "tensorflow"},  # the weights were trained so
    "freeze_norm": True,
    "frozen": 1,
    "refinements": 1,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "face": {
        **BODY,
        "channels": 64,  # at stride 4 every channel costs; half of all faces are smaller than 20 pixels
        "hidden": 256,
        "anchor_sizes": [[8, 13], [20, 30], [45, 65], [100, 150], [220, 320]],
        "ratios": [1.25],
        "box_samples": 256,
        "limit": 300,
    },
    "plate": {
        **BODY,
        "first_level": 1,
        "channels": 96,
        "hidden": 256,
        "anchor_sizes": [[24, 36], [56, 80], [110, 150], [200, 280]],
        "ratios": [0.25, 0.5],
        "box_samples": 128,
    },
}
FIT: dict[str, dict[str, Any]] = {
    "face": {"imgsz": 640, "batch": 4, "lr": 5e-4},
    "plate": {"imgsz": 480, "batch": 4, "lr": 4e-4},
}
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e9)}
"""COCO's, in square pixels of the photos as they are written here."""


class Peer:
    """version-RFB-640: scores [1, boxes, 2], corners [1, boxes, 4] as shares of the sides; pictures of 640 x 480."""

    task = "detection"
    classes = ("face",)

    def __init__(self, file: Path) -> None:
        self.network = cv2.dnn.readNetFromONNX(str(file))

    def predict(self, pictures: Sequence[np.ndarray], *, score: float, batch: int = 1) -> list[Detections]:
        """The faces above `score`."""
        return [self._found(picture, score) for picture in pictures]

    def _found(self, picture: np.ndarray, score: float) -> Detections:
        height, width = picture.shape[:2]
        self.network.setInput(cv2.dnn.blobFromImage(picture, 1 / 128, (640, 480), (127, 127, 127)))
        outputs = self.network.forward(["scores", "boxes"])
        scores, boxes = (torch.from_numpy(np.asarray(each)).reshape(-1, each.shape[-1]) for each in outputs)
        keep = scores[:, 1] >= score
        found, sure = boxes[keep] * torch.tensor([width, height, width, height]), scores[keep, 1]
        best = nms(found, sure, 0.3)
        return Detections(found[best], torch.zeros(len(best), dtype=torch.int64), sure[best], self.classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faces", type=Path, help="folder with faces.json and images")
    parser.add_argument("plates", type=Path, help="folder with annotations and images")
    parser.add_argument("weights", help="MobileNetV2's ImageNet weights, under torchvision's names")
    parser.add_argument("--minutes", type=float, default=18, help="for both, half each")
    parser.add_argument("--peer", type=Path, help="version-RFB-640.onnx, to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faces_and_plates"))
    given = parser.parse_args()

    entries = {"face": faces(given.faces), "plate": plates(given.plates)}
    finders = []
    for name, longer in (("face", 640), ("plate", 480)):
        folder = write_coco(given.out / "data" / name, name, entries[name], longer)
        data = open_data(str(folder))
        model = build("refine_rcnn", weights=given.weights, classes=data.classes, **OPTIONS[name])
        run = fit(
            model, data, out=given.out / name, evaluate=validate, seed=given.seed, minutes=given.minutes / 2,
            epochs=200, workers=0, optimizer="adamw", precision="bf16", ema=0.99, scale=(0.7, 1.4), **FIT[name],
        )  # fmt: skip
        tell(name, evaluate(run.model, data, out=given.out / name / "test"))
        if name == "face" and given.peer:
            tell("face, version-RFB-640", evaluate(Peer(given.peer), data))
        finders.append(run.model)
    tests = [path for name in entries for path in sorted((given.out / "data" / name / "images" / "test").iterdir())[:6]]
    for path in tests:
        blur_files(Finder.of(finders, score=SCORES[1]), path, given.out / "hidden" / path.name)
    print(f"What siseon blur makes of some test photos is in {given.out / 'hidden'}")


def faces(folder: Path) -> list[dict[str, Any]]:
    """{file, size (width, height) of the original, boxes [objects, 4] as shares of the sides, crowd} a photo."""
    entries = []
    for photo in json.loads((folder / "faces.json").read_text(encoding="utf-8")):
        if not photo["boxes_xyxy_416"]:  # its shape could not be found out
            continue
        small = [box[3] < 10 for box in photo["boxes_xywh_original"]]
        crowd = [bool(bad) or few for bad, few in zip(photo["invalid"], small, strict=True)]
        size = photo["orig_width"], photo["orig_height_est"]
        boxes = np.array(photo["boxes_xyxy_416"], float) / 416
        entries.append({"file": folder / photo["file"], "size": size, "boxes": boxes, "crowd": crowd})
    return entries


def plates(folder: Path) -> list[dict[str, Any]]:
    """As `faces`. The boxes are of the stretched photos, the size is that before they were."""
    entries = []
    for file in sorted((folder / "annotations").glob("*.xml")):
        root = ElementTree.parse(file).getroot()
        size = tuple(int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
        edges = ("xmin", "ymin", "xmax", "ymax")
        boxes = [[float(box.findtext(edge, "0")) / 416 for edge in edges] for box in root.iter("bndbox")]
        photo = folder / "images" / f"{file.stem}.jpg"
        entries.append({"file": photo, "size": size, "boxes": np.array(boxes), "crowd": [False] * len(boxes)})
    return entries


def write_coco(folder: Path, name: str, entries: Sequence[dict[str, Any]], longer: int) -> Path:
    """Write a COCO data set of one class, the photos in their own shape again."""
    splits: dict[str, list[coco.Entry]] = {"train": [], "val": [], "test": []}
    for entry in entries:
        place = int.from_bytes(blake2b(entry["file"].name.encode(), digest_size=4).digest()) % 10
        split = "test" if place < 2 else "val" if place == 2 else "train"
        scale = longer / max(entry["size"])
        width, height = (round(side * scale) for side in entry["size"])
        picture = cv2.resize(pictures.read(entry["file"]), (width, height), interpolation=cv2.INTER_AREA)
        pictures.write(picture, folder / "images" / split / entry["file"].name)
        objects = []
        for box, crowd in zip(entry["boxes"] * (width, height, width, height), entry["crowd"], strict=True):
            left, top, right, bottom = box.clip(0, (width, height, width, height)).tolist()
            bbox = [left, top, right - left, bottom - top]
            objects.append({"category_id": 1, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": int(crowd)})
        splits[split].append((entry["file"].name, (height, width), objects))
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, some in splits.items():
        coco.write(folder / "annotations" / f"instances_{split}.json", some, [name])
    return folder


def tell(name: str, evaluation: Evaluation) -> None:
    """AP50; and for several scores, by size of the object, how many are found at overlap 0.5, and hidden whole."""
    figures = evaluation.metrics
    print(f"{name}: AP50 {figures['AP50']:.3f}  AP {figures['AP']:.3f}  {figures['ms_per_picture']:.0f} ms a photo")
    areas = np.concatenate([answer.areas[~answer.target().crowd].numpy() for answer in evaluation.answers])
    bins = {size: (areas >= low) & (areas < high) for size, (low, high) in SIZES.items()} | {"all": areas >= 0}
    print(
        "  score  " + "  ".join(f"{size} ({those.sum()})" for size, those in bins.items()) + "  whole +0.1  +0.2  false"
    )
    for score in SCORES:
        found, false = np.zeros(0, bool), 0
        whole: dict[float, list[bool]] = {0.1: [], 0.2: []}
        for answer in evaluation.answers:
            target, sure = answer.target(), answer.prediction.above(score)
            shared = overlap(target.boxes, sure.boxes) >= 0.5
            found = np.append(found, shared[~target.crowd].any(1).numpy())
            false += int((~shared.any(0)).sum())
            for margin, rows in whole.items():
                rows += hidden_whole(target.boxes[~target.crowd].numpy(), sure.boxes.numpy(), margin)
        recalls = "  ".join(f"{found[those].mean() if those.any() else np.nan:.3f}" for those in bins.values())
        shares = "  ".join(f"{np.mean(rows):.3f}" for rows in whole.values())
        print(f"  {score:.1f}    {recalls}  {shares}  {false / len(evaluation.answers):.1f} a photo")


def hidden_whole(true: np.ndarray, found: np.ndarray, margin: float) -> list[bool]:
    """Of each true box, whether at least 0.95 of its pixels are hidden by any of the found ones with their margin."""
    canvas = np.zeros((1000, 1000), np.uint8)
    hidden = hide(canvas, found, how="fill", margin=margin, black=(1,))
    inside = (hidden[top:bottom, left:right] for left, top, right, bottom in regions(true, canvas.shape, 0))
    return [bool(part.mean() >= 0.95) for part in inside]


if __name__ == "__main__":
    main()
