"""Cells as equations, against torch's modules with the same weights."""

import pytest
import torch

from siseon.models.language.lstm import LSTM, State
from siseon.models.language.rnn import RNN


def twin(cell):
    """Torch's module with the weights of ours."""
    kind = torch.nn.RNN if isinstance(cell, RNN) else torch.nn.LSTM
    peer = kind(cell.weight_input.shape[1], cell.units, batch_first=True)
    with torch.no_grad():
        peer.weight_ih_l0.copy_(cell.weight_input)
        peer.weight_hh_l0.copy_(cell.weight_state)
        peer.bias_ih_l0.copy_(cell.bias * 0.25)  # torch's two biases count only as a sum
        peer.bias_hh_l0.copy_(cell.bias * 0.75)
    return peer


@pytest.mark.parametrize("way", ["forward", "unrolled"])
@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_a_cell_computes_what_torchs_does(kind, way):
    cell = kind(5, 7)
    peer = twin(cell)
    sequence = torch.randn(3, 11, 5)
    shown, last = getattr(cell, way)(sequence)
    expected, state = peer(sequence)
    torch.testing.assert_close(shown, expected, atol=1e-6, rtol=0)
    ours, theirs = (last, state) if kind is LSTM else ((last,), (state,))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_gradients_are_those_of_torch(kind):
    cell = kind(4, 6)
    peer = twin(cell)
    sequence = torch.randn(2, 9, 4)
    for way in (cell.forward, cell.unrolled):
        cell.zero_grad()
        way(sequence)[0].square().sum().backward()
        peer.zero_grad()
        peer(sequence)[0].square().sum().backward()
        torch.testing.assert_close(cell.weight_state.grad, peer.weight_hh_l0.grad, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(cell.bias.grad, peer.bias_ih_l0.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_a_sequence_in_two_halves_is_the_sequence(kind):
    cell = kind(3, 4)
    sequence = torch.randn(2, 8, 3)
    whole, _ = cell(sequence)
    first, state = cell(sequence[:, :5])
    second, _ = cell(sequence[:, 5:], state)
    torch.testing.assert_close(whole, torch.cat([first, second], 1), atol=1e-6, rtol=0)


def test_a_cell_of_one_unit_by_hand():
    cell = LSTM(1, 1)
    with torch.no_grad():
        cell.weight_input.copy_(torch.tensor([[1.0], [0.0], [2.0], [0.0]]))
        cell.weight_state.zero_()
        cell.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))
    state = cell.step(torch.tensor([[0.5]]), State(torch.zeros(1, 1), torch.tensor([[2.0]])))
    # f = 1/(1+e^-1) = 0.731059, i = 1/(1+e^-0.5) = 0.622459, g = tanh 1 = 0.761594, o = 1/(1+e) = 0.268941
    assert state.memory.item() == pytest.approx(2 * 0.731059 + 0.622459 * 0.761594, abs=1e-5)
    assert state.shown.item() == pytest.approx(0.268941 * 0.959230, abs=1e-5)


def test_the_memory_of_an_lstm_remembers_at_first():
    cell = LSTM(2, 3)
    assert cell.bias[3:6].tolist() == [1.0] * 3
    assert cell.bias[:3].tolist() == cell.bias[6:].view(-1).tolist()[:3] == [0.0] * 3
