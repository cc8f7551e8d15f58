"""Estimators of our own around a native booster: what takes the place of the libraries' wrappers.

A wrapper of XGBoost or LightGBM can only be kept as a pickle. What is stored instead holds the
name of a native file beside the model and the little that turns its numbers into answers; `attach`
puts the checked file under it. They answer as the wrapper's `predict` and `predict_proba` do.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

from trimtab.contract.estimators.boosted.lightgbm_file import check_lightgbm
from trimtab.contract.estimators.boosted.xgboost_file import check_xgboost
from trimtab.contract.estimators.refused import ModelRefused, UnsafeModel

TYPES: Final = frozenset(f"{__name__}.{name}" for name in ("BoostedClassifier", "BoostedRegressor"))
"""Full names that may be loaded, if `attach` follows."""

FILE: Final = re.compile(r"booster-\d{1,6}\.(ubj|txt)")
_DEEPEST: Final = 50

Read = Callable[[str], bytes]
"""From the name of a file beside the model to its verified content."""


class _Boosted(BaseEstimator):  # type: ignore[misc]
    """What both kinds have in common.

    library: `xgboost` or `lightgbm`. file: name of the native file; None of a part that was never
    fitted. missing: the number that stands for a missing value. categories: of each column that
    was fitted as one of categories, its values in the order of their codes. scores: whether the
    wrapper had a `decision_function`; a calibration around it was fitted on these.
    """

    def __init__(
        self,
        library: str,
        file: str | None,
        missing: float = np.nan,
        categories: dict[str, list[Any]] | None = None,
        scores: bool = False,
    ) -> None:
        self.library = library
        self.file = file
        self.missing = missing
        self.categories = categories
        self.scores = scores

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803 - the field's own name
        """Refuse: what was stored answers only."""
        raise TypeError(f"a stored model of {self.library} cannot be fitted again")

    def __sklearn_is_fitted__(self) -> bool:
        return self.file is not None

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predict"}

    def _attach(self, raw: bytes) -> None:
        """Check the native file and load it; raise ModelRefused."""
        predict, features, groups = _LOADERS[self.library](raw)
        if features != self.n_features_in_ or groups != self._groups():
            raise UnsafeModel(
                f"{self.file} is of {features} features and {groups} numbers a row, the model of "
                f"{self.n_features_in_} and {self._groups()}"
            )
        self._predict = predict

    def _groups(self) -> int:
        raise NotImplementedError

    def _raw(self, X: Any, *, margin: bool = False) -> NDArray[Any]:  # noqa: N803
        rows = self._rows(X)
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
            raise ValueError(f"{self.n_features_in_} columns are expected, not {rows.shape[1:]}")
        return np.asarray(self._predict(rows, self.missing, margin))

    def _rows(self, X: Any) -> Any:  # noqa: N803
        if hasattr(X, "tocsr"):
            return X.tocsr()
        if not self.categories:
            if hasattr(X, "to_numpy"):
                X = X.to_numpy()  # noqa: N806
            return X if isinstance(X, np.ndarray) and X.dtype.kind != "O" else np.asarray(X, float)
        columns = np.asarray(X, dtype=object)
        coded = np.empty(columns.shape, dtype=np.float64)
        for index in range(columns.shape[1]):
            known = self.categories.get(str(index))
            column = columns[:, index]
            coded[:, index] = _numbers(column) if known is None else _codes(column, known)
        return coded


class BoostedClassifier(ClassifierMixin, _Boosted):  # type: ignore[misc]
    """A classifier of XGBoost or LightGBM; `classes_` are set by whoever makes it."""

    classes_: NDArray[Any]
    n_features_in_: int

    def predict_proba(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return probabilities (n, K)."""
        raw = self._raw(X)
        return raw if raw.ndim == 2 else np.vstack((1.0 - raw, raw)).transpose()

    @available_if(attrgetter("scores"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return raw scores (n,) of the second of two classes, or (n, K)."""
        return self._raw(X, margin=True)

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the class of the largest probability, (n,)."""
        chosen: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen

    def _groups(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)


class BoostedRegressor(RegressorMixin, _Boosted):  # type: ignore[misc]
    """A regressor of XGBoost or LightGBM; `n_outputs_` is set by whoever makes it."""

    n_outputs_: int
    n_features_in_: int

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return values (n,) or (n, T)."""
        return self._raw(X)

    def _groups(self) -> int:
        return self.n_outputs_


def attach(model: Any, read: Read) -> None:
    """Load the native file of every booster within `model`; raise ModelRefused."""
    for part in boosted_parts(model):
        if not isinstance(part, _Boosted):
            continue
        _check_fields(part)
        if part.file is not None:
            part._attach(read(part.file))


def boosted_parts(model: Any) -> Iterator[Any]:
    """Yield every object within `model` once: attributes, lists, dicts, object arrays."""
    seen: set[int] = set()
    waiting = [(model, 0)]
    while waiting:
        part, depth = waiting.pop()
        if id(part) in seen or isinstance(part, str | bytes | int | float | type | None):
            continue
        if depth > _DEEPEST:
            raise UnsafeModel("the model is nested deeper than 50 levels")
        seen.add(id(part))
        yield part
        waiting += [(child, depth + 1) for child in _children(part)]


def _children(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [*part.values(), *getattr(part, "__dict__", {}).values()]
    if isinstance(part, list | tuple | set | frozenset):
        return list(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype == object else []
    return list(getattr(part, "__dict__", {}).values())


def _check_fields(part: _Boosted) -> None:
    """Raise UnsafeModel where a stored estimator says what none says that was published."""
    fields = vars(part)
    if fields.get("scores") not in (True, False):
        raise UnsafeModel("a stored booster does not say whether it has scores")
    file, ending = fields.get("file"), {"xgboost": ".ubj", "lightgbm": ".txt"}
    is_named = isinstance(fields.get("library"), str) and part.library in ending
    if not is_named or "_predict" in fields or not isinstance(part.missing, float):
        raise UnsafeModel("a stored booster names no library that is known here")
    if file is None:
        return
    if not isinstance(file, str) or not FILE.fullmatch(file):
        raise UnsafeModel("a stored booster names no file of its own")
    if not file.endswith(ending[part.library]):
        raise UnsafeModel(f"{file} is no file of {part.library}")
    width = fields.get("n_features_in_")
    if not isinstance(width, int) or width < 1:
        raise UnsafeModel(f"{file} says nothing of its features")
    if isinstance(part, BoostedClassifier):
        classes = fields.get("classes_")
        if not isinstance(classes, np.ndarray) or classes.ndim != 1 or len(classes) < 2:
            raise UnsafeModel(f"{file} says nothing of its classes")
    elif not isinstance(fields.get("n_outputs_"), int):
        raise UnsafeModel(f"{file} says nothing of its outputs")
    _check_named_categories(part)


def _check_named_categories(part: _Boosted) -> None:
    if part.categories is None:
        return
    if not isinstance(part.categories, dict) or not all(
        isinstance(values, list) and str(index).isdecimal()
        for index, values in part.categories.items()
    ):
        raise UnsafeModel(f"{part.file} has categories that are no lists of values")


def _codes(column: NDArray[Any], known: list[Any]) -> NDArray[np.float64]:
    """Return the codes of values, NaN for what was not there at training; (n,)."""
    index = {str(value): float(code) for code, value in enumerate(known)}
    index |= {  # a column of whole numbers may arrive as one of doubles
        str(float(value)): float(code)
        for code, value in enumerate(known)
        if isinstance(value, int | float)
    }
    return np.array([index.get(str(value), np.nan) for value in column], dtype=np.float64)


def _numbers(column: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in column], dtype=np.float64)


def _load_xgboost(raw: bytes) -> tuple[Any, int, int]:
    shape = check_xgboost(raw)
    xgboost = _library("xgboost")
    booster = _read("xgboost", xgboost.Booster, model_file=bytearray(raw))

    def of_trees(rows: Any, missing: float, margin: bool) -> Any:
        kind = "margin" if margin else "value"
        return booster.inplace_predict(
            rows, missing=missing, validate_features=False, predict_type=kind
        )

    def of_linear(rows: Any, missing: float, margin: bool) -> Any:
        matrix = xgboost.DMatrix(rows, missing=missing)
        return booster.predict(matrix, validate_features=False, output_margin=margin)

    return of_linear if shape.is_linear else of_trees, shape.features, shape.groups


def _load_lightgbm(raw: bytes) -> tuple[Any, int, int]:
    shape = check_lightgbm(raw)
    booster = _read("lightgbm", _library("lightgbm").Booster, model_str=shape.text)

    def of_trees(rows: Any, _missing: float, margin: bool) -> Any:
        return booster.predict(rows, raw_score=margin)

    return of_trees, shape.features, shape.groups


_LOADERS: Final = {"xgboost": _load_xgboost, "lightgbm": _load_lightgbm}


def _read(library: str, make: Any, **what: Any) -> Any:
    try:
        return make(**what)
    except Exception as error:
        # Their errors derive from different classes, and hold a stack of C++.
        raise ModelRefused("Malformed", f"{library}: {str(error)[:200]}") from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelRefused(
            "NeedsBoosting",
            f"the model needs {name}, which this image does not have; models of XGBoost and "
            "LightGBM are served by the image serving-tables",
        ) from error
