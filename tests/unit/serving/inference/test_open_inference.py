"""Every operation, status and content of the Open Inference Protocol, by a table of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest
from tests.unit.serving.loopback import Client, serving, vector
from tests.unit.serving.open_inference import CONTENTS, INFER, MODEL, OPERATIONS
from tests.unit.serving.stored import Stored

from trimtab.serving.settings import ServingSettings

GOOD = {"inputs": vector([[0.1, 0.2, 0.3, 0.4]])}
IDENTIFIED = {"id": "42", "parameters": {"priority": 1}, "outputs": [{"name": "class"}]}


@dataclass(frozen=True)
class Case:
    """One request: path and method of the protocol, what is sent, and what has to come."""

    path: str
    method: str
    status: int
    body: Any = None
    named: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""


def changed(**fields: Any) -> dict[str, Any]:
    return {"inputs": [GOOD["inputs"][0] | fields]}


CASES = {
    "live": Case("/v2/health/live", "get", 200),
    "ready": Case("/v2/health/ready", "get", 200),
    "server": Case("/v2/", "get", 200),
    "server_without_host": Case("/v2/", "get", 400, raw=b"GET /v2/ HTTP/1.1\r\n\r\n"),
    "model_ready": Case(f"{MODEL}/ready", "get", 200),
    "model_ready_unknown": Case(f"{MODEL}/ready", "get", 404, named={"MODEL_NAME": "other"}),
    "model": Case(MODEL, "get", 200),
    "model_unknown": Case(MODEL, "get", 404, named={"MODEL_NAME": "other"}),
    "version_unknown": Case(MODEL, "get", 404, named={"MODEL_VERSION": "v9"}),
    "infer": Case(INFER, "post", 200, GOOD),
    "infer_with_everything": Case(INFER, "post", 200, GOOD | IDENTIFIED),
    "infer_nested": Case(INFER, "post", 200, changed(data=[[0.1, 0.2, 0.3, 0.4]])),
    "infer_no_json": Case(INFER, "post", 400, b"{"),
    "infer_no_object": Case(INFER, "post", 400, []),
    "infer_no_inputs": Case(INFER, "post", 400, {}),
    "infer_no_name": Case(INFER, "post", 400, changed(name=None)),
    "infer_other_name": Case(INFER, "post", 400, changed(name="y")),
    "infer_other_datatype": Case(INFER, "post", 400, changed(datatype="BYTES")),
    "infer_no_such_datatype": Case(INFER, "post", 400, changed(datatype="FP63")),
    "infer_other_shape": Case(INFER, "post", 400, changed(shape=[1, 5])),
    "infer_negative_shape": Case(INFER, "post", 400, changed(shape=[-1, 4])),
    "infer_too_few_data": Case(INFER, "post", 400, changed(data=[1.0])),
    "infer_other_data": Case(INFER, "post", 400, changed(data=["a", "b", "c", "d"])),
    "infer_no_such_output": Case(INFER, "post", 400, GOOD | {"outputs": [{"name": "y"}]}),
    "infer_parameters": Case(INFER, "post", 400, GOOD | {"parameters": 1}),
    "infer_id": Case(INFER, "post", 400, GOOD | {"id": 42}),
    "infer_unknown_model": Case(INFER, "post", 404, GOOD, named={"MODEL_NAME": "other"}),
    "infer_unknown_version": Case(INFER, "post", 404, GOOD, named={"MODEL_VERSION": "v9"}),
}


def check(content: str, value: Any) -> None:
    jsonschema.Draft202012Validator(CONTENTS[content]).validate(value)


def urls(case: Case) -> list[str]:
    """Return the path with the version and, where it has one, without."""
    named = {"MODEL_NAME": "digits", "MODEL_VERSION": "v1"} | case.named
    paths = [case.path]
    if "MODEL_VERSION" in case.path and "MODEL_VERSION" not in case.named:
        paths.append(case.path.replace("/versions/${MODEL_VERSION}", ""))
    for name, value in named.items():
        paths = [path.replace("${" + name + "}", value) for path in paths]
    return paths


async def send(client: Client, case: Case, url: str) -> tuple[int, str, bytes]:
    if case.raw:
        reader, writer = await client.connect()
        writer.write(case.raw)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        return int(head.split()[1]), fields[b"content-type"].decode(), body
    content = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
    answer = await client.front.request(
        case.method.upper(), url, content=None if case.body is None else content
    )
    return answer.status_code, answer.headers["content-type"], answer.content


async def test_each_answer_is_one_of_the_protocol(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        for name, case in CASES.items():
            if case.status == 200 and case.body is not None:
                check("request", case.body)
            for url in urls(case):
                status, kind, body = await send(client, case, url)
                content = json.loads(body)
                assert (status, kind) == (case.status, "application/json"), (name, url, body)
                told = OPERATIONS[case.path, case.method].get(status, "error")
                if told:
                    check(told, content)


def test_every_operation_is_asked_for_every_status() -> None:
    asked = {(case.path, case.method, case.status) for case in CASES.values()}
    for (path, method), told in OPERATIONS.items():
        assert {(path, method, status) for status in told} <= asked


async def test_what_the_protocol_does_not_know_is_refused(
    settings: ServingSettings, binary: Stored
) -> None:
    paths = {url: case.method for case in CASES.values() if not case.named for url in urls(case)}
    async with serving(settings) as client:
        for url, known in paths.items():
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
                if method.lower() == known:
                    continue
                answer = await client.front.request(method, url)
                assert answer.status_code == 405, (method, url)
                assert known.upper() in answer.headers["allow"]
                check("error", answer.json())
        for url in ("/v2/health", "/v2/models/digits/v1", "/v3", "/"):
            answer = await client.front.get(url)
            assert answer.status_code == 404, url
            check("error", answer.json())


@pytest.mark.parametrize("content", CONTENTS)
def test_the_table_refuses_what_is_something_else(content: str) -> None:
    others: list[Any] = [{}, {"name": 1}, [], {"error": ""}, {"model_name": "m", "outputs": []}]
    for other in others:
        with pytest.raises(jsonschema.ValidationError):
            check(content, other)
