"""What `make demo` runs: a detector is trained from nothing on drawn scenes, and shows what it finds. Offline.

The scenes are drawn shapes and real handwritten digits on photographs (data/scenes.py). The last picture is none of
them: the Greek coins of Pompeii that scikit-image ships, a photograph in which every object is a circle to somebody
who knows only shapes.
"""

from __future__ import annotations

import html
import math
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import cast

from siseon import pictures
from siseon.data.open_data import open_data
from siseon.data.scenes import Scenes
from siseon.evaluation import Evaluation, Model, evaluate, validate
from siseon.interface import DataError
from siseon.prediction import drawn, summary
from siseon.training.fit import fit
from siseon.training.recipe import Recipe
from siseon.weights import build, load

MODEL = "faster_rcnn_mini"
RECIPE = Recipe(
    model=MODEL,
    data="scenes",
    epochs=100,
    batch=4,
    workers=1,
    optimizer="adamw",
    lr=0.002,
    scale=(1.0, 1.0),
    brightness=0,
    contrast=0,
    saturation=0,
    hue=0,
)
"""For a few passes over many scenes: AdamW learns faster than SGD at first; changed pictures would only cost time."""
AIM = 0.80
"""The AP50 on the test scenes that the demo should reach."""
MARK = ".siseon-demo"
"""The file that says that a folder is a demo's, to be replaced by the next."""
SCENES = 8
"""How many fresh scenes are shown."""


def demo(out: Path, *, seed: int = 0, minutes: float = 2.3, say: Callable[[str], None] = print) -> Evaluation:
    """Train, evaluate, predict; leave all in the folder `out` and say what is where.

    An earlier demo there is replaced. Raises DataError where the folder has other things in it.
    """
    start = perf_counter()
    _make_room(out)
    data = open_data("scenes")
    say(f"1. Training {MODEL} for {minutes:g} minutes on {len(data.train)} drawn scenes of {', '.join(data.classes)}")
    recipe = RECIPE.changed(seed=seed, minutes=minutes)
    fit(build(MODEL, classes=data.classes), data, out=out / "run", recipe=recipe, evaluate=validate)
    model = cast(Model, load(out / "run"))
    say(f"2. Evaluating on {len(data.test)} scenes that it has never seen")
    evaluation = evaluate(model, data, out=out / "test")
    say(evaluation.table())
    say("3. Finding things in fresh scenes and in a photograph")
    shown = show(model, out / "pictures", seed=seed + 1)
    minutes_taken = (perf_counter() - start) / 60
    (out / "index.html").write_text(page(evaluation, shown, minutes_taken), encoding="utf-8")
    say(verdict(evaluation))
    say(f"Done in {minutes_taken:.1f} minutes. Open {out / 'index.html'}; the pictures are in {out / 'pictures'},")
    say(f"figures in {out / 'test' / 'metrics.json'}, the model and its losses in {out / 'run'}.")
    say(f"Try it on a picture of yours: siseon predict {out / 'run'} PHOTO")
    return evaluation


def _make_room(out: Path) -> None:
    """An empty folder; only what an earlier demo made is taken away."""
    if (out / MARK).exists():
        shutil.rmtree(out)
    elif out.exists() and any(out.iterdir()):
        raise DataError(f"{out} has other things in it than a demo", "Name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def show(model: Model, out: Path, *, seed: int) -> dict[str, str]:
    """Draw what the model finds in fresh scenes and in the photograph of coins: file name -> what was found."""
    fresh = Scenes("test", SCENES, seed=seed)
    coins = files("skimage").joinpath("data", "coins.png")
    shown = {f"scene-{number + 1}.png": fresh.picture(number) for number in range(SCENES)}
    shown["coins.png"] = pictures.read(str(coins))
    found = {}
    for name, picture in shown.items():
        (prediction,) = model.predict([picture], score=0.5, batch=1)
        pictures.write(drawn(picture, prediction), out / name)
        found[name] = summary(prediction)
    return found


def verdict(evaluation: Evaluation) -> str:
    """The result in a sentence, also when it is not good."""
    value = evaluation.metrics["AP50"]
    if math.isnan(value) or value < AIM:
        return (
            f"AP50 {value:.3f}: below the aim of {AIM:.2f}. More time helps on a slow machine: siseon demo --minutes 5"
        )
    return f"AP50 {value:.3f} (the aim is {AIM:.2f})"


def page(evaluation: Evaluation, shown: dict[str, str], minutes: float) -> str:
    """One plain page with the figures and the pictures; it needs no network."""
    cards = "\n".join(
        f'<figure><img src="pictures/{html.escape(name)}" alt="{html.escape(found)}"><figcaption>{html.escape(found)}'
        f"</figcaption></figure>"
        for name, found in shown.items()
    )
    links = {
        "test/examples.png": "truth and prediction / 정답과 예측",
        "test/worst.png": "the worst mistakes / 가장 크게 틀린 그림",
        "test/precision_recall.png": "precision and recall / 정밀도와 재현율",
        "test/confusion.png": "confusion / 혼동 행렬",
        "run/losses.png": "losses / 손실",
    }
    items = "\n".join(f'<li><a href="{target}">{text}</a></li>' for target, text in links.items())
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>siseon demo</title>
<style>
body {{ font-family: system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
main {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; width: 20rem; }}
img {{ width: 100%; }}
</style>
<h1>siseon demo</h1>
<p>{MODEL}, trained from nothing in {minutes:.1f} minutes in all. {html.escape(verdict(evaluation))}.</p>
<p lang="ko">아무것도 모르는 상태에서 학습한 검출기가 처음 보는 그림에서 찾은 것들입니다.</p>
<main>
{cards}
</main>
<ul>
{items}
</ul>
<pre>{html.escape(evaluation.table())}</pre>
</html>
"""
