"""Files of LightGBM (text), read and written anew before its C++ reads them.

That reader trusts a file: it walks to whatever child a node names, reads trees at the places that
`tree_sizes` says and writes as many numbers a row as `num_class` says. So the text is taken apart
here, every number that is used as an index or a size is checked, and LightGBM is given a new text
of those lines only that an answer needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.estimators.refused import UnsafeModel

OBJECTIVES: Final = frozenset(
    {
        "binary",
        "cross_entropy",
        "cross_entropy_lambda",
        "custom",
        "fair",
        "gamma",
        "huber",
        "mape",
        "multiclass",
        "multiclassova",
        "poisson",
        "quantile",
        "regression",
        "regression_l1",
        "tweedie",
    }
)
"""Those whose answers are numbers of a row by itself: no ranking."""

_MOST_GROUPS: Final = 10_000
_MOST_FEATURES: Final = 1 << 21
"""Each has a name in what LightGBM is given."""
_LARGEST_BITSET: Final = 1 << 20
_CATEGORICAL: Final = 1
_WHOLE: Final = re.compile(r"-?\d{1,9}")
_WHOLES: Final = re.compile(r"-?\d{1,10}(?: -?\d{1,10})*")
_NUMBER: Final = r"[-+]?(?:\d{1,40}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,3})?|inf|nan)"
_NUMBERS: Final = re.compile(f"{_NUMBER}(?: {_NUMBER})*")
_OPTION: Final = re.compile(rf"(?:num_class|sigmoid|alpha|c|fair_c):{_NUMBER}|sqrt")


@dataclass(frozen=True, slots=True)
class LightGBMShape:
    """What a checked file says of its answers: `groups` numbers a row, of so many features."""

    features: int
    groups: int
    objective: str
    text: str
    """What LightGBM is given."""


def check_lightgbm(raw: bytes) -> LightGBMShape:
    """Return the model in `raw`, read and written anew; raise UnsafeModel where it is not safe."""
    try:
        lines = raw.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise UnsafeModel("the file of LightGBM is no plain text") from error
    blocks = _blocks(lines)
    head = _named(next(blocks, []), "its head")
    features, groups, objective = _head(head)
    trees: list[list[str]] = []
    for block in blocks:
        if block[0] == "end of trees":
            break
        number, _, index = block[0].partition("=")
        if number != "Tree" or index != str(len(trees)):
            raise UnsafeModel(f"the file of LightGBM has no tree number {len(trees)} in its place")
        trees.append(_tree(_named(block[1:], "a tree"), features))
    else:
        raise UnsafeModel("the file of LightGBM ends before its trees do")
    if not trees or len(trees) % groups:
        raise UnsafeModel(f"{len(trees)} trees of LightGBM are not some for each of {groups}")
    return LightGBMShape(
        features, groups, objective, _written(features, groups, objective, head, trees)
    )


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """Yield runs of lines between empty ones."""
    block: list[str] = []
    for line in lines:
        if line:
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _named(block: list[str], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block:
        key, _, value = line.partition("=")
        if key in found:
            raise UnsafeModel(f"the file of LightGBM has {key[:40]!r} twice in {name}")
        found[key] = value
    return found


def _head(head: dict[str, str]) -> tuple[int, int, str]:
    if "tree" not in head or head.get("version") not in ("v3", "v4"):
        raise UnsafeModel("the file is no model of LightGBM in its third or fourth form")
    groups, classes = _whole(head, "num_tree_per_iteration", 1), _whole(head, "num_class", 1)
    features = _whole(head, "max_feature_idx", 0) + 1
    name, *options = (head.get("objective") or "custom").split(" ")
    if name not in OBJECTIVES or not all(map(_OPTION.fullmatch, options)):
        raise UnsafeModel(f"the objective {name[:40]!r} of LightGBM is not supported")
    if features > _MOST_FEATURES:
        raise UnsafeModel(f"LightGBM has {features:,} features, at most {_MOST_FEATURES:,} do")
    if groups != classes or groups > _MOST_GROUPS:
        raise UnsafeModel(f"LightGBM has {groups} trees a round, but {classes} classes")
    is_many = name.startswith("multiclass")
    own = [option for option in options if option.startswith("num_class:")]
    if own != [f"num_class:{classes}"] * is_many or (not is_many and classes > 1):
        raise UnsafeModel(f"the objective {name} of LightGBM does not fit {classes} classes")
    return features, groups, " ".join([name, *options])


def _tree(said: dict[str, str], features: int) -> list[str]:
    leaves, sets = _whole(said, "num_leaves", 1), _whole(said, "num_cat", 0)
    if said.get("is_linear", "0") != "0":
        raise UnsafeModel(
            "LightGBM's trees with linear models in their leaves are not supported; fit with "
            "linear_tree=False"
        )
    kept = [f"num_leaves={leaves}", f"num_cat={sets}"]
    if leaves == 1:
        if sets:
            raise UnsafeModel("a tree of LightGBM has sets of categories but no node")
        return [*kept, _numbers(said, "leaf_value", 1), "is_linear=0", "shrinkage=1"]
    inner = leaves - 1
    left, right, asked, kinds = (
        _wholes(said, name, inner)
        for name in ("left_child", "right_child", "split_feature", "decision_type")
    )
    _check_children(left, right, leaves)
    if ((asked < 0) | (asked >= features)).any():
        raise UnsafeModel(f"a tree of LightGBM asks for a feature beyond the {features} of rows")
    if ((kinds < 0) | (kinds >= 12)).any():
        raise UnsafeModel("a tree of LightGBM has a node of an unknown kind")
    names = ["split_feature", "threshold", "decision_type", "left_child", "right_child"]
    _numbers(said, "threshold", inner)
    _numbers(said, "leaf_value", leaves)
    kept += [f"{name}={said[name]}" for name in (*names, "leaf_value")]
    is_categorical = (kinds & _CATEGORICAL).astype(bool)
    if sets or is_categorical.any():
        _check_categories(said, sets, is_categorical)
        kept += [f"{name}={said[name]}" for name in ("cat_boundaries", "cat_threshold")]
    return [*kept, "is_linear=0", "shrinkage=1"]


def _check_children(left: NDArray[np.int64], right: NDArray[np.int64], leaves: int) -> None:
    """Raise UnsafeModel unless each node and leaf is the child of one that lies before it.

    Leaf `i` is written as `-1 - i`.
    """
    children = np.concatenate([left, right])
    places = np.tile(np.arange(leaves - 1), 2)
    is_leaf = children < 0
    if not np.array_equal(np.sort(-1 - children[is_leaf]), np.arange(leaves)):
        raise UnsafeModel("a tree of LightGBM has another number of leaves than it says")
    if ((children <= places) | (children >= leaves - 1))[~is_leaf].any():
        raise UnsafeModel("a tree of LightGBM has a node whose child is not behind it")


def _check_categories(said: dict[str, str], sets: int, is_categorical: NDArray[np.bool_]) -> None:
    if sets < 1:
        raise UnsafeModel("a tree of LightGBM splits by categories but has no set of them")
    starts = _wholes(said, "cat_boundaries", sets + 1)
    if starts[0] or (np.diff(starts) < 1).any() or starts[-1] > _LARGEST_BITSET:
        raise UnsafeModel("the sets of categories of a tree of LightGBM do not follow each other")
    words = _wholes(said, "cat_threshold", int(starts[-1]))
    if ((words < 0) | (words >= 1 << 32)).any():
        raise UnsafeModel("a tree of LightGBM has a set of categories that is no set of bits")
    asked = np.array(said["threshold"].split(" "), dtype=np.float64)[is_categorical]
    if not np.isin(asked, np.arange(sets)).all():
        raise UnsafeModel("a tree of LightGBM asks for a set of categories that there is not")


def _written(
    features: int, groups: int, objective: str, head: dict[str, str], trees: list[list[str]]
) -> str:
    lines = [
        "tree",
        f"version={head['version']}",
        f"num_class={groups}",
        f"num_tree_per_iteration={groups}",
        "label_index=0",
        f"max_feature_idx={features - 1}",
    ]
    if objective != "custom":
        lines.append(f"objective={objective}")
    if "average_output" in head:
        lines.append("average_output")
    lines.append("feature_names=" + " ".join(f"Column_{index}" for index in range(features)))
    lines.append("feature_infos=" + " ".join(["none"] * features))
    texts = ["\n".join([f"Tree={index}", *tree, "", "", ""]) for index, tree in enumerate(trees)]
    lines.append("tree_sizes=" + " ".join(str(len(text)) for text in texts))
    ends = "end of trees\n\nparameters:\n\nend of parameters\n\npandas_categorical:null\n"
    return "\n".join(lines) + "\n\n" + "".join(texts) + ends


def _whole(said: dict[str, str], name: str, least: int) -> int:
    text = said.get(name, "")
    if not _WHOLE.fullmatch(text) or int(text) < least:
        raise UnsafeModel(f"the file of LightGBM has {text[:40]!r} for {name}")
    return int(text)


def _wholes(said: dict[str, str], name: str, length: int) -> NDArray[np.int64]:
    text = said.get(name, "")
    if not _WHOLES.fullmatch(text) or text.count(" ") + 1 != length:
        raise UnsafeModel(f"{name} of a tree of LightGBM is no list of {length:,} whole numbers")
    return np.array(text.split(" "), dtype=np.int64)


def _numbers(said: dict[str, str], name: str, length: int) -> str:
    text = said.get(name, "")
    if not _NUMBERS.fullmatch(text) or text.count(" ") + 1 != length:
        raise UnsafeModel(f"{name} of a tree of LightGBM is no list of {length:,} numbers")
    return f"{name}={text}"
