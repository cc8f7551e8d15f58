"""What becomes of an estimator: published, served by HTTP and asked, or refused in words."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.estimators.cases import Case
from tests.estimators.publishing import answers_of, batches, published, request_of, settings_for
from tests.unit.serving.loopback import serving

from trimtab.training import Published
from trimtab.training.errors import CodeBroken


@dataclass(frozen=True)
class Outcome:
    """`refusal` says what to do instead, and is empty for what is served."""

    name: str
    kind: str
    served: bool
    refusal: str = ""


def measure(case: Case) -> Outcome:
    """Publish, serve and ask; raise AssertionError where the answers are not those of `predict`."""
    with tempfile.TemporaryDirectory(prefix="trimtab-estimators-") as name:
        folder = Path(name)
        try:
            model, found = published(case, folder)
        except CodeBroken as refused:
            return Outcome(case.name, case.kind, False, str(refused))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asyncio.run(_ask(model, found, case.unseen, folder))
    return Outcome(case.name, case.kind, True)


async def _ask(model: Any, found: Published, unseen: NDArray[Any], folder: Path) -> None:
    can = _answerable(model, unseen)
    assert can.mean() > 0.9
    async with serving(settings_for(found, folder)) as client:
        url = "/v2/models/digits/infer"
        for rows in batches(unseen[can]):
            own = np.asarray(model.predict(rows)).reshape(len(rows), -1)
            answer = await client.front.post(url, json=request_of(rows))
            served = answers_of(answer, own.shape[1]).reshape(len(rows), -1)
            np.testing.assert_array_equal(served.astype(own.dtype), own)
        for row in unseen[~can]:
            answer = await client.front.post(url, json=request_of(row[None]))
            assert answer.status_code == 500
            assert "not finite" in answer.text


def _answerable(model: Any, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows [n] the model answers with finite numbers, as JSON can say them."""
    found = [np.asarray(model.predict(rows), dtype=np.float64).reshape(len(rows), -1)]
    if hasattr(model, "predict_proba"):
        given = model.predict_proba(rows)
        found += given if isinstance(given, list) else [given]
    return np.asarray(np.isfinite(np.hstack(found)).all(axis=1))
