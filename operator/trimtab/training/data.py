"""Rows from a store: Parquet and CSV, one file or every file below a folder."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from trimtab.contract.location import (
    AccessDenied,
    Entry,
    Location,
    NotInStore,
    StoreUnavailable,
    TooLarge,
    open_location,
)
from trimtab.training.errors import DataBroken, InsufficientRows, Unavailable

_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".csv.gz": pd.read_csv,
}


@dataclass(frozen=True)
class Source:
    """One file that rows came from."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Data:
    """All rows in the order of file name and line, and what they came from."""

    frame: pd.DataFrame
    sources: tuple[Source, ...]
    uri: str

    @property
    def digest(self) -> str:
        """`sha256:` over path and hash of each file."""
        text = "\n".join(f"{source.sha256} {source.path}" for source in self.sources)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def read_data(
    uri: str,
    credentials: Path | None,
    *,
    since: datetime | None = None,
    time_column: str | None = None,
    max_bytes: int = 4 << 30,
    progress: Callable[[float], None] = lambda _share: None,
) -> Data:
    """Read the file `uri`, or all `.parquet`, `.csv` and `.csv.gz` files below it.

    With `since` and a time column: rows from that time on. With `since` alone: files written since.
    Raise DataBroken (unreadable, columns differ), InsufficientRows (nothing there), Unavailable,
    and LocationError for a URI that is wrong.
    """
    try:
        location, entries = _files(uri, credentials)
        if since is not None and time_column is None:
            entries = [entry for entry in entries if entry.modified >= since]
        if not entries:
            what = f" written since {since.isoformat()}" if since else ""
            raise InsufficientRows(f"{uri} has no .parquet or .csv file{what}", 1)
        frame, sources = _fetched(location, entries, max_bytes, progress)
    except (StoreUnavailable, AccessDenied) as error:
        raise Unavailable(str(error)) from error
    except (NotInStore, TooLarge) as error:
        raise DataBroken(str(error)) from error
    if time_column is not None:
        frame = _timed(frame, time_column, since)
    return Data(frame, tuple(sources), uri)


def _fetched(
    location: Location,
    entries: list[Entry],
    max_bytes: int,
    progress: Callable[[float], None],
) -> tuple[pd.DataFrame, list[Source]]:
    total = sum(entry.size for entry in entries)
    if total > max_bytes:
        raise DataBroken(
            f"{location.uri} has {total:,} bytes, more than the {max_bytes:,} allowed; "
            "raise --max-bytes or narrow the data"
        )
    frames: list[pd.DataFrame] = []
    sources: list[Source] = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="trimtab-data-") as folder:
        for entry in entries:
            file = Path(folder) / "rows"
            sha256 = location.fetch(entry.path, file, max_bytes)
            frame = _parse(entry.path, file)
            _check_columns(frame, frames[0] if frames else frame, entry.path)
            frames.append(frame)
            sources.append(Source(entry.path, sha256, len(frame)))
            done += entry.size
            progress(done / max(total, 1))
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0], sources


def _files(uri: str, credentials: Path | None) -> tuple[Location, list[Entry]]:
    suffix = _suffix(uri)
    if suffix:
        folder, _, name = uri.rpartition("/")
        location = open_location(folder, credentials)
        try:
            return location, [location.head(name)]
        except NotInStore:
            pass  # a folder may be named like a file
    location = open_location(uri, credentials)
    found = [entry for entry in location.entries() if _suffix(entry.path)]
    return location, sorted(found, key=lambda entry: entry.path)


def _suffix(path: str) -> str:
    return next((suffix for suffix in _READERS if path.lower().endswith(suffix)), "")


def _parse(path: str, file: Path) -> pd.DataFrame:
    suffix = _suffix(path)
    named = file.with_name("rows" + suffix)
    file.rename(named)
    try:
        return _READERS[suffix](named)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DataBroken(f"{path} cannot be read as {suffix[1:]}: {error}") from error


def _check_columns(frame: pd.DataFrame, first: pd.DataFrame, path: str) -> None:
    differ = sorted(set(frame.columns) ^ set(first.columns))
    if differ:
        raise DataBroken(f"{path} differs from the files before it in column {differ[0]!r}")


def _timed(frame: pd.DataFrame, column: str, since: datetime | None) -> pd.DataFrame:
    if column not in frame.columns:
        raise DataBroken(f"the time column {column!r} is missing")
    try:
        times = pd.to_datetime(frame[column], utc=True)
    except (ValueError, TypeError) as error:
        raise DataBroken(f"column {column!r} holds a value that is not a time: {error}") from error
    if times.isna().any():
        raise DataBroken(f"column {column!r} has {int(times.isna().sum())} rows without a time")
    frame = frame.assign(**{column: times})
    if since is None:
        return frame
    kept = frame[times >= since].reset_index(drop=True)
    if kept.empty:
        raise InsufficientRows(f"no row is from {since.isoformat()} or later", 1)
    return kept
