"""The copy of a model that is stored: without what only training needs, and no file may hold.

The caller's own object is never changed: what has to change is copied, and everything around it,
the rest is shared. Whoever stores the copy compares its answers afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.rebuilt import spared
from trimtab.contract.estimators.walk import kinds_of

_SCORERS: Final = frozenset(
    {
        "sklearn.metrics._scorer._BaseScorer",
        "sklearn.metrics._scorer._MultimetricScorer",
        "sklearn.metrics._scorer._PassthroughScorer",
    }
)
_CURVE_SCORER: Final = "sklearn.metrics._scorer._CurveScorer"
_SPLITTERS: Final = frozenset(
    {
        "sklearn.model_selection._split.BaseCrossValidator",
        "sklearn.model_selection._split._RepeatedSplits",
        "sklearn.model_selection._split.BaseShuffleSplit",
        "sklearn.model_selection._split._CVIterableWrapper",
    }
)


def storable(model: Any) -> Any:
    """Return `model`, or a copy of it that answers the same and holds no more than it has to."""
    return _Copying().stored(model)


class _Copying:
    """One pass; what was met before is the same object again."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}

    def stored(self, part: Any) -> Any:
        if id(part) in self._done:
            return self._done[id(part)][1]
        self._done[id(part)] = (part, part)  # also keeps it alive, so that the id stays its own
        found = self._copied(part)
        self._done[id(part)] = (part, found)
        return found

    def _copied(self, part: Any) -> Any:
        if isinstance(part, dict):
            return self._changed_dict(part)
        if type(part) is list or type(part) is tuple:
            inner = [self.stored(one) for one in part]
            return part if _same(inner, part) else type(part)(inner)
        if isinstance(part, tuple) and hasattr(part, "_fields"):
            inner = [self.stored(one) for one in part]
            return part if _same(inner, part) else type(part)(*inner)
        if isinstance(part, np.ndarray) and part.dtype == object:
            return self._changed_array(part)
        if type(part).__module__.partition(".")[0] == "sklearn" and hasattr(part, "__dict__"):
            return self._changed_object(part)
        return part

    def _changed_dict(self, part: dict[Any, Any]) -> dict[Any, Any]:
        inner = {key: self.stored(value) for key, value in part.items()}
        if all(inner[key] is value for key, value in part.items()):
            return part
        copy = type(part)()
        copy.update(inner)
        return copy

    def _changed_array(self, part: Any) -> Any:
        flat = part.ravel()
        inner = [self.stored(one) for one in flat]
        if _same(inner, flat):
            return part
        copy = np.empty(len(inner), dtype=object)
        for place, one in enumerate(inner):
            copy[place] = one
        return copy.reshape(part.shape)

    def _changed_object(self, part: Any) -> Any:
        held = vars(part)
        changed = {
            name: _without_training(value)
            for name, value in held.items()
            if getattr(value, "__self__", None) is not part  # a method that early stopping left
        }
        changed |= spared(part)
        for kind, change in _CHANGES.items():
            if kind in kinds_of(part):
                changed |= {k: v for k, v in change(part).items() if k in held}
        changed = {
            name: self.stored(value) for name, value in changed.items() if value is not _GONE
        }
        changed.pop("_metadata_request", None)
        if len(changed) == len(held) and all(changed[name] is held[name] for name in changed):
            return part
        copy = object.__new__(type(part))
        vars(copy).update(changed)
        return copy


_GONE: Final = object()


def _without_training(value: Any) -> Any:
    """Scorers and splitters of cross-validation may be a user's own, and predict asks none."""
    kinds = kinds_of(value)
    if _CURVE_SCORER in kinds or not (kinds & _SCORERS or kinds & _SPLITTERS):
        return value
    return None


def _of_search(_search: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("cv_results_", "scorer_"), _GONE),
        **dict.fromkeys(("scoring", "cv")),
        **{name: {} for name in ("param_grid", "param_distributions")},
    }


def _of_curve(scorer: Any) -> dict[str, Any]:
    """The threshold of a classifier is applied to the class that its scorer calls positive."""
    return {"_score_func": None, "_kwargs": {"pos_label": scorer._get_pos_label()}}


def _of_columns(transformer: Any) -> dict[str, Any]:
    """Columns that a function chose are those that it chose when it was fitted."""
    fitted = {name: columns for name, _, columns in getattr(transformer, "transformers_", [])}
    chosen = [
        (name, step, fitted.get(name, columns) if callable(columns) else columns)
        for name, step, columns in transformer.transformers
    ]
    has_functions = any(callable(columns) for _, _, columns in transformer.transformers)
    return {"transformers": chosen} if has_functions else {}


_CHANGES: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "sklearn.cluster._bisect_k_means.BisectingKMeans": lambda _: {"_kmeans_single": _GONE},
    "sklearn.cluster._birch.Birch": lambda _: dict.fromkeys(("root_", "dummy_leaf_"), _GONE),
    "sklearn.compose._column_transformer.ColumnTransformer": _of_columns,
    "sklearn.feature_selection._univariate_selection._BaseFilter": lambda _: {"score_func": None},
    _CURVE_SCORER: _of_curve,
    "sklearn.linear_model._ransac.RANSACRegressor": lambda ransac: (
        {"loss": "absolute_error"} if callable(ransac.loss) else {}
    ),
    "sklearn.model_selection._search.BaseSearchCV": _of_search,
    "sklearn.model_selection._classification_threshold.TunedThresholdClassifierCV": lambda _: {
        "scoring": None
    },
    "sklearn.neural_network._multilayer_perceptron.BaseMultilayerPerceptron": lambda _: {
        "_optimizer": _GONE
    },
}
"""By the full name of a class: what its stored copy holds instead, `_GONE` for nothing."""


def _same(first: Any, second: Any) -> bool:
    return all(one is other for one, other in zip(first, second, strict=True))
