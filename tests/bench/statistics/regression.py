"""Section 6: the error of a regression, estimated without labels and measured with them.

Beside ours, DLE as NannyML does it: a second model (gradient boosting) of the absolute error. The
rows move to where the model errs more; what an estimate cannot see is an error that changed by
itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from tests.bench.statistics.rows import Row, judged

from trimtab.stats.regression import (
    ErrorMetric,
    ErrorSums,
    ResidualModel,
    ceiling_test,
    estimated_error,
    mean_absolute_error,
    residual_model,
    root_mean_square_error,
)

SETS = 1000
BINS = 20
ROWS = 2000
Floats = NDArray[np.float64]


def rows() -> list[Row]:
    """Estimates under a shift, coverage of bounds, size and power of the ceiling test."""
    return [*_estimates(), *_coverage(), *_ceiling()]


def _drawn(draws: np.random.Generator, n: int, shift: float) -> tuple[Floats, Floats]:
    """Predictions and errors: an error's spread grows with the prediction."""
    predicted = draws.normal(10 + shift, 3, n)
    return predicted, draws.normal(0, 0.5 + 0.1 * np.abs(predicted))


def _model(
    draws: np.random.Generator,
) -> tuple[Floats, ResidualModel, HistGradientBoostingRegressor]:
    predicted, errors = _drawn(draws, 5000, 0.0)
    edges = np.quantile(predicted, np.arange(1, BINS) / BINS)
    peer = HistGradientBoostingRegressor(max_iter=100, random_state=0)
    peer.fit(predicted[:, None], np.abs(errors))
    return edges, residual_model(np.searchsorted(edges, predicted), errors, BINS), peer


def _counts(edges: Floats, predicted: Floats) -> Floats:
    return np.bincount(np.searchsorted(edges, predicted), minlength=BINS).astype(np.float64)


def _estimates() -> list[Row]:
    draws = np.random.default_rng(9)
    edges, model, peer = _model(draws)
    found = []
    for shift in (0.0, 2.0, 4.0):
        ours, theirs = [], []
        for _ in range(100):
            predicted, errors = _drawn(draws, ROWS, shift)
            true = float(np.abs(errors).mean())
            estimate = estimated_error(model, _counts(edges, predicted), ErrorMetric.MAE)
            ours.append(abs(estimate.value - true))
            theirs.append(abs(float(peer.predict(predicted[:, None]).mean()) - true))
        what = f"MAE estimated without labels, shift {shift:g}: mean distance to the true one"
        found.append(
            Row(
                "6 regression",
                what,
                f"{np.mean(ours):.4f}",
                f"a model of the error (DLE) {np.mean(theirs):.4f}",
            )
        )
    return found


def _coverage() -> list[Row]:
    """The true error of the stream lies above the lower bound in 95 % of the sets."""
    draws = np.random.default_rng(10)
    held: dict[ErrorMetric, int] = dict.fromkeys(ErrorMetric, 0)
    # The true errors of the stream without a shift, from very many rows.
    _, errors = _drawn(np.random.default_rng(11), 4_000_000, 0.0)
    truth = {
        ErrorMetric.MAE: float(np.abs(errors).mean()),
        ErrorMetric.RMSE: float(np.sqrt((errors**2).mean())),
    }
    for _ in range(SETS):
        # The model is drawn anew too: its own sampling is a part of the bound.
        predicted, wrong = _drawn(draws, 5000, 0.0)
        edges = np.quantile(predicted, np.arange(1, BINS) / BINS)
        model = residual_model(np.searchsorted(edges, predicted), wrong, BINS)
        counts = _counts(edges, _drawn(draws, ROWS, 0.0)[0])
        for metric in ErrorMetric:
            held[metric] += estimated_error(model, counts, metric).lower <= truth[metric]
    least = 0.95 - 1.645 * (0.05 * 0.95 / SETS) ** 0.5
    return [
        judged(
            "6 regression",
            f"estimated {metric.upper()}: the true one is above the 95 % bound",
            f"{count / SETS:.1%}",
            ">= 95%, within chance",
            count / SETS >= least,
        )
        for metric, count in held.items()
    ]


def _ceiling() -> list[Row]:
    """Labelled rows at exactly the ceiling alarm in 5 %; a tenth above it, with power."""
    draws = np.random.default_rng(12)
    found = []
    for name, of, ceiling in (
        ("MAE", mean_absolute_error, float(np.sqrt(2 / np.pi))),
        ("RMSE", root_mean_square_error, 1.0),
    ):
        alarms = {}
        for factor in (1.0, 1.1):
            hits = 0
            for _ in range(SETS):
                errors = draws.normal(0, factor, 1000)
                sums = ErrorSums(
                    1000.0,
                    float(errors.sum()),
                    float((errors**2).sum()),
                    float(np.abs(errors).sum()),
                )
                hits += ceiling_test(of(sums), ceiling).is_above
            alarms[factor] = hits / SETS
        most = 0.05 + 1.645 * (0.05 * 0.95 / SETS) ** 0.5
        found.append(
            judged(
                "6 regression",
                f"{name} of 1000 labelled rows at the ceiling: alarms",
                f"{alarms[1.0]:.1%}",
                "<= 5%, within chance",
                alarms[1.0] <= most,
                f"a tenth above it: {alarms[1.1]:.1%}",
            )
        )
    return found
