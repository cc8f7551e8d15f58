"""Section 5: many looks and many features under one budget of false alarms.

A look of ours is what `judge_inputs` of the operator does: tolerance test and Holm at the level
that the budget leaves to one look. Beside it rules that people use, and the multinomial e-process
of Lindon and Malek (2022) with counts discounted by m / (m + n), since its null takes the baseline
as known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr
from tests.bench.statistics.distance import shifted
from tests.bench.statistics.rows import Row, judged

from trimtab.stats.distance import psi, tolerance_test, two_sample_chi_square
from trimtab.stats.holm import holm_rejects

BINS = 10
BASELINE = 10_000
BUDGET = 0.05
"""One false alarm per 20 model-months."""
TOLERANCE = 0.01
HOURS, PER_HOUR = 720, 200
Counts = NDArray[np.int64]


def hourly(draws: np.random.Generator, runs: int, change_at: int | None, to: float) -> Counts:
    """Rows by bin, [runs, HOURS, BINS]; from hour `change_at` on with a PSI of `to`."""
    even = np.full(BINS, 1 / BINS)
    found = draws.multinomial(PER_HOUR, even, (runs, HOURS))
    if change_at is not None:
        found[:, change_at:] = draws.multinomial(
            PER_HOUR, shifted(BINS, to), (runs, HOURS - change_at)
        )
    return found


def daily(counts: Counts) -> Counts:
    """The same in windows of 24 hours."""
    return counts.reshape(counts.shape[0], -1, 24, BINS).sum(axis=2)


def first(alarms: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Look of the first alarm in each run, from 1; inf without one."""
    return np.where(alarms.any(axis=1), alarms.argmax(axis=1) + 1.0, np.inf)


def by_tolerance(baseline: Counts, counts: Counts) -> NDArray[np.bool_]:
    """Ours, for one feature."""
    alpha = BUDGET / counts.shape[1]
    return tolerance_test(baseline[:, None], counts, TOLERANCE, alpha).is_drifting


def by_psi(baseline: Counts, counts: Counts) -> NDArray[np.bool_]:
    """PSI above 0.1, whatever n."""
    return np.asarray(psi(baseline[:, None], counts) > 0.1)


def by_chi_square(level: float) -> Callable[[Counts, Counts], NDArray[np.bool_]]:
    """Two-sample chi-squared at one level in each look."""

    def rule(baseline: Counts, counts: Counts) -> NDArray[np.bool_]:
        return np.asarray(two_sample_chi_square(baseline[:, None], counts).p_value < level)

    return rule


def by_e_process(baseline: Counts, counts: Counts) -> NDArray[np.bool_]:
    """The e-process against the budget."""
    return log_e_process(baseline, counts) >= np.log(1 / BUDGET)


def by_e_bh(baseline: Counts, counts: Counts) -> bool:
    """e-BH (Wang and Ramdas 2022) over features at each look: is any rejected at any?

    baseline: [F, B]; counts: [looks, F, B]. The k largest of F are rejected where the k-th is at
    least F / (k BUDGET).
    """
    values = np.sort(log_e_process(baseline, counts.transpose(1, 0, 2)), axis=0)[::-1]
    features = len(values)
    bars = np.log(features / (np.arange(1, features + 1) * BUDGET))
    return bool((values >= bars[:, None]).any())


def log_e_process(baseline: Counts, counts: Counts) -> NDArray[np.float64]:
    """Dirichlet-multinomial against the baseline's shares, counts so far discounted.

    baseline: [R, B]; counts: [R, looks, B]; returns [R, looks].
    """
    sums = counts.cumsum(axis=1).astype(np.float64)
    m, n = baseline.sum(axis=1)[:, None, None], sums.sum(axis=2, keepdims=True)
    kept = sums * (m / (m + n))
    shares = (baseline[:, None] + 0.5) / (m + BINS / 2)
    prior = BINS * shares
    log_e = (
        gammaln(prior.sum(-1)) - gammaln((prior + kept).sum(-1))
        + (gammaln(prior + kept) - gammaln(prior) - kept * np.log(shares)).sum(-1)
    )  # fmt: skip
    return np.asarray(log_e)


def rows() -> list[Row]:
    """False alarms without drift, delays with it, features together, a daily cycle."""
    draws = np.random.default_rng(5)
    return [*_no_drift(draws), _found(draws), _features(draws), _cycle(draws)]


def _rate(alarms: NDArray[np.bool_]) -> float:
    return float(alarms.any(axis=1).mean())


def _no_drift(draws: np.random.Generator) -> list[Row]:
    runs = 400
    counts = hourly(draws, runs, None, 0.0)
    baseline = draws.multinomial(BASELINE, np.full(BINS, 1 / BINS), runs)
    rules = {
        "PSI > 0.1": by_psi,
        "chi-squared p < .05": by_chi_square(0.05),
        "e-process": by_e_process,
    }
    found = []
    for name, looks in (("30 daily", daily(counts)), ("720 hourly", counts)):
        rate = _rate(by_tolerance(baseline, looks))
        peers = ", ".join(f"{rule} {_rate(of(baseline, looks)):.1%}" for rule, of in rules.items())
        what = f"no drift, 400 models, 30 days, {name} looks: with an alarm"
        found.append(judged("5 looks", what, f"{rate:.1%}", "<= 5%", rate <= 0.05, peers))
    return found


def _found(draws: np.random.Generator) -> Row:
    runs, change_at = 200, 168
    counts = hourly(draws, runs, change_at, 0.036)
    baseline = draws.multinomial(BASELINE, np.full(BINS, 1 / BINS), runs)
    delays = first(by_tolerance(baseline, daily(counts))) * 24 - change_at
    peer = first(by_chi_square(BUDGET / HOURS)(baseline, counts)) - change_at
    missed = int(np.isinf(delays).sum())
    measured = f"median {np.median(delays):.0f} h, most {delays.max():.0f} h, missed {missed}"
    what = "PSI .036 from hour 168, daily looks, tolerance .01"
    is_met = missed == 0 and float(np.median(delays)) <= 48
    peers = f"hourly chi-squared at .05/720: median {np.median(peer[peer > 0]):.0f} h"
    return judged("5 looks", what, measured, "<= 48 h, no miss of 200", is_met, peers)


def _features(draws: np.random.Generator) -> Row:
    """30 features, correlation .3, 240 looks of 200 rows: bins of correlated normal values."""
    runs, features, looks, rows_each = 60, 30, 240, 200
    names = ("ours", "PSI > 0.1", "Bonferroni over features", "over looks too", "e-BH")
    false = dict.fromkeys(names, 0)
    for _ in range(runs):
        baseline = draws.multinomial(BASELINE, np.full(BINS, 1 / BINS), features)
        common = draws.normal(size=(looks, rows_each, 1))
        own = draws.normal(size=(looks, rows_each, features))
        place = np.minimum(ndtr(np.sqrt(0.3) * common + np.sqrt(0.7) * own) * BINS, BINS - 1)
        flat = place.astype(np.int64) + BINS * np.arange(features)
        flat += BINS * features * np.arange(looks)[:, None, None]
        counts = np.bincount(flat.ravel(), minlength=looks * features * BINS)
        counts = counts.reshape(looks, features, BINS)
        test = tolerance_test(baseline, counts, TOLERANCE, BUDGET / looks / features)
        false["ours"] += any(holm_rejects(p, BUDGET / looks).any() for p in test.p_value)
        false["PSI > 0.1"] += bool((psi(baseline, counts) > 0.1).any())
        p_values = two_sample_chi_square(baseline, counts).p_value
        false["Bonferroni over features"] += bool((p_values < 0.05 / features).any())
        false["over looks too"] += bool((p_values < BUDGET / features / looks).any())
        false["e-BH"] += by_e_bh(baseline, counts)
    measured = f"{false.pop('ours')} of {runs}"
    peers = ", ".join(f"{name} {count} of {runs}" for name, count in false.items())
    what = "30 features, correlation .3, 240 looks: runs with an alarm"
    is_met = int(measured.split(maxsplit=1)[0]) <= 5
    return judged("5 looks", what, measured, f"<= 5 of {runs}", is_met, peers)


def _cycle(draws: np.random.Generator) -> Row:
    """A daily cycle whose worst hour has a PSI of .025 from the mean of the day."""
    runs, hours = 200, 14 * 24
    worst = shifted(BINS, 0.025) - 1 / BINS
    shares = 1 / BINS + np.sin(2 * np.pi * np.arange(24) / 24)[:, None] * worst
    counts = np.stack(
        [draws.multinomial(PER_HOUR, shares[hour % 24], runs) for hour in range(hours)], axis=1
    )
    baseline = draws.multinomial(BASELINE, np.full(BINS, 1 / BINS), runs)
    rate = _rate(by_tolerance(baseline, daily(counts)))
    peer = _rate(by_chi_square(BUDGET / hours)(baseline, counts))
    what = "daily cycle of PSI .025, 14 days, 24 h windows: with an alarm"
    peers = f"hourly chi-squared at .05/{hours}: {peer:.0%}"
    return judged("5 looks", what, f"{rate:.1%}", "0%", rate == 0, peers)
