"""From a fitted model and rows of its own to the artifact's files, complete and checked."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import (
    BASELINE,
    SIGNATURE,
    Baseline,
    Interval,
    Signature,
)
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.location import Location
from trimtab.contract.transfer import WrittenArtifact, write_artifact
from trimtab.training.baseline import build_baseline
from trimtab.training.boosters import as_fitted
from trimtab.training.calibration import fit_calibration
from trimtab.training.class_metrics import class_metrics
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken
from trimtab.training.evaluation import Predictions, evaluate
from trimtab.training.models import Graph, ModelFile, answer, dump_model


@dataclass(frozen=True)
class Labelled:
    """Rows [n, features] with their truths [n]."""

    matrix: Matrix
    actual: NDArray[Any]

    def only(self, rows: NDArray[Any]) -> Labelled:
        """Return the chosen rows, by number or mask."""
        return Labelled(self.matrix[rows], self.actual[rows])


@dataclass(frozen=True)
class Assembled:
    """Everything of an artifact but its place; `answers` are those for the held-out rows."""

    file: ModelFile
    signature: Signature
    baseline: Baseline
    metrics: list[Interval]
    answers: Predictions


def assemble(
    model: Any,
    signature: Signature,
    classes: list[Any],
    *,
    calibrate: Labelled,
    evaluate_on: Labelled,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Assembled:
    """Calibrate, evaluate, count, and read the model back from its own file.

    classes: of the fitted model, in the order of its scores; empty for a regression.
    Raise CodeBroken when the model cannot be stored safely or answers differently once stored.
    """
    file, stored = dump_model(model, signature)
    answers = answer(stored, evaluate_on.matrix, classes)
    if not isinstance(model, Graph):
        before = AnsweringEstimator(as_fitted(model, signature), signature)
        _check_same(answers, answer(before, evaluate_on.matrix, classes), classes)
    calibration_answers = answer(stored, calibrate.matrix, classes)
    calibration = (
        fit_calibration(calibration_answers.score, calibrate.actual, classes)
        if calibration_answers.score is not None
        else []
    )
    metrics = evaluate(evaluate_on.actual, answers, classes, slices)
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
    return Assembled(file, signature, baseline, metrics, answers)


def write(
    assembled: Assembled, location: Location, *, model: str, version: str, created: datetime | None
) -> WrittenArtifact:
    """Write it at `<location>/<16 hex of the digest>/`; raise LocationError."""
    files = {
        assembled.file.name: assembled.file.body,
        **assembled.file.beside,
        SIGNATURE: assembled.signature.model_dump_json(by_alias=True, indent=1).encode(),
        BASELINE: assembled.baseline.model_dump_json(by_alias=True).encode(),
    }
    return write_artifact(
        location,
        files,
        model_format=assembled.file.format,
        model_file=assembled.file.name,
        model=model,
        version=version,
        created=(created or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z"),
        frameworks={
            "python": platform.python_version(),
            **{name: _version_of(name) for name in assembled.file.packages},
        },
    )


def _version_of(package: str) -> str:
    try:
        return package_version(package)
    except PackageNotFoundError:  # XGBoost comes in distributions of several names
        return str(importlib.import_module(package).__version__)


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
    if not (same and same_score):
        raise CodeBroken("the model answers differently once it was written and read back")


def _joined(first: Predictions, second: Predictions) -> Predictions:
    score = (
        np.concatenate([first.score, second.score])
        if first.score is not None and second.score is not None
        else None
    )
    return Predictions(np.concatenate([first.predicted, second.predicted]), score)
