"""A recording from rows: read, split into reference and windows, and binned as at training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import SpecError
from trimtab.replay.recording import RecordedWindow, Recording

if TYPE_CHECKING:
    import pandas as pd

MOST_WINDOWS = 100_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Columns:
    """Names of columns. `probability`: of the second class, or one a class in order of classes."""

    prediction: str
    time: str | None = None
    probability: tuple[str, ...] = ()
    label: str | None = None
    features: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All that rows must have."""
        found = (self.prediction, *self.probability, *self.features)
        return (*found, *(name for name in (self.time, self.label) if name is not None))


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
) -> Recording:
    """Return the recording of one file of rows; SpecError says in a sentence what is wrong.

    Windows begin at whole multiples of their length, as in the operator; with `rows_per_window`
    they are so many rows each in the order of the file, and a rest is left out.
    """
    try:
        from trimtab.replay.binning import Binning
    except ImportError as error:
        raise SpecError(
            f"rows need {error.name}: install the training extra, pip install 'trimtab[training]'"
        ) from error
    frame = _read(path, columns, may_lack_labels=reference.file is not None)
    before, after = _split(frame, columns, reference)
    if not len(before) or not len(after):
        what = "reference" if not len(before) else "windows"
        raise SpecError(f"no row is left for the {what}")
    from trimtab.training.errors import TrainingError

    try:
        binning = Binning(before, columns)
        notes: list[str] = []
        parts = _windows(after, columns, window, rows_per_window, notes)
        windows = tuple(
            RecordedWindow(name, start, start + window, binning.counts(part) if len(part) else None)
            for name, start, part in parts
        )
    except (TrainingError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error
    return Recording(binning.baseline, windows, tuple(notes))


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
    if may_lack_labels and columns.label is not None and columns.label not in frame.columns:
        frame[columns.label] = None
    missing = [name for name in columns.all if name not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns[:30]))
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
        raise SpecError(
            f"{path}: column {column.name!r} is not a time: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _split(
    frame: pd.DataFrame, columns: Columns, reference: Reference
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if reference.file is not None:
        return _read(reference.file, columns), frame
    if reference.until is not None:
        if columns.time is None:
            raise SpecError("--reference-until needs --time")
        is_before = frame[columns.time] < reference.until
        return frame[is_before], frame[~is_before]
    return frame.iloc[: reference.rows], frame.iloc[reference.rows :]


def _windows(
    frame: pd.DataFrame,
    columns: Columns,
    window: timedelta,
    rows: int | None,
    notes: list[str],
) -> Iterator[tuple[str, datetime, pd.DataFrame]]:
    if rows is not None:
        count, rest = divmod(len(frame), rows)
        if rest:
            notes.append(f"the last {rest} rows fill no window of {rows} and are left out")
        return (
            (f"{i + 1}: row {i * rows}", EPOCH + i * window, frame.iloc[i * rows : (i + 1) * rows])
            for i in range(count)
        )
    if columns.time is None:
        raise SpecError("windows need --time, or --rows-per-window")
    return _by_time(frame, columns.time, window)


def _by_time(
    frame: pd.DataFrame, time: str, window: timedelta
) -> Iterator[tuple[str, datetime, pd.DataFrame]]:
    places = ((frame[time] - EPOCH) // window).astype("int64")
    first, last = int(places.min()), int(places.max())
    if last - first >= MOST_WINDOWS:
        raise SpecError(f"{last - first + 1} windows from first to last row; is {time!r} right?")
    groups = dict(iter(frame.groupby(places)))
    for place in range(first, last + 1):
        start = EPOCH + place * window
        yield f"{start:%Y-%m-%d %H:%M}", start, groups.get(place, frame.iloc[:0])


def names(text: str) -> Sequence[str]:
    """Split a list of column names at commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
