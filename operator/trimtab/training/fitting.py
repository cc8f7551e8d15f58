"""Fitting an estimator to rows, with its errors said as the code's or the data's."""

from __future__ import annotations

from typing import Any

from trimtab.training.errors import CodeBroken


def fit(model: Any, rows: Any, truths: Any) -> None:
    """Fit the model in place; raise CodeBroken with what it says."""
    try:
        model.fit(rows, truths)
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:400]
        raise CodeBroken(f"{type(model).__name__} could not be fitted: {said}") from error
