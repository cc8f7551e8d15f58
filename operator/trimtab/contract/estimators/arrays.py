"""Arrays out of a file that native code reads without bounds checks: sizes have to fit each other.

scikit-learn's compiled parts, libsvm and parts of SciPy take shapes and indices of a fitted model
as they are, since fitting made them. Out of a file they may be anything: each estimator whose
`predict` or `transform` hands such arrays on is checked here before it is first run. Where Python
code of NumPy does the reading, wrong sizes raise, and nothing is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.estimators.refused import UnsafeModel
from trimtab.contract.estimators.trees import TREE
from trimtab.contract.estimators.walk import kinds_of, name_of

_KINDS_OF_DTYPES: Final = "biufcOSU"
_LONGEST_TEXT: Final = 4096
_CLASSIFYING: Final = ("c_svc", "nu_svc")
_BISECTING: Final = "sklearn.cluster._bisect_k_means.BisectingKMeans"


def check_arrays(part: Any) -> None:
    """Raise UnsafeModel where an array of `part` does not fit its other ones."""
    kinds = kinds_of(part)
    for kind, (fitted, check) in _CHECKS.items():
        if kind in kinds and fitted in vars(part):
            check(part)


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise UnsafeModel unless `dtype` is a plain one, and not of a size to fill the memory."""
    if dtype.kind not in _KINDS_OF_DTYPES or not 0 <= dtype.itemsize <= _LONGEST_TEXT:
        raise UnsafeModel(f"the model holds the data type {str(dtype)[:60]}")


def check_array(array: NDArray[Any]) -> None:
    """Raise UnsafeModel where an array has many items of no size: they take no room in a file."""
    if not array.itemsize and array.size:
        raise UnsafeModel(f"the model holds an array of {array.size:,} items without a size")


def check_partial(function: partial[Any]) -> None:
    """Raise UnsafeModel where a ufunc is given more than plain numbers.

    With objects of Python it computes whole numbers of any length, and lets nobody else in.
    """
    if not isinstance(function.func, np.ufunc):
        return
    given = [np.asarray(one) for one in function.args]
    if function.keywords or any(one.dtype.kind not in "biuf" for one in given):
        raise UnsafeModel(f"{function.func.__name__} is given more than plain numbers")


def check_sparse(matrix: Any) -> None:
    """Raise UnsafeModel where an index of a sparse matrix is beyond it."""
    if matrix.format not in ("csr", "csc"):
        raise UnsafeModel(f"the model holds a sparse matrix of format {str(matrix.format)[:20]}")
    shape = vars(matrix).get("_shape")
    if not isinstance(shape, tuple) or len(shape) != 2 or not all(_is_size(one) for one in shape):
        raise UnsafeModel("a sparse matrix has no shape")
    try:
        matrix.check_format(full_check=True)
    except (ValueError, TypeError, AttributeError) as error:
        raise UnsafeModel(f"a sparse matrix is broken: {str(error)[:100]}") from error


def _svm(model: Any) -> None:
    name = type(model).__name__
    support = _array(model, "support_", 1, "i")
    vectors, coefficients = model.support_vectors_, model._dual_coef_
    counts, offsets = _array(model, "_n_support", 1, "i"), _array(model, "_intercept_", 1, "f")
    classes = len(counts)
    pairs = classes * (classes - 1) // 2
    is_classifier = "sklearn.svm._base.BaseSVC" in kinds_of(model)
    if (model._impl in _CLASSIFYING) != is_classifier or classes < 2 or len(offsets) < pairs:
        raise UnsafeModel(f"the {name} has not the intercepts of {classes} classes")
    if not is_classifier and classes != 2:
        raise UnsafeModel(f"the {name} has support vectors of {classes} classes")
    size = coefficients.shape[1]
    if is_classifier and (counts.min() < 0 or int(counts.sum()) != size):
        raise UnsafeModel(f"the {name} counts {counts.sum()} of its {size} support vectors")
    if coefficients.shape[0] != classes - 1:
        raise UnsafeModel(f"the {name} has coefficients of {coefficients.shape[0] + 1} classes")
    _check_vectors(model, support, vectors, coefficients, size)
    asks = bool(getattr(model, "_effective_probability", False))
    for parameter in (_array(model, "_probA", 1, "f"), _array(model, "_probB", 1, "f")):
        if len(parameter) != pairs and (asks or len(parameter)):
            raise UnsafeModel(f"the {name} has not the calibration of {pairs} pairs of classes")


def _check_vectors(
    model: Any, support: NDArray[Any], vectors: Any, coefficients: Any, size: int
) -> None:
    name = type(model).__name__
    by_kernel = callable(model.kernel) or model.kernel == "precomputed"
    if model._sparse:
        stored = coefficients.data if hasattr(coefficients, "indptr") else np.empty(0)
        if by_kernel or vectors.shape != (size, model.n_features_in_):
            raise UnsafeModel(f"the {name} has support vectors that do not fit its rows")
        if stored.size != size * coefficients.shape[0]:
            raise UnsafeModel(f"the {name} lacks coefficients of support vectors")
        return
    if len(support) != size:
        raise UnsafeModel(f"the {name} has {len(support)} places of {size} support vectors")
    if by_kernel:
        known = model.shape_fit_[0]
        if not _is_size(known) or not _within(support, known):
            raise UnsafeModel(f"the {name} has support vectors beyond its {known} rows")
    elif vectors.shape != (size, model.n_features_in_):
        raise UnsafeModel(f"the {name} has support vectors that do not fit its rows")


def _neighbours(model: Any) -> None:
    name, rows = type(model).__name__, getattr(model, "_fit_X", None)
    shape = getattr(rows, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != model.n_features_in_:
        raise UnsafeModel(f"the {name} keeps no rows as wide as it asks for")
    if model.n_samples_fit_ != shape[0]:
        raise UnsafeModel(f"the {name} keeps {shape[0]} rows and counts {model.n_samples_fit_}")
    count = getattr(model, "n_neighbors", None)
    if count is not None and not (_is_size(count) and 1 <= count <= shape[0]):
        raise UnsafeModel(f"the {name} asks for {count} of {shape[0]} rows")
    for parameters in (model.metric_params, getattr(model, "effective_metric_params_", None)):
        _check_metric(name, parameters or {}, shape[1])
    labels = getattr(model, "_y", None)
    if labels is None:
        return
    if not isinstance(labels, np.ndarray) or len(labels) != shape[0]:
        raise UnsafeModel(f"the {name} has not one label for each of its rows")
    if labels.ndim == 1 and hasattr(model, "classes_"):
        known = len(model.classes_)
        if labels.dtype.kind in "iu" and _within(labels, known):
            return
        raise UnsafeModel(f"the {name} has labels beyond its {known} classes")


def _check_metric(name: str, parameters: Any, width: int) -> None:
    shapes = {"p": (), "w": (width,), "V": (width,), "VI": (width, width)}
    if not isinstance(parameters, dict) or not set(parameters) <= set(shapes):
        raise UnsafeModel(f"the {name} has parameters of a metric that are not known")
    given = {key: value for key, value in parameters.items() if value is not None}
    if any(np.shape(value) != shapes[key] for key, value in given.items()):
        raise UnsafeModel(f"the {name} has parameters of a metric of another size")


def _centres(model: Any) -> None:
    centres = _array(model, "cluster_centers_", 2, "f")
    if not len(centres) or centres.shape[1] != model.n_features_in_:
        raise UnsafeModel(f"the {type(model).__name__} has centres of {centres.shape[1]} features")


def _bisected(model: Any) -> None:
    """Each node once, else a few of them could keep `predict` busy for ever."""
    seen, waiting = set(), [model._bisecting_tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or np.shape(node.center) != (model.n_features_in_,):
            raise UnsafeModel("a tree of clusters has a node twice, or a centre that fits no row")
        seen.add(id(node))
        halves = (node.left, node.right)
        if halves != (None, None):
            waiting += halves


def _birch(model: Any) -> None:
    centres, norms = _array(model, "subcluster_centers_", 2, "f"), model._subcluster_norms
    if centres.shape[1] != model.n_features_in_ or np.shape(norms) != (len(centres),):
        raise UnsafeModel("the Birch has centres and norms that do not fit each other")


def _boosting(model: Any) -> None:
    trees = model.estimators_
    name = "sklearn.tree._classes.DecisionTreeRegressor"
    if not isinstance(trees, np.ndarray) or trees.ndim != 2 or not trees.size:
        raise UnsafeModel(f"the {type(model).__name__} has no table of trees")
    if any(name not in kinds_of(tree) for tree in trees.flat):
        raise UnsafeModel(f"the {type(model).__name__} boosts something else than trees")
    if any(name_of(getattr(tree, "tree_", None)) != TREE for tree in trees.flat):
        raise UnsafeModel(f"the {type(model).__name__} has a tree without nodes")


def _vocabulary(model: Any) -> None:
    words = model.vocabulary_
    if type(words) is not dict:
        raise UnsafeModel(f"the vocabulary of the {type(model).__name__} is none")
    if any(not _is_size(place) or place >= len(words) for place in words.values()):
        raise UnsafeModel(f"a word of the {type(model).__name__} is beyond its {len(words)} words")


def _hashing(model: Any) -> None:
    if not _is_size(model.n_features) or not 1 <= model.n_features < 2**31:
        raise UnsafeModel(f"the {type(model).__name__} hashes to no features")


def _agglomeration(model: Any) -> None:
    labels = _array(model, "labels_", 1, "i")
    if len(labels) != model.n_features_in_ or not _within(labels, len(labels)):
        raise UnsafeModel("a FeatureAgglomeration has clusters beyond its features")


def _coding(model: Any) -> None:
    if np.shape(model.components_)[1:] != (model.n_features_in_,):
        raise UnsafeModel(f"the {type(model).__name__} has words that do not fit its rows")


def _covariance(model: Any) -> None:
    width = model.n_features_in_
    for name in ("covariance_", "precision_"):
        if (found := getattr(model, name, None)) is not None and found.shape != (width, width):
            raise UnsafeModel(f"the {type(model).__name__} has a {name} of another size")


def _one_hot(model: Any) -> None:
    """Ones are put at the places of a file, in a matrix of a width of the file."""
    outs, dropped = model._n_features_outs, model._drop_idx_after_grouping
    enabled = bool(model._infrequent_enabled)
    if len(outs) != len(model.categories_):
        raise UnsafeModel("a OneHotEncoder has not one width for each of its features")
    for feature, (out, categories) in enumerate(zip(outs, model.categories_, strict=True)):
        codes = _codes(categories)
        mapping = model._default_to_infrequent_mappings[feature] if enabled else None
        if mapping is not None:
            if not isinstance(mapping, np.ndarray) or mapping.dtype.kind not in "iu":
                raise UnsafeModel("a OneHotEncoder groups its categories by no numbers")
            if not len(mapping) or mapping.min() < 0:
                raise UnsafeModel("a OneHotEncoder groups its categories below the first")
            codes = int(mapping.max()) + 1
        gone = None if dropped is None else dropped[feature]
        if gone is not None and 0 <= gone < codes:
            codes -= 1
        if not _is_size(out) or out < codes:
            raise UnsafeModel("a OneHotEncoder has more categories than columns for them")


def _codes(categories: Any) -> int:
    """Return how many codes searching a value among `categories` may give."""
    if not isinstance(categories, np.ndarray) or categories.ndim != 1:
        raise UnsafeModel("the categories of a OneHotEncoder are no list")
    if categories.dtype.kind not in "OSU":
        known = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
        if (known[:-1] > known[1:]).any():
            raise UnsafeModel("the categories of a OneHotEncoder are not in order")
    return len(categories)


_CHECKS: Final[dict[str, tuple[str, Callable[[Any], None]]]] = {
    "sklearn.svm._base.BaseLibSVM": ("support_vectors_", _svm),
    "sklearn.neighbors._base.NeighborsBase": ("_fit_X", _neighbours),
    "sklearn.cluster._kmeans._BaseKMeans": ("cluster_centers_", _centres),
    _BISECTING: ("_bisecting_tree", _bisected),
    "sklearn.cluster._birch.Birch": ("subcluster_centers_", _birch),
    "sklearn.ensemble._gb.BaseGradientBoosting": ("estimators_", _boosting),
    "sklearn.feature_extraction.text.CountVectorizer": ("vocabulary_", _vocabulary),
    "sklearn.feature_extraction._dict_vectorizer.DictVectorizer": ("vocabulary_", _vocabulary),
    "sklearn.feature_extraction.text.HashingVectorizer": ("n_features", _hashing),
    "sklearn.feature_extraction._hash.FeatureHasher": ("n_features", _hashing),
    "sklearn.cluster._feature_agglomeration.AgglomerationTransform": ("labels_", _agglomeration),
    "sklearn.decomposition._dict_learning._BaseSparseCoding": ("components_", _coding),
    "sklearn.covariance._empirical_covariance.EmpiricalCovariance": ("location_", _covariance),
    "sklearn.preprocessing._encoders.OneHotEncoder": ("_n_features_outs", _one_hot),
}
"""By the full name of a class, also for those that inherit from it: the attribute that a fitted one
has and cannot do without, and the check of a fitted one."""


def _array(model: Any, name: str, dimensions: int, kinds: str) -> NDArray[Any]:
    found = getattr(model, name, None)
    if (
        not isinstance(found, np.ndarray)
        or found.ndim != dimensions
        or found.dtype.kind not in kinds
    ):
        raise UnsafeModel(f"the {type(model).__name__} has no {name}")
    return found


def _within(places: NDArray[Any], size: int) -> bool:
    return bool(np.all((places >= 0) & (places < size)))


def _is_size(value: Any) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and bool(value >= 0)
