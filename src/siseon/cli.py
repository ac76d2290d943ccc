"""The command line: `siseon COMMAND ...`. siseon.commands says what each does; here it is called, and faults end.

Exit codes: 0 done; 1 a fault of siseon itself; 2 a fault that the user can mend, in one line with its remedy;
130 Ctrl-C; 143 SIGTERM. `--debug` shows the traceback instead. `epochs=10` is taken for `--epochs 10`.
"""

from __future__ import annotations

import difflib
import errno
import inspect
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any, NoReturn

HELP = """usage: siseon COMMAND ...

The landmarks of convolutional vision, running.

  siseon demo                                        train a detector on drawn scenes and look at what it finds
  siseon train faster_rcnn --data FOLDER             train on your pictures (VOC, COCO, YOLO, folders, masks)
  siseon train --resume RUN                          go on where a run stopped
  siseon predict RUN PHOTO ...                       find things in pictures; folders and patterns too
  siseon sample RUN --count 64 --seed 0              pictures that a trained generator makes (train dcgan)
  siseon style CONTENT STYLE                         a photo painted in the style of a picture
  siseon portrait PHOTO ...                          blur what is behind the people, or behind --class dog
  siseon describe PHOTO ... [--camera 0] [--speak]   say what is where, in Korean or English
  siseon propose PHOTO ...                           where objects may be, by Selective Search
  siseon evaluate RUN --data FOLDER                  how good is it: AP or IoU, confusion, pictures
  siseon compare ssd yolo retinanet --data FOLDER    the same minutes for each: accuracy, speed by stage, size
  siseon search                                      architectures for digits: at random, and by evolution
  siseon blur PHOTO|VIDEO|FOLDER OUT --model RUN     faces and number plates made unrecognisable
  siseon play breakout_mini                          a network learns a game by playing it, and shows how well
  siseon models                                      what there is to train
  siseon inspect vgg16                               every layer: sizes, parameters, memory, MACs, receptive field
  siseon inspect RUN PHOTO                           what it sees: feature maps, Grad-CAM, occlusion
  siseon export RUN --to onnx                        for other programs; --int8 for a quarter of the size
  siseon check FOLDER                                what is wrong with a data set
  siseon convert FOLDER --to coco --out NEW          from one format to another
  siseon checks                                      what is in use here: versions, processor, fast paths, extras

siseon COMMAND --help tells the options of a command. --debug, anywhere, shows where an error comes from."""

IDLE_TURNS = "10000"
"""How often an idle thread of GNU OpenMP looks for work before it sleeps. Left to itself it looks for milliseconds, on
a processor that our own threads (threads.py) need; the variable is read when torch is loaded."""

COMMANDS = {
    **dict.fromkeys(("train", "evaluate", "compare", "search", "demo"), "training"),
    **dict.fromkeys(("predict", "portrait", "propose", "inspect", "models"), "pictures"),
    "describe": "describing",
    **dict.fromkeys(("check", "convert"), "datasets"),
    **dict.fromkeys(("sample", "style"), "generation"),
    **dict.fromkeys(("play", "blur"), "action"),
    "export": "exporting",
    "checks": "surroundings",
}
"""Command -> the module of siseon.commands that has it."""


class Terminated(BaseException):
    """SIGTERM came."""


class Notes(logging.Handler):
    """Says what the library has to remark, one line each, but not without end."""

    LIMIT = 20

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Say a remark on stderr."""
        self._said += 1
        if self._said <= self.LIMIT:
            print(f"note: {_one_line(record.getMessage())}", file=sys.stderr)
        if self._said == self.LIMIT:
            print("note: there are more like these; a run keeps all of them in its log.txt", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code. arguments: sys.argv[1:] if left out."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show Hangul must not end the run
    os.environ.setdefault("GOMP_SPINCOUNT", IDLE_TURNS)
    signal.signal(signal.SIGTERM, _on_sigterm)
    logging.getLogger("siseon").handlers = [Notes()]
    try:
        sys.exit(_run(words))
    except (Exception, KeyboardInterrupt, Terminated) as fault:
        if debug:
            raise
        sys.exit(_report(fault))


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if words[0] == "--version":
        print(f"siseon {version('siseon')}")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1, 0.4)
        say_error(f'there is no command "{command}"', f"Did you mean {near[0]}?" if near else "See siseon --help.")
        return 2
    return _call(command, rest)


def _call(command: str, words: list[str]) -> int:
    import tyro

    function = getattr(import_module(f"siseon.commands.{COMMANDS[command]}"), command)
    marks = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    options = _as_options(words, function)
    if "given" in inspect.signature(function).parameters:
        function = partial(function, given=_given(options))
    result: Any = tyro.cli(function, prog=f"siseon {command}", args=options, config=marks)
    return int(result or 0)


def _given(options: list[str]) -> frozenset[str]:
    """The names of the options that are said, which their values do not tell: one may be said to be the usual one."""
    said = [word.removeprefix("--").partition("=")[0] for word in options if word.startswith("--")]
    return frozenset(name.replace("-", "_") for name in said)


def _as_options(words: list[str], function: Callable[..., Any]) -> list[str]:
    """`epochs=10` as `--epochs 10` where epochs is an option; other words, such as a file name with =, stay."""
    from siseon.training.recipe import Recipe

    names = set(inspect.signature(function).parameters)
    names |= set(Recipe.model_fields) if "recipe" in names else set()
    found: list[str] = []
    of_the_model = False  # behind --options stand arguments of the model, which may be called like ours
    for word in words:
        of_the_model = word == "--options" if word.startswith("--") else of_the_model
        match = re.fullmatch(r"([a-z]\w*)=(.*)", word, re.DOTALL)
        if match and match[1] in names and not of_the_model:
            values = match[2].split(",") if match[1] == "scale" else [match[2]]
            found += [f"--{match[1].replace('_', '-')}", *values]
        else:
            found.append(word)
    return found


def say_error(problem: str, remedy: str) -> None:
    """One line what is wrong, one line what to do, on stderr."""
    print(f"error: {_one_line(problem)}", file=sys.stderr)
    if remedy:
        print(f"remedy: {_one_line(remedy)}", file=sys.stderr)


def _report(fault: BaseException) -> int:
    """Say what happened in a line or two; the exit code."""
    if isinstance(fault, KeyboardInterrupt):
        say_error("stopped by Ctrl-C", "")
        return 130
    if isinstance(fault, Terminated):
        say_error("stopped by SIGTERM", "")
        return 143
    if isinstance(fault, BrokenPipeError):  # siseon models | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer goes nowhere
        return 0
    problem, remedy, code = _explained(fault)
    say_error(problem, remedy)
    return code


def _explained(fault: BaseException) -> tuple[str, str, int]:
    """(problem, remedy, exit code)."""
    if isinstance(fault, OSError):
        return _of_the_disk(fault)
    if isinstance(fault, MemoryError) or "out of memory" in str(fault) or "can't allocate memory" in str(fault):
        return "not enough memory", "Take a smaller --batch or smaller pictures (--imgsz).", 2
    from siseon.interface import SiseonError

    if isinstance(fault, SiseonError):
        return fault.problem, fault.remedy, getattr(fault, "exit_code", 2)
    remedy = "This is a fault of siseon: run it again with --debug and report what it prints."
    return f"{type(fault).__name__}: {fault}", remedy, 1


def _of_the_disk(fault: OSError) -> tuple[str, str, int]:
    file = f"{fault.filename}: " if fault.filename else ""
    if fault.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return f"{file}the disk is full", "Make room, or write elsewhere with --out.", 2
    return f"{file}{fault.strerror or fault}", "Check the path, its permissions and the disk.", 2


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _on_sigterm(number: int, frame: object) -> NoReturn:
    raise Terminated
