"""Joining: no waiting when idle, joined when busy, bounded, and the guilty alone is punished."""

from __future__ import annotations

import asyncio
import threading
from math import inf
from time import monotonic
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.serving.loopback import until

from trimtab.serving.errors import ModelFailed
from trimtab.serving.inference import joining
from trimtab.serving.inference.joining import Joiner, Result, Work
from trimtab.serving.inference.pace import Pace
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


class Peer:
    """Who waits for an answer."""

    def __init__(self) -> None:
        self.abandoned = False
        self.aside = False


class Second:
    """A second model that notes what it was asked, and can be held."""

    def __init__(self, pays: bool = True, wanted: int = 6) -> None:
        self.pays = pays
        self.wanted = wanted
        self.earned: list[int] = []
        self.asked: list[list[float]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.patience = 60.0

    def give_up(self) -> None:
        assert self.pays
        self.pays = False

    def begins(self) -> bool:
        return self.pays

    def paired_rows(self, rows: int) -> int:
        return min(rows, self.wanted)

    def earn(self, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.earned.append(rows)

    def affords(self, rows: int, seconds: float) -> bool:
        assert rows > 0
        return self.pays

    def answer(self, rows: Matrix) -> NDArray[np.intp] | None:
        self.asked.append(rows[:, 0].tolist())
        assert self.gate.wait(10)
        if (rows > 100).any():
            return None
        return rows[:, 0].astype(np.intp)


class Class(Bench):
    """A joiner of a classifier with a second model."""

    def __init__(self, second: Second, **limits: Any) -> None:
        self.second = second
        super().__init__(second=second, **limits)
        self.peers: dict[int, Peer] = {}

    def predict(self, rows: Matrix) -> Prediction:
        super().predict(rows)
        return Prediction(predicted=np.zeros(len(rows), dtype=np.intp))

    def count(self, rows: Matrix, prediction: Prediction, seconds: float) -> None:
        assert prediction.other is None
        self.counted.append(len(rows))

    def ask(self, number: int, rows: int = 1) -> None:
        matrix = np.arange(number, number + rows, dtype=np.float64).reshape(-1, 1)
        peer = self.peers[number] = Peer()
        self.joiner.submit(
            Work(matrix, lambda r, first: self.answers.update({number: (r, first)}), asker=peer)
        )

    def other(self, number: int, rows: int = 1) -> list[int] | None:
        result, first = self.answers[number]
        assert isinstance(result, Prediction)
        return None if result.other is None else result.other[first : first + rows].tolist()


async def test_a_call_is_predicted_by_the_second_model_and_told_aside() -> None:
    bench = Class(Second())
    bench.ask(3)
    bench.ask(5, rows=2)
    await until(lambda: len(bench.answers) == 2)
    assert bench.second.asked == [[3, 5, 6]]
    assert (bench.other(3), bench.other(5, 2)) == ([3], [5, 6])
    assert all(peer.aside for peer in bench.peers.values())
    bench.joiner.stop()


async def test_what_is_not_paid_for_is_not_compared() -> None:
    bench = Class(Second(pays=False))
    bench.ask(3)
    await until(lambda: 3 in bench.answers)
    assert (bench.second.asked, bench.second.earned, bench.other(3)) == ([], [1], None)
    assert not bench.peers[3].aside
    bench.joiner.stop()


async def test_nothing_is_compared_while_somebody_waits() -> None:
    bench = Class(Second())
    bench.gate.clear()
    bench.ask(1)
    await until(lambda: bench.calls == [1])
    bench.ask(2)
    bench.gate.set()
    await until(lambda: len(bench.answers) == 2)
    assert bench.second.asked == [[2]]
    assert (bench.other(1), bench.other(2)) == (None, [2])
    assert (bench.peers[1].aside, bench.peers[2].aside) == (True, True)
    bench.joiner.stop()


async def test_who_waited_behind_a_comparison_is_told_aside() -> None:
    bench = Class(Second())
    bench.second.gate.clear()
    bench.ask(1)
    await until(lambda: len(bench.second.asked) == 1)
    bench.ask(2)
    bench.second.pays = False
    bench.second.gate.set()
    await until(lambda: len(bench.answers) == 2)
    bench.ask(3)
    await until(lambda: 3 in bench.answers)
    assert [bench.peers[number].aside for number in (1, 2, 3)] == [True, True, False]
    bench.joiner.stop()


class Stepwise(Class):
    """Predicts a call when told so."""

    def __init__(self, second: Second, **limits: Any) -> None:
        self.steps = threading.Semaphore(0)
        super().__init__(second, **limits)

    def predict(self, rows: Matrix) -> Prediction:
        assert self.steps.acquire(timeout=10)
        return super().predict(rows)


async def test_where_the_thread_is_never_idle_most_requests_are_not_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = [0.0]
    monkeypatch.setattr(joining, "monotonic", lambda: monotonic() + gone[0])
    bench = Stepwise(Second())
    bench.ask(1)
    await until(lambda: bench.joiner.busy_seconds() > 0)
    for number, seconds in ((1, 1.5), (2, 0.0), (3, 0.0), (4, 4.5), (5, 0.0)):
        if number < 5:
            bench.ask(number + 1)  # somebody always waits
        gone[0] += seconds
        bench.steps.release()
        await until(lambda n=number: n in bench.answers)  # type: ignore[misc]
    assert [bench.peers[n].aside for n in (1, 2, 3, 4, 5)] == [True, True, False, False, True]
    assert bench.second.asked == [[5]]
    bench.joiner.stop()


class InPlace(Class):
    """A model that works in place, as a scaler with copy=False does."""

    rows_counted: Matrix

    def predict(self, rows: Matrix) -> Prediction:
        answer = super().predict(rows)
        rows[:] = 0
        return answer

    def count(self, rows: Matrix, prediction: Prediction, seconds: float) -> None:
        self.rows_counted = rows


async def test_what_a_model_does_to_its_rows_is_not_seen_by_others() -> None:
    bench = InPlace(Second())
    bench.ask(7)
    await until(lambda: 7 in bench.answers)
    assert bench.second.asked == [[7]]
    assert bench.rows_counted.tolist() == [[7]]
    bench.joiner.stop()


async def test_a_busy_period_that_began_without_is_not_compared() -> None:
    """What is held up by a comparison is held up by what was decided before anybody came."""
    bench = Class(Second(pays=False))
    bench.gate.clear()
    bench.ask(1)
    await until(lambda: bench.calls == [1])
    bench.second.pays = True
    bench.ask(2)
    bench.gate.set()
    await until(lambda: len(bench.answers) == 2)
    assert bench.second.asked == []
    assert (bench.peers[1].aside, bench.peers[2].aside) == (False, False)
    bench.ask(3)
    await until(lambda: 3 in bench.answers)
    assert (bench.second.asked, bench.peers[3].aside) == ([[3]], True)
    bench.joiner.stop()


async def test_who_is_late_behind_a_comparison_is_told_aside() -> None:
    bench = Class(Second(), deadline_seconds=0.0)
    bench.second.gate.clear()
    bench.ask(1)
    await until(lambda: len(bench.second.asked) == 1)
    bench.ask(2)
    await until(lambda: bench.joiner.busy_seconds() > 0.001)
    bench.joiner.sweep()
    assert isinstance(bench.answers[2][0], TimeoutError)
    assert bench.peers[2].aside
    bench.second.gate.set()
    await until(lambda: bench.joiner.busy_seconds() == 0)
    bench.joiner.stop()


async def test_a_second_model_without_an_answer_costs_nobody_his() -> None:
    bench = Class(Second())
    bench.ask(200)
    await until(lambda: 200 in bench.answers)
    assert bench.other(200) is None
    assert bench.peers[200].aside
    bench.joiner.stop()


async def test_nobody_is_compared_who_has_left() -> None:
    bench = Class(Second())
    bench.gate.clear()
    bench.ask(1)
    await until(lambda: bench.calls == [1])
    bench.peers[1].abandoned = True
    bench.gate.set()
    await until(lambda: bench.joiner.busy_seconds() == 0)
    assert bench.second.asked == []
    bench.joiner.stop()


async def test_only_rows_that_a_token_can_hold_are_compared() -> None:
    bench = Class(Second(wanted=3))
    bench.ask(10, rows=20)
    await until(lambda: 10 in bench.answers)
    assert bench.calls == [8, 8, 4]
    assert bench.second.asked == [[10, 11, 12]]
    assert bench.other(10, 20) == [10, 11, 12] + [-1] * 17
    assert bench.second.earned == [3, 0, 0]
    bench.joiner.stop()


async def test_rows_that_are_not_counted_are_not_compared() -> None:
    bench = Class(Second())
    done: list[Result] = []
    bench.joiner.submit(Work(np.ones((1, 1)), lambda o, _: done.append(o), counted=False))
    await until(lambda: len(done) == 1)
    assert (bench.second.asked, bench.second.earned) == ([], [])
    bench.joiner.stop()


async def test_a_second_model_that_does_not_come_back_is_left_behind() -> None:
    bench = Class(Second())
    bench.second.gate.clear()
    bench.ask(1)
    await until(lambda: len(bench.second.asked) == 1)
    bench.ask(2)
    bench.joiner.sweep()
    assert bench.answers == {}
    bench.second.patience = 0.0
    await until(lambda: bench.joiner.busy_seconds() > 0.001)
    bench.joiner.sweep()
    await until(lambda: 2 in bench.answers)
    assert (bench.other(1), bench.peers[1].aside, bench.peers[2].aside) == (None, True, True)
    bench.joiner.sweep()
    bench.second.gate.set()  # it does come back: that changes nothing any more
    bench.ask(3)
    await until(lambda: 3 in bench.answers)
    assert not bench.second.pays
    assert [bench.other(number) for number in (2, 3)] == [None, None]
    assert bench.calls == [1, 1, 1]
    bench.joiner.stop()


def paced(seconds_per_call: float, seconds_per_row: float) -> Pace:
    pace = Pace()
    for _ in range(200):
        for rows in (1, 64):
            pace.note(rows, seconds_per_call + rows * seconds_per_row)
    return pace


async def test_what_would_be_begun_too_late_is_not_queued() -> None:
    bench = Bench(queue_seconds=1.0, pace=paced(0.0, 0.1))
    bench.gate.clear()
    assert bench.joiner.wait(1) == 0
    assert bench.submit(0, rows=50)  # its own rows do not count
    await until(lambda: bench.calls == [8])
    taken = [bench.submit(number, rows=2) for number in range(1, 10)]
    # At most 0.8 s of the running call and 0.2 s of the large request's turn are before them.
    assert True in taken
    assert taken == sorted(taken, reverse=True)
    assert not taken[-1]
    assert not bench.submit(20, rows=2)
    work = Work(np.zeros((2, 1)), lambda _result, _first: None, is_admitted=True)
    assert bench.joiner.submit(work)
    bench.gate.set()
    await until(lambda: bench.joiner.depth == 0)
    bench.joiner.stop()


async def test_a_large_request_waits_for_more_turns_than_a_small_one() -> None:
    bench = Bench(pace=paced(0.0, 0.01))
    for number in range(3):
        bench.submit(number, rows=100)
    # Nothing runs yet: of each of them a quarter of a call goes before a small one.
    assert bench.joiner.wait(1) == pytest.approx(3 * 2 * 0.01, rel=0.05)
    assert bench.joiner.wait(2) == pytest.approx(3 * 2 * 0.01, rel=0.05)
    assert bench.joiner.wait(20) == pytest.approx(10 * 3 * 2 * 0.01, rel=0.05)
    await until(lambda: len(bench.answers) == 3)
    assert bench.joiner.wait(1) == 0
    bench.joiner.stop()


async def test_there_is_no_room_beyond_the_other_bounds() -> None:
    bench = Bench(max_requests=2, max_rows=10)
    bench.submit(0, rows=9)
    assert bench.joiner.wait(1) < inf
    assert bench.joiner.wait(2) == inf
    bench.submit(1)
    assert bench.joiner.wait(1) == inf
    await until(lambda: len(bench.answers) == 2)
    bench.joiner.stop()
