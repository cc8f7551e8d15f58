"""What the next person on call reads, from real decisions and from what nobody should believe."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.cli.fakes import Desk
from tests.unit.cli.test_looks import failed_shop
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.api.conditions import ConditionType
from trimtab.cli.facts import FINE_WHEN_TRUE, WRONG_WHEN_TRUE, alerts, alerts_of, fact_of, is_wrong
from trimtab.cli.handover import Scene, handover, page
from trimtab.cli.seen import Seen
from trimtab.generate.alert_rules import ALERTS

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EVIL = "x\x1b[2J\nowner:\n  root"


def section(text: str, title: str) -> str:
    """Return the lines below a title."""
    found = [block for block in text.split("\n\n") if block.startswith(f"{title}:\n")]
    return found[0] if found else ""


def scene(status: dict[str, Any], **more: Any) -> Scene:
    one = {
        "metadata": {"name": "digits", "namespace": "shop"},
        "spec": {"model": "digits", "version": "v1"},
        "status": status,
    }
    empty: dict[str, Any] = {"policies": [], "jobs": [], "versions": []}
    return Scene(Seen(one), now=NOW, **{**empty, **more})


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip


NOT_READY = condition("Ready", "False", "NotEnoughReady")
FAILED = ("RetrainFailed", "2026-01-01T23:30:00Z")


async def test_after_a_rollback_it_says_what_serves_what_was_tried_and_what_to_do() -> None:
    desk = Desk(await failed_shop())
    assert await handover(desk.session, KEY) == 0
    text = desk.text
    assert text.startswith("Deployment digits in shop, 2026-01-01 ")
    assert "v1, 3/3 pods ready" in section(text, "serves")
    assert "digits-v1: nobody; set spec.card.owner" in section(text, "owner")
    assert "v2  RolledBack by trimtab" in section(text, "tried, newest first")
    assert "GateFailed by trimtab" in section(text, "quarantined")
    wrong = section(text, "not as it should be")
    assert "Quarantined=True, Stalled=True Quarantined since" in wrong
    assert "insist with `trimtab retry mdep/digits`" in wrong
    alarms = section(text, "alerts that this means")
    assert "TrimtabRolledBack (warning)" in alarms
    assert "https://trimtab.dev/docs/alerts.html#trimtabquarantinedversionwanted" in alarms
    assert "trimtab retry mdep/digits" in section(text, "waits for a person")
    assert "TRIMTAB_GRAFANA_URL is not set" in section(text, "look further")


async def test_where_all_is_well_nothing_is_wrong() -> None:
    shop = Shop()
    await shop.serve("v1")
    desk = Desk(shop)
    await handover(desk.session, KEY)
    for title in ("not as it should be", "alerts that this means", "quarantined", "retraining"):
        assert section(desk.text, title) == ""


@pytest.mark.parametrize(("rejected", "words"), [("a1", "the way back is"), ("b2", "no way back")])
def test_a_quarantined_version_is_no_way_back(rejected: str, words: str) -> None:
    status = {
        "stable": {"version": "v4", "revision": "c3"},
        "lastGood": {"version": "v3", "revision": "b2"},
        "rejected": [{"version": "v0", "revision": rejected}],
    }
    assert words in section(page(scene(status)), "serves")


def test_open_causes_and_retrainings_of_this_deployment() -> None:
    drifting = {"kind": "quality", "deployment": "digits", "verdict": "Drifting", "value": 0.8,
                "threshold": 0.9, "n": 500, "message": "0.8 is below 0.9"}  # fmt: skip
    policy = {
        "metadata": {"name": "watch"},
        "spec": {"selector": {"deployments": ["digits"]}},
        "status": {
            "signals": [drifting, {**drifting, "deployment": "other"}],
            "conditions": [condition("Harm", "True", "BelowFloor", "quality")],
        },
    }
    cause = {"cause": {"deployment": "digits"}}
    jobs = [
        {"metadata": {"name": "a", "creationTimestamp": "1"}, "spec": cause,
         "status": {"phase": "Running"}},
        {"metadata": {"name": "b", "creationTimestamp": "0"}, "spec": cause,
         "status": {"phase": "Failed"}},
        {"metadata": {"name": "c"}, "spec": {"cause": {"deployment": "other"}}},
    ]  # fmt: skip
    owner = {"metadata": {"name": "digits-v1"}, "spec": {"card": {"owner": "vision@shop"}}}
    text = page(
        scene(
            {"stable": {"version": "v1", "versionObject": "digits-v1"}},
            policies=[Seen(policy)],
            jobs=[Seen(job) for job in jobs],
            versions=[Seen(owner)],
        )
    )
    causes = section(text, "open causes")
    assert causes.count("quality  Drifting  0.8, threshold 0.9 (n=500)") == 1
    assert "DriftPolicy watch: Harm=True BelowFloor since" in section(text, "not as it should be")
    assert "TrimtabHarm of DriftPolicy watch (critical)" in text
    assert "RetrainJob a  Running" in section(text, "retraining")
    assert "last ended: RetrainJob b  Failed" in section(text, "retraining")
    assert "digits-v1: vision@shop" in section(text, "owner")
    assert "RetrainJob c" not in text


def test_no_text_of_an_object_can_pretend_to_be_a_line_of_ours() -> None:
    version = {"metadata": {"name": "digits-v1"}, "spec": {"card": {"owner": EVIL}}}
    evil = {"at": EVIL, "version": EVIL, "outcome": EVIL, "message": EVIL, "by": EVIL}
    text = page(
        scene(
            {
                "stable": {"version": EVIL, "versionObject": "digits-v1", "revision": EVIL},
                "conditions": [condition("Degraded", "True", EVIL, EVIL)],
                "history": [evil],
                "rejected": [evil],
                "record": {"decisions": [{"seq": 1, "reason": EVIL, "message": EVIL}]},
            },
            versions=[Seen(version)],
        )
    )
    assert "\x1b" not in text
    assert text.count("owner:\n") == 1
    assert all(line.isprintable() for line in text.splitlines())


def test_every_condition_has_its_side() -> None:
    kinds = {kind.value for kind in ConditionType}
    assert kinds - FINE_WHEN_TRUE - WRONG_WHEN_TRUE <= {"Progressing", "Complete", "Reconciling"}


@pytest.mark.parametrize(
    ("kind", "status", "reason", "is_so"),
    [
        ("Ready", "True", "Serving", False),
        ("Ready", "False", "ScaledToZero", True),
        ("Ready", "False", "OfAnotherRelease", True),
        ("Degraded", "True", "Flapping", True),
        ("Degraded", "False", "AsWanted", False),
        ("Progressing", "True", "StepRunning", False),
        ("Progressing", "True", "WaitingForData", True),
        ("DataAvailable", "Unknown", "OfAnotherRelease", False),
        ("OfAnotherRelease", "True", "OfAnotherRelease", False),
        ("UpToDate", "False", "StepRunning", False),
        ("Reconciling", "False", "Quarantined", False),
    ],
)
def test_which_conditions_are_told(kind: str, status: str, reason: str, is_so: bool) -> None:
    assert is_wrong(Seen(condition(kind, status, reason))) == is_so


def test_advice_is_that_of_the_runbook() -> None:
    fact = fact_of("ScaledToZero")
    assert fact is not None
    assert fact.advice == "Set `spec.replicas` to serve again."
    assert fact_of("OfAnotherRelease") is None


def test_alerts_about_single_objects_are_known() -> None:
    named = {alert.name for alert in alerts()}
    assert named <= {alert.name for alert in ALERTS}
    assert {alert.name for alert in ALERTS} - named == {
        "TrimtabDriftBeyondBudget", "TrimtabLabelShareLow", "TrimtabObjectsUnreadable",
        "TrimtabNoOperatorLeads", "TrimtabNotScraped", "TrimtabScrapesLate",
    }, "which are about figures, or about the operator"  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "conditions", "decisions", "names"),
    [
        ("Deployment", [NOT_READY], [], ["TrimtabNothingServes"]),
        ("Deployment", [condition("Ready", "True", "ScaledToZero")], [], []),
        ("Deployment", [condition("Degraded", "True", "NoWayBack")], [], ["TrimtabNoWayBack"]),
        ("Deployment", [], [("RolledBack", "2026-01-01T23:30:00Z")], ["TrimtabRolledBack"]),
        ("Deployment", [], [("RolledBack", "2026-01-01T22:30:00Z")], []),
        ("RetrainJob", [], [FAILED], ["TrimtabRetrainingFailed"]),
    ],
)  # fmt: skip
def test_which_alerts_an_object_means(
    kind: str, conditions: list[Any], decisions: list[tuple[str, str]], names: list[str]
) -> None:
    record = {"decisions": [{"reason": reason, "at": at} for reason, at in decisions]}
    obj = Seen({"status": {"conditions": conditions, "record": record}})
    assert [alert.name for alert in alerts_of(kind, obj, NOW)] == names
