"""Other servers' own clients, unchanged, against our runtime: `make clients`.

Their packages conflict with those of the tests, so each has an environment of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.bench.serving.models import Model
from tests.bench.serving.servers import trimtab

from trimtab.training import publish

HERE = Path(__file__).parent
Fit = Callable[[], tuple[Any, Any, Any, dict[str, Any]]]


def vector() -> tuple[Any, Any, Any, dict[str, Any]]:
    """Four numbers as one input, named as MLServer's codec names it."""
    rows = np.random.default_rng(0).normal(size=(400, 4))
    return LogisticRegression(), rows, (rows[:, 0] > 0).astype(int), {"input_name": "input-1"}


def table() -> tuple[Any, Any, Any, dict[str, Any]]:
    """A number and a text, each an input."""
    size = np.random.default_rng(1).uniform(0, 3, 400)
    colour = np.where(np.arange(400) % 2, "red", "blue")
    columns = ColumnTransformer([("text", OneHotEncoder(), [1])], remainder="passthrough")
    frame = pd.DataFrame({"size": size, "colour": colour})
    truth = np.where(size > 1.2, "large", "small")
    return make_pipeline(columns, LogisticRegression()), frame, truth, {}


MODELS: dict[str, Fit] = {"vector": vector, "table": table}


def main() -> None:
    """Serve each model and let the clients ask it."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("--own", type=Path, required=True, help="Python with our extra `serving`")
    parser.add_argument("--mlserver", type=Path, required=True, help="Python with MLServer")
    parser.add_argument("--kserve", type=Path, required=True, help="Python with KServe")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for model, fit in MODELS.items():
            estimator, rows, truth, options = fit()
            made = publish(
                estimator,
                rows,
                truth,
                uri=(Path(name) / "store").as_uri(),
                model_name=model,
                version="v1",
                **options,
            )
            served = Model(model, made.uri, made.digest)
            with trimtab(given.own.absolute(), served, Path(name) / model) as server:
                address = f"127.0.0.1:{server.port}"
                ask(given.mlserver, "with_mlserver.py", model, address)
                if model == "vector":
                    ask(given.kserve, "with_kserve.py", model, address)


def ask(python: Path, program: str, model: str, address: str) -> None:
    """Run a client; its lines are printed, its failure is ours."""
    command: list[str | Path] = [python.absolute(), HERE / program, address, model]
    if subprocess.run(command, timeout=180, check=False).returncode:
        sys.exit(f"{program} failed with {model}")


main()
