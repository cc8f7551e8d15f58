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
        raise CodeBroken(f"{type(model).__name__} could not be fitted: {said}{where}") from error
