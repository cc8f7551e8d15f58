"""Decision trees out of a file: trusted by name, but only once every index in them is checked.

skops refuses scikit-learn's trees by default, since predict follows the node indices of a file
without bounds checks: a forged one reads foreign memory or never ends. They hold no code. So they
are the only types that are trusted beyond skops' own list, and whoever loads one calls
`check_trees` before the first prediction.

What is checked: as many nodes as there is memory for; every child behind its parent, so that each
walk ends; every feature within the width of the rows; the same width for tree, owner and ensemble.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.estimators.refused import UnsafeModel

_TREE: Final = "sklearn.tree._tree.Tree"
_PREDICTOR: Final = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
TREE_TYPES: Final = frozenset({_TREE, _PREDICTOR})
"""Full names that may be loaded, if `check_trees` follows."""

_LEAF = -1
_DEEPEST = 50


def check_trees(model: Any) -> None:
    """Raise UnsafeModel unless every decision tree within `model` can be walked safely.

    Looks into attributes, lists, tuples, dicts and object arrays, 50 levels deep. A tree whose
    ensemble has another number of features (random subspaces) is refused as well.
    """
    for part, owners in _trees(model, (), set(), 0):
        if _name(part) == _TREE:
            _check_tree(part, owners)
        else:
            _check_predictor(part, owners)


def _trees(
    part: Any, owners: tuple[Any, ...], seen: set[tuple[int, int]], depth: int
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each tree with the estimators around it, the nearest last."""
    if _name(part) in TREE_TYPES:
        yield part, owners  # each time: a tree shared by two owners has to suit both
        return
    place = (id(part), id(owners[-1]) if owners else 0)  # an estimator has to suit each owner
    if place in seen or isinstance(part, str | bytes | int | float | type(None)):
        return
    seen.add(place)
    if depth > _DEEPEST:
        raise UnsafeModel("the model is nested deeper than 50 levels")
    if hasattr(part, "get_params") or hasattr(part, "fit"):
        owners = (*owners, part)
    for child in _children(part):
        yield from _trees(child, owners, seen, depth + 1)


def _children(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return [*part.keys(), *part.values()]
    if isinstance(part, list | tuple | set | frozenset):
        return list(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.dtype == object else []
    return list(getattr(part, "__dict__", {}).values())


def _check_tree(tree: Any, owners: tuple[Any, ...]) -> None:
    # First of all: the arrays below are views of node_count rows on memory for capacity rows.
    if not 0 < tree.node_count <= tree.capacity:
        raise UnsafeModel(f"a tree claims {tree.node_count} nodes in space for {tree.capacity}")
    left, right = np.asarray(tree.children_left), np.asarray(tree.children_right)
    _check_walk(left, right, np.asarray(tree.feature), left != _LEAF, int(tree.n_features))
    if not owners or not hasattr(owners[-1], "n_features_in_"):
        raise UnsafeModel("a tree belongs to no fitted estimator")
    for owner in owners[-2:]:
        width = getattr(owner, "n_features_in_", tree.n_features)
        if width != tree.n_features and not hasattr(owner, "steps"):
            raise UnsafeModel(
                f"a tree over {tree.n_features} features lies in a {type(owner).__name__} over "
                f"{width}; trees over a part of the features are not supported"
            )


def _check_predictor(predictor: Any, owners: tuple[Any, ...]) -> None:
    nodes = getattr(predictor, "nodes", None)
    width = getattr(owners[-1], "n_features_in_", None) if owners else None
    if not isinstance(nodes, np.ndarray) or not nodes.dtype.names or not isinstance(width, int):
        raise UnsafeModel("a boosted tree has no nodes or belongs to no fitted estimator")
    if nodes.ndim != 1 or not len(nodes):
        raise UnsafeModel("a boosted tree has no nodes")
    inner = ~nodes["is_leaf"].astype(bool)
    if nodes["is_categorical"][inner].any():
        raise UnsafeModel("boosted trees that split by categories are not supported; encode them")
    _check_walk(nodes["left"], nodes["right"], nodes["feature_idx"], inner, width)


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


def _name(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"
