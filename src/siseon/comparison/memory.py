"""As a program, `python -m siseon.comparison.memory RUN PICTURE`: what a prediction takes in memory besides the model.

After a first prediction (of the negative), which loads what is loaded once, Linux forgets the highest mark of the
process; the mark after the second, less what was in use before it, is what a prediction takes. Elsewhere nothing is
said.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from siseon import pictures
from siseon.weights import load

PROCESS = Path("/proc/self")


def growth(work: Callable[[], object]) -> float:
    """By how many 10^6 bytes the memory of this process rises while `work` runs. Raises OSError where nobody knows."""
    (PROCESS / "clear_refs").write_text("5")  # the highest mark becomes what is in use
    before = _kilobytes("VmRSS")
    work()
    return max(_kilobytes("VmHWM") - before, 0) * 1024 / 1e6


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", (PROCESS / "status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"the system does not tell {name}")
    return int(found[1])


def main(run: str, picture: str) -> None:
    """Print {"megabytes": ...} for the model in a run folder and a picture."""
    model = load(run)
    photo = pictures.read(picture)
    predict: Callable[..., object] = model.predict  # type: ignore[assignment]
    predict([255 - photo], batch=1)
    print(json.dumps({"megabytes": growth(lambda: predict([photo], batch=1))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
