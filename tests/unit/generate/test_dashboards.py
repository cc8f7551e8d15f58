"""Each dashboard is one that Grafana can read, asks for what is there, and says what to do."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.alerts.promtool import find_promtool
from tests.unit.generate.answers import answers, filled
from tests.unit.series import everything

from trimtab.generate.dashboards.boards import DASHBOARDS
from trimtab.generate.dashboards.parts import MARK_OPTIONS, NOTHING

register_default_plugins()
BOARDS: dict[str, dict[str, Any]] = {name: json.loads(text()) for name, text in DASHBOARDS.items()}
DRAWN = {"timeseries", "stat", "bargauge", "table"}
"""What a test can draw with Grafana's own components."""
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
]
GRID_PIXELS = 1280 / 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
SERIES = re.compile(
    r"(?<![\w$:])((?:trimtab|process|container|namespace(?=[_:]))[\w:]*)(\{[^}]*\})?"
)
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
LEGEND = re.compile(r"\{\{(\w+)\}\}")
each_board = pytest.mark.parametrize("name", BOARDS)
each_panel = pytest.mark.parametrize("panel", PANELS)


def all_expressions(board: dict[str, Any]) -> list[str]:
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return panels + [mark["expr"] for mark in board["annotations"]["list"]]


def named(expr: str) -> list[tuple[str, str]]:
    """Return the series that are named, each with its matchers."""
    bare = re.sub(r"\b(by|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", expr)
    return [(name, matchers) for name, matchers in SERIES.findall(bare)]


class TestReadByGrafana:
    @each_board
    def test_nothing_is_lost_on_the_way_through_its_schema(self, name: str) -> None:
        plain = BOARDS[name]
        back = json.loads(json.dumps(Dashboard.from_json(plain), cls=JSONEncoder))
        kept = json.loads(json.dumps(plain))
        for mark in kept["annotations"]["list"]:
            # Of the Prometheus data source: the SDK does not know them.
            assert {*mark} >= MARK_OPTIONS
            for option in MARK_OPTIONS:
                del mark[option]
        assert back == kept

    @each_board
    def test_is_found_under_its_name(self, name: str) -> None:
        board = BOARDS[name]
        assert board["uid"] == f"trimtab-{name}"
        assert board["tags"] == ["trimtab"]
        assert board["title"].startswith("Trimtab / ")
        assert board["description"].endswith(".")

    @each_board
    def test_panels_have_numbers_and_places_of_their_own(self, name: str) -> None:
        panels = BOARDS[name]["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        assert len({panel["title"] for panel in panels}) == len(panels)
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert beside or below, (one, other)

    @each_board
    def test_can_be_read_in_ten_seconds(self, name: str) -> None:
        panels = BOARDS[name]["panels"]
        top = [panel for panel in panels if panel["gridPos"]["y"] == 0]
        assert {panel["type"] for panel in top} == {"stat"}
        assert sum(panel["gridPos"]["w"] for panel in top) == 24
        assert 8 <= len(panels) <= 18

    @each_board
    def test_compares_with_what_stands_in_the_chart(self, name: str) -> None:
        file = Path(__file__).parents[3] / f"charts/trimtab/files/dashboards/{name}.json"
        assert json.loads(file.read_text()) == BOARDS[name]
        assert len(file.read_text()) < 64 * 1024


class TestPanels:
    @each_panel
    def test_says_what_it_shows_and_what_to_do(self, panel: Any) -> None:
        assert panel["type"] in DRAWN
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert defaults["unit"]
        assert defaults["noValue"]
        assert panel["datasource"] == SOURCE
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])

    @each_panel
    def test_what_can_be_red_says_what_a_person_does(self, panel: Any) -> None:
        config = json.dumps(panel["fieldConfig"])
        if '"red"' in config:
            assert len(panel["description"].split(". ")) >= 2, panel["description"]

    @each_panel
    def test_no_data_look_neither_well_nor_ill(self, panel: Any) -> None:
        if panel["type"] in {"stat", "bargauge"}:
            *_, nothing = panel["fieldConfig"]["defaults"]["mappings"]
            no_value = panel["fieldConfig"]["defaults"]["noValue"]
            shown = {"text": no_value, "color": NOTHING}
            assert nothing == {"type": "special", "options": {"match": "null", "result": shown}}

    @each_panel
    def test_is_wide_enough(self, panel: Any) -> None:
        pixels = panel["gridPos"]["w"] * GRID_PIXELS
        assert len(panel["title"]) * 8 + 60 <= pixels, "the title is cut off"
        least = {"stat": 150, "timeseries": 400, "bargauge": 400, "table": 400}
        assert pixels >= least[panel["type"]]

    @each_panel
    def test_series_and_labels_exist(self, panel: Any) -> None:
        known = everything()
        for target in panel["targets"]:
            found = named(target["expr"])
            assert found
            for name, matchers in found:
                labels = {label for label, _, _ in MATCHER.findall(matchers)}
                assert labels <= known[name], (name, labels - known[name])

    @each_panel
    def test_names_of_objects_are_asked_for_as_grafana_escapes_them(self, panel: Any) -> None:
        for target in panel["targets"]:
            for _, matchers in named(target["expr"]):
                for _, how, value in MATCHER.findall(matchers):
                    assert "$" not in value or (how == "=~" and re.fullmatch(r"\$[a-z]\w+", value))
            assert len(re.findall(r"\$[a-z]\w+", target["expr"])) == len(
                re.findall(r'=~"\$[a-z]\w+"', target["expr"])
            )


class TestVariablesAndLinks:
    @each_board
    def test_all_are_there_that_are_used(self, name: str) -> None:
        board = BOARDS[name]
        made = {variable["name"] for variable in board["templating"]["list"]}
        assert "datasource" in made
        asked = " ".join(all_expressions(board))
        asked += " ".join(str(v.get("query")) for v in board["templating"]["list"])
        used = set(re.findall(r"\$([a-z]\w*)", asked))
        assert used | {"datasource"} == made

    @each_board
    def test_variables_come_from_series_that_exist(self, name: str) -> None:
        known = everything()
        for variable in BOARDS[name]["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert asked is not None
                ((series, matchers),) = named(asked[1])
                used = {label for label, _, _ in MATCHER.findall(matchers)} | {asked[2]}
                assert used <= known[series]
                assert variable["datasource"] == SOURCE

    @each_board
    def test_all_lead_to_each_other_with_time_and_variables(self, name: str) -> None:
        (link,) = BOARDS[name]["links"]
        assert link["type"] == "dashboards"
        assert link["tags"] == ["trimtab"]
        assert link["includeVars"]
        assert link["keepTime"]

    def test_links_of_rows_lead_to_dashboards_and_columns_that_exist(self) -> None:
        found = set()
        for name, board in BOARDS.items():
            for panel in board["panels"]:
                urls = re.findall(r"/d/([\w-]+)\?([^\"]*)", json.dumps(panel).replace('\\"', "'"))
                titles = str([one["options"] for one in panel["transformations"]] if urls else [])
                for uid, query in urls:
                    found.add((name, uid))
                    assert uid in {one["uid"] for one in BOARDS.values()}
                    columns = re.findall(r"__data\.fields\['([^']+)'\]", query)
                    assert len(columns) == 2
                    assert all(f"'{column}'" in titles for column in columns)
                    assert "${datasource:queryparam}" in query
                    assert "${__url_time_range}" in query
        assert ("fleet", "trimtab-rollout") in found
        assert ("fleet", "trimtab-quality") in found


@pytest.fixture(scope="module")
def answered(tmp_path_factory: Any) -> dict[str, set[str]]:
    promtool = find_promtool()
    if promtool is None:
        pytest.skip("no promtool: `python -m tests.cluster promtool` installs it")
    asked = [filled(expr) for board in BOARDS.values() for expr in all_expressions(board)]
    found, said = answers(promtool, asked, tmp_path_factory.mktemp("promtool"))
    assert "parse error" not in said, said
    assert "many-to-many" not in said, said
    return found


class TestAnswers:
    @each_panel
    def test_every_query_finds_something_with_the_labels_that_are_shown(
        self, panel: Any, answered: dict[str, set[str]]
    ) -> None:
        labels: set[str] = set()
        for target in panel["targets"]:
            asked = filled(target["expr"])
            assert asked in answered, asked
            assert set(LEGEND.findall(target["legendFormat"])) <= answered[asked]
            labels |= answered[asked]
        for step in panel.get("transformations", ()):
            for column in step["options"].get("indexByName", ()):
                assert column in labels or column.startswith("Value")

    @each_board
    def test_every_mark_finds_something(self, name: str, answered: dict[str, set[str]]) -> None:
        for mark in BOARDS[name]["annotations"]["list"]:
            shown = set(LEGEND.findall(mark["titleFormat"] + mark["textFormat"]))
            assert shown <= answered[filled(mark["expr"])]
