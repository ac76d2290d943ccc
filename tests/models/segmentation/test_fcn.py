import pytest
import torch
import torch.nn.functional as F
from torch import nn

import golden
from siseon import weights, zoo
from siseon.interface import RecipeError
from siseon.models.detection.bodies import body_of
from siseon.models.segmentation.fcn import FCN, DilatedFCN, without_padding


def small(**arguments):
    given = {"classes": 4, "backbone": "vgg_mini", "hidden": 16, "kernel": 3, "sizing": (96, 160, 32)}
    return FCN(**{**given, **arguments}).eval()


def random_scores(model):
    """Zero, as they start, they would hide every mistake."""
    for layer in (model.score, *model.finer):
        nn.init.normal_(layer.weight, std=0.3)
    return model


@pytest.mark.parametrize("name", ["fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn_resnet50"])
def test_parameters_of_the_paper(name):
    with torch.device("meta"):
        model = zoo.create(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == golden.PARAMETERS[name]


@pytest.mark.parametrize("stride", [32, 16, 8, 4])
@pytest.mark.parametrize("backbone", ["vgg_mini", "resnet_mini", "mobilenet_mini"])
def test_scores_have_the_stride_asked_for(stride, backbone):
    model = small(backbone=backbone, stride=stride)
    assert model.logits(torch.rand(1, 3, 64, 96)).shape == (1, 4, 64 // stride, 96 // stride)
    assert model(torch.rand(2, 3, 60, 90)).shape == (2, 4, 60, 90)


def test_the_finer_maps_are_pool4_and_pool3_of_vgg():
    model = random_scores(small())
    images = torch.rand(1, 3, 64, 96)
    x, pools = model.body.stem(images), []
    for layer in model.body.layers.values():
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            pools.append(x)
    scores = model.twice[0](model.coarse_scores(pools[4])) + model.finer[0](pools[3])
    scores = model.twice[1](scores) + model.finer[1](pools[2])
    torch.testing.assert_close(model.logits(images), scores)


def test_a_network_starts_with_equal_scores_everywhere():
    assert torch.equal(small()(torch.rand(1, 3, 64, 64)), torch.zeros(1, 4, 64, 64))


def test_enlarging_by_two_starts_bilinear_and_learns():
    model = small(stride=16)
    scores = torch.rand(1, 4, 5, 6)
    bilinear = F.interpolate(scores, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(model.twice[0](scores)[..., 1:-1, 1:-1], bilinear[..., 1:-1, 1:-1])
    assert model.twice[0].weight.requires_grad


def test_one_pass_over_the_picture_equals_the_sliding_window():
    """Section 3.1: each coarse score is what the network says of one window, of its receptive field, alone."""
    model = without_padding(random_scores(small(classes=3, stride=32, kernel=2)))
    window, step = 182, 32  # vgg_mini's receptive field through pool5 (150) and two cells of fc6
    picture = torch.rand(1, 3, window + 2 * step, window + step)
    with torch.inference_mode():
        whole = model.coarse_scores(model.body.features(picture)[-1])
        assert whole.shape == (1, 3, 3, 2)
        for row in range(3):
            for column in range(2):
                top, left = row * step, column * step
                part = picture[..., top : top + window, left : left + window]
                alone = model.coarse_scores(model.body.features(part)[-1])
                assert alone.shape == (1, 3, 1, 1)
                torch.testing.assert_close(whole[..., row, column], alone[..., 0, 0], rtol=0, atol=1e-5)
    assert whole.std() > 1e-3


def test_the_hidden_layers_of_a_classifier_become_convolutions(tmp_path):
    vgg = zoo.create("vgg_mini", classes=7).eval()
    file = weights.save(vgg, tmp_path / "vgg.safetensors")
    model = weights.build("fcn", weights=file, backbone="vgg_mini", hidden=128, kernel=1, classes=3).eval()
    picture = torch.rand(1, 3, 32, 32)
    feature = vgg.body.features(picture)[-1].flatten(1)
    hidden = vgg.classifier[:5](feature)  # two linear layers with their rectifiers and the first dropout
    (map_,) = (F.relu(model.fc7(F.relu(model.fc6(model.body.features(picture)[-1])))),)
    torch.testing.assert_close(map_.flatten(1), hidden)


def test_a_file_of_the_whole_model_is_told_from_one_of_its_body(tmp_path):
    model = random_scores(small())
    model.spec = {"name": "fcn", "arguments": {}}
    options = {"backbone": "vgg_mini", "hidden": 16, "kernel": 3, "classes": 4}
    first = weights.build("fcn", **options)
    random_scores(first)
    again = weights.build("fcn", weights=weights.save(first, tmp_path / "fcn.safetensors"), **options)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())


def test_coco_means_the_classes_of_voc_for_the_published_fcn():
    assert weights.OTHER_CLASSES[weights.PUBLISHED["fcn_resnet50", "coco"]] == "voc"
    names = weights.published_classes("voc")
    assert (len(names), names[0], names[15]) == (21, "background", "person")


def test_torchvision_names_of_the_auxiliary_head_are_known():
    tiny = {"backbone": "resnet_mini", "auxiliary": True, "classes": 3}
    model = DilatedFCN(**tiny)
    ours = {name for name in model.state_dict() if name.startswith(("head", "auxiliary"))}
    norm = [f"1.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]
    parts = ["0.weight", *norm, "4.weight", "4.bias"]
    theirs = [f"{head}.{part}" for head in ("classifier", "aux_classifier") for part in parts]
    assert set(weights._renamed(dict.fromkeys(theirs, torch.zeros(1)), weights._rules(model))) == ours


@pytest.mark.parametrize(("backbone", "dilated"), [("resnet_mini", 2), ("mobilenet_mini", 1), ("resnet_mini", 1)])
def test_dilated_stages_keep_their_resolution_and_their_weights(backbone, dilated):
    plain, body = body_of(backbone), body_of(backbone)
    body.load_state_dict(plain.state_dict())
    body.dilate(dilated)
    maps = body.eval().features(torch.rand(1, 3, 64, 96))
    kept = 4 * 2 ** (3 - dilated)
    assert body.strides[-1] == kept
    assert maps[-1].shape[-2:] == (64 // kept, 96 // kept)
    assert [one.shape[1] for one in maps] == list(plain.channels)


def test_a_dilated_filter_sees_the_pixels_that_it_saw_after_a_stride():
    """Every second cell of the dilated map is the map of the strided network, where no zero of an edge is near."""
    plain, body = body_of("resnet_mini").eval(), body_of("resnet_mini").eval()
    body.load_state_dict(plain.state_dict())
    body.dilate(1)
    picture = torch.rand(1, 3, 320, 320)
    with torch.inference_mode():
        strided, dilated = plain.features(picture)[-1], body.features(picture)[-1]
    torch.testing.assert_close(dilated[..., ::2, ::2][..., 3:-3, 3:-3], strided[..., 3:-3, 3:-3], rtol=1e-4, atol=1e-5)


def test_a_body_that_pools_cannot_be_dilated():
    with pytest.raises(RecipeError, match="cannot be dilated"):
        DilatedFCN(backbone="vgg_mini")


def test_the_auxiliary_head_counts_half_and_only_in_training():
    model = DilatedFCN(backbone="resnet_mini", auxiliary=True, classes=3, dropout=0.0).eval()
    images, labels = torch.rand(2, 3, 64, 64), torch.randint(0, 3, (2, 64, 64))
    losses = model.loss(images, labels)
    assert set(losses) == {"class", "auxiliary"}
    torch.testing.assert_close(losses["class"], F.cross_entropy(model(images), labels))
    middle = model.body.features(model.prepared(images)[0])[-2]
    logits = F.interpolate(model.auxiliary(middle), (64, 64), mode="bilinear")
    torch.testing.assert_close(losses["auxiliary"], 0.5 * F.cross_entropy(logits, labels))
