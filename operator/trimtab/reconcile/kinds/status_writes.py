"""When a status is worth a write.

What a person acts on is written at once. Numbers that move at every scrape are written at most
every 30 s while a rollout runs, and every 5 min at rest. What follows from scrapes alone is written
at most every 5 s: two operators may see otherwise, and would write in turns as fast as they can.
"""

from __future__ import annotations

import copy
from datetime import datetime, timedelta

from trimtab.api.conditions import ConditionType, Reason
from trimtab.cluster.port import Json
from trimtab.decide.led_time import is_to_come

DURING_ROLLOUT = timedelta(seconds=30)
AT_REST = timedelta(minutes=5)
AS_SEEN = timedelta(seconds=5)
_EXPECTED = ("NoTraffic", "Waiting", "Stable", "NoStable", "PodsDiffer", "PartlySeen", "WorseSoFar")
"""Reasons of gates that come and go at the beginning of every step."""

_COUNTING = (
    Reason.SHARE_NOT_REACHED,
    Reason.WAITING_FOR_SAMPLES,
    Reason.PODS_DIFFER,
    Reason.PARTLY_SEEN,
    Reason.WORSE_SO_FAR,
    Reason.REPLICA_FAILURE,
)
"""Reasons whose messages have figures."""
_EXPECTED_DATA = (("Unknown", Reason.WAITING), ("True", Reason.DATA_COMPLETE))
_SEEN = (
    ConditionType.PROGRESSING,
    ConditionType.DATA_AVAILABLE,
    # These repeat why a rollout is where it is.
    ConditionType.RECONCILING,
    ConditionType.UP_TO_DATE,
)
_NUMBERS = {
    "stable": ("share",),
    "candidate": ("share", "ready", "desired"),
    "lastGood": ("share", "ready", "desired"),
    "guard": ("detectors",),
}


def significant(status: Json) -> Json:
    """Return the status without the numbers that move at every scrape."""
    kept = _without(status, "spread")
    kept["record"] = kept.get("record", {}).get("seq")  # up to where it is told is no news
    kept["gates"] = [told for gate in kept.get("gates", []) if (told := _telling(gate))]
    for field, numbers in _NUMBERS.items():
        if field in kept:
            kept[field] = _without(kept[field], *numbers)
    if kept.get("rollout", {}).get("step") is not None:
        step = _without(kept["rollout"]["step"], "firstRequest")
        kept["rollout"] = kept["rollout"] | {"step": step}
    kept["conditions"] = [_told(condition) for condition in kept.get("conditions", [])]
    return kept


def _without(part: Json, *names: str) -> Json:
    """Return a part without these fields. What it shares with the status is not to be changed."""
    return {name: value for name, value in part.items() if name not in names}


def _told(condition: Json) -> Json:
    """Return a condition without a message that has figures.

    That data has come, as was to be expected in each step, waits for another reason to write.
    """
    if (condition.get("status"), condition.get("reason")) in _EXPECTED_DATA:
        return {"type": condition["type"]}
    is_counting = condition.get("reason") in _COUNTING
    if condition["type"] == ConditionType.DATA_AVAILABLE or is_counting:
        return _without(condition, "message")
    return condition


def _telling(gate: Json) -> Json:
    """Return what a person acts on of a gate: that it failed, or cannot see."""
    if gate.get("reason") in _EXPECTED:
        return {}
    return {"name": gate["name"], "verdict": gate["verdict"], "reason": gate.get("reason")}


def _known_to_all(status: Json) -> Json:
    """Return what is significant of a status, without what follows from scrapes alone."""
    kept = _without(significant(status), "gates", "summary")
    kept["conditions"] = [c for c in kept["conditions"] if c["type"] not in _SEEN]
    return kept


def is_deployment_worth_writing(
    old: Json, new: Json, written_at: datetime | None, now: datetime
) -> bool:
    """Return whether to write now. `written_at` is the last write that this process made."""
    if old == new:
        return False
    if significant(old) != significant(new):
        is_judged = "rollout" in old and "rollout" in new
        is_news = not is_judged or _known_to_all(old) != _known_to_all(new)
        return is_news or written_at is None or _is_time(written_at, AS_SEEN, now)
    pause = DURING_ROLLOUT if "rollout" in new else AT_REST
    return written_at is not None and _is_time(written_at, pause, now)


POLICY_NUMBERS = (
    *("value", "lower", "upper", "labelled", "threshold", "n", "needed"),
    *("windowStart", "windowEnd", "top", "message"),
)


def is_policy_worth_writing(
    old: Json, new: Json, written_at: datetime | None, now: datetime
) -> bool:
    """Return whether to write now: numbers move with every window."""
    if old == new:
        return False
    if _without_numbers(old) != _without_numbers(new):
        return True
    return written_at is not None and _is_time(written_at, AT_REST, now)


def _is_time(written_at: datetime, pause: timedelta, now: datetime) -> bool:
    return not is_to_come(written_at + pause, now, pause)


def _without_numbers(status: Json) -> Json:
    kept = copy.deepcopy(status)
    if "budget" in kept:
        kept["budget"].pop("looks", None)
    for signal in kept.get("signals", []):
        # Why there is no data comes first in its message, and is no number.
        why = signal.get("message", "").partition(":")[0] if signal["verdict"] == "NoData" else ""
        for name in POLICY_NUMBERS:
            signal.pop(name, None)
        signal["why"] = why
    for name in ("value", "n"):
        kept.get("summary", {}).pop(name, None)
    for condition in kept.get("conditions", []):
        condition.pop("message", None)
    return kept
