"""Builds small artifacts in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import skops.io
from numpy.typing import NDArray

from trimtab.contract.artifact import (
    BASELINE,
    SIGNATURE,
    Baseline,
    NumericFeature,
    Signature,
    baseline_digest,
)
from trimtab.contract.estimators.answering import AnsweringEstimator
from trimtab.contract.location import open_location
from trimtab.contract.transfer import write_artifact
from trimtab.serving.model.base import Model

KEY = b"0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Stored:
    """An artifact in a folder, as a version would name it."""

    uri: str
    digest: str
    folder: Path
    signature: Signature
    baseline: Baseline
    estimator: Any
    rows: NDArray[Any]


def numeric(name: str, values: NDArray[np.float64], bins: int = 5) -> NumericFeature:
    known = values[~np.isnan(values)]
    edges = sorted(set(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]).tolist()))
    return NumericFeature(
        name=name,
        edges=edges,
        counts=np.bincount(np.searchsorted(edges, known), minlength=len(edges) + 1).tolist(),
        minimum=float(known.min()),
        maximum=float(known.max()),
        missing=int(np.isnan(values).sum()),
    )


def with_digest(baseline: Baseline) -> Baseline:
    return baseline.model_copy(update={"digest": baseline_digest(baseline)})


def store(
    folder: Path,
    estimator: Any,
    signature: Signature,
    baseline: Baseline,
    rows: NDArray[Any],
    *,
    files: Mapping[str, bytes] | None = None,
    model_file: str = "model.skops",
    model_format: Literal["sklearn", "onnx"] = "sklearn",
) -> Stored:
    content = {
        model_file: _body(estimator),
        SIGNATURE: signature.model_dump_json(by_alias=True).encode(),
        BASELINE: baseline.model_dump_json(by_alias=True).encode(),
    } | dict(files or {})
    written = write_artifact(
        open_location(folder.as_uri()),
        content,
        model_format=model_format,
        model_file=model_file,
        model="digits",
        version="v1",
        created="2026-01-01T00:00:00Z",
        frameworks={},
    )
    place = Path(urlsplit(written.uri).path)
    return Stored(written.uri, written.digest, place, signature, baseline, estimator, rows)


def _body(estimator: Any) -> bytes:
    if estimator is None or isinstance(estimator, bytes):
        return estimator or b""
    body: bytes = skops.io.dumps(estimator)
    return body


def model_of(stored: Stored, estimator: Any = None) -> Model:
    """The stored estimator, or another one under the same signature, as serving holds it."""
    held = AnsweringEstimator(estimator or stored.estimator, stored.signature)
    return Model(held, stored.signature, stored.baseline)
