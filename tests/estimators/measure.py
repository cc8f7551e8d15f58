"""What becomes of an estimator: stored, loaded and asked, or refused in words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.estimators.cases import Case

from trimtab.contract.estimators.refused import ModelRefused
from trimtab.contract.estimators.stored import load_skops
from trimtab.training.errors import CodeBroken
from trimtab.training.models import pack


@dataclass(frozen=True)
class Outcome:
    """`refusal` says what to do instead, and is empty for what is served."""

    name: str
    kind: str
    served: bool
    refusal: str = ""


def measure(case: Case) -> Outcome:
    """Store, load and ask; raise AssertionError where the answers are others than before."""
    model = case.fitted()
    try:
        loaded = load_skops(pack(model).body)
    except (CodeBroken, ModelRefused) as refused:
        return Outcome(case.name, case.kind, False, str(refused))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in (case.rows, case.unseen, case.unseen[:1]):
            _check_same(case.name, model.predict(rows), loaded.predict(rows))
    return Outcome(case.name, case.kind, True)


def _check_same(name: str, before: Any, after: Any) -> None:
    numbers = np.asarray(before).dtype.kind == "f"  # NaN is an answer, too
    if not np.array_equal(before, after, equal_nan=numbers):
        raise AssertionError(f"{name} answers differently once it was stored")
