"""A version is made better from where it is, by fewer rows than a new one needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trimtab.training import Published, fine_tune, publish
from trimtab.training.errors import CodeBroken, DataBroken

RNG = np.random.default_rng(0)


def rows_of(n: int, shift: float, seed: int = 0) -> tuple[Any, Any]:
    """Classes whose border lies at `shift`."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, 4))
    noise = random.normal(0, 0.3, n)
    return rows, (rows[:, 0] + rows[:, 1] + noise > shift).astype(int)


def published(model: Any, folder: Path, rows: Any, truths: Any) -> Published:
    return publish(model, rows, truths, uri=folder.as_uri(), model_name="m", version="v1")


def tuned(champion: Any, folder: Path, rows: Any, truths: Any) -> Published:
    return fine_tune(champion, rows, truths, uri=folder.as_uri(), model_name="m", version="v2")


def accuracy(made: Published) -> float:
    return next(one.value for one in made.metrics if one.metric in ("accuracy", "rmse"))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(GaussianNB(), id="partial_fit"),
        pytest.param(
            make_pipeline(StandardScaler(), LogisticRegression(C=0.1)), id="warm_pipeline"
        ),
        pytest.param(RandomForestClassifier(20, random_state=0), id="forest"),
        pytest.param(GradientBoostingClassifier(n_estimators=20, random_state=0), id="boosting"),
        pytest.param(HistGradientBoostingClassifier(max_iter=20, random_state=0), id="histogram"),
    ],
)
def test_the_estimator_goes_on(model: Any, tmp_path: Path) -> None:
    champion = published(model, tmp_path, *rows_of(600, 0.0))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    recent = rows_of(1200, 1.0, seed=1)
    made = tuned((champion.uri, champion.digest), tmp_path, *recent)
    assert made.digest != champion.digest
    assert all(path.read_bytes() == body for path, body in before.items())
    worse = accuracy(published_as_it_is(champion, tmp_path, recent))
    assert accuracy(made) > worse


def published_as_it_is(champion: Published, folder: Path, recent: Any) -> Published:
    """Measure the champion on the recent rows."""
    from trimtab.training.models import load_champion

    loaded: Any = load_champion(champion.uri, champion.digest, None, folder / "copy").model
    return publish(
        loaded.estimator,
        *recent,
        uri=(folder / "same").as_uri(),
        model_name="m",
        version="v1",
        calibrate=recent,
        evaluate=recent,
    )


def test_values_go_on(tmp_path: Path) -> None:
    rows = RNG.normal(size=(600, 3))
    champion = published(
        SGDRegressor(random_state=0), tmp_path, rows, rows @ np.array([1.0, 2.0, 0.0])
    )
    made = tuned(champion, tmp_path, rows, rows @ np.array([1.0, 2.5, 0.5]))
    assert accuracy(made) < 0.1


def test_a_forest_keeps_its_trees(tmp_path: Path) -> None:
    from trimtab.training.models import load_champion

    champion = published(RandomForestClassifier(20, random_state=0), tmp_path, *rows_of(600, 0))
    made = tuned(champion, tmp_path, *rows_of(600, 1))
    loaded: Any = load_champion(made.uri, made.digest, None, tmp_path / "copy").model
    assert len(loaded.estimator.estimators_) == 24


@pytest.mark.parametrize(
    ("model", "says"),
    [
        pytest.param(SVC(), "neither partial_fit nor warm_start", id="svc"),
        pytest.param(make_pipeline(StandardScaler(), SVC()), "SVC has neither", id="pipeline"),
    ],
)
def test_what_cannot_go_on_says_so(model: Any, says: str, tmp_path: Path) -> None:
    champion = published(model, tmp_path, *rows_of(600, 0))
    with pytest.raises(CodeBroken, match=says):
        tuned(champion, tmp_path, *rows_of(600, 1))


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    champion = published(GaussianNB(), tmp_path, *rows_of(600, 0))
    rows, truths = rows_of(600, 1)
    with pytest.raises(DataBroken, match="no class of the model"):
        tuned(champion, tmp_path, rows, truths + 1)
    with pytest.raises(DataBroken, match="y has 599 truths"):
        tuned(champion, tmp_path, rows, truths[1:])
    with pytest.raises(DataBroken, match="X has 3 columns, 4 names"):
        tuned(champion, tmp_path, rows[:, :3], truths)
    values = published(Ridge(), tmp_path / "values", rows, rows[:, 0])
    with pytest.raises(CodeBroken, match="Ridge has neither"):
        tuned(values, tmp_path, rows, rows[:, 0])
