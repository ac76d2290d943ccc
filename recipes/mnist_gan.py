"""Digits that nobody wrote: DCGAN on MNIST, judged by a network that was trained on the real ones.

    python recipes/mnist_gan.py MNIST.npz --minutes 10

5,000 pictures each, seed 0, 10 minutes of one core of an AMD EPYC that other work shared (6 epochs), 2026-11-22:

             sure  spread  Frechet
    made    0.660   2.287     2.00
    floor   0.974   2.301     0.10
    ceiling 0.042   0.891    93.64

Looked at: nearly all of 64 can be read, a few are strokes of no digit; all ten classes come, each 8 to 14 %.

sure: the share of made digits of which LeNet-5, trained for two minutes on real ones, is more than 0.9 sure. spread:
the entropy in nats of its mean scores; ten classes alike have 2.303. Frechet: the distance of the features before its
last layer to those of the test digits. The floor is the training digits' own distance to them, the ceiling that of
pictures of even noise; each from as many pictures.
"""

import argparse
from pathlib import Path

import torch

from siseon import build, fit, load, open_data
from siseon.data.augment import Crop
from siseon.data.batches import Batches
from siseon.data.dataset import Dataset
from siseon.evaluation import validate
from siseon.judging import judge
from siseon.training.adversarial import play, resume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="an .npz file with train_images, train_labels, test_images, test_labels")
    parser.add_argument("model", nargs="?", default="dcgan_mini")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--judge-minutes", type=float, default=2)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_gan"))
    given = parser.parse_args()

    data = open_data(given.data)
    if not (given.out / "judge" / "manifest.json").exists():
        fit(
            build("lenet_modern", classes=data.classes), data, out=given.out / "judge", evaluate=validate,
            seed=given.seed, minutes=given.judge_minutes, epochs=8, batch=128, lr=0.003, precision="fp32",
            scale=(0.9, 1.1), rotate=10, brightness=0, contrast=0, saturation=0, hue=0,
        )  # fmt: skip
    if (given.out / "game" / "manifest.json").exists():
        run = resume(given.out / "game", load=load, data=data)
    else:
        torch.manual_seed(given.seed)
        model = build(given.model)
        run = play(model, data, out=given.out / "game", seed=given.seed, minutes=given.minutes, ema=0.995)

    classifier, generator = load(given.out / "judge"), run.model
    real = pictures_of(data.split("test"), generator.crop, given.count)
    also = pictures_of(data.train, generator.crop, given.count)
    made = generator.sample(given.count, given.seed + 1)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(given.seed))
    print(f"{'':8} {'sure':>6} {'spread':>7} {'Frechet':>9}  share of 0 to 9")
    for name, pictures in (("made", made), ("floor", also), ("ceiling", noise)):
        verdict = judge(classifier, real, pictures)
        shares = " ".join(f"{share:.2f}" for share in verdict.shares)
        print(f"{name:8} {verdict.sure:6.3f} {verdict.spread:7.3f} {verdict.frechet:9.2f}  {shares}")


def pictures_of(dataset: Dataset, side: int, count: int) -> torch.Tensor:
    """Random real pictures [count, 3, side, side], scaled as the generator's teacher sees them."""
    found = []
    with Batches(dataset, Crop(side, side), batch=500) as batches:
        for batch in batches.epoch(0):
            found.append(batch.images.tensor)
            if sum(map(len, found)) >= count:
                break
    return torch.cat(found)[:count]


if __name__ == "__main__":
    main()
