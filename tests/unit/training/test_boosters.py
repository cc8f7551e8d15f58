"""XGBoost and LightGBM are published by the two lines of any estimator, and answer as before."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab.contract.artifact import Manifest
from trimtab.contract.estimators.boosted.estimators import attach
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.contract.estimators.stored import load_skops
from trimtab.training import Published, publish
from trimtab.training.boosters import without_wrappers
from trimtab.training.errors import CodeBroken
from trimtab.training.estimators import make_estimator
from trimtab.training.models import load_champion

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])
NAMES = np.where(Y == 1, "yes", "no")
NUMBERS = X[:, 0] * 2 + X[:, 1]


def xgb(**options: Any) -> Any:
    return xgboost.XGBClassifier(n_estimators=4, n_jobs=1, **options)


def lgbm(**options: Any) -> Any:
    return lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1, **options)


def published(model: Any, truth: Any, folder: Path, rows: Any = X) -> Published:
    return publish(
        model,
        rows[:300],
        truth[:300],
        uri=f"file://{folder}/m",
        model_name="m",
        version="v1",
        calibrate=(rows[300:450], truth[300:450]),
        evaluate=(rows[450:], truth[450:]),
    )


def answers(result: Published, folder: Path, rows: Any = X) -> Any:
    champion = load_champion(result.uri, result.digest, None, folder / "copy")
    return champion.model.answers(rows[:, : len(champion.signature.inputs)])


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        pytest.param(xgb(), Y, id="xgboost"),
        pytest.param(xgb(), THREE, id="xgboost_three_classes"),
        pytest.param(xgb(objective="multi:softmax"), THREE, id="xgboost_softmax"),
        pytest.param(xgb(objective="binary:hinge"), Y, id="xgboost_hinge"),
        pytest.param(xgb(booster="dart"), Y, id="xgboost_dart"),
        pytest.param(xgb(booster="gblinear"), Y, id="xgboost_linear"),
        pytest.param(xgb(missing=0.5), Y, id="xgboost_missing"),
        pytest.param(xgboost.XGBRFClassifier(n_estimators=4), Y, id="xgboost_forest"),
        pytest.param(lgbm(), Y, id="lightgbm"),
        pytest.param(lgbm(), NAMES, id="lightgbm_names"),
        pytest.param(lgbm(), THREE, id="lightgbm_three_classes"),
        pytest.param(lgbm(objective="multiclassova"), THREE, id="lightgbm_one_against_rest"),
        pytest.param(
            lgbm(boosting_type="rf", bagging_fraction=0.5, bagging_freq=1), THREE, id="lightgbm_rf"
        ),
        pytest.param(
            make_pipeline(ColumnTransformer([("a", StandardScaler(), [0, 1])]), xgb()),
            Y,
            id="pipeline",
        ),
        pytest.param(OneVsRestClassifier(lgbm()), THREE, id="one_against_rest"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_classifier_answers_as_it_did(model: Any, truth: Any, tmp_path: Path) -> None:
    result = published(model, truth, tmp_path)
    found = answers(result, tmp_path).probabilities
    assert np.abs(found - model.predict_proba(X)).max() < 1e-6
    assert (model.classes_[found.argmax(axis=1)] == model.predict(X)).all()


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBRegressor(n_estimators=4),
        xgboost.XGBRFRegressor(n_estimators=4),
        xgboost.XGBRegressor(n_estimators=4, objective="reg:quantileerror", quantile_alpha=0.9),
        lightgbm.LGBMRegressor(n_estimators=4, verbose=-1),
        lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, objective="quantile", alpha=0.9),
        lightgbm.LGBMRegressor(n_estimators=4, verbose=-1, objective="huber"),
    ],
    ids=lambda model: f"{type(model).__name__}-{model.objective}",
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_regressor_answers_as_it_did(model: Any, tmp_path: Path) -> None:
    result = published(model, NUMBERS, tmp_path)
    assert (answers(result, tmp_path).values[:, 0] == model.predict(X)).all()


def test_an_artifact_holds_native_files_and_names_their_library(tmp_path: Path) -> None:
    result = published(xgb(), Y, tmp_path)
    folder = Path(result.uri.removeprefix("file://"))
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert {file.path for file in manifest.files} == {
        "model.skops",
        "answers.json",
        "booster-0.ubj",
        "signature.json",
        "baseline.json",
    }
    assert (manifest.format, manifest.model_file) == ("sklearn", "model.skops")
    assert manifest.frameworks["xgboost"] == xgboost.__version__
    own = xgboost.Booster(model_file=folder / "booster-0.ubj")  # the library reads it as it is
    assert own.num_boosted_rounds() == 4
    (folder / "booster-0.ubj").unlink()
    with pytest.raises(ModelRefused, match=r"no file booster-0\.ubj"):
        load_skops(folder / "model.skops")


@pytest.mark.parametrize("make", [xgb, lgbm], ids=["xgboost", "lightgbm"])
@pytest.mark.parametrize("where", ["calibrated", "vote", "stack", "search"])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_wrappers_within_others_give_way(make: Any, where: str) -> None:
    model: Any = {
        "calibrated": lambda: CalibratedClassifierCV(make(), cv=2),
        "vote": lambda: VotingClassifier(
            [("a", make()), ("b", LogisticRegression())], voting="soft"
        ),
        "stack": lambda: StackingClassifier([("a", make())], LogisticRegression(), cv=2),
        "search": lambda: GridSearchCV(make(), {"max_depth": [2, 3]}, cv=2),
    }[where]()
    model.fit(X, Y)
    stored = without_wrappers(model)
    attach(stored.model, lambda name: stored.files[name])
    assert (stored.model.predict_proba(X) == model.predict_proba(X)).all()
    assert (stored.model.predict(X) == model.predict(X)).all()
    assert stored.model is not model


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_trees_behind_the_best_iteration_are_left_out(tmp_path: Path) -> None:
    seen, unseen = (X[:200], THREE[:200]), [(X[200:300], RANDOM.permutation(THREE[200:300]))]
    early: Any = xgboost.XGBClassifier(n_estimators=50, early_stopping_rounds=3)
    early.fit(*seen, eval_set=unseen, verbose=False)
    (body,) = without_wrappers(early).files.values()
    stored = xgboost.Booster(model_file=bytearray(body))
    assert stored.num_boosted_rounds() == early.best_iteration + 1
    other: Any = lightgbm.LGBMClassifier(n_estimators=50, verbose=-1)
    stop = lightgbm.early_stopping(3, verbose=False)
    other.fit(*seen, eval_set=unseen, callbacks=[stop])
    for name, model in {"x": early, "l": other}.items():
        result = published(model, THREE, tmp_path / name)
        found = answers(result, tmp_path / name).probabilities
        assert (found == model.predict_proba(X)).all()


@pytest.mark.parametrize(
    "make", [lambda: xgb(enable_categorical=True), lgbm], ids=["xgboost", "lightgbm"]
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_columns_of_categories_are_served_by_their_names(make: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["colour"] = pd.Categorical(RANDOM.choice(["red", "green", "blue"], len(X)))
    truth = ((frame["a"] > 0) ^ (frame["colour"] == "red")).astype(int).to_numpy()
    model = make().fit(frame[:300], truth[:300])
    result = published(model, truth, tmp_path, frame)
    found = answers(result, tmp_path, frame.to_numpy(dtype=object)).probabilities
    assert (found == model.predict_proba(frame)).all()


class Turned(xgboost.XGBClassifier):
    """A wrapper of somebody's own."""

    def predict_proba(self, *rows: Any, **options: Any) -> Any:
        return 1 - super().predict_proba(*rows, **options)


@pytest.mark.parametrize(
    ("model", "truth", "said"),
    [
        pytest.param(xgb(objective="binary:logitraw"), Y, "binary:logistic", id="raw_scores"),
        pytest.param(
            xgb(objective=lambda truth, raw: (raw - truth, np.ones_like(raw))), Y,
            "one of the library's own", id="objective_of_their_own",
        ),
        pytest.param(
            lgbm(linear_tree=True), Y, "linear_tree=False", id="linear_trees",
        ),
        pytest.param(Turned(n_estimators=2), Y, "answers differently", id="own_subclass"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_what_cannot_be_stored_is_refused_with_a_way(
    model: Any, truth: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(CodeBroken, match=said):
        published(model, truth, tmp_path)


def test_bare_boosters_and_rankers_are_refused_with_a_way(tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=r"XGBClassifier\(\) or XGBRegressor\(\), and its load"):
        published(xgb().fit(X, Y).get_booster(), Y, tmp_path)
    with pytest.raises(CodeBroken, match=r"lightgbm.LGBMClassifier"):
        published(lgbm().fit(X, Y).booster_, Y, tmp_path)
    ranker: Any = xgboost.XGBRanker(n_estimators=2)
    ranker.fit(X, THREE, qid=np.arange(600) // 100)
    with pytest.raises(CodeBroken, match="fit a regressor"):
        published(ranker, THREE, tmp_path)


def test_catboost_is_told_the_way_through_onnx(tmp_path: Path) -> None:
    kind = type("CatBoostClassifier", (), {"__module__": "catboost.core"})
    with pytest.raises(CodeBroken, match=r'save_model\("model.onnx", format="onnx"\)'):
        published(kind(), Y, tmp_path)


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_an_image_without_the_library_says_which_one_has_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = published(xgb() if name == "xgboost" else lgbm(), Y, tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    file = Path(result.uri.removeprefix("file://")) / "model.skops"
    with pytest.raises(ModelRefused, match=f"needs {name}.*serving-tables") as said:
        load_skops(file)
    assert said.value.reason == "NeedsBoosting"


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("xgboost.XGBClassifier", "classification"),
        ("lightgbm.LGBMClassifier", "classification"),
        ("xgboost.XGBRegressor", "regression"),
        ("lightgbm.LGBMRegressor", "regression"),
    ],
)
def test_they_go_by_dotted_path_in_a_training(path: str, task: Any) -> None:
    estimator = make_estimator(path, {"n_estimators": 3}, [], task, seed=7)
    assert f"{type(estimator).__module__}.{type(estimator).__name__}".startswith(path[:7])
    assert estimator.get_params()["random_state"] == 7
    assert json.dumps(estimator.get_params()["n_estimators"]) == "3"


@pytest.mark.parametrize("path", ["xgboost.core.Booster", "xgboost.train", "lightgbm.Booster"])
def test_nothing_else_of_theirs_does(path: str) -> None:
    with pytest.raises(CodeBroken, match=r"by dotted path|no such estimator"):
        make_estimator(path, {}, [], "classification", seed=0)


def test_names_with_spaces_are_inputs_called_so(tmp_path: Path) -> None:
    rows = pd.DataFrame(X).set_axis([f"column {place}" for place in range(X.shape[1])], axis=1)
    model = lgbm().fit(rows, X[:, 0] > 0)
    made = publish(
        model,
        rows,
        X[:, 0] > 0,
        uri=tmp_path.as_uri(),
        model_name="m",
        version="v1",
        calibrate=(rows, X[:, 0] > 0),
        evaluate=(rows, X[:, 0] > 0),
    )
    loaded = load_champion(made.uri, made.digest, None, tmp_path / "copy")
    assert [one.name for one in loaded.signature.inputs] == list(rows.columns)
    assert (loaded.model.answers(X).probabilities == model.predict_proba(rows)).all()
