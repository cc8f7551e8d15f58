"""Which version is wanted, and the refusals before any pod starts, in their order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.decide.rollout.builders import (
    NOW,
    a_deployment,
    a_rejection,
    a_snapshot,
    a_status,
    a_tried,
    a_version,
    revision,
)

from trimtab.api.conditions import Reason
from trimtab.api.serving import Serving
from trimtab.decide.rollout import wanted
from trimtab.decide.rollout.snapshot import Taken
from trimtab.decide.rollout.wanted import CHECKS, Wanted, decide_wanted, revision_of

EVERYTHING_WRONG: dict[str, Any] = {
    "versions": (a_version("v2", phase="Rejected", form="custom"),),
    "incompatible": {"digits-v2": "input age was removed"},
    "taken": Taken(services={"digits": "Service digits exists and is not ours: rename"}),
}
"""Of v2; it is quarantined besides."""

IN_ORDER = [
    (
        "_check_names",
        Reason.NAME_TAKEN,
        "Service digits exists and is not ours: rename",
    ),
    (
        "_check_quarantine",
        Reason.QUARANTINED,
        f"version v2 (revision {revision('v2')}) was tried and ended as GateFailed at "
        "2026-01-01 12:00:00Z: gate errors. It is not tried again; "
        "lift with: trimtab retry mdep/digits",
    ),
    (
        "_check_verified",
        Reason.VERSION_REJECTED,
        "ModelVersion digits-v2 is rejected: . Make a new version.",
    ),
    (
        "_check_image",
        Reason.IMAGE_MISSING,
        "a custom artifact needs spec.serving.image, which is not set",
    ),
    (
        "_check_compatible",
        Reason.INCOMPATIBLE,
        "digits-v2 does not accept what stable accepts: input age was removed. "
        "Set rollout.allowIncompatible to insist.",
    ),
]


def test_the_order_of_checks() -> None:
    assert [check.__name__ for check in CHECKS] == [name for name, _, _ in IN_ORDER]


@pytest.mark.parametrize("first", range(len(IN_ORDER)), ids=[name for name, _, _ in IN_ORDER])
def test_the_first_check_that_has_something_to_say_wins(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "CHECKS", CHECKS[first:])
    deployment = a_deployment(status=a_status(rejected=[a_rejection("v2")]))
    refusal = decide_wanted(a_snapshot(deployment, **EVERYTHING_WRONG)).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.message) == IN_ORDER[first][1:]


def test_a_version_that_nothing_speaks_against() -> None:
    version = a_version("v2")
    snapshot = a_snapshot(a_deployment(status=a_status()), versions=(version,))
    assert decide_wanted(snapshot) == Wanted(version, revision("v2"))


REFUSED = {
    "pin_without_version": (
        a_snapshot(versions=()),
        Reason.VERSION_MISSING,
        "ModelVersion digits-v2 does not exist in this namespace; create it",
    ),
    "nothing_to_follow": (
        a_snapshot(a_deployment(None), versions=(a_version("v1", phase="Pending"),)),
        Reason.NOTHING_TO_FOLLOW,
        "no verified ModelVersion of the line digits in this namespace; create one",
    ),
    "not_known_to_fit": (
        a_snapshot(a_deployment(status=a_status()), unread=frozenset({"digits-v2"})),
        Reason.STORE_AWAY,
        "whether digits-v2 accepts what stable accepts is not known until their files are read "
        "again; waiting for the store. Set rollout.allowIncompatible to insist.",
    ),
    "not_verified_yet": (
        a_snapshot(versions=(a_version("v2", phase="Pending"),)),
        Reason.STARTING,
        "waiting until ModelVersion digits-v2 is verified",
    ),
}


@pytest.mark.parametrize(("snapshot", "reason", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_says_what_to_do(snapshot: Any, reason: Reason, message: str) -> None:
    refusal = decide_wanted(snapshot).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.message) == (reason, message)


def test_insisting_on_an_incompatible_version() -> None:
    deployment = a_deployment(rollout={"allowIncompatible": True}, status=a_status())
    incompatible = {"digits-v2": "input age was removed"}
    assert decide_wanted(a_snapshot(deployment, incompatible=incompatible)).refusal is None


FOLLOWED = {
    "the_newest": ((("v1", 30.0, "Verified"), ("v2", 20.0, "Verified")), [], "v2"),
    "not_what_is_pending": ((("v1", 30.0, "Verified"), ("v2", 20.0, "Pending")), [], "v1"),
    "not_what_is_quarantined": ((("v1", 30.0, "Verified"), ("v2", 20.0, "Verified")), ["v2"], "v1"),
    "never_older_than_stable": ((("v1", 30.0, "Verified"), ("v0", 60.0, "Verified")), [], "v1"),
    "what_pods_check_themselves": ((("v1", 30.0, "Verified"), ("v2", 20.0, "Unknown")), [], "v2"),
}


@pytest.mark.parametrize(("line", "rejected", "chosen"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_following_a_line(
    line: tuple[tuple[str, float, str], ...], rejected: list[str], chosen: str
) -> None:
    versions = tuple(a_version(name, age=age, phase=phase) for name, age, phase in line)
    status = a_status(rejected=[a_rejection(version) for version in rejected])
    snapshot = a_snapshot(a_deployment(None, status=status), versions=versions)
    assert decide_wanted(snapshot).revision == revision(chosen)


SAME_SECOND = {
    "ten_after_nine": (["v9", "v10"], "v10"),
    "whatever_the_order": (["v10", "v9"], "v10"),
    "each_part_of_a_number": (["1.9.0", "1.10.0", "1.2.11"], "1.10.0"),
    "letters_as_letters": (["v2-a", "v2-b", "v1-c"], "v2-b"),
    "letters_before_numbers": (["r9", "v2"], "v2"),
    "long_numbers": (["v20260101", "v99999"], "v20260101"),
    "zeros_in_front": (["v010", "v9"], "v010"),
}


@pytest.mark.parametrize(("line", "chosen"), SAME_SECOND.values(), ids=SAME_SECOND.keys())
def test_of_versions_made_in_one_second_the_higher_number_is_newer(
    line: list[str], chosen: str
) -> None:
    versions = tuple(a_version(name) for name in line)
    for stable in (None, *line):
        snapshot = a_snapshot(a_deployment(None, status=a_status(stable=stable)), versions=versions)
        assert decide_wanted(snapshot).revision == revision(chosen)


def test_what_was_made_a_second_later_is_newer_whatever_its_number() -> None:
    versions = (a_version("v10", age=1.0), a_version("v9"))
    snapshot = a_snapshot(a_deployment(None, status=a_status(stable="v10")), versions=versions)
    assert decide_wanted(snapshot).revision == revision("v9")


STABLE_GONE: dict[str, tuple[dict[str, float], str | None, str | None]] = {
    "never_what_is_older": ({"v1": 600.0}, None, None),
    "nor_what_was_made_before_stable_served": ({"v1": 600.0, "v3": 30.0}, None, None),
    "what_was_made_since": ({"v1": 600.0, "v3": 19.0}, None, "v3"),
    "in_the_same_second": ({"v3": 20.0}, None, "v3"),
    "what_is_tried_beside_it": ({"v1": 600.0, "v3": 30.0}, "v3", "v3"),
}


@pytest.mark.parametrize(
    ("line", "tried", "chosen"),
    STABLE_GONE.values(),
    ids=[k.replace(" ", "_") for k in STABLE_GONE],
)
def test_following_where_the_version_of_stable_is_gone(
    line: dict[str, float], tried: str | None, chosen: str | None
) -> None:
    versions = tuple(a_version(name, age=age) for name, age in line.items())
    status = a_status(stable=None).model_copy(
        update={
            "stable": a_tried("v2", since=NOW - timedelta(seconds=19.5)),
            "candidate": None if tried is None else a_tried(tried),
        }
    )
    wanted = decide_wanted(a_snapshot(a_deployment(None, status=status), versions=versions))
    assert wanted.revision == ("" if chosen is None else revision(chosen))
    if chosen is None:
        assert wanted.refusal is not None
        assert wanted.refusal.message == (
            "ModelVersion digits-v2 of stable is gone, and no verified one of the line digits was "
            "made since v2 began to serve; create one"
        )


@pytest.mark.parametrize(
    ("serving", "revision"),
    [
        ({}, "3d9407a6fd"),
        ({"grpc": False}, "3d9407a6fd"),
        ({"labelDelay": "48h", "env": [{"name": "A", "value": "b"}]}, "801f71a52e"),
    ],
)
def test_an_upgrade_changes_no_revision(serving: dict[str, Any], revision: str) -> None:
    """Those of 0.1.0: with others every Deployment would be rolled out anew."""
    assert revision_of("sha256:" + "0" * 64, Serving.model_validate(serving)) == revision


def test_grpc_is_a_revision_of_its_own() -> None:
    digest = "sha256:" + "0" * 64
    assert revision_of(digest, Serving(grpc=True)) != revision_of(digest, Serving())
