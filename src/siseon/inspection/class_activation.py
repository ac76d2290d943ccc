"""Which part of a picture speaks for a class: CAM and Grad-CAM.

CAM (Zhou, Khosla, Lapedriza, Oliva, Torralba 2016, "Learning Deep Features for Discriminative Localization",
arXiv:1512.04150) and Grad-CAM (Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2016, "Grad-CAM: Visual Explanations
from Deep Networks via Gradient-based Localization", arXiv:1610.02391).

Idea    The last feature maps still know where; a weight for each of them says how much it speaks for the class.
        CAM reads the weights off the linear layer behind a mean over each map. Grad-CAM takes the mean gradient of the
        class's logit over each map, which exists for any network and is the same there but for a factor.
Flow    picture -> maps A_k -> logit y of the class; alpha_k = mean of dy / dA_k (equation 1);
        ReLU(sum of alpha_k A_k) (equation 2) -> enlarged to the picture
Here    The last step that is no pooling and has more than one cell is taken unless a layer is named; maps are enlarged
        bilinearly and divided by their largest value. The guided variant of section 3.2 is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.inspection.activations import IDLE, check_layer, is_convolution, is_step, listening, maps_in, resting
from siseon.interface import SiseonError

PASSED = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, *IDLE)
"""Layers that make nothing new of the maps."""


def grad_cam(model: nn.Module, picture: Tensor, label: int | None = None, *, layer: str | None = None) -> Tensor:
    """Grad-CAM: [height, width] of the picture, 0..1, where 1 speaks most for the class; zeros where nothing does.

    picture: [channels, height, width], RGB 0..1, at network size. label: the class, the one predicted if left out;
    layer: the name of the module whose maps are weighted. Raises SiseonError for a model that is no classifier, has no
    maps or no such class.
    """
    return enlarged(gradient_map(model, picture, label, layer=layer), picture)


def gradient_map(model: nn.Module, picture: Tensor, label: int | None = None, *, layer: str | None = None) -> Tensor:
    """Equation 2 of Grad-CAM at the size of the maps, as it is: [rows, columns], 0 and more. As `grad_cam` else."""
    with resting(model):
        maps, logits = last_maps(model, picture, layer)
        score = logits[0, checked_label(logits, label)]
        gradient = torch.autograd.grad(score, maps, allow_unused=True)[0] if score.requires_grad else None
        if gradient is None:
            raise SiseonError(f"the scores do not depend on the maps of {layer}", "Name another layer")
        weights = gradient.mean((2, 3), keepdim=True)
        return (weights * maps).sum(1)[0].clamp(min=0).detach()


def class_activation(model: nn.Module, picture: Tensor, label: int | None = None) -> Tensor:
    """CAM: [height, width] of the picture, 0..1, for a network that ends in a mean over each map and a linear layer.

    What speaks against the class is 0. The arguments are those of `grad_cam`. Raises SiseonError for another network.
    """
    return enlarged(weighted_maps(model, picture, label).clamp(min=0), picture)


def weighted_maps(model: nn.Module, picture: Tensor, label: int | None = None) -> Tensor:
    """CAM's map as it is, [rows, columns]: its mean plus the layer's bias is the logit. As `class_activation` else."""
    heads: list[tuple[nn.Linear, Tensor]] = []

    def note(name: str, module: nn.Module, given: tuple[Tensor, ...], made: object) -> None:
        if isinstance(module, nn.Linear):
            heads.append((module, given[0]))

    with resting(model), listening(model, note):
        maps, logits = last_maps(model, picture)
        label = checked_label(logits, label)
        means = maps.mean((2, 3))
        for head, given in heads[-1:]:
            if given.shape == means.shape and torch.allclose(given, means, rtol=1e-4, atol=1e-5):
                return torch.einsum("k,khw->hw", head.weight[label], maps[0]).detach()
    raise SiseonError(
        f"{type(model).__name__} does not end in a mean over each map and a linear layer", "Take grad_cam instead"
    )


def last_maps(model: nn.Module, picture: Tensor, layer: str | None = None) -> tuple[Tensor, Tensor]:
    """The maps [1, channels, rows, columns] of `layer`, or the last there are, and the logits [1, classes] from them.

    Gradients reach the maps and end there, so that frozen networks have them too.
    """
    module = None if layer is None else check_layer(model, layer)
    large = sum(map(is_convolution, model.modules())) / 2
    found: list[Tensor] = []

    def note(name: str, ran: nn.Module, given: object, made: object) -> Tensor | None:
        maps = maps_in(made)
        wanted = ran is module if module is not None else is_step(ran, model, large) and not isinstance(ran, PASSED)
        if len(maps) != 1 or not wanted or (module is None and maps[0].shape[2:].numel() == 1):
            return None
        found[:] = [maps[0].detach().clone().requires_grad_()]
        return found[0].clone()  # what comes next may work in place, and must leave these maps as they are

    with listening(model, note):
        logits = model(picture[None])
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise SiseonError(f"{type(model).__name__} gives no class scores", "This view is for classifiers")
    if not found:
        place = "no feature maps" if layer is None else f"no map at {layer!r}"
        raise SiseonError(f"{type(model).__name__} has {place}", "Name a convolutional layer of the layer table")
    return found[0], logits


def checked_label(logits: Tensor, label: int | None) -> int:
    """The label, or that of the largest of the logits [1, classes]. Raises SiseonError where there is no such class."""
    classes = logits.shape[1]
    if label is None:
        return int(logits.argmax())
    if not 0 <= label < classes:
        raise SiseonError(f"there is no class {label}", f"The network has classes 0 to {classes - 1}")
    return label


def enlarged(heat: Tensor, picture: Tensor) -> Tensor:
    """A map [rows, columns] of values from 0 at the size of the picture, its largest value 1."""
    size = picture.shape[-2:]
    large = F.interpolate(heat[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    top = large.max()
    return large / top if top > 0 else large
