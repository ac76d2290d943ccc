"""The training loop: it learns, keeps the best, stops when told, and breaks down with a word of help."""

import csv
import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_run import CLASSES, Noise, SmallClassifier, noise, small
from torch import nn

from siseon import tensorfile
from siseon.data.batches import Batch
from siseon.data.dataset import Annotation, Data
from siseon.interface import DataError, Images, RecipeError, SiseonError, Sizing, WeightsError
from siseon.layers import Body
from siseon.training import preparation, records
from siseon.training.fit import fit, resume
from siseon.training.interruption import Interrupted
from siseon.training.progress import Silent
from siseon.training.recipe import Recipe

FAST = {"batch": 5, "workers": 0, "epochs": 2, "lr": 0.05, "optimizer": "sgd", "progress": Silent(), "warmup": 0}


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch):
    monkeypatch.setattr(records, "plot", lambda rows: b"")


def table(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures(*values):
    """An `evaluate` that says these, epoch by epoch."""
    coming = iter(values)
    return lambda model, dataset: {"figure": next(coming)}


def test_it_learns():
    run = fit(small(), noise(60, 12), **{**FAST, "epochs": 8, "optimizer": "adamw"}, flip=0, brightness=0)
    assert run.history[-1]["loss"] < 0.6 * run.history[0]["loss"]
    assert run.best < 0.6 * math.log(3)
    assert (run.folder, run.metric, run.model.training) == (None, "val_loss", False)


def test_validation_is_the_mean_loss_of_the_best_model():
    data = noise(20, 9)
    run = fit(small(), data, **FAST)
    total, count = 0.0, 0
    for index in [index for index in range(9) if index != data.val.bad]:
        picture = torch.from_numpy(data.val.picture(index)).permute(2, 0, 1)[None].float()
        scaled = F.interpolate(picture, (12, 14), mode="bilinear")[..., 1:13].round() / 255
        with torch.no_grad():
            features = run.model.layers(scaled).mean((2, 3))
        total += F.cross_entropy(run.model.head(features), torch.tensor([index % 3])).item()
        count += 1
    assert run.best == pytest.approx(total / count, rel=0.02)
    assert run.best == min(row["val_loss"] for row in run.history)


def test_what_a_run_leaves(tmp_path):
    data = noise()
    run = fit(small(), data, out=tmp_path / "실행", evaluate=figures(0.1, 0.2), **FAST)
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.txt",
        "losses.png",
        "manifest.json",
        "metrics.csv",
        "recipe.toml",
        "state.safetensors",
    ]
    rows = table(run.folder)
    assert list(rows[0]) == ["epoch", "step", "loss", "class", "lr", "pictures_per_second", "seconds", "figure"]
    assert [(row["epoch"], row["step"], row["figure"]) for row in rows] == [("1", "4", "0.1"), ("2", "8", "0.2")]
    recipe = Recipe.from_toml(run.folder / "recipe.toml")
    assert (recipe.model, recipe.data, recipe.batch) == ("small", "noise", 5)
    metadata = tensorfile.read(run.folder / "best.safetensors")[1]
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert (metadata["epoch"], metadata["step"], metadata["crop"]) == ("2", "8", "12")


def test_a_run_knows_where_its_data_is(tmp_path):
    data = replace(noise(), source=str(tmp_path / "자료"))
    fit(small(), data, out=tmp_path / "run", recipe=Recipe(data="자료"), **FAST)
    assert Recipe.from_toml(tmp_path / "run" / "recipe.toml").data == str(tmp_path / "자료")
    fit(small(), noise(), out=tmp_path / "other", **FAST)
    assert Recipe.from_toml(tmp_path / "other" / "recipe.toml").data == noise().name


def test_problems_of_the_data_are_in_the_log(tmp_path):
    fit(small(), noise(), out=tmp_path, **FAST)
    assert (
        (tmp_path / "log.txt")
        .read_text(encoding="utf-8")
        .splitlines()[0]
        .startswith("problem: 사진 6: 사진 6 is broken")
    )


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([0.5, 0.4, 0.3, 0.2, 0.1], 2, 3, 0.5),
        ([0.1, 0.2, 0.15, 0.3, 0.2], 2, 5, 0.3),
        ([0.5, 0.4, 0.3, 0.2, 0.1], 0, 5, 0.5),
        ([math.nan, 0.4, math.nan, math.nan, 1], 2, 4, 0.4),
        ([0, 0, 0, 0.1, 0], 2, 5, 0.1),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_patience_and_the_best(tmp_path, values, patience, epochs, best, kept):
    weights = []

    def evaluate(model, dataset):
        weights.append(model.head.weight.detach().clone())
        return {"figure": values[len(weights) - 1], "other": 1.0}

    out = tmp_path if kept else None
    run = fit(small(), noise(), out=out, evaluate=evaluate, patience=patience, **{**FAST, "epochs": 5})
    assert len(run.history) == epochs
    assert (run.metric, run.best) == ("figure", best)
    assert torch.equal(run.model.head.weight, weights[values.index(best)])


def test_figures_that_are_never_numbers():
    assert math.isnan(fit(small(), noise(), evaluate=figures(math.nan, math.nan), **FAST).best)


def test_no_validation_pictures():
    data = noise()
    run = fit(small(), Data("only", "classification", CLASSES, {"train": data.train}), **FAST)
    assert (run.metric, run.best) == ("loss", min(row["loss"] for row in run.history))


def test_minutes_end_a_run():
    run = fit(small(), noise(), **{**FAST, "epochs": 100}, minutes=1e-7)
    assert [row["step"] for row in run.history] == [1]
    assert run.history[0]["lr"] == pytest.approx(0.05, rel=0.2)


def test_the_learning_rate_follows_the_schedule():
    run = fit(small(), noise(), **{**FAST, "epochs": 3}, schedule="step")
    assert [row["lr"] for row in run.history] == pytest.approx([0.05, 0.005, 0.0005])


@pytest.mark.parametrize(
    ("warmup", "rates"), [(0, [1, 1, 1]), (6, [4 / 6, 1, 1]), (0.5, [2 / 3, 1, 1]), (24, [1 / 6, 2 / 6, 3 / 6])]
)
def test_the_learning_rate_rises_first(warmup, rates):
    run = fit(small(), noise(), **{**FAST, "epochs": 3, "warmup": warmup}, schedule="constant")
    assert [row["lr"] for row in run.history] == pytest.approx([0.05 * rate for rate in rates])


def test_the_same_seed_gives_the_same_run_and_another_another():
    one, same, other = (fit(small(), noise(), **FAST, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.model.head.weight, same.model.head.weight)
    assert not torch.equal(one.model.head.weight, other.model.head.weight)


class Breaking(SmallClassifier):
    """Its loss, or only its gradient, is no number at a step."""

    def __init__(self, step, kind):
        super().__init__()
        self.left, self.kind = step, kind

    def loss(self, images, targets):
        self.left -= 1
        loss = super().loss(images, targets)["class"]
        if self.left:
            return {"class": loss}
        if self.kind == "loss":
            return {"class": loss * math.nan, "box": loss}
        return {"class": loss + (self.head.weight.sum() * 0).abs().sqrt()}


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize("clip", [0, 10])
def test_a_loss_or_gradient_that_is_no_number(tmp_path, kind, clip):
    with pytest.raises(SiseonError) as caught:
        fit(Breaking(7, kind), noise(), out=tmp_path, clip=clip, save_every=1e-9, evaluate=figures(0.1), **FAST)
    said = str(caught.value)
    assert "in step 7 (epoch 2)" in said
    assert "nan" in said
    assert "사진" in said
    assert "lower lr than 0.05" in said
    assert all(tensor.isfinite().all() for tensor in tensorfile.read(tmp_path / "last.safetensors")[0].values())
    assert json.loads((tmp_path / "manifest.json").read_text())["step"] == 6


@pytest.mark.parametrize(
    ("change", "fault", "words"),
    [
        ({"classes": ("a", "b")}, RecipeError, "2 classes"),
        ({"classes": ("원", "별", "네모")}, RecipeError, "classes=data.classes"),
        ({"task": "detection"}, RecipeError, "detection"),
    ],
)
def test_model_and_data_that_do_not_belong_together(change, fault, words):
    model = small()
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(fault, match=words):
        fit(model, noise(), **FAST)


def test_a_model_that_numbers_its_classes_takes_the_names_of_the_data(tmp_path):
    model = small()
    model.classes = ("0", "1", "2")
    fit(model, noise(), out=tmp_path, **{**FAST, "epochs": 1})
    metadata = tensorfile.read(tmp_path / "best.safetensors")[1]
    assert model.classes == CLASSES
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert json.loads(metadata["spec"])["arguments"]["classes"] == list(CLASSES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "gpu"}, "gpu"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"precision": "fp16"}, "CUDA only"),
        ({"frozen": 2}, "no stages"),
        ({"epochs": 0}, "epochs"),
        ({"imgzs": 3}, "imgsz"),
    ],
)
def test_settings_that_do_not_fit(changes, words):
    with pytest.raises(RecipeError, match=words):
        fit(small(), noise(), **{**FAST, **changes})


def test_no_training_pictures():
    with pytest.raises(DataError, match="no training pictures"):
        fit(small(), Data("빈 것", "classification", CLASSES, {"val": Noise(3)}), **FAST)


def test_training_pictures_of_which_none_can_be_read():
    with pytest.raises(DataError, match="none of the training pictures"):
        fit(small(), Data("bad", "classification", CLASSES, {"train": Noise(1, bad=0)}), **FAST)


def test_a_run_is_not_overwritten(tmp_path):
    fit(small(), noise(), out=tmp_path, **{**FAST, "epochs": 1})
    before = (tmp_path / "best.safetensors").read_bytes()
    with pytest.raises(RecipeError, match="holds a run already"):
        fit(small(), noise(), out=tmp_path, **FAST)
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_a_finished_run_is_finished(tmp_path):
    run = fit(small(), noise(), out=tmp_path, **{**FAST, "epochs": 2}, patience=0)
    text = (tmp_path / "metrics.csv").read_bytes()
    (tmp_path / "metrics.csv").unlink()  # as if killed between the last save and this file
    again = resume(tmp_path, load=small, data=noise(), progress=Silent())
    assert (again.history, again.best, again.metric) == (run.history, run.best, run.metric)
    assert (tmp_path / "metrics.csv").read_bytes() == text
    assert torch.equal(again.model.head.weight, run.model.head.weight)


def test_a_damaged_run_is_named(tmp_path):
    fit(small(), noise(), out=tmp_path, **{**FAST, "epochs": 1})
    content = bytearray((tmp_path / "state.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "state.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"state\.safetensors"):
        resume(tmp_path, load=small, data=noise(), progress=Silent())


def test_a_run_of_another_model_is_refused(tmp_path):
    fit(small(), noise(), out=tmp_path, **{**FAST, "epochs": 1})
    other = small()
    other.head = nn.Linear(8, 3, bias=False)
    with pytest.raises(WeightsError, match="another model"):
        resume(tmp_path, load=lambda path: other, data=noise(), progress=Silent())


class Watching(Silent):
    """Keeps a copy of the weights after every step."""

    def __init__(self, model):
        self.model, self.seen = model, []

    def step(self, epoch, **figures):
        self.seen.append(self.model.head.weight.detach().clone())


def test_the_running_mean_of_the_weights_is_validated_and_kept():
    model = small()
    watching = Watching(model)
    means = []

    def evaluate(judged, dataset):
        means.append(judged.head.weight.detach().clone())
        return {"figure": float(len(means))}

    run = fit(model, noise(), ema=0.5, evaluate=evaluate, **{**FAST, "progress": watching})
    mean = watching.seen[0].clone()
    for count, weight in enumerate(watching.seen[1:], 1):
        decay = min(0.5, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(means[-1], mean)
    assert torch.equal(run.model.head.weight, means[-1])


def test_clipping_bounds_the_step():
    model = small()
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    settings = {**FAST, "epochs": 1, "batch": 100, "lr": 1.0}
    fit(model, noise(), **settings, clip=0.001, momentum=0, weight_decay=0, schedule="constant")
    after = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.001, rel=1e-3)


def test_bf16_trains_in_bf16():
    kinds = set()

    class Looking(SmallClassifier):
        def loss(self, images, targets):
            kinds.add(self.head(torch.zeros(1, 8)).dtype)
            return super().loss(images, targets)

    run = fit(Looking(), noise(), precision="bf16", **FAST)
    assert kinds == {torch.bfloat16}
    assert run.model.head.weight.dtype == torch.float32


def test_frozen_norms_and_stages_stay():
    class Staged(SmallClassifier):
        def __init__(self):
            super().__init__()
            stages = [nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)) for _ in range(2)]
            stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
            self.layers = Body(stem, stages, ends=(1, 2), channels=(8, 8), strides=(1, 1))

        def loss(self, images, targets):
            return {"class": F.cross_entropy(self.head(self.layers.features(images.tensor)[-1].mean((2, 3))), targets)}

    model = Staged()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit(model, noise(), frozen=1, freeze_norm=True, **FAST)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"layers.layers.2.0.weight", "layers.layers.2.0.bias", "head.weight", "head.bias"}


def test_another_picture_size(tmp_path):
    sizes = set()

    class Looking(SmallClassifier):
        def loss(self, images, targets):
            sizes.update(images.sizes)
            return super().loss(images, targets)

    fit(Looking(), noise(), imgsz=24, out=tmp_path, **FAST)
    assert sizes == {(24, 24)}
    assert tensorfile.read(tmp_path / "last.safetensors")[1]["resize"] == "24"


class Boxes:
    """Pictures with a box each, for a detector."""

    task, classes = "detection", ("원",)

    def __len__(self):
        return 6

    def annotation(self, index):
        box = np.array([[2, 3, 12, 13]], np.float32)
        return Annotation(f"{index}", size=(20, 30), boxes=box, labels=np.zeros(1, int), crowd=np.zeros(1, bool))

    def picture(self, index):
        return np.full((20, 30, 3), 40 * index, np.uint8)


class SmallDetector(nn.Module):
    """Learns the mean of the boxes' edges; keeps what it was given."""

    task, classes = "detection", ("원",)
    needs_masks = False
    spec = {"name": "detector", "arguments": {}}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.sizing = Sizing(40, 60, 16)
        self.edges = nn.Parameter(torch.zeros(4))
        self.given = []

    def loss(self, images, targets):
        self.given.append((tuple(images.tensor.shape), images.sizes[0]))
        boxes = torch.cat([target.boxes for target in targets])
        return {"box": (boxes - self.edges).abs().mean(), "nothing": boxes.sum() * 0}


@pytest.mark.parametrize(("imgsz", "shape", "size"), [(None, (3, 3, 48, 64), (40, 60)), (30, (3, 3, 32, 32), (20, 30))])
def test_a_detector(tmp_path, imgsz, shape, size):
    model = SmallDetector()
    data = Data("boxes", "detection", ("원",), {"train": Boxes(), "val": Boxes()})
    run = fit(model, data, out=tmp_path, **{**FAST, "batch": 3}, imgsz=imgsz)
    assert set(model.given) == {(shape, size)}
    assert list(run.history[0])[2:5] == ["loss", "box", "nothing"]
    wanted = [40, 60, 16] if imgsz is None else [30, 30, 16]
    assert json.loads(tensorfile.read(tmp_path / "best.safetensors")[1]["sizing"]) == wanted


class Shaped(Boxes):
    """The same with a mask for each box."""

    def annotation(self, index):
        drawn = np.zeros((20, 30), bool)
        drawn[3:13, 2:12] = True
        return replace(super().annotation(index), segments=(drawn,))


class MaskLearner(SmallDetector):
    """Keeps the masks that it was given."""

    needs_masks = True

    def loss(self, images, targets):
        self.given += [target.masks for target in targets]
        return super().loss(images, targets)


def test_masks_reach_a_model_that_learns_them():
    model = MaskLearner()
    fit(model, Data("shapes", "detection", ("원",), {"train": Shaped(), "val": Shaped()}), **{**FAST, "batch": 3})
    masks = [given for given in model.given if isinstance(given, torch.Tensor)]
    assert len(masks) >= 6
    assert {(tuple(mask.shape), mask.dtype) for mask in masks} == {((1, 40, 60), torch.bool)}
    assert all(0 < mask.sum() < mask.numel() for mask in masks)


def test_a_model_that_learns_masks_is_not_trained_without_any():
    with pytest.raises(RecipeError, match=r"no object of boxes has one.*faster_rcnn"):
        fit(MaskLearner(), Data("boxes", "detection", ("원",), {"train": Boxes()}), **FAST)


def test_signals_are_left_as_they_were(tmp_path):
    import signal

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fit(small(), noise(), out=tmp_path, **{**FAST, "epochs": 1})
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_seeds_of_steps_differ():
    seeds = {preparation.seed_of(seed, step) for seed in range(20) for step in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("workers", "device", "cores", "wanted"),
    [
        (3, "cpu", 2, 3),
        (0, "cuda", 8, 0),
        (None, "cpu", 2, 0),
        (None, "cpu", 8, 2),
        (None, "cuda", 8, 4),
        (None, "cuda", 2, 1),
    ],
)
def test_how_many_workers(monkeypatch, workers, device, cores, wanted):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert preparation.workers_of(Recipe(workers=workers), torch.device(device)) == wanted


def test_norms_and_biases_do_not_decay():
    groups = preparation.optimizer_of(small(), Recipe()).param_groups
    assert [group["weight_decay"] for group in groups] == [1e-4, 0]
    assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(small().parameters()))


@pytest.mark.parametrize("mixing", [{"smoothing": 0.1}, {"mixup": 0.2}, {"cutmix": 1.0, "mixup": 1.0, "cutout": 0.5}])
def test_mixed_labels_train(mixing):
    batch = Batch(Images.of(torch.rand(4, 3, 8, 8)), torch.arange(4), tuple("abcd"), 0)
    images, shares = preparation.mixed(batch, Recipe(**mixing), 5, step=1)
    assert shares.shape == (4, 5)
    assert shares.sum(1).tolist() == pytest.approx([1] * 4)
    assert torch.equal(images.tensor, batch.images.tensor) == (not {"mixup", "cutmix"} & set(mixing))
    again = preparation.mixed(batch, Recipe(**mixing), 5, step=1)[0]
    assert torch.equal(images.tensor, again.tensor)


def test_without_mixing_labels_stay_labels():
    batch = Batch(Images.of(torch.rand(2, 3, 8, 8)), torch.tensor([1, 0]), ("a", "b"), 0)
    assert preparation.mixed(batch, Recipe(), 5, step=1) == (batch.images, batch.targets)


class HalfLearnt(SmallClassifier):
    """Counts, in a buffer, the pictures that it was completed with."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def complete(self, batches):
        self.modes = [self.training]
        self.seen.fill_(sum(len(images) for images, _ in batches))


def test_a_model_is_completed_once_on_all_pictures_and_saved(tmp_path):
    torch.manual_seed(0)
    run = fit(HalfLearnt(), noise(20, 5), out=tmp_path / "run", **FAST)
    assert run.model.modes == [False]
    assert run.model.seen == 19  # one cannot be read
    saved = tensorfile.read(tmp_path / "run" / "best.safetensors")[0]
    assert saved["seen"] == 19
    assert tensorfile.read(tmp_path / "run" / "last.safetensors")[0]["seen"] == 0


def test_stopped_while_it_is_completed(tmp_path, monkeypatch):
    def stopped(self, batches):
        os.kill(os.getpid(), signal.SIGINT)

    torch.manual_seed(0)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(HalfLearnt, "complete", stopped)
        fit(HalfLearnt(), noise(20, 5), out=tmp_path / "run", **FAST)

    def load(file):
        model = HalfLearnt()
        model.load_state_dict(tensorfile.read(file)[0])
        return model

    run = resume(tmp_path / "run", load=load, data=noise(20, 5), progress=Silent())
    assert run.model.seen == 19
    assert len(run.history) == FAST["epochs"]
