"""Requests from metadata, and bytes of the binary extension."""

from __future__ import annotations

import pytest

from trimtab.conform.extensions import as_instances
from trimtab.conform.rows import Failed, Skipped
from trimtab.conform.tensors import flat, packed, repeated, synthesised, unpacked


def test_unknown_dimensions_are_rows_first_and_one_else() -> None:
    inputs = [
        {"name": "a", "datatype": "FP32", "shape": [-1, 2, -1]},
        {"name": "b", "datatype": "BYTES", "shape": []},
        {"name": "c", "datatype": "BOOL", "shape": [1, 3]},
    ]
    made = synthesised({"inputs": inputs}, 4)["inputs"]
    assert [one["shape"] for one in made] == [[4, 2, 1], [4], [1, 3]]
    assert [len(one["data"]) for one in made] == [8, 4, 3]
    assert [one["data"][0] for one in made] == [0.5, "a", True]


@pytest.mark.parametrize(
    "tensor",
    [{"datatype": "BF16", "shape": [-1]}, {"datatype": "FP32", "shape": [-1, 3000, 3000]}],
    ids=["no JSON for it", "too large"],
)
def test_what_cannot_be_made_asks_for_a_file(tensor: dict[str, object]) -> None:
    with pytest.raises(Failed) as failed:
        synthesised({"inputs": [{"name": "x"} | tensor]})
    assert "--request" in failed.value.do


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]], ids=["flat", "nested"])
def test_rows_are_repeated_in_their_order(data: list[object]) -> None:
    body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [2, 2], "data": data}]}
    twice = repeated(body, 2, {})["inputs"][0]
    assert twice["shape"] == [4, 2]
    assert flat(twice["data"]) == [1, 2, 3, 4, 1, 2, 3, 4]
    with pytest.raises(Skipped):
        repeated(body, 3_000_000, {})


def test_instances_are_rows_of_one_input_or_objects_of_several() -> None:
    x = {"name": "x", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}
    name = {"name": "n", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}
    assert as_instances({"inputs": [x]}) == [[1, 2], [3, 4]]
    assert as_instances({"inputs": [x, name]}) == [{"x": [1, 2], "n": "a"}, {"x": [3, 4], "n": "b"}]


@pytest.mark.parametrize(
    ("datatype", "data", "raw"),
    [
        ("BOOL", [True, False], b"\1\0"),
        ("INT16", [1, -2], b"\1\0\xfe\xff"),
        ("FP16", [1.0], b"\0\x3c"),
        ("BYTES", ["a", "é"], b"\1\0\0\0a\2\0\0\0\xc3\xa9"),
    ],
)
def test_bytes_are_those_of_the_extension(datatype: str, data: list[object], raw: bytes) -> None:
    assert packed(datatype, data) == raw
    assert unpacked(datatype, raw, len(data)) == data
    for wrong in (raw[:-1], raw + b"\0"):
        with pytest.raises(ValueError):
            unpacked(datatype, wrong, len(data))


def test_a_byte_that_is_no_truth_is_refused() -> None:
    with pytest.raises(ValueError):
        unpacked("BOOL", b"\2", 1)
