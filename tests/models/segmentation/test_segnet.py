import pytest
import torch
import torch.nn.functional as F
from torch import nn

import golden
from siseon import weights, zoo
from siseon.models.segmentation.segnet import SegNet, halved_channels
from siseon.optimization import optimize


def small(**arguments):
    given = {
        "classes": 4,
        "backbone": "vgg_mini",
        "backbone_options": {"norm": True},
        "depths": (2, 2, 2, 1, 1),
        "sizing": (96, 160, 32),
    }
    return SegNet(**{**given, **arguments}).eval()


def test_thirteen_and_thirteen_convolutions_of_the_paper():
    with torch.device("meta"):
        model = zoo.create("segnet")
    counts = [sum(isinstance(part, nn.Conv2d) for part in side.modules()) for side in (model.body, model.decoder)]
    assert counts == [13, 13]
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.PARAMETERS["segnet"]
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) == 25  # none behind the logits


def test_the_decoder_mirrors_the_encoder():
    with torch.device("meta"):
        model = zoo.create("segnet", classes=11)
    encoder = [(part.in_channels, part.out_channels) for part in model.body.modules() if isinstance(part, nn.Conv2d)]
    decoder = [(part.in_channels, part.out_channels) for part in model.decoder.modules() if isinstance(part, nn.Conv2d)]
    mirrored = [(out, entering) for entering, out in reversed(encoder)]
    assert decoder[:-1] == mirrored[:-1]
    assert (mirrored[-1], decoder[-1]) == ((64, 3), (64, 11))


def test_maps_are_put_back_where_the_maxima_were():
    model = small()
    picture = torch.rand(1, 3, 64, 96)
    coarsest, places = model.encoded(picture)
    assert [tuple(one.shape[-2:]) for one in places] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    torch.testing.assert_close(coarsest, model.body.features(picture)[-1])
    unpooled = F.max_unpool2d(coarsest, places[-1], 2)
    before = model.body.features(picture)[-2]
    assert torch.equal(unpooled[unpooled > 0], before[unpooled > 0])
    assert torch.equal(F.max_pool2d(unpooled, 2), coarsest)


@pytest.mark.parametrize(("backbone", "expected"), [("mobilenet_v2", [16, 24, 32, 96, 320]), ("vgg16_bn", None)])
def test_the_channels_before_each_halving(backbone, expected):
    from siseon.models.detection.bodies import body_of

    with torch.device("meta"):
        assert halved_channels(body_of(backbone)) == (expected or [64, 128, 256, 512, 512, 512])


def test_a_body_with_strides_gives_the_places_of_its_maxima_too():
    model = small(backbone="mobilenet_mini", backbone_options=None, depths=(2, 2, 2, 2), least=8)
    picture = torch.rand(1, 3, 64, 96)
    coarsest, places = model.encoded(picture)
    torch.testing.assert_close(coarsest, model.body.features(picture)[-1])
    assert [tuple(one.shape[-2:]) for one in places] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert model.logits(picture).shape == (1, 4, 32, 48)
    assert model(picture).shape == (1, 4, 64, 96)
    torch.testing.assert_close(optimize(model)(picture), model(picture), rtol=1e-4, atol=1e-4)


def test_the_encoder_takes_the_weights_of_a_classifier(tmp_path):
    vgg = zoo.create("vgg_mini", norm=True).eval()
    for norm in (part for part in vgg.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
    file = weights.save(vgg, tmp_path / "vgg.safetensors")
    options = {"backbone": "vgg_mini", "backbone_options": {"norm": True}, "depths": [1, 1, 1, 1, 1]}
    balanced = {"classes": ["길", "sky"], "class_weights": [0.5, 2.0]}
    model = weights.build("segnet", weights=file, **options, **balanced).eval()
    picture = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model.encoded(picture)[0], vgg.body.features(picture)[-1])


def test_imagenet_means_the_encoder_of_the_paper():
    assert weights._published_key("segnet", "imagenet", {}) == ("vgg16_bn", "imagenet")
    assert weights._published_key("fcn", "imagenet", {}) == ("vgg16", "imagenet")
