"""Another model in the place of the one that serves, without a failed request."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.linear_model import LogisticRegression
from tests.unit.serving.loopback import Client, serving, until, vector
from tests.unit.serving.stored import Stored, store

from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.base import Matrix, Prediction
from trimtab.serving.settings import ServingSettings


@pytest.fixture
def other(settings: ServingSettings, binary: Stored, tmp_path: Path) -> ServingSettings:
    """Settings of a version v2 that answers the other way round."""
    estimator = LogisticRegression().fit(binary.rows, 1 - binary.estimator.predict(binary.rows))
    folder = tmp_path / "other"
    stored = store(folder, estimator, binary.signature, binary.baseline, binary.rows)
    return replace(settings, version="v2", artifact_uri=stored.uri, artifact_digest=stored.digest)


def told(answer: httpx.Response) -> tuple[int, str, int]:
    content = answer.json()
    return answer.status_code, content["model_version"], content["outputs"][0]["data"][0]


async def test_clients_that_ask_all_the_time_see_no_error(
    settings: ServingSettings, other: ServingSettings, binary: Stored
) -> None:
    inputs = vector(binary.rows[:1])
    seen: list[tuple[int, str, int]] = []
    async with serving(settings) as client:
        is_over = asyncio.Event()

        async def asks() -> None:
            while not is_over.is_set():
                seen.append(told(await client.infer(inputs)))

        asking = [asyncio.ensure_future(asks()) for _ in range(8)]
        await client.server.replace(other)
        seen.append(told(await client.infer(inputs)))
        is_over.set()
        await asyncio.gather(*asking)
        first = binary.estimator.predict(binary.rows[:1]).tolist()[0]
        assert set(seen) == {(200, "v1", first), (200, "v2", 1 - first)}
        assert seen[-1][1] == "v2"


async def test_what_waits_is_answered_by_the_model_it_was_asked_of(
    settings: ServingSettings, other: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        served = client.server.inference.served
        assert served is not None
        predict, entered, release = served.joiner._predict, threading.Event(), threading.Event()

        def slow(rows: Matrix) -> Prediction:
            entered.set()
            assert release.wait(30)
            return predict(rows)

        served.joiner._predict = slow
        waiting = [asyncio.ensure_future(client.infer(vector(binary.rows[:1]))) for _ in range(3)]
        await asyncio.to_thread(entered.wait, 30)
        replacing = asyncio.ensure_future(client.server.replace(other))
        while client.server.inference.served is served:  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.005)
        assert told(await client.infer(vector(binary.rows[:1])))[1] == "v2"
        assert not replacing.done()
        release.set()
        versions = [told(answer)[:2] for answer in await asyncio.gather(*waiting)]
        await replacing
        assert versions[0] == (200, "v1")
        assert {version for _, version in versions} <= {"v1", "v2"}


async def test_pages_are_those_of_the_new_one(
    settings: ServingSettings, other: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        before = (await client.front.get("/openapi.json")).json()
        await client.server.replace(replace(other, model="letters"))
        assert before["info"]["version"] == "v1"
        assert (await client.front.get("/openapi.json")).json()["info"] == {
            "title": "letters",
            "version": "v2",
            "description": before["info"]["description"].replace("digits v1", "letters v2"),
            "x-digest": other.artifact_digest,
        }
        assert (await client.front.get("/v2/models/letters/versions/v2")).status_code == 200
        assert (await client.front.get("/v2/models/digits")).status_code == 404
        page = (await client.back.get("/metrics")).text
        assert 'trimtab_requests_started_total{model="letters",version="v2"}' in page


async def test_one_that_cannot_be_served_changes_nothing(
    settings: ServingSettings, other: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        with pytest.raises(ArtifactRefused):
            await client.server.replace(replace(other, artifact_digest="sha256:" + "0" * 64))
        assert told(await client.infer(vector(binary.rows[:1])))[:2] == (200, "v1")


async def test_the_model_that_left_takes_no_memory(
    settings: ServingSettings, other: ServingSettings
) -> None:
    async def replaced(client: Client) -> weakref.ref[Any]:
        left: weakref.ref[Any] = weakref.ref(client.server.inference.served)
        await client.server.replace(other)
        return left

    async with serving(settings) as client:
        left = await replaced(client)

        def is_gone() -> bool:
            gc.collect()
            return left() is None

        await until(is_gone)
