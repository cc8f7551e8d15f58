"""Several targets: from a table of truths to an answer with an output for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.svm import LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier

from trimtab.contract.artifact import Baseline, Signature
from trimtab.serving.rehearsal import Rehearsal
from trimtab.training import Published, publish
from trimtab.training.errors import CodeBroken, DataBroken

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4))
VALUES = pd.DataFrame({"price": X[:, 0] * 3, "area": X[:, 1] - X[:, 2], "age": X[:, 3]})
LABELS = pd.DataFrame({"red": X[:, 0] > 0, "big": X[:, 1] > 0.5, "old": X[:, 2] < 0}).astype(int)
NAMES = pd.DataFrame(
    {"size": np.where(X[:, 0] > 0, "big", "small"), "colour": RNG.choice(["r", "g", "b"], 600)}
)


def published(model: Any, truths: Any, folder: Path, **more: Any) -> Published:
    return publish(model, X, truths, uri=folder.as_uri(), model_name="m", version="v1", **more)


def part(made: Published, name: str) -> bytes:
    return (Path(made.uri.removeprefix("file://")) / name).read_bytes()


def signature_of(made: Published) -> Signature:
    return Signature.model_validate_json(part(made, "signature.json"))


def answered(made: Published, folder: Path) -> dict[str, Any]:
    """Return what a container answers for X, by output."""
    rehearsal = Rehearsal(made.uri, made.digest, folder / "scratch", max_bytes=1 << 26)
    prediction = rehearsal.play(X).prediction
    outputs = rehearsal.outputs
    tensors, _ = outputs.tensors(outputs.chosen(None, {}), prediction, slice(0, len(X)))
    content = orjson.loads(orjson.dumps(tensors, option=orjson.OPT_SERIALIZE_NUMPY))
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in content} | {
        "plain": outputs.plain(prediction, slice(0, len(X)))
    }


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        RidgeCV(),
        RandomForestRegressor(5, random_state=0),
        MultiOutputRegressor(LinearSVR(random_state=0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_values(model: Any, tmp_path: Path) -> None:
    made = published(model, VALUES, tmp_path, counted="area")
    found = answered(made, tmp_path)
    expected = model.predict(X)
    for place, name in enumerate(VALUES.columns):
        np.testing.assert_array_equal(found[name], expected[:, place])
    np.testing.assert_array_equal(found["plain"], expected)
    metrics = {(one.metric, one.slice): one.value for one in made.metrics}
    assert set(metrics) == {
        ("rmse", "all"),
        ("mae", "all"),
        ("rmse", "output=price"),
        ("rmse", "output=age"),
    }
    baseline = Baseline.model_validate_json(part(made, "baseline.json"))
    area = expected[:, 1]
    assert area.min() <= baseline.score_edges[0] <= baseline.score_edges[-1] <= area.max()


@pytest.mark.parametrize(
    ("model", "truths"),
    [
        pytest.param(RandomForestClassifier(5, random_state=0), LABELS, id="forest"),
        pytest.param(DecisionTreeClassifier(max_depth=4), NAMES, id="names"),
        pytest.param(MultiOutputClassifier(LogisticRegression()), NAMES, id="multi_output"),
        pytest.param(MultiOutputClassifier(LinearSVC()), LABELS, id="without_probabilities"),
        pytest.param(ClassifierChain(LogisticRegression()), LABELS, id="chain"),
    ],
)
def test_classes(model: Any, truths: pd.DataFrame, tmp_path: Path) -> None:
    made = published(model, truths, tmp_path)
    signature = signature_of(made)
    assert [target.output for target in signature.targets] == list(truths.columns)
    assert signature.classes == signature.targets[0].classes
    found = answered(made, tmp_path)
    expected = np.asarray(model.predict(X))
    for place, name in enumerate(truths.columns):
        kind = truths[name].to_numpy().dtype
        assert (found[name] == expected[:, place].astype(kind)).all()
        assert [row[place] for row in found["plain"]] == found[name].tolist()
    if not hasattr(model, "predict_proba"):
        assert not any("probabilities" in name for name in found)
        return
    probabilities = model.predict_proba(X)
    for place, name in enumerate(truths.columns):
        known = (
            probabilities[place]
            if isinstance(probabilities, list)
            else np.column_stack((1 - probabilities[:, place], probabilities[:, place]))
        )
        np.testing.assert_allclose(found[f"{name}_probabilities"], known)


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param({"class": "output-0", "probabilities": None}, id="as_kserve"),
        pytest.param({"class": "predict", "probabilities": "predict_proba"}, id="as_mlserver"),
    ],
)
def test_outputs_are_called_as_the_client_knows_them(
    outputs: dict[str, str | None], tmp_path: Path
) -> None:
    made = published(LogisticRegression(), LABELS["red"], tmp_path, outputs=outputs)
    found = answered(made, tmp_path)
    assert set(found) - {"plain"} == {name for name in outputs.values() if name}


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"klass": "a"}, "'klass' is no output; there is class, probabilities"),
        ({"class": "probabilities"}, "'probabilities' is the name of two outputs"),
        ({"class": None}, "'class' cannot be left out"),
    ],
)
def test_wrong_names_of_outputs(outputs: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=says):
        published(LogisticRegression(), LABELS["red"], tmp_path, outputs=outputs)


def test_wrong_targets(tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match="counted='weight' is no target; there is price, area"):
        published(LinearRegression(), VALUES, tmp_path, counted="weight")
    gaps = VALUES.copy()
    gaps.iloc[3, 1] = np.nan
    with pytest.raises(DataBroken, match=r"1 missing values, the first in row 3, column 1"):
        published(LinearRegression(), gaps, tmp_path)
    with pytest.raises(DataBroken, match="column 1 of y holds one class only"):
        published(RandomForestClassifier(2), LABELS.assign(big=0), tmp_path)
    with pytest.raises(DataBroken, match="MultiOutputRegressor"):
        published(LinearSVR(), VALUES, tmp_path)
    with pytest.raises(CodeBroken, match="counted='red' is for several targets, and y has one"):
        published(LogisticRegression(), LABELS["red"], tmp_path, counted="red")
    assert list(tmp_path.iterdir()) == []
