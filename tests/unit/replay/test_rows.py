"""Rows become windows, and late labels windows of whole hours."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd

from trimtab.decide.drift.windows import label_window
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
