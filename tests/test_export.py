"""An exported file gives torch's numbers: logits for any batch, the detections of `predict`."""

import copy

import numpy as np
import pytest
import torch

from siseon import export_parts, exported, zoo
from siseon.boxes.nms import nms_by_group
from siseon.export import export, fitting
from siseon.exported import Exported
from siseon.interface import SiseonError, WeightsError
from siseon.optimization import optimize

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NAMES = ("빨강", "blue", "초록")


def test_a_classifier_for_any_batch(tmp_path):
    model = zoo.create("lenet_modern", classes=NAMES)
    before = copy.deepcopy(model.state_dict())
    written = export(model, tmp_path / "새 폴더" / "숫자.onnx")
    network = Exported(written.file)
    assert model.training
    model.eval()
    assert written.difference < 1e-6 and (network.task, network.classes) == ("classification", NAMES)
    assert network.size == {"rule": "crop", "resize": 32, "crop": 32, "interpolation": "bilinear"}
    for batch in (1, 5):
        images = torch.rand(batch, 3, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(network.run(images)[0], model(images), rtol=0, atol=1e-5)
    photos = [np.random.default_rng(0).integers(0, 255, (40, 61, 3), dtype=np.uint8), torch.rand(3, 33, 32)]
    for mirrored in (False, True):
        pairs = zip(network.predict(photos, mirrored=mirrored), model.predict(photos, mirrored=mirrored), strict=True)
        for found, expected in pairs:
            torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-5)
            assert found.classes == NAMES
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


# --- the selection alone -----


def selected(boxes, scores, *, limit=100, threshold=0.5, least=0.05):
    values = {"limit": limit, "threshold": threshold, "score": least}
    model = export_parts.Part.of(export_parts.SELECTION, **values).network
    onnx.checker.check_model(model)
    session = Exported.of(model.SerializeToString()).session
    found = session.run(None, {"all_boxes": boxes.numpy(), "all_scores": scores.numpy()})
    return [torch.from_numpy(each) for each in found]


@pytest.mark.parametrize("limit", [7, 1000])
def test_the_selection_is_suppression_within_each_class(limit):
    corners = 50 * torch.rand(60, 2)
    boxes = torch.cat([corners, corners + 5 + 20 * torch.rand(60, 2)], 1)
    scores = torch.rand(3, 60)
    which = (scores > 0.3).nonzero()
    kept = nms_by_group(boxes[which[:, 1]], scores[scores > 0.3], which[:, 0], 0.4, limit=limit)
    found = selected(boxes[None], scores[None], limit=limit, threshold=0.4, least=0.3)
    for mine, expected in zip(found, (boxes[which[kept, 1]], which[kept, 0], scores[scores > 0.3][kept]), strict=True):
        assert torch.equal(mine, expected)


def test_each_class_may_have_boxes_of_its_own():
    boxes = torch.tensor([[[0, 0, 8, 8], [0, 0, 8, 7]], [[0, 0, 8, 8], [20, 20, 30, 30]]], dtype=torch.float32)
    scores = torch.tensor([[[0.6, 0.9]], [[0.7, 0.8]]])
    found = selected(boxes, scores)
    assert found[1].tolist() == [0, 1, 1]
    assert found[2].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert found[0].tolist() == [[0, 0, 8, 7], [20, 20, 30, 30], [0, 0, 8, 8]]


def test_nothing_found_is_no_fault():
    boxes, labels, scores = selected(torch.rand(1, 5, 4), torch.zeros(1, 2, 5))
    assert boxes.shape == (0, 4) and len(labels) == len(scores) == 0


# --- what cannot be exported -----


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: zoo.create("fast_rcnn_mini", classes=3), "FastRCNN cannot be exported"),
        (lambda: optimize(zoo.create("lenet_modern", classes=3)), "arranged by optimize"),
        (lambda: torch.nn.Linear(2, 2), "Linear is no classifier and no detector"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_line(tmp_path, make, said):
    with pytest.raises(SiseonError, match=said):
        export(make(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_input_must_suit_the_strides(tmp_path):
    model = zoo.create("retinanet_mini", classes=3)
    assert fitting(model, None) == (160, 160)
    with pytest.raises(SiseonError, match="multiples of 32"):
        export(model, tmp_path / "model.onnx", size=(160, 170))


def test_outputs_that_differ_are_an_error(tmp_path, monkeypatch):
    run = export_parts.outputs
    monkeypatch.setattr(export_parts, "outputs", lambda network, given: [each + 1e-3 for each in run(network, given)])
    with pytest.raises(SiseonError, match="the exported MLP is"):
        export(zoo.create("mlp_mini", classes=3), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(SiseonError, match=r"onnxscript is not installed. pip install siseon\[export\]"):
        export(zoo.create("mlp_mini", classes=3), tmp_path / "model.onnx")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="is not there"):
        Exported(tmp_path / "없음.onnx")
    (tmp_path / "글.onnx").write_text("text")
    with pytest.raises(WeightsError, match=r"글\.onnx"):
        Exported(tmp_path / "글.onnx")
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[1] a) => (float[1] b) {b = Abs (a)}'
    )
    (tmp_path / "another.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="does not say its classes"):
        Exported(tmp_path / "another.onnx")
