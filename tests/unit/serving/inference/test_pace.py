"""Estimates of waiting, and what follows from them for a request that nobody has read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trimtab.serving.inference.pace import (
    CALM_REQUESTS,
    CALM_SIZE,
    LARGEST_LAG,
    Admission,
    Lag,
    Pace,
)


def told(*calls: tuple[int, float]) -> Pace:
    pace = Pace()
    for rows, seconds in calls:
        pace.note(rows, seconds)
    return pace


def test_nothing_is_known_before_the_first_call() -> None:
    assert Pace().seconds(5, 1000) == 0


def test_what_a_call_and_what_a_row_costs_is_told_apart() -> None:
    pace = told(*[(1, 0.0101), (64, 0.0164)] * 50)
    assert pace.seconds(1, 1) == pytest.approx(0.0101, rel=0.01)
    assert pace.seconds(1, 64) == pytest.approx(0.0164, rel=0.01)
    assert pace.seconds(1, 1024) == pytest.approx(0.01 + 1024 * 1e-4, rel=0.05)


def test_calls_of_one_size_are_enough_for_calls_of_that_size() -> None:
    assert told(*[(1024, 0.2)] * 20).seconds(3, 3 * 1024) == pytest.approx(0.6, rel=0.05)


def test_a_model_that_became_slower_is_noticed_within_few_calls() -> None:
    pace = told(*[(1024, 0.01)] * 100, *[(1024, 0.1)] * 15)
    assert pace.seconds(1, 1024) > 0.09


def test_nothing_is_ever_cheaper_than_nothing() -> None:
    pace = told((1, 0.1), (1024, 0.001), (1, 0.0), (2000, 0.0))
    assert pace.seconds(1, 0) >= 0
    assert pace.seconds(0, 1000) >= 0


class Loop:
    """A clock, and what is called at the end of a turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.lag = Lag(self.soon.append, lambda: self.now)

    def after(self, seconds: float) -> float:
        self.now += seconds
        return self.lag.seconds()

    def turn(self) -> None:
        while self.soon:
            self.soon.pop()()


def test_who_is_read_late_in_a_turn_has_waited_for_those_before() -> None:
    loop = Loop()
    assert [loop.after(seconds) for seconds in (0, 0.1, 0.2)] == pytest.approx([0, 0.1, 0.3])
    assert len(loop.soon) == 1


def test_what_came_during_a_turn_has_waited_for_it() -> None:
    loop = Loop()
    loop.after(0)
    loop.after(0.3)
    loop.turn()
    assert loop.after(0.01) == pytest.approx(0.31)
    loop.turn()
    assert loop.after(0.01) == pytest.approx(0.01 if loop.now > 101 else 0)


def test_a_turn_that_was_long_ago_is_no_waiting() -> None:
    loop = Loop()
    loop.after(0)
    loop.after(0.3)
    loop.turn()
    assert loop.after(5) == 0


def admission(
    wait: float, lag: float = 0.0, asked: list[int] | None = None, a_call: float = 0.0
) -> Admission:
    loop = Loop()
    loop.after(0)
    loop.now += lag

    def waited(rows: int) -> float:
        if asked is not None:
            asked.append(rows)
        return wait

    pace = Pace()
    for _ in range(50):
        pace.note(1, a_call)
    return Admission(waited, loop.lag, queue_seconds=1.0, pace=pace)


@pytest.mark.parametrize(
    ("wait", "lag", "is_late"),
    [
        (0.0, 9.0, False),  # nobody waits: somebody has to be answered
        (0.9, 0.0, False),
        (1.1, 0.0, True),
        (0.8, 0.3, True),
        (0.8, 0.1, False),
        (0.4, 9.0, False),  # refusing alone takes all time
        (1.0 - LARGEST_LAG + 0.1, 9.0, True),
        (float("inf"), 0.0, True),
    ],
)
def test_late_is_what_waited_and_will_wait_too_long(wait: float, lag: float, is_late: bool) -> None:
    assert admission(wait, lag).is_late(100, is_binary=False) is is_late


def test_while_nobody_waits_few_are_judged() -> None:
    asked: list[int] = []
    one = admission(0.1, asked=asked)
    for _ in range(2 * (CALM_REQUESTS + 1)):
        assert not one.is_late(100, is_binary=False)
    assert len(asked) == 2
    assert not one.is_pressed
    one.is_late(100 * CALM_SIZE + 1, is_binary=False)  # so large a one is judged
    assert len(asked) == 3


def test_of_a_slow_model_all_are_judged() -> None:
    asked: list[int] = []
    one = admission(0.0, asked=asked, a_call=0.2)
    for _ in range(5):
        assert not one.is_late(100, is_binary=False)
    assert len(asked) == 5


def test_near_the_limit_all_are_judged() -> None:
    asked: list[int] = []
    one = admission(0.2, asked=asked)
    for _ in range(5):
        assert not one.is_late(100, is_binary=False)
    assert (len(asked), one.is_pressed) == (5, True)


def test_rows_are_guessed_from_the_length_of_a_body() -> None:
    asked: list[int] = []
    one = admission(0.5, asked=asked)
    one.is_late(5000, is_binary=False)
    one.learn(6400, 64, is_binary=False)
    one.learn(2400, 10, is_binary=True)
    one.is_late(5000, is_binary=False)
    one.is_late(4800, is_binary=True)
    for _ in range(50):
        one.learn(2000, 10, is_binary=False)
    one.is_late(100_000, is_binary=False)
    assert asked[:3] == [1, 50, 20]
    assert asked[3] == pytest.approx(500, rel=0.01)
