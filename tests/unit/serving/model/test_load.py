"""The module of a format is imported where an artifact has it, and gives an estimator."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from tests.unit.serving.stored import Stored

from trimtab import serving
from trimtab.contract.artifact import Manifest
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model import onnx, sklearn
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.load import FORMATS, Format, load_model


def artifact_of(stored: Stored, **manifest: str) -> Artifact:
    content = json.loads((stored.folder / "manifest.json").read_text()) | manifest
    return Artifact(
        Manifest.model_validate(content),
        stored.signature,
        stored.baseline,
        stored.digest,
        stored.folder / "model.skops",
    )


def test_each_format_is_one_of_the_manifest_and_has_a_module() -> None:
    modules: dict[str, Format] = {sklearn.__name__: sklearn, onnx.__name__: onnx}
    assert list(FORMATS.values()) == list(modules)
    assert set(FORMATS) <= set(get_args(Manifest.model_fields["format"].annotation))


def test_a_format_is_named_by_the_list_alone() -> None:
    """So a further format is a module and an entry, and none rests on another's library."""
    package = Path(serving.__file__).parent
    named = [
        (file.name, module)
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for module in (node.module, *(f"{node.module}.{each.name}" for each in node.names))
        if module in FORMATS.values()
    ]
    assert named == []


def test_a_format_without_a_module_is_refused(binary: Stored) -> None:
    with pytest.raises(ArtifactRefused, match="serves sklearn and onnx models, not custom") as said:
        load_model(artifact_of(binary, format="custom"), trust_pickle=False)
    assert said.value.reason == "FormatUnknown"


def test_the_artifact_says_which_module_loads_it(binary: Stored) -> None:
    model = load_model(artifact_of(binary), trust_pickle=False)
    assert model.has_probabilities
    predicted = model.predict(binary.rows[:5]).predicted
    assert predicted is not None
    classes = [binary.signature.classes[index] for index in predicted]
    assert classes == [str(name) for name in binary.estimator.predict(binary.rows[:5])]


def test_a_model_that_lacks_what_answers_need_is_refused(
    binary: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises: the process that reloads goes on with the model before."""

    class Hollow:
        @property
        def classes_(self) -> None:
            raise LookupError("nothing there")

        predict = classes_

    monkeypatch.setattr(sklearn, "_loaded", lambda *_: Hollow())
    with pytest.raises(ArtifactRefused, match="LookupError: nothing there") as said:
        load_model(artifact_of(binary), trust_pickle=False)
    assert said.value.reason == "Malformed"


def test_no_library_of_a_format_is_imported_before_an_artifact_asks_for_it() -> None:
    libraries = ["sklearn", "scipy", "skops", "onnxruntime", "joblib", "pandas"]
    code = (
        "import sys, trimtab.serving.lifecycle; "
        f"print([name for name in {libraries + list(FORMATS.values())} if name in sys.modules])"
    )
    root = Path(serving.__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root)},
    )
    assert said.stdout.strip() == "[]"
