"""How much stable's pods differ by themselves, as it is learnt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from trimtab.decide.rollout.blocks import LENGTHS
from trimtab.decide.rollout.habit import (
    EPOCH,
    HOUR,
    LEARNT_FROM,
    Habit,
    Parts,
    by_hour_of_day,
    largest,
    with_earlier,
)
from trimtab.stats.counts import BadTotal
from trimtab.stats.spread import Spread

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=5)


def test_the_habit_is_that_of_the_last_half_hour() -> None:
    draws = np.random.default_rng(1)
    habit, counts, now = Habit(), dict.fromkeys("abc", BadTotal(0, 0)), NOW
    for _ in range(200):
        now += INTERVAL
        for pod in counts:
            burst = 10.0 * (draws.random() < 0.05)
            counts[pod] = counts[pod] + BadTotal(burst, 50.0)
        habit = habit.learn(dict(counts), now, INTERVAL)
    assert set(habit.spreads) >= {1, 6, 12}
    assert habit.spreads[1].inflation > 5
    assert all(len(parts.by) <= 7 for parts in habit.ended.values())
    quiet = habit
    for step in (1, 2):
        now += LEARNT_FROM
        for pod in counts:
            counts[pod] = counts[pod] + BadTotal(0, 50.0 * step)
        quiet = quiet.learn(dict(counts), now, INTERVAL)
    assert quiet.spreads == {}


def test_what_is_usual_is_worth_as_many_independent_requests() -> None:
    draws = np.random.default_rng(1)
    habit, counts, now = Habit(), dict.fromkeys("abc", BadTotal(0, 0)), NOW
    for _ in range(100):
        now += INTERVAL
        for pod in counts:
            burst = 10.0 * (draws.random() < 0.05)
            counts[pod] = counts[pod] + BadTotal(burst, 50.0)
        habit = habit.learn(dict(counts), now, INTERVAL)
    usual = habit.usual()
    assert usual.share == pytest.approx(0.01, rel=0.5)
    assert usual.total == pytest.approx(98 * 150 / largest(habit.spreads.values()))
    assert habit.learn(dict(counts), now + INTERVAL, INTERVAL) is habit
    assert Habit().usual() == BadTotal(0, 0)


def test_a_process_that_is_new_counts_from_its_second_look() -> None:
    habit = Habit().learn({"a": BadTotal(5, 10)}, NOW, INTERVAL)
    assert habit.blocks == {}
    habit = habit.learn({"a": BadTotal(5, 12), "b": BadTotal(9, 9)}, NOW + INTERVAL, INTERVAL)
    assert habit.blocks[LENGTHS[0]].open == {"a": BadTotal(0, 2)}


def test_what_the_process_before_had_learnt_holds_while_this_one_is_young() -> None:
    earlier = {6: Spread(4.0, 0.05)}
    young = Habit(since=NOW)
    assert with_earlier(Habit(), earlier, NOW) == earlier
    assert with_earlier(young, earlier, NOW + timedelta(minutes=9)) == earlier
    assert with_earlier(young, earlier, NOW + timedelta(minutes=10)) == {}


def test_a_habit_remembers_a_day_by_its_hours() -> None:
    habit, counted = Habit(), BadTotal(0, 0)
    for hour in range(30):  # ten errors more in each hour
        for minute in (0, 30):
            counted = counted + BadTotal(5.0 * hour, 1000)
            at = NOW + timedelta(hours=hour, minutes=minute)
            habit = habit.learn({"a": counted}, at, INTERVAL)
    day = by_hour_of_day(habit.hours)
    assert len(day) == 24
    assert day[7] == BadTotal(10 * 7, 2000)  # of today
    assert day[5] == BadTotal(10 * 29, 2000)
    assert day[6] == BadTotal(10 * 6, 2000)
    assert by_hour_of_day({}) == [BadTotal(0, 0)] * 24


def test_a_habit_remembers_the_worst_five_minutes_of_each_hour_of_a_day() -> None:
    habit, counted = Habit(), BadTotal(0, 0)
    for minute in range(30 * 60):
        at = NOW + timedelta(minutes=minute)
        worst = 20 <= minute % 60 < 25
        counted = counted + BadTotal(30.0 if worst else 10.0, 100)
        habit = habit.learn({"a": counted, "b": counted}, at, INTERVAL)
    assert len(habit.peaks) == 24
    assert all(0.25 < peak.share <= 0.3 for peak in habit.peaks.values())
    assert habit.before(NOW + timedelta(hours=29)).peaks.keys() < habit.peaks.keys()


def test_a_clock_that_is_set_back_makes_a_habit_no_longer_and_loses_nothing_of_it() -> None:
    """What was noted before lies ahead, and would stay for as long as that."""
    habit, counted, now = Habit(), BadTotal(0, 0), NOW
    for number in range(3 * 60):
        now += timedelta(minutes=1)
        if number == 60:
            now -= timedelta(hours=24)
        counted = counted + BadTotal(1.0, 100)
        habit = habit.learn({"a": counted}, now, INTERVAL)
        assert all(len(parts.by) <= 7 for parts in habit.ended.values())
        assert len(habit.hours) <= 24
        assert len(habit.peaks) <= 24
        assert all(hour <= (now - EPOCH) // HOUR for hour in habit.peaks)
        assert all(at <= now for at in habit.ended.get(1, Parts()).by)
    assert habit.since is not None
    assert habit.since <= now - timedelta(minutes=100)
    assert sum(hour.total for hour in habit.hours.values()) == pytest.approx(17_900)


def test_that_stables_pods_differ_is_known_in_the_round_in_which_they_do() -> None:
    """A zone is out: one of stable's pods answers nothing well, the others are as ever."""
    habit, now = Habit(), NOW
    counts = {f"v1-{n}": BadTotal(0.0, 0.0) for n in range(4)}
    for number in range(100):
        is_out = number == 99
        counts = {
            process: BadTotal(
                count.bad + (30.0 if is_out and process == "v1-0" else 0.0), count.total + 30.0
            )
            for process, count in counts.items()
        }
        now += timedelta(seconds=5)
        habit = habit.learn(counts, now, timedelta(seconds=5))
        assert (1 in habit.spreads) == is_out
