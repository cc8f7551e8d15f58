"""Section 6: quality estimated from counters, against what the labels say.

Rows become the counters that a serving pod exports (rows and sums of calibrated probability by
predicted class, 20 score bins); everything after that is the operator's code. The isotonic map is
fitted on the reference, as training does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.bench.statistics.data import table
from tests.bench.statistics.rows import Row, judged

from trimtab.contract import metrics
from trimtab.contract.artifact import Calibration
from trimtab.contract.metrics import Series
from trimtab.decide.drift.signals.harm import Standard
from trimtab.decide.drift.signals.quality import judge_quality
from trimtab.stats.distance import psi, two_sample_chi_square
from trimtab.stats.quality import estimated_auc
from trimtab.training.baseline import quantile_edges
from trimtab.training.calibration import fit_calibration

CHUNK = 5000
ALPHA = 0.01
"""Level of one look: about one false alarm in eight years of these chunks of 26 days."""
SCORE_BINS = 20
CAR_LOAN_ACCURACY = (0.941792, 0.943321, 0.945492, 0.944816)
CAR_LOAN_AUC = (0.970744, 0.971011, 0.971407, 0.971091)


@dataclass(frozen=True)
class Scored:
    """Rows of a binary model in chunks of CHUNK: probability, answer and truth, each [n]."""

    probability: NDArray[np.float64]
    predicted: NDArray[np.int64]
    actual: NDArray[np.int64]

    def chunks(self) -> Iterator[Scored]:
        """Whole chunks only: what is left over is no look."""
        for start in range(0, len(self.actual) - CHUNK + 1, CHUNK):
            part = slice(start, start + CHUNK)
            yield Scored(self.probability[part], self.predicted[part], self.actual[part])

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.actual).mean())


@dataclass(frozen=True)
class Model:
    """What training stores: the calibration map and the score's edges."""

    calibration: Calibration
    edges: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Scored) -> Model:
        both = np.column_stack([1 - reference.probability, reference.probability])
        maps = fit_calibration(both, reference.actual, (0, 1))
        return cls(maps[-1], np.asarray(quantile_edges(reference.probability, SCORE_BINS)))

    def calibrated(self, scored: Scored) -> NDArray[np.float64]:
        return np.interp(scored.probability, self.calibration.x, self.calibration.y)

    def counts(self, scored: Scored) -> Series:
        """The counters by predicted class, as a pod exports them."""
        positive = self.calibrated(scored)
        found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for predicted in (0, 1):
            rows = scored.predicted == predicted
            label = str(predicted)
            found[metrics.PREDICTED, frozenset({("class", label)})] = float(rows.sum())
            for name, sums in (("0", 1 - positive), ("1", positive)):
                labels = frozenset({("predicted", label), ("class", name)})
                found[metrics.PROBABILITY_SUM, labels] = float(sums[rows].sum())
        return found

    def auc(self, scored: Scored) -> float:
        """Estimated from score bins."""
        index = np.searchsorted(self.edges, scored.probability, side="left")
        rows = np.bincount(index, minlength=len(self.edges) + 1)
        sums = np.bincount(index, self.calibrated(scored), minlength=len(self.edges) + 1)
        return estimated_auc(rows, sums).value

    def unbinned_auc(self, scored: Scored) -> float:
        """The same from every row, as NannyML estimates it: each score is a bin of its own."""
        _, index = np.unique(scored.probability, return_inverse=True)
        rows = np.bincount(index)
        return estimated_auc(rows, np.bincount(index, self.calibrated(scored))).value


def rows() -> list[Row]:
    """Car loans against NannyML's printed figures, then ten years of census rows."""
    return [*_car_loan(), *_employment()]


def _car_loan() -> list[Row]:
    reference = table("synthetic_car_loan_reference.csv")
    analysis = table("synthetic_car_loan_analysis.csv")
    analysis = analysis.merge(table("synthetic_car_loan_analysis_target.csv"), on="id")
    model = Model.of(_scored(reference, "y_pred_proba", "y_pred", "repaid"))
    chunks = list(_scored(analysis, "y_pred_proba", "y_pred", "repaid").chunks())
    exact = [_estimated(model, chunk) for chunk in chunks[:4]]
    shown = ", ".join(f"{value:.6f}" for value in exact)
    goal = ", ".join(f"{value:.6f}" for value in CAR_LOAN_ACCURACY)
    what = "car loan, estimated accuracy of chunks 1-4"
    found = [judged("6 quality", what, shown, goal, shown == goal, "NannyML: the goal")]
    auc = [model.auc(chunk) for chunk in chunks[:4]]
    error = max(abs(a - b) for a, b in zip(auc, CAR_LOAN_AUC, strict=True))
    what = "car loan, estimated AUC of chunks 1-4: largest difference to NannyML's"
    found.append(judged("6 quality", what, f"{error:.5f}", "<= .0008", error <= 0.0008))
    for begin, end, most in ((0, 5, 0.0008), (5, 10, 0.0039)):
        part = chunks[begin:end]
        apart = max(abs(model.auc(chunk) - model.unbinned_auc(chunk)) for chunk in part)
        what = f"car loan, AUC of chunks {begin + 1}-{end}: from 20 bins against from every row"
        found.append(judged("6 quality", what, f"{apart:.5f}", f"<= {most}", apart <= most))
    return found


def _estimated(model: Model, chunk: Scored) -> float:
    """The accuracy that the operator estimates, unrounded."""
    positive = model.calibrated(chunk)
    return float(np.where(chunk.predicted == 1, positive, 1 - positive).mean())


def floor_from_reference(reference: Scored) -> float:
    """Three standard deviations below the mean accuracy of the reference's own chunks.

    What NannyML's default threshold is too; nothing after 2015 is looked at.
    """
    accuracies = [chunk.accuracy for chunk in reference.chunks()]
    return float(np.mean(accuracies) - 3 * np.std(accuracies))


def _employment() -> list[Row]:
    columns = ("predicted_probability", "prediction", "employed")
    first_year = table("employment_MA_reference.pq")
    later = table("employment_MA_analysis.pq")
    later = later.merge(table("employment_MA_analysis_target.pq"), on="id")
    reference = _scored(first_year, *columns)
    model, floor = Model.of(reference), floor_from_reference(reference)
    chunks = list(_scored(later, *columns).chunks())
    standard = Standard("accuracy", floor)
    fired = [
        number
        for number, chunk in enumerate(chunks, 1)
        if judge_quality(model.counts(chunk), None, standard, ALPHA).verdict == "Drifting"
    ]
    shown = ", ".join(map(str, fired)) + f" of {len(chunks)}"
    what = f"MA employment, floor {floor:.4f} = mean - 3 sd of the 2015 chunks: acts on chunks"
    peers = _rules(first_year, later)
    found = [judged("6 quality", what, shown, "28, 29 of 41", shown == "28, 29 of 41", peers)]
    errors = [abs(_estimated(model, chunk) - chunk.accuracy) for chunk in chunks]
    mean = float(np.mean(errors))
    what = "MA employment, mean absolute error of estimated accuracy"
    found.append(judged("6 quality", what, f"{mean:.5f}", "<= .0051", mean <= 0.0051))
    auc_errors = [
        abs(model.auc(chunk) - float(roc_auc_score(chunk.actual, chunk.probability)))
        for chunk in chunks
    ]
    mean = float(np.mean(auc_errors))
    what = "MA employment, mean absolute error of estimated AUC"
    found.append(judged("6 quality", what, f"{mean:.5f}", "<= .0039", mean <= 0.0039))
    return found


def _rules(first_year: pd.DataFrame, later: pd.DataFrame) -> str:
    """How many of the chunks the usual rules on features fire in."""
    no_features = {"id", "employed", "year", "prediction", "predicted_probability"}
    features = [name for name in first_year.columns if name not in no_features]
    whole = len(later) // CHUNK
    by_psi, by_chi = np.zeros(whole, bool), np.zeros(whole, bool)
    for name in features:
        old, new = first_year[name].to_numpy(float), later[name].to_numpy(float)
        values = np.unique(old)
        edges = quantile_edges(old, 10) if len(values) > 30 else values[:-1].tolist()
        bins = len(edges) + 1
        baseline = np.bincount(np.searchsorted(edges, old, side="left"), minlength=bins)
        index = np.searchsorted(edges, new[: whole * CHUNK], side="left").reshape(whole, CHUNK)
        counts = np.stack([np.bincount(row, minlength=bins) for row in index])
        by_psi |= psi(baseline, counts) > 0.1
        by_chi |= two_sample_chi_square(baseline, counts).p_value < 0.05 / len(features)
    return f"PSI > 0.1 on any feature {by_psi.sum()}, Bonferroni chi-squared {by_chi.sum()}"


def _scored(data: pd.DataFrame, probability: str, predicted: str, actual: str) -> Scored:
    return Scored(
        data[probability].to_numpy(float),
        data[predicted].to_numpy(np.int64),
        data[actual].to_numpy(np.int64),
    )
