"""An exported detector finds what `predict` finds, with onnxruntime alone."""

import json

import pytest
import torch

from siseon import zoo
from siseon.export import export
from siseon.exported import Exported

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NAMES = ("빨강", "blue", "초록")
BODY = {"widths": (8, 16, 16, 16), "depths": (1, 1, 1, 1)}
SMALLER = {
    "ssd_mini": {"backbone_options": BODY},
    "yolo_mini": {"backbone_options": BODY, "head_widths": (16,)},
    "retinanet_mini": {"backbone_options": BODY, "depth": 1},
}
"""Fewer layers: what takes time here is their number."""


def livened(model):
    """The model in eval mode with class layers so far apart that some boxes pass 0.05."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and float(parameter.detach().std()) < 0.02:
            parameter.data.mul_(6)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "size", "picture"),
    [
        ("ssd_mini", None, (160, 160)),
        ("yolo_mini", None, (70, 120)),  # stretched
        ("retinanet_mini", (160, 256), (100, 160)),  # 1.6 times as large
    ],
)
def test_a_detector_finds_what_predict_finds(tmp_path, name, size, picture):
    torch.manual_seed(1)
    model = livened(zoo.create(name, classes=NAMES, **SMALLER[name]))
    file = export(model, tmp_path / "model.onnx", size=size, score=0.05).file
    network, photo = Exported(file), torch.rand(3, *picture)
    found, expected = network.predict(photo)[0], model.predict(photo)[0]  # which also shows that its anchors are whole
    assert len(found) == len(expected) > 5 and found.classes == NAMES
    for label in range(len(NAMES)):  # equal scores of two classes may change places
        mine, theirs = found.labels == label, expected.labels == label
        torch.testing.assert_close(found.scores[mine], expected.scores[theirs], rtol=0, atol=1e-4)
        torch.testing.assert_close(found.boxes[mine], expected.boxes[theirs], rtol=0, atol=0.01)
    assert (found.scores.diff() <= 0).all()
    assert [each.name for each in network.session.get_outputs()] == ["boxes", "labels", "scores"]
    assert (network.predict(photo, score=0.5)[0].scores >= 0.5).all()
    assert json.loads(network.session.get_modelmeta().custom_metadata_map["score"]) == 0.05


def test_a_smaller_picture_is_padded_with_the_mean_colour():
    network = Exported.__new__(Exported)
    network.size = {"rule": "fit", "height": 4, "width": 8, "padding": [0.1, 0.2, 0.3]}
    prepared = network.prepared(torch.ones(3, 2, 2))
    assert prepared.shape == (1, 3, 4, 8)
    assert (prepared[..., :4] == 1).all()
    torch.testing.assert_close(prepared[0, :, 3, 7], torch.tensor([0.1, 0.2, 0.3]))
