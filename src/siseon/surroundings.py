"""What siseon has to work with here: versions, processor, fast paths, optional packages, files in the cache."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from siseon.convolutions.vectors import HAS_BFLOAT16, LANES
from siseon.drawing import FONT
from siseon.optimization import has_operators
from siseon.training.preparation import device_of
from siseon.training.recipe import Recipe
from siseon.weights import PUBLISHED

EXTRAS = {
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "speech": ("espeakng-loader",),
    "atari": ("gymnasium", "ale-py"),
    "tensorboard": ("tensorboard",),
}
"""Optional part -> its packages, as in pyproject.toml."""


def surroundings() -> dict[str, str]:
    """What is looked at -> what was found, in a line each."""
    return {
        "siseon": f"{version('siseon')} in {Path(__file__).parent}",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} processors",
        "processor": ", ".join(features()),
        "device": f"{device_of(Recipe())} (auto)",
        "kernels": kernels(),
        "optimize": optimized(),
        **{f"extra {name}": extra(name) for name in EXTRAS},
        "font": f"{FONT.name}, Hangul" if FONT.is_file() else f"{FONT} is missing: install siseon again",
        "weights": published(),
    }


def features() -> Iterator[str]:
    """What of the processor torch uses."""
    yield torch.backends.cpu.get_cpu_capability()
    known = {
        "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported if has_operators() else None,
        "VNNI (int8)": getattr(torch.cpu, "_is_vnni_supported", None),
        "AMX": getattr(torch.cpu, "_is_amx_tile_supported", None),
    }
    for name, supported in known.items():
        if supported is not None:
            yield name if supported() else f"no {name}"


def kernels() -> str:
    """Whether NMS, RoIAlign and Selective Search run compiled."""
    try:
        from siseon.boxes import _kernels
    except Exception as fault:  # a numba that does not suit its numpy or llvmlite raises many kinds
        return f"numba cannot be used ({fault}): pip install --force-reinstall numba"
    if not hasattr(_kernels.nms, "py_func"):
        return "plain Python, slow: NUMBA_DISABLE_JIT is set"
    return f"compiled by numba {version('numba')}"


def optimized() -> str:
    """What `optimize` computes convolutions with."""
    if not has_operators():
        return "norms folded only: torch lacks oneDNN's operators"
    bfloat16 = "with" if HAS_BFLOAT16 else "without"
    return f"own convolutions on vectors of {LANES} numbers, {bfloat16} bfloat16; oneDNN's operators for the rest"


def extra(name: str) -> str:
    """The versions of the packages of an optional part, or how to get them."""
    found = []
    for package in EXTRAS[name]:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            return f"not installed: pip install siseon[{name}]"
    return ", ".join(found)


def published() -> str:
    """The folder of published weights, and which of them lie there."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    there = [f"{model} ({kind})" for (model, kind), file in PUBLISHED.items() if (folder / file).is_file()]
    return f"{folder}: {', '.join(there) or 'none yet'}"
