"""The counting thread: labels wait for predictions, and never the other way round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.serving.loopback import serving
from tests.unit.serving.stored import Stored

from trimtab.serving.counting.rows import CallCounters, FeatureCounters, ScoreCounters
from trimtab.serving.counting.thread import CHUNK_ROWS, CHUNKS_BEHIND, CountingThread
from trimtab.serving.model.base import Prediction
from trimtab.serving.settings import ServingSettings


@pytest.fixture
def counting(binary: Stored) -> Iterator[CountingThread]:
    signature, baseline = binary.signature, binary.baseline
    thread = CountingThread(
        FeatureCounters(signature, baseline, []),
        ScoreCounters(signature, baseline, []),
        CallCounters([]),
    )
    yield thread
    thread.stop()


async def test_predictions_do_not_wait_for_labels(counting: CountingThread) -> None:
    steps = 400

    def slowly() -> Iterator[int]:
        for step in range(steps):
            time.sleep(0.005)
            yield step

    labels = asyncio.ensure_future(counting.run_slowly(slowly()))
    rows = np.zeros((CHUNK_ROWS, 4))
    answer = Prediction(predicted=np.zeros(CHUNK_ROWS, dtype=np.intp))
    for _ in range(5 * CHUNKS_BEHIND):
        counting.add(rows, answer, 0.001)
        await asyncio.sleep(0)
    assert await counting.run(lambda: 1) == 1  # a scrape does not wait, either
    assert not labels.done()
    assert await labels == list(range(steps))


async def test_works_that_have_time_take_turns(counting: CountingThread) -> None:
    order: list[str] = []

    def work(name: str) -> Iterator[None]:
        for _ in range(5):
            time.sleep(0.003)
            order.append(name)
            yield

    await asyncio.gather(*(counting.run_slowly(work(name)) for name in "ab"))
    assert order != sorted(order)


async def test_what_slow_work_raises_is_raised_where_it_is_awaited(
    counting: CountingThread,
) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("labels")

    with pytest.raises(KeyError, match="labels"):
        await counting.run_slowly(broken())
    assert await counting.run(lambda: 2) == 2


async def test_posts_that_wait_are_bounded(settings: ServingSettings) -> None:
    async with serving(replace(settings, max_body_bytes=100_000)) as client:
        post = b'[{"token": "' + b"x" * 90_000 + b'", "actual": 1}]'
        answers = await asyncio.gather(
            *(client.back.post("/outcomes", content=post) for _ in range(12))
        )
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {400, 503}
        refused = [answer for answer in answers if answer.status_code == 503]
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert (await client.back.post("/outcomes", content=post)).status_code == 400
