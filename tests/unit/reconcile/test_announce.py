"""Numbers of decisions, what status keeps of them, and each told once to each sink."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.conditions import EventReason
from trimtab.api.record import Decision, Record
from trimtab.cluster.port import Json
from trimtab.decide.outcome import Note
from trimtab.errors import Refused, TrimtabError, Unavailable
from trimtab.reconcile.announce import (
    KEPT_DECISIONS,
    MOST_AT_ONCE,
    MOST_DECISIONS,
    MOST_INPUT_BYTES,
    MOST_STATUS_BYTES,
    REFUSED_LONG,
    TELL_AGAIN,
    Announcer,
    bounded,
    numbered,
)
from trimtab.reconcile.sinks.events import EventSink
from trimtab.simulation.cluster import SimulatedCluster

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
OBJECT: Json = {
    "apiVersion": "trimtab.dev/v1alpha1",
    "kind": "Deployment",
    "metadata": {"name": "digits", "namespace": "shop", "uid": "u1"},
}


def notes(count: int, words: str = "v1 serves") -> list[Note]:
    return [Note(EventReason.PROMOTED, words, inputs={"n": n}) for n in range(count)]


def decided(record: Record, count: int, told: int | None = None, words: str = "x") -> Record:
    """Return a record after so many more notes; `told` None: as far as the record says."""
    up_to = record.told if told is None else {"events": told}
    return numbered(record, notes(count, words), up_to, common={}, now=NOW)


@dataclass
class List:
    """A sink that takes everything, or raises."""

    name: str = "list"
    told: list[int] = field(default_factory=list)
    error: TrimtabError | None = None

    async def tell(self, regarding: Json, decision: Decision, now: datetime) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(decision.seq)


def test_numbers_ascend_by_one_over_passes() -> None:
    record = decided(decided(Record(), 2), 1)
    assert [d.seq for d in record.decisions] == [1, 2, 3]
    assert record.seq == 3


def test_what_all_notes_of_a_pass_rest_on_is_in_each() -> None:
    record = numbered(Record(), notes(2), {}, common={"spec": "abc"}, now=NOW)
    assert [d.inputs for d in record.decisions] == [{"spec": "abc", "n": n} for n in (0, 1)]


def test_the_last_ten_stay_when_all_is_told() -> None:
    record = decided(Record(), 30)
    record = decided(record, 1, told=30)
    assert [d.seq for d in record.decisions] == list(range(32 - KEPT_DECISIONS, 32))


def test_what_is_not_told_stays_beyond_the_last_ten() -> None:
    record = decided(Record(), 30)
    record = decided(record, 1, told=12)
    assert [d.seq for d in record.decisions] == list(range(13, 32))


def test_inputs_are_at_most_two_kibibytes_and_say_what_is_left_out() -> None:
    many = {"gates": ["x" * 300] * 10, "spec": "abc"}
    record = numbered(Record(), notes(1), {}, common=many, now=NOW)
    inputs = record.decisions[0].inputs
    assert inputs == {"spec": "abc", "n": 0, "leftOut": ["gates"]}


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=30),
    st.integers(1, 1000),
)
def test_a_loss_is_a_decision_and_nothing_else_is_lost(
    passes: list[tuple[int, int]], length: int
) -> None:
    record, told, accounted = Record(), 0, set[int]()
    for count, confirmed in passes:
        told = min(record.seq, told + confirmed)
        accounted |= set(range(told + 1))
        record = numbered(record, notes(count, "x" * length), {"events": told}, common={}, now=NOW)
        record = bounded({"summary": {}}, record, NOW)
        for decision in record.decisions:
            if decision.reason == EventReason.DECISIONS_DROPPED:
                first, last = decision.inputs["first"], decision.inputs["last"]
                accounted |= set(range(first, last + 1))
        seqs = [d.seq for d in record.decisions]
        assert seqs == sorted(set(seqs))
        assert seqs == [] or seqs[-1] == record.seq
        assert len(seqs) <= MOST_DECISIONS
        assert set(range(1, record.seq + 1)) <= accounted | set(seqs)


@pytest.mark.parametrize("rest", [20_000, 40_000, 60_000, 63_000])
def test_the_whole_status_stays_within_64_kibibytes(rest: int) -> None:
    status: Json = {"stable": {"template": "x" * rest}}
    record = decided(Record(), 50, words="y" * 1000)
    record = bounded(status, record, NOW)
    assert len(json.dumps(status | {"record": record.to_json()})) <= MOST_STATUS_BYTES + 2500
    assert record.decisions[-1].reason == EventReason.DECISIONS_DROPPED
    assert record.decisions[-1].inputs["first"] == 1


def test_a_decision_is_always_small() -> None:
    record = numbered(Record(), notes(1, "y" * 9000), {}, common={"x": "z" * 9000}, now=NOW)
    assert len(json.dumps(record.decisions[0].to_json())) < MOST_INPUT_BYTES + 1500


async def test_each_sink_hears_each_decision_once_and_in_order() -> None:
    first, second = List("first"), List("second")
    announcer = Announcer([first, second])
    record = decided(Record(), 2)
    assert announcer.has_news("u1", record.to_json())
    assert await announcer.announce(OBJECT, record, NOW)
    record = decided(record, 1)
    assert await announcer.announce(OBJECT, record, NOW)
    assert first.told == second.told == [1, 2, 3]
    assert announcer.told("u1", record) == {"first": 3, "second": 3}
    assert not announcer.has_news("u1", record.to_json())


async def test_a_sink_that_is_away_is_asked_again_and_holds_up_no_other() -> None:
    away, there = List("away", error=Unavailable("no answer")), List("there")
    announcer = Announcer([away, there])
    record = decided(Record(), 2)
    assert not await announcer.announce(OBJECT, record, NOW)
    assert there.told == [1, 2]
    away.error = None
    assert await announcer.announce(OBJECT, record, NOW)
    assert (away.told, there.told) == ([1, 2], [1, 2])


async def test_a_refusal_is_not_taken_for_one_for_ever() -> None:
    sink = List(error=Refused("forbidden"))
    announcer = Announcer([sink])
    record = decided(Record(), 2)
    assert not await announcer.announce(OBJECT, record, NOW)
    assert announcer.has_news("u1", record.to_json())
    sink.error = None
    again = announcer.again_at("u1", NOW)
    assert again == NOW + TELL_AGAIN
    assert not await announcer.announce(OBJECT, record, again - timedelta(seconds=1))
    assert sink.told == []
    assert await announcer.announce(OBJECT, record, again)
    assert sink.told == [1, 2]


async def test_who_refuses_is_asked_less_and_less_often_and_not_by_a_clock_that_was_put_back() -> (
    None
):
    sink = List(error=Refused("forbidden"))
    announcer = Announcer([sink])
    record, now, waits = decided(Record(), 1), NOW, []
    for _ in range(7):
        assert not await announcer.announce(OBJECT, record, now)
        waits.append((announcer.again_at("u1", now) - now).total_seconds())
        now += timedelta(seconds=waits[-1])
    assert waits == [15, 30, 60, 120, 240, 300, 300]
    sink.error = None
    assert await announcer.announce(OBJECT, record, NOW - timedelta(hours=1))


async def test_a_clock_that_jumps_ages_no_decision_that_was_just_made() -> None:
    cluster = SimulatedCluster()
    announcer = Announcer([EventSink(cluster)])
    record = decided(Record(), 3)
    announcer.made("u1", 2)
    assert await announcer.announce(OBJECT, record, NOW + timedelta(days=1))
    assert [event.seq for event in cluster.events] == [2, 3]
    announcer.forget("u1")
    assert await announcer.announce(OBJECT, decided(record, 1), NOW + timedelta(days=1))
    assert [event.seq for event in cluster.events] == [2, 3]


async def test_a_decision_that_alone_is_refused_holds_up_the_others_for_a_while() -> None:
    class Picky(List):
        async def tell(self, regarding: Json, decision: Decision, now: datetime) -> None:
            if decision.seq == 2:
                raise Refused("message: Invalid value")
            await super().tell(regarding, decision, now)

    sink = Picky()
    announcer = Announcer([sink])
    record = decided(Record(), 4)
    assert not await announcer.announce(OBJECT, record, NOW)
    assert sink.told == [1]
    assert await announcer.announce(OBJECT, record, NOW + REFUSED_LONG)
    assert sink.told == [1, 3, 4]


async def test_a_sink_that_refuses_everything_for_long_loses_nothing() -> None:
    sink = List(error=Refused("forbidden"))
    announcer = Announcer([sink])
    record, now = decided(Record(), 3), NOW
    for _ in range(20):
        assert not await announcer.announce(OBJECT, record, now)
        now = announcer.again_at("u1", now)
    assert now - NOW > REFUSED_LONG
    sink.error = None
    assert await announcer.announce(OBJECT, record, now)
    assert sink.told == [1, 2, 3]


async def test_one_object_is_told_of_so_often_and_no_more_and_nothing_is_lost() -> None:
    sink, other = List(), {**OBJECT, "metadata": {**OBJECT["metadata"], "uid": "u2"}}
    announcer = Announcer([sink])
    record, now = decided(Record(), MOST_AT_ONCE + 3), NOW
    assert not await announcer.announce(OBJECT, record, now)
    assert sink.told == [*range(1, MOST_AT_ONCE + 1)]
    assert not await announcer.announce(OBJECT, record, now - timedelta(hours=1))
    assert sink.told == [*range(1, MOST_AT_ONCE + 1)]
    assert await announcer.announce(other, decided(Record(), 1), now)
    now -= timedelta(hours=1)
    for more in (1, 2, 3):
        now = announcer.again_at("u1", now)
        assert await announcer.announce(OBJECT, record, now) is (more == 3)
    assert sink.told == [*range(1, MOST_AT_ONCE + 1), 1, *range(MOST_AT_ONCE + 1, MOST_AT_ONCE + 4)]


async def test_the_next_process_goes_on_where_status_says() -> None:
    sink = List("events")
    record = decided(decided(Record(), 3), 1, told=3)
    await Announcer([sink]).announce(OBJECT, record, NOW)
    assert sink.told == [4]


async def test_an_old_decision_is_no_event_any_more() -> None:
    cluster = SimulatedCluster()
    announcer = Announcer([EventSink(cluster)])
    assert await announcer.announce(OBJECT, decided(Record(), 1), NOW + timedelta(hours=2))
    assert cluster.events == []


async def test_a_clock_that_is_ahead_of_the_last_process_makes_no_decision_old() -> None:
    cluster = SimulatedCluster()
    record = numbered(Record(), notes(1), {}, common={}, now=NOW, led=7e8)
    later = NOW + timedelta(days=1)
    assert await Announcer([EventSink(cluster)]).announce(OBJECT, record, later, 7e8 + 60)
    assert [event.seq for event in cluster.events] == [1]


@pytest.mark.parametrize(
    ("made", "now", "off"),
    [
        pytest.param(7e8, 7e8 + 7200, timedelta(hours=-3), id="led_for_two_hours"),
        pytest.param(None, 7e8, timedelta(hours=2), id="of_an_older_release"),
        pytest.param(7e8, 9e8, timedelta(hours=2), id="the_lease_is_another"),
    ],
)
async def test_what_is_old_is_not_told_after_an_upgrade(
    made: float | None, now: float, off: timedelta
) -> None:
    cluster = SimulatedCluster()
    record = numbered(Record(), notes(1), {}, common={}, now=NOW, led=made)
    assert await Announcer([EventSink(cluster)]).announce(OBJECT, record, NOW + off, now)
    assert cluster.events == []


async def test_a_lost_record_does_not_lower_what_was_told() -> None:
    announcer = Announcer([List()])
    await announcer.announce(OBJECT, decided(Record(), 3), NOW)
    await announcer.announce(OBJECT, Record(), NOW)
    assert announcer.told("u1", Record()) == {"list": 3}
    assert not announcer.has_news("u1", {})
