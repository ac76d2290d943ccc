"""Generative Adversarial Nets (Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio 2014,
arXiv:1406.2661).

Idea    Two networks play: the discriminator tells real pictures from made ones, the generator learns from its verdict
        to make pictures that pass. No likelihood is ever computed. If both were perfect, the made pictures would be
        distributed as the real ones, and every verdict would be 1/2 (theorem 1): both losses are then log 4 and log 2.
Flow    noise, 100 numbers -> 1200 -> 1200 -> 784 values 0..1, a picture
        picture -> maxout 240 -> maxout 240 -> one logit: real?
Here    The networks for MNIST, 2,503,984 and 1,231,441 parameters: rectifiers and a sigmoid in the generator, maxout of
        five pieces and dropout in the discriminator (section 5); the text gives no sizes, these are those of the
        authors' published settings. Both losses are of section 3: the generator's is the one that the authors
        train with, -log D(G(z)), which does not fade when the discriminator wins; `minimax_loss` is that of equation 1.
        Deviations: Adam instead of momentum; one step of the discriminator a step of the generator (the paper's k = 1);
        both players are shown the same made pictures, which saves a pass through the generator; weights are drawn with
        a deviation of 0.05 and 0.005; no bound is set on the weights of the maxout units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from siseon.activations import Maxout
from siseon.models.generation.adversary import Adversary


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), the mean over the logits [batch] of real and of made pictures: algorithm 1."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


def generator_loss(made: Tensor) -> Tensor:
    """-log D(G(z)), the mean over the logits [batch] of made pictures: section 3, last paragraph."""
    return F.softplus(-made).mean()


def minimax_loss(made: Tensor) -> Tensor:
    """log(1 - D(G(z))), the mean over the logits [batch]: equation 1. Its slope fades where D is sure of itself."""
    return -F.softplus(made).mean()


class GAN(Adversary):
    """Two chains of linear layers.

    latent, size, channels: see Adversary; hidden: units of the generator's layers; judging: maxout units of the
    discriminator's; pieces: linear maps of each maxout unit; dropout: of the discriminator's inputs and of its units.
    """

    def __init__(
        self,
        *,
        latent: int = 100,
        size: int = 28,
        channels: int = 1,
        hidden: tuple[int, ...] = (1200, 1200),
        judging: tuple[int, ...] = (240, 240),
        pieces: int = 5,
        dropout: tuple[float, float] = (0.2, 0.5),
    ) -> None:
        super().__init__(latent=latent, size=size, channels=channels)
        values = channels * size * size
        layers: list[nn.Module] = [nn.Flatten()]
        inputs = latent
        for units in hidden:
            layers += [nn.Linear(inputs, units), nn.ReLU()]
            inputs = units
        shape = nn.Unflatten(1, (channels, size, size))
        self.generator = nn.Sequential(*layers, nn.Linear(inputs, values), nn.Sigmoid(), shape)
        layers, inputs = [nn.Flatten(), nn.Dropout(dropout[0])], values
        for units in judging:
            layers += [nn.Linear(inputs, units * pieces), Maxout(pieces), nn.Dropout(dropout[1])]
            inputs = units
        self.discriminator = nn.Sequential(*layers, nn.Linear(inputs, 1))
        draw(self.generator, 0.05)
        draw(self.discriminator, 0.005)

    def forward(self, noise: Tensor) -> Tensor:  # noqa: D102
        return self.generator(noise[:, :, None, None])

    def judge(self, pictures: Tensor) -> Tensor:  # noqa: D102
        return self.discriminator(pictures).flatten().float()

    def discriminator_loss(self, real: Tensor, made: Tensor) -> Tensor:  # noqa: D102
        return discriminator_loss(self.judge(real), self.judge(made))

    def generator_loss(self, made: Tensor) -> Tensor:  # noqa: D102
        return generator_loss(self.judge(made))


def draw(network: nn.Module, deviation: float) -> None:
    """Draw the weights of linear layers from a normal distribution; biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=deviation)
            nn.init.zeros_(module.bias)


VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "gan": {},
    "gan_mini": {"latent": 32, "size": 32, "hidden": (256, 256), "judging": (64, 64)},
}
"""Name -> arguments of GAN."""
