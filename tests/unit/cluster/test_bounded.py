"""What is nested too deep is taken out of an answer, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trimtab.cluster.shallow import MOST_LEVELS, TOO_DEEP, read_answer, shallow

DEPTHS = (MOST_LEVELS, 400, 1_000, 9_990)


def an_object(levels: int, field: str = "spec") -> str:
    """Return an object in which `field` holds `levels` lists in each other, and a few traps."""
    deep = "[" * levels + r'"]}\"{["' + "]" * levels
    meta = '{"name": "a", "managedFields": [{"f:spec": {}}]}'
    return f'{{"metadata": {meta}, "{field}": {{"model": "m", "x": {deep}, "y": [1]}}, "z": "}}"}}'


@pytest.mark.parametrize("levels", DEPTHS)
def test_an_object_says_what_is_wrong_in_place_of_its_spec(levels: int) -> None:
    answer = read_answer(an_object(levels).encode())
    assert answer == {"metadata": {"name": "a"}, "spec": TOO_DEEP, "z": "}"}


@pytest.mark.parametrize("levels", DEPTHS)
def test_the_others_of_a_list_stay_as_they_are(levels: int) -> None:
    good = '{"metadata": {"name": "b"}, "spec": {"model": "m"}}'
    answer = read_answer(f'{{"items": [{good}, {an_object(levels)}, {good}]}}'.encode())
    assert [item["spec"] for item in answer["items"]] == [{"model": "m"}, TOO_DEEP, {"model": "m"}]


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_line_of_a_watch(levels: int) -> None:
    line = shallow(f'{{"type": "ADDED", "object": {an_object(levels)}}}'.encode())
    assert json.loads(line)["object"]["spec"] == TOO_DEEP


def test_a_status_is_left_out() -> None:
    assert read_answer(an_object(500, "status").encode())["status"] == {}


@pytest.mark.parametrize("levels", [1, 50, MOST_LEVELS - 2])
def test_what_is_not_too_deep_is_not_touched(levels: int) -> None:
    text = an_object(levels)
    assert read_answer(text.encode()) == json.loads(text)
    assert shallow(text.encode()) == text.encode()


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"x": [[1]] * 500}}
    raw = json.dumps(wide).encode()
    assert read_answer(raw) == wide
    assert shallow(raw) == raw


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[" * 2_000, b'{"a": "' + b"[" * 2_000])
def test_what_is_no_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_answer(raw)
