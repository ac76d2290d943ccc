import pytest
import torch
from scenes_of_two import picture, target

from siseon.interface import RecipeError
from siseon.models.detection.bodies import body_of
from siseon.models.detection.faster_rcnn import VARIANTS, faster_rcnn


def convolution(kernel, inputs, width):
    """The parameters of one with biases."""
    return kernel**2 * inputs * width + width


def linear(inputs, outputs):
    return inputs * outputs + outputs


VGG16 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 2, (256, 512), *[(512, 512)] * 5]
ZF = [(7, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)]


def counted(convolutions, channels, bins):
    """Faster R-CNN with 9 anchors and 20 classes on one map, whose regions have bins x bins cells."""
    proposals = convolution(3, channels, channels) + convolution(1, channels, 9) + convolution(1, channels, 36)
    head = linear(channels * bins**2, 4096) + linear(4096, 4096) + linear(4096, 21) + linear(4096, 84)
    return convolutions + proposals + head


@pytest.mark.parametrize(
    ("name", "shapes", "golden"),
    [
        ("faster_rcnn_vgg16", (sum(convolution(3, *widths) for widths in VGG16), 512, 7), 137_073_622),
        ("faster_rcnn_zf", (sum(convolution(*shape) for shape in ZF), 256, 6), 59_292_438),
    ],
)
def test_the_networks_of_the_faster_rcnn_paper(name, shapes, golden):
    with torch.device("meta"):
        model = faster_rcnn(**VARIANTS[name])
    assert (model.backbone.channels, model.backbone.strides) == ((shapes[1],), (16,))
    assert sum(part.numel() for part in model.parameters()) == counted(*shapes) == golden


@pytest.mark.parametrize(("name", "body"), [("faster_rcnn_vgg16", "vgg_mini"), ("faster_rcnn_zf", "zfnet")])
def test_the_form_of_the_paper_trains_and_predicts(name, body):
    options = {"widths": (8, 8, 8, 8, 8)}
    small = {"backbone": body, "backbone_options": options, "hidden": 8, "sizing": (96, 128, 32)}
    counts = {"counts": (100, 20), "training_counts": (100, 20)}
    model = faster_rcnn(**{**VARIANTS[name], **small, **counts}).train()
    raw = model(picture()[None])
    assert raw.objectness[0].shape[:2] == (1, 9)
    assert len(raw.proposals[0]) <= 20
    sum(model.loss(picture()[None], [target()]).values()).backward()
    assert [part for part, values in model.named_parameters() if values.grad is None] == []
    (found,) = model.predict(picture(), score=0.0)
    assert len(found) > 0


def test_the_regions_of_the_paper_are_pooled_not_aligned():
    """Of a map that is 1 in one cell, RoI pooling finds the 1 wherever the box holds the cell; RoIAlign dilutes it."""
    heads = {
        pooling: faster_rcnn(
            classes=2, backbone="vgg_mini", pyramid=False, hidden=8, anchor_sizes=((32,),), pooling=pooling
        ).head
        for pooling in ("pool", "align")
    }
    features = torch.zeros(1, 64, 10, 10)
    features[:, :, 3, 3] = 1
    largest = {
        name: head.pool([features], [torch.tensor([[3.0, 3, 157, 157]])], (16,)).max() for name, head in heads.items()
    }
    assert largest["pool"] == 1
    assert largest["align"] < 1


@pytest.mark.parametrize("name", ["resnet18", "resnet_mini", "mobilenet_v2", "vgg16", "vgg11_bn", "vgg_mini", "zfnet"])
def test_a_body_says_the_channels_and_strides_of_its_stages(name):
    with torch.device("meta"):
        body = body_of(name)
        maps = body.features(torch.zeros(1, 3, 320, 320))
    assert tuple(level.shape[1] for level in maps) == body.channels
    assert body.strides == (4, 8, 16, 32)
    for level, stride in zip(maps, body.strides, strict=True):
        # ZFNet's poolings have no padding: its maps are a cell or two smaller
        assert 320 // stride - 2 <= level.shape[2] <= 320 // stride


def test_a_name_that_no_body_has_is_met_with_those_that_exist():
    with pytest.raises(RecipeError, match=r'no backbone "vgg15"\. There are .*vgg16, .*zfnet'):
        body_of("vgg15")


def test_an_argument_that_a_body_does_not_have_is_met_with_those_that_exist():
    with pytest.raises(RecipeError, match=r'the backbone zfnet has no argument "norm".*widths, stride'):
        body_of("zfnet", {"norm": True})
