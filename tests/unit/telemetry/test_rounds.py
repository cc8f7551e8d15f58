"""Rounds: gates see the pods of a Deployment as of one moment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.rounds import MOST_LATE, SET_ASIDE_AFTER, Rounds

REQUESTS: SeriesKey = ("trimtab_requests_total", frozenset())
SIDES = {"c": "new", "s1": "old", "s2": "old"}


def play(
    rounds: Rounds,
    *shown: Mapping[str, float],
    asked: Mapping[str, str] = SIDES,
    interval: float = 5.0,
) -> None:
    """One round each: what the processes that answer have counted."""
    for one in shown:
        rounds.begin(asked, interval)
        for process, revision in asked.items():
            if process in one:
                rounds.answered(process, revision, {REQUESTS: one[process]})
            else:
                rounds.failed(process)


def seen(rounds: Rounds) -> dict[str, float]:
    return {process: rounds.shown(process).get(REQUESTS, 0.0) for process in rounds.places}


def test_nothing_is_seen_before_all_have_answered() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    rounds.begin(SIDES)
    rounds.answered("c", "new", {REQUESTS: 10.0})
    rounds.answered("s1", "old", {REQUESTS: 20.0})
    assert seen(rounds) == {"c": 1, "s1": 2, "s2": 3}
    rounds.answered("s2", "old", {REQUESTS: 30.0})
    assert seen(rounds) == {"c": 10, "s1": 20, "s2": 30}
    assert (rounds.settled, rounds.ended) == (2, 2)


def test_a_late_answer_belongs_to_its_own_round() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    rounds.begin(SIDES)
    rounds.answered("c", "new", {REQUESTS: 10.0})
    rounds.answered("s1", "old", {REQUESTS: 20.0})
    rounds.begin(["c", "s1"])  # s2 is still under way
    rounds.answered("c", "new", {REQUESTS: 11.0})
    rounds.answered("s1", "old", {REQUESTS: 21.0})
    assert seen(rounds) == {"c": 1, "s1": 2, "s2": 3}
    rounds.answered("s2", "old", {REQUESTS: 30.0})
    assert seen(rounds) == {"c": 11, "s1": 21, "s2": 30}


def test_one_of_two_is_enough_and_none_stops_both_sides() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3}, {"c": 10, "s1": 20})
    assert seen(rounds) == {"c": 10, "s1": 20, "s2": 3}
    play(rounds, {"c": 100}, {"s1": 200, "s2": 300})
    assert seen(rounds) == {"c": 10, "s1": 20, "s2": 3}
    play(rounds, {"c": 1000, "s1": 2000, "s2": 3000})
    assert seen(rounds) == {"c": 1000, "s1": 2000, "s2": 3000}


def test_a_side_that_is_not_even_asked_is_unseen() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    play(rounds, {"c": 10}, asked={"c": "new"})
    assert seen(rounds)["c"] == 1


@pytest.mark.parametrize(("interval", "waits"), [(5.0, 12), (15.0, 4), (60.0, 4)])
def test_a_revision_that_stays_silent_is_waited_for_a_minute(interval: float, waits: int) -> None:
    """Its only pod may be dead, or stuck on its way out: the others must be seen again."""
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 1, "s2": 1}, interval=interval)
    held = []
    for number in range(2, waits + 6):
        play(rounds, {"c": number, "s1": number}, interval=interval)
        held.append(rounds.settled == number)
    assert held == [True] * (waits + 4), "one of two is enough"
    held = []
    for number in range(100, 104 + waits):
        play(rounds, {"s1": number, "s2": number}, interval=interval)
        held.append(rounds.settled == rounds.ended)
    assert held == [False] * waits + [True] * 4
    assert rounds.lags("c")


def test_a_revision_that_comes_and_goes_costs_no_more_than_one_that_stays_away() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 1, "s2": 1})
    held = 0
    for number in range(2, 122):
        there = {"s1": float(number), "s2": float(number)}
        play(rounds, there | {"c": number} if number % 6 == 0 else there)
        held += rounds.settled == number
    assert held >= 120 - 12 - 20 * 2


def test_a_round_that_nobody_answers_is_no_silence_of_anybody() -> None:
    """The operator was cut off: what comes next is of all again."""
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 1, "s2": 1}, *[{}] * 50)
    assert rounds.settled == 1
    play(rounds, {"s1": 60, "s2": 60})
    assert rounds.settled == 1


def test_what_a_pod_counted_while_it_was_set_aside_is_left_out() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    away = [{"c": 1.0 + n, "s1": 2.0 + n} for n in range(1, SET_ASIDE_AFTER + 3)]
    play(rounds, *away)
    play(rounds, {"c": 50, "s1": 60, "s2": 103}, {"c": 51, "s1": 61, "s2": 104})
    assert seen(rounds) == {"c": 51, "s1": 61, "s2": 4}


def test_after_a_long_stand_still_nobody_has_the_time_between_as_evidence() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    born = {**SIDES, "c2": "new"}
    play(rounds, *({"c": 10.0 + n, "c2": 5.0 + n} for n in range(SET_ASIDE_AFTER + 2)), asked=born)
    play(rounds, {"c": 50, "c2": 40, "s1": 60, "s2": 70}, asked=born)
    assert seen(rounds) == {"c": 1, "c2": 0, "s1": 2, "s2": 3}
    play(rounds, {"c": 51, "c2": 41, "s1": 62, "s2": 72}, asked=born)
    assert seen(rounds) == {"c": 2, "c2": 1, "s1": 4, "s2": 5}


def test_a_pod_that_shows_after_a_silence_what_others_left_out_of_it_counts_from_then() -> None:
    """It served in the silence, and one round more went by without an answer of it."""
    rounds = Rounds()
    born = {**SIDES, "c2": "new"}
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    silence = [{"s1": 10.0 + n, "s2": 20.0 + n} for n in range(SET_ASIDE_AFTER + 2)]
    play(rounds, *silence, {"c": 50, "s1": 60, "s2": 70}, asked=born)
    play(rounds, {"c": 51, "c2": 40, "s1": 61, "s2": 71}, asked=born)
    assert seen(rounds) == {"c": 2, "c2": 0, "s1": 3, "s2": 4}
    play(rounds, {"c": 52, "c2": 41, "s1": 62, "s2": 72}, asked=born)
    assert seen(rounds)["c2"] == 1


def test_a_pod_that_is_asked_after_a_silence_counts_from_its_birth() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3}, {"s1": 4}, {"c": 5, "s1": 6, "s2": 7})
    born = {**SIDES, "c2": "new"}
    play(rounds, {"c": 6, "s1": 8, "s2": 9}, {"c": 7, "c2": 3, "s1": 10, "s2": 11}, asked=born)
    assert seen(rounds)["c2"] == 3


def test_a_process_that_is_gone_is_waited_for_by_nobody() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    rounds.begin(SIDES)
    rounds.answered("c", "new", {REQUESTS: 10.0})
    rounds.answered("s1", "old", {REQUESTS: 20.0})
    rounds.gone("s2")
    assert seen(rounds) == {"c": 10, "s1": 20, "s2": 3}


def test_the_late_answer_of_a_process_that_is_gone_does_not_bring_it_back() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3})
    rounds.gone("c")
    rounds.answered("c", "new", {REQUESTS: 5.0})  # a backend has seen it until its end
    left = {"s1": "old", "s2": "old"}
    play(rounds, *({"s1": 10.0 + n, "s2": 20.0 + n} for n in range(8)), asked=left)
    assert seen(rounds) == {"c": 5, "s1": 17, "s2": 27}
    play(rounds, {"c": 6, "s1": 18, "s2": 28})
    assert seen(rounds)["s1"] == 18


def test_a_pod_that_starts_holds_up_nobody() -> None:
    rounds = Rounds()
    play(rounds, {"c": 1, "s1": 2, "s2": 3}, asked={**SIDES, "c2": "new"})
    assert seen(rounds) == {"c": 1, "s1": 2, "s2": 3}


def test_what_no_round_asked_is_taken_as_it_comes() -> None:
    rounds = Rounds()
    rounds.answered("c", "new", {REQUESTS: 1.0})
    assert seen(rounds) == {"c": 1}
    rounds.answered("c", "new", {REQUESTS: 2.0})
    assert seen(rounds) == {"c": 2}


def test_an_end_closes_what_is_open() -> None:
    rounds = Rounds()
    rounds.begin(SIDES)
    rounds.answered("c", "new", {REQUESTS: 1.0})
    rounds.end()
    assert seen(rounds) == {"c": 1}


def play_at(
    rounds: Rounds, count: float, times: Mapping[str, float], asked: Mapping[str, str] = SIDES
) -> None:
    """One round in which every process has counted so much, and answers at its own time."""
    rounds.begin(asked, 5.0)
    for process, at in times.items():
        rounds.answered(process, asked[process], {REQUESTS: count}, at)


AT_ONCE = {"c": 0.01, "s1": 0.02, "s2": 0.04}


def test_a_candidate_that_answers_later_than_stable_waits_for_the_next_round() -> None:
    rounds = Rounds()
    play_at(rounds, 1, AT_ONCE)
    play_at(rounds, 2, {"s1": 0.02, "s2": 0.04, "c": 1.8})
    assert seen(rounds) == {"c": 1, "s1": 1, "s2": 1}
    play_at(rounds, 3, {"s1": 0.02, "s2": 0.04, "c": 0.2})  # no outlier, and yet another moment
    assert seen(rounds) == {"c": 1, "s1": 1, "s2": 1}
    play_at(rounds, 4, AT_ONCE)
    assert seen(rounds) == {"c": 4, "s1": 4, "s2": 4}


def test_where_every_round_is_crooked_one_of_four_is_taken_as_it_is() -> None:
    rounds = Rounds()
    play_at(rounds, 1, AT_ONCE)
    held = []
    for number in range(2, 11):
        play_at(rounds, number, {"s1": 0.02, "s2": 0.04, "c": 1.8})
        held.append(rounds.settled)
    assert held == [1, 1, 1, 5, 5, 5, 5, 9, 9]
    assert MOST_LATE == 3


def test_a_late_pod_of_many_holds_up_nobody_and_lags() -> None:
    rounds = Rounds()
    many = {"c": "new", **{f"s{n}": "old" for n in range(9)}}
    play_at(rounds, 1, dict.fromkeys(many, 0.01), many)
    late = {**dict.fromkeys(many, 0.01), "s0": 1.8}
    play_at(rounds, 2, late, many)
    assert (seen(rounds)["s0"], seen(rounds)["c"]) == (1, 2)
    assert [p for p in many if rounds.lags(p)] == ["s0"]
    play_at(rounds, 3, dict.fromkeys(many, 0.01), many)
    assert (seen(rounds)["s0"], seen(rounds)["c"]) == (3, 3)
    assert not any(rounds.lags(p) for p in many)
    assert not rounds.lags("unknown")


def test_what_waits_for_a_better_round_is_all_counted() -> None:
    rounds = Rounds()
    play_at(rounds, 1, AT_ONCE)
    play_at(rounds, 2, {"s1": 0.02, "s2": 0.04})  # the only pod of the new one was not seen
    rounds.failed("c")
    play_at(rounds, 3, AT_ONCE)
    assert seen(rounds) == {"c": 3, "s1": 3, "s2": 3}


def test_a_pod_that_is_late_each_time_counts_at_last() -> None:
    rounds = Rounds()
    many = {"c": "new", **{f"s{n}": "old" for n in range(39)}}
    play_at(rounds, 1, dict.fromkeys(many, 0.01), many)
    for number in range(2, 3 + MOST_LATE):
        play_at(rounds, number, {**dict.fromkeys(many, 0.01), "s0": 0.9}, many)
        assert rounds.lags("s0") is (number < 1 + MOST_LATE)
    assert seen(rounds)["s0"] == 2 + MOST_LATE


# --- of a backend, which has read each process at a phase of its own ------------------------------

LIFE = ("c", "s1", "s2")


def look_at(
    rounds: Rounds,
    read: Mapping[str, list[tuple[float, float]]],
    asked: Mapping[str, str] = SIDES,
    interval: float = 15.0,
) -> None:
    """One look that finds these readings: (when, what the process had counted)."""
    rounds.begin(asked, interval, is_look=True)
    for process, readings in read.items():
        for at, count in readings:
            rounds.read(process, asked[process], {REQUESTS: count}, at)
    rounds.end()


def around(rounds: Rounds) -> dict[str, tuple[float, float]]:
    """Of each process, what gates see of it, and the same of the next reading."""
    found = {}
    for process in rounds.places:
        behind, ahead = rounds.shown(process), rounds.ahead(process)
        value = behind.get(REQUESTS, 0.0)
        found[process] = value, value if ahead is None else ahead.get(REQUESTS, 0.0)
    return found


def test_a_look_shows_the_readings_around_the_last_moment_up_to_which_all_were_read() -> None:
    rounds = Rounds()
    look_at(rounds, {"c": [(10, 10)], "s1": [(1, 1)], "s2": [(5, 5)]})
    look_at(rounds, {"c": [(25, 25)], "s1": [(16, 16)], "s2": [(20, 20)]})
    assert around(rounds) == {"c": (10, 25), "s1": (16, 16), "s2": (5, 20)}
    look_at(rounds, {"c": [(40, 40)], "s1": [(31, 31)], "s2": [(35, 35)]})
    assert around(rounds) == {"c": (25, 40), "s1": (31, 31), "s2": (20, 35)}
    assert not any(rounds.lags(process) for process in LIFE)


def test_an_outage_that_one_side_shows_first_is_seen_of_nobody_alone() -> None:
    """The candidate's reading at 25 is not shown before stable's are as late."""
    rounds = Rounds()
    look_at(rounds, {"c": [(10, 10), (25, 25)], "s1": [(1, 1), (16, 16)], "s2": [(5, 5), (20, 20)]})
    assert around(rounds)["c"][0] == 10


def test_a_look_that_finds_nothing_new_of_all_is_no_round() -> None:
    rounds = Rounds()
    look_at(rounds, {"c": [(10, 10)], "s1": [(1, 1)], "s2": [(5, 5)]})
    look_at(rounds, {"c": [(25, 25)], "s1": [(16, 16)], "s2": [(20, 20)]})
    before, settled = around(rounds), rounds.settled
    for _ in range(2 * SET_ASIDE_AFTER):
        look_at(rounds, {})
    look_at(rounds, {"c": [(40, 40)]})
    assert (around(rounds), rounds.settled) == (before, settled)
    look_at(rounds, {"s1": [(31, 31)], "s2": [(35, 35)]})
    assert around(rounds) == {"c": (25, 40), "s1": (31, 31), "s2": (20, 35)}
    assert not any(rounds.is_short(process) for process in LIFE)


def test_one_reading_that_is_lost_makes_all_wait_and_a_dead_process_nobody_for_good() -> None:
    rounds = Rounds()
    for at in (0.0, 15.0, 30.0):
        look_at(rounds, {p: [(at + n, at)] for n, p in enumerate(LIFE)})
    look_at(rounds, {"c": [(45, 45)], "s1": [(46, 45)]})
    assert around(rounds)["s1"] == (30, 45), "as of 32 s"
    look_at(rounds, {"c": [(60, 60)], "s1": [(61, 60)]})
    look_at(rounds, {"c": [(75, 75)], "s1": [(76, 75)]})
    assert around(rounds)["c"] == (75, 75)
    assert rounds.lags("s2")


def test_what_a_process_that_ended_had_counted_shows_as_others_are_read_as_late() -> None:
    rounds = Rounds()
    for at in (0.0, 15.0):
        look_at(rounds, {p: [(at + n, at)] for n, p in enumerate(LIFE)})
    rounds.gone("s2")
    left = {"c": "new", "s1": "old"}
    rounds.begin(left, 15.0, is_look=True)
    rounds.read("s2", "old", {REQUESTS: 29.0}, 29.0)
    rounds.end()
    assert around(rounds)["s2"] == (0, 15)
    look_at(rounds, {"c": [(30, 30)], "s1": [(31, 30)]}, left)
    assert around(rounds)["s2"] == (29, 29)


def test_a_process_that_was_read_later_than_the_moment_is_in_none_yet() -> None:
    rounds = Rounds()
    born = {**SIDES, "c2": "new"}
    look_at(rounds, {"c": [(10, 10)], "s1": [(1, 1)], "s2": [(5, 5)]})
    look_at(rounds, {"c": [(25, 25)], "s1": [(16, 16)], "s2": [(20, 20)], "c2": [(24, 3)]}, born)
    assert rounds.shown("c2") == {}
    look_at(rounds, {"c": [(40, 40)], "s1": [(31, 31)], "s2": [(35, 35)], "c2": [(39, 9)]}, born)
    assert around(rounds)["c2"] == (3, 9)


def test_after_a_long_time_without_readings_what_came_in_it_is_left_out() -> None:
    rounds = Rounds()
    for at in (0.0, 15.0, 30.0):
        look_at(rounds, {p: [(at + n, at)] for n, p in enumerate(LIFE)})
    assert around(rounds)["c"] == (30, 30)
    look_at(rounds, {p: [(300.0 + n, 300)] for n, p in enumerate(LIFE)})
    look_at(rounds, {p: [(315.0 + n, 315)] for n, p in enumerate(LIFE)})
    assert around(rounds) == {"c": (45, 45), "s1": (30, 45), "s2": (30, 45)}


def test_scrapes_after_looks_are_of_one_moment_again() -> None:
    rounds = Rounds()
    look_at(rounds, {"c": [(10, 10)], "s1": [(1, 1)], "s2": [(5, 5)]})
    look_at(rounds, {"c": [(25, 25)], "s1": [(16, 16)], "s2": [(20, 20)]})
    play(rounds, {"c": 30, "s1": 31, "s2": 32})
    assert around(rounds) == {"c": (30, 30), "s1": (31, 31), "s2": (32, 32)}
