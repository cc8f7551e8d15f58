"""Slack: an incoming webhook, blocks with everything that is not ours escaped."""

from __future__ import annotations

from typing import Any

from trimtab.notify.formats.sent import Sent, json_sent
from trimtab.notify.message import Telling, clean

MOST_SECTION = 2900
"""Slack takes 3000 characters."""


def escaped(text: str) -> str:
    """Return text in which nothing is a link, a mention or a channel of Slack."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def slack_sent(telling: Telling) -> Sent:
    """Return blocks, and a text for where there are none, such as a phone's first line."""
    message, decision = telling.message, telling.message.decision
    mark = ":warning:" if decision.warning else ":information_source:"
    title = f"{decision.reason}: {message.subject}"
    facts = [f"by {message.by}", f"{decision.at:%Y-%m-%d %H:%M:%S} UTC", f"no. {decision.seq}"]
    if message.owner:
        facts.insert(1, f"owner {message.owner}")
    blocks: list[dict[str, Any]] = [
        _marked(f"{mark} *{_bold(decision.reason)}* {escaped(message.subject)}"),
        _plain(message.text or decision.reason),
    ]
    if message.evidence:
        blocks.append(_plain(f"Evidence: {message.evidence}"))
    blocks += [_plain(gap) for gap in telling.gaps()]
    blocks.append({"type": "context", "elements": [_text(" | ".join(facts))]})
    # A link of the administrator's; < > and | cannot be in it, since its parts are encoded.
    if telling.link and not set(telling.link) & set("<>|"):
        blocks.append(_marked(f"<{telling.link.replace('&', '&amp;')}|Dashboard>"))
    return json_sent(
        {
            "text": escaped(clean(f"{title}: {message.text}", 500)),
            "blocks": blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }
    )


def _bold(reason: str) -> str:
    return escaped(clean(reason, 63)).replace("*", "")


def _text(text: str) -> dict[str, Any]:
    """Plain: there are no marks of Slack in it, whatever somebody wrote."""
    return {"type": "plain_text", "text": escaped(text)[:MOST_SECTION], "emoji": False}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _marked(text: str) -> dict[str, Any]:
    return {
        "type": "section",
        "text": {"type": "mrkdwn", "text": text[:MOST_SECTION], "verbatim": True},
    }
