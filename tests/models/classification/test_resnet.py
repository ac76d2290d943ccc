import pytest
import torch
from torch import nn

import golden
from siseon.models.classification.resnet import BODIES, VARIANTS, ResNet, ResNetBody


@pytest.mark.parametrize("name", [name for name in VARIANTS if name in golden.PARAMETERS])
def test_the_parameters_are_those_published(name):
    with torch.device("meta"):
        model = ResNet(**VARIANTS[name])
    assert sum(part.numel() for part in model.parameters()) == golden.PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet_mini"])
def test_features_have_the_channels_and_strides_that_the_body_states(name):
    with torch.device("meta"):
        body = ResNetBody(**BODIES[name])
        maps = body.features(torch.zeros(2, 3, 64, 96))
    expected = [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(body.channels, body.strides, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == expected


def test_zero_init_makes_a_block_its_shortcut():
    body = ResNetBody(**BODIES["resnet_mini"], zero_init=True).eval()
    x = torch.rand(1, 16, 8, 8)
    (block,) = body.layers["1"]
    assert torch.equal(block(x), block.shortcut(x))


def test_the_stride_of_a_bottleneck_is_on_its_3x3():
    with torch.device("meta"):
        body = ResNetBody(**BODIES["resnet50"])
    strided = [
        part.kernel_size
        for part in body.layers["2"][0].branch.modules()
        if isinstance(part, nn.Conv2d) and part.stride == (2, 2)
    ]
    assert strided == [(3, 3)]


def test_resnet_mini_learns_a_few_pictures():
    model = ResNet(**{**VARIANTS["resnet_mini"], "classes": 2}).train()
    images, labels = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(15):
        optimizer.zero_grad()
        loss = model.loss(images, labels)["class"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
