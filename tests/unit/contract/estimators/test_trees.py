"""Forged trees are refused before anything walks them; honest ones are not."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from trimtab.contract.estimators.refused import UnsafeModel
from trimtab.contract.estimators.trusted import check

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        DecisionTreeClassifier(),
        RandomForestClassifier(3),
        GradientBoostingClassifier(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        IsolationForest(n_estimators=3),
        make_pipeline(StandardScaler(), RandomForestClassifier(3)),
        VotingClassifier([("a", DecisionTreeClassifier()), ("b", LogisticRegression())]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_honest_models_pass(model: Any) -> None:
    check(model.fit(X, Y))


def forged(tree: Any, **changes: Any) -> Any:
    """The tree with nodes, or another number of them, as a file could hold it."""
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    for name, value in changes.items():
        if name == "node_count":
            state["node_count"] = value
        else:
            nodes[name][0] = value
    state["nodes"] = nodes
    other = tree.__class__(*tree.__reduce__()[1])
    other.__setstate__(state)
    return other


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"left_child": 10**6}, id="child_beyond_memory"),
        pytest.param({"right_child": -5}, id="child_before_memory"),
        pytest.param({"left_child": 0}, id="walk_that_never_ends"),
        pytest.param({"right_child": -1}, id="half_a_leaf"),
        pytest.param({"feature": 3}, id="feature_beyond_rows"),
        pytest.param({"feature": -2}, id="feature_before_rows"),
        pytest.param({"node_count": 0}, id="no_nodes"),
    ],
)
def test_forged_trees_are_refused(changes: dict[str, int]) -> None:
    model = DecisionTreeClassifier().fit(X, Y)
    model.tree_ = forged(model.tree_, **changes)
    forest = RandomForestClassifier(2).fit(X, Y)
    forest.estimators_[1] = model
    with pytest.raises(UnsafeModel):
        check(forest)


def test_scikit_learn_cuts_a_claim_of_more_nodes_down_to_its_memory() -> None:
    honest = DecisionTreeClassifier().fit(X, Y).tree_
    tree = forged(honest, node_count=10**6)
    assert tree.node_count == tree.capacity == honest.node_count


def test_claim_of_more_nodes_than_memory_is_refused_before_it_is_read() -> None:
    class Tree:
        """Stands for a tree of a scikit-learn that does not cut it down."""

        node_count, capacity = 9, 3

    Tree.__module__, Tree.__qualname__ = "sklearn.tree._tree", "Tree"
    with pytest.raises(UnsafeModel, match="9 nodes in space for 3"):
        check([Tree()])


def test_tree_wider_than_its_forest_is_refused() -> None:
    forest = RandomForestClassifier(2).fit(X, Y)
    forest.n_features_in_ = 2
    with pytest.raises(UnsafeModel, match="over 3 features lies in a RandomForest"):
        check(forest)


def test_tree_shared_with_a_narrower_forest_is_refused() -> None:
    honest = RandomForestClassifier(2).fit(X, Y)
    narrow = copy.copy(honest)
    narrow.n_features_in_ = 2
    with pytest.raises(UnsafeModel):
        check([honest, narrow])


def test_tree_outside_any_estimator_is_refused() -> None:
    tree = DecisionTreeClassifier().fit(X, Y).tree_
    with pytest.raises(UnsafeModel, match="no fitted estimator"):
        check({"hidden": [SimpleNamespace(inner=tree)]})


@pytest.mark.parametrize(
    ("name", "value"),
    [("left", 10**6), ("right", 0), ("feature_idx", 9), ("is_categorical", 1)],
)
def test_forged_boosted_trees_are_refused(name: str, value: int) -> None:
    model = HistGradientBoostingClassifier(max_iter=2).fit(X, Y)
    model._predictors[1][0].nodes[name][0] = value
    with pytest.raises(UnsafeModel):
        check(model)
