"""Between a table of rows and the matrix that a model takes, by way of the signature.

The matrix is what the serving container makes of a request: float64 with one column a feature, or
objects (numbers as float, text as str, missing text as None) once an input holds text; int64 where
all inputs are whole numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from math import prod
from numbers import Number
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from trimtab.contract.artifact import Signature, Tensor, feature_names, is_text
from trimtab.contract.rows import joined, row_type, time_number
from trimtab.training.errors import DataBroken

Matrix: TypeAlias = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]
Task: TypeAlias = Literal["classification", "regression"]

MOST_CATEGORIES: Final = 100
"""Of one feature; the rarer ones count as unseen."""
MOST_CLASSES: Final = 1000
_EXACT: Final = 2**53
"""Whole numbers up to here are exact as doubles."""
_ELEMENT = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]")


def has_categories(inputs: Iterable[Tensor]) -> bool:
    """Whether an estimator that takes numbers needs some of these inputs coded."""
    return any(is_text(one) or one.categories is not None for one in inputs)


def infer_inputs(
    frame: pd.DataFrame, columns: Sequence[str], *, texts: Collection[str] = ()
) -> list[Tensor]:
    """Describe the columns as inputs, in their order.

    Numbers are FP64 (INT64 beyond 2^53), truth values BOOL, text BYTES with its categories, unless
    it is one of `texts`; lists of numbers a vector; columns `x[0]`, `x[1]`, ... one vector
    `x`; times BYTES with a unit. A column may be missing where one of its rows is. Raise DataBroken
    for anything else.
    """
    tensors: list[Tensor] = []
    vectors: Counter[str] = Counter()
    for column in columns:
        element = _ELEMENT.fullmatch(column)
        if element is None:
            tensors.append(_infer(column, frame[column], is_free=column in texts))
            continue
        name = element["name"]
        if int(element["index"]) != vectors[name]:
            raise DataBroken(f"column {column!r} is out of order: {name}[{vectors[name]}] is next")
        if not vectors[name]:
            tensors.append(_tensor(name, datatype="FP64", shape=[1]))
        vectors[name] += 1
    return [
        one.model_copy(update={"shape": [vectors[one.name]]}) if one.name in vectors else one
        for one in tensors
    ]


def _tensor(name: str, **fields: Any) -> Tensor:
    try:
        return Tensor(name=name, **fields)
    except ValidationError as error:
        raise DataBroken(
            f"column {name[:80]!r} cannot be an input: its name has to have 1 to 200 characters"
        ) from error


def _infer(name: str, column: pd.Series[Any], *, is_free: bool) -> Tensor:
    dtype = column.dtype
    missing: dict[str, Any] = {}
    if bool(column.isna().any()):
        missing = {"missing_allowed": True, "missing_as": _missing_as(column)}
    if isinstance(dtype, pd.CategoricalDtype) and not pd.api.types.is_object_dtype(
        dtype.categories.dtype
    ):
        return _of_categories(name, column, dtype, missing)
    if pd.api.types.is_bool_dtype(column):
        return _tensor(name, datatype="BOOL", **missing)
    if pd.api.types.is_complex_dtype(column):
        raise DataBroken(f"column {name!r} holds complex numbers; give real ones")
    if pd.api.types.is_numeric_dtype(column):
        return _tensor(name, datatype=_number_type(column), **missing)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _times(name, column, missing)
    if pd.api.types.is_timedelta64_dtype(column):
        raise DataBroken(
            f"column {name!r} holds durations; give numbers: X[{name!r}].dt.total_seconds()"
        )
    return _of_values(name, column, missing, is_free=is_free)


def _of_categories(
    name: str, column: pd.Series[Any], dtype: pd.CategoricalDtype, missing: dict[str, Any]
) -> Tensor:
    """Categories that are numbers or truth values stay what they are, and are counted by name."""
    plain = pd.Series(dtype.categories)
    if pd.api.types.is_bool_dtype(plain):
        return _tensor(name, datatype="BOOL", **missing)
    if pd.api.types.is_numeric_dtype(plain):
        counted = Counter(column.dropna().astype(plain.dtype).tolist()).most_common(MOST_CATEGORIES)
        return _tensor(
            name,
            datatype="FP64",
            categories=[_number_name(value) for value in sorted(value for value, _ in counted)],
            **missing,
        )
    if pd.api.types.is_datetime64_any_dtype(plain) or not pd.api.types.is_string_dtype(plain):
        raise DataBroken(f"column {name!r} has categories of {plain.dtype}; make them texts")
    return _of_values(name, column, missing, is_free=False)


def _number_name(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(float(value))


def _number_type(column: pd.Series[Any]) -> str:
    """FP64 takes whole numbers as well; INT64 where doubles would round those that are there."""
    if column.isna().any() or not pd.api.types.is_integer_dtype(column) or not len(column):
        return "FP64"
    largest = max(abs(int(column.min())), abs(int(column.max())))
    if largest >= 2**63:
        raise DataBroken(
            f"column {column.name!r} holds whole numbers of more than 63 bits; make them texts, or "
            "doubles"
        )
    return "INT64" if largest > _EXACT else "FP64"


def _times(name: str, column: pd.Series[Any], missing: dict[str, Any]) -> Tensor:
    dtype = column.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        raise DataBroken(
            f"column {name!r} holds times of a time zone, which no estimator takes; give "
            f"X[{name!r}].dt.tz_convert(None), or leave the column out"
        )
    unit = np.datetime_data(column.to_numpy().dtype)[0]
    # A later time is never among those of training: its bins would tell nothing.
    times = column.dropna().to_numpy().astype(np.int64)
    return _tensor(
        name,
        datatype="BYTES",
        unit=unit,
        watched=False,
        minimum=float(times.min()) if len(times) else None,
        **{**missing, "missing_as": None},
    )


def _of_values(
    name: str, column: pd.Series[Any], missing: dict[str, Any], *, is_free: bool
) -> Tensor:
    known = column.dropna()
    kinds: dict[str, Any] = {}
    for row, value in known.items():
        kinds.setdefault(_kind(name, value, row), row)
    if len(kinds) > 1:
        (one, _), (other, row) = list(kinds.items())[:2]
        raise DataBroken(
            f"column {name!r} holds {one} and, from row {row} on, {other}; make them one kind"
        )
    kind = next(iter(kinds), "texts")
    if kind == "lists":
        return _tensor(name, datatype="FP64", shape=list(np.shape(known.iloc[0])))
    if kind == "truth values":
        return _tensor(name, datatype="BOOL", **missing)
    if kind == "numbers":
        return _tensor(name, datatype="FP64", **missing)
    if is_free:
        # No list of the texts that were learned from leaves the trainer.
        return _tensor(name, datatype="BYTES", watched=False, **missing)
    counted = Counter(known.tolist()).most_common(MOST_CATEGORIES)
    return _tensor(
        name, datatype="BYTES", categories=sorted(str(value) for value, _ in counted), **missing
    )


def _kind(name: str, value: Any, row: Any) -> str:
    if isinstance(value, str):
        return "texts"
    if isinstance(value, bool | np.bool_):
        return "truth values"
    if isinstance(value, Number) and not isinstance(value, complex):
        return "numbers"
    if isinstance(value, list | tuple | np.ndarray):
        return "lists"
    way = "; give a column of pandas' datetime64" if isinstance(value, date) else ""
    raise DataBroken(
        f"column {name!r} holds a {type(value).__name__} in row {row}, which is neither number, "
        f"text, truth value nor list of numbers{way}"
    )


def _missing_as(column: pd.Series[Any]) -> Literal["null", "nan"]:
    """What scikit-learn is given for a missing value of this column."""
    if not pd.api.types.is_object_dtype(column):
        return "nan"
    absent = column[column.isna()]
    return "null" if all(value is None for value in absent) else "nan"


def make_matrix(frame: pd.DataFrame, inputs: Sequence[Tensor]) -> Matrix:
    """Return the rows as a matrix [n, features]; raise DataBroken naming column and fault."""
    parts = [_part(frame, tensor) for tensor in inputs]
    width = sum(prod(tensor.shape) for tensor in inputs)
    return joined(parts, len(frame), width, row_type(inputs))


def _part(frame: pd.DataFrame, tensor: Tensor) -> NDArray[Any]:
    if tensor.shape:
        return _vector(frame, tensor)
    column = _column(frame, tensor.name)
    if tensor.unit is not None:
        return _time_numbers(column, tensor)
    if is_text(tensor):
        return _texts(column)
    if tensor.datatype in ("INT32", "INT64") and not tensor.missing_allowed:
        return _whole(column, tensor.name)
    return _numbers(column, tensor.name)


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise DataBroken(f"column {name!r} is missing; the model needs it")
    return frame[name]


def _numbers(column: pd.Series[Any], name: str) -> NDArray[np.float64]:
    if isinstance(column.dtype, pd.CategoricalDtype | pd.SparseDtype):
        column = pd.Series(np.asarray(column))
    if pd.api.types.is_datetime64_any_dtype(column):
        raise DataBroken(f"column {name!r} holds times; numbers are wanted")
    try:
        numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataBroken(f"column {name!r} holds a value that is not a number: {error}") from error
    if np.isinf(numbers).any():
        raise DataBroken(f"column {name!r} holds {int(np.isinf(numbers).sum())} infinite values")
    return numbers


def _whole(column: pd.Series[Any], name: str) -> NDArray[Any]:
    """Whole numbers exactly; others as they are, which the serving container would refuse."""
    if pd.api.types.is_integer_dtype(column) and not column.isna().any():
        try:
            return column.to_numpy(dtype=np.int64)
        except OverflowError as error:
            raise DataBroken(f"column {name!r} holds numbers of more than 64 bits") from error
    numbers = _numbers(column, name)
    bad = ~np.equal(numbers, np.round(numbers))
    if bad.any():
        raise DataBroken(
            f"column {name!r} holds {numbers[bad][0]:g} in row {int(bad.argmax())}; whole numbers "
            "are wanted"
        )
    return numbers.astype(np.int64)


def _texts(column: pd.Series[Any]) -> NDArray[np.object_]:
    texts = np.empty(len(column), dtype=object)
    absent = column.isna().to_numpy(dtype=np.bool_)
    texts[:] = [
        None if is_absent else str(value) for value, is_absent in zip(column, absent, strict=True)
    ]
    return texts


def _time_numbers(column: pd.Series[Any], tensor: Tensor) -> NDArray[np.float64]:
    unit = tensor.unit
    assert unit is not None
    if pd.api.types.is_datetime64_any_dtype(column):
        naive = column.dt.tz_convert(None) if getattr(column.dt, "tz", None) else column
        times = naive.to_numpy().astype(f"datetime64[{unit}]")
        return np.where(np.isnat(times), np.nan, times.astype(np.int64).astype(np.float64))
    numbers = np.full(len(column), np.nan)
    for row, text in enumerate(_texts(column)):
        if text is not None:
            try:
                numbers[row] = time_number(text, unit)
            except (ValueError, OverflowError) as error:
                raise DataBroken(
                    f"column {tensor.name!r} holds {text[:80]!r} in row {row}, which is no time"
                ) from error
    return numbers


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
    if pd.api.types.is_integer_dtype(column):
        return _whole_labels(column)
    if pd.api.types.is_numeric_dtype(column):
        numbers = column.to_numpy(dtype=np.float64)
        if not np.equal(numbers, np.round(numbers)).all():
            raise DataBroken(f"label column {column.name!r} holds fractions; classes are whole")
        return numbers.astype(np.int64)
    return np.array([str(value) for value in column], dtype=np.str_)


def _whole_labels(column: pd.Series[Any]) -> NDArray[np.int64]:
    """Identifiers beyond 2^53 stay exact; as doubles two classes could become one."""
    if column.isna().any():
        raise DataBroken(f"label column {column.name!r} has missing values; leave these rows out")
    if int(column.max()) > np.iinfo(np.int64).max:
        raise DataBroken(
            f"label column {column.name!r} holds {column.max()}, more than 64 bits with a sign; "
            "make the classes texts"
        )
    return column.to_numpy(dtype=np.int64)


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
