"""What every pair of playing networks shares: noise, pictures, judgement, samples. A paper adds the two networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.layers import inference


class Adversary(nn.Module, ABC):
    """A generator that makes pictures from noise, and a discriminator that says whether a picture is a real one.

    latent: numbers that one picture is made from; size: pixels of its side; channels: 1 (grey) or 3 (RGB). A real
    picture of another size is scaled, and cut to the middle square, before it is shown to the discriminator. The
    subclass sets generator, noise [batch, latent, 1, 1] to pictures, and discriminator, pictures to logits. Raises
    RecipeError for other channels, or no numbers.
    """

    task: Literal["generation"] = "generation"
    classes: tuple[str, ...] = ()
    spec: dict[str, Any]
    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, *, latent: int, size: int, channels: int) -> None:
        super().__init__()
        if latent < 1:
            raise RecipeError(f"latent = {latent}: a picture is made from numbers", "Give 1 or more, e.g. latent=100")
        if channels not in (1, 3):
            raise RecipeError(f"channels = {channels}: a picture is grey or RGB", "Give channels=1 or channels=3")
        self.latent = latent
        self.channels = channels
        self.resize = self.crop = size

    @abstractmethod
    def forward(self, noise: Tensor) -> Tensor:
        """Noise [batch, latent] becomes pictures 0..1 [batch, channels, size, size]."""

    @abstractmethod
    def judge(self, pictures: Tensor) -> Tensor:
        """The logits [batch] that pictures 0..1 [batch, channels, size, size] are real ones."""

    @abstractmethod
    def discriminator_loss(self, real: Tensor, made: Tensor) -> Tensor:
        """What the discriminator minimises on as many real as made pictures, each as `judge` takes them."""

    @abstractmethod
    def generator_loss(self, made: Tensor) -> Tensor:
        """What the generator minimises, of pictures that it made."""

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Random numbers [count, latent], each evenly between -1 and 1, on the device of the model.

        They are drawn on the CPU, so that a seed gives the same ones everywhere.
        """
        drawn = torch.rand(count, self.latent, generator=generator) * 2 - 1
        return drawn.to(next(self.parameters()).device)

    def like(self, images: Tensor) -> Tensor:
        """Real images RGB 0..1 [batch, 3, height, width] in the model's own channels; grey is the mean of colours."""
        return images.mean(1, keepdim=True) if self.channels == 1 else images

    def sample(self, count: int, seed: int = 0, *, batch: int = 64) -> Tensor:
        """`count` pictures, RGB 0..1 [count, 3, size, size] on the CPU; the same for the same seed."""
        return self.pictures(self.noise(count, torch.Generator().manual_seed(seed)), batch=batch)

    def pictures(self, noise: Tensor, *, batch: int = 64) -> Tensor:
        """The pictures made from noise [count, latent], RGB 0..1 [count, 3, size, size] on the CPU."""
        with inference(self):
            parts = [self(noise[start : start + batch]).float().cpu() for start in range(0, len(noise), batch)]
        made = torch.cat(parts) if parts else torch.zeros(0, self.channels, self.crop, self.crop)
        return made.expand(-1, 3, -1, -1).clone()
