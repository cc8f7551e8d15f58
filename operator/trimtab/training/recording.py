"""Answers kept with a version, for whoever loads it with other releases of its libraries."""

from __future__ import annotations

from math import prod
from typing import Final

from trimtab.contract.answers import Answering
from trimtab.contract.artifact import Baseline, Signature
from trimtab.contract.recorded import Recorded
from trimtab.serving.rehearsal import mixed_rows
from trimtab.training.errors import CodeBroken

ROWS: Final = 64
MOST_ELEMENTS: Final = 50_000


def record(answering: Answering, signature: Signature, baseline: Baseline) -> Recorded | None:
    """Return answers for up to 64 made-up rows; None where a row alone is very large, or where the
    model answers none of them. Raise CodeBroken where the model fails on them.
    """
    width = sum(prod(tensor.shape) for tensor in signature.inputs)
    count = min(ROWS, MOST_ELEMENTS // max(width, 1))
    if not count:
        return None
    rows = mixed_rows(signature, baseline, count)
    try:
        found = answering.answers(rows.copy())
    except Exception as error:
        # A model may raise anything, most often about a value that is missing.
        said = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise CodeBroken(
            f"the model fails on rows mixed from the values given, so requests would, too: {said}"
        ) from error
    chosen = found.chosen
    if chosen is None and found.probabilities is not None:
        chosen = found.probabilities.argmax(axis=1)
    return Recorded(
        rows=rows.tolist(),
        predicted=None if chosen is None else [signature.classes[at] for at in chosen.tolist()],
        probabilities=None if found.probabilities is None else found.probabilities.tolist(),
        values=None if found.values is None else found.values.tolist(),
    )
