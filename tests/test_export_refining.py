"""A detector that looks more than once, on a single map, finds the same as an ONNX file."""

import pytest
import torch

from siseon import zoo
from siseon.export import export
from siseon.exported import Exported

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_each_look_sees_the_boxes_that_the_one_before_moved(tmp_path):
    torch.manual_seed(1)
    body = {"widths": (8, 16, 16, 16), "depths": (1, 1, 1, 1)}
    options = {"pyramid": False, "anchor_sizes": ((16, 48),), "hidden": 32, "sizing": (96, 160, 32)}
    model = zoo.create("refine_rcnn_mini", classes=3, refinements=1, backbone_options=body, **options).eval()
    model.head.class_logits.weight.data.mul_(20)
    model.head.offsets.weight.data.mul_(20)
    network = Exported(export(model, tmp_path / "model.onnx", size=(96, 160)).file)
    photo = torch.rand(3, 60, 100)  # 1.6 times as large
    found, expected = network.predict(photo)[0], model.predict(photo)[0]
    assert len(found) == len(expected) > 5 and found.masks is None
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=0.01)
    assert torch.equal(found.labels, expected.labels)
