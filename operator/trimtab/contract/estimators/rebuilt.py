"""What is not stored of an estimator, since it is made anew from the rest when the file is loaded.

Search trees of neighbours are memory of native code that follows every index in them, and splines
check themselves when they are made: to build them again is safer than to check them, and gives the
same. `spared` says what a stored copy holds instead, `rebuild` makes it whole.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from trimtab.contract.estimators.refused import UnsafeModel
from trimtab.contract.estimators.walk import kinds_of

_NEIGHBOURS: Final = "sklearn.neighbors._base.NeighborsBase"
_KMEANS: Final = "sklearn.cluster._kmeans._BaseKMeans"
_SPLINES: Final = "sklearn.preprocessing._polynomial.SplineTransformer"
_SVM: Final = "sklearn.svm._base.BaseLibSVM"
_BOOSTING: Final = "sklearn.ensemble._gb.BaseGradientBoosting"
_TREES: Final = ("kd_tree", "ball_tree")


def spared(part: Any) -> dict[str, Any]:
    """Return what the attributes of `part` are in the file, where that is another value."""
    kinds, held = kinds_of(part), vars(part)
    if _NEIGHBOURS in kinds and held.get("_tree") is not None:
        return {"_tree": None}
    if _SPLINES in kinds and "bsplines_" in held:
        return {"bsplines_": [(one.t, one.c, one.k, one.extrapolate) for one in held["bsplines_"]]}
    return {}


def rebuild(part: Any) -> None:
    """Make a checked `part` of a loaded model whole; raise UnsafeModel where that cannot be."""
    kinds, held = kinds_of(part), vars(part)
    try:
        if _NEIGHBOURS in kinds and held.get("_fit_method") in _TREES:
            part._tree = _search_tree(part)
        if _SPLINES in kinds and "bsplines_" in held:
            part.bsplines_ = [_spline(*one) for one in held["bsplines_"]]
        if _KMEANS in kinds and "_n_threads" in held:
            from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

            part._n_threads = _openmp_effective_n_threads()  # of this machine, not of a file
    except (ValueError, TypeError) as error:
        said = str(error)[:200]
        raise UnsafeModel(f"the {type(part).__name__} cannot be made whole: {said}") from error


def check_columns(part: Any) -> None:
    """Raise UnsafeModel where trees would add to columns of a first guess that has fewer.

    It asks the estimator of that guess, so that everything within `part` is checked before. The
    same goes for a kernel: libsvm reads a column for each row that was trained on.
    """
    if _SVM in kinds_of(part) and callable(vars(part).get("kernel")):
        _check_kernel(part)
    if _BOOSTING not in kinds_of(part) or "estimators_" not in vars(part):
        return
    guess = part._raw_predict_init(np.zeros((1, part.n_features_in_), dtype=np.float32))
    if np.ndim(guess) != 2 or guess.shape[1] != part.estimators_.shape[1]:
        raise UnsafeModel(
            f"a {type(part).__name__} has {part.estimators_.shape[1]} trees a round for a guess "
            f"of shape {np.shape(guess)}"
        )


def _check_kernel(part: Any) -> None:
    rows, (known, *_) = vars(part).get("_BaseLibSVM__Xfit"), part.shape_fit_
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or not len(rows):
        raise UnsafeModel(f"the {type(part).__name__} has no rows for its kernel")
    found = np.shape(part.kernel(rows[:1], rows))
    if found != (1, known):
        raise UnsafeModel(
            f"the kernel of the {type(part).__name__} gives the shape {found} for {known} rows"
        )


def _search_tree(part: Any) -> Any:
    from sklearn.neighbors import BallTree, KDTree

    kind = KDTree if part._fit_method == "kd_tree" else BallTree
    metric, parameters = part.effective_metric_, part.effective_metric_params_
    return kind(part._fit_X, part.leaf_size, metric=metric, **parameters)


def _spline(knots: Any, coefficients: Any, degree: Any, extrapolate: Any) -> Any:
    from scipy.interpolate import BSpline

    # As scikit-learn makes it: a column that is constant has knots that the constructor refuses.
    knots, coefficients = np.array(knots, dtype=np.float64), np.array(coefficients, np.float64)
    if type(degree) is not int or degree < 0 or knots.ndim != 1 or coefficients.ndim < 1:
        raise ValueError("a spline has no degree, knots or coefficients")
    count = len(knots) - degree - 1
    if count < degree + 1 or len(coefficients) < count:
        raise ValueError("a spline has too few knots or coefficients")
    if not np.isfinite(knots).all() or (np.diff(knots) < 0).any():
        raise ValueError("the knots of a spline are not in order")
    return BSpline.construct_fast(knots, coefficients, degree, extrapolate=extrapolate)
