"""A version is made better from where it is, by fewer rows than a new one needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

from trimtab.serving.model.base import Prediction
from trimtab.serving.rehearsal import Rehearsal
from trimtab.training import Published, fine_tune, publish, recalibrate
from trimtab.training.errors import CodeBroken, DataBroken, InsufficientRows

RNG = np.random.default_rng(0)


def rows_of(n: int, shift: float, seed: int = 0) -> tuple[Any, Any]:
    """Classes whose border lies at `shift`."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, 4))
    noise = random.normal(0, 0.3, n)
    return rows, (rows[:, 0] + rows[:, 1] + noise > shift).astype(int)


def published(model: Any, folder: Path, rows: Any, truths: Any) -> Published:
    return publish(clone(model), rows, truths, uri=folder.as_uri(), model_name="m", version="v1")


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


def three_classes(n: int, seed: int = 0) -> tuple[Any, Any]:
    rows = np.random.default_rng(seed).normal(size=(n, 4))
    return rows, np.array(["hi", "lo", "mid"])[np.digitize(rows[:, 0], (-0.5, 0.5))]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(GradientBoostingClassifier(n_estimators=5), id="ends the process"),
        pytest.param(RandomForestClassifier(5), id="forest"),
        pytest.param(HistGradientBoostingClassifier(max_iter=5), id="histogram"),
        pytest.param(BaggingClassifier(n_estimators=3), id="bagging"),
        pytest.param(LogisticRegression(), id="linear"),
    ],
)
def test_a_class_without_recent_rows_is_named(model: Any, tmp_path: Path) -> None:
    champion = published(model, tmp_path, *three_classes(600))
    rows, truths = three_classes(900, seed=1)
    kept = truths != "lo"
    with pytest.raises(DataBroken, match=r"hold no 'lo'; .* goes on only with rows of every class"):
        tuned(champion, tmp_path, rows[kept], truths[kept])


def test_what_learns_in_steps_goes_on_without_a_class(tmp_path: Path) -> None:
    champion = published(GaussianNB(), tmp_path, *three_classes(600))
    rows, truths = three_classes(900, seed=1)
    kept = truths != "lo"
    assert tuned(champion, tmp_path, rows[kept], truths[kept]).digest != champion.digest


@pytest.mark.parametrize("repair", [fine_tune, recalibrate])
@pytest.mark.parametrize("model", [GaussianNB(), SGDClassifier(random_state=0)])
def test_labels_of_one_class_are_refused(repair: Any, model: Any, tmp_path: Path) -> None:
    champion = published(model, tmp_path, *rows_of(600, 0))
    rows, _ = rows_of(600, 0, seed=1)
    with pytest.raises(DataBroken, match="y holds one class only, 1; give rows of others"):
        repair(champion, rows, [1] * 600, uri=tmp_path.as_uri(), model_name="m", version="v2")


def test_a_map_is_not_made_without_rows_of_a_class(tmp_path: Path) -> None:
    champion = published(GaussianNB(), tmp_path, *three_classes(600))
    rows, truths = three_classes(900, seed=1)
    kept = truths != "lo"
    with pytest.raises(DataBroken, match="makes the new map holds no 'lo'"):
        recalibrate(
            champion, rows[kept], truths[kept], uri=tmp_path.as_uri(), model_name="m", version="v2"
        )


def test_categories_of_a_histogram_cannot_go_on(tmp_path: Path) -> None:
    rows, truths = rows_of(900, 0)
    table = pd.DataFrame(rows[:, :2], columns=["a", "b"])
    table["c"] = pd.Categorical(np.where(rows[:, 2] > 0, "u", "v"))
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5)
    champion = published(model, tmp_path, table, truths)
    with pytest.raises(CodeBroken, match="with categories cannot go on"):
        tuned(champion, tmp_path, table, truths)


def test_boosters_are_named_as_people_know_them(tmp_path: Path) -> None:
    champion = published(XGBClassifier(n_estimators=3), tmp_path, *rows_of(600, 0))
    with pytest.raises(CodeBroken, match="a classifier of XGBoost or LightGBM has neither"):
        tuned(champion, tmp_path, *rows_of(600, 0))


def test_the_level_of_each_target_is_set_right(tmp_path: Path) -> None:
    rows = RNG.normal(size=(600, 3))
    truths = pd.DataFrame({"p": rows[:, 0], "q": rows[:, 1] * 2})
    champion = published(LinearRegression(), tmp_path, rows, truths)
    made = recalibrate(
        champion, rows, truths.add([3, -2]), uri=tmp_path.as_uri(), model_name="m", version="v2"
    )
    assert [one.value for one in made.metrics if one.metric == "rmse"] == pytest.approx(
        [0, 0], abs=1e-9
    )
    player = Rehearsal(made.uri, made.digest, tmp_path / "scratch", max_bytes=1 << 30)
    targets = player.play(rows[:3]).prediction.targets
    assert targets is not None
    np.testing.assert_allclose(targets, truths[:3].add([3, -2]))


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    champion = published(GaussianNB(), tmp_path, *rows_of(600, 0))
    rows, truths = rows_of(600, 1)
    with pytest.raises(DataBroken, match="no class of the model"):
        tuned(champion, tmp_path, rows, truths + 1)
    with pytest.raises(DataBroken, match="y has 599 truths"):
        tuned(champion, tmp_path, rows, truths[1:])
    with pytest.raises(DataBroken, match="feature_names has 4 names, X has 3 columns"):
        tuned(champion, tmp_path, rows[:, :3], truths)
    values = published(Ridge(), tmp_path / "values", rows, rows[:, 0])
    with pytest.raises(CodeBroken, match="Ridge has neither"):
        tuned(values, tmp_path, rows, rows[:, 0])


def recalibrated(champion: Published, folder: Path, rows: Any, truths: Any, **more: Any) -> Any:
    return recalibrate(
        champion, rows, truths, uri=folder.as_uri(), model_name="m", version="v2", **more
    )


def file_of(made: Published, name: str) -> bytes:
    return (Path(made.uri.removeprefix("file://")) / name).read_bytes()


def answers_of(made: Published, rows: Any, folder: Path) -> Prediction:
    """As a container gives them."""
    rehearsal = Rehearsal(made.uri, made.digest, folder / "scratch", max_bytes=1 << 26)
    return rehearsal.play(rows).prediction


def two_bells(n: int, share: float, seed: int) -> tuple[Any, Any]:
    """Two classes that overlap; `share` of the rows are of the second."""
    random = np.random.default_rng(seed)
    truths = (random.random(n) < share).astype(int)
    return random.normal(size=(n, 2)) + truths[:, None], truths


def test_a_shift_of_the_classes_is_set_right_by_few_rows(tmp_path: Path) -> None:
    """The estimator ranks as before; only what it believes of the shares is wrong."""
    champion = published(LogisticRegression(), tmp_path, *two_bells(3000, 0.5, 0))
    made = recalibrated(champion, tmp_path, *two_bells(600, 0.05, 1))
    assert file_of(made, "model.skops") == file_of(champion, "model.skops")
    rows, truths = two_bells(4000, 0.05, 2)
    before, after = (answers_of(one, rows, tmp_path) for one in (champion, made))
    assert before.predicted is not None
    assert after.predicted is not None
    assert (after.predicted == truths).mean() > (before.predicted == truths).mean() + 0.1
    assert after.calibrated is not None
    assert after.calibrated[:, 1].mean() == pytest.approx(truths.mean(), abs=0.02)
    assert after.probabilities is not None
    np.testing.assert_array_equal(after.probabilities, after.calibrated)


def test_recalibrated_twice_is_as_once(tmp_path: Path) -> None:
    champion = published(LogisticRegression(), tmp_path, *two_bells(3000, 0.5, 0))
    once = recalibrated(champion, tmp_path / "a", *two_bells(600, 0.1, 2))
    twice = recalibrated(
        recalibrated(champion, tmp_path / "b", *two_bells(600, 0.9, 1)),
        tmp_path / "c",
        *two_bells(600, 0.1, 2),
    )
    assert file_of(twice, "signature.json") == file_of(once, "signature.json")


def test_the_threshold_may_be_chosen_and_an_own_one_is_kept(tmp_path: Path) -> None:
    rows, truths = two_bells(2000, 0.5, 0)
    champion = published(LogisticRegression(), tmp_path, rows, truths)
    more = recalibrated(champion, tmp_path, rows, truths, threshold=0.2)
    predicted = answers_of(more, rows, tmp_path).predicted
    assert predicted is not None
    assert predicted.mean() > 0.6
    careful = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    own = published(careful, tmp_path / "own", rows, truths)
    kept = recalibrated(own, tmp_path / "kept", *two_bells(2000, 0.5, 1))
    was, now = (answers_of(one, rows, tmp_path).predicted for one in (own, kept))
    assert was is not None
    assert now is not None
    assert (was == now).mean() > 0.95
    with pytest.raises(CodeBroken, match="between 0 and 1"):
        recalibrated(champion, tmp_path, rows, truths, threshold=1.5)


def test_the_level_of_values_is_set_right(tmp_path: Path) -> None:
    rows = RNG.normal(size=(600, 3))
    values = rows @ np.array([1.0, 2.0, 3.0])
    champion = published(Ridge(), tmp_path, rows, values)
    made = recalibrated(champion, tmp_path, rows, values + 5)
    assert accuracy(made) < 0.1
    given = answers_of(made, rows, tmp_path).values
    assert given == pytest.approx(values + 5, abs=0.2)


def test_recalibration_needs_rows(tmp_path: Path) -> None:
    champion = published(GaussianNB(), tmp_path, *rows_of(600, 0))
    with pytest.raises(InsufficientRows, match="at least 100"):
        recalibrated(champion, tmp_path, *rows_of(60, 0))
