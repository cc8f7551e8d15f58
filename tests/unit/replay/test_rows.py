"""Rows become windows, and late labels windows of whole hours."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trimtab.decide.drift.windows import label_window
from trimtab.errors import SpecError
from trimtab.replay.columns import Columns
from trimtab.replay.rows import Reference, record

N = 24 * 60
WINDOW = timedelta(minutes=90)
DELAY = timedelta(hours=2)


def test_late_labels_are_judged_by_the_windows_of_the_operator(tmp_path: Path) -> None:
    """A window of 90 minutes ends within an hour, whose labels are judged with the next."""
    rows = tmp_path / "rows.csv"
    pd.DataFrame(
        {
            "time": pd.date_range("2026-01-01", periods=N, freq="1min", tz="UTC"),
            "prediction": ["cat", "dog"] * (N // 2),
            "truth": ["cat", "dog"] * (N // 2),
        }
    ).to_csv(rows, index=False)
    columns = Columns("prediction", time="time", label="truth")
    recording = record(rows, columns, Reference(rows=240), WINDOW, label_delay=DELAY)
    assert recording.labels is not None
    length = label_window(WINDOW)
    assert length == timedelta(hours=2)
    assert {labels.end - labels.start for labels in recording.labels} == {length}
    assert {labels.judged - labels.end for labels in recording.labels} == {DELAY}
    assert [labels.predicted for labels in recording.labels] == [120] * 10
    assert {window.end - window.start for window in recording.windows} == {WINDOW}


def test_what_is_wrong_in_a_column_is_named_with_its_row(tmp_path: Path) -> None:
    good: dict[str, list[Any]] = {
        "t": [1_700_000_000 + n for n in range(9)],
        "guess": list("abababaab"),
        "p": [0.5] * 9,
    }
    texts = [f"2026-01-01T00:0{n}" for n in range(9)]
    for changed, said in (
        ({"t": [*good["t"][:8], "yesterday"]}, "column 't' is not a time: row 8 is 'yesterday'"),
        ({"t": [*texts[:3], "noon", *texts[4:]]}, "column 't' is not a time: row 3 is 'noon'"),
        ({"p": [0.5] * 8 + [None]}, "column p has rows without a probability"),
        ({"guess": list("ababababz")}, "holds the class 'z', which no row of the reference has"),
    ):
        rows = tmp_path / "rows.csv"
        pd.DataFrame({**good, **changed}).to_csv(rows, index=False)
        columns = Columns("guess", time="t", probability=("p",))
        with pytest.raises(SpecError, match=re.escape(said)):
            record(rows, columns, Reference(rows=4), WINDOW, rows_per_window=5)


def test_the_columns_that_are_there_are_those_of_the_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("t;x\n1;2\n")
    columns = Columns("guess", label="truth")
    with pytest.raises(SpecError, match=r"no column 'guess'; there are t;x$"):
        record(rows, columns, Reference(file=rows), WINDOW)
