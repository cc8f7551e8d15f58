"""What the matrix of a request's rows holds, which a model is given and counters count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Tensor, is_text

WHOLE: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}


def row_type(inputs: Sequence[Tensor], *, keeps_whole: bool = False) -> np.dtype[Any]:
    """Return what the matrix of a model with these inputs holds.

    Whole numbers stay whole where all inputs are: every number of 64 bits is exact. Beside other
    numbers they become doubles, as numpy joins columns, and are rounded beyond 2^53; or objects,
    for a model that takes its inputs one by one and `keeps_whole`.
    """
    if any(map(is_text, inputs)):
        return np.dtype(object)
    if all(tensor.datatype in WHOLE and not tensor.missing_allowed for tensor in inputs):
        return np.dtype(np.int64)
    if keeps_whole and any(tensor.datatype == "INT64" for tensor in inputs):
        return np.dtype(object)
    return np.dtype(np.float64)


def joined(
    parts: Sequence[NDArray[Any]], rows: int, width: int, kind: np.dtype[Any]
) -> NDArray[Any]:
    """Return the columns of the inputs side by side: (rows, width)."""
    if len(parts) == 1 and kind.kind != "O":
        return parts[0].reshape(rows, -1)
    table: NDArray[Any] = np.empty((rows, width), kind)
    at = 0
    for part in parts:
        column = part.reshape(rows, -1)
        table[:, at : at + column.shape[1]] = column
        at += column.shape[1]
    return table


def is_missing(value: Any) -> bool:
    """Whether one cell of the matrix is a missing value: None, or NaN."""
    return value is None or (isinstance(value, float) and isnan(value))


def time_number(text: str, unit: str) -> float:
    """Return a time (ISO 8601; UTC where it says no offset) as units since 1970.

    Raise ValueError for what is no time. Parts of a microsecond are dropped, as in Python.
    """
    time = datetime.fromisoformat(text)
    since = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    return float(since // timedelta(microseconds=1) * 1000 // _NANOSECONDS[unit])


def time_text(number: float, unit: str) -> str:
    """Return the time (ISO 8601, UTC) that is so many units since 1970; raise OverflowError."""
    return (_EPOCH + timedelta(microseconds=int(number) * _NANOSECONDS[unit] // 1000)).isoformat()
