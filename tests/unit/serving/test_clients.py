"""Triton's own clients, unchanged: by gevent and by asyncio, JSON and binary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as blocking
import tritonclient.http.aio as waiting
from numpy.typing import NDArray
from tests.unit.serving.loopback import Client, served_as, serving
from tests.unit.serving.stored import Stored
from tritonclient.utils import InferenceServerException

from trimtab.serving.settings import ServingSettings


async def with_client(server: Client, use: Callable[[Any], None]) -> None:
    """Run `use` with a blocking client in a thread: gevent's loop is its own."""

    def call() -> None:
        with blocking.InferenceServerClient(f"127.0.0.1:{server.server.inference_port}") as client:
            use(client)

    await asyncio.to_thread(call)


def sent(name: str, datatype: str, values: NDArray[Any], *, binary: bool) -> Any:
    tensor = blocking.InferInput(name, list(values.shape), datatype)
    return tensor.set_data_from_numpy(values, binary_data=binary)


async def test_health_and_metadata(settings: ServingSettings, binary: Stored) -> None:
    def use(client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("digits")
        assert client.is_model_ready("digits", "v1")
        assert not client.is_model_ready("others")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("digits", "v1")
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]
        config = client.get_model_config("digits")
        assert config["input"] == [{"name": "x", "data_type": "TYPE_FP64", "dims": [4]}]
        assert config["output"][0] == {"name": "class", "data_type": "TYPE_INT64", "dims": [1]}
        assert config["max_batch_size"] > 0
        with pytest.raises(InferenceServerException, match="'others' is not served here"):
            client.get_model_metadata("others")

    async with serving(settings) as server:
        await with_client(server, use)


async def test_repository_and_statistics(settings: ServingSettings, binary: Stored) -> None:
    def use(client: Any) -> None:
        extensions = client.get_server_metadata()["extensions"]
        assert {"model_repository", "statistics"} <= set(extensions)
        assert client.get_model_repository_index() == [
            {"name": "digits", "version": "v1", "state": "READY", "reason": ""}
        ]
        for call in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException, match="one model is served"):
                call("digits")
            with pytest.raises(InferenceServerException, match="'others' is not served here"):
                call("others")
        for rows in (3, 4):
            client.infer("digits", [sent("x", "FP64", binary.rows[:rows], binary=True)])
        for asked in (("digits",), ("digits", "v1"), ()):
            (stats,) = client.get_inference_statistics(*asked)["model_stats"]
            assert (stats["name"], stats["version"]) == ("digits", "v1")
            assert (stats["inference_count"], stats["execution_count"]) == (7, 2)
            assert stats["inference_stats"]["success"]["count"] == 2
        with pytest.raises(InferenceServerException, match="'others' is not served here"):
            client.get_inference_statistics("others")

    async with serving(settings) as server:
        await with_client(server, use)


@pytest.mark.parametrize("binary_in", [False, True], ids=["json_in", "binary_in"])
@pytest.mark.parametrize("binary_out", [False, True], ids=["json_out", "binary_out"])
async def test_numbers(
    settings: ServingSettings, binary: Stored, binary_in: bool, binary_out: bool
) -> None:
    rows = binary.rows[:7]
    probable = binary.estimator.predict_proba(rows)

    def use(client: Any) -> None:
        answer = client.infer(
            "digits",
            [sent("x", "FP64", rows, binary=binary_in)],
            outputs=[
                blocking.InferRequestedOutput("probabilities", binary_data=binary_out),
                blocking.InferRequestedOutput("class", binary_data=binary_out),
            ],
            request_id="a",
            model_version="v1",
            timeout=1_000_000,
            parameters={"trace": "t"},
        )
        assert answer.get_response()["id"] == "a"
        assert answer.get_response()["parameters"]["trace"] == "t"
        assert "trimtab_token" in answer.get_response()["parameters"]
        np.testing.assert_allclose(answer.as_numpy("probabilities"), probable)
        assert answer.as_numpy("class").tolist() == binary.estimator.predict(rows).tolist()
        all_binary = client.infer("digits", [sent("x", "FP64", rows, binary=binary_in)])
        assert all_binary.as_numpy("class").dtype == np.int64
        np.testing.assert_array_equal(
            all_binary.as_numpy("probabilities"), answer.as_numpy("probabilities")
        )
        likeliest = client.infer(
            "digits",
            [sent("x", "FP64", rows, binary=binary_in)],
            outputs=[
                blocking.InferRequestedOutput(
                    "probabilities", binary_data=binary_out, class_count=1
                )
            ],
        ).as_numpy("probabilities")
        assert likeliest.shape == (7, 1)
        first = likeliest[0, 0].decode() if binary_out else likeliest[0, 0]
        assert first == f"{probable[0].max():f}:{probable[0].argmax()}:{probable[0].argmax()}"

    async with serving(settings) as server:
        await with_client(server, use)


@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
async def test_a_table_with_words(
    settings: ServingSettings, table: Stored, is_binary: bool
) -> None:
    rows = table.rows[:5]
    columns = [
        ("age", "INT64", rows[:, 0].astype(np.int64)),
        ("colour", "BYTES", rows[:, 1].astype(object)),
        ("member", "BOOL", rows[:, 2].astype(bool)),
        ("z", "FP32", rows[:, 3].astype(np.float32)),
    ]

    def use(client: Any) -> None:
        answer = client.infer(
            "digits",
            [sent(name, kind, values, binary=is_binary) for name, kind, values in columns],
            outputs=[blocking.InferRequestedOutput("class", binary_data=is_binary)],
        )
        words = [w.decode() if is_binary else w for w in answer.as_numpy("class").tolist()]
        assert words == table.estimator.predict(rows).tolist()

    async with serving(served_as(settings, table)) as server:
        await with_client(server, use)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
async def test_packed_requests(
    settings: ServingSettings, binary: Stored, coding: str, is_binary: bool
) -> None:
    rows = binary.rows[:300]
    expected = binary.estimator.predict(rows).tolist()
    options = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}

    def use(client: Any) -> None:
        tensors = [sent("x", "FP64", rows, binary=is_binary)]
        outputs = [blocking.InferRequestedOutput("class", binary_data=is_binary)]
        answer = client.infer("digits", tensors, outputs=outputs, **options)
        assert answer.as_numpy("class").tolist() == expected

    async with serving(settings) as server:
        await with_client(server, use)
        url = f"127.0.0.1:{server.server.inference_port}"
        async with waiting.InferenceServerClient(url) as client:
            tensor = waiting.InferInput("x", [300, 4], "FP64")
            tensor.set_data_from_numpy(rows, binary_data=is_binary)
            answer = await client.infer("digits", [tensor], **options)
    assert answer.as_numpy("class").tolist() == expected


async def test_errors_reach_the_caller(settings: ServingSettings, binary: Stored) -> None:
    narrow = binary.rows[:2, :3].copy()

    def use(client: Any) -> None:
        with pytest.raises(InferenceServerException, match=r"inputs\[0\].shape") as caught:
            client.infer("digits", [sent("x", "FP64", narrow, binary=True)])
        assert caught.value.status() == "400"
        with pytest.raises(InferenceServerException, match=r"outputs\[0\].name"):
            client.infer(
                "digits",
                [sent("x", "FP64", binary.rows[:2], binary=True)],
                outputs=[blocking.InferRequestedOutput("nothing")],
            )

    async with serving(settings) as server:
        await with_client(server, use)


@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
async def test_the_asyncio_client(
    settings: ServingSettings, binary: Stored, is_binary: bool
) -> None:
    rows = binary.rows[:3]
    tensor = waiting.InferInput("x", [3, 4], "FP64")
    tensor.set_data_from_numpy(rows, binary_data=is_binary)
    async with serving(settings) as server:
        url = f"127.0.0.1:{server.server.inference_port}"
        async with waiting.InferenceServerClient(url) as client:
            assert await client.is_model_ready("digits")
            answers = await asyncio.gather(*(client.infer("digits", [tensor]) for _ in range(20)))
    for answer in answers:
        assert answer.as_numpy("class").tolist() == binary.estimator.predict(rows).tolist()
