"""Models with weights: build, load, and the published checkpoints whose tensor names are torchvision's.

A checkpoint is known by its file name, which ends in the first eight digits of its SHA-256. It is looked for in
PyTorch's own cache, downloaded there with a progress bar where there is a network, or named with the place for it.
Each model file says, as `TORCHVISION_NAMES`, how torchvision's tensor names become ours, and, as `TORCHVISION_TENSORS`,
which tensors change beside.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError

import torch
from torch import Tensor, nn

from siseon import tensorfile, zoo
from siseon.interface import WeightsError

log = logging.getLogger("siseon")

ADDRESS = "https://download.pytorch.org/models/"

PUBLISHED: dict[tuple[str, str], str] = {
    ("resnet18", "imagenet"): "resnet18-f37072fd.pth",
    ("resnet34", "imagenet"): "resnet34-b627a593.pth",
    ("resnet50", "imagenet"): "resnet50-0676ba61.pth",
    ("resnet101", "imagenet"): "resnet101-63fe2227.pth",
    ("resnet152", "imagenet"): "resnet152-394f9c45.pth",
    ("alexnet_one_tower", "imagenet"): "alexnet-owt-7be5be79.pth",
    ("vgg11", "imagenet"): "vgg11-8a719046.pth",
    ("vgg13", "imagenet"): "vgg13-19584684.pth",
    ("vgg16", "imagenet"): "vgg16-397923af.pth",
    ("vgg19", "imagenet"): "vgg19-dcbb9e9d.pth",
    ("vgg11_bn", "imagenet"): "vgg11_bn-6002323d.pth",
    ("vgg13_bn", "imagenet"): "vgg13_bn-abd245e5.pth",
    ("vgg16_bn", "imagenet"): "vgg16_bn-6c64b313.pth",
    ("vgg19_bn", "imagenet"): "vgg19_bn-c79401a0.pth",
    ("googlenet_bn", "imagenet"): "googlenet-1378be20.pth",
    ("resnext50_32x4d", "imagenet"): "resnext50_32x4d-7cdf4587.pth",
    ("resnext101_32x8d", "imagenet"): "resnext101_32x8d-8ba56ff5.pth",
    ("resnext101_64x4d", "imagenet"): "resnext101_64x4d-173b62eb.pth",
    ("wide_resnet50_2", "imagenet"): "wide_resnet50_2-95faca4d.pth",
    ("wide_resnet101_2", "imagenet"): "wide_resnet101_2-32ee1156.pth",
    ("densenet121", "imagenet"): "densenet121-a639ec97.pth",
    ("densenet161", "imagenet"): "densenet161-8d451a50.pth",
    ("densenet169", "imagenet"): "densenet169-b2777c0a.pth",
    ("densenet201", "imagenet"): "densenet201-c1103571.pth",
    ("mobilenet_v2", "imagenet"): "mobilenet_v2-b0353104.pth",
    ("efficientnet_b0", "imagenet"): "efficientnet_b0_rwightman-7f5810bc.pth",
    ("efficientnet_b1", "imagenet"): "efficientnet_b1_rwightman-bac287d4.pth",
    ("efficientnet_b2", "imagenet"): "efficientnet_b2_rwightman-c35c1473.pth",
    ("efficientnet_b3", "imagenet"): "efficientnet_b3_rwightman-b3899882.pth",
    ("efficientnet_b4", "imagenet"): "efficientnet_b4_rwightman-23ab8bcd.pth",
    ("efficientnet_b5", "imagenet"): "efficientnet_b5_lukemelas-1a07897c.pth",
    ("efficientnet_b6", "imagenet"): "efficientnet_b6_lukemelas-24a108a5.pth",
    ("efficientnet_b7", "imagenet"): "efficientnet_b7_lukemelas-c5b4e57e.pth",
    ("faster_rcnn_resnet50_fpn", "coco"): "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
    ("mask_rcnn_resnet50_fpn", "coco"): "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
    ("retinanet_resnet50_fpn", "coco"): "retinanet_resnet50_fpn_coco-eeacb38b.pth",
    ("ssd300_vgg16", "coco"): "ssd300_vgg16_coco-b556d3b4.pth",
    ("fcn_resnet50", "coco"): "fcn_resnet50_coco-1167a1af.pth",
}
"""(model of the zoo, weights) -> file under ADDRESS, as torchvision 0.28 lists them (IMAGENET1K_V1, COCO_V1)."""

SCALES = {"googlenet-1378be20.pth": (0.5, 0.5)}
"""Published file -> mean and deviation of the pixels that it was trained with, where they are not ImageNet's."""

TORCHVISION_MODELS = {
    "alexnet": "alexnet_one_tower",
    "fasterrcnn_resnet50_fpn": "faster_rcnn_resnet50_fpn",
    "googlenet": "googlenet_bn",
    "maskrcnn_resnet50_fpn": "mask_rcnn_resnet50_fpn",
}
"""Models that torchvision calls otherwise."""

CLASSES = {"imagenet": 1000, "coco": 90}
"""How many names the published checkpoints of each kind have; COCO's 80 classes carry numbers up to 90."""

OTHER_CLASSES = {"fcn_resnet50_coco-1167a1af.pth": "voc"}
"""Published file -> the names of its classes, where they are not those of its kind: COCO's pictures, VOC's classes."""


def published_classes(weights: str) -> tuple[str, ...]:
    """The class names of "imagenet" (1,000), "coco" (90, ten of them unused numbers) or "voc" (20 and background)."""
    return tuple(files("siseon").joinpath("names", f"{weights}.txt").read_text(encoding="utf-8").splitlines())


def build(name: str, *, weights: str | Path | None = None, **arguments: object) -> nn.Module:
    """Build the model `name` of the zoo, with its keyword arguments, and fill it with `weights`.

    weights: None for random ones; "imagenet" or "coco" for the official torchvision checkpoint (for a detector or
    segmenter, "imagenet" fills its backbone); or a file (.safetensors or .pth) with the tensors of this model or of
    its backbone, under our names or torchvision's. Class layers of another class count are left as they are and named
    in the log.
    Raises RecipeError for a wrong name or argument, WeightsError for a missing, damaged or another model's file.
    """
    if weights is None:
        return zoo.create(name, **arguments)
    if str(weights) not in CLASSES:
        model = zoo.create(name, **arguments)
        fill(model, tensorfile.read_any(Path(weights))[0], source=str(weights))
        _rescale(model, Path(weights).name)
        return model
    key = _published_key(name, str(weights), arguments)
    tensors = tensorfile.read_any(_published_file(*key))[0]
    if key[0] == name:
        names = OTHER_CLASSES.get(PUBLISHED[key], str(weights))
        arguments = {"classes": published_classes(names), **arguments}
    model = zoo.create(name, **arguments)
    fill(model, tensors, source=PUBLISHED[key])
    _rescale(model, PUBLISHED[key])
    return model


def load(path: str | Path) -> nn.Module:
    """The model saved in a .safetensors file or in a run folder (its best), in eval mode. Raises WeightsError."""
    file = Path(path)
    if file.is_dir():
        file = next(
            (file / name for name in ("best.safetensors", "last.safetensors") if (file / name).exists()),
            file / "best.safetensors",
        )
    tensors, metadata = tensorfile.read(file)
    if "spec" not in metadata:
        raise WeightsError(
            f"{file} holds tensors but not what model they belong to",
            "Name the model: build(name, weights=file), or on the command line the model and --weights",
        )
    spec = json.loads(metadata["spec"])
    model = zoo.create(spec["name"], **spec["arguments"])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as fault:
        first = str(fault).splitlines()[1].strip()[:90]
        raise WeightsError(
            f"{file} does not fit {spec['name']} as this version builds it ({first})",
            "It was saved by another version of siseon: use that one, or train anew",
        ) from fault
    tensorfile.restore_sizes(model, metadata)
    return model.eval()


def save(model: nn.Module, path: str | Path) -> Path:
    """Write the model to one .safetensors file with all that `load` needs, atomically."""
    tensorfile.save_model(cast(tensorfile.Saveable, model), Path(path))
    return Path(path)


def from_torchvision(name: str, tensors: Mapping[str, Tensor], **arguments: object) -> nn.Module:
    """The model `name` (ours or torchvision's name) that holds these torchvision-named tensors, in eval mode.

    The class count follows the tensors unless `classes` is given. Raises WeightsError naming a tensor that is too many,
    too few or of another shape; batch counters (num_batches_tracked) may be absent, as in older checkpoints.
    """
    name = TORCHVISION_MODELS.get(name, name)
    model = zoo.create(name, **arguments)
    renamed = _translated(tensors, model)
    if "classes" not in arguments:
        model = _with_class_count_of(renamed, model)
    own = model.state_dict()
    _report_differences(name, own, renamed, tensors)
    model.load_state_dict({**own, **renamed})
    return model.eval()


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, source: str) -> tuple[str, ...]:
    """Copy `tensors` into `model` where they belong: the whole model, or only its backbone's body.

    A captioner's backbone has a `last` layer behind the body, which is filled too. Class layers of another class count
    are left out; their names are returned and logged. source: the file, for errors.
    """
    own = model.state_dict()
    candidates: dict[str, Mapping[str, Tensor]] = {}
    prefix, body = _body(model)
    if body is not None:
        for kind, named in (("body", tensors), ("torchvision body", _translated(tensors, body))):
            part = {f"{prefix}{key}": value for key, value in named.items() if key.startswith(("body.", "last."))}
            candidates[kind] = {**part, **_convolutionised(tensors, model)} if part else part
    # A whole model has more tensors than its body, so that of two that fit equally well the body is meant.
    candidates |= {"": tensors, "torchvision": _translated(tensors, model)}
    needed = _needed(own)
    kind, best = max(candidates.items(), key=lambda item: sum(key in item[1] for key in needed))
    wanted = [key for key in needed if "body" not in kind or key.startswith((f"{prefix}body.", f"{prefix}last."))]
    class_layers = _class_dependent(model)
    missing = [key for key in wanted if key not in best]
    wrong = [key for key in wanted if key in best and best[key].shape != own[key].shape and key not in class_layers]
    if missing or wrong:
        raise WeightsError(
            f"{source} holds the weights of another model than {_spec(model)['name']}: "
            f"{len(missing)} tensors missing, {len(wrong)} of another shape, first {(missing + wrong)[0]}",
            "Name the model that the file was made for, or another file",
        )
    left_out = tuple(key for key in wanted if best[key].shape != own[key].shape)
    model.load_state_dict({**own, **{key: best[key] for key in best if key in own and key not in left_out}})
    if left_out:
        log.warning("%s: left out for another number of classes: %s", source, ", ".join(left_out))
    return left_out


def _rescale(model: nn.Module, file: str) -> None:
    """Let the model normalise pixels as the published `file` was trained."""
    if file in SCALES:
        mean, deviation = SCALES[file]
        cast(Tensor, model.mean).fill_(mean)
        cast(Tensor, model.deviation).fill_(deviation)


def _spec(model: nn.Module) -> dict[str, Any]:
    spec = model.spec
    assert isinstance(spec, dict)
    return spec


def _needed(own: Mapping[str, Tensor]) -> list[str]:
    """The names that a checkpoint must have; our scale of the input and the counters of batches may be missing."""
    return [key for key in own if key not in ("mean", "deviation") and not key.endswith("num_batches_tracked")]


def _body(model: nn.Module) -> tuple[str, nn.Module | None]:
    """What stands before the names of the body of a detector or segmenter, and the body; None in a classifier."""
    backbone = model._modules.get("backbone")
    if backbone is not None:
        return "backbone.", backbone._modules.get("body")
    return "", None if _spec_task(model) == "classification" else model._modules.get("body")


def _spec_task(model: nn.Module) -> zoo.Task:
    return zoo.entry(_spec(model)["name"]).task


def _convolutionised(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The fully connected layers of a classifier as the convolutions that the model's file says, where they fit.

    CLASSIFIER_NAMES, as TORCHVISION_NAMES, gives their names. A row of the layer is one filter, flattened.
    """
    rules: Sequence[tuple[str, str]] = vars(sys.modules[type(model).__module__]).get("CLASSIFIER_NAMES", ())
    own = model.state_dict()
    return {
        name: tensor.reshape(own[name].shape)
        for name, tensor in _renamed(tensors, rules).items()
        if name in own and name not in tensors and tensor.numel() == own[name].numel()
    }


def _translated(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Torchvision's tensors as ours: renamed, and changed where the model's own file says how."""
    changes = vars(sys.modules[type(model).__module__]).get("TORCHVISION_TENSORS", {})
    renamed = _renamed(tensors, _rules(model))
    return {name: changes[name](tensor) if name in changes else tensor for name, tensor in renamed.items()}


def _rules(model: nn.Module) -> Sequence[tuple[str, str]]:
    """The renaming rules that the model's own file states."""
    rules: Sequence[tuple[str, str]] = vars(sys.modules[type(model).__module__]).get("TORCHVISION_NAMES", ())
    return rules


def _renamed(tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """The tensors under our names: the first rule that matches a whole name renames it; others keep their name."""

    def rename(name: str) -> str:
        for old, new in rules:
            renamed, count = re.subn(rf"^(?:{old})$", new, name)
            if count:
                return renamed
        return name

    return {rename(name): tensor for name, tensor in tensors.items()}


def _on_meta(model: nn.Module, classes: int) -> dict[str, Tensor]:
    """The state dict of the same model with another class count, without memory."""
    spec = _spec(model)
    # Weights of the classes are as many as these, and change no shape.
    arguments = {name: value for name, value in spec["arguments"].items() if name != "class_weights"}
    with torch.device("meta"):
        return zoo.create(spec["name"], **{**arguments, "classes": classes}).state_dict()


def _class_dependent(model: nn.Module) -> set[str]:
    """The names of the tensors whose shape follows the number of classes."""
    own, other = model.state_dict(), _on_meta(model, len(_classes(model)) + 1)
    return {key for key in own if key in other and own[key].shape != other[key].shape}


def _with_class_count_of(renamed: Mapping[str, Tensor], model: nn.Module) -> nn.Module:
    """The model rebuilt with the class count that the tensors' shapes imply; itself where they imply none.

    The rows of a class layer are proportional to its outputs, which are the classes with or without a background.
    """
    own, spec = model.state_dict(), _spec(model)
    for key in sorted(_class_dependent(model)):
        if key not in renamed or not renamed[key].ndim or renamed[key].shape == own[key].shape:
            continue
        for background in (0, 1):
            outputs, remainder = divmod(len(renamed[key]) * (len(_classes(model)) + background), len(own[key]))
            classes = outputs - background
            if not remainder and classes > 0 and _on_meta(model, classes)[key].shape == renamed[key].shape:
                return zoo.create(spec["name"], **{**spec["arguments"], "classes": classes})
    return model


def _classes(model: nn.Module) -> tuple[str, ...]:
    classes = model.classes
    assert isinstance(classes, tuple)
    return classes


def _report_differences(
    name: str, own: Mapping[str, Tensor], renamed: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> None:
    original = dict(zip(renamed, given, strict=True))
    missing = [key for key in _needed(own) if key not in renamed]
    surplus = [original[key] for key in renamed if key not in own]
    shaped = [key for key in renamed if key in own and renamed[key].shape != own[key].shape]
    if missing:
        raise WeightsError(
            f"{name}: {len(missing)} tensors are missing, first {missing[0]} (our name)",
            "Give all tensors of the checkpoint",
        )
    if surplus:
        raise WeightsError(
            f"{name}: {len(surplus)} tensors are too many, first {surplus[0]}", "Give the tensors of this model only"
        )
    if shaped:
        key = shaped[0]
        raise WeightsError(
            f"{name}: {original[key]} has shape {list(renamed[key].shape)}, not {list(own[key].shape)}",
            "Give the tensors of this variant of the model",
        )


def _published_key(name: str, weights: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """The row of PUBLISHED for this model: its own, or that of its backbone."""
    backbone = str({**zoo.arguments(name), **arguments}.get("backbone"))
    for key in ((name, weights), (backbone, weights)):
        if key in PUBLISHED and (key[0] == name or zoo.entry(name).task != "classification"):
            return key
    known = ", ".join(sorted(model for model, kind in PUBLISHED if kind == weights))
    raise WeightsError(
        f'no published "{weights}" weights are known for {name}', f"There are some for {known}; or give a file"
    )


def _published_file(name: str, weights: str) -> Path:
    """The checkpoint's file in PyTorch's cache, downloaded if need be."""
    file = PUBLISHED[name, weights]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / file
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    digest = file.rsplit("-", 1)[-1].removesuffix(".pth")
    try:
        torch.hub.download_url_to_file(ADDRESS + file, str(path), hash_prefix=digest, progress=True)
    except (URLError, OSError) as fault:
        raise WeightsError(
            f"cannot download {ADDRESS}{file} ({fault})",
            f"Fetch that file on a machine with a network and put it at {path}",
        ) from fault
    except RuntimeError as fault:  # torch.hub's word for a digest that differs
        raise WeightsError(f"{ADDRESS}{file} arrived damaged ({fault})", "Try again") from fault
    return path
