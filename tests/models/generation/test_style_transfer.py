"""Style transfer: losses against naive loops, the layers of the paper, what the painting keeps and takes."""

import math

import pytest
import torch
from torch import nn

from siseon import weights, zoo
from siseon.interface import RecipeError, SiseonError
from siseon.models.generation import style_transfer
from siseon.models.generation.style_transfer import (
    Canvas,
    Features,
    Layers,
    begun,
    coloured,
    content_loss,
    gram,
    layers_of,
    like,
    luminance,
    scaled,
    sizes,
    style_loss,
    stylise,
    total_variation,
    vgg_names,
)

FEW = {"size": 32, "steps": 3}


def network(name="vgg_mini", **given):
    torch.manual_seed(0)
    return zoo.create(name, **given).eval()


def stripes(height=40, width=56):
    picture = torch.zeros(3, height, width)
    picture[:, ::4] = 1
    return picture


def test_a_gram_matrix_is_the_mean_product_of_channels():
    maps = torch.randn(3, 4, 5)
    wanted = [
        [sum(maps[i, y, x].item() * maps[j, y, x].item() for y in range(4) for x in range(5)) / 20 for j in range(3)]
        for i in range(3)
    ]
    torch.testing.assert_close(gram(maps), torch.tensor(wanted), atol=1e-5, rtol=1e-5)


def test_a_gram_matrix_forgets_where_things_are():
    maps = torch.randn(6, 4, 5)
    order = torch.randperm(20)
    torch.testing.assert_close(gram(maps.flatten(1)[:, order].view(6, 4, 5)), gram(maps))
    torch.testing.assert_close(gram(maps.repeat(1, 2, 3)), gram(maps))


def test_losses_are_none_for_what_is_wanted_and_one_for_nothing():
    maps = torch.randn(3, 4, 5)
    assert content_loss(maps, maps) == 0 and style_loss(maps, gram(maps)) == 0
    nothing = torch.zeros_like(maps)
    assert content_loss(nothing, maps).item() == pytest.approx(1)
    assert style_loss(nothing, gram(maps)).item() == pytest.approx(1)
    other = torch.randn(3, 4, 5)
    difference = sum((a - b) ** 2 for a, b in zip(other.flatten().tolist(), maps.flatten().tolist(), strict=True))
    square = sum(b**2 for b in maps.flatten().tolist())
    assert content_loss(other, maps).item() == pytest.approx(difference / square, rel=1e-5)


def test_the_variation_of_a_ramp_is_its_slope_squared():
    ramp = torch.arange(5.0).expand(3, 4, 5) * 0.1
    assert total_variation(ramp).item() == pytest.approx(0.01)
    assert total_variation(torch.full((3, 4, 5), 0.3)) == 0


def test_vgg19_has_the_layers_of_the_paper():
    with torch.device("meta"):
        vgg = zoo.create("vgg19")
    names = vgg_names(vgg)
    assert len(names) == 16 and min(names) == "conv1_1" and max(names) == "conv5_4"
    # behind conv1_1, conv2_1, conv3_1, conv4_1, conv5_1 and conv4_2 of torchvision's numbering: 1, 6, 11, 20, 29, 22
    chosen = layers_of(vgg)
    assert chosen.style == tuple(f"layers.{number}" for number in (1, 6, 11, 20, 29))
    assert chosen.content == ("layers.22",)
    modules = dict(vgg.body.named_modules())
    assert all(isinstance(modules[name], nn.ReLU) for name in (*chosen.style, *chosen.content))


@pytest.mark.parametrize("name", ["vgg19", "vgg16_bn", "mobilenet_v2", "resnet18", "densenet121", "googlenet"])
def test_the_layers_of_a_network_exist(name):
    with torch.device("meta"):
        model = zoo.create(name)
    chosen = layers_of(model)
    assert {*chosen.content, *chosen.style} <= set(dict(model.body.named_modules()))


def test_features_are_those_of_the_network_with_mean_pooling_and_stop_at_the_last_layer():
    vgg = network()
    names = vgg_names(vgg)
    wanted = Layers((names["conv2_1"],), (names["conv1_1"], names["conv3_1"]))
    features = Features(vgg, wanted)
    picture = torch.rand(3, 32, 48)
    found = features(picture)
    x = vgg.body.stem(((picture - vgg.mean.view(3, 1, 1)) / vgg.deviation.view(3, 1, 1))[None])
    for number, layer in vgg.body.layers.items():
        x = nn.functional.avg_pool2d(x, 2) if isinstance(layer, nn.MaxPool2d) else layer(x.clone())
        if f"layers.{number}" in found:
            torch.testing.assert_close(found[f"layers.{number}"], x[0])
    assert set(found) == {*wanted.content, *wanted.style}
    assert f"layers.{max(map(int, features.body.layers))}" == names["conv3_1"]
    assert any(isinstance(layer, nn.MaxPool2d) for layer in vgg.body.layers.values())


VGG19 = {
    **{"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7},
    **{"conv3_1": 10, "conv3_2": 12, "conv3_3": 14, "conv3_4": 16},
    **{"conv4_1": 19, "conv4_2": 21, "conv4_3": 23, "conv4_4": 25, "conv5_1": 28},
    **{"conv5_2": 30, "conv5_3": 32, "conv5_4": 34},
}
"""The paper's name of a convolution and its number in torchvision's `features`."""

NARROW = {"widths": (4, 5, 6, 7, 8), "hidden": 4, "classes": 3}


def torchvision_checkpoint(path):
    """A narrow VGG-19 under torchvision's names, in a file; gives its tensors."""
    tensors, channels = {}, 3
    for name, number in VGG19.items():
        width = NARROW["widths"][int(name[4]) - 1]
        tensors[f"features.{number}.weight"] = torch.randn(width, channels, 3, 3) / (3 * channels**0.5)
        tensors[f"features.{number}.bias"] = torch.randn(width) / 10
        channels = width
    for number, (inputs, outputs) in {0: (8 * 49, 4), 3: (4, 4), 6: (4, 3)}.items():
        tensors[f"classifier.{number}.weight"] = torch.randn(outputs, inputs)
        tensors[f"classifier.{number}.bias"] = torch.randn(outputs)
    torch.save(tensors, path)
    return tensors


def plain_maps(tensors, picture, pooling):
    """The maps behind each rectifier, written down without any module."""
    mean, deviation = (
        torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    x, maps = (picture[None] - mean) / deviation, {}
    for name, number in VGG19.items():
        if name[5:] == "_1" and name != "conv1_1":
            x = {"mean": nn.functional.avg_pool2d, "max": nn.functional.max_pool2d}[pooling](x, 2)
        weight, bias = (tensors[f"features.{number}.{part}"] for part in ("weight", "bias"))
        x = maps[name] = nn.functional.conv2d(x, weight, bias, padding=1).relu()
    return maps


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_the_losses_of_a_vgg19_of_torchvision_are_those_of_the_paper(pooling, tmp_path):
    tensors = torchvision_checkpoint(tmp_path / "vgg19.pth")
    vgg = weights.build("vgg19", weights=tmp_path / "vgg19.pth", **NARROW)
    photo, painting = torch.rand(2, 3, 48, 32)
    seen = []
    stylise(
        photo, painting, vgg, size=48, steps=1, start="noise", pooling=pooling, content_weight=0.3, watch=seen.append
    )
    picture = begun("noise", photo, painting, 0)
    found, wanted, strokes = (plain_maps(tensors, each, pooling) for each in (picture, photo, painting))
    # equation 1, twice over the squares of what is wanted
    content = (found["conv4_2"] - wanted["conv4_2"]).square().sum() / 2
    assert seen[0].content == pytest.approx((2 * content / wanted["conv4_2"].square().sum()).item(), rel=1e-3)
    shares = []
    for name in ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"):
        grams = [(maps[name][0].flatten(1) @ maps[name][0].flatten(1).T) for maps in (found, strokes)]
        count, cells = found[name].shape[1], found[name][0, 0].numel()
        layer = (grams[0] - grams[1]).square().sum() / (4 * count**2 * cells**2)  # equation 4
        shares.append(4 * count**2 * cells**2 * layer / grams[1].square().sum())
    assert seen[0].style == pytest.approx(sum(shares).item() / 5, rel=1e-3)
    assert seen[0].total == pytest.approx(0.3 * seen[0].content + seen[0].style, rel=1e-4)


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match=r'no layer "layers\.99"'):
        Features(network(), Layers(("layers.99",), ("stem",)))


def test_a_photo_that_is_too_narrow_is_said():
    with pytest.raises(SiseonError, match=r"2 x 32 pixels are too small .*It needs 16"):
        stylise(torch.rand(3, 20, 320), stripes(), network(), **FEW)


@pytest.mark.parametrize(
    ("size", "found"), [(512, (128, 256, 512)), (128, (128,)), (200, (200,)), (1000, (250, 500, 1000)), (64, (64,))]
)
def test_the_picture_grows(size, found):
    assert sizes(size) == found


@pytest.mark.parametrize(("shape", "wanted"), [((100, 50), (64, 32)), ((30, 600), (3, 64)), ((1, 999), (1, 64))])
def test_scaling_keeps_the_shape(shape, wanted):
    assert scaled(torch.rand(3, *shape), 64).shape[1:] == wanted


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_each_loss_falls_from_noise(optimizer):
    photo = torch.rand(3, 1, 1).expand(3, 40, 56).clone()
    photo[:, 10:30, 20:40] = torch.tensor([1.0, 0.2, 0.1]).view(3, 1, 1)
    for content_weight, style_weight in ((1, 0), (0, 1)):
        seen = []
        result = stylise(
            photo, stripes(), network(), size=32, steps=20, start="noise", optimizer=optimizer, watch=seen.append,
            content_weight=content_weight, style_weight=style_weight,
        )  # fmt: skip
        assert result.shape == (3, round(40 * 32 / 56), 32)
        assert result.min() >= 0 and result.max() <= 1
        assert [step.number for step in seen] == list(range(1, 21)) and seen[0].of == 20
        assert seen[-1].total < seen[0].total / 2
        assert seen[-1].total == pytest.approx(seen[-1].content if content_weight else seen[-1].style)
        assert not torch.equal(seen[0].picture, seen[-1].picture)


def test_the_weights_decide_what_is_kept():
    photo = torch.rand(3, 32, 32)
    ends = {}
    for weight in (0.0, 10.0):
        seen = []
        stylise(photo, stripes(), network(), size=32, steps=15, content_weight=weight, watch=seen.append)
        ends[weight] = min(seen, key=lambda step: step.total)
    assert ends[0.0].style < ends[10.0].style and ends[0.0].content > ends[10.0].content


def test_a_step_that_goes_astray_is_taken_back():
    vgg = network()
    canvas = Canvas(
        torch.rand(3, 32, 32), Features(vgg, layers_of(vgg)), torch.rand(3, 32, 32), stripes(32, 32), (1, 1, 0)
    )
    first = canvas.step("lbfgs")[3]
    best = canvas.best
    with torch.no_grad():
        canvas.pixels += 50
    assert canvas.step("lbfgs")[3] > 2 * first
    assert torch.equal(canvas.picture, best)
    assert min(canvas.step("lbfgs")[3] for _ in range(5)) <= first


def test_the_photo_s_colour_is_kept():
    photo = torch.rand(3, 1, 1).expand(3, 32, 32) * 0.4 + 0.3
    result = stylise(photo, stripes(), network(), keep_colour=True, **FEW)
    chroma = result - luminance(result)
    wanted = scaled(photo, 32) - luminance(scaled(photo, 32))
    inside = ((result > 0) & (result < 1)).all(0)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(chroma[:, inside], wanted[:, inside], atol=1e-4, rtol=0)


def test_brightness_is_matched_to_the_photo():
    painting, photo = torch.rand(1, 20, 20).expand(3, -1, -1), torch.rand(1, 30, 30).expand(3, -1, -1) * 0.2 + 0.4
    matched = like(painting, photo)
    assert matched.mean().item() == pytest.approx(photo.mean().item(), abs=1e-4)
    assert matched.std().item() == pytest.approx(photo.std().item(), abs=1e-4)
    assert like(torch.full((3, 4, 4), 0.5), photo).isfinite().all()
    assert torch.allclose(coloured(photo, photo), photo, atol=1e-6)


@pytest.mark.parametrize("start", ["content", "style", "noise"])
def test_what_it_begins_with(start):
    photo, painting = torch.zeros(3, 20, 30), torch.ones(3, 10, 10)
    found = begun(start, photo, painting, 0)
    assert found.shape == photo.shape
    assert found.mean().item() == pytest.approx({"content": 0, "style": 1, "noise": 0.5}[start], abs=0.05)
    assert torch.equal(found, begun(start, photo, painting, 0))


def test_it_begins_with_the_photo_out_of_focus():
    photo = stripes(32, 32)
    found = begun("content", photo, photo, 0)
    assert found.mean().item() == pytest.approx(photo.mean().item(), abs=0.02)
    assert total_variation(found) < total_variation(photo) / 20


def test_the_seed_is_the_noise():
    given = {"start": "noise", **FEW}
    photo = torch.rand(3, 32, 32)
    first, again, other = (stylise(photo, stripes(), network(), seed=seed, **given) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_network_is_left_as_it_was():
    vgg = network().train()
    before = {key: value.clone() for key, value in vgg.state_dict().items()}
    stylise(torch.rand(3, 32, 32), stripes(), vgg, **FEW)
    assert vgg.training and all(part.requires_grad for part in vgg.parameters())
    assert all(torch.equal(value, before[key]) for key, value in vgg.state_dict().items())
    assert all(part.inplace for part in vgg.modules() if isinstance(part, nn.ReLU))


@pytest.mark.parametrize("wrong", [{"size": 8}, {"steps": 0}, {"content_weight": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(RecipeError):
        stylise(torch.rand(3, 32, 32), stripes(), network(), **{**FEW, **wrong})
    with pytest.raises(RecipeError):
        stylise(torch.rand(3, 32, 32), stripes(), network(), content_weight=0, style_weight=0, **FEW)


def test_losses_that_are_not_finite_end_it(monkeypatch):
    monkeypatch.setattr(style_transfer, "total_variation", lambda picture: picture.mean() * math.nan)
    with pytest.raises(SiseonError, match="no longer finite"):
        stylise(torch.rand(3, 32, 32), stripes(), network(), variation_weight=1, **FEW)
