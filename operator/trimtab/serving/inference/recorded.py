"""A model read by other releases than it was made with has to answer as it did then."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trimtab.contract.recorded import ANSWERS, Recorded
from trimtab.contract.rows import row_type
from trimtab.serving.errors import ArtifactRefused, ModelFailed
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.base import Model, Prediction
from trimtab.serving.model.releases import other_releases

log = logging.getLogger(__name__)

TOLERANCE: Final = 1e-5
"""Of probabilities and, of their size, of values: releases may add in another order."""


def check_recorded(artifact: Artifact, model: Model) -> None:
    """Ask the rows on record where releases differ; raise ArtifactRefused where answers differ."""
    others = other_releases(artifact.manifest.frameworks)
    if not others:
        return
    made_with = "made with " + ", ".join(others)
    file = artifact.model_file.parent / ANSWERS
    if ANSWERS not in {listed.path for listed in artifact.manifest.files}:
        log.warning("%s; it has no answers on record to compare with", made_with)
        return
    try:
        recorded = Recorded.model_validate_json(file.read_bytes())
        rows = np.array(recorded.rows, dtype=row_type(artifact.signature.inputs))
        told = (recorded.predicted, recorded.probabilities, recorded.values)
        if rows.ndim != 2 or any(len(each) != len(rows) for each in told if each is not None):
            raise ValueError("rows and answers are of different lengths")
    except (ValidationError, ValueError) as error:
        raise ArtifactRefused("Malformed", f"{ANSWERS}: {str(error)[:300]}") from error
    try:
        prediction = model.predict(rows)
    except ModelFailed as error:
        raise _refused(f"{made_with}; it does not answer here: {str(error)[:300]}") from error
    try:
        differ = _differing(recorded, prediction, artifact.signature.classes)
    except ValueError as error:  # rows of answers of different lengths
        raise ArtifactRefused("Malformed", f"{ANSWERS}: {str(error)[:300]}") from error
    if differ.any():
        raise _refused(
            f"{made_with}; {int(differ.sum())} of {len(rows)} answers on record differ here"
        )
    log.warning("%s; all %d answers on record are the same here", made_with, len(rows))


def _refused(what: str) -> ArtifactRefused:
    return ArtifactRefused(
        "AnswersDiffer",
        f"{what}; train it again, or name an image with these releases in spec.serving.image",
    )


def _differing(recorded: Recorded, prediction: Prediction, classes: list[str]) -> NDArray[np.bool_]:
    """Return which rows [n] are answered otherwise than they were."""
    differ = np.zeros(len(recorded.rows), dtype=np.bool_)
    if recorded.predicted is not None and prediction.predicted is not None:
        now = [classes[place] for place in prediction.predicted.tolist()]
        differ |= np.array(recorded.predicted) != np.array(now)
    values = prediction.targets if prediction.targets is not None else prediction.values
    for then, found in (
        (recorded.probabilities, prediction.probabilities),
        (recorded.values, values),
    ):
        if then is None or found is None:
            differ |= (then is None) != (found is None)
            continue
        before, now_found = np.array(then, dtype=np.float64), found.reshape(len(differ), -1)
        if before.shape != now_found.shape:
            return np.ones(len(differ), dtype=np.bool_)
        differ |= ~np.isclose(before, now_found, rtol=TOLERANCE, atol=TOLERANCE).all(axis=1)
    return differ
