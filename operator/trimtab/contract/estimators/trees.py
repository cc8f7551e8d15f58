"""Decision trees out of a file: trusted by name, but only once every index in them is checked.

skops refuses scikit-learn's trees by default, since predict follows the node indices of a file
without bounds checks: a forged one reads foreign memory or never ends. They hold no code.

What is checked: as many nodes as there is memory for; every child behind its parent, so that each
walk ends; every feature within the width of the rows; every set of categories within the sets that
there are; and where an ensemble gives rows to its trees unchecked, its width against theirs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from trimtab.contract.estimators.refused import UnsafeModel
from trimtab.contract.estimators.walk import Owners, kinds_of, name_of

TREE: Final = "sklearn.tree._tree.Tree"
PREDICTOR: Final = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
BOOSTER: Final = (
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting"
)

_ENCODER: Final = "sklearn.preprocessing._encoders.OrdinalEncoder"
_LEAF = -1
_WORDS = 8
"""A set of categories is 256 bits in words of 32."""
_UNCHECKED: Final = {
    "sklearn.ensemble._forest.BaseForest",
    "sklearn.ensemble._gb.BaseGradientBoosting",
}
"""They check the rows once and hand them to their trees as they are."""


def check_tree(tree: Any, owners: Owners) -> None:
    """Raise UnsafeModel unless `tree` can be walked with rows that its owners let through."""
    # First of all: the arrays below are views of node_count rows on memory for capacity rows.
    if not 0 < tree.node_count <= tree.capacity:
        raise UnsafeModel(f"a tree claims {tree.node_count} nodes in space for {tree.capacity}")
    if min(tree.n_outputs, tree.max_n_classes) < 1:
        raise UnsafeModel("a tree has no outputs")
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    _check_walk(left, right, np.asarray(tree.feature), left != _LEAF, int(tree.n_features))
    if not owners or not hasattr(owners[-1], "n_features_in_"):
        raise UnsafeModel("a tree belongs to no fitted estimator")
    if owners[-1].n_features_in_ != tree.n_features:
        raise UnsafeModel(
            f"a tree over {tree.n_features} features lies in a {type(owners[-1]).__name__} over "
            f"{owners[-1].n_features_in_}"
        )
    if len(owners) > 1:
        _check_ensemble(tree, owners[-2])


def check_isolation(forest: Any) -> None:
    """Raise UnsafeModel unless each tree gets as many columns as it was trained on."""
    width, drawn = getattr(forest, "n_features_in_", None), getattr(forest, "_max_features", None)
    trees, chosen = getattr(forest, "estimators_", None), forest.estimators_features_
    if not isinstance(trees, list) or not isinstance(chosen, list) or len(trees) != len(chosen):
        raise UnsafeModel("an isolation forest has no columns for each of its trees")
    for tree, columns in zip(trees, chosen, strict=True):
        if not isinstance(columns, np.ndarray) or columns.ndim != 1:
            raise UnsafeModel("the columns of an isolation tree are no list")
        given = width if drawn == width else len(columns)
        if given != getattr(tree, "n_features_in_", None):
            raise UnsafeModel(f"an isolation tree is given {given} of the {width} features")


def check_predictor(predictor: Any, owners: Owners) -> None:
    """Raise UnsafeModel unless a boosted tree can be walked with rows of its estimator."""
    nodes = getattr(predictor, "nodes", None)
    booster = owners[-1] if owners else None
    width = getattr(booster, "n_features_in_", None)
    if not isinstance(nodes, np.ndarray) or not nodes.dtype.names or not isinstance(width, int):
        raise UnsafeModel("a boosted tree has no nodes or belongs to no fitted estimator")
    if nodes.ndim != 1 or not len(nodes):
        raise UnsafeModel("a boosted tree has no nodes")
    inner = ~nodes["is_leaf"].astype(bool)
    _check_walk(nodes["left"], nodes["right"], nodes["feature_idx"], inner, width)
    by_category = nodes[inner & nodes["is_categorical"].astype(bool)]
    if len(by_category):
        _check_categories(predictor, by_category, booster, width)


def check_booster(booster: Any) -> None:
    """Raise UnsafeModel unless rows reach the trees as wide as `_width` says."""
    if getattr(booster, "_in_fit", False):
        raise UnsafeModel("a boosted model says that it is being fitted")
    encoder = getattr(booster, "_preprocessor", None)
    if encoder is not None and _encoded_width(encoder) != getattr(booster, "n_features_in_", None):
        raise UnsafeModel("a boosted model encodes its features to another number of them")


def _encoded_width(encoder: Any) -> int:
    """Return how many columns come out, if it is what scikit-learn makes, else -1."""
    if name_of(encoder) != "sklearn.compose._column_transformer.ColumnTransformer":
        return -1
    width = 0
    for name, step, columns in encoder.transformers_:
        encodes = name == "encoder" and name_of(step) == _ENCODER
        if encodes or (name == "numerical" and _converts(step)):
            width += _chosen(columns)
        elif not isinstance(step, str) or step != "drop":
            return -1
    return width


def _converts(step: Any) -> bool:
    return (
        name_of(step) == "sklearn.preprocessing._function_transformer.FunctionTransformer"
        and isinstance(step.func, partial)
        and step.func.func is check_array
    )


def _chosen(columns: Any) -> int:
    flags = np.asarray(columns)
    return int(flags.sum()) if flags.dtype == np.bool_ else len(flags)


def _check_categories(predictor: Any, nodes: NDArray[Any], booster: Any, width: int) -> None:
    sets = getattr(predictor, "raw_left_cat_bitsets", None)
    if not isinstance(sets, np.ndarray) or sets.ndim != 2 or sets.shape[1] != _WORDS:
        raise UnsafeModel("a boosted tree splits by categories without sets of them")
    if (nodes["bitset_idx"].astype(np.int64) >= len(sets)).any():
        raise UnsafeModel("a boosted tree asks for a set of categories beyond those it has")
    mapper = getattr(booster, "_bin_mapper", None)
    flags = getattr(mapper, "is_categorical_", None)
    if (
        not isinstance(flags, np.ndarray)
        or flags.shape != (width,)
        or flags.dtype.kind not in "bui"
    ):
        raise UnsafeModel("a boosted tree splits by categories, and its estimator knows of none")
    if not flags.astype(bool)[nodes["feature_idx"].astype(np.int64)].all():
        raise UnsafeModel("a boosted tree splits by categories a feature that has none")
    _check_known_categories(mapper, np.flatnonzero(flags))


def _check_known_categories(mapper: Any, features: NDArray[Any]) -> None:
    """Each value becomes a bit of 256 without a check."""
    known = getattr(mapper, "bin_thresholds_", None)
    if not isinstance(known, list) or len(known) != len(mapper.is_categorical_):
        raise UnsafeModel("a boosted model does not list the categories of its features")
    for feature in features:
        values = known[feature]
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            raise UnsafeModel("the categories of a boosted model are no numbers")
        if len(values) and not (0 <= values.min() <= values.max() < _WORDS * 32):
            raise UnsafeModel("a boosted model knows a category beyond 255")


def _check_ensemble(tree: Any, ensemble: Any) -> None:
    kinds = kinds_of(ensemble)
    width = getattr(ensemble, "n_features_in_", None)
    if kinds & _UNCHECKED and width != tree.n_features:
        raise UnsafeModel(
            f"a tree over {tree.n_features} features lies in a {type(ensemble).__name__} over "
            f"{width}"
        )


def _check_walk(
    left: NDArray[Any],
    right: NDArray[Any],
    feature: NDArray[Any],
    inner: NDArray[np.bool_],
    width: int,
) -> None:
    """Every array [nodes]; `inner` marks those that have children."""
    places = np.arange(len(inner))[inner]
    for children in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if ((children <= places) | (children >= len(inner))).any():
            raise UnsafeModel("a tree has a node whose child is not behind it")
    features = feature[inner].astype(np.int64)
    if ((features < 0) | (features >= width)).any():
        raise UnsafeModel(f"a tree asks for a feature beyond the {width} that rows have")
