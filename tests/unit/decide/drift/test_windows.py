"""Windows, seasons, and how long labels are waited for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.drift.policies import INPUTS, QUALITY, policy

from trimtab.decide.drift.windows import (
    label_hours_kept,
    label_window,
    late_label_delay,
    window_warning,
)


@pytest.mark.parametrize(
    ("minutes", "hours"), [(1, 1), (59, 1), (60, 1), (61, 2), (90, 2), (120, 2), (1440, 24)]
)
def test_labels_are_judged_by_whole_hours(minutes: int, hours: int) -> None:
    assert label_window(timedelta(minutes=minutes)) == timedelta(hours=hours)


OUTCOMES = {"kind": "outcomes", "floor": {"limit": "90%"}}


@pytest.mark.parametrize(
    ("signals", "delay"),
    [
        pytest.param([INPUTS, QUALITY], None, id="nothing_waits_for_labels"),
        pytest.param([OUTCOMES], None, id="labels_at_once"),
        pytest.param([{**OUTCOMES, "labelDelay": "59m"}], None, id="within_the_hour"),
        pytest.param([{**OUTCOMES, "labelDelay": "1h"}], timedelta(hours=1), id="from_an_hour_on"),
        pytest.param(
            [INPUTS, {**OUTCOMES, "labelDelay": "3h"}], timedelta(hours=3), id="beside_others"
        ),
    ],
)
def test_labels_are_waited_for(signals: list[dict[str, Any]], delay: timedelta | None) -> None:
    assert late_label_delay(policy(*signals).spec) == delay


@pytest.mark.parametrize(
    ("window", "delay", "hours"), [("1h", "1h", 4), ("1h", "90m", 5), ("24h", "48h", 97)]
)
def test_labels_are_booked_until_their_window_was_judged(
    window: str, delay: str, hours: int
) -> None:
    spec = policy({**OUTCOMES, "labelDelay": delay}, window=window).spec
    waited_for = late_label_delay(spec)
    assert waited_for is not None
    assert label_hours_kept(label_window(spec.window), waited_for) == hours


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        pytest.param({"window": "24h"}, False, id="a_day_of_daily_traffic"),
        pytest.param({"window": "168h", "season": "168h"}, False, id="a_week"),
        pytest.param({"window": "48h"}, False, id="two_days"),
        pytest.param({"window": "1h"}, True, id="an_hour_of_daily_traffic"),
        pytest.param({"window": "36h"}, True, id="a_day_and_a_half"),
        pytest.param({"window": "1h", "season": "1h"}, False, id="traffic_without_seasons"),
    ],
)
def test_a_window_that_is_no_whole_season_is_warned_about(
    spec: dict[str, str], warned: bool
) -> None:
    text = window_warning(policy(INPUTS, **spec).spec)
    assert (text is not None) is warned
    if text is not None:
        assert "not a whole multiple of the season of" in text
