"""A forest of ours beside treelite, in one process on one core.

python -m tests.bench.serving.trees ARTIFACT
prints microseconds of CPU for a call of each, by rows. Ours checks, predicts and counts as a pod
does for a call; treelite predicts. Both take turns, so that the machine is the same to them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Final

import numpy as np
import treelite

from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Signature
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.stored import load_skops
from trimtab.serving.counting.rows import CallCounters, FeatureCounters, ScoreCounters
from trimtab.serving.counting.thread import CountingThread
from trimtab.serving.model.base import Model

SIZES: Final = (1, 64)
CALLS: Final = 400
TURNS: Final = 15
CORE: Final = 0
FEATURES: Final = 30


async def measured(folder: Path) -> dict[str, dict[str, float]]:
    """Return microseconds of a call by who answers, by rows."""
    signature = Signature.model_validate_json((folder / SIGNATURE).read_bytes())
    baseline = Baseline.model_validate_json((folder / BASELINE).read_bytes())
    estimator = load_skops(folder / "model.skops")
    model = Model(AnsweringEstimator(estimator, signature), signature, baseline)
    model.prepare_thread()
    labels = (("model", "forest"), ("version", "v1"))
    counting = CountingThread(
        FeatureCounters(signature, baseline, labels),
        ScoreCounters(signature, baseline, labels, is_calibrated=model.is_calibrated),
        CallCounters(labels),
    )
    peer = treelite.sklearn.import_model(estimator)
    found: dict[str, dict[str, float]] = {"trimtab": {}, "treelite": {}}
    for size in SIZES:
        rows = np.random.default_rng(size).normal(size=(size, FEATURES))

        def ours(rows: Any = rows) -> None:
            counting.add(rows, model.predict(rows), 0.001)

        def theirs(rows: Any = rows) -> None:
            treelite.gtil.predict(peer, rows, nthread=1)

        turns: dict[str, list[float]] = {"trimtab": [], "treelite": []}
        for _ in range(TURNS):
            turns["trimtab"].append(await _cost(ours, counting))
            turns["treelite"].append(await _cost(theirs, counting))
        for name, costs in turns.items():
            found[name][str(size)] = median(costs)
    return found


async def _cost(call: Callable[[], None], counting: CountingThread) -> float:
    """Return microseconds of the process, with what is counted in another thread."""
    began = process_time()
    for _ in range(CALLS):
        call()
    await counting.run(lambda: None)
    return (process_time() - began) / CALLS * 1e6


def main() -> None:
    """Measure; print one line of JSON."""
    os.sched_setaffinity(0, {CORE})
    print(json.dumps(asyncio.run(measured(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
