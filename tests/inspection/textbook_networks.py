"""The networks whose tables are in every textbook, on the meta device: they have sizes but no numbers."""

import torch
from torch import nn


def lenet5() -> nn.Sequential:
    with torch.device("meta"):
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()),
            *(nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
        )


def alexnet(towers: int = 2) -> nn.Sequential:
    with torch.device("meta"):
        return nn.Sequential(
            *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(True), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2)),
            *(
                nn.Conv2d(96, 256, 5, padding=2, groups=towers),
                nn.ReLU(True),
                nn.LocalResponseNorm(5),
                nn.MaxPool2d(3, 2),
            ),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(True)),
            *(nn.Conv2d(384, 384, 3, padding=1, groups=towers), nn.ReLU(True)),
            *(nn.Conv2d(384, 256, 3, padding=1, groups=towers), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Flatten()),
            *(nn.Linear(9216, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()),
            nn.Linear(4096, 1000),
        )


def vgg(depths: tuple[int, ...] = (2, 2, 3, 3, 3)) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    with torch.device("meta"):
        for depth, filters in zip(depths, (64, 128, 256, 512, 512), strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(True)]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(True), nn.Dropout()]
        layers += [nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers)
