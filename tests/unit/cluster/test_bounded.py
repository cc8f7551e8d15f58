"""What is too deep or too large is taken out of an answer, and nothing else is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from trimtab.cluster import bounded as module
from trimtab.cluster.bounded import (
    MOST_CONTAINERS,
    MOST_LEVELS,
    MOST_VALUES,
    TOO_DEEP,
    TOO_LARGE,
)

DEPTHS = (MOST_LEVELS, 400, 1_000, 9_990)
MANAGED: list[dict[str, Any]] = [{"f:spec": {}}]
FREE = MOST_LEVELS - 2
"""Levels that `an_object` may have: its root and its field are the others."""


def read_answer(data: bytes) -> Any:
    return asyncio.run(module.read_answer(data))


def bounded(line: bytes) -> bytes:
    return asyncio.run(module.bounded(line))


def an_object(levels: int, field: str = "spec") -> str:
    """Return an object in which `field` holds `levels` lists in each other, and a few traps."""
    deep = "[" * levels + r'"]}\"{["' + "]" * levels
    meta = '{"name": "a", "managedFields": [{"f:spec": {}}]}'
    return f'{{"metadata": {meta}, "{field}": {{"model": "m", "x": {deep}, "y": [1]}}, "z": "}}"}}'


@pytest.mark.parametrize("levels", DEPTHS)
def test_an_object_says_what_is_wrong_in_place_of_its_spec(levels: int) -> None:
    answer = read_answer(an_object(levels).encode())
    assert answer == {
        "metadata": {"name": "a", "managedFields": MANAGED},
        "spec": TOO_DEEP,
        "z": "}",
    }


@pytest.mark.parametrize("levels", DEPTHS)
def test_the_others_of_a_list_stay_as_they_are(levels: int) -> None:
    good = '{"metadata": {"name": "b"}, "spec": {"model": "m"}}'
    answer = read_answer(f'{{"items": [{good}, {an_object(levels)}, {good}]}}'.encode())
    assert [item["spec"] for item in answer["items"]] == [{"model": "m"}, TOO_DEEP, {"model": "m"}]


@pytest.mark.parametrize("levels", DEPTHS)
def test_a_line_of_a_watch(levels: int) -> None:
    line = bounded(f'{{"type": "ADDED", "object": {an_object(levels)}}}'.encode())
    assert json.loads(line)["object"]["spec"] == TOO_DEEP


def test_a_status_is_left_out() -> None:
    assert read_answer(an_object(500, "status").encode())["status"] == {}


@pytest.mark.parametrize("levels", [1, 50, FREE])
def test_what_is_not_too_deep_is_not_touched(levels: int) -> None:
    text = an_object(levels)
    assert read_answer(text.encode()) == json.loads(text)
    assert bounded(text.encode()) == text.encode()


@pytest.mark.parametrize(("levels", "is_read"), [(FREE, True), (FREE + 1, False)])
def test_the_limit_is_the_same_however_an_object_comes(levels: int, is_read: bool) -> None:
    text = an_object(levels)
    alone = read_answer(text.encode())["spec"]
    listed = read_answer(f'{{"kind": "L", "items": [{text}]}}'.encode())["items"][0]["spec"]
    watched = json.loads(bounded(f'{{"type": "ADDED", "object": {text}}}'.encode()))["object"][
        "spec"
    ]
    assert alone == listed == watched
    assert (alone != TOO_DEEP) == is_read


WIDE = {
    "lists": "[" + "[]," * MOST_CONTAINERS + "[]]",
    "maps": '{"a":[' + '{"a":[1]},' * MOST_CONTAINERS + "{}]}",
    "values": "[" + "1," * MOST_VALUES + "1]",
    "texts": "[" + '"a",' * MOST_VALUES + '"a"]',
    "small_ones": "[" + '{"metadata":{"name":"a","namespace":"b"}},' * MOST_CONTAINERS + "1]",
}


@pytest.mark.parametrize("wide", WIDE.values(), ids=WIDE.keys())
def test_what_is_too_large_is_never_parsed(wide: str) -> None:
    good = '{"metadata":{"name":"b"},"spec":{"model":"m"}}'
    fat = f'{{"metadata":{{"name":"a"}},"spec":{{"x":{wide}}},"status":{{}}}}'
    answer = read_answer(f'{{"items":[{good},{fat},{good}]}}'.encode())
    assert [item["spec"] for item in answer["items"]] == [{"model": "m"}, TOO_LARGE, {"model": "m"}]
    line = bounded(f'{{"type":"ADDED","object":{fat}}}'.encode())
    assert json.loads(line)["object"] == {
        "metadata": {"name": "a"},
        "spec": TOO_LARGE,
        "status": {},
    }


def test_commas_in_texts_are_no_values() -> None:
    text = json.dumps({"metadata": {"name": "a"}, "spec": {"x": "," * 2 * MOST_VALUES}})
    assert read_answer(text.encode()) == json.loads(text)


def test_a_list_of_many_small_objects_is_read_as_it_is() -> None:
    metadata = {"name": "a", "namespace": "b"}
    one = {"metadata": metadata, "spec": {"x": [[1]] * 100}}
    text = json.dumps({"items": [one] * 300}, separators=(",", ":"))
    assert text.count("[") > MOST_CONTAINERS
    assert read_answer(text.encode()) == json.loads(text)


def test_the_fields_of_managers_go_where_they_are_too_deep() -> None:
    deep = "[" * 400 + "]" * 400
    text = f'{{"metadata":{{"name":"a","managedFields":[{deep}]}},"spec":{{"model":"m"}}}}'
    answer = read_answer(text.encode())
    assert answer == {"metadata": {"name": "a", "managedFields": []}, "spec": {"model": "m"}}


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"x": [[1]] * 500}}
    raw = json.dumps(wide).encode()
    assert read_answer(raw) == wide
    assert bounded(raw) == raw


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[" * 2_000, b'{"a": "' + b"[" * 2_000])
def test_what_is_no_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_answer(raw)
