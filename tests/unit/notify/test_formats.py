"""What each type of destination is sent; nothing that a tenant writes gets a meaning there."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.notify.messages import AT, stored, telling

from trimtab.cluster.port import Json
from trimtab.notify.formats import FORMATS
from trimtab.notify.formats.sent import Sent
from trimtab.notify.message import Lost
from trimtab.notify.settings import DestinationType

LINK = "https://grafana.example.com/d/x?var-namespace=shop&var-name=digits"
TYPES: list[DestinationType] = ["webhook", "slack", "teams", "alertmanager"]
HOSTILE = [
    "<!channel> <@U1> <https://evil.example|click>",
    "[click](https://evil.example) **bold** ![x](http://evil.example/x.png)",
    "`code` ```block``` *bold* _it_ ~no~",
    "a\r\nX-Injected: 1\n\n{}",
    "\u202etxt.exe\u200b\u0000",
    "&lt;!here&gt; &amp;",
    "x" * 100_000,
    '"}],"blocks":[{"type":"image"',
    "{namespace} {0} %s ${jndi:ldap://x}",
]


def sent(to: DestinationType, **of: Any) -> Sent:
    found = FORMATS[to](telling(to, **of))
    assert found is not None
    return found


def body(to: DestinationType, **of: Any) -> Any:
    return json.loads(sent(to, **of).body)


def texts(value: Any) -> list[str]:
    """Return every text in a JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for one in value for text in texts(one)] if isinstance(value, list) else []


# --- CloudEvents --------------------------------------------------------------------------------


def test_a_structured_event() -> None:
    made = sent("webhook", owner="team-a")
    assert made.headers == {"content-type": "application/cloudevents+json; charset=utf-8"}
    assert json.loads(made.body) == {
        "specversion": "1.0",
        "id": "u-1-7",
        "source": "/apis/trimtab.dev/v1alpha1/namespaces/shop/Deployment/digits",
        "type": "dev.trimtab.decision.v1",
        "subject": "shop/digits",
        "time": "2026-11-30T12:00:07Z",
        "datacontenttype": "application/json",
        "sequence": "000000000007",
        "data": {
            "kind": "Deployment",
            "namespace": "shop",
            "name": "digits",
            "uid": "u-1",
            "seq": 7,
            "reason": "RolledBack",
            "message": "v2 was worse than v1",
            "warning": True,
            "by": "trimtab",
            "owner": "team-a",
            "inputs": {"bad": 12},
            "dashboard": LINK,
        },
    }


def test_a_binary_event_has_the_same_in_headers() -> None:
    structured = body("webhook")
    made = sent("webhook", mode="binary")
    assert json.loads(made.body) == structured.pop("data")
    content_type = structured.pop("datacontenttype")
    headers = {f"ce-{name}": value for name, value in structured.items()}
    assert made.headers == {"content-type": content_type, **headers}


def test_headers_of_a_binary_event_are_percent_encoded() -> None:
    made = sent("webhook", mode="binary", obj=stored(name='é "%\r\nx: 1'))
    assert made.headers["ce-subject"] == "shop/%C3%A9%20%22%25%20x:%201"
    assert all(value.isascii() and value.isprintable() for value in made.headers.values())


def test_what_was_lost_is_in_the_data() -> None:
    lost = Lost(3, AT, AT + timedelta(hours=1), is_least=True)
    data = body("webhook", lost=lost, before=5)["data"]
    assert data["lost"] == {
        "count": 3,
        "first": "2026-11-30T12:00:00+00:00",
        "last": "2026-11-30T13:00:00+00:00",
        "orMore": True,
    }
    assert data["missingBefore"] == 5


# --- for people ---------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["slack", "teams", "alertmanager"])
def test_people_see_what_why_who_when_and_where(to: DestinationType) -> None:
    lost = Lost(3, AT, AT + timedelta(hours=1))
    inputs = {"by": "ada@example.com", "bad": 12}
    made = body(to, owner="team-a", inputs=inputs, lost=lost, before=5)
    everything = "\n".join(texts(made)).replace("&amp;", "&")
    for wanted in (
        "RolledBack",
        "Deployment shop/digits",
        "v2 was worse than v1",
        '"bad": 12',
        "ada@example.com",
        "team-a",
        LINK,
        "3 earlier messages",
        "numbers below 5",
    ):
        assert wanted in everything
    assert "12:00:07" in everything


@pytest.mark.parametrize("by", ["trimtab ", "Trimtab", "trimtab\u200b", " ", "\u200b"])
def test_nobody_passes_for_the_operator(by: str) -> None:
    assert body("webhook", inputs={"by": by})["data"]["by"] == "unknown"
    assert body("webhook", inputs={})["data"]["by"] == "trimtab"


@pytest.mark.parametrize("to", TYPES)
def test_without_a_dashboard_there_is_no_link(to: DestinationType) -> None:
    assert not any("grafana" in text for text in texts(body(to, dashboard="")))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("to", TYPES)
def test_hostile_words_stay_words_and_small(to: DestinationType, text: str) -> None:
    obj = stored(name=text, namespace=text, uid=text, kind=text)
    inputs = {"by": text[:900], text[:80]: text[:900]}
    made = sent(to, obj=obj, message=text[:1024], owner=text, inputs=inputs)
    assert len(made.body) < 28_000
    assert made.body.isascii()
    shown = json.loads(made.body)
    if to == "webhook":
        assert shown["data"].pop("inputs") == inputs  # as they are in status: for machines
    assert all(said.isprintable() for said in texts(shown))


def test_half_a_character_is_no_reason_to_fail() -> None:
    half = chr(0xD800)
    for to in TYPES:
        assert sent(to, obj=stored(name=half), owner=half, inputs={half: half}).body.isascii()


def test_inputs_that_are_too_large_for_one_are_left_out() -> None:
    made = body("webhook", inputs={"by": "ada", "x": "y" * 60_000})
    assert made["data"]["inputs"] == {"leftOut": ["inputs"]}
    assert made["data"]["by"] == "ada"
    assert len(sent("slack", inputs={"x": "y" * 60_000}).body) < 28_000


@given(st.text(max_size=300))
def test_slack_has_no_control_sequence_of_others(text: str) -> None:
    made = body("slack", message=text, owner=text, obj=stored(name=text), inputs={"by": text})
    for block in made["blocks"]:
        for part in [block.get("text"), *block.get("elements", [])]:
            if part is None:
                continue
            is_link = part["text"].startswith("<https://grafana.example.com/")
            assert is_link or not set(part["text"]) & set("<>")
            # Marks have a meaning in what is ours alone.
            if part["type"] == "mrkdwn" and not is_link:
                assert "digits" not in part["text"] or part["verbatim"] is True
    assert not set(made["text"]) & set("<>")


@given(st.text(max_size=300))
def test_teams_has_what_others_write_in_runs_without_markdown(text: str) -> None:
    made = body("teams", message=text, owner=text, obj=stored(name=text), inputs={"by": text})
    (attachment,) = made["attachments"]
    card = attachment["content"]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]
    assert card["actions"][0]["url"].startswith("https://grafana.example.com/d/x?")


def test_the_link_has_no_part_of_a_name_as_its_own() -> None:
    made = body("teams", obj=stored(name="a&b=c#d/../{kind}", namespace="<x>|y"))
    url = made["attachments"][0]["content"]["actions"][0]["url"]
    start = "https://grafana.example.com/d/x?var-namespace=%3Cx%3E%7Cy&var-name="
    assert url == f"{start}a%26b%3Dc%23d%2F..%2F%7Bkind%7D"


@pytest.mark.parametrize(
    ("kind", "more", "named"),
    [
        ("Deployment", {}, "digits"),
        ("RetrainJob", {"spec": {"cause": {"deployment": "d"}}}, "d"),
        ("DriftPolicy", {"status": {"baselines": {"d": "sha256:0"}}}, "d"),
        ("DriftPolicy", {"status": {"baselines": {"d": "sha256:0", "e": "sha256:0"}}}, ""),
        ("DriftPolicy", {"status": "text"}, ""),
        ("RetrainJob", {"spec": {"cause": None}}, ""),
        ("ModelVersion", {}, ""),
    ],
)
def test_a_link_to_a_deployment_is_to_the_one_that_it_is_about(
    kind: str, more: Json, named: str
) -> None:
    made = telling(obj=stored(**more) | {"kind": kind}, dashboard="https://g/d/x?d={deployment}")
    assert made.link == (f"https://g/d/x?d={named}" if named else "")


# --- Alertmanager -------------------------------------------------------------------------------


def alerts(**of: Any) -> list[Json]:
    found: list[Json] = body("alertmanager", **of)
    return found


def test_a_warning_fires_and_the_promotion_resolves_it_by_the_same_labels() -> None:
    assert sent("alertmanager").path == "/api/v2/alerts"
    (fired,) = alerts()
    assert fired["labels"] == {
        "alertname": "TrimtabRolledBack",
        "namespace": "shop",
        "kind": "Deployment",
        "name": "digits",
        "severity": "warning",
    }
    assert fired["startsAt"] == "2026-11-30T12:00:07+00:00"
    assert fired["endsAt"] == "2026-12-01T12:00:07+00:00"
    resolved = alerts(reason="Promoted", warning=False, seq=9)
    (same,) = [alert for alert in resolved if alert["labels"] == fired["labels"]]
    assert same["endsAt"] == "2026-11-30T12:00:09+00:00"
    assert "startsAt" not in same


def test_what_nothing_resolves_passes_by_itself() -> None:
    (fired,) = alerts(reason="CommandRefused")
    assert fired["endsAt"] == "2026-11-30T13:00:07+00:00"


def test_a_policy_with_another_signal_that_fires_goes_on_firing() -> None:
    conditions = [{"type": "Harm", "status": "True"}, {"type": "DriftDetected", "status": "False"}]
    policy = stored(kind="DriftPolicy", status={"conditions": conditions})
    made = alerts(obj=policy, reason="DriftCleared", warning=False)
    names = [alert["labels"]["alertname"] for alert in made]
    assert names == ["TrimtabDriftDetected", "TrimtabDataBroken"]


def test_what_neither_fires_nor_resolves_is_not_sent() -> None:
    assert FORMATS["alertmanager"](telling(reason="StepReached", warning=False)) is None
