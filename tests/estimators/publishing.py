"""What becomes of an estimator that is published: served by HTTP, or refused in words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray
from tests.estimators.cases import Case

from trimtab.serving.settings import ServingSettings
from trimtab.training import Published, publish

KEY: Final = b"k" * 32


def published(case: Case, folder: Path) -> tuple[Any, Published]:
    """Return the fitted estimator, and what `publish` made of it; raise what that raises."""
    model = case.fitted()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = publish(
            model,
            case.rows,
            case.truths,
            calibrate=case.calibrate,
            evaluate=case.evaluate,
            uri=(folder / "store").as_uri(),
            model_name="digits",
            version="v1",
            input_name="x",
        )
    return model, found


def settings_for(found: Published, folder: Path) -> ServingSettings:
    """Return how a pod serves it, on free ports of loopback."""
    key, scratch = folder / "key", folder / "scratch"
    key.write_bytes(KEY)
    scratch.mkdir(exist_ok=True)
    return ServingSettings(
        model="digits",
        version="v1",
        artifact_uri=found.uri,
        artifact_digest=found.digest,
        artifact_format="sklearn",
        scratch=scratch,
        termination_log=folder / "termination-log",
        host="127.0.0.1",
        inference_port=0,
        metrics_port=0,
        token_key_file=key,
        fetch_seconds=1.0,
        drain_grace_seconds=0.0,
    )


def request_of(rows: NDArray[Any]) -> dict[str, Any]:
    """Return the body of a request for rows [n, 1, or more columns]."""
    datatype = "INT64" if rows.dtype.kind in "iu" else "FP64"
    shape, data = list(rows.shape), rows.ravel().tolist()
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]}


def answers_of(response: httpx.Response, targets: int) -> NDArray[Any]:
    """Return what was predicted [n], of several targets [n, T]; raise AssertionError if not 200."""
    assert response.status_code == 200, response.text[:400]
    outputs = [one for one in response.json()["outputs"] if "probabilities" not in one["name"]]
    columns = [np.array(one["data"]) for one in outputs]
    assert len(columns) == targets
    return columns[0] if targets == 1 else np.column_stack(columns)


def batches(rows: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Return one row alone, and all of them in requests of at most 64."""
    return [rows[:1], *(rows[at : at + 64] for at in range(0, len(rows), 64))]
