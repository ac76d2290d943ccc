"""The fast arrangement gives the numbers of the plain one."""

import copy

import pytest
import torch
from torch import nn

from siseon import optimization, zoo
from siseon.interface import RecipeError
from siseon.layers import Body, Residual, SameConv2d, conv_norm, conv_norm_relu
from siseon.optimization import fold_norms, optimize
from siseon.packed_layers import Convolution, FusedResidual, Linear

CLASSIFIERS = [name for name in zoo.names("classification") if name.endswith("_mini")]


def lived(model):
    """The model in eval mode with statistics in its norms as if it had been trained."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def assert_same(model, fast, images, tolerance=1e-4):
    with torch.inference_mode():
        plain, quick = model(images), fast(images)
    torch.testing.assert_close(quick.float(), plain, rtol=0, atol=tolerance * float(plain.std()))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_keeps_its_numbers(name):
    torch.manual_seed(0)
    model = lived(zoo.create(name, classes=5))
    before = copy.deepcopy(model.state_dict())
    assert_same(model, optimize(model), torch.rand(2, 3, model.crop, model.crop), 2e-4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_detector_finds_the_same():
    torch.manual_seed(0)
    model = lived(zoo.create("faster_rcnn_mini", classes=3))
    picture = torch.rand(3, 90, 120)
    plain, quick = model.predict(picture, score=0)[0], optimize(model).predict(picture, score=0)[0]
    assert len(plain) == len(quick) > 0
    torch.testing.assert_close(quick.scores, plain.scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(quick.boxes, plain.boxes, rtol=0, atol=0.05)


def test_layers_melt_into_one():
    network = nn.Sequential(
        conv_norm_relu(3, 8), Residual(nn.Sequential(conv_norm_relu(8, 8), conv_norm(8, 8)), nn.Identity())
    )
    fast = optimize(lived(network))
    assert isinstance(fast[1], FusedResidual)
    kinds = [type(layer) for layer in fast.modules() if not list(layer.children())]
    assert kinds.count(Convolution) == 3
    assert not {nn.BatchNorm2d, nn.ReLU, nn.Conv2d} & set(kinds)
    assert_same(network, fast, torch.rand(1, 3, 9, 7))


def test_maps_that_features_gives_are_not_rectified_early():
    """A stage that ends at a convolution is given to detectors before the rectifier that follows."""
    body = Body(
        nn.Identity(), [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)], ends=(1, 3), channels=(4, 4), strides=(1, 1)
    ).eval()
    images = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        for plain, quick in zip(body.features(images), optimize(body).features(images), strict=True):
            torch.testing.assert_close(quick, plain)


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 6)])
@pytest.mark.parametrize("stride", [1, 2])
def test_tensorflows_padding(size, stride):
    network = nn.Sequential(SameConv2d(3, 6, 3, stride, bias=False), nn.BatchNorm2d(6), nn.ReLU6())
    assert_same(lived(network), optimize(network), torch.rand(2, 3, *size))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.LeakyReLU(0.3)])
def test_activations(activation):
    network = nn.Sequential(nn.Linear(6, 9), activation, nn.Linear(9, 2)).eval()
    fast = optimize(network)
    assert isinstance(fast[0], Linear)
    assert_same(network, fast, torch.randn(4, 6))
    assert fast(torch.randn(0, 6)).shape == (0, 2)


def test_groups_dilation_and_no_bias():
    network = nn.Sequential(nn.Conv2d(4, 8, 3, 1, 2, dilation=2, groups=4, bias=False), nn.Conv2d(8, 4, (1, 3), (2, 1)))
    assert_same(network.eval(), optimize(network), torch.rand(1, 4, 11, 10))


def test_bf16_is_near(monkeypatch):
    torch.manual_seed(0)
    model = lived(zoo.create("resnet_mini", classes=5))
    images = torch.rand(2, 3, model.crop, model.crop)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(RecipeError, match="bf16"):
        optimize(model, precision="bf16")
    monkeypatch.undo()
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert_same(model, optimize(model, precision="bf16"), images, 0.1)


def test_without_onednn_norms_are_folded_all_the_same(monkeypatch):
    monkeypatch.setattr(optimization, "has_operators", lambda: False)
    network = lived(nn.Sequential(conv_norm_relu(3, 8), conv_norm(8, 4)))
    fast = optimize(network)
    assert not any(isinstance(module, nn.BatchNorm2d | Convolution) for module in fast.modules())
    assert_same(network, fast, torch.rand(1, 3, 9, 7))


def test_a_norm_that_follows_nothing_stays():
    network = lived(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 1)))
    fold_norms(network)
    assert isinstance(network[0], nn.BatchNorm2d)


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bf16")
@pytest.mark.parametrize(
    "name", [name for name in (*zoo.names("detection"), *zoo.names("segmentation")) if name.endswith("_mini")]
)
def test_every_model_predicts_in_bf16(name):
    torch.manual_seed(0)
    model = lived(zoo.create(name, classes=3))
    options = {"score": 0.0} if model.task == "detection" else {}  # so that heads have something to work on
    assert len(optimize(model, precision="bf16").predict(torch.rand(3, 96, 128), **options)) == 1


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [3, 40])
def test_maps_of_other_channels_are_refused(kernel, channels):
    fast = optimize(nn.Sequential(nn.Conv2d(channels, 40, kernel, padding=kernel // 2)))
    for shape in ((1, channels - 1, 32, 32), (1, channels + 1, 32, 32), (channels, 32, 32)):
        with pytest.raises(RuntimeError, match="channels"):
            fast(torch.rand(shape))


def test_twice_is_once():
    fast = optimize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    fast(torch.rand(1, 3, 8, 8))  # packs the weights, which cannot be copied
    assert optimize(fast) is fast
