"""Each alert fires, does not fire, and clears; and all that it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.alerts.cases import (
    BY_NAME,
    CASES,
    figures,
    fires_and_clears,
    stays_silent,
    survives_a_failover,
)
from tests.alerts.promtool import ROOT, check_rules, find_promtool, run_tests
from tests.alerts.promtool import RULES as RULE_FILE

from trimtab.api.conditions import ConditionType, Reason
from trimtab.generate.alert_rules import ALERTS, PAGE, RECORDINGS, rules_text
from trimtab.generate.metrics_page import process_metrics
from trimtab.generate.vocabulary import words_of
from trimtab.state_metrics.families import FAMILIES

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(rules_text())["groups"] for rule in group["rules"]
]
EXPRESSIONS = [alert.expr for alert in ALERTS] + [rule.expr for rule in RECORDINGS]
SERIES = re.compile(r"\b(trimtab_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@pytest.fixture(scope="module")
def promtool() -> str:
    found = find_promtool()
    if found is None:
        pytest.skip("no promtool: `python -m tests.cluster promtool` installs it")
    return found


def labels_of() -> dict[str, set[str]]:
    """Return the labels of every series that a page of metrics has."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES:
        found[family.name] = {*family.labels}
        if family.type == "histogram":
            found[f"{family.name}_bucket"] = {*family.labels, "le"}
            found[f"{family.name}_count"] = found[f"{family.name}_sum"] = {*family.labels}
    for name, _kind, labels, _text in process_metrics():
        found[name] = {*labels}
    return found


class TestPromtool:
    def test_has_nothing_against_the_file(self, promtool: str) -> None:
        assert check_rules(promtool) == ""

    # One run for all alerts, since most of a run is its start; what fails is said by name.
    def test_each_fires_and_clears(self, promtool: str, tmp_path: Path) -> None:
        assert run_tests(promtool, [fires_and_clears(name) for name in CASES], tmp_path) == ""

    def test_none_fires_for_what_is_near(self, promtool: str, tmp_path: Path) -> None:
        assert all(case.near for case in CASES.values())
        assert run_tests(promtool, [stays_silent(name) for name in CASES], tmp_path) == ""

    def test_those_of_an_object_go_on_when_another_leads(
        self, promtool: str, tmp_path: Path
    ) -> None:
        names = [name for name, case in CASES.items() if {"name", "kind"} & case.labels.keys()]
        assert len(names) > 10
        assert run_tests(promtool, [survives_a_failover(one) for one in names], tmp_path) == ""

    def test_figures_of_delivery(self, promtool: str, tmp_path: Path) -> None:
        assert run_tests(promtool, figures(), tmp_path) == ""

    def test_a_wrong_expectation_is_said(self, promtool: str, tmp_path: Path) -> None:
        wrong = fires_and_clears("TrimtabHarm")
        wrong["alert_rule_test"][1]["exp_alerts"] = []
        assert "TrimtabHarm" in run_tests(promtool, [wrong], tmp_path)


class TestNames:
    def test_every_alert_has_its_case(self) -> None:
        assert CASES.keys() == BY_NAME.keys()
        assert len(BY_NAME) == len(ALERTS)

    @pytest.mark.parametrize("expr", EXPRESSIONS)
    def test_series_and_labels_exist(self, expr: str) -> None:
        known, found = labels_of(), SERIES.findall(expr)
        assert found
        for name, matchers in found:
            assert {label for label, _, _ in MATCHER.findall(matchers)} <= known[name], name

    @pytest.mark.parametrize("expr", EXPRESSIONS)
    def test_conditions_have_the_reasons(self, expr: str) -> None:
        said_by = {word.value: {*word.places} for word in words_of(Reason)}
        for name, matchers in SERIES.findall(expr):
            if name == "trimtab_condition":
                matched = {label: value.split("|") for label, _, value in MATCHER.findall(matchers)}
                for reason in matched.get("reason", ()):
                    assert {*matched.get("type", ConditionType)} & said_by[reason], reason

    @pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
    def test_texts_name_only_labels_that_are_there(self, alert: Any) -> None:
        by = re.search(r"(?:max|sum) by \(([\w, ]+)\)", alert.expr)
        kept = set(by[1].split(", ")) if by is not None else set()
        assert set(re.findall(r"\$labels\.(\w+)", f"{alert.of}{alert.what}{alert.text}")) <= kept


class TestExamples:
    def test_prometheus_keeps_the_labels_of_objects(self) -> None:
        example = yaml.safe_load((ROOT / "manifests/watch/prometheus.yaml").read_text())
        assert example["rule_files"] == [RULE_FILE.name]
        jobs = {job["job_name"]: job for job in example["scrape_configs"]}
        assert jobs["trimtab"]["honor_labels"]

    def test_pods_do_not_say_whose_they_are(self) -> None:
        example = yaml.safe_load((ROOT / "manifests/watch/prometheus.yaml").read_text())
        (job,) = (one for one in example["scrape_configs"] if one["job_name"] == "trimtab-pods")
        assert not job.get("honor_labels", False)
        given = {step["target_label"] for step in job["relabel_configs"] if "target_label" in step}
        assert given == {"namespace", "pod", "deployment"}

    def test_alertmanager_sends_to_receivers_that_exist(self) -> None:
        example = yaml.safe_load((ROOT / "manifests/watch/alertmanager.yaml").read_text())
        receivers = {one["name"] for one in example["receivers"]}
        routes = [example["route"], *example["route"]["routes"]]
        assert {route["receiver"] for route in routes} == receivers
        named = re.findall(r"Trimtab\w+", str(example["inhibit_rules"]))
        assert {*named} <= BY_NAME.keys()


class TestTexts:
    def test_all_that_a_person_needs(self) -> None:
        alerts = [rule for rule in RULES if "alert" in rule]
        assert len(alerts) == len(ALERTS)
        for rule in alerts:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert rule["annotations"]["summary"]
            assert "First " in rule["annotations"]["description"]

    def test_links_lead_to_a_section(self) -> None:
        page = (ROOT / "docs/alerts.md").read_text()
        titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
        sections = {title.lower().replace(" ", "-") for title in titles}
        assert "- Alerts: alerts.md" in (ROOT / "mkdocs.yml").read_text()
        for rule in RULES:
            if "alert" in rule:
                base, _, anchor = rule["annotations"]["runbook_url"].partition("#")
                assert base == PAGE
                assert anchor in sections
