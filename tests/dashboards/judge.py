"""Is what a person saw what Prometheus answers? Asked anew, without the page's help."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.dashboards.boards import Board, filled
from tests.dashboards.browser import Seen
from tests.dashboards.server import Series

Json = dict[str, Any]

MUST_HAVE_DATA = "no data yet"
"""How a panel's text for no data begins if data are expected; any other text is a reason."""
_SECONDS = re.compile(r"_seconds(_bucket|_sum)?\b")
_OF_SECONDS = {"s", "ms", "m", "h", "d", "dtdurations", "dtdurationms", "clocks", "dtdhms"}
_OF_BYTES = {"bytes", "decbytes", "kbytes", "mbytes", "gbytes"}


@dataclass
class Verdict:
    """What was found of one panel; problems: in words, empty if none."""

    title: str
    is_drawn: bool = False
    has_data: bool = False
    reason: str = ""
    """Why it may be empty and is."""
    is_equal: bool = False
    """All that is shown is what the queries give; a panel without queries shows its text."""
    problems: list[str] = field(default_factory=list)


def judge(board: Board, seen: Seen, *, may_be_empty: bool = False) -> list[Verdict]:
    """Return a verdict on each panel. may_be_empty: not all data are there."""
    if seen.report is None:
        return [Verdict(one["title"], problems=["not drawn"]) for one in board.panels]
    told = {one["id"]: one for one in seen.report["panels"]}
    return [
        _judge_panel(board, panel, told.get(panel["id"]), seen, may_be_empty)
        for panel in board.panels
    ]


def problems_of_page(seen: Seen) -> list[str]:
    """Return what is wrong with the page as a whole."""
    return seen.errors + (seen.report["problems"] if seen.report is not None else [])


def _judge_panel(
    board: Board, panel: Json, told: Json | None, seen: Seen, may_be_empty: bool
) -> Verdict:
    verdict = Verdict(panel["title"])
    say = verdict.problems.append
    if told is None:
        say("not drawn")
        return verdict
    verdict.is_drawn = bool(told["text"].strip())
    if not verdict.is_drawn:
        say("nothing is to be seen")
    if panel["type"] == "text":
        verdict.has_data = verdict.is_equal = verdict.is_drawn
        return verdict
    answers = _ask(board, panel, told, seen, say)
    expected = [value for answer in answers for value in _values(panel, answer)]
    told = {**told, "shown": [one for one in told["shown"] if one["value"] is not None]}
    verdict.has_data = bool(told["hasData"])
    if verdict.has_data != bool(expected):
        say(f"it has data: {verdict.has_data}, the queries: {bool(expected)}")
    if not expected:
        _judge_empty(panel, told, verdict, may_be_empty)
        return verdict
    _judge_unit(panel, say)
    label = _read_label(panel)
    if label is not None:
        texts = [one.labels.get(label, "") for _, series in answers for one in series]
        verdict.is_equal = all(text and _plain(text) in _plain(told["text"]) for text in texts)
        if not verdict.is_equal:
            say(f"not to be read in the panel: {texts}")
        return verdict
    unread = _unread_labels(panel, answers, told["text"])
    if unread:
        say(f"not to be read in the panel: {unread[:5]}")
    verdict.is_equal = _is_equal(panel, told, expected, say) and not verdict.problems
    return verdict


def _ask(
    board: Board, panel: Json, told: Json, seen: Seen, say: Any
) -> list[tuple[Json, list[Series]]]:
    """Return each query of the panel with its answer, which must be what the page fetched."""
    wanted = seen.wanted
    values = board.values(wanted.variables)
    fetched = {one["refId"]: one for one in told["queries"]}
    answers = []
    for target in panel.get("targets", []):
        page = fetched.get(target["refId"])
        if page is None:
            say(f"query {target['refId']} was not answered")
            continue
        try:
            expr = filled(target["expr"], values, page["step"], wanted.begin, wanted.end)
            if target.get("instant") and not target.get("range"):
                series = wanted.server.query(expr, wanted.end)
            else:
                end = wanted.end // page["step"] * page["step"]
                begin = wanted.begin // page["step"] * page["step"]
                series = wanted.server.query_range(expr, begin, end, page["step"])
        except (KeyError, ValueError) as error:
            say(f"query {target['refId']}: {error}")
            continue
        ours = Counter(_key(one.labels, one.last) for one in series)
        theirs = Counter(_key(one["labels"], _number(one["value"])) for one in page["fetched"])
        if ours != theirs:
            say(f"query {target['refId']}: fetched {sorted(theirs)}, asked anew {sorted(ours)}")
        answers.append((target, series))
    return answers


def _values(panel: Json, answer: tuple[Json, list[Series]]) -> Iterable[float]:
    """Yield the numbers of an answer that the panel must show.

    Of a table all whose column is kept, of curves the last that has a place on an axis.
    """
    target, series = answer
    is_table = target.get("format") == "table"
    if is_table and not _is_kept(panel, target):
        return
    for one in series:
        points = [value for _, value in one.points if not math.isnan(value)]
        if panel["type"] == "timeseries":
            points = [value for value in points if not math.isinf(value)]
        yield from points if is_table else points[-1:]


def _is_kept(panel: Json, target: Json) -> bool:
    """Has the table the column of the query's values? Without, it shows its labels only."""
    for step in panel.get("transformations", []):
        names = step["options"].get("include", {}).get("names")
        if names is not None:
            return bool({"Value", f"Value #{target['refId']}"} & set(names))
    return True


def _labels_kept(panel: Json) -> set[str]:
    """Return the labels that are columns of a table, where the table names its columns."""
    steps = panel.get("transformations", [])
    return {name for step in steps for name in step["options"].get("include", {}).get("names", [])}


def _judge_empty(panel: Json, told: Json, verdict: Verdict, may_be_empty: bool) -> None:
    text = panel.get("fieldConfig", {}).get("defaults", {}).get("noValue", "")
    if not text:
        verdict.problems.append("it is empty and has no text for that")
    elif _plain(text) not in _plain(told["text"]):
        verdict.problems.append(f"it is empty and does not say {text!r}")
    elif text.startswith(MUST_HAVE_DATA) and not may_be_empty:
        verdict.problems.append(f"it is empty: {text}")
    else:
        verdict.reason = text


def _read_label(panel: Json) -> str | None:
    """Return the label whose value the panel shows in place of the number, if it does."""
    fields = panel.get("options", {}).get("reduceOptions", {}).get("fields", "")
    found = re.fullmatch(r"/\^(\w+)\$/", fields)
    return None if found is None else found[1]


def _judge_unit(panel: Json, say: Any) -> None:
    """Seconds are shown as time and bytes as bytes, by the name of what is asked for."""
    units = _units(panel)
    unit = ", ".join(sorted(units))
    for target in panel.get("targets", []):
        expr = target["expr"]
        if panel["type"] == "table" and not _is_kept(panel, target):
            continue
        is_ratio = "/" in expr or "count" in expr or "_timestamp_seconds" in expr
        if _SECONDS.search(expr) and not is_ratio and not units & _OF_SECONDS:
            say(f"unit {unit or 'none'} for seconds: {expr}")
        if re.search(r"_bytes\b", expr) and "/" not in expr and not units & _OF_BYTES:
            say(f"unit {unit or 'none'} for bytes: {expr}")


def _units(panel: Json) -> set[str]:
    """Return the panel's unit, of a table those of its columns too."""
    config = panel.get("fieldConfig", {})
    overrides = [one for rule in config.get("overrides", []) for one in rule["properties"]]
    found = {one["value"] for one in overrides if one["id"] == "unit"}
    return found | {config.get("defaults", {}).get("unit", "")}


def _is_equal(panel: Json, told: Json, expected: list[float], say: Any) -> bool:
    """Is every number of the queries shown once, and nothing else, as text where there is text?"""
    curves = [one for one in told["shown"] if one["text"] is None]
    texts = [one for one in told["shown"] if one["text"] is not None]
    main = curves if panel["type"] == "timeseries" else texts
    shown = Counter(_round(_number(one["value"])) for one in main)
    wanted = Counter(_round(value) for value in expected)
    # Of columns of time two may have one name, and the later counts.
    is_same = shown and shown <= wanted if _has_columns_of_time(panel) else shown == wanted
    if not is_same:
        missing, other = sorted((wanted - shown).elements()), sorted((shown - wanted).elements())
        say(f"of the query and not shown: {missing[:5]}; shown and not of the query: {other[:5]}")
    text = _plain(told["text"])
    unseen = [one["text"] for one in texts if _plain(one["text"]) not in text]
    if unseen:
        say(f"not to be read in the panel: {unseen[:5]}")
    return bool(is_same) and not unseen


def _has_columns_of_time(panel: Json) -> bool:
    return any(step["id"] == "groupingToMatrix" for step in panel.get("transformations", []))


def _unread_labels(panel: Json, answers: list[tuple[Json, list[Series]]], text: str) -> list[str]:
    """Return the values of labels that are columns of a table and are not to be read in it."""
    kept = _labels_kept(panel)
    found = {
        value
        for _, series in answers
        for one in series
        for name, value in one.labels.items()
        if name in kept
    }
    return sorted(value for value in found if _plain(value) not in _plain(text))


def _key(labels: Mapping[str, str], value: float) -> str:
    return f"{sorted(labels.items())} {_round(value)}"


def _round(value: float) -> str:
    return f"{value:.9g}"


def _number(value: float | str | None) -> float:
    """Return a number of JSON, in which JavaScript writes what is none as null."""
    return math.nan if value is None else float(value)


def _plain(text: str) -> str:
    return re.sub(r"\s", "", text)
