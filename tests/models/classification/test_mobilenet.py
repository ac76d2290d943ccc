import pytest
import torch

import golden
from siseon.models.classification.mobilenet import MobileNetV1, MobileNetV1Body, MobileNetV2, MobileNetV2Body, scaled


@pytest.mark.parametrize(("name", "build"), [("mobilenet_v1", MobileNetV1), ("mobilenet_v2", MobileNetV2)])
def test_the_parameters_are_those_published(name, build):
    with torch.device("meta"):
        model = build()
    assert sum(part.numel() for part in model.parameters()) == golden.PARAMETERS[name]


@pytest.mark.parametrize(("width", "millions"), golden.MILLIONS_BY_WIDTH.items())
def test_the_width_multiplier_gives_the_sizes_of_the_paper(width, millions):
    with torch.device("meta"):
        model = MobileNetV1(width=width)
    assert round(sum(part.numel() for part in model.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize("build", [MobileNetV1Body, MobileNetV2Body])
@pytest.mark.parametrize("width", [1.0, 0.35])
@pytest.mark.parametrize("padding", ["symmetric", "tensorflow"])
def test_features_have_the_channels_and_strides_that_the_body_states(build, width, padding):
    with torch.device("meta"):
        body = build(width=width, padding=padding)
        maps = body.features(torch.zeros(2, 3, 64, 96))
    expected = [
        (2, width, 64 // stride, 96 // stride) for width, stride in zip(body.channels, body.strides, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == expected


@pytest.mark.parametrize(
    ("channels", "multiplier", "expected"), [(32, 1, 32), (32, 0.75, 24), (16, 0.35, 8), (96, 0.35, 32), (24, 0.5, 16)]
)
def test_channels_are_multiples_of_eight(channels, multiplier, expected):
    assert scaled(channels, multiplier) == expected


@pytest.mark.parametrize(("size", "equal"), [(33, True), (32, False)])
def test_the_paddings_share_their_tensors_and_differ_for_even_sizes(size, equal):
    symmetric, tensorflow = MobileNetV2Body(width=0.35), MobileNetV2Body(width=0.35, padding="tensorflow")
    tensorflow.load_state_dict(symmetric.state_dict())
    image = torch.rand(2, 3, size, size)  # 33, 17, 9, 5, 3: odd at every stride
    assert torch.allclose(symmetric.features(image)[-1], tensorflow.features(image)[-1], atol=1e-3) is equal
