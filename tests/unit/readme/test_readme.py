"""What the front page says is true of the tree: its YAML, its verbs, its conditions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tests.pages.blocks import of_language

from trimtab.api.conditions import ConditionType, Reason
from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.fields import Kind
from trimtab.api.model_version import ModelVersion
from trimtab.api.retrain_job import RetrainJob
from trimtab.generate.vocabulary import words_of

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
EXAMPLES = ROOT / "manifests" / "examples"
KINDS: dict[str, type[Kind]] = {
    "model-version": ModelVersion,
    "deployment": Deployment,
    "drift-policy": DriftPolicy,
    "retrain-job": RetrainJob,
}


@pytest.mark.parametrize("name", KINDS)
def test_example_is_short_valid_and_the_one_shown(name: str) -> None:
    text = (EXAMPLES / f"{name}.yaml").read_text()
    assert 10 <= len(text.splitlines()) <= 15
    KINDS[name].model_validate(yaml.safe_load(text))
    assert f"```yaml\n{text}```" in README


def test_every_yaml_shown_is_a_file() -> None:
    assert README.count("```yaml") == len(KINDS)


def test_conditions_and_reasons_exist() -> None:
    rows = re.findall(r"^\| `(\w+)`[^|]*\| `([^|]*)` \|", README, re.MULTILINE)
    assert len(rows) >= 14
    conditions_of = {word.value: word.places for word in words_of(Reason)}
    for condition, status in rows:
        assert condition in set(ConditionType)
        words = re.findall(r"\w+", status)
        assert words[0] in ("True", "False")
        assert set(words[1:]) <= set(Reason), (condition, status)
        assert all(condition in conditions_of[reason] for reason in words[1:]), (condition, status)


def test_is_short_and_shows_yaml_early() -> None:
    lines = README.splitlines()
    assert len(lines) < 200
    assert lines.index("```yaml") < 60


def test_the_transcript_is_a_dozen_lines() -> None:
    transcript = next(block for block in of_language("text") if block.page == "README.md")
    assert len(transcript.text.splitlines()) <= 12


def test_verbs_of_make_exist() -> None:
    verbs = set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README)) - {"help"}
    assert named <= verbs | {"setup"}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
