"""Native files that lie are refused before C++ reads them; honest ones are not."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.patience import stretched
from tests.unit.contract.estimators.boosters import (
    ASKED,
    CLASSES,
    FEATURES,
    ROWS,
    TRUTH,
    Library,
    Runner,
    honest,
    honest_file,
    loaded,
)

from trimtab.contract.estimators.boosted.lightgbm_file import check_lightgbm
from trimtab.contract.estimators.boosted.ubjson import read_ubjson
from trimtab.contract.estimators.boosted.xgboost_file import _check_depth, check_xgboost
from trimtab.contract.estimators.refused import ModelRefused, UnsafeModel

FILES: dict[Library, bytes] = {name: honest_file(name) for name in ("xgboost", "lightgbm")}
WHOLE = np.nan_to_num(ROWS)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    other = Runner()
    yield other
    other.close()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_an_honest_file_answers_as_its_model(library: Library) -> None:
    model, estimator = honest(library), loaded(library, FILES[library])
    assert (estimator.predict_proba(ROWS) == model.predict_proba(ROWS)).all()
    assert (estimator.predict(ROWS) == model.predict(ROWS)).all()


@pytest.mark.parametrize(
    "options",
    [
        {"booster": "dart"},
        {"booster": "gblinear"},
        {"num_parallel_tree": 3},
        {"tree_method": "exact", "gamma": 1.0},
        {"tree_method": "approx"},
        {"grow_policy": "lossguide", "max_leaves": 7},
        {"objective": "multi:softmax"},
    ],
    ids=str,
)
def test_what_xgboost_writes_passes(options: dict[str, object]) -> None:
    model = xgboost.XGBClassifier(n_estimators=3, **options).fit(WHOLE, TRUTH)
    booster = model.get_booster()
    shape = check_xgboost(bytes(booster.save_raw("ubj")))
    assert (shape.features, shape.groups) == (FEATURES, CLASSES)


@pytest.mark.parametrize(
    "options",
    [
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
        {"objective": "multiclassova"},
        {"min_child_samples": 1000},  # trees of one leaf
    ],
    ids=str,
)
def test_what_lightgbm_writes_passes_and_answers_the_same(options: dict[str, Any]) -> None:
    model: Any = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, **options).fit(ROWS, TRUTH)
    shape = check_lightgbm(model.booster_.model_to_string().encode())
    assert (shape.features, shape.groups) == (FEATURES, CLASSES)
    again: Any = lightgbm.Booster(model_str=shape.text)
    assert (again.predict(ROWS) == model.predict_proba(ROWS)).all()


def array_places(body: bytes) -> dict[str, list[tuple[int, bytes, int]]]:
    """By name: where arrays of numbers begin, of which kind, and how many numbers they hold."""
    found: dict[str, list[tuple[int, bytes, int]]] = {}
    for match in re.finditer(rb"L\0{7}[\s\S]([a-z_]+)\[\$(.)#L([\s\S]{8})", body):
        (length,) = struct.unpack(">q", match[3])
        found.setdefault(match[1].decode(), []).append((match.end(), match[2], length))
    return found


PLACES = array_places(FILES["xgboost"])
KINDS = {b"l": (">i", 4), b"L": (">q", 8), b"d": (">f", 4), b"U": (">B", 1)}


def with_number(name: str, tree: int, at: int, value: int) -> bytes:
    start, kind, length = PLACES[name][tree]
    code, size = KINDS[kind]
    place = start + (at % length) * size
    body = FILES["xgboost"]
    return body[:place] + struct.pack(code, value) + body[place + size :]


def text(value: bytes) -> bytes:
    return struct.pack(">q", len(value)) + value


def with_bytes(old: bytes, new: bytes) -> bytes:
    assert old in FILES["xgboost"]
    return FILES["xgboost"].replace(old, new, 1)


def with_text(name: bytes, new: bytes) -> bytes:
    """The first text of that name replaced."""
    body = FILES["xgboost"]
    start = body.index(text(name) + b"SL") + len(text(name)) + 2
    (length,) = struct.unpack_from(">q", body, start)
    return body[:start] + text(new) + body[start + 8 + length :]


GROUPS = text(b"tree_info") + b"[#L"
NINE = struct.pack(">q", 9)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (with_number("left_children", 0, 0, 10**6), "side by side"),
        (with_number("left_children", 0, 1, 0), "side by side"),
        (with_number("right_children", 1, 0, -5), "side by side"),
        (with_number("right_children", 0, -1, 1), "leaf of XGBoost has a child"),
        (with_number("parents", 0, 1, 10**8), "another parent"),
        (with_number("parents", 0, 0, 3), "root"),
        (with_number("split_indices", 0, 0, FEATURES), "beyond the 4"),
        (with_number("split_indices", 0, 0, -1), "beyond the 4"),
        (with_number("default_left", 0, 0, 7), "unknown kind"),
        (with_number("split_type", 0, -1, 1), "categories at other nodes"),
        (with_text(b"num_nodes", b"3"), "no array of its 3"),
        (with_text(b"num_trees", b"8"), "another number of trees"),
        (with_text(b"num_parallel_tree", b"2"), "another number of trees than groups"),
        (with_text(b"num_deleted", b"1"), "deleted nodes"),
        (with_text(b"size_leaf_vector", b"3"), "one_output_per_tree"),
        (with_text(b"base_score", b"[1,2]"), "values than groups"),
        (with_text(b"num_class", b"999999"), "999999 classes"),
        (with_text(b"num_feature", b"3"), "beyond the 3|another number of features"),
        (with_bytes(GROUPS + NINE + b"i\0", GROUPS + NINE + b"i\3"), "group that there is not"),
        (with_bytes(GROUPS + NINE, GROUPS + struct.pack(">q", 2**40)), "no room"),
        (with_bytes(text(b"multi:softprob"), text(b"rank:pairwise")), "not supported"),
        (with_bytes(text(b"loss_changes"), text(b"base_weights")), "twice"),
        (FILES["xgboost"] + b"}", "behind its end"),
        (FILES["xgboost"][:-40], "ends too early"),
        (b"", "ends too early"),
        (b"{" + b"[#L" * 50, "no room|too early|length"),
    ],
)  # fmt: skip
def test_a_forged_file_of_xgboost_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(UnsafeModel, match=said):
        loaded("xgboost", body)


def test_categories_beyond_their_bits_are_refused() -> None:
    tree = next(index for index, (_, _, n) in enumerate(PLACES["categories"]) if n)
    for value in (-1, 2**31 - 1):
        with pytest.raises(UnsafeModel, match="category below 0 or beyond"):
            loaded("xgboost", with_number("categories", tree, 0, value))
    with pytest.raises(UnsafeModel, match="do not follow"):
        loaded("xgboost", with_number("categories_segments", tree, 0, 2**40))
    with pytest.raises(UnsafeModel, match="do not fit"):
        loaded("xgboost", with_number("categories_sizes", tree, 0, 2**62))


@pytest.mark.parametrize("number", [0, 2, -1, 2**40])
def test_trees_of_xgboost_are_numbered_by_their_places(number: int) -> None:
    body = FILES["xgboost"]
    start = [match.end() for match in re.finditer(re.escape(text(b"id")), body)][1]
    assert body[start : start + 2] == b"i\1"
    forged = body[:start] + b"L" + struct.pack(">q", number) + body[start + 2 :]
    with pytest.raises(UnsafeModel, match="another number than its place"):
        check_xgboost(forged)


def test_a_tree_of_xgboost_without_end_is_refused() -> None:
    """Its depth would overflow the stack."""
    deep = np.arange(-1, 40_000, 2, dtype=np.int64)
    left = np.full(len(deep) * 2, -1, dtype=">i4")
    places = np.maximum(deep[:-1], 0)
    left[places] = deep[1:]
    with pytest.raises(UnsafeModel, match="deeper than"):
        _check_depth(left)
    left[places[9_000]] = -1
    _check_depth(left)


def test_a_deep_file_is_refused() -> None:
    with pytest.raises(UnsafeModel, match="nested too deep"):
        read_ubjson(b"".join(b"{L" + text(b"a") for _ in range(100_000)))


def line_with(name: str, at: int, value: str, *, of: str = " ") -> bytes:
    """The text with one of the numbers of the first line of that name replaced."""
    lines = FILES["lightgbm"].decode().split("\n")
    index = next(i for i, line in enumerate(lines) if line.startswith(f"{name}="))
    key, _, values = lines[index].partition("=")
    parts = values.split(of)
    parts[at % len(parts)] = value
    lines[index] = f"{key}={of.join(parts)}"
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (line_with("left_child", 0, "1000000"), "another number of leaves|not behind"),
        (line_with("left_child", 0, "0"), "another number of leaves|not behind"),
        (line_with("right_child", -1, "-99"), "another number of leaves"),
        (line_with("split_feature", 0, "4"), "beyond the 4"),
        (line_with("split_feature", 0, "-1"), "beyond the 4"),
        (line_with("decision_type", 0, "127"), "unknown kind"),
        (line_with("num_leaves", 0, "999999"), "no list of"),
        (line_with("num_leaves", 0, "-3"), "num_leaves"),
        (line_with("num_cat", 0, "7"), "cat_boundaries"),
        (line_with("cat_boundaries", -1, "900000"), "cat_threshold|follow"),
        (line_with("cat_threshold", 0, "-5"), "no set of bits"),
        (line_with("num_class", 0, "300"), "trees a round"),
        (line_with("num_tree_per_iteration", 0, "2"), "trees a round"),
        (line_with("objective", 1, "num_class:500"), "does not fit"),
        (line_with("objective", 0, "lambdarank"), "not supported"),
        (line_with("max_feature_idx", 0, "2000000000"), "max_feature_idx"),
        (line_with("leaf_value", 0, "0x1"), "no list of"),
        (line_with("is_linear", 0, "1"), "linear_tree=False"),
        (line_with("version", 0, "v9"), "third or fourth"),
        (FILES["lightgbm"][:-400], "ends before|another number|no list|not some for each|num_"),
        (b"", "no model"),
        (b"\xff" * 10, "no plain text"),
    ],
)  # fmt: skip
def test_a_forged_file_of_lightgbm_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(UnsafeModel, match=said):
        loaded("lightgbm", body)


def test_lightgbm_is_given_no_names_without_end() -> None:
    forged = re.sub(rb"max_feature_idx=\d+", b"max_feature_idx=999999998", FILES["lightgbm"])
    with pytest.raises(UnsafeModel, match="999,999,999 features"):
        check_lightgbm(forged)


def test_lightgbm_is_given_what_was_checked_and_not_what_was_written() -> None:
    """Offsets into the text are made anew: a forged one would be read beyond the end."""
    forged = FILES["lightgbm"].replace(b"tree_sizes=", b"tree_sizes=99999999 ")
    assert (
        loaded("lightgbm", forged).predict_proba(ASKED)
        == loaded("lightgbm", FILES["lightgbm"]).predict_proba(ASKED)
    ).all()


def test_a_file_of_another_width_is_refused() -> None:
    model = xgboost.XGBClassifier(n_estimators=2).fit(ROWS[:, :3], TRUTH)
    with pytest.raises(ModelRefused, match="3 features"):
        loaded("xgboost", bytes(model.get_booster().save_raw("ubj")))


NUMBERS = st.sampled_from([-(2**31), -(10**6), -2, -1, 0, 1, 2, 5, 40, 10**6, 2**31 - 1])


@st.composite
def mutated_xgboost(draw: st.DrawFn) -> bytes:
    body = bytearray(FILES["xgboost"])
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            name = draw(st.sampled_from(sorted(PLACES)))
            start, kind, length = draw(st.sampled_from(PLACES[name]))
            if length == 0:
                continue
            code, size = KINDS[kind]
            place = start + draw(st.integers(0, length - 1)) * size
            number = draw(NUMBERS)
            body[place : place + size] = struct.pack(code, number % 256 if size == 1 else number)
        else:
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


TOKENS = "-2147483648,-1,0,1,2,3,5,40,1000000,4294967295,1e308,nan,"


@st.composite
def mutated_lightgbm(draw: st.DrawFn) -> bytes:
    lines = FILES["lightgbm"].decode().split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key, equals, values = lines[at].partition("=")
        what = draw(st.sampled_from(["number", "number", "number", "drop", "twice"]))
        if what == "drop":
            del lines[at]
        elif what == "twice":
            lines.insert(at, lines[at])
        elif equals:
            parts = values.split(" ")
            parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from(TOKENS.split(",")))
            lines[at] = f"{key}={' '.join(parts)}"
    return "\n".join(lines).encode()


def check_survives(runner: Runner, library: Library, body: bytes) -> None:
    assert runner.said(library, body, stretched(30)) in ("refused", "answered")


many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@example(body=FILES["xgboost"])
@given(body=mutated_xgboost())
def test_no_file_of_xgboost_ends_the_process(runner: Runner, body: bytes) -> None:
    check_survives(runner, "xgboost", body)


@many
@example(body=FILES["lightgbm"])
@given(body=mutated_lightgbm())
def test_no_file_of_lightgbm_ends_the_process(runner: Runner, body: bytes) -> None:
    check_survives(runner, "lightgbm", body)
