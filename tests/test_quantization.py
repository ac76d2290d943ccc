"""A network of 8 bits decides as the one of 32; which of its layers stay, and what the pictures may be."""

import numpy as np
import pytest
import torch

from siseon.data.dataset import Annotation, Data
from siseon.exported import Exported
from siseon.interface import DataError, PictureError
from siseon.quantization import PARTS, divided, ends, inner, quantize
from siseon.quantization_ranges import narrowed, rounded, widened

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CHAIN = """
<ir_version: 10, opset_import: ["" : 20]>
chain (float[batch, 3, 8, 8] images) => (float[batch, 2] logits)
<float[3, 1, 1] mean = {0.5, 0.4, 0.3}, int64[2] flat = {0, -1}>
{
    shifted = Sub (images, mean)
    first = Conv <pads = [1, 1, 1, 1]> (shifted, w0)
    a = Relu (first)
    second = Conv <pads = [1, 1, 1, 1]> (a, w1)
    sum = Add (second, a)
    third = Conv <pads = [1, 1, 1, 1]> (sum, w2)
    b = Relu (third)
    fourth = Conv (b, w4)
    c = Relu (fourth)
    pooled = GlobalAveragePool (c)
    row = Reshape (pooled, flat)
    raw = Gemm (row, w3)
    logits = Add (raw, raw)
}
"""


class Noise:
    """Pictures of noise; those of the numbers `broken` cannot be read."""

    task, classes = "classification", ("빨강", "blue")

    def __init__(self, broken=()):
        self.broken = broken

    def __len__(self):
        return 20

    def annotation(self, index):
        return Annotation(str(index), label=index % 2)

    def picture(self, index):
        if index in self.broken:
            raise PictureError(f"사진/{index}.png is no picture")
        return (255 * torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(index))).byte().numpy()


def data(broken=()):
    return Data("noise", "classification", Noise.classes, {"train": Noise(broken)})


WEIGHTS = {"w0": (16, 3, 3, 3), "w1": (16, 16, 3, 3), "w2": (64, 16, 3, 3), "w4": (64, 64, 1, 1), "w3": (64, 2)}


def written(file, **changed):
    """CHAIN with random weights and those that are named, as `export` writes."""
    network = onnx.parser.parse_model(CHAIN)
    random = {name: torch.randn(shape) / 4 for name, shape in WEIGHTS.items()} | changed
    for name, weight in random.items():
        network.graph.initializer.append(onnx.numpy_helper.from_array(weight.numpy(), name))
    named(network)
    size = '{"rule": "crop", "resize": 8, "crop": 8, "interpolation": "bilinear"}'
    onnx.helper.set_model_props(network, {"task": "classification", "classes": '["빨강", "blue"]', "size": size})
    file.write_bytes(network.SerializeToString())
    return file


def named(network):
    for number, node in enumerate(network.graph.node):
        node.name = f"{node.op_type}{number}"
    return network.graph


@pytest.fixture
def chain(tmp_path):
    """Five layers with weights."""
    return written(tmp_path / "사슬.onnx")


def test_the_first_layer_and_what_follows_the_last_stay(chain):
    graph = onnx.load(chain).graph
    nodes = inner(graph)
    names = ["Relu2", "Conv3", "Add4", "Conv5", "Relu6", "Conv7", "Relu8", "GlobalAveragePool9"]
    assert [node.name for node in nodes] == names
    assert ends(graph) == ("raw",)
    parts = [[node.name for node in part] for part in divided(nodes, 2)]
    assert parts == [names[:5], names[5:]]


def test_boxes_are_no_maps():
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    stages (float[1, 3, 8, 8] images, int64[1] limit) => (float[k, 2] logits)
    <float[4, 3, 1, 1] w0 = {0,0,0,0,0,0,0,0,0,0,0,0}, float[4, 4, 1, 1] w1 = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0},
     float[4, 4, 1, 1] w2 = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, float[4, 2] w3 = {0,0,0,0,0,0,0,0},
     float[2, 2] w4 = {0,0,0,0}, int64[3] boxed = {1, -1, 4}, int64[3] scored = {1, 1, -1}, int64[2] column = {0, 2},
     int64[1] last = {1}, int64[2] flat = {-1, 4}>
    {
        first = Conv (images, w0)
        map = Conv (first, w1)
        offsets = Conv (map, w2)
        boxes = Reshape (offsets, boxed)
        scores = Reshape (offsets, scored)
        kept = NonMaxSuppression (boxes, boxes, limit)
        places = Gather <axis = 1> (kept, column)
        chosen = GatherND (boxes, places)
        picture = ReduceSum <keepdims = 0> (kept, last)
        regions = RoiAlign <output_height = 1, output_width = 1> (map, chosen, picture)
        row = Reshape (regions, flat)
        hidden = Gemm (row, w3)
        logits = Gemm (hidden, w4)
    }
    """
    graph = named(onnx.parser.parse_model(text))
    nodes = [node.name for node in inner(graph)]
    assert nodes == ["Conv1", "Conv2", "Gemm11"]
    assert ends(graph) == ("offsets", "map")


def test_eight_bits_decide_alike(chain, tmp_path):
    steps = []
    said = quantize(
        chain,
        tmp_path / "작은.onnx",
        data(),
        count=12,
        tolerance=None,
        progress=lambda done, of: steps.append((done, of)),
    )
    assert said.file.stat().st_size < 0.75 * chain.stat().st_size
    assert (said.layers, said.kept, said.noise) == (3, (), said.before)
    assert 0 < said.noise < 0.01 and "3 layers in 8 bits, noise 0." in str(said)
    assert steps == [(number, 12 + PARTS) for number in range(1, 13)]
    images = torch.rand(40, 3, 8, 8)
    plain, quick = Exported(chain), Exported(said.file)
    assert (quick.task, quick.classes, quick.size) == (plain.task, plain.classes, plain.size)
    expected, found = plain.run(images)[0], quick.run(images)[0]
    assert not torch.equal(found, expected)
    assert float((found - expected).abs().max()) < 0.08 * float(expected.abs().max())
    kept = {tensor.name: tensor.data_type for tensor in onnx.load(said.file).graph.initializer}
    assert kept["w0"] == kept["w3"] == onnx.TensorProto.FLOAT
    assert kept["w1_quantized"] == kept["w2_quantized"] == onnx.TensorProto.INT8


def test_layers_that_lose_much_stay_and_are_named(tmp_path):
    # between w1 and w2 one channel has a thousand times the range of the others, and counts no more than they do
    loud, soft = torch.randn(WEIGHTS["w1"]) / 4, torch.randn(WEIGHTS["w2"]) / 4
    loud[0] *= 1000
    soft[:, 0] /= 1000
    file = written(tmp_path / "loud.onnx", w1=loud, w2=soft)
    said = quantize(file, tmp_path / "small.onnx", data(), count=12)
    assert said.kept == ("w1", "w2") and said.layers == 1
    assert said.noise < 0.01 < said.before
    assert str(said).endswith("because 2 stay in 32: w1, w2")
    images = torch.rand(40, 3, 8, 8)
    expected, found = Exported(file).run(images)[0], Exported(said.file).run(images)[0]
    assert float((found - expected).abs().max()) < 0.05 * float(expected.abs().max())
    kept = {tensor.name for tensor in onnx.load(said.file).graph.initializer}
    assert {"w1", "w2", "w4_quantized"} <= kept


def test_a_range_clips_what_is_rare():
    values = np.random.default_rng(0).standard_normal(20_000)
    assert narrowed(values, (-4.0, 4.0))[1] > 3
    low, high = narrowed(values, (-12.0, 12.0))
    assert -5 < low == -high
    assert narrowed(np.abs(values), (0.5, 4.0))[0] == 0
    assert narrowed(np.zeros(3), (0.0, 0.0)) == (0.0, 0.0)
    assert widened((2.0, 4.0)) == (0.0, 5.0)
    near = rounded(values, low, high)
    assert len(np.unique(near)) <= 256 and np.abs(near - values)[np.abs(values) < high].max() <= (high - low) / 509


def test_a_picture_that_cannot_be_read_is_passed_over(chain, tmp_path, caplog):
    quantize(chain, tmp_path / "small.onnx", data(broken={0, 5}))
    assert [record.message for record in caplog.records if "passed over" in record.message] == [
        "passed over: 사진/0.png is no picture",
        "passed over: 사진/5.png is no picture",
    ]


def test_no_picture_at_all_is_an_error(chain, tmp_path):
    with pytest.raises(DataError, match="no picture can be read"):
        quantize(chain, tmp_path / "small.onnx", data(broken=range(20)))
    assert not (tmp_path / "small.onnx").exists()
