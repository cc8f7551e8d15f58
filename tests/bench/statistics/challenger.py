"""Section 6: champion and challenger on the same rows, at exactly the margin and at none.

Worse by exactly the margin is accepted in at most 5 % of the sets; equally good with the rows that
the operator asks for in at least 80 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from tests.bench.statistics.rows import Row, judged

from trimtab.stats.challenger import (
    PairedCounts,
    Statistic,
    Verdict,
    compare_accuracy,
    compare_by_bootstrap,
    needed_rows,
    weighted_auc,
    weighted_negative_rmse,
)

SETS = 2000
MARGIN = 0.02
DISCORDANCE = 0.1
BOOTSTRAP_SETS, BOOTSTRAP_ROWS, RESAMPLES = 300, 400, 300
_ALLOWED = 0.05 + 1.645 * (0.05 * 0.95 / SETS) ** 0.5
"""5 % and what chance adds to it in one of twenty runs of so many sets."""


def paired(draws: np.random.Generator, n: int, worse_by: float, discordance: float) -> list[bool]:
    """Whether each of SETS sets of n rows was accepted; true difference -worse_by."""
    gained, lost = (discordance - worse_by) / 2, (discordance + worse_by) / 2
    drawn = draws.multinomial(n, [gained, lost, 1 - discordance], SETS)
    return [
        compare_accuracy(PairedCounts(int(up), int(down), n), MARGIN).verdict is Verdict.ACCEPTED
        for up, down, _ in drawn
    ]


def _size() -> list[Row]:
    draws = np.random.default_rng(6)
    found = []
    for n in (500, 2000, 10_000):
        rate = float(np.mean(paired(draws, n, MARGIN, DISCORDANCE)))
        peer = float(np.mean(_by_equality(draws.multinomial(n, [0.04, 0.06, 0.9], SETS))))
        what = f"challenger worse by exactly 2 %, {n} rows, 2000 sets: accepted"
        found.append(
            judged(
                "6 challenger",
                what,
                f"{rate:.1%}",
                "<= 5%, within chance",
                rate <= _ALLOWED,
                f"McNemar at 5 % finds no difference: {peer:.1%}",
            )
        )
    return found


def _by_equality(drawn: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Accepted by a test of equality: no difference was proven."""
    up, down = drawn[:, 0].astype(float), drawn[:, 1].astype(float)
    statistic = (np.abs(up - down) - 1) ** 2 / np.maximum(up + down, 1)
    return np.asarray(statistic < 3.841)


def _power() -> list[Row]:
    margin, discordance = 0.005, 0.04
    needed = needed_rows(discordance, margin)
    draws = np.random.default_rng(7)
    drawn = draws.multinomial(needed, [0.02, 0.02, 0.96], SETS)
    rate = float(
        np.mean(
            [
                compare_accuracy(PairedCounts(int(up), int(down), needed), margin).verdict
                is Verdict.ACCEPTED
                for up, down, _ in drawn
            ]
        )
    )
    what = "rows for 80 % power, 4 % discordance, margin .5 %"
    about = judged(
        "6 challenger", what, str(needed), "about 10,000", abs(needed / 10_000 - 1) <= 0.05
    )
    least = 0.8 - 1.645 * (0.16 / SETS) ** 0.5
    seen = judged(
        "6 challenger",
        f"  equally good with {needed} rows: accepted",
        f"{rate:.1%}",
        ">= 80%, within chance",
        rate >= least,
    )
    return [about, seen]


def _bootstrap() -> list[Row]:
    """AUC and RMSE: sets whose true difference is the margin."""
    draws = np.random.default_rng(8)
    limit = 0.05 + 1.645 * (0.05 * 0.95 / BOOTSTRAP_SETS) ** 0.5
    found = []
    for name, margin, make in (("AUC", 0.02, _auc_set), ("RMSE", 0.1, _rmse_set)):
        accepted = 0
        for number in range(BOOTSTRAP_SETS):
            champion, challenger = make(draws, margin)
            comparison = compare_by_bootstrap(
                champion, challenger, BOOTSTRAP_ROWS, margin, resamples=RESAMPLES, seed=number
            )
            accepted += comparison.verdict is Verdict.ACCEPTED
        rate = accepted / BOOTSTRAP_SETS
        what = f"challenger's {name} worse by exactly {margin}, {BOOTSTRAP_SETS} sets: accepted"
        found.append(
            judged("6 challenger", what, f"{rate:.1%}", "<= 5%, within chance", rate <= limit)
        )
    return found


def _auc_set(draws: np.random.Generator, margin: float) -> tuple[Statistic, Statistic]:
    """Scores of two models whose AUCs differ by the margin: normal scores, .90 and .88."""
    truth = np.arange(BOOTSTRAP_ROWS) % 2 == 1
    shared = draws.normal(size=BOOTSTRAP_ROWS)
    scores = []
    # AUC of two normal scores at a distance d is Phi(d / sqrt 2).
    for distance in (_distance(0.90), _distance(0.90 - margin)):
        own = np.sqrt(0.7) * shared + np.sqrt(0.3) * draws.normal(size=BOOTSTRAP_ROWS)
        scores.append(own + distance * truth)
    return weighted_auc(truth, scores[0]), weighted_auc(truth, scores[1])


def _distance(auc: float) -> float:
    return float(np.sqrt(2) * ndtri(auc))


def _rmse_set(draws: np.random.Generator, margin: float) -> tuple[Statistic, Statistic]:
    truth = np.zeros(BOOTSTRAP_ROWS)
    shared = draws.normal(size=BOOTSTRAP_ROWS)
    models = []
    for sigma in (1.0, 1.0 + margin):
        own = np.sqrt(0.5) * shared + np.sqrt(0.5) * draws.normal(size=BOOTSTRAP_ROWS)
        models.append(weighted_negative_rmse(truth, sigma * own))
    return models[0], models[1]


def rows() -> list[Row]:
    """Size at the margin, rows and power without a difference, and both bootstraps."""
    return [*_size(), *_power(), *_bootstrap()]
