"""What a Prometheus that has every series of ours answers to queries, as promtool says it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml
from tests.unit.series import examples

SET = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$__interval": "1m",
    "$__from": "0",
    "$namespace": "shop",
    "$deployment": "digits",
    "$operator_namespace": "shop",
    "$pod": "some",
}
"""Values of the variables; longer names come first."""
_LABEL = re.compile(r'(\w+)=\\*"')


def filled(expr: str) -> str:
    """Return a query with the values of its variables. AssertionError: one has none."""
    for name, value in SET.items():
        expr = expr.replace(name, value)
    assert not re.search(r"\$[^0-9]", expr), expr
    return expr


def answers(promtool: str, queries: Iterable[str], folder: Path) -> tuple[dict[str, set[str]], str]:
    """Return, by query, the labels of what it answers; and all that promtool says.

    A query that is not in it answers nothing, or is wrong.
    """
    asked = sorted({*queries})
    names = {f"q{place}": query for place, query in enumerate(asked)}
    (folder / "none.yaml").write_text("groups: []")
    test = {
        "interval": "1m",
        "input_series": [{"series": one, "values": "1+1x90"} for one in examples()],
        "promql_expr_test": [
            {"expr": f'label_replace({query}, "asked", "{name}", "", "")', "eval_time": "80m"}
            for name, query in names.items()
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["none.yaml"], "tests": [test]}))
    done = subprocess.run(
        [promtool, "test", "rules", str(file)],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    said = done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for sample in re.findall(r"\{[^{}]*asked=\\*\"q\d+\\*\"[^{}]*\}", said):
        name = re.search(r"asked=\\*\"(q\d+)", sample)
        assert name is not None
        labels = set(_LABEL.findall(sample)) - {"asked"}
        found.setdefault(names[name[1]], set()).update(labels)
    return found, said
