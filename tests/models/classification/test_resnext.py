"""ResNeXt: the paper's tables, a block against its paths one by one, torchvision's numbers."""

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_agrees, filled, on_meta, parameters, picture, stages
from torch import nn

import torchvision_names
from golden import Summary
from siseon.models.classification.resnet import bottleneck
from siseon.models.classification.resnext import VARIANTS, ResNeXt, ResNeXtBody

# torchvision 0.28's resnext50_32x4d on the tensors and the picture of fill.py.
LOGITS_224 = Summary(
    (1000,),
    0.007472904,
    1.536295,
    [0.06119913, -0.6741378, -1.188427, 2.270389, 2.494350, -0.1728579, -3.896381, 2.579887],
    [0.6928207, -0.4030343, -0.5012312, -0.3999696, -1.260132, -1.723964, -0.2623763, 0.3853270],
)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnext50_32x4d", 25_028_904),
        ("resnext101_32x4d", 44_177_704),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_64x4d", 83_455_272),
        ("resnext29_8x64d", 34_426_698),  # table 7: 34.4 million
        ("resnext29_16x64d", 68_155_210),  # table 7: 68.1 million
        ("resnext_mini", 91_354),
    ],
)
def test_parameters(name, count):
    assert parameters(on_meta(ResNeXt, VARIANTS[name])) == count


@pytest.mark.parametrize(
    ("name", "wanted", "strides"),
    [
        ("resnext50_32x4d", [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)], (4, 8, 16, 32)),
        ("resnext29_8x64d", [(256, 32, 32), (512, 16, 16), (1024, 8, 8)], (1, 2, 4)),
        ("resnext_mini", [(64, 16, 16), (128, 8, 8), (256, 4, 4)], (2, 4, 8)),
    ],
)
def test_stages(name, wanted, strides):
    model = on_meta(ResNeXt, VARIANTS[name])
    assert stages(model, model.crop) == wanted
    assert model.body.channels == tuple(stage[0] for stage in wanted)
    assert model.body.strides == strides


def test_the_middle_of_each_stage_is_twice_as_wide_as_that_of_the_stage_before():
    body = on_meta(ResNeXtBody, {"depths": (1, 1, 1, 1)})
    grouped = [layer for layer in body.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert [(layer.out_channels, layer.groups) for layer in grouped] == [(128, 32), (256, 32), (512, 32), (1024, 32)]


def test_weights_of_a_block():
    # section 3.4, C = 32 and d = 4: C (256 d + 3 * 3 d d + d 256), about 70k
    block = bottleneck(256, 128, 256, stride=1, groups=32)
    weights = [layer.weight.numel() for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    assert weights == [32_768, 4_608, 32_768]
    assert sum(weights) == 70_144


def test_a_block_is_the_sum_of_its_paths():
    # equation 3, each path by itself as in figure 3a; normalisation apart, which stands between them
    paths, width = 4, 3
    block = bottleneck(10, paths * width, 10, stride=1, groups=paths).eval()
    reduce, convolve, expand = (layer.weight for layer in block.branch.modules() if isinstance(layer, nn.Conv2d))
    scale = (1 + 1e-5) ** -0.5  # what an untrained normalisation multiplies by
    x = torch.randn(2, 10, 6, 6)
    total = x.clone()
    for path in range(paths):
        own = slice(path * width, (path + 1) * width)
        hidden = F.relu(F.conv2d(x, reduce[own]) * scale)
        hidden = F.relu(F.conv2d(hidden, convolve[own], padding=1) * scale)
        total += F.conv2d(hidden, expand[:, own]) * scale
    torch.testing.assert_close(block(x), F.relu(total))


@torch.inference_mode()
def test_gives_the_logits_of_torchvision():
    names = [*torchvision_names.resnet_body((3, 4, 6, 3), 3), *torchvision_names.linear("fc")]
    model = filled(ResNeXt(**VARIANTS["resnext50_32x4d"]), names)
    assert_agrees(model.logits(picture(224))[0], LOGITS_224)


def test_a_picture_of_one_pixel_is_large_enough():
    assert ResNeXt(**VARIANTS["resnext_mini"]).eval()(torch.rand(1, 3, 1, 1)).isfinite().all()


def test_zero_init_makes_a_block_its_shortcut():
    body = ResNeXtBody(depths=(2,), widths=(8,), cardinality=2, kernel=3, zero_init=True).eval()
    x = torch.rand(1, 32, 4, 4)
    assert torch.equal(body.layers["1"][1](x), x)
