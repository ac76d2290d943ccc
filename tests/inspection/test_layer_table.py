"""What a row counts, for networks with branches, shared weights, functions and surprises."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siseon.inspection.table import table
from siseon.interface import SiseonError


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


class Network(nn.Module):
    """A module whose forward is a function of its parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def kinds(found):
    return [(row.name, row.kind) for row in found.rows[1:]]


def test_functions_between_layers_are_rows_of_the_module_around_them():
    block = Network(lambda m, x: F.relu(m.a(x) + x), a=conv(4, 4))
    found = table(nn.Sequential(block, nn.MaxPool2d(2)), 8, channels=4)
    assert kinds(found) == [("0.a", "convolution"), ("0", "addition"), ("0", "activation"), ("1", "max pooling")]
    assert found.rows[2].inputs == ((4, 8, 8), (4, 8, 8))
    assert [row.receptive_field[0] for row in found.rows] == [1, 3, 3, 3, 4]


def test_functional_layers_count_like_modules():
    weights = nn.Parameter(torch.zeros(5, 3, 3, 3))
    functional = table(Network(lambda m, x: F.max_pool2d(F.conv2d(x, m.w, padding=1), 2), w=weights), 8)
    modules = table(nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.MaxPool2d(2)), 8)
    assert functional.totals == modules.totals
    assert [row.window for row in functional.rows] == [row.window for row in modules.rows]


def test_arithmetic_with_constants_and_on_scores_is_no_layer():
    network = Network(lambda m, x: m.a((x - 0.5) / 0.2).flatten(1).topk(3).values.sigmoid(), a=conv(3, 2))
    assert kinds(table(network, 8)) == [("a", "convolution")]


def test_weights_used_twice_are_counted_once_and_named():
    found = table(Network(lambda m, x: m.a(m.a(x)), a=conv(3, 3)), 8)
    assert [row.parameters for row in found.rows] == [0, 84, 0]
    assert found.rows[2].shares == "a"
    assert found.rows[2].macs == found.rows[1].macs > 0


def test_tied_parameters_are_counted_once():
    a, b = conv(3, 3), conv(3, 3)
    b.weight = a.weight
    assert table(nn.Sequential(a, b), 8).totals.parameters == 81 + 3 + 3


def test_in_place_views_and_dropout_at_rest_write_nothing():
    network = nn.Sequential(conv(3, 2), nn.ReLU(True), nn.Dropout(), nn.Identity(), nn.Flatten(), nn.ReLU())
    found = table(network.train(), 4)
    assert [row.activations for row in found.rows] == [48, 32, 0, 0, 0, 0, 32]
    assert [row.in_place for row in found.rows] == [False, False, True, False, False, False, False]
    assert network.training and network[2].training


def test_parameters_that_no_layer_has():
    network = Network(
        lambda m, x: m.a(x) * m.scale, a=conv(3, 2), scale=nn.Parameter(torch.ones(2, 1, 1)), aside=nn.Linear(2, 2)
    )
    found = table(network, 4)
    assert kinds(found)[-2:] == [("Network", "own parameters"), ("aside", "not run")]
    assert found.totals.parameters == 56 + 2 + 6


def test_batch_norm_is_scale_and_shift():
    row = table(nn.Sequential(conv(3, 4), nn.BatchNorm2d(4)), 4).rows[-1]
    assert (row.kind, row.weights, row.biases) == ("normalisation", 4, 4)


def test_batch_scales_memory_and_macs_not_parameters():
    network = nn.Sequential(conv(3, 4), nn.Flatten(), nn.Linear(64, 5))
    one, three = table(network, 4).totals, table(network, 4, batch=3).totals
    assert (three.activations, three.macs, three.parameters) == (3 * one.activations, 3 * one.macs, one.parameters)


def test_pictures_that_are_not_square():
    row = table(nn.Sequential(nn.Conv2d(3, 2, (3, 5), (2, 1))), (9, 20)).rows[-1]
    assert (row.output, row.receptive_field, row.jump) == ((2, 4, 16), (3, 5), (2, 1))


def test_padding_on_one_side_only():
    same, padded = nn.Conv2d(3, 2, 4, padding="same"), nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(3, 2, 4))
    row, other = table(same, 8).rows[-1], table(padded, 8).rows[-1]
    assert (row.output, row.window.padding, row.window.extra_padding) == ((2, 8, 8), (1, 1), (1, 1))
    assert (row.reach, row.macs) == (other.reach, other.macs)


def test_an_hourglass_with_a_shortcut():
    def forward(m, x):
        wide = m.a(x)
        deep = m.up(m.b(F.max_pool2d(wide, 2)))
        return m.c(torch.cat([deep, wide], 1))

    network = Network(forward, a=conv(3, 4), b=conv(4, 8), up=nn.ConvTranspose2d(8, 4, 2, 2), c=conv(8, 4))
    found = {row.name: row for row in table(network, 16).rows}
    assert [found[name].receptive_field[0] for name in ("a", "b", "up", "c")] == [3, 8, 8, 10]
    assert [found[name].jump[0] for name in ("a", "b", "up", "c")] == [1, 2, 1, 1]


@pytest.mark.parametrize("size", [64, 50, 37])
def test_a_pyramid_keeps_the_strides_of_its_levels(size):
    def forward(m, x):
        fine = m.a(x)
        coarse = m.b(fine)
        return m.c(fine + F.interpolate(coarse, size=fine.shape[-2:])), m.d(coarse)

    network = Network(forward, a=conv(3, 4, stride=2), b=conv(4, 4, stride=2), c=conv(4, 4), d=conv(4, 4))
    found = {row.name: row for row in table(network, size).rows}
    assert (found["c"].jump[0], found["d"].jump[0]) == (2, 4)


def test_squeeze_and_excitation_sees_the_whole_picture():
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
    network = Network(lambda m, x: m.b(m.a(x) * m.gate(m.a(x))), a=nn.Conv2d(3, 4, 1), b=conv(4, 4), gate=gate)
    found = table(network, 16)
    assert found.rows[-1].receptive_field == (16, 16)
    assert ("gate.0", "global average pooling") in kinds(found)


def test_a_linear_layer_over_channels_mixes_no_pixels():
    def forward(m, x):
        return m.b(m.linear(m.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    network = Network(forward, a=conv(3, 4), linear=nn.Linear(4, 6), b=conv(6, 2))
    assert [row.receptive_field[0] for row in table(network, 8).rows] == [1, 3, 3, 5]


def test_attention_over_places_has_a_field_that_cannot_be_told():
    def forward(m, x):
        tokens = m.a(x).flatten(2).transpose(1, 2)
        return m.attention(tokens, tokens, tokens)[0]

    network = Network(forward, a=conv(3, 4, 2), attention=nn.MultiheadAttention(4, 2, batch_first=True))
    row = table(network, 8).rows[-1]
    assert (row.kind, row.receptive_field, row.parameters) == ("attention", None, 80)
    assert row.macs == 16 * 4 * 12 + 2 * 16 * 16 * 4 + 16 * 4 * 4


def test_recurrent_layers_have_macs_on_every_device():
    network = Network(lambda m, x: m.lstm(x.flatten(2).transpose(1, 2))[0], lstm=nn.LSTM(3, 5, batch_first=True))
    assert table(network, 4).totals.macs == 16 * 4 * 5 * (3 + 5)
    needs_numbers = Network(
        lambda m, x: m.lstm(x[:, : int(x.sum()) + 3].flatten(2).transpose(1, 2))[0], lstm=network.lstm
    )
    assert table(needs_numbers, 4).totals.macs == 16 * 4 * 5 * (3 + 5)


def test_a_forward_that_needs_real_numbers_runs_on_zeros_and_changes_nothing():
    def forward(m, x):
        scores = m.norm(m.a(x)).sum((1, 2, 3))
        return m.b(x) if scores.item() > -1e9 else torch.rand(1)

    network = Network(forward, a=conv(3, 2), norm=nn.BatchNorm2d(2), b=conv(3, 4)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()
    assert kinds(table(network, 8)) == [("a", "convolution"), ("norm", "normalisation"), ("b", "convolution")]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert network.training and network.norm.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_model_keeps_nothing_of_the_run():
    def forward(m, x):
        m.kept = m.a(x)
        return m.kept

    network = Network(forward, a=conv(3, 2))
    table(network, 8)
    assert not hasattr(network, "kept")
    assert network.a.weight.device.type == "cpu"


def test_regions_of_a_detectors_head_are_items():
    network = Network(lambda m, x: m.head(x.new_zeros(7, 6)), head=nn.Linear(6, 4))
    row = table(network, 8).rows[-1]
    assert (row.items, row.output, row.activations, row.macs) == (7, (4,), 28, 7 * 24)


def test_layers_behind_tensors_of_unknown_origin_keep_their_kind():
    found = table(Network(lambda m, x: F.relu(m.head(x.new_zeros(7, 3, 4, 4))), head=conv(3, 2)), 8)
    assert kinds(found) == [("head", "convolution")]
    assert found.rows[-1].receptive_field is None


def test_weight_normalised_layers_are_one_row():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)))
    found = table(network, 8)
    assert kinds(found) == [("0", "convolution")]
    assert (found.rows[-1].type, found.totals.parameters) == ("Conv2d", 108 + 4 + 4)


def test_a_network_of_functions_only():
    found = table(Network(lambda m, x: F.avg_pool2d(x, 2)), 8)
    assert (found.totals.parameters, found.rows[-1].output) == (0, (3, 4, 4))


def five_by_five() -> nn.Sequential:
    return nn.Sequential(conv(3, 4), nn.MaxPool2d(4), nn.Conv2d(4, 4, 5))


@pytest.mark.parametrize(
    ("network", "size", "channels", "problem", "remedy"),
    [
        (five_by_five(), 8, 3, "takes|2 \\(Conv2d\\) was given 4x2x2", "image_size=28"),
        (five_by_five(), 64, 1, "given 1x64x64", "image_size=28 and channels=3"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)), 32, 3, "1 \\(Linear\\)", "image_size=64"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), 32, 3, "1 \\(Linear\\)", "was made for"),
        (five_by_five(), 0, 3, "no picture", "1 and more"),
        (
            Network(lambda m, x: x[:, :, 5:] * 1 + m.a(x)[:, :, 5:], a=conv(3, 3)),
            4,
            3,
            "nothing is left",
            "image_size=28",
        ),
    ],
)
def test_pictures_that_do_not_fit(network, size, channels, problem, remedy):
    with pytest.raises(SiseonError, match=problem) as caught:
        table(network, size, channels=channels)
    assert remedy in caught.value.remedy


def test_errors_of_ours_pass_as_they_are():
    def forward(m, x):
        raise SiseonError("Too dark", "Light a lamp")

    with pytest.raises(SiseonError, match="Light a lamp"):
        table(Network(forward), 8)
