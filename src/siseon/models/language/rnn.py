"""Recurrent network (Elman 1990, "Finding structure in time", Cognitive Science 14).

Idea    A layer that also sees what it said one step before: its state is a memory of all that came.
Flow    x_1, x_2, ... -> h_t = tanh(W x_t + U h_{t-1} + b) -> h_1, h_2, ...
Here    The cell as its equation (`step`), and the same over a whole sequence in one call of torch's compiled loop
        (`forward`). Elman's hidden units were logistic; tanh is what "vanilla RNN" means since, and torch.nn.RNN's.
        One bias, where torch has two that only ever occur as a sum.

The gradient of h_t by h_s is a product of t - s Jacobians diag(1 - h^2) U: it dies out where their norms stay below one
and explodes where they stay above (Bengio, Simard, Frasconi 1994). recipes/long_memory.py measures it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RNN(nn.Module):
    """One recurrent layer of `units` units over sequences of `channels` numbers."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.weight_input = nn.Parameter(torch.empty(units, channels))
        self.weight_state = nn.Parameter(torch.empty(units, units))
        self.bias = nn.Parameter(torch.empty(units))
        bound = 1 / math.sqrt(units)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        """The next state [batch, units] after the input x [batch, channels]."""
        return torch.tanh(x @ self.weight_input.T + state @ self.weight_state.T + self.bias)

    def start(self, batch: int) -> Tensor:
        """The state [batch, units] before anything was seen: zeros."""
        return self.bias.new_zeros(batch, self.units)

    def forward(self, sequence: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states [batch, steps, units] over a sequence [batch, steps, channels], and the last of them."""
        state = self.start(len(sequence)) if state is None else state
        weights = [self.weight_input, self.weight_state, self.bias, torch.zeros_like(self.bias)]
        states, _ = torch.rnn_tanh(sequence, state[None], weights, True, 1, 0.0, self.training, False, True)
        return states, states[:, -1]

    def unrolled(self, sequence: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same as `forward`, step by step."""
        state = self.start(len(sequence)) if state is None else state
        states = []
        for x in sequence.unbind(1):
            state = self.step(x, state)
            states.append(state)
        return torch.stack(states, 1), state
