"""Tiles of a matrix product in registers, on this processor and as others would compute them."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from siseon.convolutions.registers import (
    HEIGHTS,
    LIMITED,
    SIGMOID,
    SWISH,
    TANH,
    WIDTH,
    filled_up,
    multiply,
    multiply_pairs,
    panels,
)
from siseon.convolutions.vectors import HAS_BFLOAT16, LANES


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def product(maps, weight, bias=None, other=None, kind=LIMITED, low=-np.inf, high=np.inf, share=None):
    rows, depth = maps.shape
    outputs = weight.shape[1]
    out = torch.full((rows + 1, outputs), torch.nan)  # a row more, which must stay as it is
    packed, shift = panels(weight), filled_up(bias, outputs)
    first, last = share or (0, -(-outputs // WIDTH))
    multiply(
        maps.data_ptr(), rows, depth, packed.data_ptr(), first, last, shift.data_ptr(),
        0 if other is None else other.data_ptr(), out.data_ptr(), outputs, kind, np.float32(low), np.float32(high),
    )  # fmt: skip
    assert out[-1].isnan().all()
    return out[:-1]


@pytest.mark.parametrize("rows", [0, 1, 2, *HEIGHTS, 13, 16, 49])
@pytest.mark.parametrize("outputs", [1, LANES - 1, LANES, LANES + 1, WIDTH, 3 * WIDTH + 5, 3 * WIDTH + LANES + 3])
def test_any_number_of_rows_and_outputs(rows, outputs):
    maps, weight, bias, other = numbers(rows, 11), numbers(11, outputs), numbers(outputs), numbers(rows, outputs)
    expected = maps.double() @ weight.double() + bias
    torch.testing.assert_close(product(maps, weight, bias).double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(product(maps, weight, bias, other).double(), expected + other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "function"),
    [(SIGMOID, torch.sigmoid), (SWISH, torch.nn.functional.silu), (TANH, torch.tanh)],
    ids=["sigmoid", "swish", "tanh"],
)
def test_functions_of_the_sum(kind, function):
    sums = torch.cat([torch.linspace(-100, 100, 4001), torch.tensor([-1e30, -300.0, 0.0, 300.0, 1e30, torch.nan])])
    found = product(sums[:, None], torch.ones(1, 1), kind=kind)[:, 0]
    expected = function(sums.double())
    torch.testing.assert_close(
        found.double(), expected, rtol=1e-6, atol=2e-7 if kind == TANH else 1e-30, equal_nan=True
    )


def test_limits_keep_what_is_not_a_number():
    maps = torch.tensor([[-2.0], [0.5], [9.0], [torch.nan]])
    found = product(maps, torch.ones(1, 3), low=0, high=6)
    torch.testing.assert_close(found[:, 0], torch.tensor([0, 0.5, 6, torch.nan]), equal_nan=True)


def test_a_share_of_the_panels():
    maps, weight = numbers(9, 5), numbers(5, 3 * WIDTH)
    found = product(maps, weight, share=(1, 2))
    inside = found[:, WIDTH : 2 * WIDTH]
    torch.testing.assert_close(inside, (maps @ weight)[:, WIDTH : 2 * WIDTH])
    assert found[:, :WIDTH].isnan().all()
    assert found[:, 2 * WIDTH :].isnan().all()


@pytest.mark.skipif(not HAS_BFLOAT16, reason="this processor does not multiply bfloat16")
@pytest.mark.parametrize(("rows", "outputs"), [(1, 3), (7, WIDTH), (20, WIDTH + 7)])
def test_pairs_of_bfloat16(rows, outputs):
    maps, weight, bias = numbers(rows, 10).bfloat16(), numbers(10, outputs).bfloat16(), filled_up(None, outputs)
    out, packed = torch.full((rows, outputs), torch.nan), panels(weight)
    multiply_pairs(maps.data_ptr(), rows, 5, packed.data_ptr(), bias.data_ptr(), out.data_ptr(), outputs)
    torch.testing.assert_close(out.double(), maps.double() @ weight.double(), rtol=0, atol=1e-5)


OTHERS = """
import torch
from torch import nn
from siseon.convolutions.vectors import HAS_BFLOAT16, LANES
from siseon.optimization import optimize
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 40, 3, padding=1, groups=40), nn.SiLU(),
    nn.Conv2d(40, 36, 3, padding=1), nn.ReLU6(), nn.Conv2d(36, 30, 3, 2, 1), nn.Conv2d(30, 21, 1),
    nn.Flatten(1), nn.Linear(21 * 100, 5),
).eval()
images = torch.rand(2, 3, 20, 20)
with torch.inference_mode():
    difference = (optimize(network)(images) - network(images)).abs().max()
print(LANES, HAS_BFLOAT16, bool(difference < 1e-5))
"""


@pytest.mark.skipif(not {"x86_64", "AMD64"} & {os.uname().machine}, reason="features of x86")
@pytest.mark.parametrize(("name", "features", "lanes"), [("haswell", "+avx,+avx2,+fma", 8), ("nehalem", "+sse4.2", 4)])
def test_processors_with_narrower_vectors(name, features, lanes, tmp_path):
    settings = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OTHERS], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(lanes), "False", "True"]
