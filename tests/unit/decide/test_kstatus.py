"""How an object stands: each reason has a meaning, and what the pass could not do goes first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.api.conditions import Condition, ConditionType, Reason, find_condition, set_condition
from trimtab.decide.kstatus import (
    DECIDING,
    MEANINGS,
    NOT_COUNTED,
    REFUSALS,
    WAITS_FOR_PERSON,
    WRITTEN,
    Refusal,
    Stands,
    refusal_in,
    standing_of,
    with_standing,
)
from trimtab.generate.vocabulary import words_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
Said = tuple[ConditionType, bool | None, Reason]
AT_REST: tuple[Said, ...] = (
    (ConditionType.READY, True, Reason.SERVING),
    (ConditionType.PROGRESSING, False, Reason.UP_TO_DATE),
    (ConditionType.DEGRADED, False, Reason.AS_WANTED),
)
QUOTA = Refusal(Reason.WRITE_REFUSED, "exceeded quota")


def conditions(*said: Said) -> list[Condition]:
    """Return conditions; the message of each is its reason in small letters."""
    found: list[Condition] = []
    for kind, holds, reason in (*AT_REST, *said) if _is_deployments(said) else said:
        message = reason.lower()
        found = set_condition(found, kind, holds, reason, message, now=NOW, generation=1)
    return found


def _is_deployments(said: tuple[Said, ...]) -> bool:
    own = {ConditionType.VERIFIED, ConditionType.WATCHING, ConditionType.COMPLETE}
    return not own & {kind for kind, _, _ in said}


def told(
    *said: Said, refusal: Refusal | None = None, now: datetime = NOW
) -> dict[str, tuple[str, str, str]]:
    """Return status, reason and message of the conditions that are written from others."""
    found = with_standing(conditions(*said), refusal, now=now, generation=1)
    return {c.type: (c.status, c.reason, c.message) for c in found if c.type in WRITTEN}


def test_every_reason_of_a_deciding_condition_has_a_meaning_and_nothing_else_has() -> None:
    said = {
        (kind, Reason(word.value))
        for word in words_of(Reason)
        for kind in DECIDING
        if kind in word.places
    }
    assert set(MEANINGS) == said


def test_every_condition_decides_or_is_said_not_to() -> None:
    assert {*DECIDING} | NOT_COUNTED | {*WRITTEN} == set(ConditionType)
    assert not {*DECIDING} & (NOT_COUNTED | {*WRITTEN})


def test_what_waits_for_a_person_on_purpose_is_under_way() -> None:
    meanings = {MEANINGS[ConditionType.PROGRESSING, reason] for reason in WAITS_FOR_PERSON}
    assert meanings == {Stands.IN_PROGRESS}


def test_what_is_wanted_serves() -> None:
    assert told() == {
        "Reconciling": ("False", "AsWanted", ""),
        "Stalled": ("False", "AsWanted", ""),
        "UpToDate": ("True", "UpToDate", "serving"),
    }


def test_a_rollout_is_under_way() -> None:
    running = ConditionType.PROGRESSING, True, Reason.STEP_RUNNING
    assert told(running) == {
        "Reconciling": ("True", "StepRunning", "steprunning"),
        "Stalled": ("False", "AsWanted", ""),
        "UpToDate": ("False", "StepRunning", "steprunning"),
    }


def test_what_is_wanted_cannot_be_tried() -> None:
    quarantined = ConditionType.PROGRESSING, False, Reason.QUARANTINED
    assert told(quarantined) == {
        "Reconciling": ("False", "Quarantined", ""),
        "Stalled": ("True", "Quarantined", "quarantined"),
        "UpToDate": ("False", "Quarantined", "quarantined"),
    }


@pytest.mark.parametrize("reason", [Reason.GUARD_BREACHED, Reason.NO_WAY_BACK, Reason.FLAPPING])
def test_a_version_that_went_bad_serves_on(reason: Reason) -> None:
    found = told((ConditionType.DEGRADED, True, reason))
    assert found["Stalled"][:2] == ("True", reason)
    assert found["UpToDate"][:2] == ("True", "UpToDate")


def test_too_few_pods_are_under_way_and_the_version_serves() -> None:
    found = told((ConditionType.DEGRADED, True, Reason.NOT_ENOUGH_READY))
    assert found["Reconciling"][:2] == ("True", "NotEnoughReady")
    assert found["UpToDate"][0] == "True"


def test_without_a_ready_pod_nothing_serves() -> None:
    found = told((ConditionType.READY, False, Reason.NOT_ENOUGH_READY))
    assert found["UpToDate"] == ("False", "NotEnoughReady", "notenoughready")


def test_the_first_version_failed_and_serves_all_the_same() -> None:
    found = told(
        (ConditionType.READY, False, Reason.FIRST_VERSION_FAILED),
        (ConditionType.DEGRADED, True, Reason.GUARD_BREACHED),
    )
    assert found["Stalled"][:2] == ("True", "FirstVersionFailed")
    assert found["UpToDate"][:2] == ("False", "FirstVersionFailed")


def test_no_pods_are_wanted() -> None:
    assert told((ConditionType.READY, True, Reason.SCALED_TO_ZERO))["UpToDate"][0] == "True"
    waiting = told(
        (ConditionType.READY, True, Reason.SCALED_TO_ZERO),
        (ConditionType.PROGRESSING, False, Reason.SCALED_TO_ZERO),
    )
    assert waiting["Reconciling"][0] == waiting["Stalled"][0] == "False"
    assert waiting["UpToDate"] == ("False", "ScaledToZero", "scaledtozero")


def test_a_way_back_is_under_way_unless_it_finds_no_place() -> None:
    returning: Said = (ConditionType.PROGRESSING, True, Reason.ROLLED_BACK)
    delayed: Said = (ConditionType.DEGRADED, True, Reason.RETURN_DELAYED)
    assert told(returning)["Reconciling"][:2] == ("True", "RolledBack")
    assert told(returning, delayed)["Stalled"][:2] == ("True", "ReturnDelayed")
    # A person has named another version: it is tried.
    trying: Said = (ConditionType.PROGRESSING, True, Reason.STEP_RUNNING)
    assert told(trying, delayed)["Reconciling"][:2] == ("True", "StepRunning")


def test_what_failed_comes_before_what_is_under_way() -> None:
    missing: Said = (ConditionType.PROGRESSING, False, Reason.VERSION_MISSING)
    found = told(missing, (ConditionType.READY, False, Reason.NOT_ENOUGH_READY))
    assert found["Stalled"][:2] == ("True", "VersionMissing")


def test_where_a_write_is_refused_nobody_knows_what_serves() -> None:
    assert told(refusal=QUOTA)["UpToDate"] == ("Unknown", "WriteRefused", "exceeded quota")


def test_other_kinds_say_nothing_of_a_version() -> None:
    found = told((ConditionType.WATCHING, True, Reason.WATCHING))
    assert found == {
        "Reconciling": ("False", "AsWanted", ""),
        "Stalled": ("False", "AsWanted", ""),
    }


def test_before_anything_was_decided_nobody_can_tell() -> None:
    assert standing_of([]).stands is Stands.IN_PROGRESS


def test_a_reason_of_another_release_is_not_called_current() -> None:
    (verified,) = conditions((ConditionType.VERIFIED, True, Reason.DIGEST_MATCHED))
    newer = verified.model_copy(update={"reason": "SignedByNobody"})
    assert standing_of([newer]).stands is Stands.IN_PROGRESS


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_what_the_pass_could_not_do_stands_before_what_was_decided(reason: Reason) -> None:
    running = ConditionType.PROGRESSING, True, Reason.STEP_RUNNING
    found = told(running, refusal=Refusal(reason, "403"))
    assert found["Reconciling"][:2] == ("False", reason)
    assert found["Stalled"] == ("True", reason, "403")
    is_read = reason in (Reason.WRITE_REFUSED, Reason.NAME_TAKEN)
    assert found["UpToDate"][:2] == (("False", "StepRunning") if is_read else ("Unknown", reason))


def test_a_refusal_is_found_again_in_what_was_written() -> None:
    found = with_standing(conditions(), QUOTA, now=NOW, generation=1)
    assert refusal_in(found) == QUOTA
    assert refusal_in(with_standing(found, None, now=NOW, generation=1)) is None


def test_what_a_decision_says_itself_is_no_refusal() -> None:
    taken = ConditionType.PROGRESSING, False, Reason.NAME_TAKEN
    found = with_standing(conditions(taken), None, now=NOW, generation=1)
    stalled = find_condition(found, ConditionType.STALLED)
    assert stalled is not None
    assert stalled.status == "True"
    assert refusal_in(found) is None


def test_times_move_only_when_it_stands_otherwise() -> None:
    before = with_standing(conditions(), None, now=NOW, generation=1)
    later = NOW + timedelta(minutes=1)
    assert with_standing(before, None, now=later, generation=1) == before
    stalled = find_condition(
        with_standing(before, QUOTA, now=later, generation=1), ConditionType.STALLED
    )
    assert stalled is not None
    assert stalled.last_transition_time == later
