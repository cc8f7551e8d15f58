"""The check fails where it should: each fault of a panel is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.dashboards.boards import Board
from tests.dashboards.browser import Seen, Wanted
from tests.dashboards.judge import Verdict, judge
from tests.dashboards.server import Series, Server

Json = dict[str, Any]
ANSWERS = {
    "rate(asked_total[20s])": [Series({"a": "1"}, [(100.0, 2.0), (105.0, 2.5)])],
    "took_seconds": [Series({}, [(105.0, 0.25)])],
    "a_table": [Series({"a": "1"}, [(105.0, 3.0)]), Series({"a": "2"}, [(105.0, 4.0)])],
}


class Prometheus(Server):
    """One that knows these answers, and refuses what has no closing bracket."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    def query(self, expr: str, at: float) -> list[Series]:
        if expr.count("(") != expr.count(")"):
            raise ValueError(f"{expr}: parse error")
        return [Series(one.labels, one.points[-1:]) for one in ANSWERS.get(expr, [])]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        self.query(expr, end)
        return ANSWERS.get(expr, [])


def a_panel(expr: str, kind: str = "stat", **changes: Any) -> Json:
    defaults = {"noValue": "no data yet: is it scraped?", "unit": "reqps", **changes}
    instant = {"instant": True, "range": False} if kind != "timeseries" else {"range": True}
    target = {"refId": "A", "expr": expr, **instant}
    if kind == "table":
        target["format"] = "table"
    return {
        "id": 1,
        "title": "Requests",
        "type": kind,
        "targets": [target],
        "fieldConfig": {"defaults": defaults},
    }


def told_of(panel: Json, shown: list[tuple[float, str | None]], text: str, expr: str = "") -> Json:
    (target,) = panel["targets"]
    asked = expr or target["expr"].replace("$__rate_interval", "20s")
    series = ANSWERS.get(asked, [])
    return {
        "id": 1,
        "title": panel["title"],
        "type": panel["type"],
        "hasData": bool(series),
        "text": text,
        "shown": [{"name": "", "value": value, "text": as_text} for value, as_text in shown],
        "queries": [
            {
                "refId": "A",
                "expr": asked,
                "step": 5,
                "fetched": [{"labels": dict(one.labels), "value": one.last} for one in series],
            }
        ],
    }


def verdict_of(panel: Json, told: Json | None, *, may_be_empty: bool = False) -> Verdict:
    board = Board(Path("one.json"), {"panels": [panel]})
    wanted = Wanted(board.file, Prometheus(), 0, 105, "dark", 1280, {})
    report = {"panels": [] if told is None else [told], "problems": []}
    (verdict,) = judge(board, Seen(wanted, report, []), may_be_empty=may_be_empty)
    return verdict


RATE = a_panel("rate(asked_total[$__rate_interval])")


class TestWhatIsRight:
    def test_a_figure(self) -> None:
        verdict = verdict_of(RATE, told_of(RATE, [(2.5, "2.50 req/s")], "Requests 2.50 req/s"))
        assert verdict.is_drawn
        assert verdict.has_data
        assert verdict.is_equal
        assert not verdict.problems

    def test_a_curve_has_no_text(self) -> None:
        panel = a_panel("rate(asked_total[$__rate_interval])", "timeseries")
        assert verdict_of(panel, told_of(panel, [(2.5, None)], "Requests")).is_equal

    def test_an_empty_panel_with_a_reason(self) -> None:
        panel = a_panel("not_there", noValue="no rollout")
        verdict = verdict_of(panel, told_of(panel, [], "Requests no rollout"))
        assert verdict.reason == "no rollout"
        assert not verdict.problems


class TestWhatIsWrong:
    """Each of these was right above, with one change."""

    @pytest.mark.parametrize(
        ("shown", "text", "problem"),
        [
            ([(2.4, "2.40 req/s")], "2.40 req/s", "shown and not of the query"),
            ([], "Requests", "of the query and not shown"),
            ([(2.5, "2.50 req/s")], "Requests 2.5", "not to be read"),
            ([(2.5, "2.50 req/s"), (7.0, "7 req/s")], "2.50 req/s 7 req/s", "not of the query"),
            ([(2.5, "2.50 req/s")], " ", "nothing is to be seen"),
        ],
    )
    def test_a_figure(self, shown: list[tuple[float, str]], text: str, problem: str) -> None:
        verdict = verdict_of(RATE, told_of(RATE, list(shown), text))
        assert not verdict.is_equal
        assert any(problem in one for one in verdict.problems)

    def test_a_panel_that_is_not_there(self) -> None:
        assert verdict_of(RATE, None).problems == ["not drawn"]

    def test_another_answer_than_the_page_had(self) -> None:
        told = told_of(RATE, [(2.5, "2.50 req/s")], "2.50 req/s")
        told["queries"][0]["fetched"][0]["value"] = 3
        assert "asked anew" in verdict_of(RATE, told).problems[0]

    def test_a_renamed_metric(self) -> None:
        panel = a_panel("rate(renamed_total[$__rate_interval])")
        told = told_of(panel, [], "no data yet: is it scraped?")
        assert "it is empty" in verdict_of(panel, told).problems[0]
        assert not verdict_of(panel, told, may_be_empty=True).problems

    def test_an_empty_panel_without_a_word(self) -> None:
        panel = a_panel("not_there", noValue="")
        assert verdict_of(panel, told_of(panel, [], "No data")).problems
        panel = a_panel("not_there", noValue="no rollout")
        assert "does not say" in verdict_of(panel, told_of(panel, [], "No data")).problems[0]

    def test_a_broken_query(self) -> None:
        panel = a_panel("rate(asked_total[20s]")
        assert "parse error" in verdict_of(panel, told_of(panel, [], "no data yet")).problems[0]

    def test_an_unknown_variable(self) -> None:
        panel = a_panel("rate(asked_total[$tme])")
        assert "'tme'" in verdict_of(panel, told_of(panel, [], "no data yet")).problems[0]

    @pytest.mark.parametrize("unit", ["", "percentunit", "short"])
    def test_seconds_that_are_not_shown_as_time(self, unit: str) -> None:
        panel = a_panel("took_seconds", unit=unit)
        told = told_of(panel, [(0.25, "0.25")], "0.25")
        assert "for seconds" in verdict_of(panel, told).problems[0]
        panel = a_panel("took_seconds", unit="s")
        assert not verdict_of(panel, told_of(panel, [(0.25, "250 ms")], "250 ms")).problems

    def test_a_table_that_lost_a_row(self) -> None:
        panel = a_panel("a_table", "table", unit="none")
        whole = told_of(panel, [(3.0, "3"), (4.0, "4")], "1 3 2 4")
        assert verdict_of(panel, whole).is_equal
        assert not verdict_of(panel, told_of(panel, [(3.0, "3")], "1 3")).is_equal

    def test_a_table_whose_labels_cannot_be_read(self) -> None:
        panel = a_panel("a_table", "table", unit="none")
        keep = {"id": "filterFieldsByName", "options": {"include": {"names": ["a", "Value"]}}}
        panel["transformations"] = [keep]
        shown: list[tuple[float, str | None]] = [(3.0, "3"), (4.0, "4")]
        assert verdict_of(panel, told_of(panel, shown, "1 3 2 4")).is_equal
        assert "not to be read" in verdict_of(panel, told_of(panel, shown, "3 4")).problems[0]

    def test_columns_of_time_show_nothing_of_their_own(self) -> None:
        panel = a_panel("a_table", "table", unit="none")
        panel["transformations"] = [{"id": "groupingToMatrix", "options": {}}]
        assert verdict_of(panel, told_of(panel, [(4.0, "4")], "2 4")).is_equal
        assert not verdict_of(panel, told_of(panel, [], "2 4")).is_equal
        assert not verdict_of(panel, told_of(panel, [(5.0, "5")], "2 5")).is_equal

    def test_a_label_in_place_of_a_number(self) -> None:
        panel = a_panel("a_table", unit="none")
        panel["options"] = {"reduceOptions": {"fields": "/^a$/"}}
        assert verdict_of(panel, told_of(panel, [], "1 and 2")).is_equal
        assert not verdict_of(panel, told_of(panel, [], "1")).is_equal
