"""One training run: read, check, split, fit, judge, write; the recipe reads from top to bottom."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.several import classes_of_targets
from trimtab.contract.location import AccessDenied, LocationError, StoreUnavailable, open_location
from trimtab.contract.training import (
    EXIT_CODE_OF_VERDICT,
    FAILURE_OF_EXIT_CODE,
    LONGEST_SHORT_TEXT,
    MOST_ROWS,
    ExitCode,
    ReportedChampion,
    ReportedComparison,
    ReportedDataset,
)
from trimtab.training.assembly import Assembled, Labelled, assemble, write
from trimtab.training.checks import Limits, check_rows
from trimtab.training.columns import (
    Task,
    infer_inputs,
    infer_task,
    make_labels,
    make_matrix,
    make_signature,
)
from trimtab.training.comparison import (
    HeldOut,
    Judgement,
    compare,
    judge,
    judge_first,
    judge_nothing_new,
)
from trimtab.training.data import Data, read_data
from trimtab.training.errors import CodeBroken, DataBroken, InsufficientRows, TrainingError
from trimtab.training.estimators import make_estimator
from trimtab.training.evaluation import Predictions, evaluate, slice_rows, statistic_of
from trimtab.training.fitting import fit
from trimtab.training.models import Champion, answer, load_champion
from trimtab.training.report import (
    Report,
    gate_first,
    reported_comparison,
    reported_metrics,
    rounded,
)
from trimtab.training.settings import Settings
from trimtab.training.split import FEWEST_TRAIN, Split, rows_digest, split_rows
from trimtab.training.targets import (
    SeveralClasses,
    called_like,
    make_targets,
    place_of,
    signature_of,
)

log = logging.getLogger("trimtab.training")

_HELD_OUT = "held-out"


@dataclass(frozen=True)
class _Rows:
    """Labelled rows with what splits, compares and slices them."""

    labelled: Labelled
    times: NDArray[Any] | None
    slices: dict[str, NDArray[np.bool_]]
    signature: Signature
    split: Split
    counted: int
    """Which of several targets is judged."""


def run(settings: Settings, report: Report) -> ExitCode:
    """Carry out one run, fill in the report, return the exit code. Raises nothing of its own."""
    try:
        with tempfile.TemporaryDirectory(prefix="trimtab-champion-") as folder:
            judgement = _train(settings, report, Path(folder))
    except InsufficientRows as error:
        report.verdict = "insufficientData"
        report.reason, report.message = type(error).__name__, str(error)
        _tell_needed(report, settings, error.needed)
        return error.exit_code
    except TrainingError as error:
        return fail(report, error.exit_code, error)
    except (StoreUnavailable, AccessDenied) as error:
        return fail(report, ExitCode.UNAVAILABLE, error)
    except LocationError as error:
        return fail(report, ExitCode.CODE_BROKEN, error)
    report.verdict, report.reason = judgement.verdict, judgement.reason
    report.message = judgement.message
    if judgement.needed is not None:
        _tell_needed(report, settings, judgement.needed)
    return EXIT_CODE_OF_VERDICT[judgement.verdict]


def fail(report: Report, exit_code: ExitCode, error: Exception) -> ExitCode:
    """Write into the report why there is no judgement; return the exit code."""
    report.failure = FAILURE_OF_EXIT_CODE[exit_code]
    report.reason, report.message = type(error).__name__, str(error)
    return exit_code


def _tell_needed(report: Report, settings: Settings, needed: int) -> None:
    report.needed = min(needed, MOST_ROWS)
    comparison = report.comparison or ReportedComparison(metric=settings.gate.metric)
    report.comparison = comparison.model_copy(update={"needed": report.needed})


def _train(settings: Settings, report: Report, folder: Path) -> Judgement:
    with _step(report, "champion", 0.0):
        champion = _champion(settings, folder)
    with _step(report, "read", 0.05):
        data = read_data(
            settings.data_uri,
            settings.credentials,
            since=settings.since,
            time_column=settings.time_column,
            max_bytes=settings.max_bytes,
        )
    with _step(report, "check", 0.25):
        rows = _rows(settings, data, champion)
        report.datasets = _datasets(data, rows.split)
        report.parameters = _parameters(settings)
        report.code = settings.code
    with _step(report, "fit", 0.35):
        model, classes = _fitted(settings, rows)
    with _step(report, "evaluate", 0.7):
        held_out = rows.labelled.only(rows.split.held_out)
        several = _several(settings, rows, model)
        names = settings.labels if len(settings.labels) > 1 else []
        signature = signature_of(
            rows.signature.inputs,
            rows.signature.task,
            classes,
            SeveralClasses(names, several, rows.counted),
            has_probabilities=hasattr(model, "predict_proba"),
        )
        if champion is not None:
            signature = called_like(signature, champion.signature)
        assembled = assemble(
            model,
            signature,
            classes,
            calibrate=rows.labelled.only(rows.split.calibrate),
            evaluate_on=held_out,
            slices=_held_out_slices(rows),
            several=several,
        )
        report.metrics = gate_first(
            reported_metrics(assembled.metrics, _HELD_OUT), settings.gate.metric
        )
        report.baseline = assembled.baseline.digest
    with _step(report, "compare", 0.85):
        challenger = _Challenger(assembled, classes, held_out)
        judgement = _judgement(settings, report, rows, challenger, champion)
    if judgement.verdict == "accepted":
        with _step(report, "write", 0.9):
            written = write(
                assembled,
                open_location(settings.output_uri, settings.credentials),
                model=settings.model,
                version=settings.version,
                created=None,
            )
            report.uri, report.digest = written.uri, written.digest
    return judgement


def _champion(settings: Settings, folder: Path) -> Champion | None:
    if not settings.champion_uri:
        return None
    return load_champion(
        settings.champion_uri, settings.champion_digest, settings.credentials, folder
    )


def _rows(settings: Settings, data: Data, champion: Champion | None) -> _Rows:
    """Check the rows against the contract of the serving version, and split them."""
    frame = data.frame
    labels = list(settings.labels)
    for name in labels:
        if name not in frame.columns:
            raise DataBroken(f"the label column {name!r} is missing")
    frame = frame[frame[labels].notna().all(axis=1)].reset_index(drop=True)
    unlabelled = len(data.frame) - len(frame)
    log.info("%d rows from %d files, %d without a label", len(frame), len(data.sources), unlabelled)
    if frame.empty:
        raise InsufficientRows(f"{settings.data_uri} has no labelled row", FEWEST_TRAIN)
    signature = champion.signature if champion else _inferred(settings, frame)
    matrix = make_matrix(frame, signature.inputs)
    counted = _counted(settings, champion)
    actual = make_labels(frame[labels[counted]], signature.task)
    targets = None
    if len(labels) > 1:
        targets = make_targets(frame[labels].to_numpy(), signature.task, labels)
    if champion is not None:
        limits = Limits(settings.missing_limit, settings.unseen_limit, settings.out_of_range_limit)
        check_rows(matrix, champion.signature, champion.baseline, limits)
        _check_labels(labels[counted], actual, champion.signature)
    times = frame[settings.time_column].to_numpy() if settings.time_column else None
    split = split_rows(
        len(frame),
        calibrate=settings.calibrate_share,
        held_out=settings.held_out_share,
        times=times,
        seed=settings.seed,
    )
    for name in settings.gate.slices:
        if name not in frame.columns:
            raise DataBroken(f"the slice column {name!r} is missing")
    columns = {name: frame[name].to_numpy() for name in settings.gate.slices}
    return _Rows(
        Labelled(matrix, actual, targets), times, slice_rows(columns), signature, split, counted
    )


def _inferred(settings: Settings, frame: pd.DataFrame) -> Signature:
    """The first version of a line sets its signature; classes follow once it is fitted."""
    others = {*settings.labels, settings.time_column, *settings.ignored, *settings.gate.slices}
    columns = settings.inputs or tuple(str(one) for one in frame.columns if one not in others)
    missing = [one for one in columns if one not in frame.columns]
    if missing or not columns:
        raise DataBroken(f"column {missing[0]!r} is missing" if missing else "no input column")
    task: Task = settings.task or infer_task(frame[settings.labels[0]])  # type: ignore[assignment]
    inputs = infer_inputs(frame, columns)
    return make_signature(inputs, task, [0, 1] if task == "classification" else [])


def _check_labels(label: str, actual: NDArray[Any], signature: Signature) -> None:
    if signature.task == "regression":
        return
    unknown = sorted({str(one) for one in np.unique(actual)} - set(signature.classes))
    if unknown:
        raise DataBroken(
            f"label column {label!r} holds {unknown[0]!r}, which is no class of the serving version"
        )


def _fitted(settings: Settings, rows: _Rows) -> tuple[Any, list[Any]]:
    task = rows.signature.task
    train = rows.labelled.only(rows.split.train)
    if task == "classification":
        known, counts = np.unique(rows.labelled.actual, return_counts=True)
        learned = set(np.unique(train.actual).tolist())
        absent = [one for one in known.tolist() if one not in learned]
        if absent or len(known) < 2:
            rare = absent[0] if absent else known[0]
            needed = 2 * len(rows.labelled.actual)
            raise InsufficientRows(
                f"class {rare!r} has no row to train on, or is the only one", needed
            )
        log.info("%d rows to train on, rarest class has %d", len(train.actual), int(counts.min()))
    model = make_estimator(
        settings.estimator or _default_estimator(task),
        settings.parameters,
        rows.signature.inputs,
        task,
        settings.seed,
        targets=len(settings.labels),
    )
    fit(model, train.matrix, train.learned)
    if task == "regression":
        return model, []
    if several := _several(settings, rows, model):
        return model, several[rows.counted]
    return model, list(model.classes_)


def _counted(settings: Settings, champion: Champion | None) -> int:
    if champion is None:
        return place_of(settings.counted, settings.labels)
    counted = champion.signature.counted
    if counted >= len(settings.labels):
        raise CodeBroken(
            f"the serving version judges target {counted + 1}, and --label names "
            f"{len(settings.labels)} columns; name one for each of its targets, in their order"
        )
    return counted


def _several(settings: Settings, rows: _Rows, model: Any) -> list[list[Any]]:
    """Return the classes of each of several targets; nothing where there is one, or values."""
    if len(settings.labels) == 1 or rows.signature.task == "regression":
        return []
    return classes_of_targets(model, len(settings.labels))


def _default_estimator(task: Task) -> str:
    kind = "Classifier" if task == "classification" else "Regressor"
    return f"sklearn.ensemble.HistGradientBoosting{kind}"


@dataclass(frozen=True)
class _Challenger:
    """The fitted model with the rows that it has not seen."""

    assembled: Assembled
    classes: list[Any]
    held_out: Labelled


def _judgement(
    settings: Settings,
    report: Report,
    rows: _Rows,
    challenger: _Challenger,
    champion: Champion | None,
) -> Judgement:
    gate, held_out = settings.gate, challenger.held_out
    try:
        if champion is None:
            value = _value(gate.metric, held_out, challenger.assembled.answers, challenger.classes)
            return judge_first(value, len(held_out.actual), gate)
        new = _is_new(rows, champion)
        if not new.any():
            return judge_nothing_new(gate, champion.manifest.created)
        slices = {name: mask[new] for name, mask in _held_out_slices(rows).items()}
        compared = _compared(challenger, champion, new, slices)
        comparison = compare(compared, gate, challenger.classes)
        value = _value(gate.metric, held_out.only(new), compared.challenger, challenger.classes)
        champion_metrics = evaluate(compared.actual, compared.champion, challenger.classes)
    except ValueError as error:
        raise CodeBroken(f"the gate cannot be judged: {error}") from error
    report.comparison = reported_comparison(comparison, gate.metric)
    report.champion = ReportedChampion(
        version=champion.manifest.version,
        digest=champion.digest,
        metrics=gate_first(reported_metrics(champion_metrics, _HELD_OUT), gate.metric),
    )
    return judge(compared, comparison, value, gate, needs_to_be_better=settings.needs_to_be_better)


def _compared(
    challenger: _Challenger,
    champion: Champion,
    new: NDArray[np.bool_],
    slices: dict[str, NDArray[np.bool_]],
) -> HeldOut:
    held_out = challenger.held_out.only(new)
    known = _champion_classes(champion, challenger.classes)
    counted = champion.signature.counted
    answers = answer(champion.model, held_out.matrix, known, counted=counted)
    return HeldOut(held_out.actual, answers, challenger.assembled.answers.only(new), slices)


def _value(metric: str, rows: Labelled, answers: Predictions, classes: list[Any]) -> float:
    """The metric itself: statistics of RMSE are negative, so that more is better."""
    return abs(statistic_of(metric, rows.actual, answers, classes)(np.ones(len(rows.actual))))


def _is_new(rows: _Rows, champion: Champion) -> NDArray[np.bool_]:
    """Held-out rows that the champion cannot have learned from.

    By time: newer than the champion. Without times the data given counts as new as a whole, since
    it was collected for this run.
    """
    held_out = rows.split.held_out
    if rows.times is None:
        return np.ones(len(held_out), dtype=np.bool_)
    created = pd.Timestamp(datetime.fromisoformat(champion.manifest.created))
    times = pd.Series(rows.times[held_out])
    return (pd.to_datetime(times, utc=True) > created).to_numpy(dtype=np.bool_)


def _champion_classes(champion: Champion, classes: list[Any]) -> list[Any]:
    """Name the champion's classes in the type of the labels."""
    if not classes:
        return []
    by_name = {str(one): one for one in classes}
    unknown = [name for name in champion.signature.classes if name not in by_name]
    if unknown:
        raise InsufficientRows(
            f"class {unknown[0]!r} of the serving version has no row to train on",
            2 * FEWEST_TRAIN,
        )
    return [by_name[name] for name in champion.signature.classes]


def _held_out_slices(rows: _Rows) -> dict[str, NDArray[np.bool_]]:
    chosen = {name: mask[rows.split.held_out] for name, mask in rows.slices.items()}
    return {name: mask for name, mask in chosen.items() if mask.any()}


def _datasets(data: Data, split: Split) -> list[ReportedDataset]:
    """One entry a role; the digest names these rows of these files."""
    name = data.uri.rstrip("/").rpartition("/")[2]
    return [
        ReportedDataset(
            name=f"{name}-{role}"[-LONGEST_SHORT_TEXT:],
            uri=data.uri,
            digest=rows_digest(data.digest, rows),
            role=role,
            rows=len(rows),
        )
        for role, rows in split.parts().items()
    ]


def _parameters(settings: Settings) -> dict[str, str]:
    given = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.parameters.items()
    }
    return {
        "estimator": settings.estimator or "default",
        "seed": str(settings.seed),
        "splitBy": settings.time_column or "random",
        **given,
    }


@contextmanager
def _step(report: Report, name: str, share_done: float) -> Iterator[None]:
    """Log the share done and the seconds of each step."""
    log.info("%3.0f %% done, now: %s", 100 * share_done, name)
    started = time.monotonic()
    yield
    report.seconds[name] = rounded(time.monotonic() - started) or 0.0
