"""The rows that a person gives: as the model takes them, and as columns that become inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.training.errors import DataBroken

Form: TypeAlias = Literal["table", "matrix", "texts"]

MOST_DENSE_BYTES: Final = 1 << 30
"""Of sparse rows once they are dense, as requests are."""
MOST_COLUMNS: Final = 20_000


@dataclass(frozen=True)
class Given:
    """Rows: `own` as they were given, `frame` with one column a feature, named by unique texts.

    shape: of a row, where all of it is one input; `frame` has that one column then.
    """

    own: Any
    frame: pd.DataFrame
    form: Form
    shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def only(self, rows: NDArray[Any]) -> Given:
        """Return the chosen rows, by number."""
        own = self.own.iloc[rows] if hasattr(self.own, "iloc") else self.own[rows]
        return Given(own, self.frame.iloc[rows].reset_index(drop=True), self.form, self.shape)


def read_rows(
    rows: Any, name: str, feature_names: Sequence[str] | None, input_name: str | None
) -> Given:
    """Read a frame of pandas or polars, a matrix (dense or sparse), or a list of texts.

    name: what a message calls them. Raise DataBroken for anything else.
    """
    if rows is None:
        raise DataBroken(f"{name} is missing; give a table, a matrix or a list of texts")
    package = type(rows).__module__.partition(".")[0]
    if package == "polars":
        return _of_polars(rows, name, input_name, feature_names)
    if isinstance(rows, pd.DataFrame):
        frame = _plain(rows, name)
        if input_name is not None:
            return _vector(rows, rows.to_numpy(), input_name, "table")
        return Given(rows, frame, "table")
    if isinstance(rows, pd.Series):
        return _of_texts(rows.to_numpy(dtype=object), rows, rows.name, name, input_name)
    if package == "scipy" and hasattr(rows, "toarray"):
        return _of_sparse(rows, name, feature_names, input_name)
    return _of_array(rows, name, feature_names, input_name)


def odd_cell(frame: pd.DataFrame, said: str) -> str:
    """Name the first cell that an error of scikit-learn's is about, ready to be added to it.

    said: the error. Empty where it is about none.
    """
    for word, is_odd, what in _ODD:
        if word not in said:
            continue
        for name in frame.columns:
            odd = np.array([is_odd(value) for value in frame[name].tolist()], dtype=np.bool_)
            if odd.any():
                return f" (column {str(name)[:80]!r} {what} in row {int(odd.argmax())})"
    return ""


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isinf(value))


def _is_large(value: Any) -> bool:
    return isinstance(value, float) and abs(value) > float(np.finfo(np.float32).max)


def _is_gap(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


_ODD: Final = (
    ("infinity", _is_infinite, "is infinite"),
    ("too large", _is_large, "is too large"),
    ("NaN", _is_gap, "has no value"),
    ("missing", _is_gap, "has no value"),
    ("could not convert string", lambda value: isinstance(value, str), "holds a text"),
)
"""Words of errors, what they are about, and how it is said."""


def _of_array(
    rows: Any, name: str, feature_names: Sequence[str] | None, input_name: str | None
) -> Given:
    try:
        matrix = np.asarray(rows)
    except ValueError as error:
        raise DataBroken(f"{name} has rows of different lengths") from error
    if matrix.ndim == 1 and matrix.dtype.kind in "UTO" and len(matrix):
        column = next(iter(feature_names or ()), None)
        return _of_texts(matrix.astype(object), matrix, column, name, input_name)
    if input_name is not None and matrix.ndim >= 1:
        return _vector(matrix.reshape(len(matrix), -1), matrix, input_name, "matrix")
    if matrix.ndim != 2:
        raise DataBroken(
            f"{name} has {matrix.ndim} dimensions; a table, a matrix [n, features] or a list of "
            "texts is wanted, or input_name= for rows of any shape"
        )
    if matrix.dtype.kind in "cmMV":
        raise DataBroken(f"{name} is a matrix of {matrix.dtype}; numbers or texts are wanted")
    if matrix.shape[1] > MOST_COLUMNS:
        raise DataBroken(
            f"{name} has {matrix.shape[1]:,} columns; give input_name= to serve them as one vector"
        )
    names = list(feature_names or (f"x{index}" for index in range(matrix.shape[1])))
    if len(names) != matrix.shape[1]:
        raise DataBroken(
            f"feature_names has {len(names)} names, {name} has {matrix.shape[1]} columns"
        )
    columns = {str(one): pd.Series(matrix[:, index]) for index, one in enumerate(names)}
    if len(columns) < len(names):
        raise DataBroken(f"feature_names names {_twice(names)!r} twice")
    return Given(matrix, pd.DataFrame(columns), "matrix")


def _of_texts(
    values: NDArray[np.object_], own: Any, column: Any, name: str, input_name: str | None
) -> Given:
    wrong = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    if wrong is not None:
        if pd.isna(values[wrong]) is True:
            raise DataBroken(f"{name} has no text in row {wrong}; leave it out, or give ''")
        raise DataBroken(
            f"{name} is one column with a {type(values[wrong]).__name__} in row {wrong}; a column "
            "of texts is taken alone, for numbers give a table or a matrix [n, features]"
        )
    called = input_name or ("text" if column is None else str(column))
    return Given(own, pd.DataFrame({called: pd.Series(values, dtype=object)}), "texts")


def _of_sparse(
    rows: Any, name: str, feature_names: Sequence[str] | None, input_name: str | None
) -> Given:
    size = rows.shape[0] * rows.shape[1] * 8
    if rows.ndim != 2 or size > MOST_DENSE_BYTES or rows.shape[1] > MOST_COLUMNS:
        raise DataBroken(
            f"{name} is a sparse matrix of {rows.shape}, too wide to be sent in requests; put what "
            "made it into the model: sklearn.pipeline.make_pipeline(vectoriser, model), and give "
            "the texts"
        )
    dense = np.asarray(rows.toarray())
    own = rows.tocsr()  # others cannot be asked for rows
    if feature_names is not None:
        return Given(own, _of_array(dense, name, feature_names, None).frame, "matrix")
    return _vector(own, dense, input_name or "x", "matrix")


def _of_polars(
    rows: Any, name: str, input_name: str | None, feature_names: Sequence[str] | None
) -> Given:
    """Read it as scikit-learn does: column by column through numpy, with None for no text."""
    kind = type(rows).__name__
    if kind == "LazyFrame":
        raise DataBroken(f"{name} is a LazyFrame; give {name}.collect()")
    if kind == "Series":
        column = rows.name or next(iter(feature_names or ()), None)
        values = np.array(rows.to_list(), dtype=object)
        return _of_texts(values, rows, column, name, input_name)
    if input_name is not None:
        return _vector(rows, rows.to_numpy(), input_name, "table")
    columns: dict[str, Any] = {}
    for column in rows.get_columns():
        if column.dtype.is_numeric() and not column.dtype.is_decimal():
            columns[column.name] = pd.Series(column.to_numpy())
        elif column.dtype.is_temporal():
            columns[column.name] = _plain_column(column.to_pandas())
        elif str(column.dtype) == "Boolean" and not column.null_count():
            columns[column.name] = pd.Series(column.to_numpy())
        else:
            columns[column.name] = pd.Series(column.to_list(), dtype=object)
    return Given(rows, pd.DataFrame(columns), "table")


def _plain(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return it with names that are unique texts, rows numbered, columns of numpy where alike."""
    if frame.columns.nlevels > 1:
        raise DataBroken(
            f"{name} has columns of {frame.columns.nlevels} levels; join them: "
            f"{name}.columns = {name}.columns.map('_'.join)"
        )
    names = [str(one) for one in frame.columns]
    if len(set(names)) < len(names):
        raise DataBroken(f"{name} has two columns named {_twice(names)!r}")
    if not names:
        raise DataBroken(f"{name} has no columns")
    plain = {
        one: _plain_column(frame.iloc[:, place]).reset_index(drop=True)
        for place, one in enumerate(names)
    }
    return pd.DataFrame(plain)


def _plain_column(column: pd.Series[Any]) -> pd.Series[Any]:
    dtype = column.dtype
    if isinstance(dtype, pd.SparseDtype):
        return pd.Series(np.asarray(column))
    if isinstance(dtype, pd.ArrowDtype):
        if dtype.kind == "M":
            return column.astype("datetime64[us]" if dtype.pyarrow_dtype.tz is None else object)
        if dtype.kind not in "biuf":
            return column.astype(object).where(column.notna(), np.nan)
    return column


def _twice(names: Sequence[str]) -> str:
    return Counter(map(str, names)).most_common(1)[0][0]


def _vector(own: Any, matrix: NDArray[Any], name: str, form: Form) -> Given:
    flat = matrix.reshape(len(matrix), -1)
    column = pd.Series(list(flat) if matrix.ndim > 1 else matrix)
    return Given(own, pd.DataFrame({name: column}), form, tuple(matrix.shape[1:]))
