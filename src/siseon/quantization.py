"""`quantize(file, out, pictures)`: an exported network with weights and maps of 8 bits, a quarter of the size.

Idea    Between two layers a map needs 256 values, not four billion: each becomes scale * (integer - zero point), with
        the scale from what runs through it on a few pictures of yours; a weight has a scale for each output channel.
        Some layers lose more by that than others: those are found and stay as they are.
Flow    file -> the range of each map on the pictures (quantization_ranges.py) -> QDQ nodes around the layers ->
        if the outputs are too noisy: each part of the network alone in 8 bits, how much noise it makes -> the noisiest
        parts back in float32, until the rest is quiet enough -> file
Here    Post-training static quantisation (Krishnamoorthi 2018, arXiv:1806.08342, section 3) by onnxruntime. The first
        convolution, which sees the full range of the colours, stays in float32, and so do last layers that are matrix
        products, a percent of the work, and all that follows: decoding boxes and suppression. A detector's last
        convolutions are up to a fifth of its work; what they give is nowhere clipped to the range of the pictures.
        Weights take 7 of the 8 bits, because the products of processors without VNNI saturate otherwise.
        SSD on MobileNetV2, blood cells (recipes/bccd.py --model ssd), 72 test photos, onnxruntime on two threads:
        AP 0.572 in 32 bits and 27.9 ms a photo; 0.396 and 9.9 ms with all in 8 bits; 0.571 and 0.574 with a noise of at
        most 0.2 % and 0.1 %, in 11.6 and 12.3 ms (2026-11-22). The first depthwise convolutions lose most.
        Noise is the mean square of the difference over the variance of what is right, the mean of the outputs of all
        last layers and, in detectors of two stages, of the maps that regions are cut from.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siseon import tensorfile
from siseon.data.dataset import Data
from siseon.exported import Exported, require
from siseon.interface import DataError, PictureError
from siseon.pictures import to_tensor
from siseon.quantization_ranges import ranges

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

log = logging.getLogger("siseon")

LAYERS = ("Conv", "Gemm", "MatMul")
"""The operators with weights."""

POOLINGS = ("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean")
WITH_THEM = ("Add", "Clip", "Concat", "Mul", "Relu", "Sigmoid", *POOLINGS)
"""What runs between them in 8 bits too, so that maps need not become float32 in between."""

BY_PLACE = ("Gather", "GatherND", "MaxRoiPool", "Reshape", "Resize", "RoiAlign", "Slice")
"""Operators whose first input is a map, the others say where or how large."""

PICTURES, JUDGED = 64, 6
"""How many pictures find the ranges, and how many judge the noise; more change little."""

PARTS = 24
"""Into how many parts a network is divided at most, to find the noisiest."""

TOLERANCE = 0.001
"""Noise that is let pass."""


@dataclass(frozen=True)
class Quantized:
    """A file that was written.

    noise: of its outputs on a few pictures, as a share of their variance; before: that with every part in 8 bits;
    layers: how many layers with weights are in 8 bits; kept: those that stay in float32 because of their noise.
    """

    file: Path
    noise: float
    before: float
    layers: int
    kept: tuple[str, ...]

    def __str__(self) -> str:
        size = f"{self.file}: {self.file.stat().st_size / 1e6:.2f} MB, {self.layers} layers in 8 bits"
        if not self.kept:
            return f"{size}, noise {self.noise:.2%}"
        return f"{size}, noise {self.noise:.2%} instead of {self.before:.2%} because {len(self.kept)} stay in 32: " + (
            ", ".join(self.kept)
        )


def quantize(
    file: Path | str,
    out: Path | str,
    data: Data,
    *,
    count: int = PICTURES,
    tolerance: float | None = TOLERANCE,
    progress: Callable[[int, int], None] | None = None,
) -> Quantized:
    """Write the exported `file` in 8 bits to `out`.

    data: `count` of its training pictures, evenly spread, find the ranges; one that cannot be read is passed over.
    tolerance: noise above which the noisiest parts stay in float32; None leaves all in 8 bits. progress is called with
    the steps done and all. Raises DataError where no picture can be read.
    """
    require("onnx", "onnxruntime")
    import onnx

    reader = Reader(Exported(file), data, count, progress)
    with quietly():
        network = Network(onnx.shape_inference.infer_shapes(onnx.load(file)), reader)
        chosen = network.nodes
        at_first = noise = network.noise(chosen)
        if tolerance is not None and noise > tolerance:
            chosen, noise = network.quiet(tolerance)
        tensorfile.write_whole(Path(out), [network.in_8_bits(chosen).SerializeToString()])
    Exported(out).session.run(None, reader.judged[0])
    in_8_bits = {node.name for node in chosen}
    able = [node for node in network.nodes if node.op_type in LAYERS]
    kept = tuple(layer_of(node.input[1]) for node in able if node.name not in in_8_bits)
    return Quantized(Path(out), noise, at_first, len(able) - len(kept), kept)


def layer_of(weight: str) -> str:
    """What the model calls the layer of a weight, without the number of the part and the name of the tensor."""
    return weight.rpartition("/")[2].removeprefix("model.").removesuffix(".weight")


class Reader:
    """The pictures of a data set as inputs of the network, one after another; `judged` keeps some of them."""

    def __init__(self, network: Exported, data: Data, count: int, progress: Callable[[int, int], None] | None) -> None:
        self.network = network
        self.pictures = data.split("train", "val", "test")
        whole, count = len(self.pictures), min(count, len(self.pictures))
        self.numbers = [place * whole // count for place in range(count)]
        self.progress = progress or (lambda done, of: None)
        self.judged: list[dict[str, np.ndarray]] = []

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Each input by its name. Raises DataError where none can be read."""
        every = -(-len(self.numbers) // JUDGED)
        for place, number in enumerate(self.numbers):
            self.progress(place + 1, len(self.numbers) + PARTS)
            try:
                picture = to_tensor(self.pictures.picture(number))
            except PictureError as fault:
                log.warning("passed over: %s", fault.problem)
                continue
            given = {self.network.input: self.network.prepared(picture).numpy()}
            if len(self.judged) * every <= place:
                self.judged.append(given)
            yield given
        if not self.judged:
            raise DataError("no picture can be read to find the ranges", "Ask siseon check what is wrong")


class Network:
    """A network of 32 bits, the nodes that can have 8, and how much noise they then make."""

    def __init__(self, model: ModelProto, reader: Reader) -> None:
        self.model = model
        self.reader = reader
        nodes = inner(model.graph)
        fixed = constants(model.graph)
        maps = {node.name: {*node.input, *node.output} - fixed for node in nodes}
        decide = {layer.output[0] for layer in last_layers(model.graph)}
        self.ranges = ranges(model, sorted(set().union(*maps.values())), reader, roomy=decide)
        # a branch that no picture ran through, such as masks where nothing was found, has no ranges
        self.nodes = [node for node in nodes if maps[node.name] <= self.ranges.keys()]
        self.ends = ends(model.graph)
        self.right = self._outputs(model)

    def in_8_bits(self, nodes: Sequence[NodeProto]) -> ModelProto:
        """The network with these nodes in 8 bits."""
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        known = {name: (np.float32(low), np.float32(high)) for name, (low, high) in self.ranges.items()}
        quantizer = QDQQuantizer(
            copy.deepcopy(self.model),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, known),
            nodes_to_quantize=[node.name for node in nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=[*LAYERS, *WITH_THEM],
            extra_options={},
        )
        quantizer.quantize_model()
        return quantizer.model.model

    def noise(self, nodes: Sequence[NodeProto]) -> float:
        """What these nodes in 8 bits do to the outputs of the last layers: see above."""
        if not nodes or not self.ends:
            return 0.0
        shares = [
            float(np.square(own - right).mean() / max(right.var(), np.finfo(np.float32).tiny))
            for picture, true in zip(self._outputs(self.in_8_bits(nodes)), self.right, strict=True)
            for own, right in zip(picture, true, strict=True)
        ]
        return float(np.mean(shares))

    def quiet(self, tolerance: float) -> tuple[list[NodeProto], float]:
        """The nodes that can have 8 bits with no more noise than `tolerance` in all, and that noise.

        What parts add to the noise is nearly independent: the noisiest go until the sum of the others is low enough,
        and further ones until the noise of all of them together is.
        """
        parts = divided(self.nodes, PARTS)
        alone = []
        for number, part in enumerate(parts):
            alone.append(self.noise(part))
            self.reader.progress(len(self.reader.numbers) + number + 1, len(self.reader.numbers) + len(parts))
        order = sorted(range(len(parts)), key=alone.__getitem__)  # the quietest first
        while order and sum(alone[number] for number in order) > tolerance:
            order.pop()
        while True:
            chosen = [node for number in sorted(order) for node in parts[number]]
            noise = self.noise(chosen)
            if noise <= tolerance or not order:
                return chosen, noise
            order.pop()

    def _outputs(self, model: ModelProto) -> list[list[np.ndarray]]:
        """What the last layers give for each picture that judges."""
        import onnx

        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        there = {each.name for each in shown.graph.output}
        names = [as_read(shown.graph, name) for name in self.ends]
        shown.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            for name in names
            if name not in there
        )
        session = Exported.of(shown.SerializeToString()).session
        return [session.run(names, given) for given in self.reader.judged]


# --- which nodes -----


def inner(graph: GraphProto) -> list[NodeProto]:
    """The nodes that can have 8 bits: the layers with weights and what runs before them, without the first layer."""
    followed = before(graph)
    names = {node.name for node in graph.node if node.op_type in WITH_THEM and node.name in followed}
    names |= {layer.name for layer in layers(graph)[1:] if layer.name in followed or layer.op_type == "Conv"}
    return [node for node in graph.node if node.name in names]


def ends(graph: GraphProto) -> tuple[str, ...]:
    """The maps in which noise is measured: of the last layers, and those that regions are cut from.

    What comes after a suppression is not among them: it has other rows as soon as there is noise.
    """
    last = {layer.name for layer in last_layers(graph)}
    uncertain: set[str] = set()
    found: list[str] = []
    for node in graph.node:
        if node.op_type == "NonMaxSuppression" or uncertain.intersection(node.input):
            uncertain.update(node.output)
        if node.op_type in ("RoiAlign", "MaxRoiPool") and node.input[0] not in uncertain:
            found.append(node.input[0])
        if node.name in last and not uncertain.intersection(node.output):
            found.append(node.output[0])
    return tuple(dict.fromkeys(found))


def layers(graph: GraphProto) -> list[NodeProto]:
    """The nodes with weights, in their order."""
    fixed = constants(graph)
    return [node for node in graph.node if node.op_type in LAYERS and node.input[1] in fixed]


def last_layers(graph: GraphProto) -> list[NodeProto]:
    """Those that no other follows."""
    followed = before(graph)
    return [layer for layer in layers(graph) if layer.name not in followed]


def before(graph: GraphProto) -> set[str]:
    """The names of the nodes that a later layer with weights reads from, however far away."""
    makers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = [layer.input[0] for layer in layers(graph)]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input[:1] if node.op_type in BY_PLACE else node.input
    return found


def as_read(graph: GraphProto, name: str) -> str:
    """The name under which the nodes that follow read a map: another one where it is written in 8 bits."""
    readers = {node.input[0]: node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    while name in readers:
        name = readers[name].output[0]
    return name


def constants(graph: GraphProto) -> set[str]:
    """The names of what is no map: weights, other constants, and "" for an input that is left out."""
    made = (output for node in graph.node if node.op_type == "Constant" for output in node.output)
    return {"", *(tensor.name for tensor in graph.initializer), *made}


def divided(nodes: Sequence[NodeProto], count: int) -> list[list[NodeProto]]:
    """The nodes in their order as at most `count` parts with about as many layers each."""
    weighted = sum(node.op_type in LAYERS for node in nodes)
    if not weighted:
        return [list(nodes)]
    parts: list[list[NodeProto]] = [[] for _ in range(min(count, weighted))]
    seen = 0
    for node in nodes:
        seen += node.op_type in LAYERS
        parts[max(seen - 1, 0) * len(parts) // weighted].append(node)
    return parts


@contextmanager
def quietly() -> Iterator[None]:
    """Without onnxruntime's remarks on the root of all logs."""

    def is_grave(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logging.root.addFilter(is_grave)
    try:
        yield
    finally:
        logging.root.removeFilter(is_grave)
