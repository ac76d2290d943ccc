"""Where a command leaves its results, and what it shows while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path


@contextmanager
def results(out: Path | None, command: str) -> Iterator[Path]:
    """The folder `out`, or the first free one of runs/COMMAND-1, runs/COMMAND-2, ...; an empty one does not stay.

    Raises RecipeError where a file is in the way, before anything is done.
    """
    folder = out or next_folder(command)
    file = next((part for part in (folder, *folder.parents) if part.is_file()), None)
    if file is not None:
        from siseon.interface import RecipeError

        raise RecipeError(f"{file} is a file, not a folder", "Name another folder with --out")
    try:
        yield folder
    except BaseException:
        for made in (folder, Path("runs")) if out is None else (folder,):
            with suppress(OSError):  # it is not empty, or not there
                made.rmdir()
        raise


def next_folder(command: str) -> Path:
    """Make and return the first of runs/COMMAND-1, runs/COMMAND-2, ... that does not exist."""
    for number in count(1):
        folder = Path("runs") / f"{command}-{number}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while something is done, if that is a terminal; gives the function to call with (done, of)."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
