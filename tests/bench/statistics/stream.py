"""Section 2: a change in a running stream of errors, base 10 %, in batches of 150.

Beside it the detectors of `river` at their defaults, request by request on the same streams.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift
from tests.bench.statistics.rows import Row, judged

from trimtab.stats.change import DetectorState, reference_upper_bound, update
from trimtab.stats.counts import BadTotal

BASE = 0.1
BATCH = 150
ARL = 4800.0
RUNS = 60
CHANGE_AT = 10_050
LENGTH = 20_100
GOALS = {0.12: 3600, 0.15: 800, 0.2: 400, 0.3: 200}
PEERS: dict[str, Callable[[], Any]] = {
    "DDM": drift.binary.DDM,
    "EDDM": drift.binary.EDDM,
    "ADWIN": drift.ADWIN,
    "Page-Hinkley": drift.PageHinkley,
}


def stream(share: float, seed: int) -> NDArray[np.bool_]:
    """Errors, [LENGTH]: BASE until CHANGE_AT, `share` after it."""
    draws = np.random.default_rng(seed).random(LENGTH)
    return np.concatenate([draws[:CHANGE_AT] < BASE, draws[CHANGE_AT:] < share])


def first_alarm(errors: NDArray[np.bool_], reference: float = BASE) -> float:
    """Requests until our alarm; inf without one."""
    state = DetectorState()
    for end in range(BATCH, LENGTH + 1, BATCH):
        bad = float(errors[end - BATCH : end].sum())
        state = update(state, BadTotal(bad, float(BATCH)), 10.0, reference, ARL)
        if state.is_alarm:
            return float(end)
    return math.inf


def first_alarm_of(detector: Any, errors: NDArray[np.bool_]) -> float:
    """The same of a detector that is fed request by request."""
    for index, error in enumerate(errors.tolist()):
        detector.update(int(error))
        if detector.drift_detected:
            return float(index + 1)
    return math.inf


def rows() -> list[Row]:
    """False alarms without a change, then median delays."""
    quiet = [stream(BASE, seed) for seed in range(RUNS)]
    false = sum(math.isfinite(first_alarm(errors)) for errors in quiet)
    few = quiet[:20]
    peers = ", ".join(
        f"{name} {np.mean([math.isfinite(first_alarm_of(make(), errors)) for errors in few]):.0%}"
        for name, make in PEERS.items()
    )
    what = f"no change in {LENGTH} requests: false alarms"
    found = [judged("2 stream", what, f"{false} of {RUNS}", f"0 of {RUNS}", false == 0, peers)]
    for share, goal in GOALS.items():
        streams = [stream(share, 1000 + seed) for seed in range(RUNS)]
        alarms = np.array([first_alarm(errors) for errors in streams])
        delays = alarms[alarms > CHANGE_AT] - CHANGE_AT
        early, missed = int((alarms <= CHANGE_AT).sum()), int(np.isinf(alarms).sum())
        median = float(np.median(delays))
        what = f"10 % to {share:.0%}: median requests to the alarm"
        measured = f"{median:.0f} (early {early}, missed {missed})"
        is_met = median <= goal and missed == 0
        found.append(judged("2 stream", what, measured, f"<= {goal}", is_met, _delays_of(streams)))
    found.append(_with_measured_reference())
    return found


def _with_measured_reference() -> Row:
    """As the operator runs it: p0 is the upper 95 % bound of a share measured on 5000 rows."""
    bound = reference_upper_bound(BadTotal(BASE * 5000, 5000.0), 0.0)
    shown = []
    for share in GOALS:
        streams = [stream(share, 1000 + seed) for seed in range(RUNS)]
        alarms = np.array([first_alarm(errors, bound) for errors in streams])
        delays = alarms[alarms > CHANGE_AT] - CHANGE_AT
        shown.append(f"{np.median(delays):.0f}")
    what = f"the same with p0 = {bound:.4f}, bound of a measured share: to 12, 15, 20, 30 %"
    return Row("2 stream", what, ", ".join(shown))


def _delays_of(streams: list[NDArray[np.bool_]]) -> str:
    parts = []
    for name, make in PEERS.items():
        alarms = np.array([first_alarm_of(make(), errors) for errors in streams[:20]])
        delays = alarms[(alarms > CHANGE_AT) & np.isfinite(alarms)] - CHANGE_AT
        early = int((alarms <= CHANGE_AT).sum())
        shown = f"{np.median(delays):.0f}" if delays.size else "-"
        parts.append(f"{name} {shown} ({early} of 20 early)")
    return ", ".join(parts)
