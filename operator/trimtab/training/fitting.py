"""Fitting an estimator to rows, with its errors said as the code's or the data's."""

from __future__ import annotations

from typing import Any

import pandas as pd

from trimtab.training.errors import CodeBroken
from trimtab.training.given import odd_cell


def fit(model: Any, rows: Any, truths: Any, frame: pd.DataFrame | None = None) -> None:
    """Fit the model in place; raise CodeBroken with what it says.

    frame: the rows by column, so that the error can name one.
    """
    try:
        model.fit(rows, truths)
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:400]
        where = "" if frame is None else odd_cell(frame, said)
        name = type(model).__name__
        raise CodeBroken(f"{name} could not be fitted: {said}{where}{_way(said, rows)}") from error


def _way(said: str, rows: Any) -> str:
    """Return what to do, where the error does not say it and most people mean one thing."""
    if "Invalid classes inferred from unique values of" in said:
        return (
            "; XGBoost takes the classes 0 to k-1: encode y, "
            "sklearn.preprocessing.LabelEncoder().fit_transform(y)"
        )
    if "empty vocabulary" in said and isinstance(rows, pd.DataFrame) and len(rows.columns):
        return (
            f"; a vectoriser takes one column of texts, X[{rows.columns[0]!r}]; of a table it "
            "reads the names of the columns"
        )
    return ""
