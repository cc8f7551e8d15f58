"""Between a table of rows and the matrix that a model takes, by way of the signature.

The matrix is what the serving container makes of a request: float64 with one column a feature, or
objects (numbers as float, text as str, missing text as None) once an input holds text or named
categories.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature, Tensor, feature_names
from trimtab.training.errors import DataBroken

Matrix: TypeAlias = NDArray[np.float64] | NDArray[np.object_]
Task: TypeAlias = Literal["classification", "regression"]

MOST_CATEGORIES: Final = 100
"""Of one feature; the rarer ones count as unseen."""
MOST_CLASSES: Final = 1000
_ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]")


def has_objects(inputs: Iterable[Tensor]) -> bool:
    """Whether the matrix of these inputs holds objects rather than numbers only."""
    return any(one.datatype == "BYTES" or one.categories is not None for one in inputs)


def infer_inputs(frame: pd.DataFrame, columns: Sequence[str]) -> list[Tensor]:
    """Describe the columns as inputs, in their order.

    Numbers are FP64, truth values BOOL, text BYTES with its categories, lists of numbers a vector;
    columns `x[0]`, `x[1]`, ... are one vector `x`. Raise DataBroken for anything else.
    """
    tensors: list[Tensor] = []
    vectors: Counter[str] = Counter()
    for column in columns:
        element = _ELEMENT.fullmatch(column)
        if element is None:
            tensors.append(_infer(column, frame[column]))
            continue
        name = element["name"]
        if int(element["index"]) != vectors[name]:
            raise DataBroken(f"column {column!r} is out of order: {name}[{vectors[name]}] is next")
        if not vectors[name]:
            tensors.append(Tensor(name=name, datatype="FP64", shape=[1]))
        vectors[name] += 1
    return [
        one.model_copy(update={"shape": [vectors[one.name]]}) if one.name in vectors else one
        for one in tensors
    ]


def _infer(name: str, column: pd.Series[Any]) -> Tensor:
    is_missing = bool(column.isna().any())
    if pd.api.types.is_bool_dtype(column):
        return Tensor(name=name, datatype="BOOL")
    if pd.api.types.is_numeric_dtype(column):
        return Tensor(name=name, datatype="FP64", missing_allowed=is_missing)
    if pd.api.types.is_datetime64_any_dtype(column):
        raise DataBroken(f"column {name!r} holds times; leave it out by --ignore {name}")
    known = column.dropna()
    if len(known) and all(isinstance(value, list | tuple | np.ndarray) for value in known):
        shape = list(np.shape(known.iloc[0]))
        return Tensor(name=name, datatype="FP64", shape=shape)
    if not all(isinstance(value, str) for value in known):
        raise DataBroken(f"column {name!r} holds neither numbers, text, nor lists of numbers")
    counted = Counter(known.tolist()).most_common(MOST_CATEGORIES)
    return Tensor(
        name=name,
        datatype="BYTES",
        categories=sorted(value for value, _ in counted),
        missing_allowed=is_missing,
    )


def make_matrix(frame: pd.DataFrame, inputs: Sequence[Tensor]) -> Matrix:
    """Return the rows as a matrix [n, features]; raise DataBroken naming column and fault."""
    parts: list[Any] = []
    for tensor in inputs:
        if tensor.shape:
            parts.append(_vector(frame, tensor))
        elif tensor.datatype == "BYTES":
            parts.append(_texts(_column(frame, tensor.name)).reshape(-1, 1))
        else:
            parts.append(_numbers(_column(frame, tensor.name), tensor.name).reshape(-1, 1))
    if not has_objects(inputs):
        return np.hstack(parts) if len(parts) > 1 else parts[0]
    matrix = np.empty((len(frame), sum(part.shape[1] for part in parts)), dtype=object)
    at = 0
    for part in parts:
        matrix[:, at : at + part.shape[1]] = part
        at += part.shape[1]
    return matrix


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise DataBroken(f"column {name!r} is missing; the serving version needs it")
    return frame[name]


def _numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    try:
        numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataBroken(f"column {name!r} holds a value that is not a number: {error}") from error
    if np.isinf(numbers).any():
        raise DataBroken(f"column {name!r} holds {int(np.isinf(numbers).sum())} infinite values")
    return numbers


def _texts(column: pd.Series[Any]) -> NDArray[np.object_]:
    texts = np.empty(len(column), dtype=object)
    texts[:] = [None if pd.isna(value) else str(value) for value in column]
    return texts


def _vector(frame: pd.DataFrame, tensor: Tensor) -> NDArray[np.float64]:
    size = prod(tensor.shape)
    if tensor.name not in frame.columns:
        names = feature_names(tensor)
        return np.column_stack([_numbers(_column(frame, name), name) for name in names])
    rows = frame[tensor.name].tolist()
    wrong = next((row for row in rows if np.size(row) != size), None)
    if wrong is not None:
        raise DataBroken(
            f"column {tensor.name!r} has a row of {np.size(wrong)} elements, {size} are wanted"
        )
    try:
        return np.array([np.ravel(row) for row in rows], dtype=np.float64).reshape(-1, size)
    except (ValueError, TypeError) as error:
        raise DataBroken(f"column {tensor.name!r} holds a value that is not a number") from error


def make_labels(column: pd.Series[Any], task: Task) -> NDArray[Any]:
    """Return the truths [n]: classes as int, bool or str; values as float64.

    Whole numbers stored as floats are classes by their whole number, so that `3.0` is class `3`.
    """
    if task == "regression":
        return _numbers(column, str(column.name))
    if pd.api.types.is_bool_dtype(column):
        return column.to_numpy(dtype=np.bool_)
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64)
        if not np.equal(numbers, np.round(numbers)).all():
            raise DataBroken(f"label column {column.name!r} holds fractions; classes are whole")
        return numbers.astype(np.int64)
    return np.array([str(value) for value in column], dtype=np.str_)


def infer_task(column: pd.Series[Any]) -> Task:
    """Fractions make a regression; everything else is classes."""
    if pd.api.types.is_float_dtype(column):
        numbers = column.dropna().to_numpy(dtype=np.float64)
        return "classification" if np.equal(numbers, np.round(numbers)).all() else "regression"
    return "classification"


def make_signature(
    inputs: Sequence[Tensor], task: Task, classes: Sequence[Any], *, has_probabilities: bool = True
) -> Signature:
    """Complete the inputs with the outputs of a task; classes in the order of the scores.

    Outputs are `value`, or `class` and, of a model that has them, `probabilities`.
    """
    if task == "regression":
        value = Tensor(name="value", datatype="FP64")
        return Signature(task=task, inputs=list(inputs), outputs=[value])
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise DataBroken(f"the labels have {len(classes)} classes; 2 to {MOST_CLASSES} are wanted")
    outputs = [class_output("class", classes)]
    if has_probabilities:
        outputs.append(Tensor(name="probabilities", datatype="FP64", shape=[len(classes)]))
    return Signature(
        task=task, inputs=list(inputs), outputs=outputs, classes=[str(one) for one in classes]
    )


def class_output(name: str, classes: Sequence[Any]) -> Tensor:
    """Return the output of one class a row: whole numbers where all classes are, else texts."""
    is_whole = all(
        isinstance(one, int | np.integer) and not isinstance(one, bool) for one in classes
    )
    return Tensor(name=name, datatype="INT64" if is_whole else "BYTES")
