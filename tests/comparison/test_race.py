"""The race itself, with models of a moment: what it leaves, how it goes on, what it forgives."""

import json
import math
import signal
from dataclasses import replace

import pytest

from siseon import cli, compare, weights
from siseon.comparison import measurement, race, settings
from siseon.comparison.progress import BETWEEN, Standing, clock
from siseon.data.dataset import Data
from siseon.data.digits import CLASSES, Digits
from siseon.data.scenes import CLASSES as SHAPES
from siseon.data.scenes import Scenes
from siseon.data.semantic import painted
from siseon.interface import DataError, RecipeError
from siseon.training.progress import Silent
from siseon.training.recipe import Recipe

MOMENT = {"minutes": 0.001, "batch": 4, "workers": 0}


class Few:
    """The first pictures of a data set."""

    def __init__(self, whole, count):
        self.whole, self.count = whole, count
        self.task, self.classes = whole.task, whole.classes

    def __len__(self):
        return self.count

    def annotation(self, index):
        return self.whole.annotation(index)

    def picture(self, index):
        return self.whole.picture(index)

    def semantic(self, index):
        return self.whole.semantic(index)


DATA = Data("digits", "classification", CLASSES, {name: Few(Digits(name), 12) for name in ("train", "val", "test")})


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a race on a few digits; gives it, and what was said."""
    monkeypatch.setattr(measurement, "peak_megabytes", lambda run, photo: 1.0)
    said = []

    def call(*models, data=DATA, drawn=False, **more):
        said.clear()
        if not drawn:  # most of the time goes into pictures
            monkeypatch.setattr(race, "write", lambda *given: None)
            monkeypatch.setattr("siseon.report.write", lambda *given: None)
            monkeypatch.setattr("siseon.training.records.plot", lambda rows: b"")
        more = MOMENT | {"out": tmp_path / "race", "photos": 3} | more
        return compare(models, data, say=said.append, progress=Silent, **more)

    call.said = said
    return call


@pytest.fixture
def trainings(monkeypatch):
    """The names of the models that are trained or gone on with."""
    names = []
    for verb in ("fit", "resume"):
        original = getattr(race, verb)

        def noted(first, *args, verb=verb, original=original, **more):
            names.append(f"{verb} {first.name if verb == 'resume' else first.spec['name']}")
            return original(first, *args, **more)

        monkeypatch.setattr(race, verb, noted)
    return names


def test_a_race_of_classifiers(run, trainings, tmp_path):
    comparison = run("mlp_mini", "lenet")
    assert trainings == ["fit mlp_mini", "fit lenet"]
    assert [r.model for r in comparison.finished] == ["mlp_mini", "lenet"]
    for result in comparison.finished:
        assert 0 <= result.figure("accuracy") <= 1 and len(result.without["accuracy"]) == 10
        assert set(result.stages) == {"preparation", "features", "rest"} and result.milliseconds > 0
        assert result.parameters > 10_000 and result.macs > 10_000 and result.peak == 1.0
        assert (tmp_path / "race" / result.model / "best.safetensors").exists()
    assert any("the fastest" in line or "equally fast" in line for line in run.said)
    assert any(line.startswith("mlp_mini (1 of 2)") for line in run.said)

    trainings.clear()
    again = run("mlp_mini", "lenet", "deep_digits_mini")
    assert trainings == ["fit deep_digits_mini"]
    assert again.results[0].figures == comparison.results[0].figures
    assert json.loads((tmp_path / "race" / "race.json").read_text())["models"][-1] == "deep_digits_mini"


def test_the_same_seed_trains_on_the_same_recipe(run, tmp_path):
    run("lenet", "mlp_mini", seed=3)
    one, two = (Recipe.from_toml(tmp_path / "race" / name / "recipe.toml") for name in ("lenet", "mlp_mini"))
    assert one.changed(model="") == two.changed(model="")
    assert one.seed == 3 and one.minutes == 0.001 and one.scale == (1.0, 1.0)


def test_a_model_may_have_settings_of_its_own(run, tmp_path):
    own = {"mlp_mini": {"lr": 0.01, "options": {"hidden": [9, 5]}}}
    comparison = run("lenet", "mlp_mini", own=own)
    assert comparison.own == own and comparison.results[1].parameters < 10_000
    one, two = (Recipe.from_toml(tmp_path / "race" / name / "recipe.toml") for name in ("lenet", "mlp_mini"))
    assert (one.lr, two.lr) == (None, 0.01)
    assert one.changed(model="") == two.changed(model="", lr=None, options={})
    assert run("mlp_mini", "lenet", own={"mlp_mini": {"options": {"hidden": (9, 5)}, "lr": 0.01}}).finished
    with pytest.raises(RecipeError, match=r"holds a race with mlp_mini: .*0\.01.*, not "):
        run("mlp_mini", own={"mlp_mini": {"lr": 0.02}})


def test_the_data_is_found_again_from_another_folder(run, monkeypatch, tmp_path):
    monkeypatch.setattr(race, "open_data", lambda path, task=None: DATA)
    monkeypatch.chdir(tmp_path)
    run("mlp_mini", data="pictures")
    assert Recipe.from_toml(tmp_path / "race" / "recipe.toml").data == str(tmp_path / "pictures")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert race.go_on(tmp_path / "race", say=run.said.append).finished
    assert settings.lasting("scenes") == "scenes"


def test_a_model_that_fails_is_reported_and_tried_again(run, trainings, monkeypatch, tmp_path):
    build = weights.build

    def broken(name, **given):
        if name == "lenet":
            raise ValueError("no\nluck")
        return build(name, **given)

    monkeypatch.setattr(weights, "build", broken)
    comparison = run("lenet", "mlp_mini")
    assert [r.failure for r in comparison.results] == ["ValueError: no luck", ""]
    assert "lenet did not finish: ValueError: no luck" in run.said
    assert "Traceback" in (tmp_path / "race" / "lenet" / "fault.txt").read_text()
    monkeypatch.setattr(weights, "build", build)
    trainings.clear()
    assert not run("lenet", "mlp_mini").failed
    assert trainings == ["fit lenet"]


def test_a_model_that_fails_in_a_prediction_is_reported(run, monkeypatch):
    from siseon.models.classification.lenet import LeNet

    run("lenet", "mlp_mini")
    monkeypatch.setattr(LeNet, "predict", lambda self, *args, **more: [][0])
    comparison = run("lenet", "mlp_mini")
    assert [r.model for r in comparison.failed] == ["lenet"] and "IndexError" in comparison.failed[0].failure
    assert comparison.finished[0].milliseconds > 0


class Interrupting(Silent):
    """Ctrl-C at the first step."""

    def step(self, epoch, **more):
        signal.raise_signal(signal.SIGINT)


def test_a_stopped_race_goes_on_where_it_was(run, trainings, monkeypatch, tmp_path):
    folder = tmp_path / "race"
    run("mlp_mini")
    with pytest.raises(race.Stopped, match=f"siseon compare --resume {folder}") as stop:
        compare(["mlp_mini", "lenet"], DATA, out=folder, photos=3, say=print, progress=Interrupting, **MOMENT)
    assert stop.value.exit_code == 130
    assert (folder / "lenet" / "manifest.json").exists() and not (folder / "lenet" / "result.json").exists()
    trainings.clear()
    monkeypatch.setattr(race, "open_data", lambda path, task: DATA)
    comparison = race.go_on(folder, say=run.said.append)
    assert trainings == ["resume lenet"]
    assert [r.model for r in comparison.finished] == ["mlp_mini", "lenet"]


def test_ctrl_c_between_the_trainings(run, monkeypatch):
    monkeypatch.setattr(race, "evaluate", lambda *args, **more: signal.raise_signal(signal.SIGINT))
    with pytest.raises(race.Stopped, match="everything is saved"):
        run("mlp_mini")


def test_detectors(run, tmp_path):
    scenes = {name: Few(Scenes(name), 4) for name in ("train", "val", "test")}
    data = Data("scenes", "detection", Scenes("train").classes, scenes)
    (result,) = run("mask_rcnn", data=data, batch=2, imgsz=64, drawn=True).results
    assert result.failure == "" and result.name == "mask_rcnn" and result.model == "mask_rcnn_mini"
    assert "mask_AP50" in result.figures and result.figure("objects_small") > 0
    assert list(result.stages)[:3] == ["preparation", "features", "proposals"]
    assert list(result.without) == ["AP50", "AP_small"] and result.score in race.SCORES
    assert result.macs > 1e6
    assert (tmp_path / "race" / "index.html").exists()
    assert (tmp_path / "race" / "mask_rcnn_mini" / "test" / "metrics.json").exists()


def test_segmenters(run):
    scenes = painted(Data("scenes", "detection", SHAPES, {name: Scenes(name) for name in ("train", "val", "test")}))
    data = replace(scenes, splits={name: Few(dataset, 4) for name, dataset in scenes})
    comparison = run("fcn", "segnet", data=data, batch=2, imgsz=64)
    assert [(r.model, r.failure) for r in comparison.results] == [("fcn_mini", ""), ("segnet_mini", "")]
    assert comparison.main == "mean_IoU" and comparison.classes[0] == "background"
    for result in comparison.results:
        assert set(result.stages) == {"preparation", "features", "selection", "rest"}
        assert set(result.per_class) == set(comparison.classes)
        known = [value for value in result.per_class.values() if not math.isnan(value)]
        assert sum(known) / len(known) == pytest.approx(result.figure("mean_IoU"))
        assert len(result.without["mean_IoU"]) == 4 and result.macs > 1e6
    assert any("IoU by class" in line for line in run.said)


MISTAKES = [
    ((["lenet"], {"minutes": 0}), RecipeError, "minutes = 0"),
    ((["lenet"], {"photos": 0}), RecipeError, "photos = 0"),
    ((["lenett"], {}), RecipeError, 'Did you mean "lenet"'),
    (([], {}), RecipeError, "no model is named"),
    ((["lenet"], {"own": {"mlp_mini": {"lr": 1}}}), RecipeError, "mlp_mini has settings of its own and is not in"),
    ((["lenet"], {"own": {"lenet": {"lrr": 1}}}), RecipeError, "Did you mean lr"),
    ((["lenet"], {"data": "nowhere"}), DataError, "nowhere"),
    ((["faster_rcnn_mini"], {}), DataError, "the data digits for classification"),
    ((["lenet"], {"data": Data("digits", "classification", CLASSES, {"train": DATA.train})}), DataError, "test"),
]


@pytest.mark.parametrize(("given", "fault", "said"), MISTAKES, ids=[said for _, _, said in MISTAKES])
def test_mistakes_are_found_before_anything_is_made(run, tmp_path, given, fault, said):
    models, more = given
    with pytest.raises(fault, match=said):
        run(*models, **more)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_holds_one_race(run, tmp_path):
    run("mlp_mini")
    with pytest.raises(RecipeError, match=r"holds a race with seed = 0, not 1"):
        run("mlp_mini", seed=1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(RecipeError, match="other things"):
        run("mlp_mini", out=other)
    with pytest.raises(RecipeError, match="holds no race"):
        race.go_on(other)


@pytest.mark.parametrize(("length", "count", "places"), [(10, 5, [0, 2, 4, 6, 8]), (3, 9, [0, 1, 2]), (0, 4, [])])
def test_evenly_chosen(length, count, places):
    assert race.evenly(length, count) == places


# --- progress -----


def test_progress_says_what_is_left_of_the_race(monkeypatch):
    said, now = [], [0.0]

    class Inner(Silent):
        def step(self, epoch, **more):
            said.append(epoch)

        def epoch(self, line):
            said.append(line)

    monkeypatch.setattr("siseon.comparison.progress.time.monotonic", lambda: now[0])
    standing = Standing(Inner(), model="ssd_mini", minutes=5, left=600)
    standing.step("3/100000", share=0.5, losses={}, pictures=4)
    standing.epoch("epoch 3/100000  step 9")
    standing.epoch("the epochs are over")
    now[0] = BETWEEN
    standing.epoch("epoch 4/100000  step 12")
    assert said == ["3 of ssd_mini, race 12 min left", "ssd_mini: the epochs are over", "ssd_mini: epoch 4  step 12"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(-3, "0 s"), (40.4, "40 s"), (89, "89 s"), (300, "5 min"), (5400, "1 h 30 min")]
)
def test_times_as_people_say_them(seconds, said):
    assert clock(seconds) == said


# --- the command -----


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lenet"], ("the data to compare on is missing", "--data")),
        (["lenet", "--data", "digits", "minutes=0"], ("minutes = 0",)),
        (["--data", "digits"], ("no model is named",)),
        (["faster_rccn", "--data", "scenes"], ('no model "faster_rccn"', '"faster_rcnn')),
        (["lenet", "faster_rcnn", "--data", "scenes"], ("they cannot be compared",)),
        (["--resume", "nowhere"], ("nowhere holds no race",)),
    ],
)
def test_mistakes_on_the_command_line(words, named, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", *words])
    signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().err
    assert end.value.code == 2 and all(part in said for part in named)
    assert [line.split(":")[0] for line in said.splitlines()] == ["error", "remedy"]
    assert list(tmp_path.iterdir()) == []


def test_the_command_runs_a_race(run, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(race, "open_data", lambda path, task: DATA)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("siseon.report.write", lambda *given: None)
    words = ["compare", "mlp_mini", "--data", "digits", "minutes=0.001", "--photos", "2", "--lang", "ko"]
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    signal.signal(signal.SIGTERM, before)
    said = capsys.readouterr().out
    assert end.value.code == 0 and "runs/compare-1/index.html" in said.replace("\\", "/")
    assert "가장 오래 걸리는 단계는" in said and "longest" not in said
