"""Predictions in one thread and in two of one process: the most that a second thread could add.

python -m tests.bench.serving.threads ARTIFACT CORES
prints one line of JSON: how many times as many calls two threads do, by rows of a call. Requests,
answers and counters are left out, which the event loop does under the interpreter's lock.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import Any, Final

import numpy as np

from trimtab.contract.artifact import BASELINE, SIGNATURE, Baseline, Signature
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.stored import load_skops
from trimtab.serving.model.base import Model

SIZES: Final = (1, 64, 4096)
FEATURES: Final = 30
SECONDS: Final = 0.5
TURNS: Final = 7


def rate(model: Model, rows: Any, count: int) -> float:
    """Return calls a second of `count` threads together."""
    done = [0] * count
    barrier = Barrier(count + 1)

    def work(number: int) -> None:
        model.prepare_thread()
        barrier.wait()
        end = perf_counter() + SECONDS
        while perf_counter() < end:
            model.predict(rows)
            done[number] += 1

    threads = [Thread(target=work, args=(number,)) for number in range(count)]
    for one in threads:
        one.start()
    barrier.wait()
    began = perf_counter()
    for one in threads:
        one.join()
    return sum(done) / (perf_counter() - began)


def gains(folder: Path) -> dict[str, float]:
    """Return by rows what two threads do of what one does; both take turns."""
    signature = Signature.model_validate_json((folder / SIGNATURE).read_bytes())
    baseline = Baseline.model_validate_json((folder / BASELINE).read_bytes())
    estimator = load_skops(folder / "model.skops")
    model = Model(AnsweringEstimator(estimator, signature), signature, baseline)
    found: dict[str, float] = {}
    for size in SIZES:
        rows = np.random.default_rng(size).normal(size=(size, FEATURES))
        turns = [(rate(model, rows, 1), rate(model, rows, 2)) for _ in range(TURNS)]
        found[str(size)] = median(two / one for one, two in turns)
    return found


def main() -> None:
    """Measure; print."""
    os.sched_setaffinity(0, {int(core) for core in sys.argv[2].split(",")})
    print(json.dumps(gains(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
