"""Nothing that an object says is trusted."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.cli.seen import Seen, ago, condition, printable, time_in


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J\x1b]0;evil\x07", "a\nDeployment b", "\r\x08\x7f\x9b", "\u202eabc\u2066", "\u2028x"],
    ids=["escapes", "line", "controls", "bidi", "separator"],
)
def test_a_text_moves_no_cursor_and_begins_no_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) == 1


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 5000) == "x" * 2048 + "…"


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], {}, {"a": None}, {"a": []}, {"a": "x"}, {"a": {"b": []}}]
)
def test_what_is_missing_or_of_another_type_is_empty(value: Any) -> None:
    seen = Seen(value)
    assert seen.text("a", "b", "c") == ""
    assert seen.number("a", "b") is None
    assert seen.all("a", "b", "c") == []
    assert list(seen.items("a", "b", "c")) == []
    assert seen.time("a", "b") is None
    assert not seen.is_true("a", "b")
    assert not condition(seen, "Ready")


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "3", 10**400])
def test_what_is_no_number(value: Any) -> None:
    assert Seen({"a": value}).number("a") is None


def test_lists_keep_what_is_of_their_type() -> None:
    mixed = Seen({"a": [1, "x", {"b": 2}, None, math.nan]})
    assert [one.count("b") for one in mixed.all("a")] == [2]
    assert mixed.texts("a") == ["x"]
    assert mixed.numbers("a") == [1.0]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-30T18:00:00Z", datetime(2026, 11, 30, 18, tzinfo=UTC)),
        ("2026-11-30T19:00:00+01:00", datetime(2026, 11, 30, 18, tzinfo=UTC)),
        ("2026-11-30T18:00:00", datetime(2026, 11, 30, 18, tzinfo=UTC)),
        ("0001-01-01T00:00:00+23:00", None),
        ("soon", None),
        ("", None),
    ],
)
def test_times(text: str, moment: datetime | None) -> None:
    assert time_in(text) == moment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (86400 * 3, "3d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert ago(seconds) == text
