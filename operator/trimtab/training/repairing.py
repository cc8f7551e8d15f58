"""The cheaper repairs of a version: set right what it answers, or go on from where it is.

A new version comes out, like any other; the champion is never changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trimtab.contract.artifact import Adjustment
from trimtab.contract.calibration import calibrated
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.location import (
    AccessDenied,
    LocationError,
    StoreUnavailable,
)
from trimtab.training.arguments import destination
from trimtab.training.assembly import Labelled, assemble, assemble_file
from trimtab.training.calibration import fit_calibration
from trimtab.training.errors import CodeBroken, DataBroken, InsufficientRows, Unavailable
from trimtab.training.evaluation import Predictions
from trimtab.training.going_on import go_on
from trimtab.training.models import Champion, answer, load_champion
from trimtab.training.publishing import Published, Rows, labelled_rows, published
from trimtab.training.split import FEWEST_CALIBRATE, FEWEST_HELD_OUT, split_rows
from trimtab.training.truths import check_known, check_several_classes


def fine_tune(
    champion: Published | tuple[str, str],
    X: Rows,  # noqa: N803 - the field's own name
    y: ArrayLike,
    *,
    uri: str,
    model_name: str,
    version: str,
    feature_names: Sequence[str] | None = None,
    credentials: Path | None = None,
    created: datetime | None = None,
    seed: int = 0,
) -> Published:
    """Let the champion's estimator learn from recent rows, and write that as a version of its own.

    champion: what `publish` returned, or (uri, digest). X, y: rows that it has not seen; 60 % are
    learned from, 20 % calibrate and 20 % evaluate. Estimators go on by `partial_fit` or
    `warm_start`. Raise CodeBroken (also where it cannot go on), DataBroken, InsufficientRows,
    Unavailable, LocationError.
    """
    into = destination(uri, credentials, model_name, version)
    with tempfile.TemporaryDirectory(prefix="trimtab-champion-") as folder:
        known = _opened(champion, credentials, Path(folder))
    if not isinstance(known.plain, AnsweringEstimator):
        raise CodeBroken("an ONNX graph cannot learn further; train a new version")
    rows = labelled_rows(X, y, known.signature, feature_names)
    estimator = known.plain.estimator
    classes, several = _classes_of(known, rows)
    _check_several(rows, classes)
    signature = known.signature.model_copy(update={"adjustment": None})
    split = split_rows(len(rows.actual), calibrate=0.2, held_out=0.2, seed=seed)
    learn, tune, test = (rows.only(part) for part in split.parts().values())
    go_on(estimator, known.plain.fed(learn.matrix), learn.learned, classes, seed)
    assembled = assemble(
        estimator, signature, classes, calibrate=tune, evaluate_on=test, several=several
    )
    return published(assembled, into, created)


def recalibrate(
    champion: Published | tuple[str, str],
    X: Rows,  # noqa: N803 - the field's own name
    y: ArrayLike,
    *,
    uri: str,
    model_name: str,
    version: str,
    threshold: float | None = None,
    feature_names: Sequence[str] | None = None,
    credentials: Path | None = None,
    created: datetime | None = None,
    seed: int = 0,
) -> Published:
    """Set the champion's probabilities, threshold or level right by recent labels.

    The model's file stays as it is, to the byte. Half of the rows make the new map (isotonic; of a
    regression the offset of each target), the others evaluate. The class is that of the largest
    calibrated probability. Of two classes it is the second from `threshold` on, 0 to 1 of its
    calibrated probability; a model with a threshold of its own keeps it, as what the champion's
    calibration said of it. Of several classifications the counted one is set right. Raise
    CodeBroken (also for a model without scores), DataBroken (also where a class has no rows),
    InsufficientRows, Unavailable, LocationError.
    """
    into = destination(uri, credentials, model_name, version)
    with tempfile.TemporaryDirectory(prefix="trimtab-champion-") as folder:
        known = _opened(champion, credentials, Path(folder))
        rows = labelled_rows(X, y, known.signature, feature_names)
        classes, several = _classes_of(known, rows)
        _check_several(rows, classes)
        tune, test = _halves(rows, seed)
        _check_counted(tune, classes)
        asked = answer(known.plain, tune.matrix, classes, counted=known.signature.counted)
        signature = known.signature.model_copy(
            update={"adjustment": _adjustment(known, asked, tune, classes, threshold)}
        )
        assembled = assemble_file(
            known.file,
            known.plain,
            signature,
            classes,
            calibrate=tune,
            evaluate_on=test,
            several=several,
        )
        return published(assembled, into, created)


def _halves(rows: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    n = len(rows.actual)
    needed = 2 * max(FEWEST_CALIBRATE, FEWEST_HELD_OUT)
    if n < needed:
        raise InsufficientRows(f"{n} rows; recalibration needs at least {needed}", needed)
    order = np.random.default_rng(seed).permutation(n)
    return rows.only(order[: n // 2]), rows.only(order[n // 2 :])


def _adjustment(
    known: Champion,
    asked: Predictions,
    tune: Labelled,
    classes: list[Any],
    threshold: float | None,
) -> Adjustment:
    if threshold is not None and (len(classes) != 2 or not 0 < threshold < 1):
        raise CodeBroken("threshold is of two classes, and between 0 and 1")
    if not classes:
        predicted = asked.predicted if asked.all_predicted is None else asked.all_predicted
        return Adjustment(offsets=np.atleast_1d((tune.learned - predicted).mean(axis=0)).tolist())
    if asked.score is None:
        raise CodeBroken(
            "the champion gives no probabilities to recalibrate; publish "
            "CalibratedClassifierCV(FrozenEstimator(model)), or train it anew"
        )
    maps = fit_calibration(asked.score, tune.actual, classes)
    if len(classes) == 2 and threshold is None:
        threshold = _kept_threshold(known, asked, classes)
    return Adjustment(calibration=maps, threshold=threshold)


def _check_several(rows: Labelled, classes: list[Any]) -> None:
    """Raise DataBroken where a classifier would learn one class alone, and answer nothing else."""
    if classes:
        check_several_classes(rows.learned, "y", "give rows of others, too")


def _check_counted(tune: Labelled, classes: list[Any]) -> None:
    """Raise DataBroken where a class has no rows: its probability would become 0 for good."""
    present = set(tune.actual.tolist())
    absent = next((one for one in classes if one not in present), None)
    if absent is not None:
        raise DataBroken(
            f"the half of the rows that makes the new map holds no {absent!r}; give more rows of "
            "that class"
        )


def _kept_threshold(known: Champion, asked: Predictions, classes: list[Any]) -> float | None:
    """Return what the champion's calibration said of its own threshold; None: it has none."""
    before = known.signature.adjustment
    if before is not None:
        return before.threshold
    assert asked.score is not None
    second, is_second = asked.score[:, 1], asked.predicted == classes[1]
    if (is_second == (asked.score.argmax(axis=1) == 1)).all():
        return None
    above, below = second[is_second], second[~is_second]
    border = np.array([above.min() if len(above) else 1.0, below.max() if len(below) else 0.0])
    raw = float(border.mean())
    said = calibrated(np.array([[1 - raw, raw]]), known.baseline.calibration)
    return float(np.clip(said[0, 1], 1e-6, 1 - 1e-6))


def _opened(
    champion: Published | tuple[str, str], credentials: Path | None, folder: Path
) -> Champion:
    if isinstance(champion, Published):
        uri, digest = champion.uri, champion.digest
    elif isinstance(champion, tuple | list) and [type(one) for one in champion] == [str, str]:
        uri, digest = champion
    else:
        raise CodeBroken(
            f"the champion is {type(champion).__name__}; give what publish returned, or its uri "
            "and digest: (uri, digest)"
        )
    try:
        return load_champion(uri, digest, credentials, folder)
    except (StoreUnavailable, AccessDenied) as error:
        raise Unavailable(str(error)) from error
    except LocationError as error:
        raise CodeBroken(f"the champion cannot be read: {error}") from error


def _classes_of(known: Champion, rows: Labelled) -> tuple[list[Any], list[list[Any]]]:
    """Return the classes of what is counted and of several targets, in the kind of the truths."""
    signature = known.signature
    if signature.task == "regression":
        return [], []
    if not signature.targets:
        check_known(rows.actual, signature.classes, "y")
        return _as_in(rows.actual, signature.classes), []
    assert rows.targets is not None
    several = []
    for place, target in enumerate(signature.targets):
        truths = rows.targets[:, place]
        check_known(truths, target.classes, f"column {target.output!r} of y")
        several.append(_as_in(truths, target.classes))
    return several[signature.counted], several


def _as_in(truths: NDArray[Any], names: Sequence[str]) -> list[Any]:
    """Return the classes of a signature in the kind that the truths have."""
    if truths.dtype.kind == "b":
        return [name == "True" for name in names]
    return [int(name) for name in names] if truths.dtype.kind in "iu" else list(names)
