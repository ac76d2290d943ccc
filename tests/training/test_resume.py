"""A run that is killed or stopped and gone on with is, to the bit, the run that was left alone."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import RECIPE, STEPS_OF_AN_EPOCH

OF_THE_CLOCK = {"pictures_per_second", "seconds"}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def figures(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [
            {name: value for name, value in row.items() if name not in OF_THE_CLOCK} for row in csv.DictReader(file)
        ]


def check_that_it_is_whole(folder, whole):
    """Weights and figures are equal to the bit, the manifest is true, nothing is left lying about."""
    for file in ("last.safetensors", "best.safetensors"):
        assert digest(folder / file) == digest(whole / file), f"{folder.name}: {file}"
    assert figures(folder) == figures(whole), folder.name
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}, folder.name
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["step"], manifest["epoch"]) == (2 * STEPS_OF_AN_EPOCH, RECIPE["epochs"])
    assert manifest["files"] == {file: digest(folder / file) for file in manifest["files"]}, folder.name
    assert (folder / "log.txt").read_text(encoding="utf-8").count("사진 6 is broken") == 1, folder.name


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_runs_that_were_killed_or_stopped_end_as_if_they_had_not_been(tmp_path):
    folder = tmp_path / "실행 폴더"
    program = Path(__file__).with_name("small_run.py")
    result = subprocess.run([sys.executable, program, folder], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    rows = figures(folder / "whole")
    assert [row["step"] for row in rows] == [str(STEPS_OF_AN_EPOCH), str(2 * STEPS_OF_AN_EPOCH)]
    broken = [path for path in folder.iterdir() if path.name != "whole"]
    assert len(broken) == 11
    for path in broken:
        check_that_it_is_whole(path, folder / "whole")
    said = [line for line in result.stdout.splitlines() if line.startswith("stopped")]
    assert [line.partition(";")[0] for line in said] == [
        *["stopped by SIGTERM after step 7"] * 2,
        "stopped by SIGINT after step 7",
        "stopped by SIGTERM after step 5",
    ]
    assert said[2].endswith(f'Go on with: siseon train --resume "{folder / "Ctrl-C at 7"}"')
