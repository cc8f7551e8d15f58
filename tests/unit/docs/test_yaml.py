"""Every YAML of a page is what the models, the schemas of the kinds and the chart accept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.pages.blocks import ROOT, VALUES_MARK, Block, of_language

from trimtab.api.kinds import KINDS
from trimtab.api.meta import API_VERSION
from trimtab.api.schema import structural_schema
from trimtab.cli.main import main

MODELS = {info.kind: info for info in KINDS}
YAML = of_language("yaml")
ERRORS = 2


def _closed(schema: Any) -> Any:
    """Return a structural schema that takes no field it does not name."""
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    # OpenAPI 3.0 writes exclusiveMinimum as a flag.
    if closed.get("exclusiveMinimum") is True:
        closed["exclusiveMinimum"] = closed.pop("minimum")
    if "properties" in schema and "additionalProperties" not in schema:
        closed["properties"] = {k: _closed(v) for k, v in schema["properties"].items()}
        closed["additionalProperties"] = "x-kubernetes-preserve-unknown-fields" in schema
    return closed


def _schema_of(kind: str) -> dict[str, Any]:
    schema: dict[str, Any] = _closed(structural_schema(MODELS[kind].model))
    envelope = {"apiVersion": {"const": API_VERSION}, "kind": {"const": kind}, "metadata": {}}
    schema["properties"].update(envelope)
    return schema


@pytest.mark.parametrize("block", YAML, ids=lambda block: block.place)
def test_is_accepted(block: Block) -> None:
    if block.text.startswith(VALUES_MARK):
        schema = json.loads((ROOT / "charts/trimtab/values.schema.json").read_text())
        Draft202012Validator(schema).validate(yaml.safe_load(block.text))
        return
    assert block.documents()
    for document in block.documents():
        assert document["metadata"]["name"]
        if document["apiVersion"] == API_VERSION:
            MODELS[document["kind"]].model.model_validate(document)
            Draft202012Validator(_schema_of(document["kind"])).validate(document)


@pytest.mark.parametrize(
    "block", [b for b in YAML if API_VERSION in b.text], ids=lambda block: block.place
)
def test_lint_finds_no_error(
    block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "block.yaml"
    path.write_text(block.text)
    code = main(["lint", str(path)])
    assert code < ERRORS, capsys.readouterr().out


def test_a_field_that_does_not_exist_is_refused() -> None:
    validator = Draft202012Validator(_schema_of("Deployment"))
    spec = {"model": "digits", "version": "v1", "rollout": {"stepz": []}}
    document = {"apiVersion": API_VERSION, "kind": "Deployment", "metadata": {}, "spec": spec}
    assert [error.validator for error in validator.iter_errors(document)] == [
        "additionalProperties"
    ]
