"""What a recipe says about a model before the first step: device, precision, optimizer, frozen parts, memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from siseon.convolutions.learning import quicken
from siseon.data import mixing
from siseon.data.augment import Augment, Crop, Frame
from siseon.data.batches import Batch
from siseon.data.dataset import Task
from siseon.interface import Images, RecipeError, Sizing, Target
from siseon.layers import freeze_norm
from siseon.training.recipe import Recipe
from siseon.training.transfer import BODY_SHARE, body_of, transferred


class Model(Protocol):
    """What training asks of a model beside being an nn.Module: the contract in docs/architecture.md.

    A detector has `sizing` and `needs_masks`, a segmenter `sizing`, a classifier `resize` and `crop`.
    """

    task: Task
    classes: tuple[str, ...]
    spec: dict[str, Any]
    sizing: Sizing
    needs_masks: bool
    resize: int
    crop: int

    def loss(self, images: Images, targets: Any) -> dict[str, Tensor]:  # noqa: ANN401
        """The losses to be added up."""

    def state_dict(self) -> dict[str, Any]:
        """The tensors by name."""


@runtime_checkable
class Completed(Protocol):
    """A model that is not learnt by gradients alone, such as R-CNN with its support vector machines."""

    def complete(self, batches: Iterable[tuple[Images, Any]]) -> None:
        """Fit the rest to the training pictures, which come once and without random changes, in evaluation mode."""


def contract(model: nn.Module) -> Model:
    """The same model, seen through its contract."""
    return cast(Model, model)


def device_of(recipe: Recipe) -> torch.device:
    """The device the recipe names; auto is the first of CUDA, Apple's MPS, CPU that is there. Raises RecipeError."""
    if recipe.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(recipe.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as fault:
        raise RecipeError(
            f'device "{recipe.device}" cannot be used ({str(fault).partition(chr(10))[0]})', "Leave it out, or give cpu"
        ) from fault
    return device


def arithmetic(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Where the losses are computed: autocast to the recipe's precision, or nothing for fp32. Raises RecipeError.

    auto is bf16 where the device computes in it: the weights stay fp32, and a step takes half to three quarters of the
    time (Faster R-CNN on two cores with AVX512_BF16: mobilenet_v2 at 320 pixels 0.52, mini at 160 pixels 0.71).
    """
    precision = recipe.precision
    if precision == "auto":
        precision = "bf16" if _computes_in_bf16(device) else "fp32"
    if precision == "fp32":
        return nullcontext()
    if precision == "fp16" and device.type != "cuda":
        raise RecipeError("fp16 trains on CUDA only", "Take precision bf16, fp32 or auto")
    return torch.autocast(device.type, torch.float16 if precision == "fp16" else torch.bfloat16)


def workers_of(recipe: Recipe, device: torch.device) -> int:
    """The processes that read pictures: the recipe's, else none on two cores, which the network itself fills.

    Faster R-CNN mini on two cores takes 101 ms a step with none, 125 with one, 130 with two.
    """
    if recipe.workers is not None:
        return recipe.workers
    cores = os.cpu_count() or 1
    return min(cores - 1, 4) if device.type != "cpu" else 2 * (cores > 2)


def placed(model: nn.Module, recipe: Recipe, device: torch.device) -> None:
    """Move the model to the device, channels last, at the recipe's picture size, with the recipe's parts frozen."""
    if recipe.imgsz is not None:
        _resize(contract(model), recipe.imgsz)
    if recipe.frozen:
        body = body_of(model)
        if body is None:
            raise RecipeError("this model has no stages that could be frozen", "Leave frozen out")
        body.freeze(recipe.frozen)
    if recipe.freeze_norm:
        freeze_norm(model)
    model.to(device=device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        quicken(model)


def frame_of(model: nn.Module) -> Frame:
    """How pictures become the model's input."""
    facts = contract(model)
    return facts.sizing if facts.task in ("detection", "segmentation") else Crop(facts.resize, facts.crop)


def learns_masks(model: nn.Module) -> bool:
    """Whether the model's loss wants the masks of the objects."""
    facts = contract(model)
    return facts.task == "detection" and facts.needs_masks


def flip_of(recipe: Recipe, task: str, classes: Sequence[str]) -> float:
    """The share of pictures to mirror: the recipe's, else half, but none where classes are letters and digits.

    None where sentences say what is left and what is right.
    """
    if recipe.flip is not None:
        return recipe.flip
    return 0.0 if task == "captioning" or all(len(name) == 1 for name in classes) else 0.5


def augment_of(recipe: Recipe, task: str) -> Augment:
    """The recipe's random changes of the training pictures; enlarging would cut off what a sentence speaks of."""
    changes = {name: getattr(recipe, name) for name in Augment.__dataclass_fields__ if name != "visible"}
    if task == "captioning":
        changes["scale"] = (min(recipe.scale[0], 1.0), min(recipe.scale[1], 1.0))
    return Augment(**changes)


def mixed(batch: Batch, recipe: Recipe, classes: int, *, step: int) -> tuple[Images, Tensor | list[Target]]:
    """Pictures and targets of a batch after the recipe's label smoothing and mixing; only a classifier's change."""
    images, labels = batch.images, batch.targets
    if not isinstance(labels, Tensor) or labels.ndim > 1 or not (recipe.smoothing or recipe.mixup or recipe.cutmix):
        return images, labels
    shares = mixing.smoothed(labels, classes=classes, smoothing=recipe.smoothing)
    random = np.random.default_rng([recipe.seed, step])
    ways = [(mixing.mixup, recipe.mixup), (mixing.cutmix, recipe.cutmix)]
    chosen = [(way, alpha) for way, alpha in ways if alpha]
    if not chosen:
        return images, shares
    way, alpha = chosen[int(random.integers(len(chosen)))]
    pictures, shares = way(images.tensor, shares, alpha=alpha, random=random)
    return Images(pictures, images.sizes), shares


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of all parameters that train; norms and biases, which have one axis or none, without decay.

    Each group's "share" is its part of the learning rate: BODY_SHARE for a body that is transferred.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise RecipeError("no part of the model is left to train", "Freeze less")
    body = set(transferred(model).parameters()) if recipe.transfer else set()
    groups: list[dict[str, Any]] = []
    for share, parameters in (
        (1.0, [parameter for parameter in trained if parameter not in body]),
        (BODY_SHARE, [parameter for parameter in trained if parameter in body]),
    ):
        if parameters:
            groups += [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay, "share": share},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0, "share": share},
            ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)


def mean_of_weights(model: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """A running mean of the weights, or None. Its decay rises to the recipe's, so that the start is forgotten."""
    if not recipe.ema:
        return None

    @torch.no_grad()
    def follow(means: Sequence[Tensor], weights: Sequence[Tensor], count: Tensor | int) -> None:
        decay = min(recipe.ema, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(list(means), list(weights), 1 - decay)

    return AveragedModel(model, multi_avg_fn=follow)


def seed_of(seed: int, step: int) -> int:
    """The seed of one step's random numbers: with it no state of a generator needs to be saved."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _computes_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _resize(model: Model, pixels: int) -> None:
    """Another picture size: the longer side, or a classifier's crop with the scaling in proportion."""
    if model.task in ("detection", "segmentation"):
        model.sizing = model.sizing._replace(shorter=pixels, longer=pixels)
    else:
        model.resize, model.crop = round(model.resize * pixels / model.crop), pixels
