"""Loads files as serving does, and asks them: the process that a forged one could take down.

Reads one line of JSON for each file: its path, and the path of rows. Answers one line each: what
came of it. `python -m tests.estimators.victim`
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.estimators.refused import ModelRefused
from trimtab.contract.estimators.stored import load_skops


def outcome(file: bytes, rows: NDArray[Any]) -> str:
    """Return `refused`, `raised` or `answered`."""
    try:
        model = load_skops(file)
    except ModelRefused:
        return "refused"
    try:
        for count in (1, len(rows)):
            model.predict(rows[:count])
            if hasattr(model, "predict_proba"):
                model.predict_proba(rows[:count])
            if hasattr(model, "decision_function"):
                model.decision_function(rows[:count])
    except Exception:  # noqa: BLE001  a forged model may raise anything, but not end the process
        return "raised"
    return "answered"


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    for line in sys.stdin:
        file, rows = json.loads(line)
        print(outcome(Path(file).read_bytes(), np.load(rows, allow_pickle=True)), flush=True)


if __name__ == "__main__":
    main()
