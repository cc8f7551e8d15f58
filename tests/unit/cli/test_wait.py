"""`trimtab wait`: what an object says of itself, and the exit code that comes of it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.cli.fakes import Desk, FakeApi
from tests.unit.reconcile.worlds import KEY, Shop, deployment_object

from trimtab.api.conditions import Reason
from trimtab.cli.api import NoSuchObject
from trimtab.cli.main import _wait, parser
from trimtab.cli.wait import (
    CAME_OUT_BAD,
    DONE,
    ERROR,
    EXIT_CODES,
    FAILED,
    NEEDS_PERSON,
    SUPERSEDED,
    TIMED_OUT,
    UNDECIDED,
    USAGE,
    Outcome,
    outcome_of,
    wait,
)
from trimtab.cluster.port import Json, Key
from trimtab.decide.kstatus import MEANINGS, Stands
from trimtab.errors import Unavailable
from trimtab.simulation.traffic import Behaviour

LONG = timedelta(minutes=30)
Said = tuple[str, str]


def a_condition(kind: str, status: str, reason: str) -> Json:
    return {"type": kind, "status": status, "reason": reason, "message": "why"}


def a_deployment(
    *,
    reconciling: Said = ("False", "AsWanted"),
    stalled: Said = ("False", "AsWanted"),
    up_to_date: Said = ("True", "UpToDate"),
    wanted: str = "v2",
    serving: str = "v2",
    observed: int = 3,
    **status: Any,
) -> Json:
    conditions = [
        a_condition("Ready", "True", "Serving"),
        a_condition("Reconciling", *reconciling),
        a_condition("Stalled", *stalled),
        a_condition("UpToDate", *up_to_date),
    ]
    told = {
        "conditions": conditions,
        "stable": {"version": serving},
        "observedGeneration": observed,
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "digits", "generation": 3, "uid": "a"},
        "spec": {"version": wanted},
        "status": told | status,
    }


RUNNING: dict[str, Any] = {
    "reconciling": ("True", "StepRunning"),
    "up_to_date": ("False", "StepRunning"),
    "serving": "v1",
}
QUARANTINED: dict[str, Any] = {
    "stalled": ("True", "Quarantined"),
    "up_to_date": ("False", "Quarantined"),
    "serving": "v1",
}
CASES: dict[str, tuple[dict[str, Any], int | None]] = {
    "promoted": ({}, DONE),
    "running": (RUNNING, None),
    "quarantined": (QUARANTINED, FAILED),
    "went_bad_later": ({"stalled": ("True", "GuardBreached")}, FAILED),
    "missing": ({"stalled": ("True", "VersionMissing")}, NEEDS_PERSON),
    "refused_by_the_cluster": ({"stalled": ("True", "WriteRefused")}, NEEDS_PERSON),
    "undecided": ({"reconciling": ("True", "BackingOff")}, NEEDS_PERSON),
    "paused": ({"reconciling": ("True", "PausedByStep")}, None),
    "at_zero_with_another_one": ({"up_to_date": ("False", "ScaledToZero")}, NEEDS_PERSON),
    "not_seen_yet": ({"observed": 2}, None),
}


@pytest.mark.parametrize(("fields", "code"), CASES.values(), ids=CASES.keys())
def test_what_a_deployment_comes_to(fields: dict[str, Any], code: int | None) -> None:
    assert outcome_of(a_deployment(**fields)).code == code


def test_a_status_of_another_shape_is_waited_with() -> None:
    bare = {"kind": "Deployment", "metadata": {"name": "digits", "generation": 1}}
    assert outcome_of(bare).code is None
    older = a_deployment()
    older["status"]["conditions"] = [a_condition("Ready", "True", "Serving")]
    assert outcome_of(older).code is None
    assert "older" in outcome_of(older).text


class TestVersion:
    """One version is meant, whatever else is wanted."""

    def test_it_serves(self) -> None:
        assert outcome_of(a_deployment(), "v2").code == DONE

    def test_it_is_not_wanted_yet(self) -> None:
        assert outcome_of(a_deployment(wanted="v1", serving="v1"), "v2").code is None

    def test_another_one_is_wanted_by_now(self) -> None:
        newer = a_deployment(wanted="v3", serving="v3")
        assert outcome_of(newer, "v2", was_wanted=True) == Outcome(
            SUPERSEDED, "v3 is wanted by now, not v2"
        )

    def test_it_was_taken_out_and_is_followed_no_more(self) -> None:
        back = a_deployment(
            wanted="", serving="v1", summary={"want": "v1"},
            rejected=[{"version": "v2", "reason": "GateFailed", "evidence": "9/10"}],
        )  # fmt: skip
        outcome = outcome_of(back, "v2")
        assert outcome.code == FAILED
        assert outcome.text == "v2 was taken out: GateFailed: 9/10"

    def test_it_is_tried_still_though_another_one_is_wanted(self) -> None:
        trying = a_deployment(
            **RUNNING | {"wanted": "v3"}, candidate={"version": "v2"}, rollout={"phase": "Stepping"}
        )
        assert outcome_of(trying, "v2", was_wanted=True).code is None

    def test_it_is_wanted_and_quarantined(self) -> None:
        assert outcome_of(a_deployment(**QUARANTINED), "v2").code == FAILED

    def test_what_stalled_another_version_is_not_its_fault(self) -> None:
        other = a_deployment(**QUARANTINED | {"wanted": "v1"})
        assert outcome_of(other, "v2").code is None


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [("Verified", "DigestMatched", DONE), ("Complete", "Succeeded", DONE)],
)
def test_other_kinds_are_as_wanted(kind: str, reason: str, code: int) -> None:
    obj = a_deployment()
    obj["kind"] = "Other"
    told = obj["status"]["conditions"]
    obj["status"]["conditions"] = [a_condition(kind, "True", reason), *told[1:3]]
    assert outcome_of(obj) == Outcome(code, f"{reason}: why", (reason,))


def test_words_are_those_of_the_vocabulary() -> None:
    failed = {reason for (_, reason), stands in MEANINGS.items() if stands is Stands.FAILED}
    assert failed >= CAME_OUT_BAD
    assert Reason(UNDECIDED) is Reason.BACKING_OFF


def test_codes_are_distinct_and_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    codes = (DONE, ERROR, USAGE, TIMED_OUT, FAILED, NEEDS_PERSON, SUPERSEDED)
    assert sorted(EXIT_CODES) == sorted(set(codes)) == list(range(7))
    with pytest.raises(SystemExit):
        parser().parse_args(["wait", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"{code}: " in shown for code in codes)


# --- the loop, with an operator at work ----------------------------------------------------------


async def a_shop() -> Desk:
    shop = Shop()
    await shop.serve("v1")
    return Desk(shop)


async def test_a_promotion_is_told_change_by_change() -> None:
    desk = await a_shop()
    desk.shop.publish("v2")
    desk.shop.want("v2")
    assert await wait(desk.session, KEY, "v2", LONG) == DONE
    assert desk.said[0] == "digits: the operator has not seen it yet: is it running?"
    assert desk.said[-1] == "digits: Serving: v2 serves with 3 pods wanted"
    assert [line for line in desk.said if "StepRunning" in line] == [
        "digits: StepRunning: v2 at step 1/2",
        "digits: StepRunning: v2 at step 2/2",
    ]


async def test_a_version_that_is_rolled_back() -> None:
    desk = await a_shop()
    desk.shop.behaviour["v2"] = Behaviour(errors=1.0)
    desk.shop.publish("v2")
    desk.shop.want("v2")
    assert await wait(desk.session, KEY, None, LONG) == FAILED
    assert desk.said[-1].startswith("digits: Quarantined: version v2 ")


async def test_a_version_that_is_missing() -> None:
    desk = await a_shop()
    desk.shop.want("v9")
    assert await wait(desk.session, KEY, None, LONG) == NEEDS_PERSON
    assert "VersionMissing" in desk.said[-1]


async def test_without_an_operator_the_time_is_over_some_day() -> None:
    desk = await a_shop()
    desk.is_operator_alive = False
    desk.shop.publish("v2")
    desk.shop.want("v2")
    assert await wait(desk.session, KEY, None, timedelta(seconds=10)) == TIMED_OUT
    assert desk.said == [
        "digits: the operator has not seen it yet: is it running?",
        "digits: still under way after 10 s: the operator has not seen it yet: is it running?",
    ]


async def test_a_newer_spec_takes_its_place() -> None:
    desk = await a_shop()
    desk.shop.publish("v2", "v3")
    desk.shop.want("v2")
    real = desk.session.sleep

    async def then_another(seconds: float) -> None:
        await real(seconds)
        desk.shop.want("v3")

    desk.session.sleep = then_another
    assert await wait(desk.session, KEY, "v2", LONG) == SUPERSEDED


@dataclass
class Scripted(FakeApi):
    """Answers as scripted first."""

    answers: list[Exception | None] = field(default_factory=list)

    async def get(self, key: Key) -> Json:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return await super().get(key)


async def scripted(*answers: Exception | None) -> Desk:
    desk = await a_shop()
    desk.shop.publish("v2")
    desk.shop.want("v2")
    desk.session.api = Scripted(desk.shop.cluster, answers=list(answers))
    return desk


async def test_an_api_server_that_is_away_for_a_while_is_asked_again() -> None:
    desk = await scripted(None, Unavailable("get: no answer"), Unavailable("get: no answer"))
    assert await wait(desk.session, KEY, "v2", LONG) == DONE
    assert [line for line in desk.said if "asked again" in line] == [
        "digits: asked again: get: no answer"
    ]


async def test_one_that_is_away_from_the_beginning_is_an_error() -> None:
    desk = await scripted(Unavailable("get: no answer"))
    with pytest.raises(Unavailable):
        await wait(desk.session, KEY, "v2", LONG)


async def test_what_is_deleted_meanwhile_never_comes() -> None:
    desk = await scripted(None, NoSuchObject("there is none"))
    assert await wait(desk.session, KEY, "v2", LONG) == ERROR
    assert desk.said[-1] == "digits: it was deleted meanwhile"


async def test_what_is_made_anew_begins_anew() -> None:
    desk = await scripted()
    real = desk.session.sleep
    made: list[str] = []

    async def made_anew(seconds: float) -> None:
        if not made:
            made.append("v1")
            desk.shop.cluster.user_delete(KEY)
            desk.shop.apply(deployment_object("v1"))
        await real(seconds)

    desk.session.sleep = made_anew
    assert await wait(desk.session, KEY, "v2", timedelta(minutes=2)) == TIMED_OUT
    assert "v1 is wanted so far, not v2" in desk.said[-1]


async def test_a_version_of_another_kind_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    desk = await a_shop()
    for more in (["--promoted"], ["--version", "v2"]):
        options: argparse.Namespace = parser().parse_args(["wait", "rj/digits-1", *more])
        assert await _wait(desk.session, options) == USAGE
        assert "Deployment" in capsys.readouterr().err
