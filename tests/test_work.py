"""How much work a prediction and a training step are, counted and not timed: these numbers may fall, not rise.

Operators called, numbers written by them, and synchronisations: places where Python waits to know a number, which cost
little here and much on a GPU.
"""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from siseon import optimize, zoo
from siseon.boxes import nms
from siseon.convolutions.depthwise import Depthwise
from siseon.convolutions.im2col import Im2col
from siseon.convolutions.planar import Planar
from siseon.convolutions.pointwise import Pointwise
from siseon.convolutions.separable import Separable
from siseon.convolutions.winograd import Winograd
from siseon.interface import Target

WAITING = ("_local_scalar_dense", "nonzero", "item", "masked_select")


class Work(TorchDispatchMode):
    """Counts the operators that run within it, by name, and the numbers that they write."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if not func.is_view and not name.endswith("_"):
            self.numbers += sum(leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        return result

    @property
    def waits(self):
        return sum(self.calls[name] for name in WAITING)


def model_of(name, **options):
    torch.manual_seed(0)
    return zoo.create(name, classes=3, **options).eval()


def predicted(model):
    picture = torch.rand(3, 160, 224, generator=torch.Generator().manual_seed(0))
    model.predict(picture)  # packs weights
    with Work() as work:
        model.predict(picture)
    return work


@pytest.mark.parametrize(
    ("name", "operators", "waits", "millions"),
    [
        ("faster_rcnn_mini", 700, 5, 2.4),
        ("mask_rcnn_mini", 980, 8, 12.5),
        ("retinanet_mini", 540, 7, 2.2),
        ("ssd_mini", 220, 2, 1.25),
        ("yolo_mini", 170, 2, 1.2),
    ],
)
def test_a_prediction_does_no_more(name, operators, waits, millions):
    work = predicted(optimize(model_of(name)))
    assert sum(work.calls.values()) <= operators
    assert work.waits <= waits
    assert work.numbers / 1e6 <= millions


@pytest.mark.parametrize("name", ["resnet_mini", "mobilenet_mini", "efficientnet_mini"])
def test_nothing_is_left_between_convolutions(name, monkeypatch):
    own = Counter()
    for kind in (Winograd, Im2col, Planar, Pointwise, Depthwise, Separable):
        call = kind.__call__

        def counted(self, *rest, call=call):
            parts = [self.wide, self.own, self.narrow] if isinstance(self, Separable) else [self]
            own.update([type(self)] * sum(part is not None for part in parts))
            return call(self, *rest)

        monkeypatch.setattr(kind, "__call__", counted)
    model = model_of(name)
    fast = optimize(model)
    fast.predict(torch.rand(3, 160, 224))  # packs weights
    own.clear()
    work = predicted(fast)
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    # `predicted` calls it twice, and counts operators once
    assert work.calls["_convolution_pointwise"] + own.total() // 2 == len(layers)
    assert own.total()
    left = {"batch_norm", "native_batch_norm", "relu", "relu_", "hardtanh", "hardtanh_", "silu", "silu_", "sigmoid"}
    assert not left & set(work.calls)


def test_nms_runs_once_for_proposals_and_once_for_objects(monkeypatch):
    given = []
    inner = nms._suppressed
    monkeypatch.setattr(
        nms, "_suppressed", lambda boxes, *rest, **options: given.append(len(boxes)) or inner(boxes, *rest, **options)
    )
    model = model_of("faster_rcnn_mini")
    model.predict(torch.rand(3, 160, 224), score=0.05)
    assert len(given) == 2
    assert given[0] <= len(model.backbone.strides) * model.counts[0]
    assert given[1] <= 3 * model.counts[1]


@pytest.mark.parametrize(
    ("name", "operators", "waits", "millions"), [("faster_rcnn_mini", 1430, 16, 13.5), ("retinanet_mini", 1090, 4, 17)]
)
def test_losses_and_gradients_do_no_more(name, operators, waits, millions):
    model = model_of(name).train()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 160, 224, generator=generator)
    corners = 80 * torch.rand(2, 5, 2, generator=generator)
    targets = [
        Target(torch.cat([own, own + 40], 1), torch.tensor([0, 1, 2, 0, 1]), torch.zeros(5, dtype=torch.bool))
        for own in corners
    ]
    sum(model.loss(images, targets).values()).backward()
    with Work() as work:
        sum(model.loss(images, targets).values()).backward()
    assert sum(work.calls.values()) <= operators
    assert work.waits <= waits
    assert work.numbers / 1e6 <= millions
