"""How far back do recurrent networks remember? Gradients by lag, and a symbol to be named after noise.

    python recipes/long_memory.py [--out runs/long-memory]

Seed 0, 2026-11-22, one core shared with other work, 33 s by the clock, 19 of the processor's; a machine that adds in
another order may name a few sequences more or less.
Length of the gradient of the last output by the input so many steps before, relative to one step before:

    untrained                      1        10        30       100
    RNN, gain 0.7              1.0e+00   3.3e-02   1.2e-05   9.5e-17    vanishes
    RNN, gain 1.0              1.0e+00   5.4e-01   8.3e-02   7.1e-03    the narrow way between
    RNN, gain 1.5              1.0e+00   3.2e+00   1.7e+01   3.9e+03    explodes
    LSTM, forget bias 1        1.0e+00   2.2e-01   4.5e-03   5.0e-08    the memory leaks: sigmoid(1) = 0.73 a step
    LSTM, forget bias 5        1.0e+00   8.1e-01   6.1e-01   2.8e+01

Share of new sequences whose first of four symbols is named after so many steps of noise (0.25 is chance), after at most
250 steps of training:

    lag                            5        10        20        40        80       160
    RNN                         1.00      1.00      0.48      0.52      0.67      0.25
    LSTM, forget bias 1         1.00      1.00      0.53      0.27      0.24      0.25
    LSTM, biases by lag         1.00      1.00      1.00      1.00      1.00      0.99

So it is not the cell alone that remembers: with the usual biases an LSTM forgets like an RNN; with a memory that lasts
as long as the lag it bridges 160 steps, where the RNN fails from 20 on.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from siseon.drawing import use_hangul_in_plots
from siseon.models.language.lstm import LSTM
from siseon.models.language.rnn import RNN

UNITS = 32
SYMBOLS = 4
STEPS = 100
"""Over which gradients are followed back."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/long-memory"))
    parser.add_argument("--lags", type=int, nargs="+", default=(5, 10, 20, 40, 80, 160))
    parser.add_argument("--steps", type=int, default=250, help="of training, at most")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    curves = {name: gradients(cell) for name, cell in start().items()}
    print(f"{'gradient by lag':24}" + "".join(f"{lag:>10}" for lag in (1, 10, 30, 100)))
    for name, norms in curves.items():
        print(f"{name:24}" + "".join(f"{norms[lag - 1]:10.1e}" for lag in (1, 10, 30, 100)))
    plot(curves, given.out / "gradients.png")
    print(f"the plot is {given.out / 'gradients.png'}")

    print(f"{'named after a lag of':24}" + "".join(f"{lag:>10}" for lag in given.lags))
    for name, cell in (
        ("RNN", lambda lag: RNN(SYMBOLS + 1, UNITS)),
        ("LSTM", lambda lag: LSTM(SYMBOLS + 1, UNITS)),
        ("LSTM, biases by lag", patient),
    ):
        print(f"{name:24}", end="", flush=True)
        for lag in given.lags:
            begin = time.monotonic()
            share = recall(cell, lag, steps=given.steps)
            print(f"{share:6.2f}{time.monotonic() - begin:3.0f}s", end="", flush=True)
        print()


def start() -> dict[str, RNN | LSTM]:
    """Untrained networks: RNNs whose recurrent matrix is orthogonal times a gain, and LSTMs."""
    torch.manual_seed(0)
    cells: dict[str, RNN | LSTM] = {}
    for gain in (0.7, 1.0, 1.5):
        cell = RNN(SYMBOLS, UNITS)
        nn.init.orthogonal_(cell.weight_state, gain)
        nn.init.normal_(cell.weight_input, std=0.02)  # so small that tanh is nearly linear, as Bengio's theory has it
        cells[f"RNN, gain {gain}"] = cell
    cells["LSTM, forget bias 1"] = LSTM(SYMBOLS, UNITS, forget_bias=1)
    cells["LSTM, forget bias 5"] = LSTM(SYMBOLS, UNITS, forget_bias=5)
    return cells


def gradients(cell: RNN | LSTM) -> list[float]:
    """The length of the gradient of the last output by the input 1, 2, ... steps before, relative to 1 step before."""
    torch.manual_seed(0)
    inputs = torch.randn(1, STEPS + 1, SYMBOLS, requires_grad=True)
    shown, _ = cell.unrolled(inputs)
    shown[0, -1].sum().backward()
    assert inputs.grad is not None
    lengths = inputs.grad[0].norm(dim=1).flip(0)[1:].clamp(min=1e-30)
    return (lengths / lengths[0]).tolist()


def patient(lag: int) -> LSTM:
    """An LSTM whose gates begin so that the memory lasts about `lag` steps (Tallec and Ollivier 2018, section 3).

    The forget gate's bias is log(lag), the input gate's the negative: half-life and openness to noise are both 1 / lag.
    """
    cell = LSTM(SYMBOLS + 1, UNITS, forget_bias=math.log(lag))
    nn.init.constant_(cell.bias[:UNITS], -math.log(lag))
    return cell


def sequences(count: int, lag: int) -> tuple[Tensor, Tensor]:
    """A symbol, then noise, then a mark: inputs [count, lag + 1, SYMBOLS + 1], and the symbol to be named."""
    symbols = torch.randint(SYMBOLS, (count,))
    inputs = torch.zeros(count, lag + 1, SYMBOLS + 1)
    inputs[:, 1:, :SYMBOLS] = 0.2 * torch.randn(count, lag, SYMBOLS)
    inputs[:, 0, :SYMBOLS] = F.one_hot(symbols, SYMBOLS).float()
    inputs[:, -1, SYMBOLS] = 1.0
    return inputs, symbols


def recall(cell, lag: int, *, steps: int) -> float:
    """The share of 1,000 new sequences whose first symbol is named after training; a quarter is chance."""
    torch.manual_seed(0)
    network = cell(lag)
    head = nn.Linear(UNITS, SYMBOLS)
    learnt = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(learnt, lr=0.01)
    for step in range(steps):
        inputs, symbols = sequences(64, lag)
        logits = head(network(inputs)[0][:, -1])
        loss = F.cross_entropy(logits, symbols)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        if step % 25 == 24 and loss.item() < 0.01:
            break
    with torch.inference_mode():
        inputs, symbols = sequences(1000, lag)
        return float((head(network(inputs)[0][:, -1]).argmax(1) == symbols).float().mean())


def plot(curves: dict[str, list[float]], path: Path) -> None:
    """Gradient against lag, both far apart enough to need a logarithm."""
    use_hangul_in_plots()
    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, norms in curves.items():
        axes.semilogy(range(1, len(norms) + 1), norms, label=name)
    axes.set(xlabel="lag, steps", ylabel="gradient of the last output, relative to lag 1", ylim=(1e-17, 1e7))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")  # the font has no superscript minus
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
