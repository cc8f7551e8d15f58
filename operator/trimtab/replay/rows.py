"""A recording from rows: read, split into reference and windows, and binned as at training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.contract.metrics import Series
from trimtab.decide.drift.windows import comes_by_hour, label_window
from trimtab.errors import SpecError, installing, plain
from trimtab.replay.columns import Columns
from trimtab.replay.recording import (
    MOST_WINDOWS,
    RecordedLabels,
    RecordedWindow,
    Recording,
    shown,
)

if TYPE_CHECKING:
    import pandas as pd

    from trimtab.replay.binning import Binning

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reference:
    """Which rows are the reference: one of a file, the first n rows, those before a time."""

    file: Path | None = None
    rows: int | None = None
    until: datetime | None = None


def record(
    path: Path,
    columns: Columns,
    reference: Reference,
    window: timedelta,
    rows_per_window: int | None = None,
    label_delay: timedelta | None = None,
) -> Recording:
    """Return the recording of one file of rows; SpecError says in a sentence what is wrong.

    Windows begin at whole multiples of their length, as in the operator; with `rows_per_window`
    they are so many rows each in the order of the file, and a rest is left out. label_delay: how
    long after its row a label came in; needs windows of time.
    """
    try:
        from trimtab.replay.binning import Binning
    except ImportError as error:
        raise SpecError(f"rows need {error.name}: {installing('training')}") from error
    frame = _read(path, columns, may_lack_labels=reference.file is not None)
    before, after = _split(frame, columns, reference)
    if not len(before) or not len(after):
        what = "reference" if not len(before) else "windows"
        raise SpecError(f"no row is left for the {what}")
    from trimtab.training.errors import TrainingError

    try:
        binning = Binning(before, columns)
        if rows_per_window is not None:
            return _by_rows(after, binning, window, rows_per_window, label_delay)
        if columns.time is None:
            raise SpecError("windows need --time, or --rows-per-window")
        return _by_time(after, binning, columns.time, window, label_delay or timedelta(0))
    except (TrainingError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error


def _by_rows(
    frame: pd.DataFrame,
    binning: Binning,
    window: timedelta,
    rows: int,
    label_delay: timedelta | None,
) -> Recording:
    notes = []
    count, rest = divmod(len(frame), rows)
    if rest:
        notes.append(f"the last {rest} rows fill no window of {rows} and are left out")
    if label_delay:
        notes.append("labelDelay is not waited for: windows are of rows, not of time")
    windows = []
    for i in range(count):
        part = frame.iloc[i * rows : (i + 1) * rows]
        start = EPOCH + i * window
        counts = {**binning.counts(part), **binning.labels(part)}
        windows.append(RecordedWindow(f"{i + 1}: row {i * rows}", start, start + window, counts))
    return Recording(binning.baseline, tuple(windows), tuple(notes), is_timed=False)


def _by_time(
    frame: pd.DataFrame, binning: Binning, time: str, window: timedelta, delay: timedelta
) -> Recording:
    """Labels that come late are judged by the hours of their rows, others when they come in."""
    is_late = comes_by_hour(delay)
    labelled = dict(_places(frame, time, window, timedelta(0) if is_late else delay))
    windows = tuple(
        RecordedWindow(
            shown(start.timestamp()),
            start,
            start + window,
            _counts(binning, part, labelled.get(start)) or None,
        )
        for start, part in _places(frame, time, window)
    )
    labels = None
    if is_late:
        length = label_window(window)
        labels = tuple(
            RecordedLabels(
                shown(start.timestamp()),
                start,
                start + length,
                start + length + delay,
                counts,
                len(part),
            )
            for start, part in _places(frame, time, length)
            if (counts := binning.labels(part))
        )
    return Recording(binning.baseline, windows, labels=labels)


def _counts(binning: Binning, part: pd.DataFrame, labelled: pd.DataFrame | None) -> Series:
    counts = dict(binning.counts(part)) if len(part) else {}
    if labelled is not None and len(labelled):
        counts.update(binning.labels(labelled))
    return counts


def _read(path: Path, columns: Columns, *, may_lack_labels: bool = False) -> pd.DataFrame:
    """Return the columns that are used; recorded rows often have no truth, a reference must."""
    import pandas as pd

    try:
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        elif path.name.endswith((".csv", ".csv.gz")):
            frame = pd.read_csv(path)
        else:
            raise SpecError(f"{path}: rows are .csv, .csv.gz or .parquet")
    except (OSError, ValueError, UnicodeError) as error:
        raise SpecError(f"{path}: cannot be read: {_first_line(error)}") from error
    there = ", ".join(map(str, frame.columns[:30]))
    if may_lack_labels and columns.label is not None and columns.label not in frame.columns:
        frame[columns.label] = None
    missing = [name for name in columns.all if name not in frame.columns]
    if missing:
        raise SpecError(f"{path}: no column {missing[0]!r}; there are {there}")
    frame = frame[list(dict.fromkeys(columns.all))].copy()
    for name in columns.features:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            texts = frame[name].astype(object)
            frame[name] = texts.where(texts.isna(), texts.map(str))
    if columns.time is not None:
        frame[columns.time] = _times(path, frame[columns.time])
        if frame[columns.time].isna().any():
            raise SpecError(f"{path}: column {columns.time!r} has rows without a time")
    return frame


def _times(path: Path, column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers are Unix seconds; a time without a zone is UTC."""
    import pandas as pd

    try:
        if pd.api.types.is_numeric_dtype(column):
            return pd.to_datetime(column, unit="s", utc=True)
        return pd.to_datetime(column, format="ISO8601", utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        row, value = _first_strange(column)
        raise SpecError(
            f"{path}: column {column.name!r} is not a time: row {row} is {value!r:.80}"
        ) from error


def _first_strange(column: pd.Series[Any]) -> tuple[int, Any]:
    """Return the first row, from 0, that is no time, and what it holds."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().mean() > 0.5:
        read = pd.to_datetime(numbers, unit="s", utc=True, errors="coerce")
    else:
        read = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    strange = read.isna().to_numpy()
    row = int(strange.argmax()) if strange.any() else 0
    return row, column.iloc[row]


def _first_line(error: Exception) -> str:
    return plain(error).partition("\n")[0]


def _split(
    frame: pd.DataFrame, columns: Columns, reference: Reference
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if reference.file is not None:
        return _read(reference.file, replace(columns, time=None)), frame
    if reference.until is not None:
        if columns.time is None:
            raise SpecError("--reference-until needs --time")
        is_before = frame[columns.time] < reference.until
        return frame[is_before], frame[~is_before]
    return frame.iloc[: reference.rows], frame.iloc[reference.rows :]


def _places(
    frame: pd.DataFrame, time: str, window: timedelta, delay: timedelta = timedelta(0)
) -> Iterator[tuple[datetime, pd.DataFrame]]:
    """Yield every window from the first row to the last by its start, and its rows; maybe none.

    With a delay: the rows whose label came in in the window.
    """
    places = ((frame[time] + delay - EPOCH) // window).astype("int64")
    first, last = int(places.min()), int(places.max())
    if last - first >= MOST_WINDOWS:
        raise SpecError(f"{last - first + 1} windows from first to last row; is {time!r} right?")
    groups = dict(iter(frame.groupby(places)))
    for place in range(first, last + 1):
        yield EPOCH + place * window, groups.get(place, frame.iloc[:0])


def names(text: str) -> Sequence[str]:
    """Split a list of column names at commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
