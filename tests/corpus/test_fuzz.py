"""Requests that are spoiled at random: refused, or good after all, and never an error of ours."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.corpus.conftest import Field
from tests.corpus.ground import Peer, at_rest, peer, settled
from tests.corpus.sent import PREDICT, TABLE, VECTOR, body, columns, request, spoiled, tensor, top

MUTATIONS = 60
_LEAVES = (
    some.none()
    | some.booleans()
    | some.integers(-(2**70), 2**70)
    | some.floats()
    | some.sampled_from(["x", "age", "FP64", "INT8", "BYTES", "BOOL", "class", "", "NaN"])
    | some.text(max_size=5)
)
_TREES = some.recursive(
    _LEAVES,
    lambda inside: (
        some.lists(inside, max_size=5)
        | some.dictionaries(
            some.sampled_from(["name", "datatype", "shape", "data", "parameters", "x"]), inside
        )
    ),
    max_leaves=10,
)


def check(one: Peer, wire: bytes) -> None:
    """Send a whole request on a connection that stays open; the answer is 200 or a named 4xx."""
    one.send(wire)
    answer = one.answer()
    assert answer.status in (200, 400, 413, 415, 422), (answer, wire)
    assert answer.status == 200 or answer.error
    assert "connection" not in answer.headers


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["vector", "table", "instances"])
def test_spoiled_bodies(field: Field, seed: int, kind: str) -> None:
    chance = random.Random(f"{kind} {seed}")
    server = field.table if kind == "table" else field.vector
    before = at_rest(field.ground)
    with peer(server.inference_port) as one:
        for _ in range(MUTATIONS):
            if kind == "table":
                check(one, request(spoiled(columns(), chance)))
            elif kind == "vector":
                good = top(id="a", parameters={"b": [1]}, outputs=[{"name": "class"}])
                check(one, request(spoiled(good, chance)))
            else:
                good = body({"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]})
                check(one, request(spoiled(good, chance), PREDICT))
        one.send(request(columns() if kind == "table" else tensor()))
        assert one.answer().status == 200
    assert settled(field.ground, before) == before


def test_a_body_cut_anywhere(field: Field) -> None:
    with peer(field.vector.inference_port) as one:
        for good in (tensor(), top(id="a", parameters={"b": [1]}, outputs=[{"name": "class"}])):
            for length in range(len(good)):
                one.send(request(good[:length]))
                assert one.answer().status == 400


@pytest.mark.parametrize("seed", range(20))
def test_spoiled_heads(field: Field, seed: int) -> None:
    """A head can become anything, so the peer hangs up; what matters is who is served next."""
    chance = random.Random(seed)
    before = at_rest(field.ground)
    for _ in range(MUTATIONS):
        head, _, rest = request(tensor()).partition(b"\r\n\r\n")
        with peer(field.vector.inference_port) as one:
            one.send(spoiled(head, chance) + b"\r\n\r\n" + rest)
    with peer(field.vector.inference_port) as one:
        one.send(request(tensor()))
        assert one.answer().status == 200
    assert settled(field.ground, before) == before


@settings(max_examples=200, deadline=None)
@given(
    field_name=some.sampled_from([*VECTOR, "parameters", "inputs", "id", "outputs"]), value=_TREES
)
def test_any_json_in_any_field(field: Field, field_name: str, value: Any) -> None:
    inside = field_name in VECTOR
    sent = tensor(**{field_name: value}) if inside else top(**{field_name: value})
    with peer(field.vector.inference_port) as one:
        check(one, request(sent))


@settings(max_examples=200, deadline=None)
@given(some.sampled_from(sorted(TABLE)), _TREES)
def test_any_json_as_a_column(field: Field, name: str, value: Any) -> None:
    inputs = json.loads(columns())["inputs"]
    for one in inputs:
        if one["name"] == name:
            one["data"] = value
    with peer(field.table.inference_port) as connection:
        check(connection, request(body({"inputs": inputs})))
        check(connection, request(body({"instances": value}), PREDICT))
