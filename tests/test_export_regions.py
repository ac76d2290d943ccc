"""An exported detector of two stages finds what `predict` finds; its own operators give the numbers of ours."""

from types import SimpleNamespace

import pytest
import torch

from siseon import export_parts, zoo
from siseon.export import export
from siseon.export_regions import masks, pooling
from siseon.exported import Exported
from siseon.models.detection.fast_rcnn import BoxHead
from siseon.models.detection.mask_rcnn import MaskHead

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NAMES = ("빨강", "blue", "초록")
BODY = {"widths": (8, 16, 16, 16), "depths": (1, 1, 1, 1)}
BOXES = torch.tensor(
    [
        *([0, 0, 160, 96], [3, 4, 80, 50], [10, 12, 33.5, 70], [9, 9, 12, 14], [100, 20, 130, 90]),
        *([-30, -40, 200, 300], [0, 0, 500, 500], [0, 0, 224, 224], [5, 5, 5, 9]),
    ],
    dtype=torch.float32,
)


def livened(model):
    """The model in eval mode with class layers so far apart that some boxes pass 0.05."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and float(parameter.detach().std()) < 0.02:
            parameter.data.mul_(6)
    return model.eval()


def test_a_detector_of_two_stages_finds_what_predict_finds(tmp_path):
    torch.manual_seed(1)
    options = {"backbone_options": BODY, "hidden": 32, "channels": 16, "mask_depth": 1, "sizing": (96, 160, 32)}
    model = livened(zoo.create("mask_rcnn_mini", classes=NAMES, **options))
    network = Exported(export(model, tmp_path / "model.onnx", size=(96, 160)).file)
    photo = torch.rand(3, 60, 100)  # 1.6 times as large
    found, expected = network.predict(photo)[0], model.predict(photo)[0]
    assert len(found) == len(expected) > 5 and found.classes == NAMES
    torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=0.01)
    assert torch.equal(found.labels, expected.labels)
    assert found.masks.shape == expected.masks.shape == (len(found), 60, 100)
    assert (found.masks != expected.masks).float().mean() < 1e-3 < expected.masks.float().mean()
    assert [each.name for each in network.session.get_outputs()] == ["boxes", "labels", "scores", "masks"]


# --- what is written in ONNX's own text -----


@pytest.mark.parametrize("kind", ["align", "pool"])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 9])
def test_regions_are_pooled_from_the_level_of_their_size(kind, levels, count):
    maps, strides = [torch.randn(1, 8, 24 >> level, 40 >> level) for level in range(levels)], (4, 8, 16)[:levels]
    head = BoxHead(8, classes=3, hidden=4, pooled=5, pooling=kind)
    part = pooling(head, strides, boxes="found", regions="cut")
    names = [f"map_{level}" for level in range(levels)]
    network = export_parts.joined([part], inputs=["found", *names], outputs=["cut"])
    given = {"found": BOXES[:count], **dict(zip(names, maps, strict=True))}
    torch.testing.assert_close(
        export_parts.outputs(network, given)[0], head.pool(maps, [BOXES[:count]], strides), rtol=0, atol=1e-5
    )


def test_no_object_has_no_mask():
    head = MaskHead(8, classes=3, width=8, depth=1, pooled=7, group_norm=True).eval()
    piece = masks(SimpleNamespace(mask_head=head, classes=NAMES), (BOXES[:5], torch.randn(5, 8, 7, 7)))
    network, difference = export_parts.translated(piece, of="a head")
    assert difference < 1e-5
    for count in (0, 1):
        given = {"regions_of_masks": torch.randn(count, 8, 7, 7), "labels": torch.ones(count, dtype=torch.int64)}
        assert export_parts.outputs(network, given)[0].shape == (count, 14, 14)


# --- joining -----


def test_equal_weights_of_two_parts_are_kept_once():
    text = """
    <ir_version: {ir}, opset_import: ["" : {opset}]>
    part (float[n] a) => (float[n] b) <float[2] weight = {{1.5, 2}}, float[1] other = {{{other}}}>
    {{ inner = Mul (a, weight)
       b = Add (inner, other) }}
    """
    parts = [
        export_parts.Part.of(text, names={"b": "between"}, other=1),
        export_parts.Part.of(text, names={"a": "between"}, other=3),
    ]
    network = export_parts.joined(parts, inputs=["a"], outputs=["b"])
    assert len(network.graph.initializer) == 3
    assert export_parts.outputs(network, {"a": torch.tensor([1.0, 2.0])})[0].tolist() == [6.75, 13.0]
