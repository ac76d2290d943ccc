"""Decoding and changing photos for training, beside torchvision.transforms.v2 and albumentations: 64 JPEG files, one
thread. The same work for all: decode, mirror, enlarge, change the colours, scale to 640 pixels, move 8 boxes, float32.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from benchmarks.rows import Row
    from benchmarks.turns import answer, in_turn
else:  # as the program of a worker
    from turns import answer

COUNT = 64


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """One row: all photos, read and changed."""
    with tempfile.TemporaryDirectory() as folder:
        photos = sorted(Path(given.data).rglob("*.jpg"))[:COUNT] if given.data else written(Path(folder))
        listed = Path(folder) / "photos.txt"
        listed.write_text("\n".join(map(str, photos)), encoding="utf-8")
        commands = {
            "torchvision.v2": [given.peer, __file__, "torchvision.v2", str(listed)],
            "albumentations": [given.others, __file__, "albumentations", str(listed)],
            "siseon": [sys.executable, __file__, "siseon", str(listed)],
        }
        times, absent = in_turn(commands, runs=min(given.runs, 5), warm=1, threads=1)
        speeds = ", ".join(f"{name} {1000 * len(photos) / each.median:.0f} pictures/s" for name, each in times.items())
        yield Row("data", f"{len(photos)} photos with 8 boxes", times, "siseon", note="; ".join([speeds, *absent]))


def written(folder: Path) -> list[Path]:
    """Photos of scikit-image as JPEG files of 640 x 480, each several times."""
    from PIL import Image
    from skimage import data

    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    files = []
    for number in range(COUNT):
        files.append(folder / f"{number:02}.jpg")
        Image.fromarray(pictures[number % len(pictures)]).resize((640, 480)).save(files[-1], quality=90)
    return files


def boxes():
    import torch

    generator = torch.Generator().manual_seed(0)
    corners = 200 * torch.rand(8, 2, generator=generator)
    return torch.cat([corners, corners + 100], 1)


def torchvision_pass(files: list[str]):
    import torch
    from PIL import Image
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    change = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(0, scale=(0.8, 1.25)),
            v2.ColorJitter(0.2, 0.2, 0.2, 5 / 360),
            v2.Resize(480, max_size=640),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )

    def run(question):
        for file in files:
            picture = v2.functional.pil_to_tensor(Image.open(file).convert("RGB"))
            found = tv_tensors.BoundingBoxes(boxes(), format="XYXY", canvas_size=picture.shape[-2:])
            change(tv_tensors.Image(picture), found)

    return run


def albumentations_pass(files: list[str]):
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask its server for a newer version
    import albumentations
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(1)
    change = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.Affine(scale=(0.8, 1.25), keep_ratio=True, p=1),
            albumentations.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-5 / 360, 5 / 360), p=1),
            albumentations.LongestMaxSize(640),
            ToTensorV2(),
        ],
        bbox_params=albumentations.BboxParams(format="pascal_voc", label_fields=["labels"]),
    )

    def run(question):
        for file in files:
            picture = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
            changed = change(image=picture, bboxes=boxes().numpy(), labels=list(range(8)))
            changed["image"].float().div_(255)

    return run


def siseon_pass(files: list[str]):
    import cv2
    import numpy as np
    import torch

    from siseon import pictures
    from siseon.data.augment import Augment
    from siseon.data.dataset import Annotation
    from siseon.interface import Sizing

    cv2.setNumThreads(1)
    augment = Augment()
    found = Annotation("", boxes=boxes().numpy(), labels=np.zeros(8, np.int64), crowd=np.zeros(8, bool))

    def run(question):
        for number, file in enumerate(files):
            random = np.random.default_rng(number)
            picture, _ = augment.place(pictures.read(file), found, random, frame=Sizing(480, 640, 32), masks=False)
            torch.from_numpy(picture).permute(2, 0, 1).float().div_(255)

    return run


def work(engine: str, listed: str) -> None:
    """Answer the questions on stdin."""
    import torch

    torch.set_num_threads(1)
    files = Path(listed).read_text(encoding="utf-8").splitlines()
    passes = {"torchvision.v2": torchvision_pass, "albumentations": albumentations_pass, "siseon": siseon_pass}
    answer(passes[engine](files))


if __name__ == "__main__":
    work(*sys.argv[1:])
