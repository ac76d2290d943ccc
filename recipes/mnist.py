"""MNIST: LeNet-5, and the deep network for digits, from nothing.

    python recipes/mnist.py MNIST.npz lenet_modern --minutes 4
    python recipes/mnist.py MNIST.npz deep_digits --minutes 8

Accuracy on the 10,000 test digits, seed 0, 2026-11-22, two cores of an AMD EPYC that other work shared:

    lenet_modern    0.993    4 minutes (10 epochs)
    deep_digits     0.996    8 minutes (10 epochs)
    lenet           0.982    6 minutes (12 epochs): the original, whose outputs are distances to drawn figures

A tenth of the training digits chooses the epoch. The same as a command:
siseon train lenet_modern --data MNIST.npz --minutes 4 --epochs 15 --batch 128 --scale 0.9 1.1 --rotate 10
--brightness 0 --contrast 0 --saturation 0 --hue 0 --lr 0.003 --precision fp32
"""

import argparse
from pathlib import Path

from siseon import build, evaluate, fit, open_data
from siseon.evaluation import validate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="an .npz file with train_images, train_labels, test_images, test_labels")
    parser.add_argument("model", nargs="?", default="lenet_modern")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
    given = parser.parse_args()

    data = open_data(given.data)
    model = build(given.model, classes=data.classes)
    run = fit(
        model, data, out=given.out, evaluate=validate, seed=given.seed, minutes=given.minutes, epochs=20, batch=128,
        scale=(0.9, 1.1), rotate=10, brightness=0, contrast=0, saturation=0, hue=0, lr=0.003, precision="fp32",
        ema=0.999 if given.model == "deep_digits" else 0,
    )  # fmt: skip
    print(evaluate(run.model, data, out=given.out / "test").table())


if __name__ == "__main__":
    main()
