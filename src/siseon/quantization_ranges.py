"""The range of each map that becomes integers of 8 bits: what runs through it on a few pictures says it.

Idea    The least and the greatest value cover everything and give rare ones the room of all. Narrower ranges clip a few
        values and draw the others finer: the range with the least squared error on a sample of the values is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from siseon.exported import Exported

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Range: TypeAlias = tuple[float, float]

SAMPLE = 4096
"""About how many values of a map are looked at in a picture."""

ROOM = 1.25
"""The whole range is widened so much for tensors that must not be clipped."""

SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""The ranges that are tried, as shares of the whole one."""


def ranges(
    model: ModelProto, names: Sequence[str], inputs: Iterable[Mapping[str, np.ndarray]], *, roomy: Collection[str] = ()
) -> dict[str, Range]:
    """The range (least, greatest) of each tensor of `names`, all float32, if it ever has a value.

    roomy: tensors that lose nothing of their whole range and get ROOM more, for pictures that go further.
    """
    session = Exported.of(observed(model, names).SerializeToString()).session
    wanted = [each.name for each in session.get_outputs() if each.name.startswith("observed/")]
    lows: dict[str, list[float]] = {name: [] for name in names}
    highs: dict[str, list[float]] = {name: [] for name in names}
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for given in inputs:
        found = dict(zip(wanted, session.run(wanted, given), strict=True))
        for name in names:
            values = found[f"observed/{name}/values"]
            if len(values):
                lows[name].append(float(found[f"observed/{name}/least"]))
                highs[name].append(float(found[f"observed/{name}/greatest"]))
                samples[name].append(values)
    whole = {name: (min(lows[name]), max(highs[name])) for name in names if samples[name]}
    return {
        name: widened(each) if name in roomy else narrowed(np.concatenate(samples[name]), each)
        for name, each in whole.items()
    }


def widened(whole: Range) -> Range:
    """The whole range, zero and ROOM for more."""
    return ROOM * min(whole[0], 0.0), ROOM * max(whole[1], 0.0)


def narrowed(values: np.ndarray, whole: Range) -> Range:
    """Of the shares of the whole range the one in which 8 bits are nearest to the values in the mean square."""
    low, high = min(whole[0], 0.0), max(whole[1], 0.0)  # zero is always among the integers
    if high == low:
        return low, high
    errors = [float(np.square(rounded(values, low * share, high * share) - values).mean()) for share in SHARES]
    share = SHARES[int(np.argmin(errors))]
    return low * share, high * share


def rounded(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The values as 256 steps from `low` to `high` hold them."""
    step = (high - low) / 255
    zero = np.round(-low / step)
    return (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step


def observed(model: ModelProto, names: Sequence[str]) -> ModelProto:
    """The network with least, greatest and a sample of each tensor as outputs: whole maps would fill the memory."""
    import onnx

    network = onnx.ModelProto()
    network.CopyFrom(model)
    graph = network.graph
    constants = {"flat": [-1], "start": [0], "end": [np.iinfo(np.int64).max], "axis": [0]}
    graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(value, np.int64), f"observed/{name}") for name, value in constants.items()
    )
    counts = {each.name: elements(each) for each in (*graph.value_info, *graph.input, *graph.output)}
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "observed/zero"))
    for name in names:
        step = max(counts.get(name, 0) // SAMPLE, 1) | 1  # odd, so that it falls on every column
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([step]), f"observed/{name}/step"))
        graph.node.extend(nodes_of(name))
        graph.output.extend(
            onnx.helper.make_tensor_value_info(f"observed/{name}/{what}", onnx.TensorProto.FLOAT, None)
            for what in ("least", "greatest", "values")
        )
    return network


def elements(value: object) -> int:
    """How many values a tensor has, 0 if that depends on the picture."""
    count = 1
    for axis in value.type.tensor_type.shape.dim:  # type: ignore[attr-defined]
        count *= axis.dim_value
    return count


def nodes_of(name: str) -> Iterator[NodeProto]:
    """What computes the three outputs of one tensor."""
    from onnx.helper import make_node

    yield make_node("Reshape", [name, "observed/flat"], [f"observed/{name}/flat"])
    # with a zero, which belongs to every range, because onnxruntime finds no least of nothing
    yield make_node("Concat", [f"observed/{name}/flat", "observed/zero"], [f"observed/{name}/all"], axis=0)
    yield make_node("ReduceMin", [f"observed/{name}/all"], [f"observed/{name}/least"], keepdims=0)
    yield make_node("ReduceMax", [f"observed/{name}/all"], [f"observed/{name}/greatest"], keepdims=0)
    ends = ["observed/start", "observed/end", "observed/axis", f"observed/{name}/step"]
    yield make_node("Slice", [f"observed/{name}/flat", *ends], [f"observed/{name}/values"])
