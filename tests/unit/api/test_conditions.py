"""Conditions keep their transition time until the status flips, and one order."""

from datetime import UTC, datetime, timedelta

from trimtab.api.conditions import (
    Condition,
    ConditionType,
    Reason,
    find_condition,
    set_condition,
)

T0 = datetime(2026, 11, 1, tzinfo=UTC)
T1 = T0 + timedelta(minutes=5)


def _ready(conditions: list[Condition], status: bool | None, now: datetime) -> list[Condition]:
    return set_condition(
        conditions, ConditionType.READY, status, Reason.SERVING, "3/3", now=now, generation=1
    )


def test_transition_time_stays_while_the_status_stays() -> None:
    (condition,) = _ready(_ready([], True, T0), True, T1)
    assert condition.last_transition_time == T0


def test_transition_time_moves_when_the_status_flips() -> None:
    (condition,) = _ready(_ready([], True, T0), None, T1)
    assert (condition.status, condition.last_transition_time) == ("Unknown", T1)


def test_conditions_have_one_order_however_they_were_set() -> None:
    conditions = set_condition(
        [], ConditionType.DEGRADED, False, Reason.AS_WANTED, "", now=T0, generation=1
    )
    conditions = _ready(conditions, True, T0)
    assert [condition.type for condition in conditions] == ["Ready", "Degraded"]


def test_a_missing_condition_is_none() -> None:
    assert find_condition([], ConditionType.READY) is None
    assert find_condition(_ready([], False, T0), ConditionType.READY) is not None


def test_a_message_is_cut_to_its_bound() -> None:
    (condition,) = set_condition(
        [], ConditionType.READY, True, Reason.SERVING, "x" * 5000, now=T0, generation=1
    )
    assert len(condition.message) == 2048
