"""Commands about data sets: check, convert."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from siseon.commands.output import progress


def check(data: Positional[str], *, json: bool = False) -> int:
    """Read a whole data set and say what is in it and what is wrong with it; exit code 2 if it cannot be used.

    Args:
        data: folder or file of the data set, or scenes, or digits
        json: as JSON
    """
    from siseon.data.check import check as examine

    with progress(f"reading {data}") as done:
        report = examine(data, done)
    print(json_format.dumps(report.to_json(), ensure_ascii=False, indent=1) if json else report.to_text())
    return 0 if report.usable else 2


def convert(
    data: Positional[str],
    *,
    to: Literal["voc", "coco", "yolo", "folder", "masks", "colours", "panoptic"],
    out: Path,
) -> None:
    """Write a data set in another format; class names, boxes and maps stay what they are.

    masks, colours and panoptic hold the class of each pixel, of maps or of objects with shapes.

    Args:
        data: folder or file of the data set, or scenes, or digits
        to: the format to write; masks: indices as PNG, colours: a colour for each class, panoptic: COCO's
        out: folder to make
    """
    from siseon.data.convert import MAPS
    from siseon.data.convert import convert as write
    from siseon.data.open_data import open_data

    with progress(f"writing {out}") as done:
        print(write(open_data(data, task="segmentation" if to in MAPS else None), to, out, done))
