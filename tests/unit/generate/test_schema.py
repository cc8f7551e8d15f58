"""What is generated is structural, bounded, described, and what is committed."""

import re
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from trimtab.api.fields import Duration, Model, Share, rule, with_rules
from trimtab.api.kinds import KINDS, KindInfo
from trimtab.api.schema import fields_of, structural_schema, unbounded
from trimtab.generate.__main__ import (
    ARGOCD,
    ESTIMATORS,
    VALUES,
    differing_files,
    generated_files,
    main,
    write_files,
)
from trimtab.generate.crds import build_crd, crd_text

ROOT = Path(__file__).parents[3]
KIND_IDS = [info.kind for info in KINDS]
KEYWORDS = {
    *("type", "format", "description", "default", "enum", "pattern", "nullable"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "items", "minItems", "maxItems", "uniqueItems"),
    *("properties", "additionalProperties", "required", "minProperties", "maxProperties"),
}
"""Of JSON Schema, what `JSONSchemaProps` of apiextensions.k8s.io/v1 declares beside junctors."""


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_every_field_has_a_sentence(info: KindInfo) -> None:
    silent = [
        path
        for path, field in fields_of(structural_schema(info.model))
        if not field.get("description", "").endswith(".") and ".podTemplate" not in path
    ]
    assert silent == []


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_everything_that_grows_has_a_bound(info: KindInfo) -> None:
    assert list(unbounded(structural_schema(info.model))) == []


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_every_node_is_structural(info: KindInfo) -> None:
    for path, field in fields_of(structural_schema(info.model)):
        assert isinstance(field["type"], str), path
        unknown = {name for name in field if not name.startswith("x-kubernetes-")} - KEYWORDS
        assert not unknown, path


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_a_field_that_a_rule_asks_for_has_no_default(info: KindInfo) -> None:
    schema = structural_schema(info.model)
    for _, node in chain([("", schema)], fields_of(schema)):
        for entry in node.get("x-kubernetes-validations", ()):
            for name, child in node.get("properties", {}).items():
                asked = f"has(self.{name})" in entry["rule"]
                assert not (asked and "default" in child), (name, entry)


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_columns_read_fields_that_exist(info: KindInfo) -> None:
    paths = {path for path, _ in fields_of(structural_schema(info.model))}
    shown = {column.path for column in info.columns if column.type != "date"}
    assert shown <= paths


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_status_is_an_integer_generation_and_conditions_by_type(info: KindInfo) -> None:
    status = structural_schema(info.model)["properties"]["status"]["properties"]
    assert status["observedGeneration"]["type"] == "integer"
    assert status["conditions"]["x-kubernetes-list-type"] == "map"
    assert status["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert not [path for path, field in fields_of({"properties": status}) if "default" in field]


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_what_nobody_has_looked_at_says_so(info: KindInfo) -> None:
    status = structural_schema(info.model)["properties"]["status"]
    assert status["default"] == {"observedGeneration": 0}
    assert not status.get("required")


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_maps_in_status_are_replaced_whole(info: KindInfo) -> None:
    status = structural_schema(info.model)["properties"]["status"]
    for path, field in fields_of(status):
        if "additionalProperties" in field or "x-kubernetes-preserve-unknown-fields" in field:
            assert field["x-kubernetes-map-type"] == "atomic", path


def test_only_the_deployment_scales() -> None:
    subresources = {
        info.kind: build_crd(info)["spec"]["versions"][0]["subresources"] for info in KINDS
    }
    assert [kind for kind, found in subresources.items() if "scale" in found] == ["Deployment"]


class Part(Model):
    """A part."""

    share: Share = 0.25
    asked: int = 3
    given: Literal["one"] = "one"


class Whole(BaseModel):
    """A kind
    in two lines."""

    model_config = with_rules(rule("has(self.spec)", "spec"))

    spec: Part = Field(description="The spec.")
    status: Part = Field(default_factory=Part, description="The status.")


def _spec() -> dict[str, Any]:
    spec: dict[str, Any] = structural_schema(Whole)["properties"]["spec"]
    return spec


def test_defaults_are_written_as_a_user_writes_them() -> None:
    defaults = {name: field["default"] for name, field in _spec()["properties"].items()}
    assert defaults == {"share": "25%", "asked": 3, "given": "one"}


def test_a_single_word_becomes_an_enumeration() -> None:
    assert _spec()["properties"]["given"]["enum"] == ["one"]


def test_lines_of_a_description_are_joined() -> None:
    assert structural_schema(Whole)["description"] == "A kind in two lines."


def test_durations_are_written_as_a_user_writes_them() -> None:
    class Timed(Model):
        """Timed."""

        held: Duration = timedelta(minutes=15)

    class Kind(BaseModel):
        """Kind."""

        spec: Timed
        status: Part

    fields = structural_schema(Kind)["properties"]["spec"]["properties"]
    assert fields["held"]["default"] == "15m"


def test_two_types_in_one_field_are_refused() -> None:
    class Mixed(Model):
        """Mixed."""

        value: int | str

    class Kind(BaseModel):
        """Kind."""

        spec: Mixed
        status: Part

    with pytest.raises(ValueError, match="one type"):
        structural_schema(Kind)


def test_committed_files_are_what_is_generated() -> None:
    assert differing_files(ROOT, generated_files(ROOT)) == [], "run `make generate`"


def test_check_fails_until_files_are_written(tmp_path: Path) -> None:
    arguments = ["--check", "--root", str(tmp_path)]
    (tmp_path / VALUES.parent).mkdir(parents=True)
    (tmp_path / VALUES).write_bytes((ROOT / VALUES).read_bytes())
    (tmp_path / ESTIMATORS).parent.mkdir(parents=True)
    (tmp_path / ESTIMATORS).write_bytes((ROOT / ESTIMATORS).read_bytes())
    (tmp_path / ARGOCD).mkdir(parents=True)
    (tmp_path / ARGOCD / "health.lua").write_bytes((ROOT / ARGOCD / "health.lua").read_bytes())
    assert main(arguments) == 1
    write_files(tmp_path, generated_files(ROOT))
    assert main(arguments) == 0
    (tmp_path / "crds/old.yaml").write_text("a kind that is gone")
    assert main(arguments) == 1
    assert main(["--root", str(tmp_path)]) == 0
    assert not (tmp_path / "crds/old.yaml").exists()


def test_the_chart_has_the_same_bytes() -> None:
    texts = generated_files(ROOT)
    for info in KINDS:
        name = f"{info.plural}.trimtab.dev.yaml"
        assert texts[Path("crds") / name] == texts[Path("charts/trimtab/files/crds") / name]


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_every_uri_has_its_schemes_and_stays_inside(info: KindInfo) -> None:
    """A bound behind a validator is kept by pydantic but missing in the schema."""
    fields = fields_of(structural_schema(info.model)["properties"]["spec"])
    uris = [field for path, field in fields if path.endswith(".uri")]
    assert all(field["pattern"].startswith("^(s3|gs|az|https|pvc)://") for field in uris)
    assert all("x-kubernetes-validations" in field for field in uris)
    assert bool(uris) == (info.kind != "Deployment")


@pytest.mark.parametrize("info", KINDS, ids=KIND_IDS)
def test_no_word_is_taken_for_a_boolean_by_kubectl(info: KindInfo) -> None:
    bare = re.findall(r"(?m)(?:^|[:-]) *([yYnN])(?:: |:?$)", crd_text(info))
    assert bare == []


def test_every_share_says_what_it_is_beside_its_pattern() -> None:
    shares = [
        (path, field)
        for info in KINDS
        for path, field in fields_of(structural_schema(info.model))
        if field.get("pattern", "").endswith("%$")
    ]
    assert ".spec.compare.budget" in {path for path, _ in shares}
    for path, field in shares:
        assert {
            "rule": f"self.matches(r'{field['pattern']}')",
            "message": "must be a share from 0% to 100%, such as 5%",
        } in field["x-kubernetes-validations"], path
