"""Every estimator of scikit-learn is served or refused in words, as the page of them says."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.estimators.cases import Case, cases
from tests.estimators.measure import measure

FILE = Path(__file__).parents[4] / "operator/trimtab/generate/estimators.json"
MEASURED: dict[tuple[str, str], dict[str, Any]] = {
    (one["kind"], one["name"]): one for one in json.loads(FILE.read_text("utf-8"))["estimators"]
}
CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.name}")
def test_an_estimator_is_what_the_page_says(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = measure(case)
    assert vars(outcome) == MEASURED[case.kind, case.name]


def test_the_page_has_all_of_them_and_most_are_served() -> None:
    assert set(MEASURED) == {(case.kind, case.name) for case in CASES}
    served = [kind for (kind, _), one in MEASURED.items() if one["served"]]
    assert served.count("classifier") >= 42
    assert served.count("regressor") >= 53
    assert all(
        "; " in one["refusal"] or ": " in one["refusal"]
        for one in MEASURED.values()
        if not one["served"]
    )
