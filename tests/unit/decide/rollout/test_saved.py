"""What gates remember, as a successor reads it: exact, bounded, believed in nothing."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decide.rollout.builders import NOW

from trimtab.api.deployment import Origin
from trimtab.decide.rollout.blocks import LENGTHS, Blocks, Strata
from trimtab.decide.rollout.evidence import GateMemory
from trimtab.decide.rollout.habit import Allowed, Habit, Parts
from trimtab.decide.rollout.saved import LIMIT_BYTES, MOST_ORIGINS, Saved, decode, encode, resumed
from trimtab.decide.rollout.snapshot import GuardMemory, LateLabels, Memory, StepMemory
from trimtab.stats.change import LIFTS, DetectorState
from trimtab.stats.counts import BadTotal
from trimtab.stats.spread import BlockSums, block_sums

UID = "6f1c"

numbers = st.one_of(
    st.integers(0, 10**6).map(float), st.floats(0, 1e12, allow_nan=False, allow_subnormal=False)
)
times = st.integers(0, 10**9).map(lambda n: NOW - timedelta(microseconds=n))
maybe_times = st.one_of(st.none(), times)
names = st.text(min_size=1, max_size=12)
counts_of = st.tuples(numbers, numbers).map(lambda pair: BadTotal(min(pair), max(pair)))
counts = st.dictionaries(names, counts_of, max_size=5)
lives = st.dictionaries(names, maybe_times, max_size=5)
lengths = st.sampled_from(LENGTHS)
cells = st.dictionaries(
    counts_of.map(lambda one: (one.bad, one.total)), st.integers(1, 10**6), max_size=5
)
blocks = st.dictionaries(lengths, st.builds(Blocks, maybe_times, counts, cells), max_size=4)


def _strata_of(moments: list[tuple[BadTotal, BadTotal]]) -> Strata:
    found = Strata()
    for candidate, stable in moments:
        found = found.add(candidate, stable)
    return found


# Of counts, so that they are never sums of nothing.
strata = st.lists(st.tuples(counts_of, counts_of), max_size=4).map(_strata_of)
gates = st.builds(
    GateMemory,
    last=st.tuples(counts, counts),
    answered=st.tuples(counts, counts),
    behind=st.frozensets(names, max_size=4),
    strata=strata,
    candidate=blocks,
    stable=blocks,
)
detectors = st.builds(
    DetectorState,
    evidences=st.tuples(*[st.floats(0, 1e300)] * len(LIFTS)),
    looks=st.integers(0, 10**9),
    pending=counts_of,
    pending_seconds=numbers,
    arl=st.one_of(st.just(float("inf")), st.floats(1, 1e9)),
    runs=st.tuples(*[st.tuples(st.floats(0, 700), counts_of)] * len(LIFTS)),
)
gate_names = st.sampled_from(["errors", "slow", "wrong", "überall"])
sums = st.lists(st.tuples(st.integers(0, 50), st.integers(50, 90)), max_size=4).map(
    lambda pods: block_sums([BadTotal(float(bad), float(total)) for bad, total in pods])
)
correlations = st.dictionaries(lengths, st.floats(0, 1), max_size=4)
habits = st.builds(
    Habit,
    most=st.dictionaries(st.integers(0, 500_000), correlations, max_size=24),
    last=counts,
    blocks=blocks,
    ended=st.dictionaries(
        lengths, st.builds(Parts, st.dictionaries(times, sums, max_size=6)), max_size=4
    ),
    since=maybe_times,
    hours=st.dictionaries(st.integers(0, 500_000), counts_of, max_size=24),
    peaks=st.dictionaries(st.integers(0, 500_000), counts_of, max_size=24),
)
origins = st.dictionaries(names, st.dictionaries(names, numbers, max_size=4), max_size=5).map(
    lambda found: tuple(Origin(process=name, values=values) for name, values in found.items())
)
steps = st.builds(
    StepMemory,
    index=st.integers(0, 100),
    started=times,
    gates=st.dictionaries(gate_names, gates, max_size=3),
    first_request=maybe_times,
    alive=lives,
    is_resumed=st.booleans(),
    turned=st.dictionaries(gate_names, gates, max_size=3),
)
spans = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=4).map(tuple)
lates = st.builds(
    LateLabels,
    per_answer=numbers,
    usual=counts_of,
    before_answers=numbers,
    before_labels=counts_of,
    answers=numbers,
    labels=numbers,
    spans=spans,
    width=st.floats(1.0, 240.0),
    seconds=st.floats(0.0, 1.0),
)
guards = st.builds(
    GuardMemory,
    revision=names,
    detectors=st.dictionaries(gate_names, detectors, max_size=3),
    last=st.dictionaries(gate_names, counts, max_size=3),
    restored=maybe_times,
    beside=st.dictionaries(gate_names, gates, max_size=2),
    lately=st.dictionaries(gate_names, st.lists(counts_of, max_size=3).map(tuple), max_size=2),
    minute=maybe_times,
    looked_at=maybe_times,
    since=maybe_times,
    control_since=maybe_times,
    alive=lives,
    is_resumed=st.booleans(),
    allowed=st.dictionaries(gate_names, st.builds(Allowed, correlations), max_size=2),
    late=st.dictionaries(gate_names, lates, max_size=2),
    answered=counts,
)
memories = st.builds(
    Memory,
    step=st.one_of(st.none(), steps),
    guard=st.one_of(st.none(), guards),
    habits=st.dictionaries(gate_names, habits, max_size=3),
    origins=st.dictionaries(names, origins, max_size=2),
)


@given(memories)
def test_what_is_read_is_what_was_written(memory: Memory) -> None:
    found = decode(encode(UID, Saved(NOW, memory)), UID)
    assert found == Saved(NOW, resumed(memory))


def test_a_successor_knows_that_it_is_one_and_learns_no_habit_from_the_gap() -> None:
    habit = Habit(last={"a": BadTotal(1.0, 2.0)}, since=NOW)
    memory = Memory(StepMemory(0, NOW), GuardMemory("r"), {"errors": habit})
    found = decode(encode(UID, Saved(NOW, memory)), UID).memory
    assert found.step == StepMemory(0, NOW, is_resumed=True)
    assert found.guard == GuardMemory("r", is_resumed=True)
    assert found.habits == {"errors": Habit(since=NOW)}


def test_what_was_noted_days_ahead_of_a_clock_that_was_set_back_is_of_now() -> None:
    ahead = NOW + timedelta(days=3)
    blocks = {1: Blocks(ahead, {"a/1": BadTotal(1.0, 9.0)})}
    sums = block_sums([BadTotal(1.0, 9.0), BadTotal(5.0, 90.0)])
    habit = Habit(blocks=blocks, ended={1: Parts({NOW: sums, ahead: sums})}, since=ahead)
    memory = Memory(
        step=StepMemory(1, ahead, {"errors": GateMemory(candidate=blocks)}, ahead),
        guard=GuardMemory("r1", since=ahead, restored=ahead, minute=ahead, looked_at=ahead),
        habits={"errors": habit},
    )
    found = decode(encode(UID, Saved(NOW, memory)), UID).memory
    assert found.step is not None
    assert found.guard is not None
    assert (found.step.started, found.step.first_request) == (NOW, NOW)
    assert found.step.gates["errors"].candidate[1].began == NOW
    assert {found.guard.since, found.guard.restored, found.guard.looked_at} == {NOW}
    assert found.habits["errors"].since == NOW
    assert found.habits["errors"].ended[1].by == {NOW: sums + sums}


def test_one_that_counted_no_answers_is_read() -> None:
    document = written()
    del document["step"]["gates"]["errors"]["answered"]
    step = decode(packed(document), UID).memory.step
    assert step is not None
    assert step.gates["errors"].awaited == 1.0


def test_a_guard_of_which_no_labels_are_known_is_read() -> None:
    document = written()
    del document["guard"]["late"], document["guard"]["answered"]
    guard = decode(packed(document), UID).memory.guard
    assert guard is not None
    assert (guard.late, guard.answered) == ({}, {})


# --- hostile bytes --------------------------------------------------------------------------------


def a_memory() -> Memory:
    many = Blocks(NOW, {"a/1": BadTotal(1.0, 9.0)}, {(1.0, 9.0): 3, (0.0, 8.0): 40})
    gate = GateMemory(
        last=({"a/1": BadTotal(1.0, 90.0)}, {"b/1": BadTotal(0.0, 900.0)}),
        answered=({"a/1": BadTotal(0.0, 95.0)}, {"b/1": BadTotal(0.0, 950.0)}),
        behind=frozenset({"a/1"}),
        strata=_strata_of([(BadTotal(1.0, 90.0), BadTotal(0.0, 900.0))]),
        candidate={1: many},
        stable={12: many},
    )
    ended = {1: Parts({NOW: block_sums([BadTotal(1.0, 9.0), BadTotal(5.0, 90.0)])})}
    habit = Habit(blocks={1: many}, ended=ended, since=NOW, hours={490_000: BadTotal(1.0, 7.0)})
    return Memory(
        step=StepMemory(1, NOW, {"errors": gate}, NOW, {"a/1": NOW, "b/1": None}),
        guard=GuardMemory(
            "r1",
            {"errors": DetectorState()},
            {"errors": {"a/1": BadTotal(1.0, 2.0)}},
            beside={"errors": gate},
            lately={"errors": (BadTotal(1.0, 2.0),)},
            late={"errors": LateLabels(0.5, spans=((9.0, 4.0, 1.0),), width=15.0, seconds=15.0)},
        ),
        habits={"errors": habit},
        origins={"step 1": (Origin(process="a/1", values={"requests": 7.0}),)},
    )


def written() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(encode(UID, Saved(NOW, a_memory()))))
    return document


def packed(document: Any) -> bytes:
    return gzip.compress(json.dumps(document).encode())


def put(*path: Any, value: Any) -> Callable[[], bytes]:
    def change() -> bytes:
        document = written()
        at: Any = document
        for part in path[:-1]:
            at = at[part]
        assert isinstance(at, list) or path[-1] in at
        at[path[-1]] = value
        return packed(document)

    return change


GATE = ("step", "gates", "errors")
LATER = 4 * 10**15
BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no_gzip": lambda: b"{}",
    "cut_off": lambda: packed(written())[:-9],
    "a_bomb": lambda: gzip.compress(bytes(LIMIT_BYTES + 1)),
    "a_bomb_of_lists": lambda: gzip.compress(b"[" + b"[]," * 3_000_000 + b"[]]"),
    "nested_too_deep": lambda: gzip.compress(b"[" * 100_000),
    "a_list": lambda: packed([]),
    "null": lambda: packed(None),
    "another_version": put("version", value=2),
    "of_another_deployment": put("uid", value="other"),
    "of_no_time": put("at", value=None),
    "after_all_time": put("at", value=10**40),
    "a_time_by_half": put("at", value=1.5),
    "a_name_twice": put("names", value=["a/1", "a/1", "b/1"]),
    "a_name_of_a_megabyte": put("names", 0, value="x" * 2**20),
    "names_that_are_a_text": put("names", value="abc"),
    "a_step_below_none": put("step", "index", value=-1),
    "a_step_that_is_true": put("step", "index", value=True),
    "a_step_of_tomorrow": put("step", "started", value=LATER),
    "gates_that_are_a_list": put("step", "gates", value=[1]),
    "too_many_gates": put("step", "gates", value={str(n): {} for n in range(99)}),
    "a_process_that_is_not_there": put(*GATE, "last", 0, 0, value=99),
    "a_process_before_the_first": put(*GATE, "last", 0, 0, value=-1),
    "a_count_below_none": put(*GATE, "last", 0, 1, value=-1),
    "a_count_that_is_a_text": put(*GATE, "last", 0, 1, value="7"),
    "a_count_that_is_true": put(*GATE, "last", 0, 1, value=True),
    "more_bad_than_all": put(*GATE, "last", 0, 1, value=91),
    "a_count_of_400_digits": put(*GATE, "last", 0, 2, value=10**400),
    "a_count_too_few": put(*GATE, "last", 0, value=[0, 1]),
    "one_process_twice": put(*GATE, "last", 0, value=[0, 1, 2, 0, 1, 2]),
    "one_side_only": put(*GATE, "last", value=[[]]),
    "nan": put(*GATE, "strata", 0, value=float("nan")),
    "infinite": put(*GATE, "strata", 0, value=float("inf")),
    "strata_that_divide_by_nothing": put(*GATE, "strata", value=[1e90, 0, 1, 1e-200, 0, 0, 0, 0]),
    "strata_too_few": put(*GATE, "strata", value=[1, 1, 1]),
    "a_length_that_is_none": put(*GATE, "candidate", value={"7": {}}),
    "a_block_of_tomorrow": put(*GATE, "candidate", "1", "began", value=LATER),
    "too_many_cells": put(
        *GATE, "candidate", "1", "closed", value=[v for n in range(5000) for v in (0, n, 1)]
    ),
    "a_cell_twice": put(*GATE, "candidate", "1", "closed", value=[0, 1, 1, 0, 1, 1]),
    "a_cell_by_half": put(*GATE, "candidate", "1", "closed", value=[0, 1, 0.5]),
    "too_many_pods_in_a_block": put(*GATE, "candidate", "1", "open", value=[0, 1, 2] * 70),
    "a_guard_that_is_a_text": put("guard", value="x"),
    "a_detector_of_less_lifts": put("guard", "detectors", "errors", "evidences", value=["1"]),
    "evidence_without_end": put("guard", "detectors", "errors", "evidences", value=["inf"] * 5),
    "evidence_that_is_nan": put("guard", "detectors", "errors", "evidences", value=["nan"] * 5),
    "evidence_below_none": put("guard", "detectors", "errors", "evidences", value=["-1"] * 5),
    "a_run_length_of_nothing": put("guard", "detectors", "errors", "arl", value=0),
    "looks_by_half": put("guard", "detectors", "errors", "looks", value=0.5),
    "a_run_of_nothing": put("guard", "detectors", "errors", "runs", value=[[]] * 5),
    "minutes_without_end": put("guard", "lately", "errors", value=[1, 2] * 9),
    "spans_without_end": put("guard", "late", "errors", "spans", value=[1, 1, 1] * 481),
    "spans_of_no_time": put("guard", "late", "errors", "width", value=0),
    "less_spans_than_time": put("guard", "late", "errors", "seconds", value=99),
    "more_wrong_than_labels": put("guard", "late", "errors", "before", value=[1, 2, 1]),
    "sums_too_few": put("habits", "errors", "ended", "1", value=[[1, 2]]),
    "parts_without_end": put("habits", "errors", "ended", "1", value=[[]] * 99),
    "hours_without_end": put("habits", "errors", "hours", value=[[n, 0, 1] for n in range(99)]),
    "a_measure_that_is_not_there": put("origins", "step 1", "rows", value=[[0, 7, 1]]),
    "two_origins_of_one": put("origins", "step 1", "rows", value=[[0, 0, 1], [0, 0, 2]]),
    "an_origin_of_nobody": put("origins", "step 1", "rows", value=[[]]),
    "origins_without_end": put("origins", "step 1", "rows", value=[[0]] * (MOST_ORIGINS + 1)),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_whatever_is_wrong_is_a_value_error(broken: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="not the gate evidence of 6f1c"):
        decode(broken(), UID)


@given(st.binary(max_size=200))
def test_noise_is_a_value_error(raw: bytes) -> None:
    for one in (raw, gzip.compress(raw)):
        with pytest.raises(ValueError, match="not the gate evidence"):
            decode(one, UID)


leaves = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.integers(), st.floats(), st.just([])
)


@given(st.data())
def test_a_document_with_one_part_changed_is_wrong_or_a_memory(data: st.DataObject) -> None:
    document = copy.deepcopy(written())
    at: Any = document
    while True:
        places = list(at) if isinstance(at, dict) else list(range(len(at)))
        place = data.draw(st.sampled_from(places))
        if not isinstance(at[place], dict | list) or not at[place] or data.draw(st.booleans()):
            at[place] = data.draw(leaves)
            break
        at = at[place]
    try:
        found = decode(packed(document), UID)
    except ValueError:
        return
    encode(UID, found)  # what is believed can be saved again


# --- bounds ---------------------------------------------------------------------------------------


def test_more_than_is_read_is_not_written() -> None:
    many = tuple(Origin(process=f"{n}/1") for n in range(MOST_ORIGINS + 1))
    with pytest.raises(ValueError, match="more than 2000 parts"):
        encode(UID, Saved(NOW, Memory(origins={"step": many})))


def test_a_process_that_lies_about_its_birth_does_not_hold_up_the_others() -> None:
    lives: dict[str, datetime | None] = {"a/1": datetime.min.replace(tzinfo=NOW.tzinfo), "b": NOW}
    memory = Memory(step=StepMemory(0, NOW, alive=lives))
    step = decode(encode(UID, Saved(NOW, memory)), UID).memory.step
    assert step is not None
    assert step.alive == {"b": NOW}


def test_a_clock_that_was_set_back_loses_nothing() -> None:
    memory = Memory(step=StepMemory(0, NOW + timedelta(minutes=10)))
    assert decode(encode(UID, Saved(NOW, memory)), UID).memory == resumed(memory)


def test_block_sums_have_the_fields_that_are_written() -> None:
    assert len(BlockSums.__dataclass_fields__) == 12
