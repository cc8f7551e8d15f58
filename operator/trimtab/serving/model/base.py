"""The model behind one call: matrix in, prediction out, whatever library made it."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Answering, Answers
from trimtab.contract.artifact import BASELINE, Baseline, ScoreKind, Signature, feature_names
from trimtab.contract.calibration import Floats, calibrated, exact_for
from trimtab.contract.estimators.refused import RowsRefused
from trimtab.contract.token import NO_BIN, PROBABILITY_BINS
from trimtab.serving.errors import ArtifactRefused, ModelFailed, ValueUnknown

Matrix = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answers for n rows.

    Classification: `predicted` (n,) indices into the signature's classes, and `score` (n,): the
    probability or decision value of the second class if K is 2, else the largest, 1 of a model that
    gives neither. `probabilities` (n, K) where the model has them. Where it is calibrated, or its
    probabilities are taken as they are, also `calibrated` (n, K) and `bins` (n,) of the predicted
    class's calibrated probability.
    Regression: `values` (n,), which is `score`, too; with several targets `targets` (n, T) as
    well, of which `values` is the one that is counted.
    Where a row is classified several times, the above is of the target that is counted; `labels`
    (n, T) and `spread` (n, sum of their K) are the classes and probabilities of all.
    Where another version predicted rows as well, `other` (n,) are indices into its classes, -1 for
    the rows that it did not.
    """

    predicted: NDArray[np.intp] | None = None
    values: Floats | None = None
    probabilities: Floats | None = None
    calibrated: Floats | None = None
    bins: NDArray[np.uint8] | None = None
    score: Floats | None = None
    targets: Floats | None = None
    other: NDArray[np.intp] | None = None
    labels: NDArray[np.intp] | None = None
    spread: Floats | None = None

    def only(self, chosen: NDArray[np.bool_] | slice) -> Prediction:
        """Return the prediction of the chosen rows."""
        return Prediction(
            *(None if (part := getattr(self, name)) is None else part[chosen] for name in _PARTS)
        )

    def without_other(self) -> Prediction:
        """Return the same, saying of each row that no other version predicted it."""
        assert self.predicted is not None
        return replace(self, other=np.full(len(self.predicted), -1, dtype=np.intp))

    @staticmethod
    def joined(parts: Sequence[Prediction]) -> Prediction:
        """Return the prediction of the rows of all parts, in their order."""
        if parts[0].other is not None:
            parts = [part if part.other is not None else part.without_other() for part in parts]
        return Prediction(
            *(
                None
                if getattr(parts[0], name) is None
                else np.concatenate([getattr(part, name) for part in parts])
                for name in _PARTS
            )
        )


_PARTS = (
    "predicted",
    "values",
    "probabilities",
    "calibrated",
    "bins",
    "score",
    "targets",
    "other",
    "labels",
    "spread",
)


_UNKNOWN: Final = "Found unknown categories"
_SAID: Final = re.compile(rf"{_UNKNOWN} (\[.*\]) in column \d+ during transform", re.DOTALL)
_SCALAR: Final = re.compile(r"\bnp\.\w+\(([^()]*)\)")
_ENCODERS: Final = "sklearn.preprocessing._encoders"


class Model:
    """A loaded model with the signature's view of its answers."""

    def __init__(self, answering: Answering, signature: Signature, baseline: Baseline) -> None:
        self._answering = answering
        self._calibration = baseline.calibration
        self._is_classifier = signature.task == "classification"
        self._classes = len(signature.classes)
        self._inputs = [name for one in signature.inputs for name in feature_names(one)]
        self._counted = signature.counted
        self._targets = sum(prod(tensor.shape) for tensor in signature.outputs)
        self.has_probabilities = self._is_classifier and answering.has_probabilities
        self._kind = _kind_of(answering, baseline) if self._is_classifier else "none"
        self.is_calibrated = self._kind == "probability" or (
            self._kind == "decision" and bool(self._calibration)
        )
        """Whether calibrated probabilities are summed up."""
        self.keeps_whole = answering.keeps_whole
        self.prepare_thread = answering.prepare_thread

    def predict(self, rows: Matrix) -> Prediction:
        """Return the answers for `rows` (n, features); raise ModelFailed."""
        try:
            answers = self._answering.answers(rows)
        except Exception as error:
            # A model may raise anything; it is its own 500 and must not end the thread.
            raise self._failed(error, rows) from error
        if not self._is_classifier:
            return self._regression(answers, len(rows))
        return self._classified(answers, len(rows))

    def _failed(self, error: Exception, rows: Matrix) -> ModelFailed:
        """Tell rows that hold what the model cannot take from a model that is broken."""
        said = _value_error(error)
        if said is None:
            return ModelFailed(f"{type(error).__name__}: {error}")
        return ValueUnknown(_with_input(said, rows, self._inputs))

    def _regression(self, answers: Answers, rows: int) -> Prediction:
        targets = answers.values
        assert targets is not None
        _check(targets, (rows, self._targets))
        values = targets[:, self._counted]
        if self._targets == 1:
            return Prediction(values=values, score=values)
        return Prediction(values=values, score=values, targets=targets)

    def _classified(self, answers: Answers, rows: int) -> Prediction:
        raw, predicted = answers.scores, answers.chosen
        if raw is not None:
            _check(raw, (rows, self._classes))
        if predicted is None:
            assert raw is not None
            predicted = raw.argmax(axis=1)
        if raw is None or self._kind in ("none", "unknown"):
            score = np.ones(rows) if self._kind == "none" else None
            return _uncalibrated(answers, predicted, score)
        score = raw[:, 1] if self._classes == 2 else raw.max(axis=1)
        if not self.is_calibrated:
            return _uncalibrated(answers, predicted, score)
        if self._kind == "decision" and self._classes > 2:
            mapped = exact_for(predicted, raw, self._calibration)
        else:
            mapped = calibrated(raw, self._calibration)
        sure = mapped[np.arange(rows), predicted]
        return Prediction(
            predicted=predicted,
            probabilities=answers.probabilities,
            calibrated=mapped,
            bins=np.minimum(sure * PROBABILITY_BINS, PROBABILITY_BINS - 1).astype(np.uint8),
            score=score,
            labels=answers.labels,
            spread=answers.spread,
        )


def _value_error(error: Exception) -> str | None:
    """Return what is wrong with the rows; None where it is the model that is broken.

    Source: scikit-learn, `sklearn/preprocessing/_encoders.py`, with `handle_unknown="error"`.
    """
    is_unknown = isinstance(error, ValueError) and str(error).startswith(_UNKNOWN)
    if isinstance(error, RowsRefused) or (is_unknown and _by_encoder(error)):
        return str(error)
    return None


def _with_input(said: str, rows: Matrix, names: Sequence[str]) -> str:
    """Name the input in what an encoder says, which counts its own columns.

    Left as it is where no input, or more than one, holds such a value.
    """
    found = _SAID.fullmatch(said)
    if found is None:
        return said
    try:
        values = set(literal_eval(_SCALAR.sub(r"\1", found[1])))
    except (ValueError, SyntaxError, TypeError):
        return said
    holding = [name for at, name in enumerate(names) if not values.isdisjoint(rows[:, at].tolist())]
    return f"{holding[0]}: {_UNKNOWN} {found[1]}" if len(holding) == 1 else said


def _by_encoder(error: Exception) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == _ENCODERS


def _uncalibrated(
    answers: Answers, predicted: NDArray[np.intp], score: Floats | None
) -> Prediction:
    return Prediction(
        predicted,
        probabilities=answers.probabilities,
        score=score,
        labels=answers.labels,
        spread=answers.spread,
    )


def _kind_of(answering: Answering, baseline: Baseline) -> ScoreKind | Literal["unknown"]:
    """Return what the score is; raise ArtifactRefused where the model does not give it.

    unknown: an artifact that says nothing of it, of a model without probabilities; not binned.
    """
    kind = baseline.score_kind
    if kind == "probability" and not answering.has_probabilities:
        return "unknown"
    if kind == "decision" and not (answering.has_decision or answering.has_probabilities):
        raise ArtifactRefused(
            "BaselineMismatch",
            f"{BASELINE}: scoreKind: the model gives no decision values for single classes",
        )
    return kind


def no_bins(rows: int) -> bytes:
    """Return the bins of a model without calibrated probabilities."""
    return bytes([NO_BIN]) * rows


def _check(answers: Floats, shape: tuple[int, ...]) -> None:
    if answers.shape != shape:
        raise ModelFailed(f"the model answered with shape {answers.shape}, {shape} was expected")
    if not np.isfinite(answers).all():
        raise ModelFailed("the model answered with a value that is not finite")
