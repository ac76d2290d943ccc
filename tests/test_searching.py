"""The search from the command line: networks are tried, written down, and the best can be trained on."""

import csv
import json
import shlex

import numpy as np
import pytest

from siseon import zoo
from siseon.data.arrays import Arrays
from siseon.data.dataset import Data
from siseon.data.open_data import open_data
from siseon.interface import DataError
from siseon.searching import said, search_cells


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("검색")
    whole = open_data("digits").test
    images = np.stack([whole.picture(index) for index in range(40)])
    labels = np.array([whole.annotation(index).label for index in range(40)])
    few = {split: Arrays(split, whole.classes, images, labels) for split in ("train", "val")}
    data = Data("digits", "classification", whole.classes, few)
    return folder, search_cells(data, folder, minutes=1, candidates=1, epochs=1)


def test_what_is_left(found):
    folder, results = found
    assert [result.method for result in results] == ["random", "evolution"]
    with (folder / "search.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["candidate"]) for row in rows] == [("random", "1"), ("evolution", "1")]
    assert float(rows[0]["score"]) == pytest.approx(results[0].best.score, abs=1e-5)
    assert (folder / "search.png").stat().st_size > 5000
    assert said(results).count("1 networks") == 2


def test_the_best_can_be_built_from_its_command(found):
    folder, results = found
    facts = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    words = shlex.split(facts["train it for longer"])
    options = dict(word.split("=", 1) for word in words[words.index("--options") + 1 :])
    model = zoo.create(words[2], classes=10, **{name: json.loads(plan) for name, plan in options.items()})
    assert sum(parameter.numel() for parameter in model.parameters()) == facts["parameters"]
    assert facts["score"] == max(result.best.score for result in results)


def test_data_without_val_cannot_be_searched_on(tmp_path):
    data = open_data("digits")
    with pytest.raises(DataError, match="train and val"):
        search_cells(type(data)(data.name, data.task, data.classes, {"train": data.train}), tmp_path)
