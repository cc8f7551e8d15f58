"""kstatus, Flux and Argo CD make of every reason what the table says, each by its own code."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.faults.stories import STORIES
from tests.faults.sweep import undisturbed
from tests.faults.world import Stage
from tests.gitops.judges import ROOT, Verdict, ask, expressions, find_verdicts, health_of

from trimtab.api.conditions import Condition, ConditionType, Reason, set_condition
from trimtab.api.kinds import KINDS
from trimtab.api.meta import API_VERSION
from trimtab.api.resource import Resource
from trimtab.api.schema import UNSEEN
from trimtab.cli.wait import DONE, FAILED, NEEDS_PERSON, outcome_of
from trimtab.cluster.port import OWN_KINDS, Json
from trimtab.decide.kstatus import (
    MEANINGS,
    REFUSALS,
    WAITS_FOR_PERSON,
    Refusal,
    Stands,
    with_standing,
)
from trimtab.simulation.cluster import EventType

PAGE = (ROOT / "docs/reference/health.md").read_text()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
KIND_OF = {
    ConditionType.VERIFIED: "ModelVersion",
    ConditionType.WATCHING: "DriftPolicy",
    ConditionType.COMPLETE: "RetrainJob",
}
USUAL = {
    ConditionType.READY: (True, Reason.SERVING),
    ConditionType.PROGRESSING: (False, Reason.UP_TO_DATE),
    ConditionType.DEGRADED: (False, Reason.AS_WANTED),
}
HOLDS_UNDER_WAY = (Reason.STARTING, Reason.BACKING_OFF, Reason.STORE_AWAY, Reason.PAUSED_BY_POLICY)
"""Reasons of Progressing that are under way while no rollout is."""
HEALTH = {
    Stands.CURRENT: "Healthy",
    Stands.IN_PROGRESS: "Progressing",
    Stands.FAILED: "Degraded",
}

Judge = Callable[[list[Json]], list[Verdict]]


@pytest.fixture(scope="module")
def judge() -> Judge:
    program = find_verdicts()
    if program is None:
        pytest.skip("nothing to ask: `python -m tests.cluster verdicts` builds it")
    return lambda objects: ask(program, objects)


def an_object(kind: str, status: Json | None, generation: int = 2, **metadata: Any) -> Json:
    metadata = {"name": "digits", "namespace": "shop", "generation": generation} | metadata
    obj = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": {}}
    return obj if status is None else obj | {"status": status}


def decided(kind: ConditionType, reason: Reason, refusal: Refusal | None = None) -> Json:
    """Return an object of which one condition says a reason, and all else is well."""
    said = {} if kind in KIND_OF else dict(USUAL)
    stands = MEANINGS[kind, reason]
    if kind is ConditionType.PROGRESSING:
        said[kind] = stands is Stands.IN_PROGRESS and reason not in HOLDS_UNDER_WAY, reason
    elif kind is ConditionType.READY:
        said[kind] = stands is Stands.CURRENT, reason
    else:
        said[kind] = reason not in (Reason.AS_WANTED, Reason.NO_TARGET), reason
    conditions: list[Condition] = []
    for one, (holds, why) in said.items():
        conditions = set_condition(conditions, one, holds, why, "why", now=NOW, generation=2)
    conditions = with_standing(conditions, refusal, now=NOW, generation=2)
    told = [condition.to_json() for condition in conditions]
    return an_object(KIND_OF.get(kind, "Deployment"), {"observedGeneration": 2, "conditions": told})


def agree(obj: Json, verdict: Verdict) -> Stands:
    """Return how an object stands, in which all agree; Suspended is Argo CD's word alone."""
    stands = Stands(verdict.kstatus)
    health, _ = health_of(obj)
    paused = "Suspended" if stands is Stands.IN_PROGRESS else ""
    assert verdict.flux == verdict.flux_alone == verdict.kstatus, obj
    assert health in (HEALTH[stands], paused), obj
    code = outcome_of(obj).code
    expected = {
        Stands.CURRENT: (DONE, NEEDS_PERSON),  # at zero another version may wait
        Stands.IN_PROGRESS: (None, NEEDS_PERSON),  # undecided
        Stands.FAILED: (FAILED, NEEDS_PERSON),
    }
    assert code in expected[stands], obj
    return stands


def test_all_make_of_every_reason_what_the_table_says(judge: Judge) -> None:
    objects = [decided(kind, reason) for kind, reason in MEANINGS]
    stands = [agree(*pair) for pair in zip(objects, judge(objects), strict=True)]
    assert dict(zip(MEANINGS, stands, strict=True)) == MEANINGS
    suspended = {
        reason
        for (_, reason), obj in zip(MEANINGS, objects, strict=True)
        if health_of(obj)[0] == "Suspended"
    }
    assert suspended == WAITS_FOR_PERSON


def test_the_page_says_what_they_say(judge: Judge) -> None:
    row = r"^\| `(\w+)` \| `(\w+)` \| (\w+) \| (\w+) \| (\w+) \|$"
    rows = re.findall(row, PAGE, re.MULTILINE)
    told = {(kind, reason): tuple(said) for kind, reason, *said in rows}
    objects = {(k.value, r.value): decided(k, r) for k, r in MEANINGS}
    stalled = ConditionType.PROGRESSING, Reason.UP_TO_DATE
    objects |= {
        ("Stalled", reason.value): decided(*stalled, Refusal(reason, "403")) for reason in REFUSALS
    }
    verdicts = judge(list(objects.values()))
    assert told == {
        name: (verdict.flux, health_of(obj)[0], str(outcome_of(obj).code).replace("None", "waits"))
        for (name, obj), verdict in zip(objects.items(), verdicts, strict=True)
    }


def test_what_is_refused_failed_for_all(judge: Judge) -> None:
    objects = [
        decided(ConditionType.PROGRESSING, Reason.STEP_RUNNING, Refusal(reason, "403"))
        for reason in sorted(REFUSALS)
    ]
    stands = [agree(*pair) for pair in zip(objects, judge(objects), strict=True)]
    assert stands == [Stands.FAILED] * len(REFUSALS)


def test_what_nobody_has_seen_is_not_done_for_anybody(judge: Judge) -> None:
    unseen = [an_object(info.kind, dict(UNSEEN), generation=1) for info in KINDS]
    assert {agree(*pair) for pair in zip(unseen, judge(unseen), strict=True)} == {
        Stands.IN_PROGRESS
    }


def test_without_the_default_kstatus_takes_it_for_done(judge: Judge) -> None:
    """So the default has to be there; our own script and command need none."""
    bare = an_object("DriftPolicy", {}, generation=1)
    (verdict,) = judge([bare])
    assert verdict.kstatus == "Current"
    assert health_of(an_object("DriftPolicy", None))[0] == "Progressing"
    assert outcome_of(an_object("DriftPolicy", None)).code is None


def test_a_newer_spec_is_not_done_yet(judge: Judge) -> None:
    newer = decided(ConditionType.READY, Reason.SERVING)
    newer["metadata"]["generation"] = 3
    assert agree(newer, *judge([newer])) is Stands.IN_PROGRESS


def test_an_older_operator_says_nothing_of_it() -> None:
    older = decided(ConditionType.VERIFIED, Reason.DIGEST_MATCHED)
    told = older["status"]["conditions"]
    older["status"]["conditions"] = [c for c in told if c["type"] == "Verified"]
    assert health_of(older) == ("Progressing", "the operator does not say how it stands")


def test_the_message_says_why() -> None:
    failed = decided(ConditionType.COMPLETE, Reason.CODE_FAILED)
    assert health_of(failed) == ("Degraded", "CodeFailed: why")
    paused = decided(ConditionType.PROGRESSING, Reason.PAUSED_BY_PERSON)
    assert health_of(paused) == ("Suspended", "PausedByPerson: why")
    assert health_of(decided(ConditionType.READY, Reason.SERVING)) == ("Healthy", "why")


def test_the_example_for_flux_has_every_kind() -> None:
    assert set(expressions()) == {info.kind for info in KINDS}


QUARANTINED = {"Deployment digits": Stands.FAILED}
ENDS: dict[str, dict[str, Stands]] = {
    "quick-start": QUARANTINED,
    "commands": QUARANTINED,  # by a person
    "quota": {},
    "retraining": {},
    "deletions": {},
}
"""Which objects are not Current at the end of a story."""


@pytest.mark.parametrize(("story", "ends"), ENDS.items(), ids=ENDS.keys())
def test_all_agree_on_all_that_an_operator_writes(
    story: str, ends: dict[str, Stands], judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert story in STORIES
    seen: dict[str, Json] = {}
    last: dict[str, Json] = {}

    def look(event: EventType, resource: Resource, obj: Json) -> None:
        if resource in OWN_KINDS and event != "DELETED":
            told = [(c["type"], c["status"], c["reason"]) for c in _conditions(obj)]
            observed = obj.get("status", {}).get("observedGeneration")
            is_seen = observed == obj["metadata"]["generation"]
            last[f"{resource.kind} {obj['metadata']['name']}"] = obj
            seen[f"{resource.kind} {is_seen} {sorted(told)}"] = obj

    begin = Stage.begin

    def begin_watched(stage: Stage) -> None:
        stage.cluster.listen(look)
        begin(stage)

    monkeypatch.setattr(Stage, "begin", begin_watched)
    undisturbed.__wrapped__(story)
    objects = list(seen.values())
    stands = [agree(*pair) for pair in zip(objects, judge(objects), strict=True)]
    assert {*stands} >= {Stands.CURRENT, Stands.IN_PROGRESS}
    verdicts = dict(zip(last, judge(list(last.values())), strict=True))
    at_end = {name: agree(obj, verdicts[name]) for name, obj in last.items()}
    assert {name: how for name, how in at_end.items() if how is not Stands.CURRENT} == ends


def _conditions(obj: Json) -> list[Json]:
    found: list[Json] = obj.get("status", {}).get("conditions", [])
    return found
