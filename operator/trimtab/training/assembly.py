"""From a fitted model and rows of its own to the artifact's files, complete and checked."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.adjusting import adjusted
from trimtab.contract.answers import Answering
from trimtab.contract.artifact import (
    BASELINE,
    SIGNATURE,
    Baseline,
    Interval,
    Signature,
)
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.location import Location
from trimtab.contract.recorded import ANSWERS, Recorded
from trimtab.contract.releases import version_of
from trimtab.contract.transfer import WrittenArtifact, write_artifact
from trimtab.training.baseline import build_baseline
from trimtab.training.boosters import as_fitted
from trimtab.training.calibration import fit_calibration
from trimtab.training.class_metrics import class_metrics
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken
from trimtab.training.evaluation import Predictions, evaluate
from trimtab.training.models import Graph, ModelFile, answer, dump_model
from trimtab.training.recording import record
from trimtab.training.rehearsing import rehearse
from trimtab.training.targets import others_metrics


@dataclass(frozen=True)
class Labelled:
    """Rows [n, features] with their truths [n]; of several targets of the one that is counted.

    targets: [n, T], all of them.
    """

    matrix: Matrix
    actual: NDArray[Any]
    targets: NDArray[Any] | None = None

    def only(self, rows: NDArray[Any]) -> Labelled:
        """Return the chosen rows, by number or mask."""
        targets = None if self.targets is None else self.targets[rows]
        return Labelled(self.matrix[rows], self.actual[rows], targets)

    @property
    def learned(self) -> NDArray[Any]:
        """What a model is fitted to, [n] or [n, T]."""
        return self.actual if self.targets is None else self.targets


@dataclass(frozen=True)
class Assembled:
    """Everything of an artifact but its place; `answers` are for the held-out rows `asked`."""

    file: ModelFile
    signature: Signature
    baseline: Baseline
    metrics: list[Interval]
    answers: Predictions
    asked: Matrix
    recorded: Recorded | None


def assemble(
    model: Any,
    signature: Signature,
    classes: list[Any],
    *,
    calibrate: Labelled,
    evaluate_on: Labelled,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    several: Sequence[Sequence[Any]] = (),
) -> Assembled:
    """Calibrate, evaluate, count, and read the model back from its own file.

    classes: of the fitted model, in the order of its scores; empty for a regression. several: the
    classes of each of several targets.
    Raise CodeBroken when the model cannot be stored safely or answers differently once stored.
    """
    file, stored = dump_model(model, signature)
    if not isinstance(model, Graph):
        asked = partial(answer, classes=classes, counted=signature.counted, several=several)
        before = AnsweringEstimator(as_fitted(model, signature), signature)
        rows = evaluate_on.matrix
        own = asked(before, rows)
        _check_finite(own, classes)
        _check_same(asked(stored, rows), own, classes)
    return assemble_file(
        file,
        stored,
        signature,
        classes,
        calibrate=calibrate,
        evaluate_on=evaluate_on,
        slices=slices,
        several=several,
    )


def assemble_file(
    file: ModelFile,
    plain: Answering,
    signature: Signature,
    classes: list[Any],
    *,
    calibrate: Labelled,
    evaluate_on: Labelled,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    several: Sequence[Sequence[Any]] = (),
) -> Assembled:
    """Do the same for a model out of a file, which is adjusted as the signature says."""
    stored = adjusted(plain, signature)
    asked = partial(answer, classes=classes, counted=signature.counted, several=several)
    answers = asked(stored, evaluate_on.matrix)
    calibration_answers = asked(stored, calibrate.matrix)
    calibration = (
        fit_calibration(calibration_answers.score, calibrate.actual, classes)
        if calibration_answers.score is not None and signature.adjustment is None
        else []  # or they are calibrated
    )
    metrics = evaluate(evaluate_on.actual, answers, classes, slices)
    if evaluate_on.targets is not None:
        metrics += others_metrics(evaluate_on.targets, answers, signature)
    # Policies hold single classes to a floor; reports leave these metrics out.
    of_classes = class_metrics(evaluate_on.actual, answers.predicted, classes) if classes else []
    baseline = build_baseline(
        np.concatenate([calibrate.matrix, evaluate_on.matrix]),
        _joined(calibration_answers, answers),
        signature,
        calibration,
        [*metrics, *of_classes],
        np.concatenate([calibrate.actual, evaluate_on.actual]),
    )
    recorded = record(stored, signature, baseline)
    return Assembled(file, signature, baseline, metrics, answers, evaluate_on.matrix, recorded)


def assemble_unlabelled(
    model: Any, signature: Signature, classes: list[Any], rows: Matrix
) -> Assembled:
    """Count the answers for `rows` [n, features]; without truths nothing is measured.

    Probabilities, if the model gives some, only order rows: there is no truth that they are of.
    Raise CodeBroken as `assemble` does.
    """
    file, stored = dump_model(model, signature)
    answers = answer(stored, rows, classes)
    before = AnsweringEstimator(as_fitted(model, signature), signature)
    own = answer(before, rows, classes)
    _check_finite(own, classes)
    _check_same(answers, own, classes)
    baseline = build_baseline(rows, replace(answers, is_decision=True), signature, [], [])
    recorded = record(stored, signature, baseline)
    return Assembled(file, signature, baseline, [], answers, rows, recorded)


def write(
    assembled: Assembled, location: Location, *, model: str, version: str, created: datetime | None
) -> WrittenArtifact:
    """Write it at `<location>/<16 hex of the digest>/`, once it was served and asked here.

    Raise CodeBroken where a serving container would refuse it or answer differently, and
    LocationError.
    """
    files = {
        assembled.file.name: assembled.file.body,
        **assembled.file.beside,
        SIGNATURE: assembled.signature.model_dump_json(by_alias=True, indent=1).encode(),
        BASELINE: assembled.baseline.model_dump_json(by_alias=True).encode(),
    }
    if assembled.recorded is not None:
        files[ANSWERS] = assembled.recorded.model_dump_json(
            by_alias=True, exclude_none=True
        ).encode()
    moment = (created or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")

    def written(place: Location) -> WrittenArtifact:
        return write_artifact(
            place,
            files,
            model_format=assembled.file.format,
            model_file=assembled.file.name,
            model=model,
            version=version,
            created=moment,
            frameworks={
                "python": platform.python_version(),
                **{name: version_of(name) for name in assembled.file.packages},
            },
        )

    size = sum(map(len, files.values()))
    rehearse(written, assembled.asked, assembled.answers, size)
    return written(location)


def _check_finite(own: Predictions, classes: list[Any]) -> None:
    every = own.predicted if own.all_predicted is None else own.all_predicted
    if classes:
        return
    strange = ~np.isfinite(every).reshape(len(every), -1).all(axis=1)
    if strange.any():
        row = int(strange.argmax())
        raise CodeBroken(
            f"the model answers {int(strange.sum())} of {len(every)} rows to evaluate it on with "
            f"what is no finite number, the first is row {row}: {every[row]}; let it answer with "
            'one, as IsotonicRegression(out_of_bounds="clip") does, or leave such rows out'
        )


def _check_same(after: Predictions, before: Predictions, classes: list[Any]) -> None:
    same_score = (
        before.score is None
        or after.score is None
        or np.allclose(before.score, after.score, equal_nan=True)
    )
    same = (
        np.allclose(before.predicted, after.predicted)
        if not classes
        else bool((before.predicted == after.predicted).all())
    )
    if before.all_predicted is not None and after.all_predicted is not None:
        every = np.allclose if not classes else np.array_equal
        same = same and bool(every(before.all_predicted, after.all_predicted))
    if not (same and same_score):
        raise CodeBroken("the model answers differently once it was written and read back")


def _joined(first: Predictions, second: Predictions) -> Predictions:
    score = (
        np.concatenate([first.score, second.score])
        if first.score is not None and second.score is not None
        else None
    )
    predicted = np.concatenate([first.predicted, second.predicted])
    return Predictions(predicted, score, is_decision=first.is_decision)
