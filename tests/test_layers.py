import pytest
import torch
from torch import nn

from siseon.interface import RecipeError, SiseonError
from siseon.layers import (
    Body,
    Grey,
    Residual,
    SameConv2d,
    SqueezeExcitation,
    StochasticDepth,
    conv_norm,
    conv_norm_relu,
    conv_relu,
    freeze_norm,
    inference,
    to_grid,
)


def small_body():
    layers = [conv_norm_relu(4, 8, stride=2), conv_norm_relu(8, 8), conv_norm_relu(8, 16, stride=2)]
    return Body(conv_norm_relu(3, 4, stride=2), layers, ends=(2, 3), channels=(8, 16), strides=(4, 8))


def naive_same(image, weight, stride):
    """One channel, one picture, loops: the padding that TensorFlow's documentation states."""
    (rows, columns), kernel = image.shape, len(weight)
    out_rows, out_columns = -(-rows // stride), -(-columns // stride)
    top = max((out_rows - 1) * stride + kernel - rows, 0) // 2
    left = max((out_columns - 1) * stride + kernel - columns, 0) // 2
    out = torch.zeros(out_rows, out_columns)
    for row in range(out_rows):
        for column in range(out_columns):
            for y in range(kernel):
                for x in range(kernel):
                    at = row * stride + y - top, column * stride + x - left
                    if 0 <= at[0] < rows and 0 <= at[1] < columns:
                        out[row, column] += image[at] * weight[y, x]
    return out


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (7, 9), (2, 1), (1, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 1), (1, 2), (5, 2), (3, 3)])
def test_same_padding_agrees_with_loops(size, kernel, stride):
    convolution = SameConv2d(1, 1, kernel, stride, bias=False)
    image = torch.randn(size)
    expected = naive_same(image, convolution.weight[0, 0].detach(), stride)
    torch.testing.assert_close(convolution(image[None, None])[0, 0].detach(), expected)


@pytest.mark.parametrize(("size", "equal"), [(7, True), (8, False)])
def test_the_paddings_differ_for_even_sizes_only(size, equal):
    symmetric = conv_norm(1, 2, stride=2)
    tensorflow = conv_norm(1, 2, stride=2, padding="tensorflow")
    tensorflow.load_state_dict(symmetric.state_dict())
    image = torch.randn(1, 1, size, size)
    assert torch.allclose(symmetric(image), tensorflow(image)) is equal


def test_a_residual_block_adds_its_input():
    block = Residual(nn.Conv2d(2, 2, 1), nn.Identity())
    x = torch.randn(1, 2, 3, 3)
    assert torch.equal(block(x), torch.relu(block.branch(x) + x))


def test_a_body_gives_the_maps_at_the_ends_of_its_stages():
    maps = small_body().features(torch.zeros(2, 3, 16, 24))
    assert [tuple(each.shape) for each in maps] == [(2, 8, 4, 6), (2, 16, 2, 3)]


def test_a_body_can_end_early():
    body = small_body()
    body.end_at(1)
    assert [tuple(each.shape) for each in body.features(torch.zeros(1, 3, 16, 16))] == [(1, 8, 4, 4)]
    assert (body.channels, body.strides, len(body.layers)) == ((8,), (4,), 2)


@pytest.mark.parametrize(
    ("stages", "trained"),
    [(0, {"stem", "1", "2", "3"}), (1, {"3"}), (2, set())],
)
def test_freezing_fixes_the_stem_and_the_first_stages(stages, trained):
    body = small_body()
    body.freeze(stages)
    names = {name.removeprefix("layers.").split(".")[0] for name, part in body.named_parameters() if part.requires_grad}
    assert names == trained


def test_frozen_stages_do_not_follow_the_statistics_of_a_batch():
    body = small_body()
    body.freeze(1)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    body.train().features(torch.randn(4, 3, 16, 16))
    changed = {name.split(".")[1] for name, value in body.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"3"}


def test_more_stages_than_there_are_cannot_be_frozen():
    with pytest.raises(RecipeError, match="2 stages"):
        small_body().freeze(3)


def test_frozen_norm_keeps_names_and_values():
    block = conv_norm_relu(3, 4)
    names = list(block.state_dict())
    freeze_norm(block)
    assert list(block.state_dict()) == names
    assert [name for name, part in block.named_parameters() if part.requires_grad] == ["conv.weight"]


def test_frozen_norm_stays_in_evaluation_mode():
    block = conv_norm_relu(3, 4)
    freeze_norm(block)
    block.train()
    x = torch.randn(2, 3, 5, 5)
    in_training = block(x)
    assert torch.equal(in_training, block.eval()(x))


def test_inference_leaves_each_part_in_its_mode():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with pytest.raises(ValueError, match="stop"), inference(model):
        assert not model[0].training
        assert torch.is_inference_mode_enabled()
        raise ValueError("stop")
    assert [model.training, model[0].training, model[1].training] == [True, True, False]


@pytest.mark.parametrize(("size", "good"), [((8, 9), True), ((8, 8), True), ((7, 30), False), ((30, 1), False)])
def test_a_body_refuses_pictures_below_its_least_size(size, good):
    body = Body(conv_relu(3, 4), [nn.MaxPool2d(8)], ends=(1,), channels=(4,), strides=(8,), least=8)
    if good:
        assert body.features(torch.zeros(1, 3, *size))[0].shape == (1, 4, 1, 1)
        return
    with pytest.raises(SiseonError, match=f"{size[0]} x {size[1]} pixels are too small .* 8 pixels on each side"):
        body.features(torch.zeros(1, 3, *size))


def test_a_convolution_and_a_rectifier():
    block, x = conv_relu(2, 3, kernel=3, stride=2, padding=1), torch.randn(1, 2, 5, 5)
    wanted = nn.functional.conv2d(x, block.conv.weight, block.conv.bias, 2, 1).clamp(min=0)
    torch.testing.assert_close(block(x), wanted)


def test_grey_is_the_mean_of_the_colours():
    assert Grey()(torch.tensor([0.0, 0.3, 0.9]).view(1, 3, 1, 1)).item() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("maps", "side", "wanted"),
    [
        ([[1.0, 2], [3, 4]], 2, [[1.0, 2], [3, 4]]),
        ([[1.0, 2], [3, 4]], 1, [[2.5]]),
        ([[5.0]], 2, [[5.0, 5], [5, 5]]),
    ],
)
def test_maps_are_brought_to_a_grid(maps, side, wanted):
    assert to_grid(torch.tensor(maps)[None, None], side)[0, 0].tolist() == wanted


def test_squeeze_excitation_is_equations_2_to_4():
    block = SqueezeExcitation(6, 2)
    x = torch.randn(3, 6, 4, 5)
    wanted = torch.empty_like(x)
    for number, maps in enumerate(x):
        z = torch.stack([each.sum() / 20 for each in maps])
        hidden = (block.squeeze.weight[:, :, 0, 0] @ z + block.squeeze.bias).clamp(min=0)
        s = 1 / (1 + torch.exp(-(block.excite.weight[:, :, 0, 0] @ hidden + block.excite.bias)))
        for channel in range(6):
            wanted[number, channel] = s[channel] * maps[channel]
    torch.testing.assert_close(block(x), wanted)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_stochastic_depth_drops_whole_pictures(share):
    drop = StochasticDepth(share).train()
    rows = drop(torch.ones(4000, 1, 2, 2))[:, 0]
    zero = (rows == 0).flatten(1).all(1)
    assert zero.float().mean().item() == pytest.approx(share, abs=0.03)
    torch.testing.assert_close(rows[~zero], torch.full_like(rows[~zero], 1 / (1 - share) if share < 1 else 0))


def test_stochastic_depth_does_nothing_in_evaluation():
    x = torch.rand(3, 2, 4, 4)
    assert StochasticDepth(0.9).eval()(x) is x
