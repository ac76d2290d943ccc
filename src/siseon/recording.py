"""A pass through a network, recorded once and repeated without Python, as the graphs of GPUs are.

Idea    A small network spends a third of its time between its kernels: in Python, in torch's dispatch, in memory that
        is asked for and given back. All of that is the same for each picture of a size: the same kernels on the same
        addresses.
Flow    the first pass of a shape runs as it is written -> the second too, while what it calls is written down, siseon's
        kernels (threads.py) and torch's operators, on memory that stays -> the third is done both ways -> from then on
        the first kernel is shown the pictures, all kernels run one after another, and the result is copied out
Here    What depends on numbers and not on shapes must not be recorded: an operator that reads numbers ends a recording,
        and so does a third pass of which the two ways differ by more than rounding. Such a network runs as it is
        written, and so does one that is busy in another thread, has new hooks, or is watched by a mode of torch.
        MobileNetV2, one picture: 3.8 ms where the same layers, called by Python, take 5.1 (least of 180 each, 2 cores).
"""

from __future__ import annotations

import copy
import ctypes
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sized
from threading import Lock
from typing import Any, TypeGuard

import numpy as np
import torch
from numba import carray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, is_in_torch_dispatch_mode
from torch.utils._pytree import tree_leaves

from siseon import threads
from siseon.convolutions import between
from siseon.convolutions.vectors import called, kernel, pointer
from siseon.interface import Images
from siseon.threads import RUNS, Shared

MOST_NUMBERS = 1 << 21
"""Of an input, 14 pictures of 224 pixels: with larger ones little lies between the kernels, and the memory is much."""

ROUNDING = 1e-4
"""Of the greatest number of a result."""

MOST_SHAPES = 4
"""Whose recordings are kept; each keeps the memory of a pass."""

OWN: dict[object, Callable[..., Tensor | None]] = {
    torch.ops.aten.mean.dim: between.mean,
    torch.ops.aten.mul.Tensor: between.mul,
    torch.ops.aten.max_pool2d.default: between.max_pool2d,
}
"""What siseon does itself, where it can, of torch's operators."""

MOST_OPERATORS = 0.3
"""Operators of torch to a kernel: their results have to be copied into their places, which costs more than Python."""

READS_NUMBERS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Repeated:
    """`forward` of a classifier (models/classification/classifier.py), from recordings."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401  a module with mean, deviation and logits
        self.network = network
        self.hooks: list[Sized] = []
        self.recordings: OrderedDict[object, Recording | None] = OrderedDict()  # None: seen once
        self.busy = Lock()
        self.possible = True

    def __call__(self, images: Images | Tensor) -> Tensor:
        """What the network's own `forward` gives, up to rounding."""
        if not self.possible or not is_plain(images) or not self.busy.acquire(blocking=False):
            return self.written(images)
        try:
            return self._repeated(images)
        finally:
            self.busy.release()

    def written(self, images: Images | Tensor) -> Tensor:
        """The pass as it is written in the network's class."""
        found: Tensor = type(self.network).forward(self.network, images)
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Repeated:
        return Repeated(copy.deepcopy(self.network, memo))

    def _repeated(self, images: Tensor) -> Tensor:
        if not self.hooks:
            modules = list(self.network.modules())
            self.hooks = [hooks for each in modules for hooks in (each._forward_hooks, each._forward_pre_hooks)]
        shape = (images.shape, torch.get_num_threads(), sum(map(len, self.hooks)))
        if shape not in self.recordings:
            self.recordings[shape] = None
            if len(self.recordings) > MOST_SHAPES:
                self.recordings.popitem(last=False)
            return self.written(images)
        self.recordings.move_to_end(shape)
        recording = self.recordings[shape]
        if recording is None:
            try:
                recording = Recording(self.network, images)
            except threads.NotRecordableError:
                self.possible = False
                return self.written(images)
            self.recordings[shape] = recording
            return recording.result()
        found = recording(images)
        if not recording.proved:
            expected = self.written(images)
            recording.proved = is_same(found, expected)
            if not recording.proved:
                self.possible = False
                self.recordings.clear()
                return expected
        return found


def suits(network: object) -> bool:
    """Whether this is a classifier that gives logits of pictures, normalised with its mean and deviation."""
    its_own = all(hasattr(network, name) for name in ("logits", "mean", "deviation"))
    return its_own and getattr(network, "task", None) == "classification"


def is_same(one: Tensor, two: Tensor) -> bool:
    """Whether two results differ by rounding only."""
    greatest = float(two.nan_to_num(posinf=0, neginf=0).abs().max())
    return torch.allclose(one, two, rtol=0, atol=ROUNDING * greatest, equal_nan=True)


def is_plain(images: Images | Tensor) -> TypeGuard[Tensor]:
    """Whether these are pictures whose pass may be repeated: numbers of a processor, that nobody watches."""
    return (
        isinstance(images, Tensor)
        and images.ndim == 4
        and images.shape[1] == 3
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and 0 < images.numel() <= MOST_NUMBERS
        and not (torch.is_grad_enabled() and images.requires_grad)
        and not is_in_torch_dispatch_mode()
        and not torch.compiler.is_compiling()
    )


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a pass over pictures of one shape calls, and the memory that it works on; Kernels come first."""

    def __init__(self, network: Any, images: Tensor) -> None:  # noqa: ANN401  as above
        super().__init__()  # type: ignore[no-untyped-call]
        self.memory = Memory()
        self.steps: list[Kernels | Operator] = []
        self.first = self.last = Kernels()
        self.proved = False
        with torch.inference_mode():
            images = images.contiguous()
            with self, threads.watched(self._kernel):
                self.output = network.logits(between.normalised(images, network.mean, network.deviation))
        kernels = [each for each in self.steps if isinstance(each, Kernels)]
        if MOST_OPERATORS * sum(len(each.works) for each in kernels) < len(self.steps) - len(kernels):
            raise threads.NotRecordableError("mostly operators of torch")
        for each in kernels:
            each.lay_out()

    def __call__(self, images: Tensor) -> Tensor:
        """The pass over other pictures of the shape."""
        images = images.contiguous()
        self.first.begin_at(images)
        with torch.inference_mode():
            for step in self.steps:
                step()
        return self.result()

    def result(self) -> Tensor:
        """What the last pass gave, as a tensor of its own."""
        return self.output.clone()

    def _kernel(self, work: Any, arguments: Shared) -> None:  # noqa: ANN401  a function of ctypes
        """Write down a kernel that is about to run."""
        if not self.steps or self.steps[-1] is not self.last:
            self.last = Kernels() if self.steps else self.first
            self.steps.append(self.last)
        self.last.add(work, arguments)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  torch's own types say no more
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator, and write it down where it has work to do."""
        kwargs = kwargs or {}
        if func is torch.ops.aten.empty.memory_format and not kwargs.get("pin_memory"):
            return self.memory.empty_like(func(*args, **{**kwargs, "device": "meta"}))
        own = OWN.get(func)
        if own is not None:
            with self:
                made = own(*args, **kwargs)
            if made is not None:
                return made
        outputs = func(*args, **kwargs)
        if READS_NUMBERS & set(func.tags) or not all(isinstance(each, Tensor) for each in tree_leaves(outputs)):
            raise threads.NotRecordableError(str(func))
        if func._schema.is_mutable or not places(outputs) <= places((args, kwargs)):
            if torch.Tag.nondeterministic_seeded in func.tags:
                raise threads.NotRecordableError(str(func))
            self.steps.append(Operator(func, args, kwargs, outputs))
        return outputs

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler to say so, which takes a second."""
        return False


def places(values: Any) -> set[int]:  # noqa: ANN401  what an operator takes or gives
    """Where the numbers of tensors lie; weights that oneDNN packed lie nowhere."""
    tensors = (each for each in tree_leaves(values) if isinstance(each, Tensor) and not each.is_mkldnn)
    return {each.untyped_storage().data_ptr() for each in tensors}


class Memory:
    """Blocks that are given to tensors and, once nothing refers to a tensor's numbers, to later ones."""

    def __init__(self) -> None:
        self.free: list[Tensor] = []

    def empty_like(self, shape: Tensor) -> Tensor:
        """A tensor of this shape, order and type, in a block that nobody else uses while its numbers are referred to.

        The smallest block that is large enough; of several the one that was used last, which the caches may still have.
        """
        size = shape.untyped_storage().nbytes()
        fitting = [place for place, block in enumerate(self.free) if len(block) >= size]
        if fitting:
            block = self.free.pop(min(reversed(fitting), key=lambda place: len(self.free[place])))
        else:
            block = torch.empty(size, dtype=torch.uint8)
        lent = block.numpy()  # torch refers to this array until the last tensor on its numbers is gone
        weakref.finalize(lent, self.free.append, block)
        flat = torch.from_numpy(lent)[:size].view(shape.dtype)
        return flat.as_strided(shape.shape, shape.stride())


class Operator:
    """An operator of torch, and where its outputs lie."""

    def __init__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:  # noqa: ANN401
        self.func, self.args, self.kwargs = func, args, kwargs
        self.outputs = [each for each in tree_leaves(outputs) if isinstance(each, Tensor)]

    def __call__(self) -> None:
        """Do it again."""
        found = [each for each in tree_leaves(self.func(*self.args, **self.kwargs)) if isinstance(each, Tensor)]
        for place, each in zip(self.outputs, found, strict=True):
            if place.data_ptr() != each.data_ptr():
                place.copy_(each)


class Kernels:
    """Kernels that follow each other: all threads work on one, wait for each other, and go on to the next."""

    def __init__(self) -> None:
        self.works: list[Any] = []  # functions of ctypes
        self.arguments: list[Any] = []  # Shared

    def add(self, work: Any, arguments: Shared) -> None:  # noqa: ANN401  a function of ctypes
        """One more; its arguments are copied."""
        self.works.append(work)
        self.arguments.append(type(arguments).from_buffer_copy(arguments))

    def lay_out(self) -> None:
        """Write down what the threads read: for each kernel its address, and that of its arguments."""
        size = max(ctypes.sizeof(each) for each in self.arguments)
        self.given = np.zeros((len(self.works), size // 8), np.int64)
        for number, (row, arguments) in enumerate(zip(self.given, self.arguments, strict=True)):
            ctypes.memmove(row.ctypes.data, ctypes.addressof(arguments), ctypes.sizeof(arguments))
            self.arguments[number] = type(arguments).from_address(row.ctypes.data)
        works = [ctypes.cast(work, ctypes.c_void_p).value for work in self.works]
        self.steps = np.array([[work, row.ctypes.data] for work, row in zip(works, self.given, strict=True)], np.int64)
        self.program = Program(0, len(works), self.steps.ctypes.data, threads.barrier())

    def begin_at(self, pictures: Tensor) -> None:
        """Let the first kernel read these pictures."""
        self.arguments[0].maps = pictures.data_ptr()

    def __call__(self) -> None:
        """Run them."""
        if self.program.barrier or torch.get_num_threads() == 1:
            self.given[:, : threads.MOST_RUNS] = 0  # `next` of each
            threads.in_torch_threads(_run(), self.program)
        else:
            for work, arguments in zip(self.works, self.arguments, strict=True):
                threads.in_torch_threads(work, arguments)


class Program(Shared):
    """Kernels: how many, where their addresses and those of their arguments lie; the address of what lets threads wait.

    Their own arguments say how they are divided.
    """

    _fields_ = (*RUNS, *((name, ctypes.c_int64) for name in ("count", "steps", "barrier")))


PROGRAM = np.dtype(Program)


@kernel
def _run(address: int) -> None:
    program = carray(pointer(address), 1, PROGRAM)[0]
    steps = carray(pointer(program.steps), (program.count, 2), np.int64)
    for number in range(program.count):
        called(steps[number, 0], steps[number, 1])
        if program.barrier != 0:
            called(program.barrier, 0)
