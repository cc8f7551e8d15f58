"""What a decision about a DriftPolicy rests on: one frozen view, taken once per pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trimtab.api.drift_policy import Attempt, DriftPolicy, SignalKind
from trimtab.api.retrain_job import RetrainJob
from trimtab.contract.artifact import Baseline
from trimtab.contract.metrics import Series
from trimtab.decide.drift.finding import Finding


@dataclass(frozen=True)
class WindowView:
    """A completed window. `counts` is None where nothing was counted; `silence` then says why."""

    start: datetime
    end: datetime
    counts: Series | None
    silence: str = ""


@dataclass(frozen=True)
class LabelledWindow:
    """A window of predictions whose labels have had their time.

    counts: of the labels, as a window's (`OUTCOMES`, `OUTCOME_ERRORS_*`). predicted: rows that the
    labels are among; None where nobody knows.
    """

    start: datetime
    end: datetime
    counts: Series
    predicted: float | None


@dataclass(frozen=True)
class WatchedDeployment:
    """One Deployment of the policy. `baseline_digest` is "" while nobody knows it."""

    name: str
    model: str
    is_serving: bool = False
    baseline_digest: str = ""
    baseline: Baseline | None = None
    baseline_missing: str = ""
    """Why there is no baseline."""
    window: WindowView | None = None
    labelled: LabelledWindow | None = None
    data: Finding | None = None
    """What the watch of broken data says by now; None before its first look."""
    best_scores: Mapping[SignalKind, float] = field(default_factory=dict)
    stable_scores: Mapping[SignalKind, float] = field(default_factory=dict)
    """What the metric of a signal was at training: of the best version, of the one serving."""
    candidate: str | None = None
    waiting_versions: frozenset[str] = frozenset()
    made: Mapping[str, str] = field(default_factory=dict)
    """RetrainJob to the ModelVersion that it made, whether the job is still there or not."""


@dataclass(frozen=True)
class PolicySnapshot:
    """Everything that the decision rests on. `overlapped`: Deployment to the older policy.

    left_out: Deployments that are selected beside more than a policy can watch. others:
    Deployment and kind of the verdicts in status that another operator found, which is at work too
    and may have watched for longer.
    """

    policy: DriftPolicy
    now: datetime
    deployments: tuple[WatchedDeployment, ...] = ()
    overlapped: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[RetrainJob, ...] = ()
    left_out: tuple[str, ...] = ()
    others: frozenset[tuple[str, SignalKind]] = frozenset()
    remembered: tuple[Attempt, ...] = ()
    gone: frozenset[str] = frozenset()
