"""What a look may cost, and the account of looks and alarms."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.decide.drift.policies import INPUTS, QUALITY, entry, policy
from tests.unit.loop_objects import NOW

from trimtab.api.drift_policy import DriftPolicyStatus, SignalStatus
from trimtab.decide.drift.budget import (
    QUARTER,
    REMEMBERED_ALARMS,
    alarms_of_signal,
    alpha_of_look,
    budget_after,
    looks_per_quarter,
)


@pytest.mark.parametrize(
    ("spec", "alpha"),
    [
        pytest.param({"window": "24h", "falseAlarms": {"perQuarter": 1}}, 1 / 90, id="daily"),
        pytest.param({"window": "1h", "falseAlarms": {"perQuarter": 1}}, 1 / 2160, id="hourly"),
        pytest.param(
            {"window": "24h", "falseAlarms": {"perQuarter": 1000}}, 0.1, id="never_weaker_than_this"
        ),
        pytest.param(
            {"window": "9000h", "falseAlarms": {"perQuarter": 0.01}}, 0.01, id="one_look_at_least"
        ),
    ],
)
def test_the_budget_is_shared_out_over_looks(spec: dict[str, Any], alpha: float) -> None:
    assert alpha_of_look(policy(INPUTS, **spec).spec) == pytest.approx(alpha)


def test_signals_share_one_budget() -> None:
    one, two = policy(INPUTS).spec, policy(INPUTS, QUALITY).spec
    assert alpha_of_look(two) == pytest.approx(alpha_of_look(one) / 2)


def test_looks_alarms_and_levels_are_one_account() -> None:
    spec = policy(INPUTS, QUALITY, window="24h", falseAlarms={"perQuarter": 3}).spec
    assert looks_per_quarter(spec) == 180
    assert alpha_of_look(spec) == 3 / 180
    assert alarms_of_signal(spec) == 1.5


def judged(verdict: str, end: str = "2026-01-01T00:00:00Z") -> SignalStatus:
    return entry("inputs", verdict, windowEnd=end)


EARLIER = "2025-12-31T00:00:00Z"
UNSEEN = entry("inputs", "NoData", windowStart=None, windowEnd=None)


@pytest.mark.parametrize(
    ("before", "after", "looks", "alarms"),
    [
        pytest.param([], judged("Stable"), 1, 0, id="a_first_window_is_a_look"),
        pytest.param([], judged("Drifting"), 1, 1, id="and_an_alarm_where_it_fires"),
        pytest.param([judged("Stable")], judged("Stable"), 0, 0, id="the_same_window_is_none"),
        pytest.param([judged("Stable", EARLIER)], judged("Stable"), 1, 0, id="the_next_is_one"),
        pytest.param(
            [judged("Drifting", EARLIER)], judged("Drifting"), 1, 0, id="an_alarm_is_told_once"
        ),
        pytest.param([judged("Stable", EARLIER)], judged("Drifting"), 1, 1, id="a_new_alarm"),
        pytest.param([judged("Stable", EARLIER)], UNSEEN, 0, 0, id="a_silent_window_is_no_look"),
    ],
)
def test_the_account(
    before: list[SignalStatus], after: SignalStatus, looks: int, alarms: int
) -> None:
    account = budget_after(DriftPolicyStatus(signals=before), [after], policy(INPUTS).spec, NOW)
    assert (account.looks, len(account.alarms)) == (looks, alarms)


def test_alarms_are_forgotten_after_a_quarter_and_looks_are_not() -> None:
    def after(status: DriftPolicyStatus, now: datetime) -> DriftPolicyStatus:
        account = budget_after(status, [judged("Drifting")], policy(INPUTS).spec, now)
        return DriftPolicyStatus(budget=account)

    first = after(DriftPolicyStatus(), NOW)
    second = after(first, NOW + QUARTER - timedelta(seconds=1))
    third = after(second, NOW + QUARTER)
    assert [len(s.budget.alarms) for s in (first, second, third) if s.budget] == [1, 2, 2]
    assert third.budget is not None
    assert third.budget.looks == 3


def test_an_account_is_bounded() -> None:
    status = DriftPolicyStatus()
    for _ in range(REMEMBERED_ALARMS + 1):
        account = budget_after(status, [judged("Drifting")], policy(INPUTS).spec, NOW)
        status = DriftPolicyStatus(budget=account)
    assert len(account.alarms) == REMEMBERED_ALARMS


def test_a_level_is_shown_with_three_digits() -> None:
    spec = policy(INPUTS, window="24h", falseAlarms={"perQuarter": 1}).spec
    account = budget_after(DriftPolicyStatus(), [], spec, NOW)
    assert account.level_per_look == 0.0111
