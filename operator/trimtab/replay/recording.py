"""What a replay is made of, whatever it was read from: a reference and windows of counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.api.drift_policy import DriftPolicy, SignalKind
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.finding import Finding
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.model_version import score_of_baseline

MOST_WINDOWS = 100_000


@dataclass(frozen=True)
class RecordedWindow:
    """Counts of [start, end). `name` is how it is shown; `counts` is None where nothing happened.

    counts: (metric, labels without identity labels) -> increment.
    """

    name: str
    start: datetime
    end: datetime
    counts: Series | None


@dataclass(frozen=True)
class RecordedLabels:
    """Labels of the predictions of [start, end), as they were known at `judged`.

    counts: as of a window. predicted: rows that they are among; None where nobody knows.
    """

    name: str
    start: datetime
    end: datetime
    judged: datetime
    counts: Series
    predicted: float | None


@dataclass(frozen=True)
class Recording:
    """`notes`: said before. The metrics of the reference are those of its baseline.

    labels: of late labels, in order of time; None where labels are counted in the windows, however
    late the policy expects them. data: what is found of broken data, by the start of the window;
    None where only the counts of windows can tell. is_timed: whether the times of windows are real.
    """

    baseline: Baseline
    windows: tuple[RecordedWindow, ...]
    notes: tuple[str, ...] = ()
    labels: tuple[RecordedLabels, ...] | None = None
    data: Mapping[datetime, Finding] | None = None
    is_timed: bool = True

    def scores(self, policy: DriftPolicy) -> dict[SignalKind, float]:
        """Return what the metrics of the policy's signals were on the reference, where known."""
        scores: dict[SignalKind, float] = {}
        for signal in policy.spec.signals:
            reference = signal_type(signal.kind).reference(signal)
            if reference is not None:
                score = score_of_baseline(reference.metric, self.baseline, reference.slice)
                if score is not None:
                    scores[signal.kind] = score
        return scores


def time_of(seconds: float) -> datetime:
    """Return the time of Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def shown(seconds: float) -> str:
    """Return how a time in Unix seconds is shown: UTC, to the minute where it is a whole one."""
    return f"{time_of(seconds):{'%Y-%m-%d %H:%M' if seconds % 60 == 0 else '%Y-%m-%d %H:%M:%S'}}"
