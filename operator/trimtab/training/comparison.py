"""Champion against challenger on the same held-out rows, paired; and the verdict.

Accepted: not worse than the champion by the margin (Tango's interval for accuracy, paired
bootstrap for the rest), on no named slice proven worse, and, where harm was the cause, also better
than the champion or above the floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.training import Gate
from trimtab.stats.challenger import (
    Comparison,
    Verdict,
    compare_accuracy,
    compare_by_bootstrap,
    needed_rows,
    paired_counts,
    worse_slices,
)
from trimtab.training.evaluation import (
    LARGER_IS_BETTER,
    Predictions,
    resamples_for,
    statistic_of,
)

FEWEST_COMPARED = 30


@dataclass(frozen=True)
class Judgement:
    """How it ends, in a word, a closed reason, and a sentence with the figures."""

    verdict: Literal["accepted", "rejected", "insufficientData"]
    reason: str
    message: str
    needed: int | None = None


@dataclass(frozen=True)
class HeldOut:
    """Rows on which both models are compared: truths, both models' answers, slices as masks."""

    actual: NDArray[Any]
    champion: Predictions
    challenger: Predictions
    slices: Mapping[str, NDArray[np.bool_]]


def compare(rows: HeldOut, gate: Gate, classes: Sequence[Any]) -> Comparison:
    """Return the paired comparison; raise ValueError where the metric does not fit the task.

    The margin of RMSE, which has a unit, is that share of the champion's own.
    """
    if gate.metric == "accuracy" and classes:
        counts = paired_counts(rows.actual, rows.champion.predicted, rows.challenger.predicted)
        return compare_accuracy(counts, gate.not_worse_by, gate.confidence)
    champion = statistic_of(gate.metric, rows.actual, rows.champion, classes)
    challenger = statistic_of(gate.metric, rows.actual, rows.challenger, classes)
    n, margin = len(rows.actual), gate.not_worse_by
    if gate.metric == "rmse":
        margin *= -champion(np.ones(n))
    return compare_by_bootstrap(
        champion, challenger, n, margin, gate.confidence, resamples=resamples_for(n)
    )


def judge(
    rows: HeldOut,
    comparison: Comparison,
    value: float,
    gate: Gate,
    *,
    needs_to_be_better: bool,
) -> Judgement:
    """Ordered checks, first hit wins. value: the challenger's metric on these rows."""
    figures = _figures(comparison, gate)
    if len(rows.actual) < FEWEST_COMPARED or comparison.verdict is Verdict.INSUFFICIENT_DATA:
        needed = max(comparison.needed, FEWEST_COMPARED)
        return Judgement(
            "insufficientData", "TooFewRows", f"{figures}; {needed:,} rows would do", needed
        )
    if comparison.verdict is Verdict.REJECTED:
        return Judgement("rejected", "WorseThanChampion", figures)
    worse = _worse_slices(rows, gate)
    if worse:
        named = ", ".join(worse[:5])
        return Judgement("rejected", "WorseOnSlice", f"{figures}; proven worse on {named}")
    if needs_to_be_better and not comparison.is_better and not is_above_floor(value, gate):
        floor = "" if gate.must_beat is None else f" and {value:.3f} misses the {gate.must_beat:g}"
        return Judgement(
            "rejected",
            "NoBetter",
            f"{figures}; not proven better than the serving version{floor}, so it mends nothing",
        )
    return Judgement("accepted", "NotWorse", figures)


def is_above_floor(value: float, gate: Gate) -> bool:
    """Whether the metric itself reaches the floor, if there is one."""
    if gate.must_beat is None:
        return False
    return value >= gate.must_beat if LARGER_IS_BETTER[gate.metric] else value <= gate.must_beat


def judge_first(value: float, n: int, gate: Gate) -> Judgement:
    """Without a champion there is only the floor."""
    measured = f"{gate.metric} {value:.3f} on {n:,} rows, no version to compare with"
    if n < FEWEST_COMPARED:
        return Judgement("insufficientData", "TooFewRows", measured, FEWEST_COMPARED)
    if gate.must_beat is not None and not is_above_floor(value, gate):
        return Judgement("rejected", "BelowFloor", f"{measured}; {gate.must_beat:g} is wanted")
    return Judgement("accepted", "FirstVersion", measured)


def judge_nothing_new(gate: Gate, created: str) -> Judgement:
    """All held-out rows are older than the champion, which may have learned from them."""
    needed = needed_rows(0.0, gate.not_worse_by, gate.confidence)
    return Judgement(
        "insufficientData",
        "NoNewRows",
        f"no held-out row is newer than the serving version ({created}), which may have learned "
        f"from them; about {needed:,} newer rows would do",
        needed,
    )


def _worse_slices(rows: HeldOut, gate: Gate) -> tuple[str, ...]:
    if not rows.slices or gate.metric == "rmse":
        return ()
    counts = {
        name: paired_counts(
            rows.actual[mask], rows.champion.predicted[mask], rows.challenger.predicted[mask]
        )
        for name, mask in rows.slices.items()
    }
    return worse_slices(counts, gate.not_worse_by, 1 - gate.confidence)


def _figures(comparison: Comparison, gate: Gate) -> str:
    sign = "" if LARGER_IS_BETTER[gate.metric] else "-"
    return (
        f"{sign}{gate.metric} {comparison.difference:+.3f} against the serving version on "
        f"{comparison.n:,} rows ({gate.confidence:.0%} bounds {comparison.lower:+.3f} to "
        f"{comparison.upper:+.3f}; {-comparison.margin:+.3f} is allowed)"
    )
