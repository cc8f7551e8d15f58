"""Messages for tests of what is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.api.record import Decision
from trimtab.cluster.port import Json
from trimtab.notify.message import Lost, Message, Telling, message_of
from trimtab.notify.settings import Destination, DestinationType

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DASHBOARD = "https://grafana.example.com/d/x?var-namespace={namespace}&var-name={name}"


def decision(seq: int = 7, reason: str = "RolledBack", **fields: Any) -> Decision:
    given: Json = {"message": "v2 was worse than v1", "warning": True, "inputs": {"bad": 12}}
    return Decision(
        seq=seq, reason=reason, **{"at": AT + timedelta(seconds=seq), **given, **fields}
    )


def stored(name: str = "digits", namespace: str = "shop", uid: str = "u-1", **more: Any) -> Json:
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        **more,
    }


def message(obj: Json | None = None, owner: str = "", before: int = 0, **fields: Any) -> Message:
    made = decision(**fields)
    return message_of(obj or stored(), made, owner=owner, missing_before=before)


def telling(
    to: DestinationType = "slack", *, lost: Lost | None = None, mode: str = "structured", **of: Any
) -> Telling:
    destination = Destination.model_validate({"name": "there", "type": to, "mode": mode})
    url = of.pop("dashboard", DASHBOARD)
    return Telling(message(**of), destination, url, lost)
