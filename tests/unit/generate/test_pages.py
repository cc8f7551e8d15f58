"""The generated pages leave nothing out of their sources."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from trimtab.api.conditions import ConditionType, EventReason, Reason
from trimtab.cli.main import parser
from trimtab.generate.chart_page import Value, chart_page, read_values
from trimtab.generate.commands_page import commands_page
from trimtab.generate.conditions_page import conditions_page, runbook_page
from trimtab.generate.metrics_page import metrics_page
from trimtab.generate.vocabulary import words_of
from trimtab.state_metrics.families import FAMILIES

ROOT = Path(__file__).parents[3]
VALUES = (ROOT / "charts/trimtab/values.yaml").read_text()


def _leaves(values: Any, path: str = "") -> set[str]:
    """Return the paths of what is no group; a map on one line is one value."""
    if not isinstance(values, dict) or not values:
        return {path}
    names = values.items()
    return {leaf for name, value in names for leaf in _leaves(value, f"{path}.{name}".lstrip("."))}


def test_every_word_has_its_row() -> None:
    page = conditions_page()
    for vocabulary in (ConditionType, Reason, EventReason):
        assert all(f"| `{word.value}` |" in page for word in words_of(vocabulary))


def test_the_runbook_has_all_advice_under_each_condition_that_says_it() -> None:
    sections = {part.split("\n")[0]: part for part in runbook_page().split("\n## ")}
    for word in words_of(Reason):
        for condition in {*word.places} & {*ConditionType}:
            assert (word.advice in sections.get(condition, "")) or not word.advice


def test_every_command_has_a_section() -> None:
    page = commands_page()
    (commands,) = (action for action in parser()._actions if action.dest == argparse.SUPPRESS)
    assert commands.choices is not None
    assert all(f"\n## trimtab {name}\n" in page for name in commands.choices)


def test_every_value_of_the_chart_has_its_row() -> None:
    shown = {value.path for value in read_values(VALUES) if value.default}
    wanted = _leaves(yaml.safe_load(VALUES))
    missing = {
        path for path in wanted if not any(f"{path}.".startswith(f"{one}.") for one in shown)
    }
    assert missing == set()
    assert all(f"| `{path}` |" in chart_page(VALUES) for path in shown)


def test_comments_above_and_beside_belong_to_a_value() -> None:
    text = (
        '# --- Images ---\nimages:\n  # Put in front.\n  registry: ""\n  tag: x   # a tag\n'
        "  # Two\n  # lines.\n  more:\n    port: 1\n"
    )
    assert list(read_values(text)) == [
        Value("Images", "images.registry", '""', "Put in front."),
        Value("Images", "images.tag", "x", "a tag"),
        Value("Images", "images.more", "", "Two lines."),
        Value("Images", "images.more.port", "1", ""),
    ]


def test_every_metric_has_its_row() -> None:
    page = metrics_page()
    assert all(f"| `{family.name}` | {family.type} |" in page for family in FAMILIES)
    sources = [file.read_text() for file in (ROOT / "operator/trimtab").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r'"(trimtab_operator_\w+)"', text)}
    assert {name for name in named if f"| `{name}" not in page} == set()
