"""A fitted model by position: what it selected by name it selects by number, and needs no pandas.

The copy that is stored takes the matrix of the serving container. Nothing that was learned is
changed; whether the copy answers as the model does is compared by whoever makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.training.boosters import own_copy

_NAMES: Final = ("feature_names_in_", "_sklearn_output_config")
_ASKED_WITH_X: Final = ("best_estimator_", "estimator_", "regressor_", "estimators_")
"""Where meta-estimators keep what they give their own X to."""
_CONVERTING: Final = frozenset(
    {
        "KNNImputer",
        "MaxAbsScaler",
        "MinMaxScaler",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    }
)
"""What makes float64 of objects by itself."""


@dataclass(frozen=True)
class Layout:
    """Where the columns that the model was fitted on lie in the matrix.

    places: matrix column by column of the table; those that are not there are not looked at.
    texts: columns of the matrix that hold text, so that it is one of objects; others are numbers.
    """

    places: dict[int, int]
    width: int
    texts: frozenset[int]


def used_columns(model: Any, width: int) -> tuple[list[int], set[int], bool]:
    """Return which columns of the table the model looks at, which of them it takes as lists of
    texts, and whether it selects at all.

    It looks at all of them unless it is ColumnTransformers alone that are given the table.
    """
    readers = list(_readers(model))
    if not readers or not all(_is_column_transformer(one) for one in readers):
        return list(range(width)), set(), False
    used: set[int] = set()
    texts: set[int] = set()
    for reader in readers:
        for name, step, columns in reader.transformers_:
            chosen = reader._transformer_to_input_indices[name]
            if not (isinstance(step, str) and step == "drop"):
                used.update(chosen)
                if _is_scalar(columns):
                    texts.update(chosen)
    return sorted(used), texts, True


def by_position(model: Any, layout: Layout) -> Any:
    """Return a copy that takes the matrix; raise CodeBroken's causes as they come (copying)."""
    copied = own_copy(model)
    rewriter = _Rewriter(layout)
    for reader in _readers(copied):
        if _is_column_transformer(reader):
            rewriter.columns(reader, layout)
        elif getattr(reader, "_preprocessor", None) is not None:
            rewriter.columns(reader._preprocessor, layout, converts=True)
    rewriter.walk(copied)
    return copied


def without_selectors(model: Any) -> Any:
    """Return a copy for a table: callables that chose columns are replaced by what they chose."""
    copied = own_copy(model)
    _Rewriter(None).walk(copied)
    return copied


def _readers(model: Any) -> Iterator[Any]:
    """Return the estimators that are given the table itself."""
    steps = getattr(model, "steps", None)
    if isinstance(steps, list):
        first = next((step for _, step in steps if step not in (None, "passthrough")), None)
        if first is not None:
            yield from _readers(first)
        return
    parts = getattr(model, "transformer_list", None)
    if isinstance(parts, list):
        for _, part in parts:
            if part not in ("drop", "passthrough"):
                yield from _readers(part)
        return
    calibrated = getattr(model, "calibrated_classifiers_", None)
    if calibrated is not None:
        for one in calibrated:
            yield from _readers(one.estimator)
        return
    inner = [getattr(model, name) for name in _ASKED_WITH_X if hasattr(model, name)]
    several = [one for found in inner for one in (found if isinstance(found, list) else [found])]
    composed = [one for one in several if _is_composed(one)]
    if composed and len(composed) == len(several):
        for one in composed:
            yield from _readers(one)
        return
    if type(model).__name__ == "FrozenEstimator":
        yield from _readers(model.estimator)
        return
    yield model


def _is_composed(model: Any) -> bool:
    return any(_is_column_transformer(one) for one in _readers(model))


def _is_column_transformer(model: Any) -> bool:
    return hasattr(model, "transformers_") and hasattr(model, "_transformer_to_input_indices")


def _is_scalar(columns: Any) -> bool:
    return isinstance(columns, str | int | np.integer) and not isinstance(columns, bool)


class _Rewriter:
    """layout: None for a table, whose names stay."""

    def __init__(self, layout: Layout | None) -> None:
        self._layout = layout
        self._seen: dict[int, Any] = {}
        self._done: set[int] = set()

    def walk(self, found: Any) -> None:
        """Rewrite every estimator in it."""
        if id(found) in self._seen:
            return
        if isinstance(found, list | tuple):
            self._seen[id(found)] = found
            for one in found:
                self.walk(one)
        elif isinstance(found, dict):
            self._seen[id(found)] = found
            for one in found.values():
                self.walk(one)
        elif isinstance(found, np.ndarray):
            if found.dtype == object:
                for one in found.ravel().tolist():
                    if not isinstance(one, str | float | int | None):
                        self.walk(one)
        elif type(found).__module__.partition(".")[0] == "sklearn" and hasattr(found, "__dict__"):
            self._seen[id(found)] = found
            for one in list(vars(found).values()):
                self.walk(one)
            self._estimator(found)

    def _estimator(self, found: Any) -> None:
        if _is_column_transformer(found):
            self.columns(found, None)
        elif hasattr(found, "transformers") and isinstance(found.transformers, list):
            # A template that was never fitted itself.
            found.transformers = [
                (*entry[:2], [] if callable(entry[2]) else entry[2]) for entry in found.transformers
            ]
        if self._layout is None:
            return
        for name in _NAMES:
            vars(found).pop(name, None)
        if type(getattr(found, "missing_values", None)).__name__ == "NAType":
            found.missing_values = np.nan
        for name in ("categories_", "_encodings"):
            if isinstance(vars(found).get(name), list):
                setattr(found, name, [_without_times(one) for one in getattr(found, name)])

    def columns(self, found: Any, layout: Layout | None, *, converts: bool = False) -> None:
        """Name the columns of a ColumnTransformer by position; `layout` if it reads the table.

        converts: whether its steps make numbers of objects by themselves.
        """
        if id(found) in self._done:
            return
        self._done.add(id(found))
        if self._layout is None:
            self._resolve(found)
            return
        places = layout.places if layout else {one: one for one in range(found.n_features_in_)}
        indices = found._transformer_to_input_indices
        fitted: list[tuple[str, Any, Any]] = []
        chosen: dict[str, Any] = {}
        for name, step, columns in found.transformers_:
            is_dropped = isinstance(step, str) and step == "drop"
            moved = [] if is_dropped else [places[one] for one in indices[name]]
            indices[name] = moved
            chosen[name] = moved[0] if _is_scalar(columns) and moved else moved
            own = step if converts or layout is None else _of_numbers(step, chosen[name], layout)
            fitted.append((name, own, chosen[name]))
        found.transformers_ = fitted
        found.transformers = [(name, step, chosen[name]) for name, step, _ in found.transformers]
        found._columns = [columns for _, _, columns in found.transformers]
        rest = chosen.get("remainder", [])
        indices["remainder"] = rest
        found._remainder = ("remainder", found.remainder, rest)
        if layout is not None:
            found.n_features_in_ = layout.width

    def _resolve(self, found: Any) -> None:
        names = getattr(found, "feature_names_in_", None)
        indices = found._transformer_to_input_indices

        def plain(entry: tuple[str, Any, Any]) -> tuple[str, Any, Any]:
            if not callable(entry[2]):
                return entry
            places = indices[entry[0]]
            return (*entry[:2], places if names is None else [str(names[one]) for one in places])

        found.transformers = [plain(entry) for entry in found.transformers]
        found._columns = [columns for _, _, columns in found.transformers]


def numbers(width: int) -> Any:
    """Return a fitted transformer that makes float64 of objects, lets NaN pass and changes nothing.

    FunctionTransformer cannot be stored without trusting functions.
    """
    from sklearn.preprocessing import StandardScaler

    same = StandardScaler(with_mean=False, with_std=False)
    return same.fit(np.zeros((1, max(width, 1))))


def _of_numbers(step: Any, columns: Any, layout: Layout) -> Any:
    """Give a step numbers, as it had them of the table, where the matrix holds objects."""
    from sklearn.pipeline import Pipeline

    if not layout.texts or isinstance(step, str) or not isinstance(columns, list) or not columns:
        return step
    if layout.texts.intersection(columns) or type(_first(step)).__name__ in _CONVERTING:
        return step
    return Pipeline([("numbers", numbers(len(columns))), ("own", step)])


def _first(step: Any) -> Any:
    steps = getattr(step, "steps", None)
    return _first(steps[0][1]) if steps else step


def _without_times(categories: NDArray[Any]) -> NDArray[Any]:
    """Times reach the stored model as numbers of the unit that they had."""
    if not isinstance(categories, np.ndarray) or categories.dtype.kind != "M":
        return categories
    whole = categories.astype(np.int64).astype(np.float64)
    return np.where(np.isnat(categories), np.nan, whole)
