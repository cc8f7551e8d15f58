"""From a dotted path and parameters to an estimator that takes the serving matrix."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from trimtab.contract.artifact import Tensor, is_text
from trimtab.training.columns import Task, has_categories
from trimtab.training.errors import CodeBroken
from trimtab.training.kinds import learns_alone
from trimtab.training.ways import OWN_CLASS, check_predicts

_BOOSTERS: Final = ("xgboost", "xgboost.sklearn", "lightgbm", "lightgbm.sklearn")


def make_estimator(
    path: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[Tensor],
    task: Task,
    seed: int,
    *,
    targets: int = 1,
) -> Any:
    """Return an unfitted estimator for matrices of these inputs.

    A class of scikit-learn, XGBoost or LightGBM by dotted path
    (`sklearn.ensemble.RandomForestClassifier`, `xgboost.XGBClassifier`; no other package), or
    `module:function`, which is called with the parameters. `random_state` is the seed where the
    estimator has one and none is given. Text columns are one-hot coded. An estimator of one target
    is fitted once for each of several `targets`.
    Numbers that may be missing are put at the mean where the estimator cannot take gaps.
    Raise CodeBroken.
    """
    estimator = _called(path, parameters) if ":" in path else _by_path(path, parameters)
    for method in ("fit", "predict", "get_params", "set_params"):
        if not hasattr(estimator, method):
            raise CodeBroken(f"{path} gives {type(estimator).__name__}, which has no {method}()")
    if "random_state" in estimator.get_params() and "random_state" not in parameters:
        estimator.set_params(random_state=seed)
    if type(estimator).__module__.startswith("lightgbm.") and "verbose" not in parameters:
        estimator.set_params(verbose=-1)  # it would write lines of its own among ours
    _check_task(path, estimator, task)
    return _prepared(_of_targets(estimator, task, targets), inputs)


def check_model(model: Any) -> None:
    """Raise CodeBroken unless `model` is an estimator that can be fitted and asked."""
    if isinstance(model, type):
        raise CodeBroken(f"{model.__name__} is a class; give an estimator: {model.__name__}()")
    if hasattr(model, "fit"):
        check_predicts(model)
    for method in ("fit", "predict"):
        if not hasattr(model, method):
            raise CodeBroken(
                f"{type(model).__name__} has no {method}(); an estimator of scikit-learn or an "
                "ONNX graph (bytes, a path, or a ModelProto) can be published"
            )
    if not hasattr(model, "__sklearn_tags__"):
        raise CodeBroken(
            f"{type(model).__name__} is no estimator of scikit-learn, and a class of your own is "
            f"not stored: {OWN_CLASS}"
        )


def _by_path(path: str, parameters: Mapping[str, Any]) -> Any:
    from sklearn.base import BaseEstimator

    module, _, name = path.rpartition(".")
    is_ours = module.partition(".")[0] == "sklearn" or module in _BOOSTERS
    if not is_ours or name.startswith("_"):
        raise CodeBroken(
            f"--estimator {path}: only classes of scikit-learn, xgboost and lightgbm go by dotted "
            "path; name your own code as module:function"
        )
    found = getattr(_imported(path, module), name, None)
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator)):
        raise CodeBroken(f"--estimator {path}: {module.partition('.')[0]} has no such estimator")
    return _made(path, found, parameters)


def _called(path: str, parameters: Mapping[str, Any]) -> Any:
    module, _, name = path.partition(":")
    found = getattr(_imported(path, module), name, None)
    if not callable(found):
        raise CodeBroken(f"--estimator {path}: {module} has no function {name}")
    return _made(path, found, parameters)


def _imported(path: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CodeBroken(f"--estimator {path}: {error}") from error


def _made(path: str, make: Any, parameters: Mapping[str, Any]) -> Any:
    try:
        return make(**parameters)
    except (TypeError, ValueError) as error:
        raise CodeBroken(f"--estimator {path}: {error}") from error


def _check_task(path: str, estimator: Any, task: Task) -> None:
    from sklearn.base import is_classifier, is_regressor

    if learns_alone(estimator):
        raise CodeBroken(
            f"--estimator {path} learns without labels, so that no version of it can be compared "
            "with the one that serves; make a new one with trimtab.training.publish"
        )
    if task == "classification" and not is_classifier(estimator):
        raise CodeBroken(f"--estimator {path} is no classifier, but the labels are classes")
    if task == "regression" and not is_regressor(estimator):
        raise CodeBroken(f"--estimator {path} is no regressor, but the labels are numbers")


def _of_targets(estimator: Any, task: Task, targets: int) -> Any:
    if targets == 1 or takes_targets(estimator):
        return estimator
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor

    wrap = MultiOutputClassifier if task == "classification" else MultiOutputRegressor
    return wrap(estimator)


def takes_targets(model: Any) -> bool:
    """Whether the model may have several targets."""
    from sklearn.base import is_classifier
    from sklearn.utils import get_tags

    if type(model).__module__.partition(".")[0] in ("lightgbm", "xgboost") and is_classifier(model):
        return False  # XGBoost fits several labels, and says nothing of their classes
    tags = get_tags(model)
    several = bool(tags.target_tags.multi_output)
    of_classes = tags.classifier_tags
    return several or (of_classes is not None and bool(of_classes.multi_label))


def _prepared(estimator: Any, inputs: Sequence[Tensor]) -> Any:
    """Columns are named by position: the serving container has matrices, not tables."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.utils import get_tags

    gaps = any(one.missing_allowed and not _is_category(one) for one in inputs)
    fills = gaps and not get_tags(estimator).input_tags.allow_nan
    if not has_categories(inputs):
        return make_pipeline(_imputer(), estimator) if fills else estimator
    texts: list[int] = []
    numbers: list[int] = []
    at = 0
    for tensor in inputs:
        width = prod(tensor.shape)
        (texts if _is_category(tensor) else numbers).extend(range(at, at + width))
        at += width
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts: list[Any] = [("categories", one_hot, texts)]
    if numbers:
        parts.append(("numbers", _imputer() if fills else "passthrough", numbers))
    return make_pipeline(ColumnTransformer(parts, sparse_threshold=0), estimator)


def _is_category(tensor: Tensor) -> bool:
    return is_text(tensor) or tensor.categories is not None


def _imputer() -> Any:
    """A column without a single number keeps its place, since the next version may have some."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer(keep_empty_features=True)
