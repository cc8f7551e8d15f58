"""Bodies that hold more than any request may are refused before they are parsed."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import stretched
from tests.unit.serving.loopback import serving
from tests.unit.serving.stored import Stored

from trimtab.contract.artifact import Signature, Tensor
from trimtab.serving.backstage import MAX_OUTCOMES, OUTCOMES
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference import body_bounds as module
from trimtab.serving.inference.body_bounds import BodyBounds, bounds_of
from trimtab.serving.settings import ServingSettings

MANY = 5_000_000
HOSTILE = {
    "lists": b'{"inputs":[' + b"[]," * MANY + b"[]]}",
    "objects": b'{"inputs":[' + b"{}," * MANY + b"{}]}",
    "numbers": b'{"inputs":[' + b"1," * MANY + b"1]}",
    "nan": b'{"inputs":[NaN,' + b"1," * MANY + b"1]}",
    "names": b'{"inputs":{' + b'"a":1,' * (MANY // 2) + b'"a":1}}',
    "texts": b"[" + b'"",' * MANY + b'""]',
    "escapes": b'["' + b'\\"' * 100 + b'",' + b"[]," * MANY + b"[]]",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("port", ["front", "back"])
def test_what_holds_too_much_is_refused_soon(binary: Stored, body: bytes, port: str) -> None:
    bounds = bounds_of(binary.signature, 4096) if port == "front" else OUTCOMES
    began = perf_counter()
    with pytest.raises(RequestInvalid) as raised:
        bounds.check(body)
    assert raised.value.status == 413
    assert perf_counter() - began < stretched(1.0)


def test_what_is_left_open_is_no_json() -> None:
    for body in (b"[" * MANY, b'{"a":' * MANY):
        with pytest.raises(RequestInvalid, match="JSON") as raised:
            OUTCOMES.check(body)
        assert raised.value.status == 400


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/v1/models/digits:predict"])
async def test_such_a_body_gets_an_answer(settings: ServingSettings, path: str) -> None:
    async with serving(settings) as client:
        answer = await client.front.post(path, content=HOSTILE["lists"])
        assert answer.status_code == 413
        answer = await client.back.post("/outcomes", content=HOSTILE["nan"])
        assert answer.status_code == 413


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, datatype="FP64", shape=list(shape))


def filled(*shape: int) -> Any:
    return [filled(*shape[1:]) for _ in range(shape[0])] if shape else 1.5


@pytest.mark.parametrize(
    "tensors",
    [[tensor("x", 4)], [tensor("x", 3, 2, 2)], [tensor(f"x{i}") for i in range(7)]],
    ids=["one", "deep", "table"],
)
@pytest.mark.parametrize("rows", [1, 300])
def test_whatever_form_a_request_has_it_is_within(
    tensors: list[Tensor], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNTED_BYTES", 0)
    monkeypatch.setattr(module, "SPARE", 30)
    bounds = bounds_of(Signature(task="regression", inputs=tensors, outputs=[tensors[0]]), rows)
    infer = [
        {
            "name": one.name,
            "datatype": "FP64",
            "shape": [rows, *one.shape],
            "parameters": {"a": 1, "b": [2, 3]},
            "data": filled(rows, *one.shape),
        }
        for one in tensors
    ]
    named = [{one.name: filled(*one.shape) for one in tensors} for _ in range(rows)]
    listed = [[filled(*one.shape) for one in tensors] for _ in range(rows)]
    for content in ({"id": "1", "inputs": infer}, {"instances": named}, {"instances": listed}):
        bounds.check(json.dumps(content).encode())


def test_the_largest_post_of_outcomes_is_within() -> None:
    one = {"token": "x" * 60, "actual": ["1"] * 256}
    OUTCOMES.check(json.dumps([one] * MAX_OUTCOMES).encode())


@given(st.recursive(st.text() | st.integers(), st.lists, max_leaves=30))
def test_what_is_in_texts_counts_for_nothing(content: Any) -> None:
    raw = json.dumps(content, ensure_ascii=False).encode()
    before, module._PART_BYTES = module._PART_BYTES, 7  # type: ignore[misc]
    try:
        bare = module._without_texts(raw)
    finally:
        module._PART_BYTES = before  # type: ignore[misc]
    assert bare.count(b"[") == lists_in(content)


def lists_in(content: Any) -> int:
    return 1 + sum(map(lists_in, content)) if isinstance(content, list) else 0


def test_texts_full_of_commas_are_taken() -> None:
    bounds = BodyBounds(containers=2, commas=1, names=1)
    bounds.check(b'{"data": ["' + b"[{,:" * 100_000 + b'\\"[", "\\\\"]}')
