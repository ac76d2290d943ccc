"""Running a network once and writing down what ran: modules through hooks, operators through a dispatch mode.

A leaf module makes one row. An operator outside of leaf modules (F.relu, `a + b`, torch.cat, F.max_pool2d in a forward)
makes one too, under the name of the module in whose forward it stands. Receptive fields travel with the tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from siseon.inspection.fields import Field, Span, meet
from siseon.inspection.operations import (
    Operation,
    field_after,
    kind_of,
    macs_of,
    operation,
    tensors_in,
    window_of,
)
from siseon.inspection.rows import Kind, Reach, Row, Shape, Window

_KIND_BY_FILE: dict[str, Kind] = {
    "activation": "activation",
    "batchnorm": "normalisation",
    "dropout": "dropout",
    "flatten": "flatten",
    "instancenorm": "normalisation",
    "linear": "fully connected",
    "normalization": "normalisation",
    "padding": "padding",
    "pixelshuffle": "upsampling",
    "rnn": "recurrent",
    "sparse": "embedding",
    "upsampling": "upsampling",
}
"""What PyTorch keeps in each file of torch.nn.modules."""

_FRESH = ("empty", "zeros", "ones", "full", "rand", "randn", "new_")
"""Operators that take a tensor only for its shape or device."""


@dataclass(frozen=True, slots=True)
class _Call:
    """An operator that ran: its kind of layer, if it is one, and what it was given."""

    operation: Operation
    kind: Kind | None
    window: Window | None
    macs: int
    given: list[Tensor]
    inputs: tuple[Shape, ...]
    before: Field | None


@dataclass
class _Visit:
    """A module whose forward is running."""

    name: str
    module: nn.Module
    leaf: bool
    input_shapes: tuple[Shape, ...]
    before: Field | None
    calls: list[_Call] = field(default_factory=list)


class Recorder(TorchDispatchMode):
    """Collects `rows` while a model runs on `picture` inside `with recording(...)`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and importing the compiler costs seconds."""
        return False

    def __init__(self, model: nn.Module, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.model_name = type(model).__name__
        self.batch = picture.shape[0]
        self.rows: list[Row] = []
        self.visits: list[_Visit] = []
        self.ran: set[nn.Module] = set()
        self.parameters = {id(parameter): name for name, parameter in model.named_parameters()}
        self.owners: dict[int, str] = {}
        self.fields: MutableMapping[Tensor, Field | None] = WeakTensorKeyDictionary()
        self.origins: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self.storages: dict[int, StorageWeakRef] = {}
        self.fields[picture] = (Span(picture.shape[2]), Span(picture.shape[3]))
        values = self._new_values([picture])
        self.rows.append(
            Row(
                "input",
                "input",
                "input",
                (),
                _shape(picture),
                self.batch,
                activations=values,
                reach=self._reach(picture),
            )
        )

    # ------------------------------------------------------------------------------------------------------ modules

    def enter(self, name: str, module: nn.Module, given: object) -> None:
        """A module's forward begins."""
        self.ran.add(module)
        inputs = tensors_in(given)
        leaf = self._inside_leaf() is None and is_leaf(module)
        shapes = tuple(_shape(tensor) for tensor in inputs)
        self.visits.append(_Visit(name, module, leaf, shapes, self._field_of(inputs)))

    def leave(self, module: nn.Module, made: object) -> None:
        """A module's forward is over; a leaf becomes a row."""
        visit = self.visits.pop()
        outputs = tensors_in(made)
        if visit.leaf and is_network(visit):
            for call in visit.calls:
                self._add(visit.name, call)
        elif visit.leaf and outputs:
            self.rows.append(self._leaf_row(visit, outputs))

    def place(self) -> str:
        """Where the run stands: the innermost module, and the shape that it was given."""
        if not self.visits:
            return self.model_name
        visit = self.visits[-1]
        shapes = ", ".join("x".join(map(str, shape)) for shape in visit.input_shapes)
        return f"{visit.name or self.model_name} ({type(visit.module).__name__}) was given {shapes}"

    def _inside_leaf(self) -> _Visit | None:
        return next((visit for visit in self.visits if visit.leaf), None)

    def _leaf_row(self, visit: _Visit, outputs: list[Tensor]) -> Row:
        weights, biases, shares = self._claim(visit.name, list(visit.module.parameters()))
        windows = [(call.operation, call.window) for call in visit.calls if call.window is not None]
        window = windows[0][1] if len(windows) == 1 else None
        if window is not None and visit.input_shapes:
            window = window._replace(extra_padding=_extra_padding(visit.input_shapes[0], windows[0][0]))
        values = self._new_values(outputs)
        return Row(
            visit.name or self.model_name,
            _leaf_kind(visit),
            type(visit.module).__name__.removeprefix("Parametrized"),
            visit.input_shapes,
            _shape(outputs[0]),
            outputs[0].shape[0] if outputs[0].ndim else 1,
            window,
            weights,
            biases,
            values,
            sum(call.macs for call in visit.calls),
            self._reach(outputs[0]),
            _reach_of(visit.before),
            shares,
            in_place=values == 0 and any(call.operation.changes_input for call in visit.calls),
        )

    def _claim(self, name: str, parameters: Sequence[Tensor]) -> tuple[int, int, str]:
        """Weights and biases not counted yet, and the row that counted the others."""
        counts, shares = [0, 0], ""
        for parameter in parameters:
            key = id(parameter)
            if key in self.owners:
                shares = self.owners[key]
            elif key in self.parameters:
                self.owners[key] = name
                counts[is_bias(self.parameters[key])] += parameter.numel()
        return counts[0], counts[1], shares

    def leftovers(self) -> list[Row]:
        """A row for each module whose own parameters no row counted: it did not run, or uses them in its forward."""
        rows: list[Row] = []
        for name, module in self.model.named_modules():
            name = name or self.model_name
            weights, biases, _ = self._claim(name, list(module.parameters(recurse=False)))
            if weights + biases:
                kind: Kind = "own parameters" if module in self.ran else "not run"
                rows.append(Row(name, kind, type(module).__name__, weights=weights, biases=biases))
        return rows

    # ---------------------------------------------------------------------------------------------------- operators

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run one operator and follow fields and parameters through it."""
        kwargs = kwargs or {}
        shapes = {id(tensor): _shape(tensor) for tensor in tensors_in([args, kwargs])}
        made = func(*args, **kwargs)
        call = operation(func, (args, kwargs), made, self.batch)
        if call is None or call.name.startswith(_FRESH) or call.name.endswith("_like"):
            return made
        given = tensors_in([args, kwargs])
        tracked = [(tensor, self.fields[tensor]) for tensor in given if tensor in self.fields]
        before = meet([found for _, found in tracked])
        if tracked:
            self._follow(call, tracked)
        self._follow_parameters(call, given)
        kind = kind_of(call, len(tracked))
        inputs = tuple(shapes[id(tensor)] for tensor, _ in tracked)
        self._note(_Call(call, kind, window_of(call), macs_of(call), given, inputs, before))
        return made

    def _note(self, call: _Call) -> None:
        """Inside a leaf an operator is kept for its row; elsewhere it is a row itself, if it is a layer."""
        visit = self._inside_leaf()
        if visit is not None:
            visit.calls.append(call)
        else:
            self._add(next((visit.name for visit in reversed(self.visits) if visit.name), ""), call)

    def _add(self, name: str, call: _Call) -> None:
        """A row for an operator between layers. Arithmetic on what no layer made (scores, boxes) is no layer."""
        joins = call.kind in ("activation", "addition", "multiplication", "concatenation")
        made = any(tensor.untyped_storage()._cdata in self.storages for tensor in call.given)
        if call.kind is not None and call.inputs and (made or not joins):
            self.rows.append(self._call_row(name or self.model_name, call.kind, call))

    def _follow(self, call: Operation, tracked: Sequence[tuple[Tensor, Field | None]]) -> None:
        after = field_after(call, tracked)
        for tensor in tensors_in(call.outputs):
            self.fields[tensor] = after
        base = call.output._base
        sources = [found for tensor, found in tracked if tensor is not call.output]
        if call.changes_input and base is not None and sources:
            self.fields[base] = meet([*sources, *([self.fields[base]] if base in self.fields else [])])

    def _follow_parameters(self, call: Operation, given: Sequence[Tensor]) -> None:
        if call.overload.is_view and given and given[0] in self.origins:
            self.origins[call.output] = self.origins[given[0]]
        elif call.overload.is_view and given and id(given[0]) in self.parameters:
            self.origins[call.output] = given[0]

    def _call_row(self, name: str, kind: Kind, call: _Call) -> Row:
        parameters = [self.origins.get(tensor, tensor) for tensor in call.given]
        weights, biases, shares = self._claim(name, [tensor for tensor in parameters if id(tensor) in self.parameters])
        output = call.operation.output
        values = self._new_values([output])
        return Row(
            name,
            kind,
            call.operation.name.strip("_"),
            call.inputs,
            _shape(output),
            output.shape[0] if output.ndim else 1,
            call.window,
            weights,
            biases,
            values,
            call.macs,
            self._reach(output),
            _reach_of(call.before),
            shares,
            in_place=call.operation.changes_input and values == 0,
        )

    # ------------------------------------------------------------------------------------------------------ tensors

    def _field_of(self, tensors: Sequence[Tensor]) -> Field | None:
        return meet([self.fields[tensor] for tensor in tensors if tensor in self.fields])

    def _reach(self, tensor: Tensor) -> Reach | None:
        return _reach_of(self.fields.get(tensor))

    def _new_values(self, tensors: Sequence[Tensor]) -> int:
        """The values in memory that no earlier row has counted; a view or a result in place has none.

        The weak references keep addresses of freed memory from being taken for others, not the memory itself.
        """
        values = 0
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.storages:
                self.storages[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                values += tensor.numel()
        return values


@contextmanager
def recording(model: nn.Module, picture: Tensor) -> Iterator[Recorder]:
    """Hooks on every module and a recorder around what runs; the hooks are gone afterwards."""
    recorder = Recorder(model, picture)
    handles = []
    for name, module in model.named_modules():

        def enter(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:  # noqa: ANN401
            recorder.enter(name, module, [args, kwargs])

        def leave(module: nn.Module, args: Any, made: Any) -> None:  # noqa: ANN401
            recorder.leave(module, made)

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    try:
        with recorder:
            yield recorder
    finally:
        for handle in handles:
            handle.remove()


def is_leaf(module: nn.Module) -> bool:
    """Whether a module counts as one layer: it has no modules inside but parametrizations (spectral norm and such)."""
    if isinstance(module, nn.MultiheadAttention):
        return True
    return all(name == "parametrizations" for name, _ in module.named_children())


def is_network(visit: _Visit) -> bool:
    """Whether a childless module is more than a layer: one of the user's that slides or multiplies twice."""
    bases = [base for base in type(visit.module).__mro__ if base is not nn.Module]
    own = not any(base.__module__.startswith("torch.nn.") for base in bases)
    return own and sum(call.window is not None or call.macs > 0 for call in visit.calls) > 1


def is_bias(parameter: str) -> bool:
    """Whether a parameter's name is that of a bias (bias, bias_ih_l0, in_proj_bias); a batch norm's shift is one."""
    name = parameter.rsplit(".", 1)[-1]
    return name.startswith("bias") or name.endswith("bias")


def _leaf_kind(visit: _Visit) -> Kind:
    module = visit.module
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if isinstance(module, nn.Identity):
        return "identity"
    files = [base.__module__.removeprefix("torch.nn.modules.") for base in type(module).__mro__]
    known = next((_KIND_BY_FILE[file] for file in files if file in _KIND_BY_FILE), None)
    if known is not None:
        return known
    kinds = {call.kind for call in visit.calls if call.kind is not None}
    if len(kinds) > 1:
        kinds -= {"padding"}
    return kinds.pop() if len(kinds) == 1 else "other"


def _extra_padding(shape: Shape, call: Operation) -> tuple[int, int]:
    source = call.arguments.get("input", call.arguments.get("self"))
    if len(shape) != 3 or not isinstance(source, Tensor):
        return (0, 0)
    return max(source.shape[-2] - shape[1], 0), max(source.shape[-1] - shape[2], 0)


def _shape(tensor: Tensor) -> Shape:
    return tuple(tensor.shape[1:])


def _reach_of(found: Field | None) -> Reach | None:
    return None if found is None else Reach((found[0].size, found[1].size), (found[0].jump, found[1].jump))
