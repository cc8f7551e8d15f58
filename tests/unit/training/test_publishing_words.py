"""Typical mistakes of a caller: each is one sentence of ours that says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from trimtab.api.model_version import ModelLine, VersionName
from trimtab.contract import location
from trimtab.contract.location import BadLocation
from trimtab.training import arguments, fine_tune, publish, recalibrate
from trimtab.training.errors import CodeBroken

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 2))
Y = (X[:, 0] > 0).astype(int)


def told(folder: Path, model: Any = None, **more: Any) -> None:
    named: dict[str, Any] = {"uri": folder.as_uri(), "model_name": "m", "version": "v1"}
    publish(LogisticRegression() if model is None else model, X, Y, **(named | more))


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        ("model_name", "My Model", "model_name='My Model' can be no ModelVersion's: 1 to 40 small"),
        ("model_name", "a/b'c", "can be no ModelVersion's"),
        ("model_name", "", "model_name='' can be no ModelVersion's"),
        ("model_name", "m" * 41, "can be no ModelVersion's"),
        ("model_name", "m\n", "can be no ModelVersion's"),
        (
            "version",
            "V 1",
            "version='V 1' can be no ModelVersion's: .* digits, dashes and dots, with",
        ),
        ("version", 2, "version is 2; a text is wanted"),
        ("input_name", "", "input_name is empty; leave it out"),
        ("uri", 7, "uri is 7; a text is wanted"),
        ("uri", Path("/tmp/x y"), "uri is a path; give its URI: 'file:///tmp/x%20y'"),
    ],
)
def test_a_wrong_argument_is_named(argument: str, value: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=says):
        told(tmp_path, **{argument: value})
    assert list(tmp_path.iterdir()) == []


def test_names_are_those_that_a_model_version_takes() -> None:
    for kind, pattern, longest in (
        (ModelLine, arguments.MODEL_NAME, arguments.LONGEST_MODEL_NAME),
        (VersionName, arguments.VERSION_NAME, arguments.LONGEST_VERSION_NAME),
    ):
        said = get_args(kind)[1].metadata
        assert pattern.pattern in {getattr(one, "pattern", None) for one in said}
        assert longest in {getattr(one, "max_length", None) for one in said}


def test_a_path_is_told_its_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadLocation, match=f"this machine write {tmp_path.as_uri()}/models/digits$"):
        told(tmp_path, uri="models/digits")
    with pytest.raises(BadLocation, match=r"this machine write file:///srv/models$"):
        told(tmp_path, uri="/srv/models")


def test_a_claim_that_is_not_mounted_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "PVC_ROOT", tmp_path)
    with pytest.raises(BadLocation, match="the claim models is not mounted here"):
        told(tmp_path, uri="pvc://models/digits")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models").mkdir()
    told(tmp_path, uri="pvc://models/digits")
    assert len(list((tmp_path / "models" / "digits").iterdir())) == 1


def test_a_graph_that_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=r"model\.onnx: No such file.*names the file of an ONNX"):
        told(tmp_path, str(tmp_path / "model.onnx"))
    with pytest.raises(CodeBroken, match="Is a directory; a text or path names the file"):
        told(tmp_path, tmp_path)


class Own:
    """Has the methods of an estimator, and is none."""

    def fit(self, rows: Any, truths: Any) -> Own:
        return self

    def predict(self, rows: Any) -> Any:
        return rows[:, 0] > 0


def test_an_own_class_is_told_what_works(tmp_path: Path) -> None:
    with pytest.raises(
        CodeBroken, match=r"Own is no estimator of scikit-learn.* container of your"
    ):
        told(tmp_path, Own())


@pytest.mark.parametrize("repair", [recalibrate, fine_tune])
@pytest.mark.parametrize("champion", [None, "file:///m", ("file:///m", None), LogisticRegression()])
def test_what_is_no_champion_is_said(repair: Any, champion: Any, tmp_path: Path) -> None:
    with pytest.raises(CodeBroken, match=r"give what publish returned, or its uri and digest"):
        repair(champion, X, Y, uri=tmp_path.as_uri(), model_name="m", version="v2")


def test_packages_that_are_missing_are_named_with_the_extra() -> None:
    code = "import sys; sys.modules['pandas'] = None; import trimtab.training"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: trimtab.training needs packages that are not installed (pandas): "
        "pip install '.[training]' in Trimtab's source tree"
    )


def test_xgboost_is_told_to_encode_texts(tmp_path: Path) -> None:
    from xgboost import XGBClassifier

    with pytest.raises(CodeBroken, match=r"LabelEncoder\(\)\.fit_transform\(y\)$"):
        publish(
            XGBClassifier(n_estimators=2), X, np.where(Y, "yes", "no"),
            uri=tmp_path.as_uri(), model_name="m", version="v1",
        )  # fmt: skip


def test_a_vectoriser_is_told_to_take_the_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": np.where(Y, "good day", "bad night")})
    with pytest.raises(CodeBroken, match=r"takes one column of texts, X\['t'\]"):
        publish(
            make_pipeline(TfidfVectorizer(), LogisticRegression()), frame, Y,
            uri=tmp_path.as_uri(), model_name="m", version="v1",
        )  # fmt: skip
