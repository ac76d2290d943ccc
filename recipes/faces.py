"""Faces that nobody has: DCGAN at 64 x 64 pixels on 10,000 photos with landmarks of 80 x 80 (here faces80, MTFL).

    tar xzf images.tar.gz -C faces
    python recipes/faces.py faces landmarks.txt --minutes 12

landmarks.txt has a line for each picture: its path, and the x and then the y of left eye, right eye, nose and both
corners of the mouth, in pixels. Each face is turned upright, with eyes and mouth at the same places; what a generator
must learn is then a face, and not where it is. Landmarks that are far from the middle are wrong: those of 2,350 photos
lie above the hair. These are left out, and 7,644 of 10,000 remain, of which four fifths are learnt from.

Seed 0, 12 minutes on one core of an AMD EPYC (one thread, other work on the machine), 2026-11-22: 24 epochs, 200 photos
a second, variety 0.92. Looked at: nearly all of 64 are faces, with glasses, beards and smiles; a few are smeared, and
eyes do not always agree.

Look at samples.gif and interpolation.png. variety is the distance of a made picture to the one most like it, as a share
of that of real pictures: near 1 is as varied as they are, near 0 are copies. As a command, for pictures as they are,
which needs no classes and no annotations:

    siseon train dcgan_64 --data faces --minutes 12 --options width=32
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from siseon import build
from siseon.data.dataset import Annotation, Data, Dataset
from siseon.data.unlabelled import open_pictures
from siseon.training.adversarial import play

SIZE = 64
EYES, MOUTH = 0.38, 0.72
"""How far below the top edge the middles of eyes and mouth lie, as shares of the side."""
MIDDLE, FAR = (40, 42), 10
"""Where the middle of a face is in these pictures (x, y), and from how many pixels on the landmarks are wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a folder of pictures")
    parser.add_argument("landmarks", type=Path, help="where the eyes and the mouth are in them")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--width", type=int, default=32, help="channels of the largest map; the paper has 128")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    given = parser.parse_args()

    pictures = open_pictures(given.data).train
    faces = Upright(pictures, landmarks(given.landmarks))
    data = Data("faces", "classification", pictures.classes, {"train": faces})
    torch.manual_seed(given.seed)
    model = build("dcgan_64", width=given.width)
    run = play(
        model, data, out=given.out, seed=given.seed, minutes=given.minutes, batch=given.batch, lr=given.lr,
        ema=0.995, workers=0,
    )  # fmt: skip
    last = run.history[-1]
    seconds = sum(row["seconds"] for row in run.history)
    print(f"{len(run.history)} epochs in {seconds:.0f} s; variety {last['variety']:.2f} of that of real faces")
    print(f"see {given.out}: samples.gif, samples.png, interpolation.png")


def landmarks(file: Path) -> dict[str, np.ndarray]:
    """The x and y [2, 5] of each picture whose landmarks can be right."""
    rows = (line.split() for line in file.read_text().splitlines())
    known = {name: np.array(numbers, float).reshape(2, 5) for name, *numbers in rows}
    return {name: marks for name, marks in known.items() if np.hypot(*(marks.mean(1) - MIDDLE)) < FAR}


@dataclass
class Upright:
    """The pictures with the face upright, the middles of eyes and mouth at the same places in all of them."""

    pictures: Dataset
    landmarks: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        self.task, self.classes = self.pictures.task, self.pictures.classes
        names = [self.pictures.annotation(index).name for index in range(len(self.pictures))]
        self.indices = [index for index, name in enumerate(names) if name in self.landmarks]

    def __len__(self) -> int:
        return len(self.indices)

    def annotation(self, index: int) -> Annotation:
        """The picture and its class; the landmarks are used up."""
        known = self.pictures.annotation(self.indices[index])
        return Annotation(known.name, size=(SIZE, SIZE), label=known.label)

    def picture(self, index: int) -> np.ndarray:
        """SIZE x SIZE pixels."""
        x, y = self.landmarks[self.annotation(index).name]
        eyes, mouth = (complex(x[part].mean(), y[part].mean()) for part in (slice(0, 2), slice(3, 5)))
        turn = (MOUTH - EYES) * SIZE * 1j / (mouth - eyes)  # a turn and an enlargement are one complex factor
        shift = SIZE * (0.5 + EYES * 1j) - turn * eyes
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        picture = self.pictures.picture(self.indices[index])
        return cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


if __name__ == "__main__":
    main()
