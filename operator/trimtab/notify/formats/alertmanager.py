"""Alertmanager's API v2: a warning fires, and the decision that ends it resolves it.

Nothing is sent again to keep an alert firing, so that each says when it ends by itself: counted
from when it is sent, since one that had ended before it came would be told to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.notify.formats.sent import Sent, json_sent
from trimtab.notify.message import Message, Telling

PATH = "/api/v2/alerts"
ENDS_AFTER = timedelta(hours=24)
"""An alert that nothing has resolved until then."""
PASSES_AFTER = timedelta(hours=1)
"""One that nothing resolves, since it tells of something that has happened."""

_ROLLOUT = (
    EventReason.ROLLED_BACK,
    EventReason.GATE_FAILED,
    EventReason.GUARD_BREACHED,
    EventReason.UNDECIDED,
    EventReason.QUARANTINED,
    EventReason.FIRST_VERSION_FAILED,
    EventReason.DATA_UNAVAILABLE,
    EventReason.FLAPPING,
)
RESOLVES: Mapping[str, Mapping[str, ConditionType | None]] = {
    EventReason.PROMOTED: dict.fromkeys(_ROLLOUT),
    EventReason.DATA_BACK: {EventReason.DATA_UNAVAILABLE: None},
    EventReason.QUARANTINE_LIFTED: {EventReason.QUARANTINED: None},
    EventReason.DRIFT_CLEARED: {
        EventReason.DRIFT_DETECTED: ConditionType.DRIFT_DETECTED,
        EventReason.HARM_DETECTED: ConditionType.HARM,
        EventReason.DATA_BROKEN: ConditionType.DATA_BROKEN,
    },
    EventReason.VERSION_VERIFIED: {EventReason.VERSION_REJECTED: None},
}
"""By reason: which alerts it resolves; not while the condition named here still holds, since
another signal of the same policy may have fired, too."""
_RESOLVABLE = frozenset(reason for ended in RESOLVES.values() for reason in ended)


def alertmanager_sent(telling: Telling) -> Sent | None:
    """Return alerts that fire or are resolved; None where a decision does neither."""
    message, decision = telling.message, telling.message.decision
    if decision.warning:
        lasts = ENDS_AFTER if decision.reason in _RESOLVABLE else PASSES_AFTER
        return json_sent([_alert(telling, decision.reason, lasts)], path=PATH)
    alerts = [_alert(telling, reason, timedelta()) for reason in resolved_by(message)]
    return json_sent(alerts, path=PATH) if alerts else None


def resolved_by(message: Message) -> list[str]:
    """Return the reasons of the alerts that this decision ends."""
    ended = RESOLVES.get(message.decision.reason, {})
    return [reason for reason, held in ended.items() if held not in message.still]


def _alert(telling: Telling, reason: str, lasts: timedelta) -> dict[str, Any]:
    """The labels name the alert: they are the same when it fires and when it is resolved."""
    message, at = telling.message, telling.message.decision.at
    until = max(at, telling.at or at) + lasts if lasts else at
    alert: dict[str, Any] = {
        "labels": {
            "alertname": f"Trimtab{reason}",
            "namespace": message.namespace,
            "kind": message.kind,
            "name": message.name,
            "severity": "warning",
        },
        "annotations": {
            "summary": f"{reason}: {message.subject}",
            "description": " ".join([message.text, *telling.gaps()]),
            "by": message.by,
            "owner": message.owner,
            "evidence": message.evidence,
            "decision": message.id,
        },
        "endsAt": until.isoformat(),
    }
    if lasts:
        alert["startsAt"] = at.isoformat()
    alert["annotations"] = {name: said for name, said in alert["annotations"].items() if said}
    if telling.link:
        alert["generatorURL"] = telling.link
        alert["annotations"]["dashboard"] = telling.link
    return alert
