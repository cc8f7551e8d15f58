"""Change in a running stream of bad among total: the guard, outcomes and data quality.

Shiryaev-Roberts e-detector: `R_t = (1 + R_{t-1}) * e_t` per lift, `e_t` the likelihood ratio of
Binomial(n, p0 * lift) to Binomial(n, p0); the alarm statistic is the mean of R over the lifts. The
mean number of looks until a false alarm is at least the threshold (average run length, ARL).

Source: Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection" (2024).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import betaincinv

from trimtab.stats.counts import NOTHING, BadTotal

LIFTS = (1.1, 1.25, 1.5, 2.0, 3.0)
LOOK_AFTER_REQUESTS = 50
LOOK_AFTER_SECONDS = 60.0
_HIGHEST_SHARE = 0.99
_LARGEST_EVIDENCE = 1e300


@dataclass(frozen=True, slots=True)
class DetectorState:
    """What the detector remembers; immutable, survives as JSON (`to_dict`, `from_dict`).

    evidences: R for each of LIFTS. looks: closed so far. pending: counts of the open look.
    pending_seconds: age of the open look. arl: run length of the last update, looks; inf at first.
    runs: for each of LIFTS the looks since it was likeliest that nothing had changed, which are
    those of the change: log evidence (that of CUSUM) and counts.
    """

    evidences: tuple[float, ...] = (0.0,) * len(LIFTS)
    looks: int = 0
    pending: BadTotal = NOTHING
    pending_seconds: float = 0.0
    arl: float = math.inf
    runs: tuple[tuple[float, BadTotal], ...] = ((0.0, NOTHING),) * len(LIFTS)

    @property
    def changed(self) -> BadTotal:
        """What was counted since the change, as the lift sees it that alarms most."""
        most = max(range(len(LIFTS)), key=lambda index: self.evidences[index])
        return self.runs[most][1]

    @property
    def evidence(self) -> float:
        """Mean of R over the lifts; the alarm is raised when it reaches the run length."""
        return sum(self.evidences) / len(self.evidences)

    @property
    def is_alarm(self) -> bool:
        return self.evidence >= self.arl

    def to_dict(self) -> dict[str, Any]:
        return {
            "evidences": list(self.evidences),
            "looks": self.looks,
            "pendingBad": self.pending.bad,
            "pendingTotal": self.pending.total,
            "pendingSeconds": self.pending_seconds,
            "arl": None if math.isinf(self.arl) else self.arl,
            "runs": [[log, counted.bad, counted.total] for log, counted in self.runs],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "DetectorState":
        """Inverse of `to_dict`; ValueError or KeyError when it is not one of ours."""
        evidences = tuple(float(value) for value in data["evidences"])
        if len(evidences) != len(LIFTS):
            raise ValueError(f"expected {len(LIFTS)} evidences, found {len(evidences)}")
        arl = data["arl"]
        runs = tuple(
            (float(log), BadTotal(float(bad), float(total)))
            for log, bad, total in data.get("runs") or [[0, 0, 0]] * len(LIFTS)
        )
        if len(runs) != len(LIFTS):
            raise ValueError(f"expected {len(LIFTS)} runs, found {len(runs)}")
        return cls(
            evidences,
            int(data["looks"]),
            BadTotal(float(data["pendingBad"]), float(data["pendingTotal"])),
            float(data["pendingSeconds"]),
            math.inf if arl is None else float(arl),
            runs,
        )


def update(
    state: DetectorState,
    batch: BadTotal,
    elapsed_seconds: float,
    reference_share: float,
    arl: float,
    spread: float = 1.0,
) -> DetectorState:
    """The state after one scrape.

    batch: counted since the last scrape; elapsed_seconds since then (>= 0). reference_share: p0 in
    [0, 1], from `reference_upper_bound`. arl: average run length in looks, > 1. spread: how many
    times more counts vary than independent ones would, >= 1. A look closes when
    50 requests or 60 s with at least one are pending; empty looks are skipped, else the detector
    would alarm on silence after `arl` of them.
    """
    pending = state.pending + batch
    seconds = state.pending_seconds + max(0.0, elapsed_seconds)
    is_due = pending.total >= LOOK_AFTER_REQUESTS or seconds >= LOOK_AFTER_SECONDS
    if not is_due:
        return replace(state, pending=pending, pending_seconds=seconds, arl=arl)
    if pending.total == 0:
        return replace(state, pending=NOTHING, pending_seconds=0.0, arl=arl)
    look = pending.divided(spread)
    evidences, runs = [], []
    for before, run, lift in zip(state.evidences, state.runs, LIFTS, strict=True):
        log_ratio = _log_ratio(look, reference_share, lift)
        evidences.append(_next_evidence(before, log_ratio))
        runs.append(_next_run(run, log_ratio, pending))
    return DetectorState(tuple(evidences), state.looks + 1, NOTHING, 0.0, arl, tuple(runs))


def at_most(state: DetectorState, evidence: float) -> DetectorState:
    """The state with no more than so much evidence for each lift: it has been explained."""
    return replace(state, evidences=tuple(min(one, evidence) for one in state.evidences))


def reference_upper_bound(reference: BadTotal, margin: float, confidence: float = 0.95) -> float:
    """p0: upper bound of the reference share (Clopper-Pearson, one-sided) plus `margin`, <= 1.

    1 without any reference request: then nothing can be called worse.
    """
    if reference.good <= 0:
        return 1.0
    bound = float(betaincinv(reference.bad + 1, reference.good, confidence))
    return min(1.0, bound + margin)


def guard_run_length(
    guard_seconds: float | None, look_seconds: float, gates: int, confidence: float
) -> float:
    """Run length in looks for the guard after a promotion, over all its gates.

    look_seconds: shortest time between two looks, which is the scrape interval. guard_seconds: the
    looks in it, times gates, over (1 - confidence); None means forever, for which one false alarm
    a year is accepted.
    """
    year = 365 * 24 * 3600.0
    watched = year if guard_seconds is None else guard_seconds / (1.0 - confidence)
    return max(2.0, max(1, gates) * watched / look_seconds)


def lifted(reference_share: float, lift: float) -> float | None:
    """The share that is so many times more; None: nothing can be worse, or nothing may be bad."""
    p1 = min(_HIGHEST_SHARE, reference_share * lift)
    return p1 if 0 < reference_share < p1 else None


def _log_ratio(look: BadTotal, p0: float, lift: float) -> float | None:
    """Return the log likelihood ratio of one look; None where it says nothing; inf: conclusive."""
    p1 = lifted(p0, lift)
    if p1 is None:
        return math.inf if p0 <= 0 < look.bad else None  # at p0 = 0 one is conclusive
    return look.bad * math.log(p1 / p0) + look.good * math.log((1 - p1) / (1 - p0))


def _next_evidence(before: float, log_ratio: float | None) -> float:
    if log_ratio is None:
        return before
    return math.exp(min(math.log1p(before) + log_ratio, math.log(_LARGEST_EVIDENCE)))


def _next_run(
    run: tuple[float, BadTotal], log_ratio: float | None, look: BadTotal
) -> tuple[float, BadTotal]:
    log, counted = run
    log = min(log + (log_ratio or 0.0), math.log(_LARGEST_EVIDENCE))
    return (log, counted + look) if log > 0 else (0.0, NOTHING)
