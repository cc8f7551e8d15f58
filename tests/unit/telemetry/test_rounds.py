"""Rounds: gates see the pods of a Deployment as of one moment."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.rounds import SET_ASIDE_AFTER, Rounds

REQUESTS: SeriesKey = ("trimtab_requests_total", frozenset())
SIDES = {"c": "new", "s1": "old", "s2": "old"}


def play(rounds: Rounds, *shown: Mapping[str, float], asked: Mapping[str, str] = SIDES) -> None:
    """One round each: what the processes that answer have counted."""
    for one in shown:
        rounds.begin(asked)
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
