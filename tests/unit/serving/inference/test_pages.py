"""What there is beside predictions: the models, the repository, the statistics."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from tests.unit.serving.loopback import Client, serving, until, vector
from tests.unit.serving.stored import Stored

from trimtab.serving.lifecycle import Server
from trimtab.serving.settings import ServingSettings

INDEX = "/v2/repository/index"
ENTRY = {"name": "digits", "version": "v1", "state": "READY", "reason": ""}


async def test_the_models_are_listed(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        for path in ("/v2/models", "/v2/models/", "/v1/models"):
            assert (await client.front.get(path)).json() == {"models": ["digits"]}
        assert (await client.front.post("/v2/models")).status_code == 405


async def test_the_repository_has_one_model(settings: ServingSettings) -> None:
    async with serving(settings) as client:
        for body in (b"", b"{}", b'{"ready": true}', b'{"ready": false}'):
            answer = await client.front.post(INDEX, content=body)
            assert (answer.status_code, answer.json()) == (200, [ENTRY])
        client.server.inference.draining = True
        all_of_it = await client.front.post(INDEX)
        ready = await client.front.post(INDEX, json={"ready": True})
        bad = [
            await client.front.post(INDEX, content=body) for body in (b"[]", b"{", b'{"ready":1}')
        ]
        other = await client.front.get(INDEX)
        form = await client.front.post(INDEX, data={"ready": "true"})
    assert all_of_it.json()[0]["state"] == "UNLOADING"
    assert all_of_it.json()[0]["reason"]
    assert ready.json() == []
    assert [answer.status_code for answer in bad] == [400, 400, 400]
    assert bad[2].json()["error"] == "ready: true or false is wanted"
    assert (other.status_code, other.headers["allow"]) == (405, "POST, OPTIONS")
    assert form.status_code == 415


async def test_a_model_that_is_being_loaded_is_in_the_repository(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = asyncio.Event()
    monkeypatch.setattr("trimtab.serving.lifecycle._in_thread", lambda _settings: never.wait())
    server = Server(settings)
    starting = asyncio.create_task(server.start())
    try:
        await until(lambda: server.inference_port > 0)
        url = f"http://127.0.0.1:{server.inference_port}"
        async with httpx.AsyncClient(base_url=url) as client:
            (entry,) = (await client.post(INDEX)).json()
            stats = await client.get("/v2/models/digits/stats")
    finally:
        starting.cancel()
        await server.close()
    assert entry["state"] == "LOADING"
    assert stats.status_code == 503


async def test_statistics_are_those_of_the_metrics(
    settings: ServingSettings, binary: Stored
) -> None:
    began = time.time() * 1000
    async with serving(settings) as client:
        before = await asked(client)
        for rows in (1, 2, 5):
            await client.infer(vector(binary.rows[:rows]))
        await client.infer("no list")
        await client.front.post("/v2/models/digits/infer", content=b"", headers={"host": "a b"})
        for path in ("/v2/models/stats", "/v2/models/digits/versions/v1/stats"):
            assert (await client.front.get(path)).status_code == 200
        found = await asked(client)
        counted = await client.metrics()
        unknown = await client.front.get("/v2/models/digits/versions/v9/stats")
        other = await client.front.post("/v2/models/digits/stats")
    assert before["last_inference"] == before["inference_count"] == 0
    assert began <= found["last_inference"] <= time.time() * 1000
    assert found["inference_count"] == counted["trimtab_batch_rows_sum"] == 8
    assert found["execution_count"] == counted["trimtab_predict_seconds_count"] == 3
    parts = found["inference_stats"]
    assert parts["success"]["count"] == counted["trimtab_requests_total{code=200}"] == 3
    assert parts["fail"]["count"] == counted["trimtab_requests_total{code=400}"] == 2
    seconds = (parts["success"]["ns"] + parts["fail"]["ns"]) / 1e9
    assert seconds == pytest.approx(counted["trimtab_request_seconds_sum"], abs=1e-8)
    assert parts["success"]["ns"] > parts["compute_infer"]["ns"] > 0
    assert parts["fail"]["ns"] > 0
    assert parts["compute_infer"]["ns"] / 1e9 == pytest.approx(
        counted["trimtab_predict_seconds_sum"], abs=1e-8
    )
    assert parts["queue"] == {"count": 0, "ns": 0}
    assert unknown.status_code == 404
    assert "'v9' is not served here" in unknown.json()["error"]
    assert other.status_code == 405


async def asked(client: Client) -> dict[str, Any]:
    answer = await client.front.get("/v2/models/digits/stats")
    assert answer.status_code == 200
    (found,) = answer.json()["model_stats"]
    return found
