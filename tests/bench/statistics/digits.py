"""Section 6: digits, one class taken out of the stream; and digits that are rotated.

Detection by the operator's `judge_predictions` on ten bins of the largest softmax probability and
the predicted classes; beside it Kolmogorov-Smirnov on the raw scores of as many rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import rotate
from scipy.stats import ks_2samp
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from tests.bench.statistics.rows import Row, judged

from trimtab.contract import metrics
from trimtab.contract.artifact import Baseline
from trimtab.contract.calibration import calibrated
from trimtab.decide.drift.signals.predictions import judge_predictions
from trimtab.training.baseline import bin_counts, quantile_edges
from trimtab.training.calibration import fit_calibration

DRAWS = 400
LEVEL = 0.05
TOLERANCE = 0.02
BINS = 10
Floats = NDArray[np.float64]


def rows() -> list[Row]:
    """Detection and false alarms, then the rotated digits."""
    return [*_missing_class(), *_rotated()]


def _missing_class() -> list[Row]:
    """The model knows all classes; the stream lacks one. Each draw splits held-out rows anew."""
    draws = np.random.default_rng(0)
    features, labels = load_digits(return_X_y=True)
    train, rest, train_y, rest_y = train_test_split(
        features / 16, labels, test_size=0.6, random_state=0
    )
    scores = LogisticRegression(max_iter=2000).fit(train, train_y).predict_proba(rest)
    found: dict[tuple[str, int], list[bool]] = {}
    for draw in range(DRAWS):
        order = draws.permutation(len(rest))
        baseline, others = order[: len(rest) // 2], order[len(rest) // 2 :]
        lacking = others[rest_y[others] != draw % 10]
        for n in (200, 400):
            for name, pool in (("moved", lacking), ("same", others)):
                pair = scores[baseline], scores[pool[:n]]
                found.setdefault((f"ours {name}", n), []).append(_differs(*pair))
                found.setdefault((f"KS {name}", n), []).append(_differs_by_ks(*pair))
    rate = {key: float(np.mean(hits)) for key, hits in found.items()}
    return [
        judged(
            "6 digits",
            f"one class gone from the stream, {n} rows: found",
            f"{rate['ours moved', n]:.3f}",
            f">= {goal}",
            rate["ours moved", n] >= goal,
            f"KS on raw scores {rate['KS moved', n]:.2f}",
        )
        for n, goal in ((200, 0.92), (400, 1.0))
    ] + [
        judged(
            "6 digits",
            f"all classes, {n} rows: false alarms",
            f"{rate['ours same', n]:.3f}",
            "<= .05",
            rate["ours same", n] <= LEVEL,
            f"KS on raw scores {rate['KS same', n]:.3f}",
        )
        for n in (200, 400)
    ]


def _differs(baseline: Floats, current: Floats) -> bool:
    """What the operator says of the predictions: largest probability in ten bins, and classes."""
    edges = quantile_edges(baseline.max(axis=1), BINS)
    classes = [np.bincount(part.argmax(axis=1), minlength=10) for part in (baseline, current)]
    known = Baseline(
        digest="",
        n=len(baseline),
        features=[],
        score_edges=edges,
        score_counts=bin_counts(baseline.max(axis=1), edges),
        predicted_counts={str(k): int(count) for k, count in enumerate(classes[0])},
    )
    counts = {
        (metrics.SCORE_BIN, frozenset({("bin", str(index))})): float(count)
        for index, count in enumerate(bin_counts(current.max(axis=1), edges))
    } | {
        (metrics.PREDICTED, frozenset({("class", str(k))})): float(count)
        for k, count in enumerate(classes[1])
    }
    return judge_predictions(counts, known, TOLERANCE, LEVEL).verdict == "Drifting"


def _differs_by_ks(baseline: Floats, current: Floats) -> bool:
    return bool(ks_2samp(baseline.max(axis=1), current.max(axis=1)).pvalue < LEVEL)


def _rotated() -> list[Row]:
    """True and estimated accuracy of a forest: what calibration can no longer know."""
    features, labels = load_digits(return_X_y=True)
    train, rest, train_y, rest_y = train_test_split(features, labels, test_size=0.5, random_state=0)
    half = len(rest) // 2
    model = RandomForestClassifier(200, random_state=0).fit(train, train_y)
    names = [str(one) for one in model.classes_]
    maps = fit_calibration(model.predict_proba(rest[:half]), rest_y[:half].astype(str), names)
    found = []
    for degrees, told in ((0, ""), (10, ".816, .810"), (15, ".713, .750"), (30, ".396, .656")):
        turned = np.array(
            [
                rotate(row.reshape(8, 8), degrees, reshape=False, order=1).ravel()
                for row in rest[half:]
            ]
        )
        scores = model.predict_proba(turned)
        sure = calibrated(scores, maps)
        place = scores.argmax(axis=1)
        true = float((model.classes_[place] == rest_y[half:]).mean())
        estimated = float(sure[np.arange(len(place)), place].mean())
        what = f"digits rotated by {degrees} degrees: true, estimated accuracy"
        reference = f"reference {told}" if told else ""
        found.append(Row("6 digits", what, f"{true:.3f}, {estimated:.3f}", reference))
    return found
