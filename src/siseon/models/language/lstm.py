"""Long short-term memory (Hochreiter and Schmidhuber 1997, Neural Computation 9; Gers, Schmidhuber, Cummins 1999).

Idea    A memory to which things are only added, so that the gradient flows back through it unchanged; gates, which are
        learnt, decide what is written, what is shown and (since 1999) what is forgotten.
Flow    i, f, o = sigmoid(W x_t + U h_{t-1} + b), each with its own W, U, b; g = tanh(the same)
        c_t = f * c_{t-1} + i * g;  h_t = o * tanh(c_t)
Here    The cell as its equations (`step`), and the same over a whole sequence in one call of torch's compiled loop
        (`forward`). Rows of the weights are the gates i, f, g, o, as in torch.nn.LSTM; one bias instead of two. The
        forget gate's bias begins at 1 (Gers 1999: it must remember at first). No peepholes (Gers and Schmidhuber 2000)
        and the whole gradient, not the truncated one of 1997, as everywhere since Graves and Schmidhuber 2005.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class State(NamedTuple):
    """What an LSTM keeps from step to step: h, which it shows, and c, the memory; both [batch, units]."""

    shown: Tensor
    memory: Tensor


class LSTM(nn.Module):
    """One layer of `units` memory cells over sequences of `channels` numbers.

    forget_bias: what the bias of the forget gate begins with.
    """

    def __init__(self, channels: int, units: int, *, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.units = units
        self.weight_input = nn.Parameter(torch.empty(4 * units, channels))
        self.weight_state = nn.Parameter(torch.empty(4 * units, units))
        self.bias = nn.Parameter(torch.zeros(4 * units))
        bound = 1 / math.sqrt(units)
        nn.init.uniform_(self.weight_input, -bound, bound)
        nn.init.uniform_(self.weight_state, -bound, bound)
        nn.init.constant_(self.bias[units : 2 * units], forget_bias)

    def step(self, x: Tensor, state: State) -> State:
        """The next state after the input x [batch, channels]."""
        gates = x @ self.weight_input.T + state.shown @ self.weight_state.T + self.bias
        write, forget, new, show = gates.chunk(4, dim=1)
        memory = torch.sigmoid(forget) * state.memory + torch.sigmoid(write) * torch.tanh(new)
        return State(torch.sigmoid(show) * torch.tanh(memory), memory)

    def start(self, batch: int) -> State:
        """The state before anything was seen: zeros."""
        zeros = self.bias.new_zeros(batch, self.units)
        return State(zeros, zeros)

    def forward(self, sequence: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """What is shown [batch, steps, units] over a sequence [batch, steps, channels], and the last state."""
        before = self.start(len(sequence)) if state is None else state
        weights = [self.weight_input, self.weight_state, self.bias, torch.zeros_like(self.bias)]
        given = [part[None] for part in before]
        shown, last, memory = torch.lstm(sequence, given, weights, True, 1, 0.0, self.training, False, True)
        return shown, State(last[0], memory[0])

    def unrolled(self, sequence: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The same as `forward`, step by step."""
        state = self.start(len(sequence)) if state is None else state
        shown = []
        for x in sequence.unbind(1):
            state = self.step(x, state)
            shown.append(state.shown)
        return torch.stack(shown, 1), state
