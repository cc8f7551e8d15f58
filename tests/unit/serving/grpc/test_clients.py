"""Triton's own clients of gRPC, unchanged: by threads and by asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as blocking
import tritonclient.grpc.aio as waiting
from numpy.typing import NDArray
from tests.unit.serving.loopback import Client, served_as, serving
from tests.unit.serving.stored import Stored
from tritonclient.utils import InferenceServerException

from trimtab.serving.settings import ServingSettings


async def with_client(server: Client, use: Callable[[Any], None]) -> None:
    def call() -> None:
        with blocking.InferenceServerClient(f"127.0.0.1:{server.server.grpc_port}") as client:
            use(client)

    await asyncio.to_thread(call)


def sent(name: str, datatype: str, values: NDArray[Any]) -> Any:
    return blocking.InferInput(name, list(values.shape), datatype).set_data_from_numpy(values)


async def test_health_and_metadata(by_grpc: ServingSettings) -> None:
    def use(client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits")
        assert client.is_model_ready("digits", "v1")
        assert "binary_tensor_data" in client.get_server_metadata().extensions
        metadata = client.get_model_metadata("digits", "v1", as_json=True)
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP64", "shape": ["-1", "4"]}]
        config = client.get_model_config("digits").config
        assert (config.name, config.max_batch_size > 0) == ("digits", True)
        given = client.get_model_config("digits", as_json=True)["config"]
        assert given["input"] == [{"name": "x", "data_type": "TYPE_FP64", "dims": ["4"]}]
        assert given["output"][0] == {"name": "class", "data_type": "TYPE_INT64", "dims": ["1"]}
        assert client.get_model_repository_index().models[0].state == "READY"
        with pytest.raises(InferenceServerException, match="'others' is not served here") as told:
            client.get_model_metadata("others")
        assert told.value.status() == "StatusCode.NOT_FOUND"

    async with serving(by_grpc) as server:
        await with_client(server, use)


async def test_statistics_are_those_by_http(by_grpc: ServingSettings, binary: Stored) -> None:
    told: list[Any] = []

    def use(client: Any) -> None:
        for rows in (1, 2, 5):
            client.infer("digits", [sent("x", "FP64", binary.rows[:rows])])
        with pytest.raises(InferenceServerException, match="unknown"):
            client.infer("digits", [sent("unknown", "FP64", binary.rows[:1])])
        for named in (("digits", "v1"), ("digits",), ()):
            told.append(client.get_inference_statistics(*named, as_json=True))
        with pytest.raises(InferenceServerException, match="'v9' is not served here"):
            client.get_inference_statistics("digits", "v9")

    async with serving(by_grpc) as server:
        await with_client(server, use)
        page = (await server.front.get("/v2/models/digits/stats")).json()
    (expected,) = page["model_stats"]
    assert expected.pop("batch_stats") == []
    assert expected["inference_count"] == 8
    assert expected["inference_stats"]["success"]["count"] == 3
    assert expected["inference_stats"]["fail"]["count"] == 1
    assert [by_text(one) for one in told] == [by_text({"model_stats": [expected]})] * 3


def by_text(value: Any) -> Any:
    """As protobuf writes JSON: large numbers are texts, and what is zero is left out."""
    if isinstance(value, dict):
        return {name: by_text(one) for name, one in value.items() if one not in (0, "0")}
    return [by_text(one) for one in value] if isinstance(value, list) else str(value)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
async def test_numbers(by_grpc: ServingSettings, binary: Stored, compression: str | None) -> None:
    rows = binary.rows[:7]
    probable = binary.estimator.predict_proba(rows)

    def use(client: Any) -> None:
        answer = client.infer(
            "digits",
            [sent("x", "FP64", rows)],
            outputs=[
                blocking.InferRequestedOutput("probabilities"),
                blocking.InferRequestedOutput("class"),
            ],
            request_id="a",
            model_version="v1",
            client_timeout=10,
            parameters={"trace": "t"},
            compression_algorithm=compression,
        )
        assert answer.get_response().id == "a"
        assert answer.get_response().parameters["trace"].string_param == "t"
        assert answer.get_response().parameters["trimtab_token"].string_param
        np.testing.assert_allclose(answer.as_numpy("probabilities"), probable)
        assert answer.as_numpy("class").tolist() == binary.estimator.predict(rows).tolist()
        likeliest = client.infer(
            "digits",
            [sent("x", "FP64", rows)],
            outputs=[blocking.InferRequestedOutput("probabilities", class_count=1)],
        ).as_numpy("probabilities")
        assert likeliest.shape == (7, 1)
        first = f"{probable[0].max():f}:{probable[0].argmax()}:{probable[0].argmax()}"
        assert likeliest[0, 0].decode() == first

    async with serving(by_grpc) as server:
        await with_client(server, use)


async def test_a_table_with_words(by_grpc: ServingSettings, table: Stored) -> None:
    rows = table.rows[:5]
    columns = [
        ("age", "INT64", rows[:, 0].astype(np.int64)),
        ("colour", "BYTES", rows[:, 1].astype(object)),
        ("member", "BOOL", rows[:, 2].astype(bool)),
        ("z", "FP32", rows[:, 3].astype(np.float32)),
    ]

    def use(client: Any) -> None:
        answer = client.infer("digits", [sent(name, kind, one) for name, kind, one in columns])
        words = [word.decode() for word in answer.as_numpy("class").tolist()]
        assert words == table.estimator.predict(rows).tolist()

    async with serving(served_as(by_grpc, table)) as server:
        await with_client(server, use)


async def test_errors_reach_the_caller(by_grpc: ServingSettings, binary: Stored) -> None:
    def use(client: Any) -> None:
        with pytest.raises(InferenceServerException, match=r"inputs\[0\].shape") as caught:
            client.infer("digits", [sent("x", "FP64", binary.rows[:2, :3].copy())])
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        with pytest.raises(InferenceServerException, match=r"outputs\[0\].name"):
            client.infer(
                "digits",
                [sent("x", "FP64", binary.rows[:2])],
                outputs=[blocking.InferRequestedOutput("nothing")],
            )

    async with serving(by_grpc) as server:
        await with_client(server, use)


async def test_the_asyncio_client(by_grpc: ServingSettings, binary: Stored) -> None:
    rows = binary.rows[:3]
    tensor = waiting.InferInput("x", [3, 4], "FP64").set_data_from_numpy(rows)
    async with serving(by_grpc) as server:
        url = f"127.0.0.1:{server.server.grpc_port}"
        async with waiting.InferenceServerClient(url) as client:
            assert await client.is_model_ready("digits")
            answers = await asyncio.gather(*(client.infer("digits", [tensor]) for _ in range(20)))
    for answer in answers:
        assert answer.as_numpy("class").tolist() == binary.estimator.predict(rows).tolist()
