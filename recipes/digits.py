"""Every small classifier on the 1,797 handwritten digits: from nothing, at most two minutes each on two cores.

    python recipes/digits.py [--minutes 1] [--only resnet_mini vgg_mini] [--out runs/digits]

Accuracy on the 300 test digits; the epoch was chosen on the 200 of val. Seed 0, 2026-11-22, two cores of an AMD EPYC,
which up to fifteen other processes shared: on a quiet machine more epochs fit into the same minutes. --minutes 1, and
1.9 for googlenet_mini, network_in_network_mini, nasnet_mini, mobilenet_mini (0.923, 0.907, 0.940, 0.910 after one).

    model                    accuracy parameters       MACs seconds epochs
    mlp                         0.977    266,610    266,200      27     36
    lenet                       0.953     60,000    415,680      32     32
    lenet_modern                0.983     61,706    416,520      32     33
    deep_digits                 0.983    123,552  8,772,340      44     30
    mlp_mini                    0.963     68,010     67,904      28     34
    alexnet_mini                0.957     60,906    922,496      51     25
    zfnet_mini                  0.960     98,026  4,367,616      36     19
    network_in_network_mini     0.953     29,202  8,114,176      81     40
    vgg_mini                    0.980    170,682  2,606,336      42     34
    googlenet_mini              0.967    166,936    769,056     100     38
    deep_digits_mini            0.980     44,200  2,850,804      46     29
    resnet_mini                 0.980    308,826  4,375,808      54     20
    plain_mini                  0.977    297,626  4,277,504      53     21
    cifar_resnet_mini           0.960     19,218  3,170,624      55     24
    cifar_plain_mini            0.957     19,218  3,170,624      53     29
    wide_resnet_mini            0.983     76,594 11,231,872      55     23
    resnext_mini                0.987     91,354  3,766,784      54     30
    densenet_mini               0.977     71,734  7,810,098      54     18
    nasnet_mini                 0.967     70,674  2,971,520     105     10
    se_resnet_mini              0.983    320,006  1,105,792      49     32
    mobilenet_mini              0.957    408,938  4,747,968     106     17
    efficientnet_mini           0.983    423,098  4,449,216      58      7
"""

import argparse
import csv
from pathlib import Path

from siseon import build, evaluate, fit, open_data, zoo
from siseon.evaluation import validate
from siseon.inspection.table import table
from siseon.interface import SiseonError

SMALL = ("mlp", "lenet", "lenet_modern", "deep_digits")
"""Models that are small already and have no mini, or are for digits themselves."""

COLUMNS = ("model", "accuracy", "parameters", "MACs", "seconds", "epochs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    given = parser.parse_args()

    minis = [name for name in zoo.names("classification") if name.endswith("_mini")]
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "digits.csv").open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in given.only or (*SMALL, *minis):
            try:
                row = trained(name, minutes=given.minutes, seed=given.seed)
            except SiseonError as fault:
                print(f"{name}: {fault}")
                continue
            writer.writerow(row)
            file.flush()
            print(" ".join(map(str, row)), flush=True)


def trained(name: str, *, minutes: float, seed: int) -> tuple[str, float, int, int, float, int]:
    """Train and test one model; a row of COLUMNS."""
    data = open_data("digits")
    model = build(name, classes=data.classes)
    totals = table(model, model.crop).totals
    run = fit(
        model, data, evaluate=validate, seed=seed, minutes=minutes, epochs=40, patience=12,
        batch=32, rotate=10, scale=(0.9, 1.1), translate=0.05, brightness=0, contrast=0, saturation=0, hue=0,
    )  # fmt: skip
    accuracy = evaluate(run.model, data).metrics["accuracy"]
    seconds = sum(row["seconds"] for row in run.history)
    return name, round(accuracy, 4), totals.parameters, totals.macs, round(seconds, 1), len(run.history)


if __name__ == "__main__":
    main()
