"""Which columns go to which input of an ONNX graph, and which outputs are its answers.

What a graph and a signature say is compared before anything is loaded into a pod that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from trimtab.contract.artifact import Tensor

_TYPES: Final[dict[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
_TAKES: Final[dict[str, tuple[str, ...]]] = {
    # Of a datatype's values each is one of the graph's, or is rounded to the nearest one.
    "tensor(float)": ("FP32", "INT32", "INT64", "BOOL"),
    "tensor(double)": ("FP64", "FP32", "INT32", "INT64", "BOOL"),
    "tensor(int32)": ("INT32", "BOOL"),
    "tensor(int64)": ("INT64", "INT32", "BOOL"),
    "tensor(bool)": ("BOOL",),
    "tensor(string)": ("BYTES",),
}
_DATATYPES: Final = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
}
_SCORES: Final = ("tensor(float)", "tensor(double)", "tensor(float16)")
_LABELS: Final = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_USUAL_SCORES: Final = ("probabilities", "probability", "output_probability")
_USUAL_LABELS: Final = ("label", "output_label", "class")


class GraphRefused(ValueError):
    """The graph cannot be loaded, or does not fit the signature; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Which columns go where: `dims` is the shape of one row."""

    name: str
    columns: slice
    kind: type[np.generic]
    dims: tuple[int, ...]


def fitted(given: Sequence[Any], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return `inputs` with the datatypes of the graph's inputs where theirs do not fit."""
    types = {one.name: one.type for one in given}
    only = next(iter(types.values())) if len(types) == 1 else ""
    return [_fitting(tensor, types.get(tensor.name, only)) for tensor in inputs]


def _fitting(tensor: Tensor, kind: str) -> Tensor:
    if kind not in _TAKES or tensor.datatype in (*_TAKES[kind], "BYTES"):
        return tensor
    return tensor.model_copy(update={"datatype": _DATATYPES[kind]})


def feeds(given: Sequence[Any], inputs: Sequence[Tensor]) -> tuple[list[Feed], int | None]:
    """Return what goes where in the order of `inputs`, and the number of rows if it is fixed."""
    widths = [prod(tensor.shape) for tensor in inputs]
    starts = np.cumsum([0, *widths]).tolist()
    by_name = {one.name: one for one in given}
    batches = {one.name: one.shape[0] for one in given if one.shape}
    fixed = {batch for batch in batches.values() if isinstance(batch, int)}
    if fixed - {1}:
        raise GraphRefused(
            f"the graph takes {max(fixed)} rows at a time; export it with a free first dimension"
        )
    if set(by_name) == {tensor.name for tensor in inputs}:
        found = [
            _feed(by_name[tensor.name], [tensor], slice(start, start + width), tensor.shape)
            for tensor, start, width in zip(inputs, starts, widths, strict=False)
        ]
    elif len(given) == 1:
        shape = inputs[0].shape if len(inputs) == 1 else [starts[-1]]
        found = [_feed(given[0], inputs, slice(0, starts[-1]), shape)]
    else:
        raise GraphRefused(
            f"the graph takes {sorted(by_name)[:20]}, the signature says "
            f"{sorted(tensor.name for tensor in inputs)[:20]}"
        )
    return found, min(fixed, default=None)


def _feed(given: Any, tensors: Sequence[Tensor], columns: slice, shape: Sequence[int]) -> Feed:
    allowed = _TAKES.get(given.type)
    if allowed is None:
        raise GraphRefused(
            f"the graph's input {given.name} is {given.type}; "
            f"one of {', '.join(_TAKES)} is fed: begin the graph with a Cast"
        )
    for tensor in tensors:
        if tensor.datatype not in allowed:
            raise GraphRefused(
                f"the graph's input {given.name} is {given.type}, the signature's {tensor.name} "
                f"{tensor.datatype}; {' or '.join(allowed)} fits"
            )
        if tensor.missing_allowed and given.type not in ("tensor(float)", "tensor(double)"):
            raise GraphRefused(
                f"{tensor.name} may be missing, and the graph's {given.type} cannot say so"
            )
    return Feed(given.name, columns, _TYPES[given.type], _dims(given, shape))


def _dims(given: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of one row as the graph wants it."""
    wanted = given.shape[1:]
    if not given.shape:  # of any rank
        return tuple(shape)
    if all(isinstance(size, int) for size in wanted):
        if prod(wanted) == prod(shape):
            return tuple(wanted)
    elif len(wanted) == len(shape) and all(
        size == own for size, own in zip(wanted, shape, strict=True) if isinstance(size, int)
    ):
        return tuple(shape)
    elif len(wanted) == 1 and not isinstance(wanted[0], int):
        return (prod(shape),)
    raise GraphRefused(
        f"the graph's input {given.name} has the shape {['rows', *wanted]}, "
        f"the signature says {['rows', *shape]}"
    )


def class_outputs(
    found: Sequence[Any], declared: Sequence[Tensor]
) -> tuple[str | None, str | None]:
    """Return the names of the label and of the probabilities."""
    names = {tensor.name for tensor in declared}
    labels = [one.name for one in found if one.type in _LABELS]
    scores = [one.name for one in found if one.type in _SCORES or one.type.startswith("seq(map(")]
    if not labels and not scores:
        raise GraphRefused(
            f"the graph gives {_shown(found)}; a classifier gives a label or probabilities"
        )
    return (
        _only(labels, names, _USUAL_LABELS, "labels"),
        _only(scores, names, _USUAL_SCORES, "probabilities"),
    )


def _only(found: list[str], declared: set[str], usual: Sequence[str], what: str) -> str | None:
    if len(found) <= 1:
        return found[0] if found else None
    for known in (declared, set(usual)):
        named = [name for name in found if name in known]
        if len(named) == 1:
            return named[0]
    raise GraphRefused(
        f"the graph's outputs {found[:20]} could all be the {what}; name one of them so in the "
        "signature's outputs"
    )


def value_outputs(found: Sequence[Any], declared: Sequence[Tensor]) -> list[str]:
    """Return the names of the values, in the order of the signature's outputs."""
    values = [one.name for one in found if one.type in _SCORES]
    names = [tensor.name for tensor in declared]
    if set(names) <= set(values):
        return names
    if len(values) == 1:
        return values
    raise GraphRefused(
        f"the graph gives {_shown(found)}, the signature says {names[:20]}; name them alike"
    )


def _shown(found: Sequence[Any]) -> str:
    return ", ".join(f"{one.name} {one.type}" for one in found[:20])
