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
"""

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab.contract.metrics import Series, SeriesKey

VERSION = 1
LIMIT_BYTES = 64 * 1024 * 1024
"""Unpacked; far above what the bounds of windows and processes allow in practice."""


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
    """Return the saved form; not for the event loop, since it may be megabytes."""
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
    return gzip.compress(json.dumps(document, allow_nan=False).encode(), 5, mtime=0)


def decode(raw: bytes, key: str) -> Checkpoint:
    """Return the checkpoint of `key`; ValueError if it is broken, another's, or of a newer form."""
    try:
        document = json.loads(_unpacked(raw))
        version = document["version"]
        if version != VERSION:
            raise ValueError(f"its form is {version!r}, this operator reads {VERSION}")
        if document["key"] != key:
            raise ValueError(f"it is of {document['key']!r}")
        return _parsed(document)
    except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a checkpoint of {key}: {error}") from error


def _unpacked(raw: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    unpacked = unpacking.decompress(raw, LIMIT_BYTES)
    if not unpacking.eof:
        raise ValueError(f"it is cut off, or larger than {LIMIT_BYTES:,} bytes")
    return unpacked


def _parsed(document: dict[str, Any]) -> Checkpoint:
    table = [
        (str(name), frozenset((str(label), str(value)) for label, value in labels))
        for name, labels in document["series"]
    ]
    seconds = _number(document["seconds"])
    if not seconds > 0:
        raise ValueError(f"a window must be longer than {seconds} s")
    windows = {
        (str(window["baseline"]), _number(window["start"])): _series(table, window["counts"])
        for window in document["windows"]
    }
    return Checkpoint(
        key=str(document["key"]),
        watched_since=_number(document["watchedSince"]),
        windows=SavedWindows(seconds, windows),
        processes=tuple(_process(table, saved) for saved in document["processes"]),
        hours=_hours(table, document.get("hours")),
    )


def _hours(table: list[SeriesKey], saved: dict[str, Any] | None) -> SavedHours | None:
    if saved is None:
        return None
    booked = {
        (str(one["digest"]), int(one["hour"])): _series(table, one["counts"])
        for one in saved["booked"]
    }
    return SavedHours(int(saved["kept"]), booked)


def _process(table: list[SeriesKey], saved: dict[str, Any]) -> SavedProcess:
    start, gone_at = saved["processStart"], saved["goneAt"]
    return SavedProcess(
        process=str(saved["process"]),
        pod=str(saved["pod"]),
        revision=str(saved["revision"]),
        process_start=None if start is None else _number(start),
        sampled_at=_number(saved["sampledAt"]),
        gone_at=None if gone_at is None else _number(gone_at),
        values=_series(table, saved["values"]),
        carried=_series(table, saved["carried"]),
    )


def _series(table: list[SeriesKey], pairs: list[list[float]]) -> dict[SeriesKey, float]:
    series = {}
    for place, value in pairs:
        if not 0 <= place < len(table):
            raise ValueError(f"there is no series {place}")
        series[table[int(place)]] = _number(value)
    return series


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number
