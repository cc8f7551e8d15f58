"""Microsoft Teams: an Adaptive Card for the webhook of a workflow.

Text is in runs (`TextRun`), which know no Markdown: nothing that a tenant writes becomes a link.
"""

from __future__ import annotations

from typing import Any

from trimtab.notify.formats.sent import Sent, json_sent
from trimtab.notify.message import Telling

CARD = "application/vnd.microsoft.card.adaptive"


def teams_sent(telling: Telling) -> Sent:
    """Return a message with one card, far below the 28 KB that Teams takes."""
    message, decision = telling.message, telling.message.decision
    color = "attention" if decision.warning else "default"
    facts = [
        ("By", message.by),
        ("Owner", message.owner),
        ("Time", f"{decision.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Number", str(decision.seq)),
        ("Evidence", message.evidence),
    ]
    body = [
        _runs(_run(f"{decision.reason}: {message.subject}", weight="bolder", color=color)),
        _runs(_run(message.text or decision.reason)),
        *(_runs(_run(f"{name}: ", weight="bolder"), _run(said)) for name, said in facts if said),
        *(_runs(_run(gap, color="warning")) for gap in telling.gaps()),
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": f"{decision.reason}: {message.subject}",
        "body": body,
    }
    if telling.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Dashboard", "url": telling.link}]
    attachment = {"contentType": CARD, "contentUrl": None, "content": card}
    return json_sent({"type": "message", "attachments": [attachment]})


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **looks: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **looks}
