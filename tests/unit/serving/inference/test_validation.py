"""Refusals are counted and named; tests/corpus holds what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.contract.artifact import Signature, Tensor
from trimtab.serving.errors import RequestInvalid
from trimtab.serving.inference.validation import Inputs
from trimtab.serving.settings import ServingSettings

GOOD = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [0.1, 0.2, 0.3, 0.4]}


def one(**changes: Any) -> bytes:
    return json.dumps({"inputs": [GOOD | changes]}).encode()


async def test_refusals_are_counted_by_code_and_no_row_of_them(
    settings: ServingSettings, binary: Stored
) -> None:
    headers = {"content-type": "application/json"}
    async with serving(settings) as client:
        for content in (b"{", one(name="y"), one(shape=[10**9, 4]), one(data=[1, 2, "3", 4])):
            await client.front.post("/v2/models/digits/infer", content=content, headers=headers)
        good = await client.infer(vector(binary.rows[:2]))
        counted = await client.metrics()
    assert good.status_code == 200
    assert counted["trimtab_requests_total{code=413}"] == 1
    assert counted["trimtab_requests_total{code=400}"] == 3
    assert counted["trimtab_requests_total{code=500}"] == 0
    assert counted["trimtab_requests_started_total"] == 5
    classes = [counted[f"trimtab_predicted_total{{class={name}}}"] for name in "01"]
    assert sum(classes) == 2


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"content-type": "text/plain"}, "content-type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        ({"content-type": "application/octet-streams"}, "content-type"),
        ({"content-type": "application/json", "content-encoding": "br"}, "content-encoding"),
    ],
    ids=["text", "form", "octets", "coding"],
)
async def test_other_content_is_415(
    settings: ServingSettings, headers: dict[str, str], named: str
) -> None:
    async with serving(settings) as client:
        answer = await client.front.post("/v2/models/digits/infer", content=one(), headers=headers)
        counted = await client.metrics()
    assert answer.status_code == 415
    assert named in answer.json()["error"]
    assert counted["trimtab_requests_total{code=415}"] == 1


async def test_paths_and_methods(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        for method, path, status, named in [
            ("GET", "/v2/models/digits/infer", 405, "GET"),
            ("PUT", "/v2/models/digits/infer", 405, "PUT"),
            ("POST", "/v2/health/live", 405, "POST"),
            ("GET", "/", 404, "/"),
            ("GET", "/v2/models/other", 404, "'other'"),
            ("POST", "/v2/models/other/infer", 404, "'other'"),
            ("POST", "/v1/models/other:predict", 404, "'other'"),
            ("POST", "/v2/models/digits/versions/v9/infer", 404, "'v9'"),
            ("POST", "/v2/models/digits/explain", 404, "explain"),
        ]:
            answer = await client.front.request(method, path)
            assert answer.status_code == status, path
            assert named in answer.json()["error"], path
            if status == 405:
                assert answer.headers["allow"]
        encoded = await client.front.get("/v2/models/%64igits/")
    assert encoded.status_code == 200


TABLE = {
    "age": ("INT64", [30, 40]),
    "colour": ("BYTES", ["red", "blue"]),
    "member": ("BOOL", [True, False]),
    "z": ("FP32", [0.5, 1.5]),
}


def columns(**changes: Any) -> list[dict[str, Any]]:
    found = []
    for name, (datatype, data) in (TABLE | changes).items():
        if data is not None:
            found.append({"name": name, "datatype": datatype, "shape": [len(data)], "data": data})
    return found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"age": ("INT64", None)}, "'age' is missing"),
        ({"age": ("INT64", [1, 2, 3])}, "inputs[1].shape"),
        ({"age": ("FP64", [1.0, 2.0])}, "inputs[0].datatype"),
        ({"age": ("INT64", [1.5, 2.0])}, "inputs[0].data[0]"),
        (
            {"age": ("INT64", [1, None])},
            "inputs[0].data[1]: null is not allowed here: the rows that the model was published "
            "with had no gaps",
        ),
        ({"age": (None, [1, 2])}, "inputs[0].datatype: is missing; INT64 is wanted"),
        ({"age": ("INT64", [2**64, 1])}, "inputs[0].data[0]"),
        ({"age": ("INT64", [2**63, 1])}, "inputs[0].data[0]"),
        ({"colour": ("BYTES", ["red", 3])}, "inputs[1].data[1]"),
        ({"colour": ("BYTES", ["red", None])}, "inputs[1].data[1]: null"),
        ({"colour": ("INT64", [1, 2])}, "inputs[1].datatype"),
        ({"member": ("BOOL", [1, 0])}, "inputs[2].data[0]"),
        ({"member": ("BOOL", ["true", False])}, "inputs[2].data[0]"),
        ({"z": ("FP32", [1e39, 0])}, "inputs[3].data[0]"),
        ({"q": ("FP32", [1, 0])}, "inputs[4].name"),
    ],
)
async def test_bad_columns_are_named(
    settings: ServingSettings, table: Stored, changes: dict[str, Any], named: str
) -> None:
    async with serving(served_as(settings, table)) as client:
        good = await client.infer(columns())
        answer = await client.infer(columns(**changes))
    assert good.status_code == 200, good.text
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]


async def test_names_that_are_wrong_are_repeated(settings: ServingSettings, table: Stored) -> None:
    async with serving(served_as(settings, table)) as client:
        one = {"datatype": "FP32", "shape": [1], "data": [1]}
        answers = [await client.infer([given]) for given in (one, {**one, "name": "q"})]
        answers.append(await client.infer(columns(), outputs=[{"name": "other"}]))
        answers.append(await client.infer(columns(), outputs=[{}]))
    assert [answer.json()["error"].partition(";")[0] for answer in answers] == [
        "inputs[0].name: is missing",
        "inputs[0].name: 'q' is not an input",
        "outputs[0].name: 'other' is not an output",
        "outputs[0].name: is missing",
    ]


@pytest.mark.parametrize(
    ("shape", "cells", "named"),
    [
        ([], [1, None], "instances[1].x: null"),
        ([2], [[1, 2], [3, None]], "instances[1].x[1]: null"),
        ([2], [[1, 2], [3]], "instances[1].x: a list of 2 is wanted"),
        ([2, 2], [[[1, 2], [3, 4]], [[1, 2], [3, None]]], "instances[1].x[3]: null"),
    ],
)
def test_the_row_of_an_instance_is_named(shape: list[int], cells: list[Any], named: str) -> None:
    tensors = [Tensor(name="x", datatype="FP64", shape=shape), Tensor(name="y", datatype="FP64")]
    signature = Signature(
        task="regression", inputs=tensors, outputs=[Tensor(name="value", datatype="FP64")]
    )
    with pytest.raises(RequestInvalid) as refused:
        Inputs(signature, 10).read_instances([{"x": one, "y": 1} for one in cells])
    assert str(refused.value).startswith(named)
