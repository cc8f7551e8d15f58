"""The checkpoint of one Deployment: its windows, labels by hour, and the last reading of each of
its processes.

They belong together: an increment is either counted and its reading in the checkpoint, or in
neither, so that a restart counts nothing twice. The form is JSON in gzip:

    {"version": 1, "key": ..., "watchedSince": ..., "seconds": ...,
     "series": [[name, [[label, value], ...]], ...],
     "windows": [{"baseline": ..., "start": ..., "counts": [[series, value], ...]}],
     "hours": {"kept": ..., "booked": [{"digest": ..., "hour": ..., "counts": [...]}]} or null,
     "processes": [{"process": ..., "pod": ..., "revision": ..., "processStart": ...,
                    "sampledAt": ..., "goneAt": ..., "values": [...], "carried": [...]}]}

`series` in counts, values and carried is a place in the table, since most of them repeat.

What is read is believed in nothing: types, numbers and times are checked before anything is made
of them, and the document is counted before it is parsed.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.contract.json_bounds import JsonBounds, read_json
from trimtab.contract.metrics import Series, SeriesKey

VERSION = 1
LIMIT_BYTES = 64 * 1024 * 1024
"""Unpacked; far above what the bounds of windows and processes allow in practice."""
BOUNDS = JsonBounds(containers=1_000_000, values=3_000_000, texts=1_000_000)
LATEST = 1e11
"""Unix seconds, in the year 5138: what is later is no time."""
LONGEST_TEXT = 4_096


@dataclass(frozen=True)
class SavedProcess:
    """Of one process what is needed to go on counting. Times are Unix seconds.

    values: its last believed sample; carried: what its lives before a reset had counted. gone_at:
    since when it is no target, None while it is one.
    """

    process: str
    pod: str
    revision: str
    process_start: float | None
    sampled_at: float
    gone_at: float | None
    values: Series
    carried: Series


@dataclass(frozen=True)
class SavedWindows:
    """Windows of `seconds` by (baseline digest, start in Unix seconds)."""

    seconds: float
    windows: Mapping[tuple[str, float], Series]


@dataclass(frozen=True)
class SavedHours:
    """Labels and predicted rows by (digest of the version, Unix hour)."""

    hours_kept: int
    booked: Mapping[tuple[str, int], Series]


@dataclass(frozen=True)
class Checkpoint:
    """One Deployment. watched_since: Unix seconds from which on new processes count from zero.

    changes: a number that differs if something was counted in between; not saved.
    """

    key: str
    watched_since: float
    windows: SavedWindows
    processes: tuple[SavedProcess, ...] = ()
    changes: int = field(default=0, compare=False)
    hours: SavedHours | None = None


class _Table:
    def __init__(self) -> None:
        self.places: dict[SeriesKey, int] = {}

    def pairs(self, series: Series) -> list[list[float]]:
        places = self.places
        return [[places.setdefault(key, len(places)), value] for key, value in series.items()]

    def rows(self) -> list[list[Any]]:
        return [[name, sorted(map(list, labels))] for name, labels in self.places]


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the saved form; not for the event loop, since it may be megabytes.

    ValueError for more than `decode` would read.
    """
    table = _Table()
    windows = [
        {"baseline": baseline, "start": start, "counts": table.pairs(counts)}
        for (baseline, start), counts in checkpoint.windows.windows.items()
    ]
    processes = [
        {
            "process": saved.process,
            "pod": saved.pod,
            "revision": saved.revision,
            "processStart": saved.process_start,
            "sampledAt": saved.sampled_at,
            "goneAt": saved.gone_at,
            "values": table.pairs(saved.values),
            "carried": table.pairs(saved.carried),
        }
        for saved in checkpoint.processes
    ]
    hours = checkpoint.hours
    ledger = None
    if hours is not None:
        ledger = {
            "kept": hours.hours_kept,
            "booked": [
                {"digest": digest, "hour": hour, "counts": table.pairs(counts)}
                for (digest, hour), counts in hours.booked.items()
            ],
        }
    document = {
        "version": VERSION,
        "key": checkpoint.key,
        "watchedSince": checkpoint.watched_since,
        "seconds": checkpoint.windows.seconds,
        "series": table.rows(),
        "windows": windows,
        "hours": ledger,
        "processes": processes,
    }
    raw = json.dumps(document, allow_nan=False).encode()
    BOUNDS.check(raw)
    if len(raw) > LIMIT_BYTES:
        raise ValueError(f"it has {len(raw):,} bytes")
    return gzip.compress(raw, 5, mtime=0)


_WRONG = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, zlib.error)


def decode(raw: bytes, key: str) -> Checkpoint:
    """Return the checkpoint of `key`; ValueError if it is broken, another's, or of a newer form."""
    try:
        document = read_json(_unpacked(raw), BOUNDS)
        version = document["version"]
        if version != VERSION:
            raise ValueError(f"its form is {version!r:.40}, this operator reads {VERSION}")
        if document["key"] != key:
            raise ValueError(f"it is of {document['key']!r:.200}")
        return _parsed(document)
    except _WRONG as error:
        raise ValueError(f"not a checkpoint of {key}: {error!r:.300}") from error


def _unpacked(raw: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    unpacked = unpacking.decompress(raw, LIMIT_BYTES)
    if not unpacking.eof:
        raise ValueError(f"it is cut off, or larger than {LIMIT_BYTES:,} bytes")
    return unpacked


def _parsed(document: dict[str, Any]) -> Checkpoint:
    table = [
        (_text(name), frozenset((_text(label), _text(value)) for label, value in labels))
        for name, labels in document["series"]
    ]
    seconds = _number(document["seconds"])
    if not 1 <= seconds <= LATEST:
        raise ValueError(f"a window of {seconds} s")
    windows = {
        (_text(window["baseline"]), _time(window["start"])): _series(table, window["counts"])
        for window in document["windows"]
    }
    return Checkpoint(
        key=_text(document["key"]),
        watched_since=_time(document["watchedSince"]),
        windows=SavedWindows(seconds, windows),
        processes=tuple(_process(table, saved) for saved in document["processes"]),
        hours=_hours(table, document.get("hours")),
    )


def _hours(table: list[SeriesKey], saved: dict[str, Any] | None) -> SavedHours | None:
    if saved is None:
        return None
    booked = {
        (_text(one["digest"]), _hour(one["hour"])): _series(table, one["counts"])
        for one in saved["booked"]
    }
    return SavedHours(_hour(saved["kept"]), booked)


def _process(table: list[SeriesKey], saved: dict[str, Any]) -> SavedProcess:
    start, gone_at = saved["processStart"], saved["goneAt"]
    return SavedProcess(
        process=_text(saved["process"]),
        pod=_text(saved["pod"]),
        revision=_text(saved["revision"]),
        process_start=None if start is None else _time(start),
        sampled_at=_time(saved["sampledAt"]),
        gone_at=None if gone_at is None else _time(gone_at),
        values=_series(table, saved["values"]),
        carried=_series(table, saved["carried"]),
    )


def _series(table: list[SeriesKey], pairs: list[list[float]]) -> dict[SeriesKey, float]:
    return {table[_place(place, table)]: _number(value) for place, value in pairs}


def _place(place: Any, table: list[SeriesKey]) -> int:
    if type(place) is not int or not 0 <= place < len(table):
        raise ValueError(f"there is no series {place!r:.40}")
    return place


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"{value!r:.40} is no text, or too long")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{value!r:.40} is no number")
    return float(value)


def _time(value: Any) -> float:
    seconds = _number(value)
    if not 0 <= seconds <= LATEST:
        raise ValueError(f"{seconds} is no time")
    return seconds


def _hour(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LATEST / 3600:
        raise ValueError(f"{value!r:.40} is no number of hours")
    return value
