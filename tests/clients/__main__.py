"""Other servers' own clients, unchanged, against our runtime: `make clients`.

Their packages conflict with those of the tests, so each has an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.bench.serving.models import Model
from tests.bench.serving.servers import Running, trimtab
from tests.clients.openapi import document

from trimtab.training import publish

HERE = Path(__file__).parent
LEAST_PUZZLES: Final = 500
Fit = Callable[[], tuple[Any, Any, Any, dict[str, Any]]]


def vector() -> tuple[Any, Any, Any, dict[str, Any]]:
    """Four numbers as one input, named as MLServer's codec names it."""
    rows = np.random.default_rng(0).normal(size=(400, 4))
    return LogisticRegression(), rows, (rows[:, 0] > 0).astype(int), {"input_name": "input-1"}


def table() -> tuple[Any, Any, Any, dict[str, Any]]:
    """A number and a text, each an input."""
    size = np.random.default_rng(1).uniform(0, 3, 400)
    colour = np.where(np.arange(400) % 2, "red", "blue")
    encoder = OneHotEncoder(handle_unknown="ignore")  # so that what is made up is answered
    columns = ColumnTransformer([("text", encoder, [1])], remainder="passthrough")
    frame = pd.DataFrame({"size": size, "colour": colour})
    truth = np.where(size > 1.2, "large", "small")
    return make_pipeline(columns, LogisticRegression()), frame, truth, {}


def strict() -> tuple[Any, Any, Any, dict[str, Any]]:
    """A code whose encoder raises on others, as it does by default, and a number."""
    size = np.random.default_rng(2).uniform(0, 3, 400)
    columns = ColumnTransformer([("code", OneHotEncoder(), ["code"])], remainder="passthrough")
    frame = pd.DataFrame({"code": np.arange(400) % 2, "size": size})
    truth = np.where(size > 1.2, "large", "small")
    return make_pipeline(columns, LogisticRegression()), frame, truth, {}


MODELS: dict[str, Fit] = {"vector": vector, "table": table, "strict": strict}


def main() -> None:
    """Serve each model and let the clients ask it."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("--own", type=Path, required=True, help="Python with our extra `serving`")
    parser.add_argument("--mlserver", type=Path, help="Python with MLServer")
    parser.add_argument("--kserve", type=Path, help="Python with KServe")
    parser.add_argument("--schemathesis", type=Path, help="Python with schemathesis")
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
                if given.mlserver and model != "strict":
                    ask(given.mlserver, "with_mlserver.py", model, address)
                if given.kserve and model == "vector":
                    ask(given.kserve, "with_kserve.py", model, address)
                if given.schemathesis:
                    puzzle(given.schemathesis, model, server, Path(name))


def puzzle(python: Path, model: str, server: Running, folder: Path) -> None:
    """Let schemathesis make requests from the protocol's document; none may be answered 5xx.

    It has to have asked often enough, and the server to have answered some of them with success.
    """
    url = f"http://127.0.0.1:{server.port}"
    with urllib.request.urlopen(f"{url}/v2/models/{model}", timeout=5) as answer:
        inputs = json.load(answer)["inputs"]
    description = folder / f"{model}.openapi.json"
    description.write_text(json.dumps(document(model, "v1", inputs)))
    command: list[str | Path] = [python.absolute().parent / "schemathesis", "run", description]
    command += ["--url", url, "--checks", "not_a_server_error", "--max-examples", "200"]
    command += ["--seed", "1", "--continue-on-failure", "--no-color"]
    if subprocess.run(command, timeout=1200, check=False, cwd=folder).returncode:
        sys.exit(f"a request that schemathesis made of {model} was not answered as it should be")
    counted = requests_by_code(server)
    print(f"{model}: {sum(counted.values()):.0f} predictions were asked for: {counted}")
    if not counted.get("200") or sum(counted.values()) < LEAST_PUZZLES:
        sys.exit("too few of them")


def requests_by_code(server: Running) -> dict[str, int]:
    """Return how many predictions were answered, by status."""
    url = f"http://127.0.0.1:{server.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        page = answer.read().decode()
    found = re.findall(r'^trimtab_requests_total{.*code="(\d+)"} (\S+)$', page, re.MULTILINE)
    return {code: int(float(count)) for code, count in found if float(count)}


def ask(python: Path, program: str, model: str, address: str) -> None:
    """Run a client; its lines are printed, its failure is ours."""
    command: list[str | Path] = [python.absolute(), HERE / program, address, model]
    if subprocess.run(command, timeout=180, check=False).returncode:
        sys.exit(f"{program} failed with {model}")


main()
