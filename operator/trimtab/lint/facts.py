"""What lint knows beside a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from trimtab.api.drift_policy import Signal
from trimtab.contract.artifact import Baseline, Signature
from trimtab.decide.drift.signals import signal_type
from trimtab.decide.model_version import score_of_baseline

POD_LABEL_DELAY = timedelta(days=7)
"""How long pods take labels."""


@dataclass(frozen=True)
class Facts:
    """What is known beside a policy; None where nobody said.

    rows: expected in one window. scores: what the versions state, by (metric, slice).
    pod_label_delay: how long the pods take labels. tells_pairs: whether they tell predicted and
    actual class by hour.
    """

    rows: float | None = None
    baseline: Baseline | None = None
    signature: Signature | None = None
    scores: Mapping[tuple[str, str], float] = field(default_factory=dict)
    pod_label_delay: timedelta = POD_LABEL_DELAY
    tells_pairs: bool | None = None

    @property
    def is_regression(self) -> bool | None:
        """Whether the model gives numbers; None where nobody knows."""
        if self.signature is not None:
            return self.signature.task == "regression"
        return None if self.baseline is None else not self.baseline.predicted_counts

    @property
    def classes(self) -> list[str]:
        """The classes; empty where there are none, or nobody knows."""
        if self.signature is not None:
            return self.signature.classes
        return [] if self.baseline is None else list(self.baseline.predicted_counts)

    def score(self, signal: Signal) -> float | None:
        """Return what the metric of a signal was at training: as stated, else as measured."""
        reference = signal_type(signal.kind).reference(signal)
        if reference is None:
            return None
        stated = self.scores.get((reference.metric, reference.slice))
        if stated is not None:
            return stated
        return score_of_baseline(reference.metric, self.baseline, reference.slice)
