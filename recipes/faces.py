"""Faces that nobody has: DCGAN at 64 x 64 pixels on a folder of faces (here faces80: 10,000 of 80 x 80, MTFL).

    tar xzf images.tar.gz -C faces
    python recipes/faces.py faces --minutes 12

NOT YET MEASURED

Look at samples.gif and interpolation.png. variety is the distance of a made picture to the one most like it, as a share
of that of real pictures: near 1 is as varied as they are, near 0 are copies. The same as a command, which needs no
classes and no annotations either:

    siseon train dcgan_64 --data faces --minutes 12 --options width=32
"""

import argparse
from pathlib import Path

import torch

from siseon import build
from siseon.data.unlabelled import open_pictures
from siseon.training.adversarial import play


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a folder of pictures")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--width", type=int, default=32, help="channels of the largest map; the paper has 128")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    given = parser.parse_args()

    torch.manual_seed(given.seed)
    model = build("dcgan_64", width=given.width)
    run = play(model, open_pictures(given.data), out=given.out, seed=given.seed, minutes=given.minutes, ema=0.995)
    last = run.history[-1]
    seconds = sum(row["seconds"] for row in run.history)
    print(f"{len(run.history)} epochs in {seconds:.0f} s; variety {last['variety']:.2f} of that of real faces")
    print(f"see {given.out}: samples.gif, samples.png, interpolation.png")


if __name__ == "__main__":
    main()
