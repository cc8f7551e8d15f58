"""The queries of `why`, played in promtool: they count what the gates count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.alerts.promtool import _said, find_promtool

from trimtab.api.rollout import default_gates
from trimtab.cli.queries import USUAL_GATES, Span, gate_query, gate_settings
from trimtab.cli.seen import Seen

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIGITS = Seen({"metadata": {"name": "digits", "namespace": "shop"}, "spec": {"model": "digits"}})
WRONG = {"name": "wrong", "bad": "outcomes"}
GATES = {one["name"]: one for one in (*USUAL_GATES, WRONG)}
OWN = 'namespace="shop", model="digits"'
PER_MINUTE = {
    # version, series, labels: so many a minute
    ("v1", "trimtab_requests_total", 'code="200"'): 50,
    ("v1", "trimtab_requests_total", 'code="503"'): 1,
    ("v2", "trimtab_requests_total", 'code="200"'): 30,
    ("v2", "trimtab_requests_total", 'code="500"'): 6,
    ("v2", "trimtab_requests_total", 'code="422"'): 4,
    ("v2", "trimtab_request_seconds_count", ""): 40,
    ("v2", "trimtab_request_seconds_bucket", 'le="0.25"'): 25,
    ("v2", "trimtab_aside_seconds_count", ""): 10,
    ("v2", "trimtab_aside_seconds_bucket", 'le="0.25"'): 3,
    ("v1", "trimtab_request_seconds_count", ""): 51,
    ("v1", "trimtab_request_seconds_bucket", 'le="0.25"'): 50,
    ("v1", "trimtab_outcomes_total", 'predicted="a", actual="a"'): 9,
    ("v2", "trimtab_outcomes_total", 'predicted="a", actual="a"'): 5,
    ("v2", "trimtab_outcomes_total", 'predicted="a", actual="b"'): 2,
    ("v2", "trimtab_outcomes_total", 'predicted="b", actual="b"'): 3,
    ("v2", "trimtab_outcomes_total", 'predicted="b", actual="a"'): 1,
    ("v9", "trimtab_requests_total", 'code="500"'): 99,
}
EXPECTED = {
    ("errors", "bad"): {"v1": 1, "v2": 6},
    ("errors", "total"): {"v1": 51, "v2": 40},
    ("rejected", "bad"): {"v2": 4},
    ("rejected", "total"): {"v1": 51, "v2": 40},
    ("slow", "bad"): {"v1": 1, "v2": 8},
    ("slow", "total"): {"v1": 51, "v2": 30},
    ("wrong", "bad"): {"v1": 0, "v2": 3},
    ("wrong", "total"): {"v1": 9, "v2": 11},
}


def span(minutes: int, *, ended: bool) -> Span:
    end = datetime.fromtimestamp(600, UTC)
    begin = end - timedelta(seconds=60 * minutes - 1)  # so that the window is just as long
    return Span.of(begin, end if ended else None, end)


def expression(gate: str, side: str, *, ended: bool) -> str:
    query = gate_query(DIGITS, Seen(GATES[gate]), ["v2", "v1"], span(5, ended=ended))
    assert query is not None
    return query.bad if side == "bad" else query.total


def test_they_count_what_the_gates_count(tmp_path: Path) -> None:
    promtool = find_promtool()
    if promtool is None:
        pytest.skip("no promtool: `python -m tests.cluster promtool` installs it")
    series = [
        {"series": f'{name}{{{OWN}, version="{version}", {labels}}}', "values": f"0+{n}x30"}
        for (version, name, labels), n in PER_MINUTE.items()
    ]
    asked: list[dict[str, Any]] = []
    for (gate, side), values in EXPECTED.items():
        for ended in (False, True):
            samples = [
                {"labels": f'{{version="{version}"}}', "value": 5 * count}
                for version, count in values.items()
            ]
            expr = f"round({expression(gate, side, ended=ended)})"
            # Once the step is over, the query says the same whenever it is asked.
            at = "25m" if ended else "10m"
            asked.append({"expr": expr, "eval_time": at, "exp_samples": samples})
    test = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    file = tmp_path / "tests.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]})
    )
    assert _said(promtool, "test", "rules", str(file)) == ""


def test_the_usual_gates_are_those_of_the_operator() -> None:
    usual = [
        {
            key: value
            for key, value in gate.to_json().items()
            if key in ("name", "bad", "slowerThan")
        }
        for gate in default_gates()
    ]
    assert [dict(gate) for gate in USUAL_GATES] == usual


@pytest.mark.parametrize(
    ("rollout", "names"),
    [
        ({}, {"errors", "rejected", "slow"}),
        ({"gates": []}, set()),
        ({"gates": [WRONG]}, {"wrong"}),
        ({"strategy": "rolling"}, set()),
        ({"gates": "x"}, {"errors", "rejected", "slow"}),
    ],
)
def test_which_gates_there_are(rollout: dict[str, Any], names: set[str]) -> None:
    assert set(gate_settings(Seen({"spec": {"rollout": rollout}}))) == names


@pytest.mark.parametrize(
    "gate", [{"bad": "promql"}, {"bad": "slow", "slowerThan": "soon"}, {}], ids=str
)
def test_what_is_counted_otherwise_has_no_query(gate: dict[str, Any]) -> None:
    assert gate_query(DIGITS, Seen(gate), ["v1"], span(5, ended=False)) is None


def test_names_cannot_leave_their_quotes() -> None:
    evil = 'v1"} or vector(1) #'
    query = gate_query(DIGITS, Seen(GATES["errors"]), [evil, "v.2"], span(5, ended=False))
    assert query is not None
    assert '\\"' in query.bad
    assert "v\\\\.2" in query.bad


def test_a_short_step_is_asked_for_long_enough() -> None:
    assert Span.of(NOW, None, NOW).window == "[60s]"
