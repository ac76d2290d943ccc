"""Building with weights, loading, and the mapping from torchvision's names."""

import re
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn

import torchvision_names
from siseon import tensorfile, weights, zoo
from siseon.interface import Sizing, WeightsError


def tensors_of(model: nn.Module, *, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in model.state_dict().items()}
    return {name: tensor for name, tensor in state.items() if not name.endswith(without or ("\0",))}


def body_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith("backbone.body.")}


@pytest.fixture
def classifier_file(tmp_path: Path) -> Path:
    file = tmp_path / "가중치.safetensors"
    weights.save(zoo.create("resnet_mini", classes=3), file)
    return file


class TestLoad:
    def test_a_saved_model_comes_back_with_its_classes_sizes_and_numbers(self, tmp_path: Path):
        model = zoo.create("faster_rcnn_mini", classes=["원", "square"]).eval()
        model.sizing = Sizing(96, 128, 32)
        weights.save(model, tmp_path / "model.safetensors")
        back = weights.load(tmp_path / "model.safetensors")
        assert back.classes == ("원", "square")
        assert back.sizing == Sizing(96, 128, 32)
        picture = torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0))
        for ours, theirs in zip(model.predict(picture, score=0.0), back.predict(picture, score=0.0), strict=True):
            assert torch.equal(ours.boxes, theirs.boxes)

    def test_a_file_of_another_version_is_named(self, classifier_file: Path):
        tensors, metadata = tensorfile.read(classifier_file)
        renamed = {name.replace("classifier", "head"): tensor for name, tensor in tensors.items()}
        other = classifier_file.with_name("옛것.safetensors")
        tensorfile.write(other, renamed, metadata)
        with pytest.raises(WeightsError, match=r"옛것.safetensors does not fit resnet_mini .*Missing key"):
            weights.load(other)

    def test_a_run_folder_gives_its_best_model(self, tmp_path: Path):
        weights.save(zoo.create("resnet_mini", classes=2), tmp_path / "last.safetensors")
        weights.save(zoo.create("resnet_mini", classes=4), tmp_path / "best.safetensors")
        assert len(weights.load(tmp_path).classes) == 4

    def test_tensors_without_a_spec_are_refused_with_a_remedy(self, tmp_path: Path):
        tensorfile.write(tmp_path / "plain.safetensors", {"a": torch.zeros(1)})
        with pytest.raises(WeightsError, match=r"plain\.safetensors .*Name the model"):
            weights.load(tmp_path / "plain.safetensors")

    def test_a_flipped_bit_is_noticed(self, classifier_file: Path):
        content = bytearray(classifier_file.read_bytes())
        content[len(content) // 2] ^= 1
        classifier_file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"가중치\.safetensors"):
            weights.load(classifier_file)


class TestFill:
    def test_another_class_count_leaves_out_the_class_layer_only(self, classifier_file: Path, caplog):
        model = weights.build("resnet_mini", weights=classifier_file, classes=5)
        stored, _ = tensorfile.read(classifier_file)
        assert torch.equal(model.state_dict()["body.stem.conv.weight"], stored["body.stem.conv.weight"])
        assert "classifier.weight, classifier.bias" in caplog.text

    def test_a_classifier_fills_the_backbone_of_a_detector(self, classifier_file: Path):
        model = weights.build("faster_rcnn_mini", weights=classifier_file, backbone_options={}, classes=5)
        stored, _ = tensorfile.read(classifier_file)
        for name, tensor in body_of(model).items():
            assert torch.equal(tensor, stored[name.removeprefix("backbone.")])

    def test_a_torchvision_classifier_fills_the_backbone_of_a_detector(self, tmp_path: Path):
        file = tmp_path / "resnet18.pth"
        torch.save(torchvision_tensors("resnet18"), file)
        model = weights.build("faster_rcnn_mini", weights=file, backbone="resnet18", backbone_options={}, classes=2)
        assert all((tensor == 0.5).all() for tensor in body_of(model).values() if tensor.is_floating_point())

    def test_weights_of_another_model_are_refused(self, classifier_file: Path):
        with pytest.raises(WeightsError, match="another model than mobilenet_mini"):
            weights.build("mobilenet_mini", weights=classifier_file)

    def test_a_missing_file_is_named(self, tmp_path: Path):
        with pytest.raises(WeightsError, match=r"nowhere\.pth"):
            weights.build("resnet_mini", weights=tmp_path / "nowhere.pth")


class TestPublished:
    def test_without_a_network_the_file_and_its_place_are_named(self, monkeypatch, tmp_path: Path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

        def no_network(*_: object, **__: object) -> None:
            raise URLError("no network")

        monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
        with pytest.raises(WeightsError) as fault:
            weights.build("resnet18", weights="imagenet")
        assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(fault.value)
        assert str(tmp_path / "checkpoints" / "resnet18-f37072fd.pth") in str(fault.value)

    def test_a_file_in_the_cache_is_used_with_the_names_of_its_classes(self, monkeypatch, tmp_path: Path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        (tmp_path / "checkpoints").mkdir()
        torch.save(torchvision_tensors("resnet18"), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
        model = weights.build("resnet18", weights="imagenet")
        assert model.classes[0] == "tench"
        assert (model.state_dict()["classifier.bias"] == 0.5).all()

    def test_the_published_googlenet_wants_pixels_from_minus_one_to_one(self, monkeypatch, tmp_path: Path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        (tmp_path / "checkpoints").mkdir()
        file = tmp_path / "checkpoints" / "googlenet-1378be20.pth"
        tensors = {name: tensor for name, tensor in zoo.create("googlenet_bn").state_dict().items() if "." in name}
        torch.save(tensors, file)
        for weight in ("imagenet", file):
            model = weights.build("googlenet_bn", weights=weight)
            values = (torch.tensor([0.0, 0.5, 1.0])[:, None] - model.mean) / model.deviation
            assert values.tolist() == [[-1.0] * 3, [0.0] * 3, [1.0] * 3]
        weights.save(model, tmp_path / "again.safetensors")
        assert weights.load(tmp_path / "again.safetensors").mean.tolist() == [0.5] * 3
        torch.save(tensors, tmp_path / "mine.pth")
        mine = weights.build("googlenet_bn", weights=tmp_path / "mine.pth")
        assert mine.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])

    @pytest.mark.parametrize(("name", "kind"), [("resnet_mini", "imagenet"), ("resnet18", "coco")])
    def test_weights_that_nobody_published_are_refused(self, name: str, kind: str):
        with pytest.raises(WeightsError, match="no published"):
            weights.build(name, weights=kind)

    @pytest.mark.parametrize(("kind", "count"), weights.CLASSES.items())
    def test_the_class_names_are_as_many_as_the_checkpoints_have(self, kind: str, count: int):
        names = weights.published_classes(kind)
        assert len(set(names)) == count

    def test_every_row_is_a_model_of_the_zoo(self):
        assert {name for name, _ in weights.PUBLISHED} <= set(zoo.ZOO)


class TestFromTorchvision:
    def test_the_class_count_follows_the_tensors(self):
        tensors = torchvision_tensors("resnet18")
        tensors["fc.weight"], tensors["fc.bias"] = torch.zeros(7, 512), torch.zeros(7)
        assert len(weights.from_torchvision("resnet18", tensors).classes) == 7

    def test_the_background_of_a_detector_is_no_class(self):
        model = weights.from_torchvision("fasterrcnn_resnet50_fpn", detector_tensors(outputs=4))
        assert len(model.classes) == 3

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda tensors: tensors.pop("layer1.0.conv1.weight"), "missing"),
            (lambda tensors: tensors.update({"layer9.0.conv1.weight": torch.zeros(1)}), r"layer9\.0\.conv1\.weight"),
            (lambda tensors: tensors.update({"conv1.weight": torch.zeros(1)}), r"conv1\.weight has shape \[1\]"),
        ],
        ids=["too few", "too many", "another shape"],
    )
    def test_a_tensor_too_few_too_many_or_of_another_shape_is_named(self, change, said: str):
        tensors = torchvision_tensors("resnet18")
        change(tensors)
        with pytest.raises(WeightsError, match=said):
            weights.from_torchvision("resnet18", tensors)

    def test_counters_of_batches_may_be_missing(self):
        tensors = {
            name: tensor
            for name, tensor in torchvision_tensors("resnet18").items()
            if not name.endswith("num_batches_tracked")
        }
        assert weights.from_torchvision("resnet18", tensors).spec == {"name": "resnet18", "arguments": {}}


def torchvision_tensors(name: str) -> dict[str, Tensor]:
    """Tensors of 0.5 under torchvision's names."""
    with torch.device("meta"):
        model = zoo.create(name)
    rules = vars(sys.modules[type(model).__module__])["TORCHVISION_NAMES"]
    tensors = {}
    for theirs in getattr(torchvision_names, name)():
        ours = next(re.sub(old, new, theirs) for old, new in rules if re.fullmatch(old, theirs))
        like = model.state_dict()[ours]
        tensors[theirs] = torch.full(like.shape, 0.5).to(like.dtype)
    return tensors


def detector_tensors(*, outputs: int) -> dict[str, Tensor]:
    tensors = torchvision_tensors("faster_rcnn_resnet50_fpn")
    head = "roi_heads.box_predictor."
    tensors[f"{head}cls_score.weight"], tensors[f"{head}cls_score.bias"] = (
        torch.zeros(outputs, 1024),
        torch.zeros(outputs),
    )
    tensors[f"{head}bbox_pred.weight"] = torch.zeros(4 * outputs, 1024)
    tensors[f"{head}bbox_pred.bias"] = torch.zeros(4 * outputs)
    return tensors
