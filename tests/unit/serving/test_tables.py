"""A model fitted on a table is published, served by the real runtime, and answers as it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from tests.unit.serving.loopback import Client, serving
from tests.unit.serving.tables import (
    passengers,
    request,
    survived,
    table_models,
    text_models,
    texts,
)

from trimtab.contract.artifact import Manifest, Signature
from trimtab.serving.settings import ServingSettings
from trimtab.training import Published, publish

PEOPLE = passengers()
TRUTH = survived(PEOPLE)
TABLE_MODELS = table_models()
TEXT_MODELS = text_models()


def published(model: Any, folder: Path, rows: Any, truth: Any, **options: Any) -> Published:
    third = len(truth) // 3
    parts = [slice(0, third), slice(third, 2 * third), slice(2 * third, None)]
    pairs = [(rows.iloc[one] if hasattr(rows, "iloc") else rows[one], truth[one]) for one in parts]
    return publish(
        model,
        *pairs[0],
        calibrate=pairs[1],
        evaluate=pairs[2],
        uri=folder.as_uri(),
        model_name="digits",
        version="v1",
        **options,
    )


def folder_of(made: Published) -> Path:
    return Path(made.uri.removeprefix("file://"))


def signature_of(made: Published) -> Signature:
    return Signature.model_validate_json((folder_of(made) / "signature.json").read_bytes())


def served(settings: ServingSettings, made: Published) -> ServingSettings:
    return replace(settings, artifact_uri=made.uri, artifact_digest=made.digest)


async def answers(client: Client, inputs: list[dict[str, Any]]) -> tuple[list[Any], Any]:
    answer = await client.infer(inputs)
    assert answer.status_code == 200, answer.text
    chosen, probabilities = answer.json()["outputs"]
    return chosen["data"], np.reshape(probabilities["data"], probabilities["shape"])


@pytest.mark.parametrize("name", TABLE_MODELS)
async def test_a_table_is_served_as_one(
    name: str, settings: ServingSettings, tmp_path: Path
) -> None:
    model = clone(TABLE_MODELS[name])
    made = published(model, tmp_path / "store", PEOPLE, TRUTH)
    signature = signature_of(made)
    manifest = Manifest.model_validate_json((folder_of(made) / "manifest.json").read_bytes())
    assert (signature.takes, "pandas" in manifest.frameworks) == ("matrix", False)
    async with serving(served(settings, made)) as client:
        for at in range(0, len(PEOPLE), 60):
            rows = PEOPLE.iloc[at : at + 60]
            chosen, probabilities = await answers(client, request(rows, signature.inputs))
            assert chosen == model.predict(rows).tolist()
            np.testing.assert_allclose(probabilities, model.predict_proba(rows))


@pytest.mark.parametrize("name", TEXT_MODELS)
@pytest.mark.parametrize("given", [list, np.array, pd.Series])
async def test_texts_are_one_input(
    name: str, given: Any, settings: ServingSettings, tmp_path: Path
) -> None:
    model = clone(TEXT_MODELS[name])
    rows, truth = texts()
    made = published(model, tmp_path / "store", given(rows), truth)
    signature = signature_of(made)
    assert [(one.name, one.datatype, one.shape) for one in signature.inputs] == [
        ("text", "BYTES", [])
    ]
    assert signature.inputs[0].categories is None
    one = {"name": "text", "datatype": "BYTES", "shape": [len(rows)], "data": rows}
    async with serving(served(settings, made)) as client:
        chosen, _ = await answers(client, [one])
    assert chosen == model.predict(rows).tolist()


def test_no_pandas_is_needed_to_serve_a_table(tmp_path: Path) -> None:
    """In a process of its own, in which pandas and polars cannot be imported."""
    asked = []
    for name, model in TABLE_MODELS.items():
        made = published(clone(model), tmp_path / name.replace(" ", "-"), PEOPLE, TRUTH)
        inputs = request(PEOPLE[:20], signature_of(made).inputs)
        asked.append({"folder": str(folder_of(made)), "inputs": inputs})
    script = """
import json, sys
from pathlib import Path
for name in ("pandas", "polars"):
    sys.modules[name] = None
from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.estimators.stored import load_skops
from trimtab.serving.inference.validation import Inputs
for one in json.load(sys.stdin):
    folder = Path(one["folder"])
    signature = Signature.model_validate_json((folder / "signature.json").read_bytes())
    model = AnsweringEstimator(load_skops(folder / "model.skops"), signature)
    rows = Inputs(signature, 100).read(one["inputs"])
    print(len(model.answers(rows).probabilities))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=json.dumps(asked),
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["20"] * len(TABLE_MODELS)
