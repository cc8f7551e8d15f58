"""Joining: no waiting when idle, joined when busy, bounded, and the guilty alone is punished."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from tests.unit.serving.loopback import until

from trimtab.serving.errors import ModelFailed
from trimtab.serving.inference.joining import Joiner, Result, Work
from trimtab.serving.model.base import Matrix, Prediction


class Bench:
    """A joiner whose model can be held, and which notes every call."""

    def __init__(self, **limits: Any) -> None:
        self.calls: list[int] = []
        self.counted: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        settings = {
            "join_rows": 8,
            "max_requests": 100,
            "max_rows": 1000,
            "deadline_seconds": 30.0,
        } | limits
        self.joiner = Joiner(self.predict, self.count, **settings)
        self.answers: dict[int, tuple[Result, int]] = {}

    def predict(self, rows: Matrix) -> Prediction:
        self.calls.append(len(rows))
        assert self.gate.wait(10)
        if (rows < 0).any():
            raise ModelFailed("negative")
        values = rows[:, 0].astype(np.float64) * 2
        return Prediction(values=values, score=values)

    def count(self, rows: Matrix, prediction: Prediction, seconds: float) -> None:
        assert prediction.values is not None
        assert len(prediction.values) == len(rows)
        self.counted.append(len(rows))

    def submit(self, number: int, rows: int = 1, value: float | None = None) -> bool:
        matrix = np.full((rows, 1), float(number if value is None else value))

        def deliver(result: Result, first: int) -> None:
            assert number not in self.answers
            self.answers[number] = (result, first)

        return self.joiner.submit(Work(matrix, deliver))

    def value(self, number: int) -> float:
        result, first = self.answers[number]
        assert isinstance(result, Prediction)
        assert result.values is not None
        return float(result.values[first])


async def test_a_lone_request_is_predicted_at_once() -> None:
    bench = Bench()
    bench.submit(3)
    await until(lambda: 3 in bench.answers)
    assert bench.calls == [1]
    assert bench.value(3) == 6
    bench.joiner.stop()


async def test_what_waits_is_joined_in_order_and_within_the_bound() -> None:
    bench = Bench()
    bench.gate.clear()
    bench.submit(0)
    await until(lambda: bench.calls == [1])
    for number in range(1, 21):
        assert bench.submit(number)
    assert bench.joiner.depth == 20
    bench.gate.set()
    await until(lambda: len(bench.answers) == 21)
    assert bench.calls == [1, 8, 8, 4]
    assert [bench.value(number) for number in range(21)] == [2.0 * n for n in range(21)]
    assert bench.counted == [1, 8, 8, 4]
    bench.joiner.stop()


async def test_requests_of_one_turn_of_the_loop_are_joined() -> None:
    bench = Bench()
    for number in range(5):
        bench.submit(number)
    await until(lambda: len(bench.answers) == 5)
    assert bench.calls == [5]
    bench.joiner.stop()


async def test_nobody_waits_for_a_large_request_as_a_whole() -> None:
    bench = Bench()
    bench.gate.clear()
    bench.submit(0)
    await until(lambda: bench.calls == [1])
    bench.submit(1, rows=20)
    bench.submit(2, rows=19)
    bench.submit(3)
    bench.submit(4, rows=2)
    bench.gate.set()
    await until(lambda: len(bench.answers) == 5)
    # A quarter of a call each while others wait; then 18 and 17 rows are left of the large ones.
    assert bench.calls[1] == 2 + 2 + 1 + 2
    assert list(bench.answers) == [0, 3, 4, 1, 2]
    assert sum(bench.calls) == sum(bench.counted) == 43
    assert max(bench.calls) <= 8
    assert [bench.value(number) for number in range(5)] == [0, 2, 4, 6, 8]
    for number, rows in ((1, 20), (2, 19)):
        result, first = bench.answers[number]
        assert isinstance(result, Prediction)
        assert result.values is not None
        assert result.score is not None
        assert (first, len(result.values), len(result.score)) == (0, rows, rows)
    assert bench.joiner.depth == 0
    bench.joiner.stop()


async def test_a_large_request_alone_has_whole_calls() -> None:
    bench = Bench()
    bench.submit(1, rows=20)
    await until(lambda: 1 in bench.answers)
    assert bench.calls == [8, 8, 4]
    bench.joiner.stop()


async def test_rows_of_a_large_request_keep_their_order() -> None:
    bench = Bench()
    answered: list[Result] = []
    for start in (0, 100):
        rows = np.arange(start, start + 30, dtype=np.float64).reshape(-1, 1)
        bench.joiner.submit(Work(rows, lambda result, _first: answered.append(result)))
    await until(lambda: len(answered) == 2)
    for start, result in zip((0, 100), answered, strict=True):
        assert isinstance(result, Prediction)
        assert result.values is not None
        assert result.values.tolist() == [2.0 * (start + place) for place in range(30)]
    bench.joiner.stop()


async def test_a_large_request_that_fails_is_answered_once_and_its_rest_is_dropped() -> None:
    bench = Bench()
    answered: list[Result] = []
    rows = np.arange(30, dtype=np.float64).reshape(-1, 1)
    rows[9] = -1
    bench.gate.clear()
    bench.joiner.submit(Work(rows, lambda result, _first: answered.append(result)))
    await until(lambda: bench.calls == [8])
    bench.submit(1)
    bench.gate.set()
    await until(lambda: bool(answered) and 1 in bench.answers)
    bench.submit(2)
    await until(lambda: 2 in bench.answers)
    assert [type(result) for result in answered] == [ModelFailed]
    assert [bench.value(number) for number in (1, 2)] == [2, 4]
    assert bench.joiner.depth == 0
    bench.joiner.stop()


async def test_what_is_abandoned_while_it_waits_is_not_predicted() -> None:
    class Peer:
        abandoned = False
        aside = False

    bench = Bench()
    bench.gate.clear()
    bench.submit(0)
    await until(lambda: bench.calls == [1])
    peer = Peer()
    answered: list[Result] = []
    rows = np.zeros((3, 1))
    bench.joiner.submit(Work(rows, lambda result, _first: answered.append(result), asker=peer))
    bench.submit(1)
    peer.abandoned = True
    bench.gate.set()
    await until(lambda: 1 in bench.answers)
    assert (bench.calls, answered, bench.joiner.depth) == ([1, 1], [], 0)
    bench.joiner.stop()


async def test_only_the_request_at_fault_fails() -> None:
    bench = Bench()
    for number in range(4):
        bench.submit(number, value=-1.0 if number == 2 else None)
    await until(lambda: len(bench.answers) == 4)
    assert bench.calls == [4, 1, 1, 1, 1]
    assert isinstance(bench.answers[2][0], ModelFailed)
    assert [bench.value(number) for number in (0, 1, 3)] == [0, 2, 6]
    assert sum(bench.counted) == 3
    bench.joiner.stop()


@pytest.mark.parametrize(("limit", "accepted"), [({"max_requests": 5}, 5), ({"max_rows": 3}, 3)])
async def test_the_queue_is_bounded(limit: dict[str, int], accepted: int) -> None:
    bench = Bench(**limit)
    bench.gate.clear()
    bench.submit(0)
    await until(lambda: bench.calls == [1])
    results = [bench.submit(number) for number in range(1, 10)]
    assert results == [True] * accepted + [False] * (9 - accepted)
    bench.gate.set()
    await until(lambda: len(bench.answers) == accepted + 1)
    assert bench.submit(99)
    await until(lambda: 99 in bench.answers)
    bench.joiner.stop()


async def test_the_deadline_frees_those_who_wait_for_a_hung_model() -> None:
    bench = Bench(deadline_seconds=0.0)
    bench.gate.clear()
    bench.submit(0)
    await until(lambda: bench.calls == [1])
    bench.submit(1)
    await until(lambda: bench.joiner.busy_seconds() > 0.001)
    bench.joiner.sweep()
    assert isinstance(bench.answers[0][0], TimeoutError)
    assert isinstance(bench.answers[1][0], TimeoutError)
    assert bench.joiner.depth == 0
    bench.gate.set()
    await until(lambda: bench.joiner.busy_seconds() == 0)
    await asyncio.sleep(0)
    assert len(bench.answers) == 2  # the late result is not delivered a second time
    bench.joiner.stop()


async def test_uncounted_rows_are_cut_out_of_a_joined_call() -> None:
    bench = Bench()
    done: list[Result] = []
    bench.submit(1, rows=3)
    bench.joiner.submit(Work(np.ones((2, 1)), lambda o, _: done.append(o), counted=False))
    bench.submit(2, rows=2)
    await until(lambda: len(bench.answers) == 2 and len(done) == 1)
    assert bench.calls == [7]
    assert bench.counted == [5]
    bench.joiner.stop()


async def test_an_answer_that_cannot_be_given_costs_nobody_else_his(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()

    def broken(_result: Result, _first: int) -> None:
        raise TypeError("cannot be written")

    bench.joiner.submit(Work(np.ones((1, 1)), broken))
    bench.submit(2)
    await until(lambda: 2 in bench.answers)
    assert bench.value(2) == 4
    assert "cannot be written" in caplog.text
    bench.joiner.stop()
