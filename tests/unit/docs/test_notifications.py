"""The page on notifications shows what is sent, and its receiver verifies it."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.pages.blocks import of_language

from trimtab.api.record import Decision
from trimtab.notify.formats import FORMATS
from trimtab.notify.message import Telling, message_of
from trimtab.notify.settings import Destination, DestinationType
from trimtab.notify.signature import read_keys, signed

PAGE = "docs/notifications.md"
SHOWN: list[DestinationType] = ["webhook", "slack", "teams", "alertmanager"]
"""In the order of the page."""


def telling_of(to: DestinationType) -> Telling:
    """Return the message that the page shows."""
    obj = {
        "kind": "Deployment",
        "metadata": {"name": "digits", "namespace": "shop", "uid": "6f1c2a7e"},
    }
    decision = Decision(
        seq=7,
        at=datetime(2026, 11, 30, 12, 0, 7, tzinfo=UTC),
        reason="RolledBack",
        message="v2 is quarantined: gate errors: 31 of 400 bad, v1 has 4 of 1200; v1 serves",
        warning=True,
        inputs={"candidate": "v2"},
    )
    url = "https://grafana.example.com/d/trimtab-rollout?var-namespace={namespace}&var-deployment={name}"
    destination = Destination.model_validate({"name": "there", "type": to})
    return Telling(message_of(obj, decision, owner="team-a"), destination, url)


def test_each_payload_is_what_is_sent() -> None:
    shown = [json.loads(block.text) for block in of_language("text") if block.page == PAGE]
    sent = []
    for kind in SHOWN:
        made = FORMATS[kind](telling_of(kind))
        assert made is not None
        sent.append(json.loads(made.body))
    assert shown == sent


@pytest.fixture
def is_valid() -> Any:
    (block,) = (block for block in of_language("python") if block.page == PAGE)
    names: dict[str, Any] = {}
    exec(compile(block.text, PAGE, "exec"), names)
    return names["is_valid"]


def test_the_receiver_of_the_page_verifies(is_valid: Any) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    other = "whsec_" + base64.b64encode(b"o" * 32).decode()
    keys, now = read_keys(f"{other} {secret}"), int(time.time())
    headers = dict(signed(keys, "id-1", now, b"{}"))
    assert is_valid(headers, b"{}", secret)
    assert is_valid(headers, b"{}", other)
    assert not is_valid(headers, b"{ }", secret)
    assert not is_valid(headers | {"webhook-id": "id-2"}, b"{}", secret)
    assert not is_valid(dict(signed(keys, "id-1", now - 3600, b"{}")), b"{}", secret)
    assert not is_valid(headers, b"{}", "whsec_" + base64.b64encode(b"x" * 32).decode())
