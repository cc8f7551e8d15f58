"""The destinations in the file that the chart makes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from trimtab.notify.settings import MOST_BYTES, read_notifications

SLACK = {"name": "team-a", "type": "slack"}


def read(path: Path, value: Any) -> Any:
    file = path / "notifications.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return read_notifications(file)


def test_a_whole_one(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "dashboardURL": "https://g/{name}",
            "destinations": [{**SLACK, "reasons": ["Promoted"], "warningsOnly": True}],
        },
    )
    assert found.dashboard_url == "https://g/{name}"
    assert found.destinations[0].warnings_only


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (" " * (MOST_BYTES + 1), "more than"),
        ([], "dictionary"),
        ({"destinations": [{"name": "A", "type": "slack"}]}, "name"),
        ({"destinations": [{"name": "a/../b", "type": "slack"}]}, "name"),
        ({"destinations": [{"name": "a", "type": "mail"}]}, "type"),
        ({"destinations": [{**SLACK, "url": "https://secret"}]}, "url"),
        ({"destinations": [SLACK, SLACK]}, "same name"),
        ({"destinations": [{**SLACK, "name": f"n{i}"} for i in range(17)]}, "destinations"),
        ({"dashboardURL": "javascript:x"}, "dashboardURL"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, value: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word) as refused:
        read(tmp_path, value)
    assert "secret" not in str(refused.value)


def test_a_reason_of_another_release_is_no_mistake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(tmp_path, {"destinations": [{**SLACK, "reasons": ["NotYet"]}]})
    assert "no reason NotYet" in caplog.text


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notifications\.json"):
        read_notifications(tmp_path / "notifications.json")
