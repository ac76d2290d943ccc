"""DCGAN (Radford, Metz, Chintala 2016, arXiv:1511.06434).

Idea    Rules by which convolutional networks play the game of gan.py without falling over: strides instead of pooling,
        batch normalisation in both networks, no hidden fully connected layers, rectifiers in the generator, leaky ones
        in the discriminator. What the generator learns is smooth: between two points of the noise lie pictures.
Flow    noise, 100 numbers -> 4x4x1024 -> 8x8x512 -> 16x16x256 -> 32x32x128 -> 64x64x3, a picture
        picture -> 32x32x128 -> 16x16x256 -> 8x8x512 -> 4x4x1024 -> one logit: real?
Here    Figure 1 and section 3: 5x5 kernels of stride 2, no batch norm on the generator's output nor on the
        discriminator's input, tanh, leaky slope 0.2, weights drawn from N(0, 0.02), Adam with 2e-4 and beta 1 of 0.5
        (training/adversarial.py). 18,855,043 and 17,232,897 parameters; the figure does not draw the discriminator, it
        is the generator's mirror image, as in the authors' code. Batch norm's scale starts from N(1, 0.02), as there.
        Deviations: the norm behind the projection is over each of the 1024 maps, not over each of its 16,384 values;
        the other variants have 4x4 kernels, which the stride divides: no checkered patterns, and a third less work.
        dcgan_32 and dcgan_mini are for grey digits of 32x32 pixels, dcgan_64 is half as wide, for a laptop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.models.generation.adversary import Adversary
from siseon.models.generation.gan import discriminator_loss, generator_loss

START = 4
"""Cells of a side of the first map."""


class Generator(nn.Sequential):
    """Noise [batch, latent, 1, 1] to pictures -1..1 [batch, channels, size, size]; widths: of the maps from 4x4 on."""

    def __init__(self, latent: int, widths: Sequence[int], channels: int, kernel: int) -> None:
        project = nn.ConvTranspose2d(latent, widths[0], START, bias=False)
        layers: list[nn.Module] = [project, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
        for narrower, wider in pairwise((*widths, channels)):
            last = len(layers) == 3 * len(widths)
            layers.append(doubling(narrower, wider, kernel, bias=last))
            layers += [nn.Tanh()] if last else [nn.BatchNorm2d(wider), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Discriminator(nn.Sequential):
    """Pictures -1..1 [batch, channels, size, size] to logits [batch, 1, 1, 1]; widths: of the maps down to 4x4."""

    def __init__(self, widths: Sequence[int], channels: int, kernel: int) -> None:
        layers: list[nn.Module] = []
        for wider, narrower in pairwise((channels, *widths)):
            first = not layers
            layers.append(nn.Conv2d(wider, narrower, kernel, 2, (kernel - 1) // 2, bias=first))
            layers += [] if first else [nn.BatchNorm2d(narrower)]
            layers.append(nn.LeakyReLU(0.2, inplace=True))
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, START))


def doubling(channels: int, width: int, kernel: int, *, bias: bool) -> nn.ConvTranspose2d:
    """A transposed convolution of stride 2 that doubles each side exactly, whether its kernel is even or odd."""
    return nn.ConvTranspose2d(channels, width, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias)


class DCGAN(Adversary):
    """Generator and Discriminator.

    latent, size, channels: see Adversary; size is 8, 16, 32, ...; width: channels of the map of half the size, which
    double with each halving; kernel: cells of a side. Raises RecipeError for another size or no network.
    """

    def __init__(
        self, *, latent: int = 100, size: int = 64, channels: int = 3, width: int = 128, kernel: int = 5
    ) -> None:
        super().__init__(latent=latent, size=size, channels=channels)
        doublings = (size // START).bit_length() - 1
        if doublings < 1 or START << doublings != size:
            raise RecipeError(f"size = {size} is not 4 doubled a few times", "Give 8, 16, 32, 64 or 128")
        if width < 1 or kernel < 2:
            raise RecipeError(f"width = {width} and kernel = {kernel} make no network", "Give 1 and 2, or more")
        widths = [width << step for step in range(doublings)]
        self.generator = Generator(latent, widths[::-1], channels, kernel)
        self.discriminator = Discriminator(widths, channels, kernel)
        draw(self)

    def forward(self, noise: Tensor) -> Tensor:  # noqa: D102
        return (self.generator(noise[:, :, None, None]) + 1) / 2

    def judge(self, pictures: Tensor) -> Tensor:  # noqa: D102
        return self.discriminator(2 * pictures - 1).flatten().float()

    def discriminator_loss(self, real: Tensor, made: Tensor) -> Tensor:  # noqa: D102
        return discriminator_loss(self.judge(real), self.judge(made))

    def generator_loss(self, made: Tensor) -> Tensor:  # noqa: D102
        return generator_loss(self.judge(made))


def draw(network: nn.Module) -> None:
    """Draw all weights from N(0, 0.02), the scales of batch norms from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=1, std=0.02)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "dcgan": {},
    "dcgan_64": {"width": 64, "kernel": 4},
    "dcgan_32": {"size": 32, "channels": 1, "width": 64, "kernel": 4},
    "dcgan_mini": {"latent": 64, "size": 32, "channels": 1, "width": 32, "kernel": 4},
}
"""Name -> arguments of DCGAN."""
