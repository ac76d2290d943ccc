"""`siseon search`: random search and regularised evolution over NASNet's cells, side by side, and what they found.

`siseon search --data digits --epochs 1 --minutes 4`, one core of an AMD EPYC, seed 0, 2026-11-22: 27 networks drawn at
random, best 0.845, mean 0.636 of the validation digits; 29 of evolution, 17 of them bred, best 0.895, mean 0.735.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from torch import nn

from siseon import zoo
from siseon.data.dataset import Data
from siseon.drawing import use_hangul_in_plots
from siseon.evaluation import validate
from siseon.training.architecture_search import Candidate, Genotype, Method, SearchResult, search
from siseon.training.recipe import Recipe

MODEL = "nasnet_mini"
COLUMNS = ("method", "candidate", "parent", "score", "parameters", "seconds", "normal", "reduction")


def search_cells(
    data: Data,
    out: Path,
    *,
    methods: Sequence[Method] = ("random", "evolution"),
    minutes: float = 5.0,
    candidates: int | None = None,
    epochs: int = 2,
    seed: int = 0,
) -> list[SearchResult]:
    """Search with each method for the same minutes, and leave search.csv, search.png and best.json in the folder `out`.

    minutes and candidates: of each method; epochs: how long each candidate is trained. best.json has the cells of the
    best network, as NASNet's arguments `normal` and `reduction`, and the command that trains it for longer.
    """
    out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(epochs=epochs, batch=32, optimizer="adamw", lr=0.003, brightness=0, contrast=0, saturation=0, hue=0)

    def build(genotype: Genotype) -> nn.Module:
        return zoo.create(MODEL, classes=data.classes, **_arguments(genotype))

    results = []
    for method in methods:
        print(f"{method} search, {minutes:g} minutes")
        results.append(
            search(
                data,
                build=build,
                minutes=minutes,
                candidates=candidates,
                seed=seed,
                method=method,
                recipe=recipe,
                evaluate=validate,
            )
        )
        _write(results, data, out)
    return results


def said(results: Sequence[SearchResult]) -> str:
    """A line for each method: how many networks, the best and the mean score."""
    lines = []
    for result in results:
        scores = [candidate.score for candidate in result.history]
        mean = sum(scores) / len(scores)
        lines.append(
            f"{result.method:10} {len(scores):4} networks, best {max(scores):.4f}, mean {mean:.4f}; "
            f"the best has {result.best.parameters:,} parameters"
        )
    return "\n".join(lines)


def _arguments(genotype: Genotype) -> dict[str, object]:
    return {"normal": genotype.normal.plan(), "reduction": genotype.reduction.plan()}


def _write(results: Sequence[SearchResult], data: Data, out: Path) -> None:
    with (out / "search.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for result in results:
            for number, each in enumerate(result.history, 1):
                writer.writerow((result.method, number, *_row(each)))
    best = max((result.best for result in results), key=lambda candidate: candidate.score)
    cells = _arguments(best.genotype)
    options = [f"{name}={json.dumps(plan, separators=(',', ':'))}" for name, plan in cells.items()]
    command = shlex.join(["siseon", "train", MODEL, "--data", data.name, "--options", *options])
    facts = {"score": best.score, "parameters": best.parameters, **cells, "train it for longer": command}
    (out / "best.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _plot(results, out / "search.png")


def _row(candidate: Candidate) -> tuple[object, ...]:
    parent = "" if candidate.parent is None else candidate.parent + 1
    cells = (json.dumps(plan) for plan in _arguments(candidate.genotype).values())
    return parent, round(candidate.score, 5), candidate.parameters, round(candidate.seconds, 2), *cells


def _plot(results: Sequence[SearchResult], path: Path) -> None:
    """Every network as a dot, the best so far as a line."""
    from matplotlib.figure import Figure

    use_hangul_in_plots()
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for result, shade in zip(results, ("tab:gray", "tab:blue"), strict=False):
        scores = [candidate.score for candidate in result.history]
        numbers = range(1, len(scores) + 1)
        axes.scatter(numbers, scores, s=14, color=shade, alpha=0.5)
        axes.step(numbers, list(accumulate(scores, max)), where="post", color=shade, label=result.method)
    axes.set_xlabel("networks tried · 시험한 신경망")
    axes.set_ylabel("validation score · 검증 점수")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
