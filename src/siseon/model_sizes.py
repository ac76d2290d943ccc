"""Parameters and MACs of every model of the zoo, with its default classes and at its own picture size.

They are counted once and kept in names/models.csv, because building all models takes a while. A model whose row is
missing, or was counted with other arguments than the zoo has now, is counted anew. A detector that takes its boxes from
Selective Search is counted with as many of them as it takes at most. After a change of a model:

    python -m siseon.model_sizes              count what is missing or old and write the file
    python -m siseon.model_sizes --all        count everything anew
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table

from siseon import zoo
from siseon.inspection.table import table
from siseon.interface import SiseonError
from siseon.models.detection.proposals import Proposals

FIELDS = ("name", "parameters", "macs", "image_size", "arguments")


class Count(NamedTuple):
    """macs: of one picture of image_size x image_size; arguments: a digest of those of the zoo."""

    parameters: int
    macs: int
    image_size: int
    arguments: str


def rows(task: zoo.Task | None = None) -> list[dict[str, Any]]:
    """One {"name", "task", "parameters", "macs", "image_size", "year", "paper"} a model, of one task or of all."""
    known = kept()
    found = []
    for name in zoo.names(task):
        entry, size = zoo.ZOO[name], current(name, known)
        found.append(
            {
                "name": name,
                "task": entry.task,
                "parameters": size.parameters,
                "macs": size.macs,
                "image_size": size.image_size,
                "year": entry.year,
                "paper": entry.paper,
            }
        )
    return found


def text(found: Sequence[Mapping[str, Any]]) -> Table:
    """What `rows` gives, as a table for the terminal; of the paper only where it can be read."""
    lines = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("name", "task", "parameters", "MACs", "pixels", "year", "paper"):
        figure = head in ("parameters", "MACs", "pixels")
        # in a narrow terminal the paper is cut off
        least = None if head == "paper" else max(len(head), *(len(_cell(row, head)) for row in found))
        lines.add_column(head, justify="right" if figure else "left", no_wrap=True, min_width=least)
    for row in found:
        lines.add_row(*(_cell(row, str(column.header)) for column in lines.columns))
    return lines


def _cell(row: Mapping[str, Any], head: str) -> str:
    match head:
        case "parameters":
            return f"{row['parameters']:,}"
        case "MACs":
            power = next((power for power in (4, 3, 2) if row["macs"] >= 1000**power), 1)
            return f"{row['macs'] / 1000**power:.1f} {'kMGT'[power - 1]}"
        case "pixels":
            return str(row["image_size"])
        case "paper":
            return str(row["paper"]).rpartition(", ")[2]
    return str(row[head])


def current(name: str, known: Mapping[str, Count]) -> Count:
    """The kept count of a model if it is still that of the zoo, else a new one."""
    return known[name] if name in known and known[name].arguments == digest(name) else counted(name)


def kept() -> dict[str, Count]:
    """What names/models.csv holds."""
    try:
        lines = files("siseon").joinpath("names", "models.csv").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {
        row["name"]: Count(int(row["parameters"]), int(row["macs"]), int(row["image_size"]), row["arguments"])
        for row in csv.DictReader(lines)
    }


def counted(name: str) -> Count:
    """Build the model `name` without memory, with it where its forward needs real numbers, and count."""
    with torch.device("meta"):
        network = _created(name)
    if network.task == "generation":
        return _counted_players(network, digest(name))
    size, channels = input_of(network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    try:
        macs = table(network, size, channels=channels).totals.macs
    except (SiseonError, NotImplementedError):  # a detector that sorts its proposals
        macs = table(_created(name), size, channels=channels).totals.macs
    return Count(parameters, macs, size, digest(name))


def _counted_players(network: Any, digits: str) -> Count:  # noqa: ANN401
    """A generator's noise is maps of one cell; the MACs are of making one picture and judging it."""
    made = table(network.generator, 1, channels=network.latent)
    judged = table(network.discriminator, network.crop, channels=network.channels)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Count(parameters, made.totals.macs + judged.totals.macs, network.crop, digits)


def input_of(network: Any) -> tuple[int, int]:  # noqa: ANN401
    """The side of the picture that a model takes, and its channels, which for a player are the frames seen at once."""
    match network.task:
        case "classification" | "captioning":
            return network.crop, 3
        case "control":
            return network.size[0], network.frames
    return network.sizing.shorter, 3


def _created(name: str) -> Any:  # noqa: ANN401
    """A model with the same random weights each time; one with Selective Search gets all the boxes it can take.

    How many proposals of a region proposal network survive its NMS follows from the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = zoo.create(name)
    given = network.__dict__.get("proposals")
    if isinstance(given, Proposals):
        network.proposals = lambda images: [torch.tensor([[0.0, 0.0, 64.0, 64.0]]).expand(given.limit, 4)]
    return network


def digest(name: str) -> str:
    """Eight digits that change with the arguments of a model."""
    words = json.dumps(zoo.arguments(name), sort_keys=True, default=lambda value: type(value).__name__)
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def write(path: Path, *, anew: bool = False) -> None:
    """Write the file for all models of the zoo; anew: also what is known already."""
    known = {} if anew else kept()
    for name in zoo.names():
        if name not in known or known[name].arguments != digest(name):
            print(f"counting {name}", file=sys.stderr, flush=True)
            known[name] = counted(name)
            _save(path, known)
    _save(path, known)


def _save(path: Path, known: Mapping[str, Count]) -> None:
    lines = [",".join(FIELDS)]
    lines += [",".join(map(str, (name, *known[name]))) for name in zoo.names() if name in known]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).with_name("names") / "models.csv", anew="--all" in sys.argv[1:])
