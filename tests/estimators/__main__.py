"""Write what becomes of every estimator, for the page of the reference."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from tests.estimators.cases import cases
from tests.estimators.measure import measure

FILE = Path("operator/trimtab/generate/estimators.json")


def main() -> None:
    """Measure all, print the counts and write the file."""
    warnings.simplefilter("ignore")
    outcomes = [measure(case) for case in cases()]
    found = {
        "scikit-learn": version("scikit-learn"),
        "estimators": [vars(outcome) for outcome in outcomes],
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    counts = Counter((outcome.kind, outcome.served) for outcome in outcomes)
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        print(f"{kind}: {counts[kind, True]} of {counts[kind, True] + counts[kind, False]} served")


if __name__ == "__main__":
    main()
