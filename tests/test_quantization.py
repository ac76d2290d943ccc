"""A network of 8 bits decides as the one of 32; which of its layers stay, and what the pictures may be."""

import pytest
import torch

from siseon.data.dataset import Annotation, Data
from siseon.exported import Exported
from siseon.interface import DataError, PictureError
from siseon.quantization import inner, quantize

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
    pooled = GlobalAveragePool (b)
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


@pytest.fixture
def chain(tmp_path):
    """Four layers with weights, written as `export` writes."""
    network = onnx.parser.parse_model(CHAIN)
    shapes = {"w0": (16, 3, 3, 3), "w1": (16, 16, 3, 3), "w2": (64, 16, 3, 3), "w3": (64, 2)}
    for name, shape in shapes.items():
        network.graph.initializer.append(onnx.numpy_helper.from_array((torch.randn(shape) / 4).numpy(), name))
    for number, node in enumerate(network.graph.node):
        node.name = f"{node.op_type}{number}"
    size = '{"rule": "crop", "resize": 8, "crop": 8, "interpolation": "bilinear"}'
    onnx.helper.set_model_props(network, {"task": "classification", "classes": '["빨강", "blue"]', "size": size})
    (tmp_path / "사슬.onnx").write_bytes(network.SerializeToString())
    return tmp_path / "사슬.onnx"


def test_the_first_and_the_last_layer_stay(chain):
    assert inner(onnx.load(chain).graph) == ["Relu2", "Conv3", "Add4", "Conv5", "Relu6", "GlobalAveragePool7"]


def test_eight_bits_decide_alike(chain, tmp_path):
    steps = []
    small = quantize(
        chain, tmp_path / "작은.onnx", data(), count=12, progress=lambda done, of: steps.append((done, of))
    )
    assert small.stat().st_size < 0.75 * chain.stat().st_size
    assert steps == [(number, 12) for number in range(1, 13)]
    images = torch.rand(40, 3, 8, 8)
    plain, quick = Exported(chain), Exported(small)
    assert (quick.task, quick.classes, quick.size) == (plain.task, plain.classes, plain.size)
    expected, found = plain.run(images)[0], quick.run(images)[0]
    assert not torch.equal(found, expected)
    assert float((found - expected).abs().max()) < 0.05 * float(expected.abs().max())
    kept = {tensor.name: tensor.data_type for tensor in onnx.load(small).graph.initializer}
    assert kept["w0"] == kept["w3"] == onnx.TensorProto.FLOAT
    assert kept["w1_quantized"] == kept["w2_quantized"] == onnx.TensorProto.INT8


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
