"""Where the time of a training step goes: data, forward, backward, step; medians over 20 steps after a warm-up.

python benchmarks/training_step.py [MODEL] [--data scenes] [--imgsz PIXELS] [--batch 4] [--options pyramid=false ...]
"""

import argparse
import json
import statistics
import time

import torch

from siseon import Recipe, build, open_data
from siseon.data.batches import Batches
from siseon.process import keep_memory
from siseon.training import preparation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="faster_rcnn_mini")
    parser.add_argument("--data", default="scenes")
    parser.add_argument("--imgsz", type=int)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--options", nargs="*", default=[])
    given = parser.parse_args()

    options = {name: json.loads(value) for name, _, value in (text.partition("=") for text in given.options)}
    recipe = Recipe(imgsz=given.imgsz, batch=given.batch, precision=given.precision, optimizer="adamw")
    data = open_data(given.data)
    model = build(given.model, classes=data.classes, **options).train()
    device = torch.device("cpu")
    keep_memory()
    preparation.placed(model, recipe, device)
    optimizer = preparation.optimizer_of(model, recipe)
    rows: list[tuple[float, ...]] = []
    frame, augment = preparation.frame_of(model), preparation.augment_of(recipe)
    with Batches(data.train, frame, batch=recipe.batch, augment=augment) as batches:
        before = time.perf_counter()
        for batch in batches.epoch(0):
            read = time.perf_counter()
            with preparation.arithmetic(recipe, device):
                total = torch.stack(list(model.loss(batch.images, batch.targets).values())).sum()
            forward = time.perf_counter()
            total.backward()
            backward = time.perf_counter()
            optimizer.step()
            optimizer.zero_grad()
            after = time.perf_counter()
            rows.append((read - before, forward - read, backward - forward, after - backward))
            before = after
            if len(rows) == given.steps + 5:
                break
    parts = [1000 * statistics.median(part) for part in zip(*rows[5:], strict=True)]
    for name, value in zip(
        ("data, in this process", "forward and losses", "backward", "optimizer"), parts, strict=True
    ):
        print(f"{name:22} {value:8.1f} ms  {100 * value / sum(parts):4.0f} %")
    print(f"{'together':22} {sum(parts):8.1f} ms, {1000 * given.batch / sum(parts):.1f} pictures/s")


if __name__ == "__main__":
    main()
