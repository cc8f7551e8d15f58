"""The list of signals: every kind of the API once, and what each states of itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from trimtab.api.conditions import ConditionType, EventReason
from trimtab.api.drift_policy import Action, Signal, SignalKind
from trimtab.decide.drift.signals import SIGNALS, conditions_of_signals, signal_type
from trimtab.decide.drift.signals.signal import Reference
from trimtab.lint.signals import SIGNAL_LINTS

DRIFT = (EventReason.DRIFT_DETECTED, ConditionType.DRIFT_DETECTED)
HARM = (EventReason.HARM_DETECTED, ConditionType.HARM)
BROKEN = (EventReason.DATA_BROKEN, ConditionType.DATA_BROKEN)
FLOOR: dict[str, Any] = {"floor": {"limit": "90%"}}


def test_every_kind_of_the_api_is_in_the_lists_once() -> None:
    kinds = sorted(get_args(SignalKind))
    assert sorted(own.kind for own in SIGNALS) == kinds
    assert sorted(own.kind for own in SIGNAL_LINTS) == kinds


def test_the_order_in_which_signals_with_one_verdict_are_shown() -> None:
    assert [own.kind for own in SIGNALS] == ["data", "outcomes", "quality", "predictions", "inputs"]


@pytest.mark.parametrize(
    ("kind", "told", "once", "first", "floor"),
    [
        ("data", BROKEN, False, True, False),
        ("outcomes", HARM, True, False, True),
        ("quality", HARM, True, False, True),
        ("predictions", DRIFT, True, False, False),
        ("inputs", DRIFT, True, False, False),
    ],
)
def test_what_a_kind_states(
    kind: str, told: tuple[EventReason, ConditionType], once: bool, first: bool, floor: bool
) -> None:
    own = signal_type(kind)
    assert (own.event, own.condition) == told
    assert (own.is_judged_once, own.goes_first, own.sets_floor) == (once, first, floor)


@pytest.mark.parametrize(
    ("signal", "name", "reference"),
    [
        ({"kind": "inputs"}, "PSI", None),
        ({"kind": "predictions"}, "PSI", None),
        ({"kind": "data", "missing": "1%"}, "worst share", None),
        ({"kind": "quality", **FLOOR}, "estimated accuracy", Reference("accuracy", "all")),
        (
            {"kind": "quality", "metric": "auc", **FLOOR},
            "estimated auc",
            Reference("auc", "all"),
        ),
        (
            {"kind": "outcomes", "metric": "recall", "class": "cat", **FLOOR},
            "recall of cat",
            Reference("recall", "class=cat"),
        ),
    ],
)
def test_what_the_value_is_called_and_compared_with(
    signal: dict[str, Any], name: str, reference: Reference | None
) -> None:
    one = Signal.model_validate(signal)
    own = signal_type(one.kind)
    assert (own.value_name(one), own.reference(one)) == (name, reference)


def test_each_condition_once() -> None:
    assert conditions_of_signals() == [
        ConditionType.DATA_BROKEN,
        ConditionType.HARM,
        ConditionType.DRIFT_DETECTED,
    ]


def test_a_signal_that_goes_first_cannot_retrain_by_the_api_either() -> None:
    for own in SIGNALS:
        action = {"signal": own.kind, "do": ["retrain"]}
        if own.goes_first:
            with pytest.raises(ValueError, match="never retrain"):
                Action.model_validate(action)
        else:
            Action.model_validate(action)


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="no signal 'slices'"):
        signal_type("slices")
