"""What a model is given of a request's matrix: the matrix, a list of texts, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature, TableColumn, Tensor, feature_names, is_text
from trimtab.contract.estimators.refused import ModelRefused, RowsRefused
from trimtab.contract.rows import is_missing


class Feeding:
    """Makes of rows (n, columns of the signature) what the estimator takes.

    Raise ModelRefused where that is a table, and this image has no pandas.
    """

    def __init__(self, estimator: Any, signature: Signature) -> None:
        self._takes_texts = signature.takes == "texts"
        self._columns = signature.columns if signature.takes == "table" else None
        self._names = None if self._columns else _names(estimator, signature)
        self._as_nan, self._as_none = _marked(signature.inputs)
        self.makes_table = self._columns is not None or self._names is not None
        if self.makes_table:
            _need_pandas()
        width = sum(prod(tensor.shape) for tensor in signature.inputs)
        if self._columns is not None and len(self._columns) != width:
            raise ModelRefused(
                "Malformed", f"columns: {len(self._columns)}, the inputs are {width}"
            )
        if self._takes_texts and not (width == 1 and is_text(signature.inputs[0])):
            raise ModelRefused("Malformed", "takes: texts, and the inputs are not one text")

    def __call__(self, rows: NDArray[Any]) -> Any:
        """Return what the estimator is given; `rows` itself is left as it is."""
        rows = self._with_missing(rows)
        if self._takes_texts:
            return rows[:, 0]
        if self._columns is not None:
            return table(rows, self._columns)
        if self._names is not None:
            import pandas as pd

            return pd.DataFrame(rows, columns=self._names).infer_objects()
        return rows

    def _with_missing(self, rows: NDArray[Any]) -> NDArray[Any]:
        changed = rows
        if rows.dtype == object:
            for column in self._as_nan:
                absent = np.array([value is None for value in rows[:, column].tolist()])
                if absent.any():
                    changed = rows.copy() if changed is rows else changed
                    changed[absent, column] = np.nan
        for column in self._as_none:
            absent = np.isnan(rows[:, column].astype(np.float64))
            if absent.any():
                changed = rows.astype(object) if changed is rows else changed
                changed[absent, column] = None
        return changed


def table(rows: NDArray[Any], columns: Sequence[TableColumn]) -> Any:
    """Return the rows as a table of pandas with the dtypes that the model was fitted on.

    Raise RowsRefused where a dtype cannot hold a value: numpy would put another one there.
    """
    import pandas as pd

    made = {
        column.name: _column(pd, rows[:, place], column) for place, column in enumerate(columns)
    }
    return pd.DataFrame(made)


def _column(pd: Any, values: NDArray[Any], column: TableColumn) -> Any:
    if column.categories is not None:
        known = [None if is_missing(value) else value for value in values.tolist()]
        return pd.Categorical(known, categories=column.categories, ordered=column.ordered)
    if column.dtype.startswith("datetime64"):
        numbers = values.astype(np.float64)
        absent = np.isnan(numbers)
        times = np.where(absent, 0, numbers).astype(np.int64).astype(column.dtype.partition(",")[0])
        times[absent] = np.datetime64("NaT")
        return pd.Series(times)
    if column.dtype == "object":
        return pd.Series(values, dtype=object)
    numeric = not column.dtype.startswith("str")
    plain = pd.Series(values.astype(np.float64) if numeric else values)
    _check_range(plain, column)
    return plain.astype(column.dtype)


def _check_range(values: Any, column: TableColumn) -> None:
    if not column.dtype.lower().startswith(("int", "uint")):
        return
    limits = np.iinfo(column.dtype.lower())
    outside = values[(values < limits.min) | (values > limits.max)]
    if len(outside):
        raise RowsRefused(
            f"{column.name}: {outside.iloc[0]:.0f} is outside {limits.min} to {limits.max}, what "
            f"the {column.dtype} that the model was fitted on can hold"
        )


def _marked(inputs: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Return the columns whose missing values are NaN for None, and None for NaN."""
    as_nan: list[int] = []
    as_none: list[int] = []
    at = 0
    for tensor in inputs:
        size = prod(tensor.shape)
        if tensor.missing_allowed and tensor.missing_as == "nan" and is_text(tensor):
            as_nan.extend(range(at, at + size))
        elif tensor.missing_allowed and tensor.missing_as == "null" and not is_text(tensor):
            as_none.extend(range(at, at + size))
        at += size
    return as_nan, as_none


def _need_pandas() -> None:
    try:
        import pandas as pd  # noqa: F401
    except ImportError as error:
        raise ModelRefused(
            "NeedsPandas", "the model takes a table of pandas, and this image has no pandas"
        ) from error


def _names(estimator: Any, signature: Signature) -> list[str] | None:
    """Return the inputs' names for a model that was stored elsewhere and selects by name."""
    if not _selects_by_name(estimator):
        return None
    return [name for tensor in signature.inputs for name in feature_names(tensor)]


def _selects_by_name(estimator: Any) -> bool:
    steps = getattr(estimator, "steps", None)
    if steps:
        return _selects_by_name(steps[0][1])
    transformers = getattr(estimator, "transformers", None)
    if not isinstance(transformers, list):
        return False
    columns = [entry[2] for entry in transformers if len(entry) == 3]
    return any(
        isinstance(chosen, str)
        or (isinstance(chosen, list) and any(isinstance(name, str) for name in chosen))
        for chosen in columns
    )
