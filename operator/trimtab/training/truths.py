"""The truths that a person gives to a model: refused with place and remedy where they are wrong.

What passes here is [n], or [n, T] for a model of several targets; without gaps, of one kind, and
as many as there are rows. A wrong one would otherwise train garbage without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trimtab.training.columns import Task, infer_task
from trimtab.training.errors import CodeBroken, DataBroken
from trimtab.training.estimators import takes_targets

_MOST_TARGETS: Final = 200


def read_truths(given: ArrayLike, rows: int, name: str = "y") -> NDArray[Any]:
    """Return the truths [n] or [n, T]; raise DataBroken. rows: how many X has."""
    truths = _array(given, name)
    if truths.ndim == 2 and truths.shape[1] == 1:
        truths = truths[:, 0]
    if truths.ndim not in (1, 2):
        raise DataBroken(
            f"{name} has {truths.ndim} dimensions; one truth a row is wanted, or one column a "
            "target"
        )
    if len(truths) != rows:
        raise DataBroken(f"{name} has {len(truths):,} truths, its X has {rows:,} rows")
    if not rows:
        raise DataBroken(f"{name} has no truths")
    if truths.ndim == 2 and not 2 <= truths.shape[1] <= _MOST_TARGETS:
        raise DataBroken(
            f"{name} has {truths.shape[1]} columns; at most {_MOST_TARGETS} targets are served"
        )
    _check_gaps(truths, name)
    _check_kinds(truths, name)
    return truths


def task_of(model: Any, truths: NDArray[Any], wanted: Task | None, name: str = "y") -> Task:
    """Return what the model does; of a graph, which does not say, what the truths are.

    Raise CodeBroken where `wanted` says otherwise, DataBroken where the truths are not of the task.
    """
    known = _task_of(model)
    if wanted is not None and known is not None and wanted != known:
        raise CodeBroken(f"task={wanted!r}, but {type(model).__name__} does {known}")
    first = truths if truths.ndim == 1 else truths[:, 0]
    task = wanted or known or infer_task(pd.Series(first, name=name))
    numbers = truths.dtype.kind in "biuf"
    if task == "regression":
        if not numbers:
            raise DataBroken(
                f"{name} holds {_first_text(truths)!r}, and {_named(model)} predicts numbers"
            )
        if not np.isfinite(truths.astype(np.float64)).all():
            raise DataBroken(f"{name} holds infinite values, the first {_place(~_finite(truths))}")
    elif truths.dtype.kind == "f":
        if not np.isfinite(truths).all():
            raise DataBroken(f"{name} holds infinite values, the first {_place(~_finite(truths))}")
        bad = truths != np.round(truths)
        if bad.any():
            raise DataBroken(
                f"{name} holds {truths[bad].flat[0]:g}, {_place(bad)}; {_named(model)} predicts "
                "classes, which are texts or whole numbers"
            )
    return task


def check_classes(truths: NDArray[Any], model: Any, name: str = "y") -> None:
    """Raise DataBroken where there is one class only, or a table of a column a class.

    truths: of a classification, [n] or [n, T].
    """
    if truths.ndim == 2 and not _takes_targets(model):
        if _is_one_hot(truths):
            raise DataBroken(
                f"{name} has a column for each of {truths.shape[1]} classes, and {_named(model)} "
                f"takes one column: give {name}.argmax(axis=1), or the names of the classes"
            )
        raise DataBroken(
            f"{name} has {truths.shape[1]} columns, and {_named(model)} predicts one; wrap it: "
            "sklearn.multioutput.MultiOutputClassifier(model)"
        )
    check_several_classes(truths, name, "a classifier needs two")


def check_several_classes(truths: NDArray[Any], name: str, way: str) -> None:
    """Raise DataBroken where truths of a classification, [n] or [n, T], are of one class only.

    way: what to do, or why that is wrong.
    """
    for what, column in named_columns(truths, name):
        known = np.unique(column)
        if len(known) < 2:
            raise DataBroken(f"{what} holds one class only, {known.tolist()[0]!r}; {way}")


def named_columns(truths: NDArray[Any], name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each target of truths, [n] or [n, T], with what it is called in an error."""
    if truths.ndim == 1:
        yield name, truths
        return
    for place in range(truths.shape[1]):
        yield f"column {place} of {name}", truths[:, place]


def check_targets(truths: NDArray[Any], model: Any, name: str = "y") -> None:
    """Raise DataBroken where a regression of one target is given several."""
    if truths.ndim == 2 and not _takes_targets(model):
        raise DataBroken(
            f"{name} has {truths.shape[1]} columns, and {_named(model)} predicts one; wrap it: "
            "sklearn.multioutput.MultiOutputRegressor(model)"
        )


def check_known(truths: NDArray[Any], classes: Sequence[Any], name: str) -> None:
    """Raise DataBroken where a truth [n] is no class of the model."""
    known = {str(one) for one in classes}
    for row, truth in enumerate(truths.tolist()):
        if str(truth) not in known:
            fraction = f"{int(truth) if isinstance(truth, bool) else truth}.0"
            if fraction in known:
                raise DataBroken(
                    f"the classes of the model are fractions, such as {min(known)}, that stand for "
                    "whole numbers; fit it with whole ones: y.astype(int)"
                )
            some = ", ".join(sorted(known)[:5]) + (", ..." if len(known) > 5 else "")
            raise DataBroken(
                f"{name} holds {str(truth)[:80]!r} in row {row}, which is no class of the model "
                f"({some})"
            )


def _array(given: Any, name: str) -> NDArray[Any]:
    if given is None:
        raise DataBroken(f"{name} is missing")
    if hasattr(given, "to_numpy"):  # pandas, polars
        given = given.to_numpy()
    if hasattr(given, "toarray"):  # sparse labels
        given = given.toarray()
    try:
        truths = np.asarray(given)
    except ValueError as error:
        raise DataBroken(f"{name} has rows of different lengths") from error
    if not truths.ndim:
        raise DataBroken(f"{name} is {str(given)[:40]!r}; one truth a row is wanted")
    if truths.dtype.kind in "mM":
        raise DataBroken(f"{name} holds times; give numbers or classes")
    if truths.dtype.kind == "c":
        raise DataBroken(f"{name} holds complex numbers; give real ones")
    return truths


def _check_gaps(truths: NDArray[Any], name: str) -> None:
    gaps = np.asarray(pd.isna(truths))
    if gaps.any():
        raise DataBroken(
            f"{name} has {int(gaps.sum()):,} missing values, the first {_place(gaps)}; leave these "
            "rows out of X and of y"
        )


def _check_kinds(truths: NDArray[Any], name: str) -> None:
    if truths.dtype.kind != "O":
        return
    kinds: dict[str, int] = {}
    for place, value in enumerate(truths.ravel().tolist()):
        kinds.setdefault(_kind(value, name, place // (truths.size // len(truths))), place)
    if len(kinds) > 1:
        (one, _), (other, place) = list(kinds.items())[:2]
        raise DataBroken(
            f"{name} holds {one} and, from row {place // (truths.size // len(truths))} on, "
            f"{other}; make them one kind"
        )


def _kind(value: Any, name: str, row: int) -> str:
    if isinstance(value, str):
        return "texts"
    if isinstance(value, bool | np.bool_):
        return "truth values"
    if isinstance(value, int | float | np.number):
        return "numbers"
    raise DataBroken(
        f"{name} holds a {type(value).__name__} in row {row}; classes are texts or whole numbers, "
        "values are numbers"
    )


def _task_of(model: Any) -> Task | None:
    from sklearn.base import is_classifier, is_regressor

    if not hasattr(model, "predict"):
        return None
    if is_classifier(model):
        return "classification"
    return "regression" if is_regressor(model) else None


def _takes_targets(model: Any) -> bool:
    """Whether the model may have several targets; a graph says itself what it answers."""
    return not hasattr(model, "predict") or takes_targets(model)


def _is_one_hot(truths: NDArray[Any]) -> bool:
    if truths.dtype.kind not in "biuf":
        return False
    return bool(np.isin(truths, (0, 1)).all() and (truths.sum(axis=1) == 1).all())


def _finite(truths: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isfinite(truths.astype(np.float64))


def _place(bad: NDArray[Any]) -> str:
    """Name the first place that is marked."""
    if bad.ndim == 1:
        return f"in row {int(bad.argmax())}"
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    return f"in row {row}, column {column}"


def _first_text(truths: NDArray[Any]) -> str:
    return str(truths.ravel()[0])[:80]


def _named(model: Any) -> str:
    return type(model).__name__ if hasattr(model, "predict") else "the graph"
