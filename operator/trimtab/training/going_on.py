"""An estimator goes on from where it is: what it has learned stays, recent rows are added.

Estimators with `partial_fit` take the rows in steps; those with `warm_start` take them with what
they have as the start, forests and boosting with further trees. Steps before the last of a pipeline
stay as they are, since the last one has learned what they give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken, DataBroken

STEPS: Final = 5
"""Times that `partial_fit` sees the rows."""
FURTHER_TREES: Final = 0.2
"""Of the trees that an ensemble has."""
_ITS_NAME: Final = {
    "BoostedClassifier": "a classifier of XGBoost or LightGBM",
    "BoostedRegressor": "a regressor of XGBoost or LightGBM",
}
"""What a person calls the types that are stored."""
_COUNTS: Final = ("n_estimators", "max_iter")


def go_on(model: Any, rows: Matrix, truths: NDArray[Any], classes: Sequence[Any], seed: int) -> Any:
    """Fit `model` further, in place, and return it.

    rows: [n, features]; truths: [n] or [n, T]; classes: of a classifier, all of them.
    Raise CodeBroken where the model cannot go on, DataBroken where it cannot with these rows.
    """
    table: Any = rows
    last = model
    while True:
        if hasattr(last, "best_estimator_"):
            last = last.best_estimator_
        elif getattr(last, "steps", None):
            for _, step in last.steps[:-1]:
                if step not in (None, "passthrough"):
                    table = step.transform(table)
            last = last.steps[-1][1]
        else:
            break
    try:
        if hasattr(last, "partial_fit"):
            _step_by_step(last, table, truths, classes, seed)
        elif "warm_start" in last.get_params(deep=False):
            _check_all_classes(last, truths)
            _warmly(last, table, truths)
        else:
            name = _ITS_NAME.get(type(last).__name__, type(last).__name__)
            raise CodeBroken(
                f"{name} has neither partial_fit nor warm_start, so it cannot go on; train it anew"
            )
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:400]
        raise CodeBroken(f"{type(last).__name__} could not go on: {said}") from error
    return model


def _step_by_step(
    last: Any, table: Any, truths: NDArray[Any], classes: Sequence[Any], seed: int
) -> None:
    random = np.random.default_rng(seed)
    for _ in range(STEPS):
        order = random.permutation(len(truths))
        if classes and truths.ndim == 1:
            last.partial_fit(table[order], truths[order], classes=np.asarray(classes))
        else:
            last.partial_fit(table[order], truths[order])


def _check_all_classes(last: Any, truths: NDArray[Any]) -> None:
    """Raise where scikit-learn would leave its memory, or fail without saying why.

    What goes on by `warm_start` has one column of numbers a class, and fills as many as it is
    given: with fewer classes that ends the process in boosting of its own trees.
    """
    known: Any = getattr(last, "classes_", None)
    if known is None:
        return
    columns = truths.reshape(len(truths), -1)
    of_each = known if isinstance(known, list) else [known] * columns.shape[1]
    for place, classes in enumerate(of_each):
        absent = sorted(set(np.asarray(classes).tolist()) - set(columns[:, place].tolist()))
        if absent:
            raise DataBroken(
                f"the rows to learn from, 60 % of those given, hold no {absent[0]!r}; "
                f"{type(last).__name__} goes on only with rows of every class that it knows: give "
                "some of that one, older ones too, or train it anew"
            )
    if np.any(getattr(last, "is_categorical_", None)):
        raise CodeBroken(
            f"{type(last).__name__} with categories cannot go on: scikit-learn would number them "
            "anew; train it anew"
        )


def _warmly(last: Any, table: Any, truths: NDArray[Any]) -> None:
    """Ensembles keep their trees only where they are to have more."""
    before = last.get_params(deep=False)
    further: dict[str, Any] = {"warm_start": True}
    counted = next((name for name in _COUNTS if _is_ensemble(last) and name in before), None)
    if counted is not None:
        had = len(last.estimators_) if hasattr(last, "estimators_") else int(last.n_iter_)
        further[counted] = had + max(1, round(FURTHER_TREES * had))
    last.set_params(**further)
    last.fit(table, truths)
    last.set_params(warm_start=before["warm_start"])


def _is_ensemble(model: Any) -> bool:
    return hasattr(model, "estimators_") or hasattr(model, "_predictors")
