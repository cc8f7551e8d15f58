"""The cheaper repairs of a version: the estimator goes on from where it is.

A new version comes out, like any other; the champion is never changed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.several import classes_of_targets
from trimtab.contract.location import (
    AccessDenied,
    LocationError,
    StoreUnavailable,
    open_location,
)
from trimtab.training.assembly import Labelled, assemble, write
from trimtab.training.errors import CodeBroken, Unavailable
from trimtab.training.going_on import go_on
from trimtab.training.models import Champion, load_champion
from trimtab.training.publishing import Published, Rows, labelled_rows
from trimtab.training.split import split_rows
from trimtab.training.truths import check_known


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
    with tempfile.TemporaryDirectory(prefix="trimtab-champion-") as folder:
        known = _opened(champion, credentials, Path(folder))
    if not isinstance(known.model, AnsweringEstimator):
        raise CodeBroken("an ONNX graph cannot learn further; train a new version")
    rows = labelled_rows(X, y, known.signature, feature_names)
    estimator = known.model.estimator
    several = _several_of(known, rows)
    classes = several[known.signature.counted] if several else _classes_of(known, estimator)
    if classes and not several:
        check_known(rows.actual, classes, "y")
    split = split_rows(len(rows.actual), calibrate=0.2, held_out=0.2, seed=seed)
    learn, tune, test = (rows.only(part) for part in split.parts().values())
    go_on(estimator, learn.matrix, learn.learned, classes, seed)
    assembled = assemble(
        estimator, known.signature, classes, calibrate=tune, evaluate_on=test, several=several
    )
    written = write(
        assembled,
        open_location(uri, credentials),
        model=model_name,
        version=version,
        created=created,
    )
    return Published(written.uri, written.digest, assembled.baseline.digest, assembled.metrics)


def _opened(
    champion: Published | tuple[str, str], credentials: Path | None, folder: Path
) -> Champion:
    uri, digest = (champion.uri, champion.digest) if isinstance(champion, Published) else champion
    try:
        return load_champion(uri, digest, credentials, folder)
    except (StoreUnavailable, AccessDenied) as error:
        raise Unavailable(str(error)) from error
    except LocationError as error:
        raise CodeBroken(f"the champion cannot be read: {error}") from error


def _classes_of(known: Champion, estimator: Any) -> list[Any]:
    if known.signature.task == "regression":
        return []
    return list(np.asarray(estimator.classes_).tolist())


def _several_of(known: Champion, rows: Labelled) -> list[list[Any]]:
    assert isinstance(known.model, AnsweringEstimator)
    if not known.signature.targets:
        return []
    several = classes_of_targets(known.model.estimator, len(known.signature.targets))
    assert rows.targets is not None
    for place, target in enumerate(known.signature.targets):
        check_known(rows.targets[:, place], several[place], f"column {target.output!r} of y")
    return several
