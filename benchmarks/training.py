"""A whole training step of Faster R-CNN R50-FPN beside torchvision's: forward, losses, backward, SGD.

Two pictures of 8 objects; batch norms and the first two stages fixed, 512 boxes a picture learnt, as its reference
training has it. benchmarks/training_step.py says where the time of a step of ours goes.
"""

import argparse
import sys
from collections.abc import Iterator

if __package__:
    from benchmarks.rows import Row
    from benchmarks.turns import answer, in_turn, tune
else:  # as the program of a worker
    from turns import answer, tune

ENGINES = ("torchvision", "torchvision tuned", "siseon", "siseon bf16")


def measured(given: argparse.Namespace) -> Iterator["Row"]:
    """A row for each size."""
    for side in (320, 800):
        if given.only is None or str(side) in given.only:
            commands = {
                engine: [
                    given.peer if engine.startswith("torchvision") else sys.executable,
                    __file__,
                    engine,
                    str(side),
                ]
                for engine in ENGINES
            }
            times, absent = in_turn(commands, runs=min(given.runs, 5), warm=1)
            yield Row("training", f"shorter side {side}", times, "siseon", note="; ".join(absent))


def truth(side: int):
    """Pictures [3, height, width], boxes [objects, 4] and labels of two pictures."""
    import torch

    generator = torch.Generator().manual_seed(0)
    width = side * 4 // 3 // 32 * 32
    pictures = torch.rand(2, 3, side, width, generator=generator)
    corners = torch.rand(2, 8, 2, generator=generator) * torch.tensor([width, side]) * 0.6
    sides = (0.1 + 0.25 * torch.rand(2, 8, 2, generator=generator)) * side
    return pictures, torch.cat([corners, corners + sides], 2), torch.randint(90, (2, 8), generator=generator)


def torchvision_step(side: int):
    import torch
    import torchvision

    model = torchvision.models.get_model(
        "fasterrcnn_resnet50_fpn",
        weights=None,
        weights_backbone=None,
        trainable_backbone_layers=3,
        min_size=side,
        max_size=2 * side,
    )
    freeze_norms(model.backbone, torchvision.ops.misc.FrozenBatchNorm2d)
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_(any(f"layer{stage}" in name for stage in (2, 3, 4)))
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)
    pictures, boxes, labels = truth(side)
    targets = [{"boxes": own, "labels": names + 1} for own, names in zip(boxes, labels, strict=True)]

    def step(question):
        sum(model(list(pictures), targets).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def freeze_norms(module, kind) -> None:
    import torch

    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, kind(child.num_features))
        else:
            freeze_norms(child, kind)


def siseon_step(side: int, precision: str):
    import torch

    import siseon
    from siseon import Recipe
    from siseon.interface import Images, Target
    from siseon.process import keep_memory
    from siseon.training import preparation

    recipe = Recipe(optimizer="sgd", lr=1e-5, precision=precision, frozen=1, freeze_norm=True, batch=2)
    model = siseon.build("faster_rcnn_resnet50_fpn").train()
    device = torch.device("cpu")
    keep_memory()
    preparation.placed(model, recipe, device)
    optimizer = preparation.optimizer_of(model, recipe)
    pictures, boxes, labels = truth(side)
    images = Images.of(pictures.contiguous(memory_format=torch.channels_last))
    targets = [
        Target(own, names, torch.zeros(len(own), dtype=torch.bool)) for own, names in zip(boxes, labels, strict=True)
    ]

    def step(question):
        with preparation.arithmetic(recipe, device):
            total = torch.stack([loss.float() for loss in model.loss(images, targets).values()]).sum()
        total.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def work(engine: str, side: str) -> None:
    """Answer the questions on stdin."""
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    if engine == "torchvision tuned":
        tune()
    if engine.startswith("torchvision"):
        answer(torchvision_step(int(side)))
    else:
        answer(siseon_step(int(side), "bf16" if engine.endswith("bf16") else "fp32"))


if __name__ == "__main__":
    work(*sys.argv[1:])
