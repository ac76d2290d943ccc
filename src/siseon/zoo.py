"""Every model by its name: one literal table. The only place that lists models."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import nn

from siseon.interface import RecipeError, SiseonError
from siseon.models.classification import (
    alexnet,
    cifar_resnet,
    deep_digits,
    densenet,
    efficientnet,
    googlenet,
    lenet,
    mlp,
    mobilenet,
    nasnet,
    network_in_network,
    plain,
    resnet,
    resnext,
    senet,
    vgg,
    wide_resnet,
    zfnet,
)
from siseon.models.control import dqn
from siseon.models.detection import fast_rcnn, faster_rcnn, mask_rcnn, rcnn, refine_rcnn, retinanet, ssd, yolo
from siseon.models.generation import dcgan, gan
from siseon.models.language import nic
from siseon.models.segmentation import fcn, segnet

Task: TypeAlias = Literal["classification", "detection", "segmentation", "captioning", "generation", "control"]


class Entry(NamedTuple):
    """One model: what it is for, the function that builds it (keyword arguments only), and where it comes from."""

    task: Task
    build: Callable[..., nn.Module]
    paper: str
    year: int
    authors: str


class Family(NamedTuple):
    """The models of one paper: task, builder, name -> arguments, title, where it can be read, year, authors."""

    task: Task
    build: Callable[..., nn.Module]
    variants: Mapping[str, Mapping[str, Any]]
    title: str
    place: str
    year: int
    authors: str


RESNET = ("Deep Residual Learning for Image Recognition", "arXiv:1512.03385", 2016, "He, Zhang, Ren, Sun")
LENET = (
    "Gradient-Based Learning Applied to Document Recognition",
    "Proc. IEEE 86(11)",
    1998,
    "LeCun, Bottou, Bengio, Haffner",
)
FULLY_CONVOLUTIONAL = (
    "Fully Convolutional Networks for Semantic Segmentation",
    "arXiv:1411.4038",
    2015,
    "Long, Shelhamer, Darrell",
)
WIDE_RESNET = ("Wide Residual Networks", "arXiv:1605.07146", 2016, "Zagoruyko, Komodakis")

FAMILIES = (
    Family("classification", mlp.MLP, mlp.VARIANTS, *LENET),
    Family("classification", lenet.LeNet, lenet.VARIANTS, *LENET),
    Family(
        "classification",
        alexnet.AlexNet,
        alexnet.VARIANTS,
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "NIPS 2012",
        2012,
        "Krizhevsky, Sutskever, Hinton",
    ),
    Family(
        "classification",
        zfnet.ZFNet,
        zfnet.VARIANTS,
        "Visualizing and Understanding Convolutional Networks",
        "arXiv:1311.2901",
        2013,
        "Zeiler, Fergus",
    ),
    Family(
        "classification",
        network_in_network.NetworkInNetwork,
        network_in_network.VARIANTS,
        "Network in Network",
        "arXiv:1312.4400",
        2013,
        "Lin, Chen, Yan",
    ),
    Family(
        "classification",
        vgg.VGG,
        vgg.VARIANTS,
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "arXiv:1409.1556",
        2014,
        "Simonyan, Zisserman",
    ),
    Family(
        "classification",
        googlenet.GoogLeNet,
        googlenet.VARIANTS,
        "Going Deeper with Convolutions",
        "arXiv:1409.4842",
        2014,
        "Szegedy et al.",
    ),
    Family(
        "classification",
        deep_digits.DeepDigits,
        deep_digits.VARIANTS,
        "Deep Learning from Scratch, chapter 8",
        "O'Reilly Japan",
        2016,
        "Saito",
    ),
    Family("classification", resnet.ResNet, resnet.VARIANTS, *RESNET),
    Family("classification", plain.Plain, plain.VARIANTS, *RESNET),
    Family("classification", cifar_resnet.CifarResNet, cifar_resnet.VARIANTS, *RESNET),
    Family("classification", wide_resnet.WideResNet, wide_resnet.VARIANTS, *WIDE_RESNET),
    Family("classification", wide_resnet.WideBottleneckResNet, wide_resnet.BOTTLENECK_BODIES, *WIDE_RESNET),
    Family(
        "classification",
        resnext.ResNeXt,
        resnext.VARIANTS,
        "Aggregated Residual Transformations for Deep Neural Networks",
        "arXiv:1611.05431",
        2016,
        "Xie, Girshick, Dollar, Tu, He",
    ),
    Family(
        "classification",
        densenet.DenseNet,
        densenet.VARIANTS,
        "Densely Connected Convolutional Networks",
        "arXiv:1608.06993",
        2016,
        "Huang, Liu, van der Maaten, Weinberger",
    ),
    Family(
        "classification",
        mobilenet.MobileNetV1,
        {"mobilenet_v1": mobilenet.VARIANTS["mobilenet_v1"]},
        "MobileNets: Efficient CNNs for Mobile Vision Applications",
        "arXiv:1704.04861",
        2017,
        "Howard et al.",
    ),
    Family(
        "classification",
        nasnet.NASNet,
        nasnet.VARIANTS,
        "Learning Transferable Architectures for Scalable Image Recognition",
        "arXiv:1707.07012",
        2017,
        "Zoph, Vasudevan, Shlens, Le",
    ),
    Family(
        "classification",
        senet.SENet,
        senet.VARIANTS,
        "Squeeze-and-Excitation Networks",
        "arXiv:1709.01507",
        2017,
        "Hu, Shen, Albanie, Sun, Wu",
    ),
    Family(
        "classification",
        mobilenet.MobileNetV2,
        {name: mobilenet.VARIANTS[name] for name in ("mobilenet_v2", "mobilenet_mini")},
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "arXiv:1801.04381",
        2018,
        "Sandler et al.",
    ),
    Family(
        "classification",
        efficientnet.EfficientNet,
        efficientnet.VARIANTS,
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "arXiv:1905.11946",
        2019,
        "Tan, Le",
    ),
    Family(
        "detection",
        rcnn.rcnn,
        rcnn.VARIANTS,
        "Rich feature hierarchies for accurate object detection and semantic segmentation",
        "arXiv:1311.2524",
        2014,
        "Girshick, Donahue, Darrell, Malik",
    ),
    Family(
        "detection",
        fast_rcnn.fast_rcnn,
        fast_rcnn.VARIANTS,
        "Fast R-CNN",
        "arXiv:1504.08083",
        2015,
        "Girshick",
    ),
    Family(
        "detection",
        faster_rcnn.faster_rcnn,
        faster_rcnn.VARIANTS,
        "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
        "arXiv:1506.01497",
        2015,
        "Ren, He, Girshick, Sun",
    ),
    Family(
        "detection",
        ssd.ssd,
        ssd.VARIANTS,
        "SSD: Single Shot MultiBox Detector",
        "arXiv:1512.02325",
        2015,
        "Liu et al.",
    ),
    Family(
        "detection",
        retinanet.retinanet,
        retinanet.VARIANTS,
        "Focal Loss for Dense Object Detection",
        "arXiv:1708.02002",
        2017,
        "Lin, Goyal, Girshick, He, Dollar",
    ),
    Family(
        "detection",
        mask_rcnn.mask_rcnn,
        mask_rcnn.VARIANTS,
        "Mask R-CNN",
        "arXiv:1703.06870",
        2017,
        "He, Gkioxari, Dollar, Girshick",
    ),
    Family(
        "detection",
        yolo.yolo,
        yolo.VARIANTS,
        "You Only Look Once: Unified, Real-Time Object Detection",
        "arXiv:1506.02640",
        2016,
        "Redmon, Divvala, Girshick, Farhadi",
    ),
    Family(
        "detection",
        refine_rcnn.refine_rcnn,
        refine_rcnn.VARIANTS,
        "Refining Faster-RCNN for Accurate Object Detection",
        "MVA 2017",
        2017,
        "Roh, Lee",
    ),
    Family(
        "captioning",
        nic.nic,
        nic.VARIANTS,
        "Show and Tell: A Neural Image Caption Generator",
        "arXiv:1411.4555",
        2015,
        "Vinyals, Toshev, Bengio, Erhan",
    ),
    Family("segmentation", fcn.FCN, fcn.VARIANTS, *FULLY_CONVOLUTIONAL),
    Family("segmentation", fcn.DilatedFCN, fcn.DILATED_VARIANTS, *FULLY_CONVOLUTIONAL),
    Family(
        "segmentation",
        segnet.SegNet,
        segnet.VARIANTS,
        "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
        "arXiv:1511.00561",
        2017,
        "Badrinarayanan, Kendall, Cipolla",
    ),
    Family(
        "generation",
        gan.GAN,
        gan.VARIANTS,
        "Generative Adversarial Nets",
        "arXiv:1406.2661",
        2014,
        "Goodfellow et al.",
    ),
    Family(
        "generation",
        dcgan.DCGAN,
        dcgan.VARIANTS,
        "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
        "arXiv:1511.06434",
        2016,
        "Radford, Metz, Chintala",
    ),
    Family(
        "control",
        dqn.DQN,
        dqn.VARIANTS,
        "Human-level control through deep reinforcement learning",
        "Nature 518, arXiv:1312.5602",
        2015,
        "Mnih et al.",
    ),
)
"""Every model there is, paper by paper."""

ZOO: Mapping[str, Entry] = {
    name: Entry(
        family.task,
        partial(family.build, **arguments),
        f"{family.title}, {family.place}",
        family.year,
        family.authors,
    )
    for family in FAMILIES
    for name, arguments in family.variants.items()
}


def names(task: Task | None = None) -> list[str]:
    """The names of the models, of one task or of all."""
    return [name for name, entry in ZOO.items() if task in (None, entry.task)]


def entry(name: str) -> Entry:
    """The table's row for `name`. Raises RecipeError suggesting the nearest name."""
    if name not in ZOO:
        near = difflib.get_close_matches(name, ZOO, n=1, cutoff=0.4)
        meant = f'Did you mean "{near[0]}"? ' if near else ""
        raise RecipeError(f'there is no model "{name}"', f"{meant}siseon models lists all {len(ZOO)}")
    return ZOO[name]


def arguments(name: str) -> dict[str, Any]:
    """The keyword arguments of a model, with their defaults."""
    return {key: parameter.default for key, parameter in inspect.signature(entry(name).build).parameters.items()}


def create(name: str, **given: object) -> nn.Module:
    """Build the model `name` with random weights.

    model.spec = {"name", "arguments"} is all that is needed to build it again, and can be written as JSON. Raises
    RecipeError for a name or an argument that does not exist, or a value that cannot be written as JSON or built with.
    """
    known = arguments(name)
    for key in given:
        if key not in known:
            raise RecipeError(f'{name} has no argument "{key}"', f"It takes {', '.join(known)}")
    try:
        plain = json.loads(json.dumps(given))
    except TypeError as fault:
        raise RecipeError(
            f"an argument of {name} cannot be written to a file ({fault})", "Give numbers, words and lists"
        ) from fault
    try:
        model = entry(name).build(**given)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as fault:
        chosen = ", ".join(f"{key}={value}" for key, value in given.items() if key != "classes")
        if not chosen or isinstance(fault, SiseonError):
            raise
        raise RecipeError(
            f"{name} cannot be built with {chosen} ({fault})", f"Leave one out: {name} can be built without them"
        ) from fault
    model.spec = {"name": name, "arguments": plain}  # type: ignore[assignment]
    return model
