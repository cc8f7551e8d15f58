"""The page in a real Chromium tells each fault of a dashboard. Only where it is built already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.settings import read_settings
from tests.dashboards.boards import Board
from tests.dashboards.browser import Seen, Wanted, look
from tests.dashboards.built import Built, find
from tests.dashboards.judge import judge, problems_of_page
from tests.dashboards.server import Recording, Server, serving

Json = dict[str, Any]
BEGIN, END = 1_700_000_000, 1_700_000_100
SAMPLES = "".join(
    f'asked_total{{a="{name}"}} {(at - BEGIN) * rate} {at}\ntook_seconds{{a="{name}"}} 0.25 {at}\n'
    for name, rate in (("x", 2), ("y", 3))
    for at in range(BEGIN, END + 1, 5)
)
ORDERED = "".join(sorted(SAMPLES.splitlines(True), key=lambda line: line.split("}", maxsplit=1)[0]))


CALM = {"options": {"match": "null", "result": {"color": "#8e8e8e"}}, "type": "special"}
"""A mapping that gives no data a colour of their own."""


def a_board(kind: str = "stat", expr: str = "took_seconds", unit: str = "s", **more: Any) -> Json:
    target: Json = {"refId": "A", "expr": expr, "legendFormat": "{{a}}"}
    target |= {"range": True} if kind == "timeseries" else {"instant": True}
    target |= {"format": "table"} if kind == "table" else {}
    defaults = {"unit": unit, "noValue": "no data yet", **more.pop("defaults", {})}
    panel = {
        "id": 1,
        "title": "How long",
        "type": kind,
        "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
        "targets": [target],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        **more,
    }
    return {"title": "One", "panels": [panel]}


RIGHT = {
    "stat": a_board(),
    "bargauge": a_board("bargauge"),
    "gauge": a_board("gauge"),
    "table": a_board("table"),
    "timeseries": a_board("timeseries", "rate(asked_total[$__rate_interval])", "reqps"),
    "nothing": a_board(expr="took_seconds > 1", defaults={"noValue": "none", "mappings": [CALM]}),
    "label": a_board("stat", options={"reduceOptions": {"calcs": ["last"], "fields": "/^a$/"}}),
    "text": {**a_board(), "panels": [{**a_board("text")["panels"][0], "targets": []}]},
}
RIGHT["label"]["panels"][0]["targets"][0] |= {"format": "table", "expr": 'took_seconds{a="x"}'}
RIGHT["text"]["panels"][0]["options"] = {"content": "**Read** this"}
WRONG = {
    "heatmap": (a_board("heatmap"), "type heatmap is not understood"),
    "transformation": (
        a_board(transformations=[{"id": "partitionByValues", "options": {}}]),
        "transformation partitionByValues is not understood",
    ),
    "query": (a_board(expr="sum(took_seconds"), "parse error"),
    "variable": (a_board(expr='took_seconds{a="$nobody"}'), "unknown variable $nobody"),
    "unit": (a_board(unit="secnds"), "unit secnds is not known"),
    "wrong-unit": (a_board(unit="percent"), "unit percent for seconds"),
    "option": (a_board(defaults={"custom": {"lineWith": 2}}), "custom.lineWith"),
    "matcher": (
        a_board(
            fieldConfig={"defaults": {}, "overrides": [{"matcher": {"id": "by"}, "properties": []}]}
        ),
        "matcher by is not understood",
    ),
    "renamed": (a_board(expr="took_second"), "it is empty: no data yet"),
    "calm": (
        a_board(expr="took_seconds > 1", defaults={"noValue": "none"}),
        "no data have the colour of a value",
    ),
    "hidden": (
        a_board("stat", options={"textMode": "none"}),
        "not to be read",
    ),
}


@pytest.fixture(scope="module")
def built() -> Built:
    found = find(read_settings())
    if found is None:
        pytest.skip("not built: `python -m tests.dashboards prepare` builds it")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    recording = Recording(ORDERED + "# EOF\n", BEGIN, END)
    with serving(recording, tmp_path_factory.mktemp("prometheus")) as running:
        yield running


def looked_at(
    built: Built, server: Server, folder: Path, boards: dict[str, Json]
) -> dict[str, tuple[Seen, list[str]]]:
    """Return what was seen of each, with all that is wrong."""
    wanted = []
    for name, board in boards.items():
        (folder / f"{name}.json").write_text(json.dumps(board))
        wanted.append(Wanted(folder / f"{name}.json", server, BEGIN, END, "dark", 1280, {}))
    found = {}
    for seen in look(built, wanted):
        name = seen.wanted.dashboard.stem
        verdicts = judge(Board(seen.wanted.dashboard, boards[name]), seen)
        problems = [problem for verdict in verdicts for problem in verdict.problems]
        found[name] = seen, problems_of_page(seen) + problems
    return found


def test_what_is_right_is_drawn(built: Built, server: Server, tmp_path: Path) -> None:
    found = looked_at(built, server, tmp_path, RIGHT)
    assert {name: problems for name, (_, problems) in found.items() if problems} == {}
    texts = {}
    for name, (seen, _) in found.items():
        assert seen.report is not None
        texts[name] = seen.report["panels"][0]["text"]
    assert "250 ms" in texts["stat"]
    assert "none" in texts["nothing"]
    assert "Read this" in texts["text"]


def test_what_is_wrong_is_told(built: Built, server: Server, tmp_path: Path) -> None:
    found = looked_at(built, server, tmp_path, {name: board for name, (board, _) in WRONG.items()})
    missed = {
        name: found[name][1]
        for name, (_, expected) in WRONG.items()
        if not any(expected in problem for problem in found[name][1])
    }
    assert missed == {}
