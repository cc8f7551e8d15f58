"""CloudEvents 1.0 over HTTP, structured or binary."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from trimtab.api.meta import API_VERSION
from trimtab.notify.formats.sent import Sent, json_sent
from trimtab.notify.message import Telling

TYPE = "dev.trimtab.decision.v1"
STRUCTURED = "application/cloudevents+json; charset=utf-8"


def webhook_sent(telling: Telling) -> Sent:
    """Return the event; its id is the same for each repeat of the same decision."""
    attributes, data = _attributes(telling), _data(telling)
    if telling.destination.mode == "structured":
        return json_sent({**attributes, "data": data}, content_type=STRUCTURED)
    sent = json_sent(data)
    # What is no printable ASCII, the quote and the percent sign are percent-encoded, as the binding
    # asks for; the characters of names, types and times are none of them.
    headers = {
        f"ce-{name}": quote(value, safe="!#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
        for name, value in attributes.items()
        if name != "datacontenttype"
    }
    return Sent(sent.body, {**sent.headers, **headers})


def _attributes(telling: Telling) -> dict[str, str]:
    message = telling.message
    place = f"namespaces/{message.namespace}/{message.kind}/{message.name}"
    return {
        "specversion": "1.0",
        "id": message.id,
        "source": f"/apis/{API_VERSION}/{quote(place)}",
        "type": TYPE,
        "subject": f"{message.namespace}/{message.name}",
        "time": message.decision.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        # An extension of CloudEvents: texts of one source compare as their numbers do.
        "sequence": f"{message.decision.seq:012d}",
    }


def _data(telling: Telling) -> dict[str, Any]:
    message, lost = telling.message, telling.lost
    decision = message.decision
    data: dict[str, Any] = {
        "kind": message.kind,
        "namespace": message.namespace,
        "name": message.name,
        "uid": message.uid,
        "seq": decision.seq,
        "reason": decision.reason,
        "message": message.text,
        "warning": decision.warning,
        "by": message.by,
        "owner": message.owner or None,
        "inputs": message.inputs,
        "dashboard": telling.link or None,
        "missingBefore": message.missing_before or None,
    }
    if lost is not None:
        first, last = lost.first.isoformat(), lost.last.isoformat()
        data["lost"] = {"count": lost.count, "first": first, "last": last}
        if lost.is_least:
            data["lost"]["orMore"] = True
    return {name: value for name, value in data.items() if value is not None}
