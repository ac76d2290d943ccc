"""The game of two networks: what it leaves, that it goes on to the bit, that it says when it has gone wrong."""

import csv
import hashlib
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from siseon import load, zoo
from siseon.data.dataset import Annotation, Data
from siseon.interface import DataError, PictureError, RecipeError, SiseonError
from siseon.training import adversarial, records
from siseon.training.adversarial import between, play, resume, suited, variety
from siseon.training.progress import Silent
from siseon.training.recipe import Recipe

OF_THE_CLOCK = {"pictures_per_second", "seconds"}
SHORT = {"epochs": 3, "batch": 8, "workers": 0, "precision": "fp32"}


class Blobs:
    """Bright squares at places that follow the number of the picture; number 5 cannot be read."""

    task = "classification"
    classes = ("점",)

    def __len__(self):
        return 20

    def annotation(self, index):
        return Annotation(f"점 {index}", size=(20, 20), label=0)

    def picture(self, index):
        if index == 5:
            raise PictureError("점 5 is broken", "Copy it again")
        picture = np.zeros((20, 20, 3), np.uint8)
        row, column = divmod(index * 7 % 16, 4)
        picture[row * 4 : row * 4 + 6, column * 4 : column * 4 + 6] = 200
        return picture


def blobs():
    return Data("점", "classification", ("점",), {"train": Blobs(), "val": Blobs()})


def model(name="dcgan_mini"):
    torch.manual_seed(0)
    given = {"width": 4, "size": 16} if name == "dcgan_mini" else {"hidden": [16], "judging": [8], "size": 16}
    return zoo.create(name, latent=8, **given)


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch):
    monkeypatch.setattr(records, "plot", lambda rows: b"a picture")


class StoppedError(Exception):
    pass


class At(Silent):
    """Ends the process, as far as a test can, at a step counted from 1."""

    def __init__(self, step):
        self.left = step

    def step(self, epoch, **figures):
        self.left -= 1
        if not self.left:
            raise StoppedError


class Heard(Silent):
    def __init__(self):
        self.lines, self.shares = [], []

    def step(self, epoch, *, share, losses, pictures):
        self.shares.append(share)

    def epoch(self, line):
        self.lines.append(line)


def rows_of(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [{key: row[key] for key in row if key not in OF_THE_CLOCK} for row in csv.DictReader(file)]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["gan_mini", "dcgan_mini"])
def test_what_a_game_leaves(name, tmp_path):
    folder, heard = tmp_path / "놀이", Heard()
    run = play(model(name), blobs(), out=folder, progress=heard, **SHORT)
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "recipe.toml", "metrics.csv", "losses.png", "log.txt", "manifest.json", "state.safetensors",
        "best.safetensors", "last.safetensors", "samples", "samples.png", "samples.gif", "interpolation.png",
    }  # fmt: skip
    assert [path.name for path in sorted((folder / "samples").iterdir())] == [f"epoch-000{n}.png" for n in (1, 2, 3)]
    rows = rows_of(folder)
    assert list(rows[0]) == ["epoch", "step", "discriminator", "generator", "lr", "variety", "collapsed"]
    assert [row["step"] for row in rows] == ["3", "6", "9"] and rows[0]["lr"] == "0.0002"
    assert "점 5 is broken" in (folder / "log.txt").read_text(encoding="utf-8")
    assert heard.shares == pytest.approx([n / 9 for n in range(1, 10)])
    assert len(run.history) == 3 and run.folder == folder
    torch.testing.assert_close(load(folder).sample(3), run.model.sample(3))
    with Image.open(folder / "samples.gif") as film, Image.open(folder / "samples.png") as last:
        assert film.n_frames >= 2 and film.size == last.size


def test_both_players_move_and_turns_do_not_touch_the_other(tmp_path):
    network = model()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    play(network, blobs(), **{**SHORT, "epochs": 1})
    moved = [key for key, value in network.named_parameters() if not torch.equal(value, before[key])]
    assert set(moved) == {key for key, _ in network.named_parameters()}
    assert all(part.requires_grad for part in network.parameters())


@pytest.mark.parametrize("save_every", [1e-9, 1e9])
def test_a_game_that_was_killed_goes_on_to_the_bit(save_every, tmp_path):
    play(model(), blobs(), out=tmp_path / "whole", progress=Silent(), ema=0.9, **SHORT)
    with pytest.raises(StoppedError):
        play(model(), blobs(), out=tmp_path / "cut", progress=At(5), ema=0.9, save_every=save_every, **SHORT)
    resume(tmp_path / "cut", load=load, data=blobs(), progress=Silent())
    for name in ("last.safetensors", "best.safetensors", "samples.png", "interpolation.png", "samples.gif"):
        assert digest(tmp_path / "cut" / name) == digest(tmp_path / "whole" / name), name
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
    manifest = json.loads((tmp_path / "cut" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["step"] == 9


def test_what_is_said_to_play_holds_though_it_is_usual(tmp_path):
    play(model(), blobs(), out=tmp_path / "run", progress=Silent(), epochs=1, batch=8, momentum=0.9, minutes=5)
    recipe = Recipe.from_toml(tmp_path / "run" / "recipe.toml")
    assert (recipe.batch, recipe.momentum, recipe.epochs, recipe.lr) == (8, 0.9, 1, 2e-4)


def test_the_seed_is_the_run():
    first, again, other = (
        play(model(), blobs(), progress=Silent(), seed=seed, **SHORT).history[-1]["generator"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_what_nobody_gave_becomes_that_of_the_game_and_what_was_given_stays():
    assert (suited(Recipe(batch=8)).batch, suited(Recipe().changed(momentum=0.9)).momentum) == (8, 0.9)
    assert suited(Recipe(batch=8).changed(seed=1)).batch == 8
    recipe = suited(Recipe(epochs=3, lr=0.01))
    assert (recipe.epochs, recipe.lr) == (3, 0.01)
    assert (recipe.batch, recipe.momentum, recipe.schedule, recipe.scale) == (64, 0.5, "constant", (1.0, 1.0))
    assert suited(recipe) == recipe
    assert suited(Recipe(minutes=2)).epochs == 1000 and suited(Recipe(minutes=2, epochs=3)).epochs == 3


def test_variety_is_the_distance_to_the_nearest_other_picture():
    pictures = torch.rand(6, 1, 5, 5)
    rows = pictures.flatten(1).tolist()
    nearest = [
        min(
            math.sqrt(sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / 25)
            for other, two in enumerate(rows)
            if other != index
        )
        for index, one in enumerate(rows)
    ]
    assert variety(pictures) == pytest.approx(sum(nearest) / 6, rel=1e-5)
    assert variety(pictures[:1].expand(4, -1, -1, -1)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(variety(pictures[:1]))


def test_a_way_from_one_noise_to_another_is_straight():
    start, end = torch.tensor([0.0, 1]), torch.tensor([1.0, -1])
    assert between(start, end, count=3).tolist() == [[0, 1], [0.5, 0], [1, -1]]


def test_a_collapse_is_said_once_and_its_epochs_are_not_the_best(monkeypatch, tmp_path):
    monkeypatch.setattr(adversarial, "EARLY", 0)
    found = iter([1.0, 0.8, 0.2, 0.1, 0.9])  # of the real pictures, then of each epoch
    monkeypatch.setattr(adversarial, "variety", lambda made: next(found))
    heard = Heard()
    run = play(model(), blobs(), out=tmp_path / "run", progress=heard, **{**SHORT, "epochs": 4})
    said = [line for line in heard.lines if line.startswith("collapse")]
    assert len(said) == 1 and "epoch 2" in said[0] and "nearly the same picture" in said[0]
    assert said[0] in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert [row["collapsed"] for row in run.history] == [0, 1, 1, 0]
    assert run.best == 0.9


def test_a_generator_that_never_fools_has_lost(monkeypatch):
    network, heard = model(), Heard()
    sure = lambda self, real, made: 0 * self.judge(real).sum() + 0.001  # noqa: E731
    monkeypatch.setattr(type(network), "discriminator_loss", sure)
    play(network, blobs(), progress=heard, **{**SHORT, "epochs": 4})
    assert not any(line.startswith("collapse") for line in heard.lines)  # it is early
    monkeypatch.setattr(adversarial, "EARLY", 8)
    run = play(network, blobs(), progress=heard, **{**SHORT, "epochs": 5})
    said = [line for line in heard.lines if line.startswith("collapse")]
    assert len(said) == 1 and "epoch 3" in said[0] and "never fooled" in said[0]
    assert [row["collapsed"] for row in run.history] == [0, 0, 1, 1, 1]


def test_validation_chooses_the_best_epoch_where_there_is_one():
    scores = iter([3.0, 5.0, 4.0])
    run = play(model(), blobs(), progress=Silent(), evaluate=lambda network, data: {"score": next(scores)}, **SHORT)
    assert (run.metric, run.best) == ("score", 5.0)
    assert list(run.history[0])[-3:] == ["score", "variety", "collapsed"]


def test_a_loss_that_is_not_finite_ends_the_run_with_a_remedy(monkeypatch):
    network = model()
    monkeypatch.setattr(type(network), "generator_loss", lambda self, made: self.judge(made).mean() / 0)
    with pytest.raises(SiseonError, match=r"broke down in step 1: .*Take a lower lr"):
        play(network, blobs(), **SHORT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"imgsz": 32}, "16 pixels, not of 32"), ({"precision": "fp16"}, "fp16"), ({"mixup": 0.2}, "learn labels")],
)
def test_settings_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(RecipeError, match=said):
        play(model(), blobs(), **{**SHORT, **changes})


def test_data_or_models_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="no training pictures"):
        play(model(), Data("점", "classification", ("점",), {"val": Blobs()}), **SHORT)
    with pytest.raises(RecipeError, match="no generator"):
        play(zoo.create("lenet"), blobs(), **SHORT)
