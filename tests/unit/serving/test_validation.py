"""Bad requests are 4xx, name the field, and hurt nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.serving.settings import Settings

GOOD = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [0.1, 0.2, 0.3, 0.4]}
HUGE = 2**70


def one(**changes: Any) -> bytes:
    return json.dumps({"inputs": [GOOD | changes]}).encode()


def body(content: Any) -> bytes:
    return json.dumps(content).encode()


def without(key: str) -> bytes:
    return body({"inputs": [{k: v for k, v in GOOD.items() if k != key}]})


# id: (body, status, what the message names)
BAD: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "not JSON"),
    "not_json": (b"{", 400, "not JSON"),
    "not_utf8": (b'{"inputs": "\xff"}', 400, "not JSON"),
    "two_documents": (b"{}{}", 400, "not JSON"),
    "deep": (b"[" * 100_000, 400, "not JSON"),
    "deep_with_nan": (b"[" * 100_000 + b"NaN", 400, "not JSON"),
    "a_list": (b"[]", 400, "object"),
    "a_number": (b"1", 400, "object"),
    "null": (b"null", 400, "object"),
    "no_inputs": (b"{}", 400, "inputs: is missing"),
    "inputs_null": (body({"inputs": None}), 400, "inputs"),
    "inputs_object": (body({"inputs": {}}), 400, "inputs"),
    "inputs_empty": (body({"inputs": []}), 400, "inputs"),
    "input_is_number": (body({"inputs": [1]}), 400, "inputs[0]"),
    "second_is_null": (body({"inputs": [GOOD, None]}), 400, "inputs[1]"),
    "no_name": (without("name"), 400, "inputs[0].name"),
    "wrong_name": (one(name="y"), 400, "inputs[0].name"),
    "name_is_list": (one(name=["x"]), 400, "inputs[0].name"),
    "twice": (body({"inputs": [GOOD, GOOD]}), 400, "inputs[1].name"),
    "no_datatype": (without("datatype"), 400, "inputs[0].datatype"),
    "unknown_datatype": (one(datatype="FP65"), 400, "inputs[0].datatype"),
    "bytes_for_number": (one(datatype="BYTES"), 400, "inputs[0].datatype"),
    "bool_for_number": (one(datatype="BOOL"), 400, "inputs[0].datatype"),
    "datatype_is_number": (one(datatype=64), 400, "inputs[0].datatype"),
    "no_shape": (without("shape"), 400, "inputs[0].shape"),
    "shape_is_number": (one(shape=4), 400, "inputs[0].shape"),
    "shape_empty": (one(shape=[]), 400, "inputs[0].shape"),
    "shape_of_floats": (one(shape=[1.0, 4.0]), 400, "inputs[0].shape"),
    "shape_of_bools": (one(shape=[True, 4]), 400, "inputs[0].shape"),
    "too_narrow": (one(shape=[1, 3], data=[1, 2, 3]), 400, "inputs[0].shape"),
    "too_wide": (one(shape=[1, 5], data=[1, 2, 3, 4, 5]), 400, "inputs[0].shape"),
    "one_dimension": (one(shape=[4]), 400, "inputs[0].shape"),
    "three_dimensions": (one(shape=[1, 2, 2]), 400, "inputs[0].shape"),
    "no_rows": (one(shape=[0, 4], data=[]), 400, "inputs[0].shape"),
    "negative_rows": (one(shape=[-1, 4]), 400, "inputs[0].shape"),
    "huge_rows": (one(shape=[10**9, 4]), 413, "inputs[0].shape"),
    "huger_rows": (one(shape=[HUGE, 4]), 400, "inputs[0].shape"),
    "no_data": (without("data"), 400, "inputs[0].data"),
    "data_is_number": (one(data=1), 400, "inputs[0].data"),
    "data_is_string": (one(data="abcd"), 400, "inputs[0].data"),
    "data_is_object": (one(data={"0": 1}), 400, "inputs[0].data"),
    "data_empty": (one(data=[]), 400, "inputs[0].data"),
    "data_short": (one(data=[1, 2, 3]), 400, "inputs[0].data"),
    "data_long": (one(data=[1, 2, 3, 4, 5]), 400, "inputs[0].data"),
    "string_within": (one(data=[1, 2, "3", 4]), 400, "inputs[0].data[2]"),
    "bool_within": (one(data=[1, 2, 3, True]), 400, "inputs[0].data[3]"),
    "object_within": (one(data=[{}, 2, 3, 4]), 400, "inputs[0].data[0]"),
    "list_within": (one(data=[1, [2], 3, 4]), 400, "inputs[0].data[1]"),
    "null_within": (one(data=[1, None, 3, 4]), 400, "inputs[0].data[1]: null"),
    "nan_within": (one(data=[1, 2, float("nan"), 4]), 400, "inputs[0].data[2]: NaN"),
    "infinity_within": (one(data=[1, 2, 3, float("inf")]), 400, "inputs[0].data[3]: infinity"),
    "too_large_number": (one(data=[1, 2, 3, 4]).replace(b"4]}", b"1e999]}"), 400, "not JSON"),
    "nested_short": (one(data=[[1, 2, 3]]), 400, "inputs[0].data[0]"),
    "nested_rows": (one(data=[[1, 2, 3, 4], [1, 2, 3, 4]]), 400, "inputs[0].data"),
    "nested_ragged": (one(shape=[2, 4], data=[[1, 2, 3, 4], 5]), 400, "inputs[0].data[1]"),
    "nested_deeper": (one(data=[[[1, 2, 3, 4]]]), 400, "inputs[0].data[0]"),
    "id_is_number": (body({"inputs": [GOOD], "id": 1}), 400, "id"),
    "id_is_long": (body({"inputs": [GOOD], "id": "x" * 2000}), 400, "id"),
    "parameters_list": (body({"inputs": [GOOD], "parameters": []}), 400, "parameters"),
    "parameters_deep": (
        body({"inputs": [GOOD]})[:-1] + b', "parameters": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}",
        400,
        "parameters",
    ),
    "parameters_huge": (
        body({"inputs": [GOOD], "parameters": {"a": float("nan"), "b": 2**80}}),
        400,
        "64-bit",
    ),
    "outputs_object": (body({"inputs": [GOOD], "outputs": {}}), 400, "outputs"),
    "output_unknown": (body({"inputs": [GOOD], "outputs": [{"name": "z"}]}), 400, "outputs[0]"),
    "binary_output": (
        body({"inputs": [GOOD], "parameters": {"binary_data_output": True}}),
        400,
        "parameters.binary_data_output",
    ),
    "too_long": (one(id="x" * 300_000), 413, "body"),
}

BAD_INSTANCES: dict[str, tuple[Any, str]] = {
    "missing": ({}, "instances"),
    "empty": ({"instances": []}, "instances"),
    "number": ({"instances": 3}, "instances"),
    "narrow": ({"instances": [[1, 2, 3]]}, "instances[0]"),
    "flat": ({"instances": [1, 2, 3, 4, 5]}, "instances[0]"),
    "text": ({"instances": [[1, 2, "3", 4]]}, "instances[2]"),
    "objects": ({"instances": [{"y": 1}]}, "instances[0].x"),
}


@pytest.fixture
def bounded(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, max_body_bytes=200_000)


async def test_bad_requests_are_refused_with_the_field_named(
    bounded: Settings, binary: Stored
) -> None:
    headers = {"content-type": "application/json"}
    async with serving(bounded) as client:
        for name, (content, status, named) in BAD.items():
            answer = await client.front.post(
                "/v2/models/digits/infer", content=content, headers=headers
            )
            assert answer.status_code == status, (name, answer.text)
            assert list(answer.json()) == ["error"], name
            assert named in answer.json()["error"], (name, answer.text)
        for name, (instances, named) in BAD_INSTANCES.items():
            answer = await client.front.post("/v1/models/digits:predict", json=instances)
            assert answer.status_code == 400, (name, answer.text)
            assert named in answer.json()["error"], (name, answer.text)
        good = await client.infer(vector(binary.rows[:2]))
        counted = await client.metrics()
    assert good.status_code == 200
    too_long = sum(status == 413 for _, status, _ in BAD.values())
    assert counted["trimtab_requests_total{code=413}"] == too_long
    assert counted["trimtab_requests_total{code=400}"] == len(BAD) - too_long + len(BAD_INSTANCES)
    assert counted["trimtab_requests_total{code=500}"] == 0
    assert counted["trimtab_requests_started_total"] == len(BAD) + len(BAD_INSTANCES) + 1
    assert (
        counted["trimtab_predicted_total{class=0}"] + counted["trimtab_predicted_total{class=1}"]
        == 2
    )


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"content-type": "text/plain"}, "content-type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "content-type"),
        ({"content-type": "application/octet-stream"}, "content-type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "content-encoding"),
        (
            {"content-type": "application/json", "inference-header-content-length": "10"},
            "inference-header-content-length",
        ),
    ],
    ids=["text", "form", "octets", "gzip", "binary_extension"],
)
async def test_other_content_is_415(
    settings: Settings, headers: dict[str, str], named: str
) -> None:
    async with serving(settings) as client:
        answer = await client.front.post("/v2/models/digits/infer", content=one(), headers=headers)
        counted = await client.metrics()
    assert answer.status_code == 415
    assert named in answer.json()["error"]
    assert counted["trimtab_requests_total{code=415}"] == 1


async def test_paths_and_methods(settings: Settings) -> None:
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
        ({"age": ("INT64", [1, None])}, "inputs[0].data[1]"),
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
    settings: Settings, table: Stored, changes: dict[str, Any], named: str
) -> None:
    async with serving(served_as(settings, table)) as client:
        good = await client.infer(columns())
        answer = await client.infer(columns(**changes))
    assert good.status_code == 200, good.text
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["error"]
