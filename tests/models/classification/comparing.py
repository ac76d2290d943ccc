"""What the tests of the lineage share: filling a network with torchvision's tensors, sizes without memory."""

import re
import sys

import pytest
import torch

import fill
from golden import Summary


def filled(model, names):
    """The model in eval mode, holding for each of torchvision's `names` its tensor; none may be left over."""
    rules = sys.modules[type(model).__module__].TORCHVISION_NAMES
    own = model.state_dict()
    left = {name for name in own if name not in ("mean", "deviation")}
    for theirs in names:
        ours = next((re.sub(f"^(?:{old})$", new, theirs) for old, new in rules if re.fullmatch(old, theirs)), theirs)
        own[ours].copy_(fill.tensor(theirs, own[ours].shape))
        left.remove(ours)
    assert not left
    return model.eval()


def picture(side):
    """A picture [1, 3, side, side] normalised with ImageNet's mean and deviation."""
    mean, deviation = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    return ((fill.picture(side, side) - mean.view(3, 1, 1)) / deviation.view(3, 1, 1))[None]


def assert_agrees(tensor, summary: Summary):
    """A tensor and its summary, to 1e-4."""
    values = tensor.flatten()
    assert tuple(tensor.shape) == summary.shape
    for found, wanted in (
        ([values.mean().item(), values.std().item()], [summary.mean, summary.deviation]),
        (values[:8].tolist(), summary.head),
        (values[-8:].tolist(), summary.tail),
    ):
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def on_meta(build, arguments):
    """The network without memory, in eval mode."""
    with torch.device("meta"):
        return build(**arguments).eval()


def parameters(module):
    """How many values are trained."""
    return sum(parameter.numel() for parameter in module.parameters())


def outputs(model, side):
    """[(module, shape of its output without the batch)] of the modules without parts, as they run, on meta."""
    seen = []
    handles = [
        module.register_forward_hook(lambda module, _, output: seen.append((module, tuple(output.shape[1:]))))
        for module in model.modules()
        if not list(module.children())
    ]
    model(torch.empty(1, 3, side, side, device="meta"))
    for handle in handles:
        handle.remove()
    return seen


def stages(model, side):
    """[(channels, height, width)] of the maps that `features` gives for a picture of `side` pixels, on meta."""
    return [tuple(stage.shape[1:]) for stage in model.body.features(torch.empty(1, 3, side, side, device="meta"))]


def norm(prefix):
    """The names of a batch normalisation."""
    return [f"{prefix}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]


def weight_and_bias(prefix):
    """The names of a layer with a bias."""
    return [f"{prefix}.weight", f"{prefix}.bias"]
