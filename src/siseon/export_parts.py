"""Networks, or parts of one, in ONNX: traced, compared with torch, joined.

What export.py and export_regions.py share.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from siseon.exported import Exported
from siseon.interface import SiseonError
from siseon.layers import inference

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

ROUNDINGS = 4
"""Beyond TOLERANCE a file passes too if it is within so many times of torch's own rounding."""

TOLERANCE = 1e-4
"""How far outputs may be from torch's, as a share of the largest output, or of 1 where all are smaller."""

OPSET, IR = 20, 10
"""The versions of ONNX's operators and of its file format that are written."""


class Graph(nn.Module, ABC):
    """What becomes a file or a part of one: a `forward` from the tensors `inputs` to the tensors `names`.

    rows: the first axis of every input may have any length. unordered: outputs whose rows may change places, because
    which of two equal values is the first is left to chance.
    """

    inputs: tuple[str, ...]
    names: tuple[str, ...]
    rows: bool = False
    unordered: tuple[str, ...] = ()

    @abstractmethod
    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes."""

    def apart(self, found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """The greatest difference of an output as a share of its largest value, or of 1 where all are smaller."""
        pairs = [
            [each.double().flatten().sort().values if name in self.unordered else each.double() for each in pair]
            for name, *pair in zip(self.names, found, expected, strict=True)
        ]
        return max(float((one - other).abs().max() / other.abs().max().clamp(min=1)) for one, other in pairs)


class Piece(Graph):
    """A function of tensors with as many rows each, and a module that holds its weights."""

    rows = True

    def __init__(
        self,
        model: nn.Module,
        function: Callable[..., tuple[Tensor, ...]],
        *,
        inputs: Mapping[str, Tensor],
        names: Sequence[str],
    ) -> None:
        super().__init__()
        self.model = model
        self.function = function
        self.inputs = tuple(inputs)
        self.given = tuple(inputs.values())
        self.names = tuple(names)

    def example(self) -> tuple[Tensor, ...]:  # noqa: D102
        return self.given

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:  # noqa: D102
        return self.function(*tensors)


def translated(graph: Graph, *, of: str) -> tuple[ModelProto, float]:
    """The graph in ONNX, and how far its outputs are from torch's.

    Raises SiseonError, naming `of`, above TOLERANCE and ROUNDINGS times what torch itself rounds.
    """
    given = graph.example()
    with inference(graph):
        expected = as_tuple(graph(*given))  # before tracing: anchors that models keep must be real tensors
    dynamic: Any = tuple({0: torch.export.Dim("rows")} for _ in given)
    shapes = ((dynamic,) if isinstance(graph, Piece) else dynamic) if graph.rows else None
    with quietly(), torch.no_grad():
        traced = torch.export.export(graph.eval(), given, dynamic_shapes=shapes)
        program = torch.onnx.export(
            traced,
            input_names=list(graph.inputs),
            output_names=list(graph.names),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    network: ModelProto = program.model_proto
    network.ir_version = IR
    found = outputs(network, dict(zip(graph.inputs, given, strict=True)))
    difference = graph.apart(found, expected)
    if not difference <= TOLERANCE and not difference <= ROUNDINGS * rounding(graph, given, expected):
        raise SiseonError(
            f"the exported {of} is {difference:.1e} from torch, more than {TOLERANCE}",
            "Report it with the versions that `siseon checks` names",
        )
    return network, difference


def outputs(network: ModelProto, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What onnxruntime makes of the inputs."""
    session = Exported.of(network.SerializeToString()).session
    return [torch.from_numpy(each) for each in session.run(None, {name: each.numpy() for name, each in inputs.items()})]


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One or several outputs as several."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def rounding(graph: Graph, given: tuple[Tensor, ...], expected: Sequence[Tensor]) -> float:
    """How far torch's own outputs are from those in float64: much, where a network magnifies what its layers round."""
    graph.double()  # in place, and back without loss: a piece's function knows its model from elsewhere
    try:
        with inference(graph):
            exact = graph(*(each.double() if each.is_floating_point() else each for each in given))
    finally:
        graph.float()
    return graph.apart(expected, as_tuple(exact))


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporter's remarks about packages that it does not need."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


# --- joining -----


@dataclass(frozen=True)
class Part:
    """A network that becomes a part: what its inputs and outputs are called in the whole, where by another name."""

    network: ModelProto
    names: Mapping[str, str]

    @staticmethod
    def of(text: str, *, names: Mapping[str, str] | None = None, **values: Any) -> Part:  # noqa: ANN401
        """From ONNX's own text, with `values` in the places of their names."""
        import onnx

        return Part(onnx.parser.parse_model(text.format(ir=IR, opset=OPSET, **values)), names or {})


def joined(parts: Sequence[Part], *, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """One network: each part takes by name what is an input of the whole or what a part before it gives.

    Equal weights of two parts are kept once.
    """
    import onnx

    nodes: list[NodeProto] = []
    weights: dict[str, TensorProto] = {}
    values: dict[str, ValueInfoProto] = {}
    known: dict[bytes, str] = {}
    for number, part in enumerate(parts):
        graph = part.network.graph
        names = {value.name: part.names.get(value.name, value.name) for value in (*graph.input, *graph.output)}
        for value in (*graph.input, *graph.output):
            values.setdefault(names[value.name], value)
        for tensor in graph.initializer:
            content = b"%d %r " % (tensor.data_type, tuple(tensor.dims)) + onnx.numpy_helper.to_array(tensor).tobytes()
            own = known.setdefault(content, f"{number}/{tensor.name}")
            names[tensor.name] = own
            if own not in weights:
                weights[own] = onnx.TensorProto()
                weights[own].CopyFrom(tensor)
                weights[own].name = own
        nodes += [renamed(node, names, f"{number}/") for node in graph.node]
    for name in (*inputs, *outputs):
        values[name].name = name
    graph = onnx.helper.make_graph(
        nodes,
        "siseon",
        [values[name] for name in inputs],
        [values[name] for name in outputs],
        list(weights.values()),
    )
    return onnx.helper.make_model(graph, ir_version=IR, opset_imports=[onnx.helper.make_opsetid("", OPSET)])


def renamed(node: NodeProto, names: Mapping[str, str], prefix: str) -> NodeProto:
    """The node with `names` for its tensors, and the prefix before all others and before its own name."""
    import onnx

    new = onnx.NodeProto()
    new.CopyFrom(node)
    new.name = f"{prefix}{node.name or node.output[0]}"
    for field, tensors in ((new.input, node.input), (new.output, node.output)):
        del field[:]
        field.extend(names.get(name, prefix + name) if name else "" for name in tensors)
    return new


SELECTION = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
selection (float[groups, n, 4] all_boxes, float[groups, m, n] all_scores)
    => (float[k, 4] boxes, int64[k] labels, float[k] scores)
<int64[1] limit = {{{limit}}}, float[1] overlap = {{{threshold:.9g}}}, float[1] least = {{{score:.9g}}},
 int64[2] group_and_class = {{0, 1}}, int64[2] group_and_box = {{0, 2}}, int64[1] across = {{1}}>
{{
    kept = NonMaxSuppression (all_boxes, all_scores, limit, overlap, least)
    kept_scores = GatherND (all_scores, kept)
    box_places = Gather <axis = 1> (kept, group_and_box)
    kept_boxes = GatherND (all_boxes, box_places)
    either = Gather <axis = 1> (kept, group_and_class)
    kept_labels = ReduceSum <keepdims = 0> (either, across)
    there = Shape <start = 0, end = 1> (kept)
    count = Min (there, limit)
    scores, order = TopK (kept_scores, count)
    boxes = Gather (kept_boxes, order)
    labels = Gather (kept_labels, order)
}}
"""
"""ONNX's own text: suppression within each class and the best `limit` of what is left.

`kept` has a row (group, class, box) for each box that stays in its group and class.
"""
