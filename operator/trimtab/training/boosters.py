"""Models of XGBoost and LightGBM on their way into an artifact: native files, and no pickle.

Each of their wrappers within a model gives way to an estimator of ours that names its native file
(see `trimtab.contract.estimators.boosted`). Only what an answer needs is stored: trees up to the
best iteration, and neither names of columns nor notes of the training.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from trimtab.contract.artifact import Signature, Tensor
from trimtab.contract.estimators.boosted.estimators import (
    BoostedClassifier,
    BoostedRegressor,
    boosted_parts,
)
from trimtab.training.errors import CodeBroken

_WRAPPERS: Final = {"xgboost": "XGBModel", "lightgbm": "LGBMModel"}
_NO_PROBABILITIES: Final = "binary:logitraw"


@dataclass(frozen=True)
class Stored:
    """A model without wrappers, the native files that it names, and the libraries of these."""

    model: Any
    files: Mapping[str, bytes]
    libraries: tuple[str, ...]


def refuse_unpublished(model: Any) -> None:
    """Raise CodeBroken for what looks like a model of boosted trees and is not taken."""
    library, name = type(model).__module__.partition(".")[0], type(model).__name__
    if library == "catboost":
        raise CodeBroken(
            f"{name} of CatBoost is not stored as it is; export it with "
            'model.save_model("model.onnx", format="onnx") and publish that graph'
        )
    if library in _WRAPPERS and name.endswith("Ranker"):
        raise CodeBroken(
            f"{name} orders the rows of one query; only classes and numbers of single rows are "
            "served: fit a regressor on the same labels"
        )
    if library in _WRAPPERS and name == "Booster":
        way = (
            "xgboost.XGBClassifier() or XGBRegressor(), and its load_model(...) takes the file "
            "that save_model(...) of the Booster writes"
            if library == "xgboost"
            else "lightgbm.LGBMClassifier(...) or LGBMRegressor(...), fitted on the same rows"
        )
        raise CodeBroken(
            f"a bare Booster of {library} does not say whether its numbers are classes; publish "
            f"{way}"
        )


def without_wrappers(model: Any) -> Stored:
    """Return `model` with every wrapper replaced; the same object where there is none.

    Raise CodeBroken where one of them cannot be stored.
    """
    if not any(library in sys.modules for library in _WRAPPERS):
        return Stored(model, {}, ())
    files: dict[str, bytes] = {}
    places: dict[int, Any] = {}
    libraries: set[str] = set()
    waiting = [part for part in boosted_parts(model) if _library_of(part) is not None]
    for part in waiting:
        library = _library_of(part)
        assert library is not None
        libraries.add(library)
        places[id(part)] = _replaced(part, library, files)
    if not places:
        return Stored(model, {}, ())
    return Stored(copy.deepcopy(model, places), files, tuple(sorted(libraries)))


def as_fitted(model: Any, signature: Signature) -> Any:
    """Return what answers for a matrix as `model` does for the table that it was fitted on.

    Only where the model itself is a wrapper that was fitted on columns of categories.
    """
    library = _library_of(model)
    known = None if library is None else _categories(model, library)
    return model if not known else _OfTable(model, known, signature.inputs)


class _OfTable:
    def __init__(self, model: Any, known: dict[str, list[Any]], inputs: list[Tensor]) -> None:
        self._model, self._known, self._inputs = model, known, inputs
        self.classes_ = getattr(model, "classes_", None)
        if hasattr(model, "predict_proba"):
            self.predict_proba = lambda rows: model.predict_proba(self._frame(rows))

    def predict(self, rows: Any) -> Any:
        return self._model.predict(self._frame(rows))

    def _frame(self, rows: Any) -> Any:
        import pandas as pd

        columns = {}
        for index, tensor in enumerate(self._inputs):
            values, known = rows[:, index], self._known.get(str(index))
            if known is None:
                columns[tensor.name] = pd.Series(values.astype(np.float64))
                continue
            by_name = {str(value): value for value in known}
            by_name |= {str(float(v)): v for v in known if isinstance(v, int | float)}
            columns[tensor.name] = pd.Series(
                pd.Categorical([by_name.get(str(value)) for value in values], categories=known)
            )
        return pd.DataFrame(columns)


def own_copy(model: Any) -> Any:
    """Return a deep copy in which boosters share their trees with `model`.

    LightGBM's own deep copy forgets which columns are categories.
    """
    found = [part for part in boosted_parts(model) if _library_of(part) is not None]
    return copy.deepcopy(model, {id(part): copy.copy(part) for part in found})


def _library_of(part: Any) -> str | None:
    for library, base in _WRAPPERS.items():
        module = sys.modules.get(library)
        kind = getattr(getattr(module, "sklearn", None), base, None)
        if kind is not None and isinstance(part, kind):
            return library
    return None


def _replaced(part: Any, library: str, files: dict[str, bytes]) -> Any:
    is_classifier = _is_classifier(part)
    make = BoostedClassifier if is_classifier else BoostedRegressor
    if not part.__sklearn_is_fitted__():
        return make(library, None)
    if is_classifier and (callable(part.objective) or part.objective == _NO_PROBABILITIES):
        raise CodeBroken(
            f"{type(part).__name__} was fitted with an objective that gives no probabilities; "
            "fit it with one of the library's own, such as binary:logistic or multi:softprob"
            if library == "xgboost"
            else f"{type(part).__name__} was fitted with an objective of its own, which is no "
            "part of the file; fit it with one of the library's own"
        )
    file = f"booster-{len(files)}" + {"xgboost": ".ubj", "lightgbm": ".txt"}[library]
    categories = _categories(part, library)
    missing = float(part.missing) if library == "xgboost" else float("nan")
    has_scores = hasattr(part, "decision_function")
    estimator = make(library, file, missing, categories or None, has_scores)
    estimator.n_features_in_ = int(part.n_features_in_)
    if is_classifier:
        estimator.classes_ = np.asarray(np.asarray(part.classes_).tolist())
    files[file] = _from_xgboost(part) if library == "xgboost" else _from_lightgbm(part)
    if not is_classifier:
        estimator.n_outputs_ = _outputs(part, library)
    return estimator


def _is_classifier(part: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(part))


def _outputs(part: Any, library: str) -> int:
    if library == "lightgbm":
        return int(part.booster_.num_model_per_iteration())
    says = json.loads(part.get_booster().save_config())["learner"]["learner_model_param"]
    return max(int(says["num_target"]), int(says["num_class"]), 1)


def _from_xgboost(part: Any) -> bytes:
    import xgboost

    booster = part.get_booster()
    best = booster.attr("best_iteration")
    booster = booster.copy() if best is None else booster[: int(best) + 1]
    for name in booster.attributes():
        booster.set_attr(**{name: None})
    booster.feature_names = None
    booster.feature_types = None
    if part.objective == "multi:softmax":  # the same trees; probabilities are the softmax of both
        booster.set_param({"objective": "multi:softprob"})
    document = json.loads(bytes(booster.save_raw("json")))
    if _named_categories(document):
        _trees_of(document)["cats"] = {"enc": [], "feature_segments": [], "sorted_idx": []}
        booster = xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))
    return bytes(booster.save_raw("ubj"))


def _from_lightgbm(part: Any) -> bytes:
    text: str = part.booster_.model_to_string()
    head, _, rest = text.partition("\nTree=0\n")
    kept = [line for line in head.split("\n") if not line.startswith("feature_names=")]
    names = " ".join(f"Column_{index}" for index in range(part.n_features_in_))
    end = rest.rfind("\nend of trees\n")
    tail = "\nend of trees\n\nparameters:\n\nend of parameters\n\npandas_categorical:null\n"
    at = next(i for i, line in enumerate(kept) if line.startswith("feature_infos="))
    kept.insert(at, f"feature_names={names}")
    return ("\n".join(kept) + "\nTree=0\n" + rest[:end] + tail).encode()


def _categories(part: Any, library: str) -> dict[str, list[Any]]:
    """Return the values of each column that was fitted as one of a table's categories."""
    if not part.__sklearn_is_fitted__():
        return {}
    if library == "lightgbm":
        known = part.booster_.pandas_categorical or []
        columns = part.booster_.params.get("categorical_column", [])
        if known and len(columns) != len(known):
            raise CodeBroken(
                "LightGBM was fitted on categories of a table and on others beside them; give all "
                "of them the dtype `category`"
            )
        return {str(int(at)): list(values) for at, values in zip(columns, known, strict=False)}
    return _named_categories(json.loads(bytes(part.get_booster().save_raw("json"))))


def _trees_of(document: dict[str, Any]) -> dict[str, Any]:
    booster = document["learner"]["gradient_booster"]
    found: dict[str, Any] = booster.get("gbtree", booster)["model"]
    return found


def _named_categories(document: dict[str, Any]) -> dict[str, list[Any]]:
    encodings = _trees_of(document).get("cats", {}).get("enc", [])
    found: dict[str, list[Any]] = {}
    for index, encoding in enumerate(encodings):
        values = encoding["values"]
        if "offsets" not in encoding:
            found[str(index)] = values
        elif values:
            text, ends = bytes(values), encoding["offsets"]
            found[str(index)] = [text[start:end].decode() for start, end in pairwise(ends)]
    return found
