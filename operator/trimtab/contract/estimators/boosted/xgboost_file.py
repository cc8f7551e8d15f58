"""Files of XGBoost (UBJSON), checked before its C++ reads them.

That reader trusts a file: it writes where `tree_info` says, looks for a node's parent and children
where their numbers point, and allocates as much as the largest category asks for. So every number
that is used as an index or a size is checked here: arrays of one length a tree, children behind
their end and never shared, features within the rows, categories within their bits, trees and
groups as many as said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.estimators.boosted.ubjson import read_ubjson
from trimtab.contract.estimators.refused import UnsafeModel

OBJECTIVES: Final = re.compile(r"(reg|binary|multi|count):[a-z]{1,40}")
"""Those whose answers are numbers of a row by itself: no ranking, no survival."""

_NONE: Final = -1
_NO_PARENT: Final = (2**31 - 1, -1)
_DELETED: Final = 2**31 - 1
_LARGEST_CATEGORY: Final = 1 << 20
_MOST_BITS: Final = 1 << 31
_MOST_GROUPS: Final = 10_000
_DEEPEST: Final = 10_000
"""XGBoost asks itself for the depth of a tree: level within level, on the stack."""
_WHOLE: Final = re.compile(r"-?\d{1,9}")
_LIST: Final = re.compile(r"\[?[-+0-9.eE]{1,40}(,[-+0-9.eE]{1,40}){0,9999}\]?")

_INTEGERS, _LONGS, _BYTES, _FLOATS = (np.dtype(kind) for kind in (">i4", ">i8", "u1", ">f4"))
_OF_NODES: Final = {
    "base_weights": _FLOATS,
    "default_left": _BYTES,
    "left_children": _INTEGERS,
    "loss_changes": _FLOATS,
    "parents": _INTEGERS,
    "right_children": _INTEGERS,
    "split_conditions": _FLOATS,
    "split_indices": _INTEGERS,
    "split_type": _BYTES,
    "sum_hessian": _FLOATS,
}
_OF_CATEGORIES: Final = {
    "categories": _INTEGERS,
    "categories_nodes": _INTEGERS,
    "categories_segments": _LONGS,
    "categories_sizes": _LONGS,
}


@dataclass(frozen=True, slots=True)
class XGBoostShape:
    """What a checked file says of its answers: `groups` numbers a row, of so many features."""

    features: int
    groups: int
    classes: int
    """0 unless the objective tells classes apart by one group each."""
    objective: str
    is_linear: bool
    """Such a model has no trees."""


def check_xgboost(raw: bytes) -> XGBoostShape:
    """Return the shape of the model in `raw`; raise UnsafeModel where it is not safe to run."""
    whole = _fields(read_ubjson(raw), {"learner", "version"}, set(), "the file")
    _whole_numbers(whole["version"], 3, "version")
    learner = _fields(
        whole["learner"],
        {"gradient_booster", "learner_model_param", "objective"},
        {"attributes", "feature_names", "feature_types"},
        "learner",
    )
    for name in ("attributes", "feature_names", "feature_types"):
        if len(learner.get(name, ())):
            raise UnsafeModel(f"the file of XGBoost has {name}, which are not stored with it")
    shape = _shape(learner)
    _check_booster(learner["gradient_booster"], shape)
    return shape


def _shape(learner: dict[str, Any]) -> XGBoostShape:
    says = _fields(
        learner["learner_model_param"],
        {"base_score", "num_class", "num_feature"},
        {"boost_from_average", "num_target"},
        "learner_model_param",
    )
    classes, features = _whole(says["num_class"], 0), _whole(says["num_feature"], 1)
    targets = _whole(says.get("num_target", "1"), 1)
    groups = max(classes, targets)
    if groups > _MOST_GROUPS or (classes > 1 and targets > 1):
        raise UnsafeModel(f"a model of XGBoost with {classes} classes and {targets} targets")
    scores = says["base_score"]
    if not isinstance(scores, str) or not _LIST.fullmatch(scores):
        raise UnsafeModel("the base_score of XGBoost is no list of numbers")
    if scores.count(",") + 1 not in (1, groups):
        raise UnsafeModel("the base_score of XGBoost has another number of values than groups")
    if says.get("boost_from_average", "1") not in ("0", "1"):
        raise UnsafeModel("boost_from_average of XGBoost is neither 0 nor 1")
    booster = learner["gradient_booster"]
    return XGBoostShape(
        features,
        groups,
        classes,
        _objective(learner["objective"], classes),
        is_linear=isinstance(booster, dict) and booster.get("name") == "gblinear",
    )


def _objective(said: Any, classes: int) -> str:
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str) or not OBJECTIVES.fullmatch(name):
        raise UnsafeModel(f"the objective {str(name)[:40]!r} of XGBoost is not supported")
    if name.startswith("multi:") != (classes > 1):
        raise UnsafeModel(f"the objective {name} does not fit {classes} classes")
    for key, parameters in said.items():
        if key == "name":
            continue
        if not isinstance(parameters, dict) or not key.endswith("_param"):
            raise UnsafeModel(f"the objective of XGBoost has an unknown part {key[:40]!r}")
        for parameter, value in parameters.items():
            if not isinstance(value, str) or not _LIST.fullmatch(value):
                raise UnsafeModel(f"{parameter[:40]!r} of XGBoost's objective is no number")
    if classes > 1:
        own = said.get("softmax_multiclass_param", {}).get("num_class")
        if own is None or _whole(own, 0) != classes:
            raise UnsafeModel("the objective of XGBoost has another number of classes")
    return name


def _check_booster(booster: Any, shape: XGBoostShape) -> None:
    name = booster.get("name") if isinstance(booster, dict) else None
    if name == "gbtree":
        _fields(booster, {"name", "model"}, set(), "gradient_booster")
        _check_forest(booster["model"], shape)
    elif name == "dart":
        _fields(booster, {"name", "gbtree", "weight_drop"}, set(), "gradient_booster")
        inner = _fields(booster["gbtree"], {"name", "model"}, set(), "gbtree")
        if inner["name"] != "gbtree":
            raise UnsafeModel("a dart of XGBoost holds something else than trees")
        trees = _check_forest(inner["model"], shape)
        drops = booster["weight_drop"]
        if not _is_array(drops, _FLOATS) and not _is_list_of(drops, float):
            raise UnsafeModel("the weights of a dart of XGBoost are no numbers")
        if len(drops) != trees:
            raise UnsafeModel("a dart of XGBoost has another number of weights than trees")
    elif name == "gblinear":
        _fields(booster, {"name", "model"}, set(), "gradient_booster")
        model = _fields(booster["model"], {"weights", "boosted_rounds"}, set(), "model")
        weights = model["weights"]
        if not _is_array(weights, _FLOATS) and not _is_list_of(weights, float):
            raise UnsafeModel("the weights of a linear model of XGBoost are no numbers")
        if len(weights) != (shape.features + 1) * shape.groups:
            raise UnsafeModel("a linear model of XGBoost has another number of weights")
        if not isinstance(model["boosted_rounds"], int) or model["boosted_rounds"] < 0:
            raise UnsafeModel("a linear model of XGBoost has no number of rounds")
    else:
        raise UnsafeModel(f"the booster {str(name)[:40]!r} of XGBoost is not supported")


def _check_forest(model: Any, shape: XGBoostShape) -> int:
    """Return the number of trees."""
    needed = {"gbtree_model_param", "iteration_indptr", "tree_info", "trees"}
    model = _fields(model, needed, {"cats"}, "model")
    cats = _fields(
        model.get("cats", {}), set(), {"enc", "feature_segments", "sorted_idx"}, "categories"
    )
    if any(len(part) for part in cats.values()):
        raise UnsafeModel("the file of XGBoost has names of categories, which are not stored in it")
    says = _fields(
        model["gbtree_model_param"],
        {"num_parallel_tree", "num_trees"},
        {"size_leaf_vector"},
        "gbtree_model_param",
    )
    trees = model["trees"]
    if not isinstance(trees, list) or len(trees) != _whole(says["num_trees"], 1):
        raise UnsafeModel("the file of XGBoost has another number of trees than it says")
    parallel = _whole(says["num_parallel_tree"], 1)
    starts = _whole_numbers(model["iteration_indptr"], None, "iteration_indptr")
    groups = _whole_numbers(model["tree_info"], len(trees), "tree_info")
    if ((groups < 0) | (groups >= shape.groups)).any():
        raise UnsafeModel("a tree of XGBoost adds to a group that there is not")
    if len(starts) < 2 or starts[0] or starts[-1] != len(trees):
        raise UnsafeModel("the rounds of XGBoost do not hold its trees")
    if (np.diff(starts) != parallel * shape.groups).any():
        raise UnsafeModel("a round of XGBoost has another number of trees than groups")
    bits = sum(_check_tree(tree, shape.features) for tree in trees)
    if [tree["id"] for tree in trees] != list(range(len(trees))):  # XGBoost puts each at its number
        raise UnsafeModel("a tree of XGBoost has another number than its place")
    if bits > _MOST_BITS:
        raise UnsafeModel("the categories of XGBoost's trees need more than 256 MiB")
    return len(trees)


def _check_tree(tree: Any, features: int) -> int:
    """Return how many bits its categories take."""
    tree = _fields(
        tree, {*_OF_NODES, *_OF_CATEGORIES, "id", "tree_param"}, {"leaf_weights"}, "a tree"
    )
    says = _fields(
        tree["tree_param"],
        {"num_deleted", "num_feature", "num_nodes", "size_leaf_vector"},
        set(),
        "tree_param",
    )
    if "leaf_weights" in tree or _whole(says["size_leaf_vector"], 0) > 1:
        raise UnsafeModel(
            "trees of XGBoost with several numbers in a leaf are not supported; fit with "
            'multi_strategy="one_output_per_tree"'
        )
    nodes = _whole(says["num_nodes"], 1)
    for name, kind in _OF_NODES.items():
        if not _is_array(tree[name], kind) or len(tree[name]) != nodes:
            raise UnsafeModel(f"{name} of a tree of XGBoost is no array of its {nodes} nodes")
    for name, kind in _OF_CATEGORIES.items():
        if not _is_array(tree[name], kind):
            raise UnsafeModel(f"{name} of a tree of XGBoost is no array of whole numbers")
    if not isinstance(tree["id"], int) or _whole(says["num_feature"], 1) != features:
        raise UnsafeModel("a tree of XGBoost is of another number of features")
    left, right = tree["left_children"], tree["right_children"]
    inner = left != _NONE
    _check_children(left, right, tree["parents"], inner)
    if nodes > 2 * _DEEPEST:
        _check_depth(left)
    asked = tree["split_indices"][inner]
    if ((asked < 0) | (asked >= features)).any():
        raise UnsafeModel(f"a tree of XGBoost asks for a feature beyond the {features} of rows")
    unused = tree["split_indices"][~inner] == _DELETED
    if int(unused.sum()) != _whole(says["num_deleted"], 0) or (unused[:1].any() and not inner[0]):
        raise UnsafeModel("a tree of XGBoost has another number of deleted nodes than it says")
    if (tree["default_left"] > 1).any() or (tree["split_type"] > 1).any():
        raise UnsafeModel("a tree of XGBoost has a node of an unknown kind")
    return _check_categories(tree, inner)


def _check_children(
    left: NDArray[Any], right: NDArray[Any], parents: NDArray[Any], inner: NDArray[np.bool_]
) -> None:
    """Raise UnsafeModel unless each walk from the root ends.

    The right child lies behind the left one (XGBoost's prediction takes that for granted), and no
    node is the child of two: so none is met twice.
    """
    if (right[~inner] != _NONE).any():
        raise UnsafeModel("a leaf of XGBoost has a child")
    first = left[inner].astype(np.int64)
    if (right[inner] != first + 1).any():
        raise UnsafeModel("the two children of a node of XGBoost do not lie side by side")
    if ((first < 1) | (first + 1 >= len(left))).any():
        raise UnsafeModel("a node of XGBoost has a child that there is not")
    children = np.concatenate([first, first + 1])
    if len(np.unique(children)) != len(children):
        raise UnsafeModel("a node of XGBoost is the child of two")
    places = np.flatnonzero(inner)
    if (parents[children] != np.concatenate([places, places])).any():
        raise UnsafeModel("a node of XGBoost names another parent than its own")
    orphans = np.ones(len(left), dtype=bool)
    orphans[children] = False
    said = parents[orphans]
    if (~np.isin(said, _NO_PARENT) & ((said < 0) | (said >= len(left)))).any():
        raise UnsafeModel("a node of XGBoost has a parent that there is not")
    if parents[0] not in _NO_PARENT:
        raise UnsafeModel("the root of a tree of XGBoost has a parent")


def _check_depth(left: NDArray[Any]) -> None:
    """The right child lies behind the left one."""
    level, depth = np.zeros(1, dtype=np.int64), 0
    while len(level := level[left[level] != _NONE]):
        level = left[level].astype(np.int64)
        level, depth = np.concatenate([level, level + 1]), depth + 1
        if depth > _DEEPEST:
            raise UnsafeModel(f"a tree of XGBoost is deeper than {_DEEPEST:,} levels")


def _check_categories(tree: dict[str, Any], inner: NDArray[np.bool_]) -> int:
    nodes = np.flatnonzero(tree["split_type"])
    categories, sizes = tree["categories"], tree["categories_sizes"]
    if not np.array_equal(tree["categories_nodes"], nodes) or not inner[nodes].all():
        raise UnsafeModel("a tree of XGBoost has categories at other nodes than it splits by them")
    if len(sizes) != len(nodes) or len(tree["categories_segments"]) != len(nodes):
        raise UnsafeModel("a tree of XGBoost has another number of sets of categories than splits")
    if not len(nodes):
        if len(categories):
            raise UnsafeModel("a tree of XGBoost has categories that no node asks for")
        return 0
    if ((sizes < 1) | (sizes > len(categories))).any() or int(sizes.sum()) != len(categories):
        raise UnsafeModel("the sets of categories of a tree of XGBoost do not fit")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    if not np.array_equal(tree["categories_segments"], starts):
        raise UnsafeModel("the sets of categories of a tree of XGBoost do not follow each other")
    if ((categories < 0) | (categories >= _LARGEST_CATEGORY)).any():
        raise UnsafeModel("a tree of XGBoost asks for a category below 0 or beyond a million")
    return int(np.maximum.reduceat(categories, starts).astype(np.int64).sum())


def _fields(part: Any, needed: set[str], allowed: set[str], name: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise UnsafeModel(f"{name} of the file of XGBoost is no object")
    if missing := needed - part.keys():
        raise UnsafeModel(f"{name} of the file of XGBoost has no {min(missing)!r}")
    if unknown := part.keys() - needed - allowed:
        raise UnsafeModel(
            f"{name} of the file of XGBoost has {min(unknown)[:40]!r}, not known here"
        )
    return part


def _whole(text: Any, least: int) -> int:
    if not isinstance(text, str) or not _WHOLE.fullmatch(text) or int(text) < least:
        raise UnsafeModel(f"the file of XGBoost has {str(text)[:40]!r} for a number of something")
    return int(text)


def _whole_numbers(part: Any, length: int | None, name: str) -> NDArray[np.int64]:
    is_array = isinstance(part, np.ndarray)
    is_whole = part.dtype.kind in "iu" if is_array else _is_list_of(part, int)
    if not is_whole or (length is not None and len(part) != length):
        raise UnsafeModel(f"{name} of the file of XGBoost is no list of whole numbers")
    return np.asarray(part, dtype=np.int64)


def _is_array(part: Any, kind: np.dtype[Any]) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == kind


def _is_list_of(part: Any, kind: type) -> bool:
    return isinstance(part, list) and all(type(item) is kind for item in part)
