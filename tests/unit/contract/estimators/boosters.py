"""Honest native files, and a process of its own in which others are loaded and run.

As a program it answers for each file on its standard input with one line: `refused`, or `answered`.
"""

from __future__ import annotations

import faulthandler
import select
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import lightgbm
import numpy as np
import xgboost

from trimtab.contract.estimators.boosted.estimators import BoostedClassifier, attach
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.training.boosters import without_wrappers

Library = Literal["xgboost", "lightgbm"]
FEATURES = 4
CLASSES = 3
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(300, FEATURES))
ROWS[:, 3] = RANDOM.integers(0, 9, 300)
ROWS[::7, 1] = np.nan
TRUTH = np.digitize(ROWS[:, 0] + (ROWS[:, 3] % 3), [0.5, 1.5])
ASKED = np.concatenate(
    [ROWS[:50], np.array([[np.nan] * 4, [1e300] * 4, [-1e300] * 4, [0, 0, 0, 2**31]])]
)


def honest(library: Library) -> Any:
    """A classifier of three classes with a column of categories."""
    if library == "xgboost":
        kinds = ["float"] * 3 + ["c"]
        model: Any = xgboost.XGBClassifier(
            n_estimators=3, max_depth=3, enable_categorical=True, feature_types=kinds, n_jobs=1
        )
        return model.fit(ROWS, TRUTH)
    model = lightgbm.LGBMClassifier(
        n_estimators=3, num_leaves=6, verbose=-1, n_jobs=1, min_data_per_group=5, cat_smooth=1
    )
    return model.fit(ROWS, TRUTH, categorical_feature=[3])


def honest_file(library: Library) -> bytes:
    """The file that is stored of it."""
    (body,) = without_wrappers(honest(library)).files.values()
    return body


def loaded(library: Library, body: bytes) -> BoostedClassifier:
    """The estimator around a file; raise ModelRefused."""
    name = "booster-0" + {"xgboost": ".ubj", "lightgbm": ".txt"}[library]
    estimator = BoostedClassifier(library, name)
    estimator.classes_ = np.arange(CLASSES)
    estimator.n_features_in_ = FEATURES
    attach(estimator, lambda asked: {name: body}[asked])
    return estimator


class Runner:
    """The other process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.unit.contract.estimators.boosters"],
            cwd=Path(__file__).parents[4],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def said(self, library: Library, body: bytes, seconds: float) -> str:
        """Return its line, or nothing where it died or did not answer in time."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(struct.pack(">cQ", library[:1].encode(), len(body)) + body)
        pipe.flush()
        ready, _, _ = select.select([answers], [], [], seconds)
        return answers.readline().decode().strip() if ready else ""

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def _run() -> None:
    faulthandler.enable()
    stream = sys.stdin.buffer
    while head := stream.read(9):
        first, length = struct.unpack(">cQ", head)
        body = stream.read(length)
        try:
            estimator = loaded("xgboost" if first == b"x" else "lightgbm", body)
        except ModelRefused:
            line = "refused"
        else:
            probabilities = estimator.predict_proba(ASKED)
            line = "answered" if probabilities.shape == (len(ASKED), CLASSES) else "misshapen"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _run()
