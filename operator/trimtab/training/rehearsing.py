"""The artifact is tried as serving tries it, and its answers compared, before it is uploaded."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.answering import silence_names
from trimtab.contract.location import Location, open_location
from trimtab.contract.rows import is_missing
from trimtab.contract.transfer import WrittenArtifact
from trimtab.serving.errors import ModelFailed, RequestInvalid, StartRefused
from trimtab.serving.rehearsal import Played, Rehearsal
from trimtab.training.columns import Matrix
from trimtab.training.errors import CodeBroken
from trimtab.training.evaluation import Predictions

MOST_ROWS: Final = 1024
MOST_ELEMENTS: Final = 200_000
_TOLERANCE: Final = 1e-6

Write = Callable[[Location], WrittenArtifact]


def rehearse(write: Write, rows: Matrix, answers: Predictions, largest: int) -> None:
    """Write into a folder that is gone afterwards, serve that, and compare.

    rows: [n, columns] that the model has answered with `answers`; some of them are asked again.
    largest: bytes of the files together. Raise CodeBroken with what a pod would have said.
    """
    with tempfile.TemporaryDirectory(prefix="trimtab-rehearsal-") as name, _quiet():
        folder = Path(name)
        written = write(open_location((folder / "store").as_uri()))
        try:
            served = Rehearsal(written.uri, written.digest, folder, max_bytes=largest)
            width = max(1, sum(prod(tensor.shape) for tensor in served.signature.inputs))
            count = max(1, min(MOST_ROWS, MOST_ELEMENTS // width))
            played = served.play(rows[:count])
        except StartRefused as error:
            raise CodeBroken(f"the serving container would refuse this: {error}") from error
        except (RequestInvalid, ModelFailed) as error:
            raise CodeBroken(f"the serving container would not answer these rows: {error}") from (
                error
            )
        _compare(served.signature, rows[:count], played, answers)


def _compare(signature: Signature, rows: Matrix, played: Played, answers: Predictions) -> None:
    same_rows = _same(rows, played.rows)
    before: Any
    after: Any
    if signature.classes:
        before = [str(one) for one in answers.predicted[: len(rows)].tolist()]
        assert played.prediction.predicted is not None
        after = [signature.classes[place] for place in played.prediction.predicted.tolist()]
        differ = np.array([one != other for one, other in zip(before, after, strict=True)])
    else:
        before, after = answers.predicted[: len(rows)], played.prediction.values
        assert after is not None
        differ = ~np.isclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE)
    differ |= _others_differ(signature, len(rows), played, answers)
    differ &= same_rows  # what a datatype rounds may be answered otherwise
    if differ.any():
        row = int(differ.argmax())
        raise CodeBroken(
            f"the serving container would answer {int(differ.sum())} of {len(rows)} rows "
            f"differently, the first is row {row}: {after[row]} and not {before[row]}"
        )


def _others_differ(
    signature: Signature, count: int, played: Played, answers: Predictions
) -> NDArray[np.bool_]:
    """Return which rows [n] differ in a target that is not counted."""
    if answers.all_predicted is None:
        return np.zeros(count, dtype=np.bool_)
    before = answers.all_predicted[:count]
    if not signature.targets:
        after = played.prediction.targets
        assert after is not None
        return np.asarray(~np.isclose(before, after, rtol=_TOLERANCE, atol=_TOLERANCE).all(axis=1))
    labels = played.prediction.labels
    assert labels is not None
    names = [np.array(one.classes)[labels[:, t]] for t, one in enumerate(signature.targets)]
    return np.asarray((before.astype(np.str_) != np.column_stack(names)).any(axis=1))


def _same(rows: Matrix, read: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows [n] were read as they are."""
    if "O" in (rows.dtype.kind, read.dtype.kind):
        pairs = zip(rows.tolist(), read.tolist(), strict=True)
        return np.array([all(map(_is_same, one, other)) for one, other in pairs])
    equal = (rows == read) | (np.isnan(rows.astype(np.float64)) & np.isnan(read.astype(np.float64)))
    return np.asarray(equal.all(axis=1))


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other) or (is_missing(one) and is_missing(other))


class _quiet(warnings.catch_warnings):  # noqa: N801 - used as a function
    """Serving sets filters for its own process; those of the caller stay."""

    def __enter__(self) -> Any:
        entered = super().__enter__()
        silence_names()
        return entered
