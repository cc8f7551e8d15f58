"""Filters, and what a namespace may say."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.notify.messages import message

from trimtab.notify.routes import is_used, named_in, passes
from trimtab.notify.settings import Destination


def to(**fields: Any) -> Destination:
    return Destination.model_validate({"name": "team-a", "type": "slack", **fields})


@pytest.mark.parametrize(
    ("fields", "through"),
    [
        ({}, True),
        ({"reasons": ["RolledBack", "Promoted"]}, True),
        ({"reasons": ["Promoted"]}, False),
        ({"kinds": ["Deployment"]}, True),
        ({"kinds": ["DriftPolicy"]}, False),
        ({"namespaces": ["shop"]}, True),
        ({"namespaces": ["lab"]}, False),
        ({"owners": ["team-a"]}, True),
        ({"owners": ["team-b"]}, False),
        ({"reasons": ["RolledBack"], "owners": ["team-b"]}, False),
    ],
)
def test_all_filters_have_to_let_it_through(fields: Any, through: bool) -> None:
    assert passes(to(**fields), message(owner="team-a")) is through


def test_of_nobody_only_who_asks_for_no_owner_hears() -> None:
    assert not passes(to(owners=["team-a"]), message())


def test_warnings_only() -> None:
    assert passes(to(warningsOnly=True), message())
    assert not passes(to(warningsOnly=True), message(warning=False))


@pytest.mark.parametrize(
    ("fields", "reason", "warning", "through"),
    [
        ({}, "RolledBack", True, True),
        ({"warningsOnly": True}, "Promoted", False, True),
        ({"reasons": ["RolledBack"]}, "Promoted", False, True),
        ({"reasons": ["CommandRefused"]}, "Promoted", False, False),
        ({}, "StepReached", False, False),
    ],
)
def test_alertmanager_hears_of_alerts_and_of_their_ends_alone(
    fields: Any, reason: str, warning: bool, through: bool
) -> None:
    one = message(reason=reason, warning=warning)
    assert passes(to(type="alertmanager", **fields), one) is through


@pytest.mark.parametrize(
    ("use", "annotation", "used"),
    [
        ("Default", None, True),
        ("Default", "team-a", True),
        ("Default", "oncall, team-a", True),
        ("Default", "oncall", False),
        ("Default", "", False),
        ("Named", None, False),
        ("Named", " team-a ,", True),
        ("Named", "", False),
        ("Always", None, True),
        ("Always", "", True),
        ("Always", "oncall", True),
    ],
)
def test_what_a_namespace_uses(use: str, annotation: str | None, used: bool) -> None:
    assert is_used(to(use=use), named_in(annotation)) is used


def test_an_annotation_is_bounded_and_names_nothing_but_names() -> None:
    assert named_in("https://evil.example/hook") == frozenset({"https://evil.example/hook"})
    assert not is_used(to(use="Named"), named_in("https://evil.example/hook"))
    assert len(named_in(",".join(f"n{i}" for i in range(10_000))) or ()) <= 16
