"""What lint says of each kind of signal beside its rows: one list.

A kind that is not in it is linted by what it states of itself: its rows at the budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trimtab.api.drift_policy import DriftPolicySpec, Signal
from trimtab.decide.drift.signals.data import BrokenData
from trimtab.decide.drift.signals.inputs import Inputs
from trimtab.decide.drift.signals.outcomes import Outcomes
from trimtab.decide.drift.signals.predictions import Predictions
from trimtab.decide.drift.signals.quality import Quality
from trimtab.decide.drift.signals.shift import ShiftSignal
from trimtab.lint.facts import Facts
from trimtab.lint.model import (
    data_remarks,
    histogram_remarks,
    outcomes_remarks,
    quality_remarks,
)
from trimtab.lint.remarks import Remark
from trimtab.lint.tolerance import tolerance_remarks

Rule = Callable[[DriftPolicySpec, Signal, str, Facts], list[Remark]]
"""Takes a policy, a signal of it, the path of the signal, and what is known of the model."""


def _nothing(spec: DriftPolicySpec, signal: Signal, path: str, facts: Facts) -> list[Remark]:
    return []


@dataclass(frozen=True)
class SignalLint:
    """model: what the model cannot give. precision: what rows enough for it still do not show."""

    kind: str
    model: Rule = _nothing
    precision: Rule = _nothing


def _of_shift(own: ShiftSignal) -> SignalLint:
    return SignalLint(own.kind, partial(histogram_remarks, own), partial(tolerance_remarks, own))


SIGNAL_LINTS: tuple[SignalLint, ...] = (
    SignalLint(BrokenData.kind, data_remarks),
    SignalLint(Outcomes.kind, outcomes_remarks),
    SignalLint(Quality.kind, quality_remarks),
    _of_shift(Predictions()),
    _of_shift(Inputs()),
)


def lint_of(kind: str) -> SignalLint:
    """Return the rules of one kind of signal."""
    return next((own for own in SIGNAL_LINTS if own.kind == kind), SignalLint(kind))
