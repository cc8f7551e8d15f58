"""Forests of scikit-learn asked without their overhead: the same sums, bit by bit.

`predict_proba` of a forest of 100 trees takes 3 ms for a row, of which the trees take some
microseconds: the rest is joblib, and checks that are made for each tree anew. Here rows are made
float32 once, as scikit-learn does, and every tree is asked in its order. For few rows all trees
are one: a tree of scikit-learn's own whose upper part leads to theirs by number, so that a row
walks all of them in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from trimtab.contract.answers import Floats

MOST_JOINED_ROWS: Final = 16
"""For more, a call for each tree is faster than one for each row."""
MOST_JOINED_BYTES: Final = 64 << 20
"""Of nodes and values; a larger forest is not held twice."""

_CLASSIFIERS: Final = frozenset({"ExtraTreesClassifier", "RandomForestClassifier"})
_REGRESSORS: Final = frozenset({"ExtraTreesRegressor", "RandomForestRegressor"})
_MODULE: Final = "sklearn.ensemble._forest"
_LEAF: Final = -1


def forest_of(estimator: Any) -> Forest | None:
    """Return what answers as a forest of scikit-learn does; None where `estimator` is none.

    Subclasses may answer as they like, and several outputs are summed otherwise.
    """
    kind = type(estimator)
    if kind.__module__ != _MODULE or kind.__name__ not in _CLASSIFIERS | _REGRESSORS:
        return None
    if getattr(estimator, "n_outputs_", 0) != 1 or not getattr(estimator, "estimators_", None):
        return None
    return Forest([one.tree_ for one in estimator.estimators_])


class Forest:
    """The mean of the trees of a forest.

    trees: of `sklearn.tree._tree`, all over the same features, with one output.
    """

    def __init__(self, trees: Sequence[Any]) -> None:
        self._trees = trees
        self._width = int(trees[0].n_features)
        self._columns = int(trees[0].max_n_classes)
        self._joined = _Joined(trees) if _bytes_of(trees) <= MOST_JOINED_BYTES else None

    def means(self, rows: NDArray[Any]) -> Floats | None:
        """Return (n, K) probabilities or (n, 1) values for `rows` (n, features).

        None for rows that the forest has to be asked about itself: no matrix of numbers of its
        width, or not finite as float32.
        """
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu" or rows.ndim != 2:
            return None
        if rows.shape[1] != self._width:
            return None
        with np.errstate(over="ignore"):
            single = rows.astype(np.float32, order="C")
        if not np.isfinite(single).all():
            return None
        if self._joined is not None and len(rows) <= MOST_JOINED_ROWS:
            sums = self._joined.sums(single)
        else:
            sums = np.zeros((len(rows), self._columns))
            for tree in self._trees:
                sums += tree.predict(single)
        sums /= len(self._trees)
        return sums


class _Joined:
    """All trees as one, for a row at a time.

    The joined tree is asked about T rows at once, row t being for tree t. It finds its way by
    column 0, which holds t. The rows are a view with a step of one number on 0, 1, ..., T-1
    followed by the row's own features, so that nothing is copied for each tree: feature f of the
    row is column T - t + f of row t, and stands so in the nodes of tree t.
    """

    def __init__(self, trees: Sequence[Any]) -> None:
        from sklearn.tree._tree import Tree

        count, width = len(trees), int(trees[0].n_features)
        states = [tree.__getstate__() for tree in trees]
        starts = np.cumsum([count - 1, *(len(state["nodes"]) for state in states)])
        nodes = np.zeros(starts[-1], dtype=states[0]["nodes"].dtype)
        values = np.zeros((starts[-1], 1, states[0]["values"].shape[2]))
        _lead(nodes, starts.tolist())
        for place, state in enumerate(states):
            part = state["nodes"].copy()
            inner = part["left_child"] != _LEAF
            for child in ("left_child", "right_child"):
                part[child][inner] += starts[place]
            part["feature"][inner] += count - place
            nodes[starts[place] : starts[place + 1]] = part
            values[starts[place] : starts[place + 1]] = state["values"]
        self._tree = Tree(count + width, np.array([values.shape[2]], dtype=np.intp), 1)
        self._tree.__setstate__(
            {
                "max_depth": max(state["max_depth"] for state in states) + count.bit_length(),
                "node_count": len(nodes),
                "nodes": nodes,
                "values": values,
            }
        )
        self._values = values[:, 0, :]
        self._count, self._width = count, width
        self._numbers = np.arange(count, dtype=np.float32)

    def sums(self, rows: NDArray[np.float32]) -> Floats:
        """Return (n, K): the sum over all trees, in their order."""
        count = self._count
        leaves = np.empty((count, len(rows)), dtype=np.intp)
        room = np.empty(2 * count + self._width, dtype=np.float32)
        room[:count] = self._numbers
        view = as_strided(room, (count, count + self._width), (room.itemsize, room.itemsize))
        for place, row in enumerate(rows):
            room[count : count + self._width] = row
            leaves[:, place] = self._tree.apply(view)
        found = self._values.take(leaves, axis=0)
        # `sum` would add the numbers of one column in pairs: other bits.
        sums: Floats = np.cumsum(found, axis=0)[-1] if found[0].size == 1 else found.sum(axis=0)
        sums += 0.0  # a sum that began with 0.0 is never -0.0
        return sums


def _lead(nodes: NDArray[Any], starts: list[int]) -> None:
    """Write the upper part: a balanced tree that leads tree t, by its number, to `starts[t]`."""
    waiting = [(0, len(starts) - 1, -1, "")]
    used = 0
    while waiting:
        low, high, above, side = waiting.pop()
        here = starts[low] if high - low == 1 else used
        if above >= 0:
            nodes[side][above] = here
        if high - low == 1:
            continue
        used += 1
        middle = (low + high) // 2
        nodes["threshold"][here] = middle - 0.5
        waiting += [(low, middle, here, "left_child"), (middle, high, here, "right_child")]


def _bytes_of(trees: Sequence[Any]) -> int:
    return sum(int(tree.node_count) * (64 + 8 * int(tree.max_n_classes)) for tree in trees)
