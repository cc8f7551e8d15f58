"""A version made with other releases has to answer as it did; what it says is on record."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression

from trimtab.contract.artifact import File, Manifest, sha256_digest
from trimtab.contract.recorded import ANSWERS
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.rehearsal import Rehearsal
from trimtab.training import publish

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 3))
TRUTHS = {
    "classes": (LogisticRegression(), np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]),
    "values": (LinearRegression(), X @ np.array([1.0, 2.0, 3.0])),
}


def changed(
    folder: Path, change: Callable[[dict[str, Any]], None] | None, **frameworks: str
) -> str:
    """Change what is on record (nothing: leave it out) and the releases; return the digest."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    files = [one for one in manifest.files if one.path != ANSWERS]
    if change is not None:
        recorded = json.loads((folder / ANSWERS).read_bytes())
        change(recorded)
        body = json.dumps(recorded).encode()
        (folder / ANSWERS).write_bytes(body)
        digest = sha256_digest(body).removeprefix("sha256:")
        files.append(File(path=ANSWERS, sha256=digest, size=len(body)))
    told = manifest.model_copy(
        update={"files": files, "frameworks": manifest.frameworks | frameworks}
    )
    body = told.model_dump_json(by_alias=True).encode()
    (folder / "manifest.json").write_bytes(body)
    return sha256_digest(body)


@pytest.fixture(params=list(TRUTHS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    model, truths = TRUTHS[request.param]
    made = publish(clone(model), X, truths, uri=tmp_path.as_uri(), model_name="m", version="v1")
    return Path(made.uri.removeprefix("file://"))


def rehearsed(folder: Path, digest: str, scratch: Path) -> Rehearsal:
    return Rehearsal(folder.as_uri(), digest, scratch / "scratch", max_bytes=1 << 20)


def unchanged(_recorded: dict[str, Any]) -> None:
    """As it was written."""


def altered(recorded: dict[str, Any]) -> None:
    for name, other in (("predicted", "no"), ("values", [1e3])):
        if name in recorded:
            recorded[name][:5] = [other] * 5


def test_rows_on_record_are_nobody_s(folder: Path) -> None:
    recorded = json.loads((folder / ANSWERS).read_bytes())
    assert len(recorded["rows"]) == 64
    mine = {tuple(row) for row in X.tolist()}
    assert not mine & {tuple(row) for row in recorded["rows"]}


def test_the_same_answers_are_served_and_both_releases_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = changed(folder, unchanged, **{"scikit-learn": "1.0.0"})
    with caplog.at_level(logging.WARNING):
        rehearsed(folder, digest, tmp_path)
    assert "made with scikit-learn 1.0.0 (here 1." in caplog.text
    assert "all 64 answers on record are the same here" in caplog.text


def test_other_answers_are_refused_with_both_releases(folder: Path, tmp_path: Path) -> None:
    digest = changed(folder, altered, **{"scikit-learn": "1.0.0"})
    with pytest.raises(ArtifactRefused, match=r"scikit-learn 1\.0\.0 .*of 64 answers") as said:
        rehearsed(folder, digest, tmp_path)
    assert said.value.reason == "AnswersDiffer"


def test_where_nothing_is_on_record_the_releases_are_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    digest = changed(folder, None, **{"scikit-learn": "1.0.0"})
    with caplog.at_level(logging.WARNING):
        rehearsed(folder, digest, tmp_path)
    assert "no answers on record" in caplog.text


def test_with_the_same_releases_nothing_is_asked(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rehearsed(folder, changed(folder, altered), tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda record: record.update(rows=[[1.0], [1.0, 2.0]]), id="ragged"),
        pytest.param(lambda record: record.update(rows="all"), id="no_list"),
        pytest.param(lambda record: record.update(rows=[["a", "b", "c"]] * 64), id="texts"),
        pytest.param(lambda record: record.update(rows=record["rows"][:3]), id="fewer_rows"),
        pytest.param(
            lambda record: [
                record.update({name: [[1.0], [1.0, 2.0]] * 32})
                for name in ("probabilities", "values")
                if record.get(name) is not None
            ],
            id="ragged_answers",
        ),
    ],
)
def test_a_broken_record_is_refused(broken: Any, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused):
        rehearsed(folder, changed(folder, broken, numpy="1.0.0"), tmp_path)
