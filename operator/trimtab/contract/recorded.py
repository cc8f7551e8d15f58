"""What a version answered when it was made, for rows that nobody sent.

A model of one release of a library may be read by another and answer otherwise, without a word.
Whoever loads it with other releases asks these rows first. They are made up from the bins of the
baseline, so that no row of anybody's data leaves the training.
"""

from __future__ import annotations

from typing import Final

from trimtab.contract.artifact import Many, Part

ANSWERS: Final = "answers.json"
"""Optional file of an artifact."""

Cell = float | str | bool | None


class Recorded(Part):
    """Rows (n, columns of the signature) and their answers; only what the model gives is there.

    `predicted`: names of classes (n). `probabilities`: (n, K). `values`: (n, T).
    """

    rows: Many[Many[Cell]]
    predicted: Many[str] | None = None
    probabilities: Many[Many[float]] | None = None
    values: Many[Many[float]] | None = None
