"""Calls of a real client of gRPC against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.grpc.asking import (
    MESSAGES,
    calling,
    channel_to,
    infer,
    message,
    raw,
    refusal,
    typed,
)
from tests.unit.serving.loopback import Client, served_as, serving, until, vector
from tests.unit.serving.stored import Stored, store

from trimtab.serving.grpc.protocol import HEALTH, HEALTH_SERVICE, INFERENCE_SERVICE
from trimtab.serving.settings import ServingSettings

Code = grpc.StatusCode


async def test_typed_in_typed_out_and_raw_in_raw_out(
    by_grpc: ServingSettings, binary: Stored
) -> None:
    rows = binary.rows[:5]
    classes, probable = binary.estimator.predict(rows), binary.estimator.predict_proba(rows)
    async with serving(by_grpc) as server, channel_to(server) as channel:
        first = await infer(channel)(typed(rows, id="a-1", model_version="v1"))
        second = await infer(channel)(raw(rows))
    assert (first.model_name, first.model_version, first.id) == ("digits", "v1", "a-1")
    assert [(one.name, one.datatype, list(one.shape)) for one in first.outputs] == [
        ("class", "INT64", [5]),
        ("probabilities", "FP64", [5, 2]),
    ]
    assert not first.raw_output_contents
    assert list(first.outputs[0].contents.int64_contents) == classes.tolist()
    np.testing.assert_allclose(
        list(first.outputs[1].contents.fp64_contents), probable.ravel(), rtol=1e-12
    )
    assert not any(one.HasField("contents") for one in second.outputs)
    assert second.id == ""
    assert second.raw_output_contents[0] == classes.astype("<i8").tobytes()
    assert np.array_equal(
        np.frombuffer(second.raw_output_contents[1], "<f8"),
        list(first.outputs[1].contents.fp64_contents),
    )


async def test_answers_are_those_by_http_and_their_tokens_take_truths(
    by_grpc: ServingSettings, binary: Stored
) -> None:
    rows = binary.rows[:3]
    async with serving(by_grpc) as server, channel_to(server) as channel:
        found = await infer(channel)(raw(rows))
        token = found.parameters["trimtab_token"].string_param
        content = [{"token": token, "actual": ["0", "1", "0"]}]
        counted = await server.back.post("/outcomes", json=content)
        assert counted.json()["counted"] == 1
        by_http = await server.infer(
            [{"name": "x", "datatype": "FP64", "shape": [3, 4], "data": rows.ravel().tolist()}]
        )
    plain = by_http.json()["outputs"]
    assert np.frombuffer(found.raw_output_contents[0], "<i8").tolist() == plain[0]["data"]
    assert np.frombuffer(found.raw_output_contents[1], "<f8").tolist() == plain[1]["data"]


async def test_parameters_are_echoed_in_their_kinds(
    by_grpc: ServingSettings, binary: Stored
) -> None:
    parameters = {
        "truth": {"bool_param": True},
        "count": {"int64_param": -7},
        "huge": {"uint64_param": 2**64 - 1},
        "word": {"string_param": "ä"},
        "number": {"double_param": 0.5},
        "nothing": {},
        "binary_data_output": {"bool_param": True},
    }
    async with serving(by_grpc) as server, channel_to(server) as channel:
        found = await infer(channel)(typed(binary.rows[:1], parameters=parameters))
    echoed = {name: str(value) for name, value in found.parameters.items()}
    token = echoed.pop("trimtab_token")
    assert token.startswith("string_param")
    sent = typed(binary.rows[:1], parameters=parameters).parameters
    assert echoed == {
        name: str(value) for name, value in sent.items() if name != "binary_data_output"
    }
    assert not found.raw_output_contents


@pytest.mark.parametrize("form", [typed, raw])
async def test_outputs_by_name_and_likeliest_classes(
    by_grpc: ServingSettings, binary: Stored, form: Callable[..., Any]
) -> None:
    wanted = [{"name": "probabilities", "parameters": {"classification": {"int64_param": 1}}}]
    async with serving(by_grpc) as server, channel_to(server) as channel:
        found = await infer(channel)(form(binary.rows[:1], outputs=wanted))
    assert [(one.name, one.datatype, list(one.shape)) for one in found.outputs] == [
        ("probabilities", "BYTES", [1, 1])
    ]
    probable = binary.estimator.predict_proba(binary.rows[:1])[0]
    text = f"{probable.max():f}:{probable.argmax()}:{probable.argmax()}".encode()
    if form is raw:
        assert found.raw_output_contents[0] == len(text).to_bytes(4, "little") + text
    else:
        assert list(found.outputs[0].contents.bytes_contents) == [text]


async def test_a_table_of_all_kinds(by_grpc: ServingSettings, table: Stored) -> None:
    rows = table.rows[:4]
    columns = {
        "age": ("INT8", {"int_contents": [int(one) for one in rows[:, 0]]}),
        "colour": ("BYTES", {"bytes_contents": [one.encode() for one in rows[:, 1]]}),
        "member": ("BOOL", {"bool_contents": [bool(one) for one in rows[:, 2]]}),
        "z": ("FP32", {"fp32_contents": rows[:, 3].tolist()}),
    }
    sent = [
        {"name": name, "datatype": kind, "shape": [4, 1], "contents": contents}
        for name, (kind, contents) in columns.items()
    ]
    request = message("ModelInferRequest", model_name="digits", inputs=sent)
    async with serving(served_as(by_grpc, table)) as server, channel_to(server) as channel:
        found = await infer(channel)(request)
    words = [one.decode() for one in found.outputs[0].contents.bytes_contents]
    assert words == table.estimator.predict(rows).tolist()


async def test_half_floats_are_sent_raw(by_grpc: ServingSettings, binary: Stored) -> None:
    rows = binary.rows[:3].astype("<f2")
    tensor = {"name": "x", "datatype": "FP16", "shape": [3, 4]}
    request = raw(rows, inputs=[tensor], raw_input_contents=[rows.tobytes()])
    async with serving(by_grpc) as server, channel_to(server) as channel:
        found = await infer(channel)(request)
        bare = typed(rows, inputs=[{**tensor, "contents": {"fp32_contents": [0.0] * 12}}])
        told = await refusal(infer(channel), bare)
    classes = binary.estimator.predict(rows.astype(np.float64))
    assert np.frombuffer(found.raw_output_contents[0], "<i8").tolist() == classes.tolist()
    assert told == (
        Code.INVALID_ARGUMENT,
        "inputs[0].contents: FP16 is sent in raw_input_contents only",
    )


X = {"name": "x", "datatype": "FP64", "shape": [1, 4]}
FOUR = {"fp64_contents": [0.0] * 4}
FULL = {**X, "contents": FOUR}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"inputs": []}, "inputs: a list of tensors is wanted"),
        ({"inputs": [{**FULL, "name": "y"}]}, "inputs[0].name: 'y' is not an input; there is x"),
        ({"inputs": [FULL, FULL]}, "inputs: 2 tensors, the model has 1"),
        ({"inputs": [{**FULL, "datatype": "BYTES"}]}, "inputs[0].datatype: 'BYTES' does not fit"),
        ({"inputs": [{**FULL, "shape": [1, 3]}]}, "inputs[0].shape: [1, 3] does not fit"),
        ({"inputs": [{**FULL, "shape": [0, 4]}]}, "inputs[0].shape: at least one row is wanted"),
        ({"inputs": [{**FULL, "shape": [5000, 4]}]}, "inputs[0].shape: 5000 rows, at most 4096"),
        ({"inputs": [X]}, "inputs[0].contents.fp64_contents: 0 elements, the shape has 4"),
        (
            {"inputs": [{**X, "contents": {"fp32_contents": [0.0] * 4}}]},
            "inputs[0].contents.fp32_contents: FP64 is sent in fp64_contents",
        ),
        (
            {"inputs": [{**X, "contents": {"fp64_contents": [0.0, float("nan"), 0.0, 0.0]}}]},
            "inputs[0].contents.fp64_contents[1]: ",
        ),
        (
            {"inputs": [{**X, "datatype": "INT8", "contents": {"int_contents": [0, 300, 0, 0]}}]},
            "inputs[0].contents.int_contents[1]: 300 does not fit into INT8",
        ),
        ({"inputs": [X], "raw_input_contents": [b"", b""]}, "raw_input_contents: 2 items, there"),
        (
            {"inputs": [FULL], "raw_input_contents": [bytes(32)]},
            "inputs[0].contents: is given beside raw_input_contents",
        ),
        (
            {"inputs": [X], "raw_input_contents": [bytes(31)]},
            "raw_input_contents[0]: 31 bytes, 4 elements of FP64 are 32",
        ),
        (
            {"inputs": [X], "raw_input_contents": [np.array([0, np.inf, 0, 0], "<f8").tobytes()]},
            "raw_input_contents[0][1]: ",
        ),
        (
            {"outputs": [{"name": "other"}]},
            "outputs[0].name: 'other' is not an output; there is class",
        ),
        ({"outputs": [{"name": "class"}] * 2}, "outputs[1].name: 'class' is asked for twice"),
        ({"outputs": [{"name": "class"}] * 1001}, "outputs: at most 1000 can be asked for"),
        ({"id": "a" * 1025}, "id: a string of at most 1024 is wanted"),
        (
            {"parameters": {"probabilities": {"int64_param": 1}}},
            "parameters.probabilities: true or false is wanted",
        ),
        (
            {"inputs": [{**X, "parameters": {"shared_memory_region": {"string_param": "r"}}}]},
            "inputs[0].parameters.shared_memory_region: no memory is shared",
        ),
    ],
)
async def test_what_does_not_fit_is_named(
    by_grpc: ServingSettings, fields: dict[str, Any], told: str
) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:
        code, details = await refusal(
            infer(channel), message("ModelInferRequest", **{**sound(), **fields})
        )
        assert code == Code.INVALID_ARGUMENT
        assert details.startswith(told)
        status = 413 if "5000" in told else 400
        await _is_counted(server, status)


async def _is_counted(server: Client, status: int) -> None:
    """A call is counted once it is over, which its client may know before."""
    counted: dict[str, float] = {}
    for _ in range(100):
        counted = await server.metrics()
        if counted[f"trimtab_requests_total{{code={status}}}"]:
            break
    assert counted[f"trimtab_requests_total{{code={status}}}"] == 1
    assert counted["trimtab_requests_started_total"] == 1


def sound() -> dict[str, Any]:
    return {"model_name": "digits", "inputs": [FULL]}


async def test_texts_that_are_none(by_grpc: ServingSettings, table: Stored) -> None:
    sent = [{"name": "colour", "datatype": "BYTES", "shape": [1], "contents": {}}]
    sent[0]["contents"] = {"bytes_contents": [b"\xff"]}
    request = message("ModelInferRequest", model_name="digits", inputs=sent)
    async with serving(served_as(by_grpc, table)) as server, channel_to(server) as channel:
        told = await refusal(infer(channel), request)
    assert told == (
        Code.INVALID_ARGUMENT,
        "inputs[0].contents.bytes_contents[0]: is not UTF-8",
    )


async def test_what_is_no_message(by_grpc: ServingSettings) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:
        for body in (b"\xff", b"\x0a\x02\xff\xff", b"\x2a\x7f", b"\x0b" * 9):
            code, details = await refusal(infer(channel), body)
            assert (code, details) == (
                Code.INVALID_ARGUMENT,
                "the message is no ModelInferRequest",
            )
        ready = calling(channel, "ModelReady", "ModelReadyResponse")
        code, details = await refusal(ready, b"\xff")
        assert (code, details) == (Code.INVALID_ARGUMENT, "the message is no ModelReadyRequest")
        code, _ = await refusal(calling(channel, "ModelStreamInfer", "ModelInferResponse"), b"")
        assert code == Code.UNIMPLEMENTED


async def test_what_is_not_served_here(by_grpc: ServingSettings, binary: Stored) -> None:
    rows = binary.rows[:1]
    async with serving(by_grpc) as server, channel_to(server) as channel:
        for request, told in (
            (typed(rows, model_name="others"), "model 'others' is not served here; 'digits' is"),
            (typed(rows, model_version="v2"), "version 'v2' is not served here; 'v1' is"),
        ):
            assert await refusal(infer(channel), request) == (Code.NOT_FOUND, told)
        counted = await server.metrics()
        for name in ("ModelReady", "ModelMetadata", "ModelConfig"):
            call = calling(channel, name, f"{name}Response")
            code, _ = await refusal(call, message(f"{name}Request", name="digits", version="v2"))
            assert code == Code.NOT_FOUND
    assert counted["trimtab_requests_total{code=404}"] == 2


async def test_pages(by_grpc: ServingSettings) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:

        async def ask(name: str, /, **fields: Any) -> Any:
            call = calling(channel, name, f"{name}Response")
            return await call(message(f"{name}Request", **fields))

        assert (await ask("ServerLive")).live
        assert (await ask("ServerReady")).ready
        assert (await ask("ModelReady", name="digits")).ready
        assert (await ask("ServerMetadata")).name == "trimtab"
        described = await ask("ModelMetadata", name="digits", version="v1")
        assert [(one.name, list(one.shape)) for one in described.inputs] == [("x", [-1, 4])]
        index = await ask("RepositoryIndex", ready=True)
        assert [(one.name, one.version, one.state) for one in index.models] == [
            ("digits", "v1", "READY")
        ]
        health = calling(channel, "Check", "HealthCheckResponse", HEALTH_SERVICE)
        asked = message("HealthCheckRequest", HEALTH)
        assert (await health(asked)).status == 1
        server.server.inference.draining = True
        assert not (await ask("ServerReady")).ready
        assert not (await ask("RepositoryIndex", ready=True)).models
        assert (await ask("RepositoryIndex")).models[0].state == "UNAVAILABLE"
        assert (await health(asked)).status == 2
        unknown = message("HealthCheckRequest", HEALTH, service="nothing")
        assert (await refusal(health, unknown))[0] == Code.NOT_FOUND
        # Nothing of it is a prediction.
        assert (await server.metrics())["trimtab_requests_started_total"] == 0


async def test_requests_are_counted_and_logged_as_by_http(
    by_grpc: ServingSettings, binary: Stored, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(by_grpc, access_log="all", warm_up_requests=0, warm_up_seconds=0.0)
    async with serving(settings) as server, channel_to(server) as channel:
        request = raw(binary.rows[:6])
        await asyncio.gather(*(infer(channel)(request) for _ in range(20)))
        counted = await server.metrics()
    assert counted["trimtab_requests_total{code=200}"] == 20
    assert counted["trimtab_request_seconds_count"] == 20
    assert counted["trimtab_aside_seconds_count"] == 0
    assert counted["trimtab_batch_rows_sum"] == 120
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 20
    assert {one["path"] for one in lines} == {"/inference.GRPCInferenceService/ModelInfer"}
    assert {(one["status"], one["rows"]) for one in lines} == {(200, 6)}
    assert all(one["bytesIn"] == request.ByteSize() and one["bytesOut"] > 0 for one in lines)


class Held:
    """The model waits before it predicts, until it is told to go on."""

    def __init__(self, server: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes = threading.Event()
        self.calls = 0
        joiner = server.server.inference.served.joiner  # type: ignore[union-attr]
        predict = joiner._predict

        def waiting(rows: Any) -> Any:
            self.calls += 1
            self.goes.wait(20)
            return predict(rows)

        monkeypatch.setattr(joiner, "_predict", waiting)


async def test_a_model_that_fails(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trimtab.serving.errors import ModelFailed

    def fails(_: Any) -> Any:
        raise ModelFailed("broken")

    async with serving(by_grpc) as server, channel_to(server) as channel:
        assert server.server.inference.served is not None
        monkeypatch.setattr(server.server.inference.served.joiner, "_predict", fails)
        told = await refusal(infer(channel), typed(binary.rows[:1]))
        assert told == (Code.INTERNAL, "the model failed: broken")
        assert (await server.metrics())["trimtab_requests_total{code=500}"] == 1


async def test_what_the_code_did_not_foresee_says_nothing_of_itself(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> Any:
        raise RuntimeError("secret")

    async with serving(by_grpc) as server, channel_to(server) as channel:
        assert server.server.inference.served is not None
        monkeypatch.setattr(server.server.inference.served.outputs, "tensors", breaks)
        told = await refusal(infer(channel), typed(binary.rows[:1]))
        assert told == (Code.INTERNAL, "the request could not be answered")
        assert (await server.metrics())["trimtab_requests_total{code=500}"] == 1


async def test_a_full_queue_says_when_to_come_again(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        serving(replace(by_grpc, queue_requests=1)) as server,
        channel_to(server) as one,
        channel_to(server) as two,
        channel_to(server) as three,
    ):
        held = Held(server, monkeypatch)
        request = typed(binary.rows[:1])
        first = asyncio.ensure_future(infer(one)(request))
        await until(lambda: held.calls == 1)
        second = asyncio.ensure_future(infer(two)(request))
        joiner = server.server.inference.served.joiner  # type: ignore[union-attr]
        await until(lambda: joiner.depth == 1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await infer(three)(request)
        held.goes.set()
        await asyncio.gather(first, second)
        counted = await server.metrics()
    assert raised.value.code() == Code.UNAVAILABLE
    assert raised.value.details() == "too many requests are waiting"
    assert ("grpc-retry-pushback-ms", "1000") in list(raised.value.trailing_metadata())
    assert counted["trimtab_requests_total{code=503}"] == 1
    assert counted["trimtab_requests_total{code=200}"] == 2


async def test_what_would_be_begun_too_late_is_refused_as_by_http(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(by_grpc, queue_seconds=0.5)
    async with (
        serving(settings) as server,
        channel_to(server) as one,
        channel_to(server) as two,
    ):
        held = Held(server, monkeypatch)
        request = typed(binary.rows[:1])
        first = asyncio.ensure_future(infer(one)(request))
        await until(lambda: held.calls == 1)
        joiner = server.server.inference.served.joiner  # type: ignore[union-attr]
        monkeypatch.setattr(joiner._pace, "seconds", lambda _calls, _rows: 1000.0)
        code, told = await refusal(infer(two), request)
        by_http = await server.infer(vector(binary.rows[:1]))
        held.goes.set()
        await first
        counted = await server.metrics()
    assert (code, told) == (Code.UNAVAILABLE, "too many requests are waiting")
    assert by_http.status_code == 503
    assert held.calls == 1
    assert counted["trimtab_requests_total{code=503}"] == 2


async def test_another_model_takes_the_place_while_calls_come(
    by_grpc: ServingSettings, binary: Stored, tmp_path: Path
) -> None:
    rows = binary.rows[:1]
    turned = LogisticRegression().fit(binary.rows, 1 - binary.estimator.predict(binary.rows))
    stored = store(tmp_path / "v2", turned, binary.signature, binary.baseline, binary.rows)
    other = served_as(by_grpc, stored, version="v2")
    async with serving(by_grpc) as server, channel_to(server) as channel:
        begun = channel.stream_unary(f"/{INFERENCE_SERVICE}/ModelInfer")()
        counters = server.server.inference.counters
        await begun.wait_for_connection()
        await until(lambda: counters._started == 1)
        seen: list[Any] = []
        is_over = asyncio.Event()

        async def asks() -> None:
            while not is_over.is_set():
                seen.append(await infer(channel)(typed(rows)))

        asking = [asyncio.ensure_future(asks()) for _ in range(4)]
        await until(lambda: bool(seen))
        await server.server.replace(other)
        seen.append(await infer(channel)(typed(rows)))
        is_over.set()
        await asyncio.gather(*asking)
        # Its message comes when the other model has gone.
        await begun.write(typed(rows, model_version="v2").SerializeToString())
        await begun.done_writing()
        late = MESSAGES.of("ModelInferResponse").FromString(await begun)
    first = binary.estimator.predict(rows).tolist()[0]
    told = {(one.model_version, one.outputs[0].contents.int64_contents[0]) for one in seen}
    assert told == {("v1", first), ("v2", 1 - first)}
    assert late.model_version == "v2"
    assert late.outputs[0].contents.int64_contents[0] == 1 - first


async def test_what_nobody_waits_for_any_more_is_not_predicted(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(by_grpc) as server, channel_to(server) as channel:
        held = Held(server, monkeypatch)
        request = typed(binary.rows[:1])
        first = asyncio.ensure_future(infer(channel)(request))
        await until(lambda: held.calls == 1)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await infer(channel)(request, timeout=0.05)
        assert raised.value.code() == Code.DEADLINE_EXCEEDED
        left = infer(channel)(request)
        joiner = server.server.inference.served.joiner  # type: ignore[union-attr]
        await until(lambda: joiner.depth == 2)
        left.cancel()
        counters = server.server.inference.counters
        await until(lambda: counters._codes[499] == 2)
        held.goes.set()
        await first
        counted = await server.metrics()
    assert held.calls == 1
    assert counted["trimtab_requests_total{code=499}"] == 2
    assert counted["trimtab_batch_rows_sum"] == 1


async def test_the_servers_own_deadline(
    by_grpc: ServingSettings, binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(by_grpc, deadline_seconds=0.2)
    async with serving(settings) as server, channel_to(server) as channel:
        held = Held(server, monkeypatch)
        told = await refusal(infer(channel), typed(binary.rows[:1]))
        held.goes.set()
        assert told == (Code.DEADLINE_EXCEEDED, "no answer within 0.2 s")
        assert (await server.metrics())["trimtab_requests_total{code=504}"] == 1
