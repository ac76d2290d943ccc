"""`quantize(file, out, pictures)`: an exported network with weights and maps of 8 bits, a quarter of the size.

Idea    Between two layers a map needs 256 values, not four billion: each becomes scale * (integer - zero point), with
        the scale from what runs through it on a few pictures of yours; a weight has a scale for each output channel.
Flow    file -> the least and greatest value of each map on the pictures -> QDQ nodes
        around the layers -> file
Here    Post-training static quantisation (Krishnamoorthi 2018, arXiv:1806.08342, section 3) by onnxruntime. The first
        convolution and the last layers stay in float32, and with them all that follows: decoding boxes and
        suppression. The first sees the full range of the colours and the last decide, at a few percent of the work.
        Weights take 7 of the 8 bits, because the products of processors without VNNI saturate otherwise.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from siseon import tensorfile
from siseon.data.dataset import Data
from siseon.exported import Exported, require
from siseon.interface import DataError, PictureError
from siseon.pictures import to_tensor

if TYPE_CHECKING:
    from onnx import GraphProto

log = logging.getLogger("siseon")

LAYERS = ("Conv", "Gemm", "MatMul")
"""The operators with weights."""

WITH_THEM = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "ReduceMean", "Relu")
"""What runs between them in 8 bits too, so that maps need not become float32 in between."""

PICTURES = 128
"""How many pictures find the ranges; more change little."""


def quantize(
    file: Path | str,
    out: Path | str,
    data: Data,
    *,
    count: int = PICTURES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the exported `file` in 8 bits to `out`.

    data: `count` of its training pictures, evenly spread, find the ranges; one that cannot be read is passed over.
    progress is called with the pictures done and all. Raises DataError where no picture can be read.
    """
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    network = Exported(file)
    reader = Reader(network, data, count, progress)
    with tempfile.TemporaryDirectory() as folder, quietly():
        model, small = onnx.load(file), Path(folder) / "small.onnx"
        quantize_static(
            model,
            small,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*LAYERS, *WITH_THEM],
            nodes_to_quantize=inner(model.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        tensorfile.write_whole(Path(out), [small.read_bytes()])
    assert reader.last is not None
    Exported(out).run(reader.last)
    return Path(out)


class Reader:
    """Gives the pictures of a data set to onnxruntime's calibration, one after another."""

    def __init__(self, network: Exported, data: Data, count: int, progress: Callable[[int, int], None] | None) -> None:
        self.network = network
        self.pictures = data.split("train", "val", "test")
        whole, count = len(self.pictures), min(count, len(self.pictures))
        self.numbers = [place * whole // count for place in range(count)]
        self.place = 0
        self.progress = progress
        self.last: Tensor | None = None

    def get_next(self) -> dict[str, Any] | None:
        """The next input by its name, None after the last. Raises DataError where none could be read."""
        while self.place < len(self.numbers):
            number = self.numbers[self.place]
            self.place += 1
            if self.progress is not None:
                self.progress(self.place, len(self.numbers))
            try:
                self.last = self.network.prepared(to_tensor(self.pictures.picture(number)))
            except PictureError as fault:
                log.warning("passed over: %s", fault.problem)
                continue
            return {self.network.input: self.last.numpy()}
        if self.last is None:
            raise DataError("no picture can be read to find the ranges", "Ask siseon check what is wrong")
        return None


def inner(graph: GraphProto) -> list[str]:
    """The names of the nodes of 8 bits: before a later layer with weights, and not the first such layer."""
    makers = {output: node for node in graph.node for output in node.output}
    layers = [node for node in graph.node if node.op_type in LAYERS]
    before: set[str] = set()
    waiting = [name for layer in layers for name in layer.input]
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in before:
            before.add(node.name)
            waiting += node.input
    kinds = {*LAYERS, *WITH_THEM}
    chosen = [node.name for node in graph.node if node.name in before and node.op_type in kinds]
    return [name for name in chosen if name != layers[0].name]


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
