"""What gates, guard and habits remember, as a successor of the operator reads it: JSON in gzip.

    {"version": 1, "uid": ..., "at": ..., "names": [...],
     "step": {"index", "started", "firstRequest", "alive", "gates": {gate: {...}},
              "turned": {gate: {...}}} or null,
     "guard": {"revision", "since", "controlSince", "detectors", "last", "late", ...} or null,
     "habits": {gate: {"since", "blocks", "ended", "hours", "peaks", "most"}},
     "origins": {step or guard: {"measures": [...], "rows": [[name, [values]]]}}}

Times are whole microseconds since 1970. Counts by process are one flat list of (place in `names`,
bad, total), cells one of (bad, total, how often): lists of lists take ten times the memory.

What is read is believed in nothing: types, numbers, times and sizes are checked, and a document is
counted before it is parsed. What two looks of one habit differ by is not saved: what came between
two operators is of no single block.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from trimtab.api.deployment import Origin
from trimtab.contract.json_bounds import LARGEST_NUMBER, JsonBounds, read_json
from trimtab.decide.rollout.blocks import LENGTHS, MOST_CELLS, MOST_PODS, Blocks, Counts, Strata
from trimtab.decide.rollout.control import LATELY_MINUTES
from trimtab.decide.rollout.evidence import GateMemory, Lives
from trimtab.decide.rollout.habit import (
    EPOCH,
    HOURS_OF_DAY,
    LEARNT_FROM,
    LEARNT_IN_PARTS,
    Allowed,
    Habit,
    Parts,
)
from trimtab.decide.rollout.late_labels import MOST_SPANS, SHORTEST_SPAN
from trimtab.decide.rollout.snapshot import GuardMemory, LateLabels, Memory, StepMemory
from trimtab.stats.change import LIFTS, DetectorState
from trimtab.stats.counts import BadTotal
from trimtab.stats.spread import BlockSums

VERSION = 1
LIMIT_BYTES = 32 * 1024 * 1024
"""Unpacked."""
BOUNDS = JsonBounds(containers=200_000, values=2_000_000, texts=100_000)
MOST_NAMES = 20_000
MOST_GATES = 16
MOST_OF_ORIGINS = 4
MOST_ORIGINS = 2_000
MOST_MEASURES = 128
MOST_PARTS = LEARNT_FROM // LEARNT_IN_PARTS + 2
LONGEST_TEXT = 256
LATEST = 10**17
"""Microseconds; in the year 5138."""
SET_BACK = timedelta(days=1)
"""What was noted before the clock was set back lies ahead of it."""
_MICROSECOND = timedelta(microseconds=1)
_SUMS = len(fields(BlockSums))
_WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, zlib.error)

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds. at: of the last look that is in it."""

    at: datetime
    memory: Memory


def encode(uid: str, saved: Saved) -> bytes:
    """Return the saved form of the Deployment `uid`; not for the event loop.

    ValueError for more than `decode` would read.
    """
    writing, memory = _Writing(saved.at), saved.memory
    document = {
        "version": VERSION,
        "uid": uid,
        "at": _microseconds(saved.at),
        "step": None if memory.step is None else writing.step(memory.step),
        "guard": None if memory.guard is None else writing.guard(memory.guard),
        "habits": {gate: writing.habit(habit) for gate, habit in memory.habits.items()},
        "origins": {key: writing.origins(rows) for key, rows in memory.origins.items()},
        "names": list(writing.places),
    }
    raw = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    BOUNDS.check(raw)
    if len(raw) > LIMIT_BYTES:
        raise ValueError(f"it has {len(raw):,} bytes")
    # Above the bounds of one part it would be left aside at the next start: say so now.
    _Reading(document, saved.at).memory(document)
    return gzip.compress(raw, 5, mtime=0)


def decode(raw: bytes, uid: str) -> Saved:
    """Return what `encode` was given, as `resumed` makes it; not for the event loop.

    ValueError if it is broken, of another Deployment, or of a newer form.
    """
    try:
        unpacking = zlib.decompressobj(wbits=31)
        unpacked = unpacking.decompress(raw, LIMIT_BYTES)
        if not unpacking.eof:
            raise ValueError(f"it is cut off, or larger than {LIMIT_BYTES:,} bytes")
        document = read_json(unpacked, BOUNDS)
        version = document["version"]
        if version != VERSION:
            raise ValueError(f"its form is {version!r:.40}, this operator reads {VERSION}")
        if document["uid"] != uid:
            raise ValueError(f"it is of {document['uid']!r:.80}")
        at = _time(document["at"], LATEST)
        return Saved(at, _Reading(document, at).memory(document))
    except _WRONG as error:
        raise ValueError(f"not the gate evidence of {uid}: {error!r:.300}") from error


def resumed(memory: Memory) -> Memory:
    """Return the memory as a successor goes on from it."""
    step, guard = memory.step, memory.guard
    return Memory(
        step=None if step is None else replace(step, is_resumed=True),
        guard=None if guard is None else replace(guard, is_resumed=True),
        habits={gate: replace(habit, last={}) for gate, habit in memory.habits.items()},
        origins=memory.origins,
    )


# --- writing -------------------------------------------------------------------------------------


class _Writing:
    """One document; what lies further ahead of `at` than is read is of then."""

    def __init__(self, at: datetime) -> None:
        self.places: dict[str, int] = {}
        self._at = at

    def step(self, step: StepMemory) -> dict[str, Any]:
        return {
            "index": step.index,
            "started": self._time(step.started),
            "firstRequest": self._maybe(step.first_request),
            "alive": self._lives(step.alive),
            "gates": {name: self._gate(gate) for name, gate in step.gates.items()},
            "turned": {name: self._gate(gate) for name, gate in step.turned.items()},
        }

    def guard(self, guard: GuardMemory) -> dict[str, Any]:
        return {
            "revision": guard.revision,
            "since": self._maybe(guard.since),
            "controlSince": self._maybe(guard.control_since),
            "restored": self._maybe(guard.restored),
            "minute": self._maybe(guard.minute),
            "lookedAt": self._maybe(guard.looked_at),
            "alive": self._lives(guard.alive),
            "detectors": {name: _of_detector(one) for name, one in guard.detectors.items()},
            "last": {name: self._counts(counts) for name, counts in guard.last.items()},
            "beside": {name: self._gate(gate) for name, gate in guard.beside.items()},
            "turned": {name: self._gate(gate) for name, gate in guard.turned.items()},
            "lately": {name: _flat(minutes) for name, minutes in guard.lately.items()},
            "allowed": {name: _by_name(one.correlations) for name, one in guard.allowed.items()},
            "late": {name: _of_late(one) for name, one in guard.late.items()},
            "answered": self._counts(guard.answered),
        }

    def habit(self, habit: Habit) -> dict[str, Any]:
        return {
            "since": self._maybe(habit.since),
            "blocks": self._blocks(habit.blocks),
            "ended": {
                str(length): [
                    [_microseconds(at), *map(_short, astuple(sums))]
                    for at, sums in parts.until(self._at).by.items()
                ]
                for length, parts in habit.ended.items()
            },
            "hours": _by_hour(habit.hours),
            "peaks": _by_hour(habit.peaks),
            "most": [[hour, _by_name(most)] for hour, most in habit.most.items()],
        }

    def origins(self, origins: Iterable[Origin]) -> dict[str, Any]:
        measures: dict[str, int] = {}
        rows = []
        for origin in origins:
            row: list[float] = [self._place(origin.process)]
            for name, value in origin.values.items():
                row += (measures.setdefault(name, len(measures)), _short(value))
            rows.append(row)
        return {"measures": list(measures), "rows": rows}

    def _gate(self, gate: GateMemory) -> dict[str, Any]:
        strata = gate.strata
        return {
            "last": [self._counts(counts) for counts in gate.last],
            "answered": [self._counts(counts) for counts in gate.answered],
            "behind": [self._place(process) for process in sorted(gate.behind)],
            "usual": [_short(gate.usual.bad), _short(gate.usual.total)],
            "strata": [
                *map(_short, (strata.requests, strata.bad, strata.weighted, strata.squares)),
                *_flat(strata.open),
            ],
            "candidate": self._blocks(gate.candidate),
            "stable": self._blocks(gate.stable),
        }

    def _blocks(self, blocks: Mapping[int, Blocks]) -> dict[str, Any]:
        return {
            str(length): {
                "began": self._maybe(one.began),
                "open": self._counts(one.open),
                "closed": [
                    value
                    for (bad, total), times in one.closed.items()
                    for value in (_short(bad), _short(total), times)
                ],
            }
            for length, one in blocks.items()
        }

    def _counts(self, counts: Counts) -> list[float]:
        return [
            value
            for process, count in counts.items()
            for value in (self._place(process), _short(count.bad), _short(count.total))
        ]

    def _lives(self, lives: Lives) -> list[int | None]:
        return [
            value
            for process, born in lives.items()
            if born is None or 0 <= _microseconds(born) <= LATEST  # what it says, who knows
            for value in (self._place(process), _maybe(born))
        ]

    def _maybe(self, moment: datetime | None) -> int | None:
        return None if moment is None else self._time(moment)

    def _time(self, moment: datetime) -> int:
        return _microseconds(moment if moment <= self._at + SET_BACK else self._at)

    def _place(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))


def _by_hour(hours: Mapping[int, BadTotal]) -> list[list[float]]:
    return [[hour, _short(one.bad), _short(one.total)] for hour, one in hours.items()]


def _by_name(correlations: Mapping[int, float]) -> dict[str, float]:
    return {str(length): value for length, value in correlations.items()}


def _flat(counts: Iterable[BadTotal]) -> list[float]:
    return [value for count in counts for value in (_short(count.bad), _short(count.total))]


def _short(value: float) -> float:
    """Return a whole number as one, which is the same number in fewer characters."""
    return int(value) if math.isfinite(value) and value == int(value) else float(value)


def _maybe(moment: datetime | None) -> int | None:
    return None if moment is None else _microseconds(moment)


def _microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // _MICROSECOND


def _of_detector(state: DetectorState) -> dict[str, Any]:
    """Evidence is written as text: it may be a larger number than documents hold otherwise."""
    return state.to_dict() | {"evidences": [repr(float(value)) for value in state.evidences]}


def _of_late(late: LateLabels) -> dict[str, Any]:
    return {
        "perAnswer": late.per_answer,
        "usual": _flat([late.usual]),
        "before": [_short(late.before_answers), *_flat([late.before_labels])],
        "since": [_short(late.answers), _short(late.labels)],
        "spans": [_short(value) for span in late.spans for value in span],
        "width": late.width,
        "seconds": late.seconds,
    }


# --- reading -------------------------------------------------------------------------------------


class _Reading:
    """One document; nothing in it happened after `at`, but for a clock that was set back."""

    def __init__(self, document: Mapping[str, Any], at: datetime) -> None:
        self._latest = _microseconds(at + SET_BACK)
        self._names = [_text(name) for name in _list(document["names"], MOST_NAMES)]
        if len(set(self._names)) != len(self._names):
            raise ValueError("a name is there twice")

    def memory(self, document: Mapping[str, Any]) -> Memory:
        step, guard = document["step"], document["guard"]
        return Memory(
            step=None if step is None else self._step(step),
            guard=None if guard is None else self._guard(guard),
            habits=_by_gate(document["habits"], self._habit),
            origins={
                _text(key): self._origins(saved)
                for key, saved in _items(document["origins"], MOST_OF_ORIGINS)
            },
        )

    def _step(self, saved: Mapping[str, Any]) -> StepMemory:
        return StepMemory(
            index=_whole(saved["index"], 1_000),
            started=self._time(saved["started"]),
            gates=_by_gate(saved["gates"], self._gate),
            turned=_by_gate(saved.get("turned", {}), self._gate),
            first_request=self._maybe(saved["firstRequest"]),
            alive=self._lives(saved["alive"]),
            is_resumed=True,
        )

    def _guard(self, saved: Mapping[str, Any]) -> GuardMemory:
        return GuardMemory(
            revision=_text(saved["revision"]),
            detectors=_by_gate(saved["detectors"], _detector),
            last=_by_gate(saved["last"], self._counts),
            restored=self._maybe(saved["restored"]),
            beside=_by_gate(saved["beside"], self._gate),
            turned=_by_gate(saved.get("turned", {}), self._gate),
            lately=_by_gate(saved["lately"], _minutes),
            minute=self._maybe(saved["minute"]),
            looked_at=self._maybe(saved["lookedAt"]),
            since=self._maybe(saved["since"]),
            control_since=self._maybe(saved["controlSince"]),
            alive=self._lives(saved["alive"]),
            is_resumed=True,
            allowed={
                name: Allowed(one)
                for name, one in _by_gate(saved.get("allowed", {}), _correlations).items()
            },
            late=_by_gate(saved.get("late", {}), _late),
            answered=self._counts(saved.get("answered", [])),
        )

    def _habit(self, saved: Mapping[str, Any]) -> Habit:
        return Habit(
            blocks=self._blocks(saved["blocks"]),
            ended={
                length: Parts({self._time(row[0]): _sums(row) for row in _list(parts, MOST_PARTS)})
                for length, parts in _by_length(saved["ended"])
            },
            since=self._maybe(saved["since"]),
            hours=_hours(saved["hours"]),
            peaks=_hours(saved.get("peaks", [])),
            most={
                _whole(hour, LATEST): _correlations(most)
                for hour, most in _list(saved.get("most", []), HOURS_OF_DAY)
            },
        )

    def _origins(self, saved: Mapping[str, Any]) -> tuple[Origin, ...]:
        measures = [_text(name) for name in _list(saved["measures"], MOST_MEASURES)]
        found = []
        for row in _list(saved["rows"], MOST_ORIGINS):
            values = {
                measures[_whole(place, len(measures) - 1)]: _value(value)
                for place, value in _groups(row[1:], 2, MOST_MEASURES)
            }
            found.append(Origin(process=self._name(row[0]), values=values))
        if len({origin.process for origin in found}) != len(found):
            raise ValueError("a process has two origins")
        return tuple(found)

    def _gate(self, saved: Mapping[str, Any]) -> GateMemory:
        ours, theirs = saved["last"]
        our_answers, their_answers = saved.get("answered", ([], []))
        *sums, bad, total, other_bad, other_total = saved["strata"]
        requests, wrong, weighted, squares = map(_value, sums)
        if wrong > requests:
            raise ValueError("more bad requests than requests")
        opened = _count(bad, total), _count(other_bad, other_total)
        strata = Strata(requests, wrong, weighted, squares, opened)
        strata.compared()  # raises what a pass would
        return GateMemory(
            last=(self._counts(ours), self._counts(theirs)),
            answered=(self._counts(our_answers), self._counts(their_answers)),
            behind=frozenset(map(self._name, _list(saved["behind"], MOST_NAMES))),
            usual=_count(*saved["usual"]),
            strata=strata,
            candidate=self._blocks(saved["candidate"]),
            stable=self._blocks(saved["stable"]),
        )

    def _blocks(self, saved: Any) -> dict[int, Blocks]:
        return {
            length: Blocks(
                began=self._maybe(one["began"]),
                open=self._counts(one["open"], MOST_PODS),
                closed=_cells(one["closed"]),
            )
            for length, one in _by_length(saved)
        }

    def _counts(self, saved: Any, most: int = MOST_NAMES) -> dict[str, BadTotal]:
        return _unique(
            (self._name(place), _count(bad, total)) for place, bad, total in _groups(saved, 3, most)
        )

    def _lives(self, saved: Any) -> dict[str, datetime | None]:
        return _unique(
            (self._name(place), self._maybe_of_process(born))
            for place, born in _groups(saved, 2, MOST_NAMES)
        )

    def _name(self, place: Any) -> str:
        return self._names[_whole(place, len(self._names) - 1)]

    def _time(self, value: Any) -> datetime:
        return _time(value, self._latest)

    def _maybe(self, value: Any) -> datetime | None:
        return None if value is None else self._time(value)

    def _maybe_of_process(self, value: Any) -> datetime | None:
        """A process tells the time by another clock."""
        return None if value is None else _time(value, LATEST)


def _detector(saved: Mapping[str, Any]) -> DetectorState:
    numbers = [saved["looks"], saved["pendingSeconds"], *saved["runs"]]
    if len(numbers) != 2 + len(LIFTS) or len(saved["evidences"]) != len(LIFTS):
        raise ValueError("a detector of other lifts")
    if saved["arl"] is not None and not _value(saved["arl"]) >= 1:
        raise ValueError("a run length below one look")
    for log, bad, total in saved["runs"]:
        _value(log)
        _count(bad, total)
    _count(saved["pendingBad"], saved["pendingTotal"])
    evidences = [float(_text(value)) for value in saved["evidences"]]
    if not all(0 <= value < math.inf for value in evidences):
        raise ValueError("evidence that is none")
    known = {**saved, "evidences": evidences, "looks": _whole(saved["looks"], LATEST)}
    known["pendingSeconds"] = _value(saved["pendingSeconds"])
    return DetectorState.from_dict(known)


def _late(saved: Mapping[str, Any]) -> LateLabels:
    width, seconds = _value(saved["width"]), _value(saved["seconds"])
    spans = [
        (_value(answers), _value(labels), _value(wrong))
        for answers, labels, wrong in _groups(saved["spans"], 3, MOST_SPANS)
    ]
    if width < SHORTEST_SPAN or seconds > len(spans) * width * (1 + 1e-9):
        raise ValueError("spans that do not last as long as they say")
    before, wrong, labels = saved["before"]
    since_answers, since_labels = map(_value, saved["since"])
    return LateLabels(
        _value(saved["perAnswer"]),
        _count(*saved["usual"]),
        _value(before),
        _count(wrong, labels),
        since_answers,
        since_labels,
        tuple(spans),
        width,
        seconds,
    )


def _correlations(saved: Any) -> dict[int, float]:
    found = {length: _value(value) for length, value in _by_length(saved)}
    if max(found.values(), default=0.0) > 1:
        raise ValueError("a correlation above one")
    return found


def _minutes(saved: Any) -> tuple[BadTotal, ...]:
    return tuple(_count(bad, total) for bad, total in _groups(saved, 2, LATELY_MINUTES))


def _cells(saved: Any) -> dict[tuple[float, float], int]:
    cells = []
    for bad, total, times in _groups(saved, 3, MOST_CELLS):
        count = _count(bad, total)
        cells.append(((count.bad, count.total), _whole(times, LATEST)))
    return _unique(cells)


def _sums(row: Any) -> BlockSums:
    if len(row) != 1 + _SUMS:
        raise ValueError("sums of a block of another form")
    chi, freedom, around, expected, bad, total, pods, blocks, *squares = row[1:]
    _count(bad, total)
    return BlockSums(
        _value(chi),
        _whole(freedom, LATEST),
        _value(around),
        _value(expected),
        _value(bad),
        _value(total),
        _whole(pods, LATEST),
        _whole(blocks, LATEST),
        *map(_value, squares),
    )


def _by_gate(saved: Any, read: Callable[[Any], _Value]) -> dict[str, _Value]:
    return {_text(gate): read(one) for gate, one in _items(saved, MOST_GATES)}


def _by_length(saved: Any) -> Iterator[tuple[int, Any]]:
    lengths = {str(length): length for length in LENGTHS}
    for name, one in _items(saved, len(LENGTHS)):
        yield lengths[name], one


def _items(saved: Any, most: int) -> Iterable[tuple[str, Any]]:
    if not isinstance(saved, dict) or len(saved) > most:
        raise ValueError(f"{saved!r:.40} is no object, or has more than {most} parts")
    return saved.items()


def _list(saved: Any, most: int) -> list[Any]:
    if not isinstance(saved, list) or len(saved) > most:
        raise ValueError(f"{saved!r:.40} is no list, or has more than {most} parts")
    return saved


def _groups(saved: Any, size: int, most: int) -> Iterator[tuple[Any, ...]]:
    """Yield the parts of a flat list, `size` together."""
    values = iter(_list(saved, size * most))
    return zip(*[values] * size, strict=True)


def _unique(pairs: Iterable[tuple[Any, _Value]]) -> dict[Any, _Value]:
    listed = list(pairs)
    found = dict(listed)
    if len(found) != len(listed):
        raise ValueError("one of them is there twice")
    return found


def _hours(saved: Any) -> dict[int, BadTotal]:
    return {
        _whole(hour, LATEST): _count(bad, total) for hour, bad, total in _list(saved, HOURS_OF_DAY)
    }


def _count(bad: Any, total: Any) -> BadTotal:
    return BadTotal(_value(bad), _value(total))


def _value(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"{value!r:.40} is no count")
    return float(value)


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r:.40} is no whole number up to {most}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"{value!r:.40} is no text, or too long")
    return value


def _time(value: Any, latest: int) -> datetime:
    return EPOCH + timedelta(microseconds=_whole(value, latest))
