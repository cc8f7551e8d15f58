"""A signal that only this test has is judged, told, conditioned, acted upon and linted.

It stands in the place of `inputs`, since the API names the kinds and takes no other. What else a
new kind needs is its word in `SignalKind` of the API, and in the cause of a RetrainJob.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from tests.unit.decide.drift.policies import QUALITY, policy
from tests.unit.loop_objects import BASELINE_1, NOW

from trimtab.api.conditions import ConditionType, EventReason, find_condition
from trimtab.api.drift_policy import DriftPolicy, Signal
from trimtab.contract.artifact import Baseline
from trimtab.decide.drift import signals
from trimtab.decide.drift.finding import Finding, Verdict
from trimtab.decide.drift.policy import PolicyOutcome, decide_policy, requested_action
from trimtab.decide.drift.signals.signal import Demand, WindowSignal
from trimtab.decide.drift.snapshot import PolicySnapshot, WatchedDeployment, WindowView
from trimtab.lint import signals as lint_signals
from trimtab.lint.facts import Facts
from trimtab.lint.policy import policy_remarks
from trimtab.lint.remarks import Remark
from trimtab.lint.signals import SignalLint

KIND: Final = "inputs"
LONGEST_SILENCE = ("trimtab_longest_silence", frozenset[tuple[str, str]]())


class Silence(WindowSignal):
    """Fires where a window has a gap of more than a hundred seconds."""

    kind = KIND
    event = EventReason.HARM_DETECTED
    condition = ConditionType.HARM
    sets_floor = True

    def judge_window(
        self, signal: Signal, window: WindowView, watched: WatchedDeployment, alpha: float
    ) -> Finding:
        gap = (window.counts or {}).get(LONGEST_SILENCE, 0.0)
        verdict: Verdict = "Drifting" if gap > 100 else "Stable"
        return Finding(verdict, f"{gap:.0f} s of silence", value=gap, threshold=100.0, n=1)

    def demand(
        self, signal: Signal, baseline: Baseline | None, score: float | None
    ) -> Demand | None:
        return Demand(lambda alpha: 7, "a gap")

    def value_name(self, signal: Signal) -> str:
        return "seconds"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def model(*_: object) -> list[Remark]:
        return [Remark("warning", "model", "", "some containers do not tell")]

    others = [own for own in signals.SIGNALS if own.kind != KIND]
    monkeypatch.setattr(signals, "SIGNALS", (Silence(), *others))
    rules = [own for own in lint_signals.SIGNAL_LINTS if own.kind != KIND]
    monkeypatch.setattr(lint_signals, "SIGNAL_LINTS", (SignalLint(KIND, model), *rules))


WATCHING = policy({"kind": KIND}, actions=[{"signal": KIND, "do": ["retrain", "pause"]}])


def decided(gap: float, before: DriftPolicy = WATCHING, minutes: int = 0) -> PolicyOutcome:
    at = NOW + timedelta(minutes=minutes)
    window = WindowView(at - timedelta(minutes=1), at, {LONGEST_SILENCE: gap})
    watched = WatchedDeployment(
        "digits", "digits", is_serving=True, baseline_digest=BASELINE_1, window=window
    )
    return decide_policy(PolicySnapshot(before, at, (watched,)))


def after(decision: PolicyOutcome) -> DriftPolicy:
    return WATCHING.model_copy(update={"status": decision.status})


def test_it_is_judged_told_conditioned_and_acted_upon() -> None:
    decision = decided(gap=120)
    (entry,) = decision.status.signals
    assert (entry.kind, entry.verdict, entry.value) == (KIND, "Drifting", 120)
    harmed, started = decision.notes
    assert harmed.reason == EventReason.HARM_DETECTED
    assert harmed.message == "digits: 120 s of silence"
    assert started.reason == EventReason.RETRAIN_STARTED
    harm = find_condition(decision.status.conditions, ConditionType.HARM)
    assert harm is not None
    assert (harm.status, harm.message) == ("True", "digits: 120 s of silence")
    assert find_condition(decision.status.conditions, ConditionType.DRIFT_DETECTED) is None
    (start,) = decision.actions
    assert start.manifest["spec"]["gate"]["mustBeat"] == 100
    baseline = decision.status.baselines["digits"]
    assert requested_action([after(decision)], "digits", baseline) is not None
    assert decision.status.summary.signal == KIND


def test_its_window_is_judged_once_and_the_next_one_clears_it() -> None:
    fired = decided(gap=120)
    again = decided(gap=0, before=after(fired))
    assert again.status.signals == fired.status.signals
    assert again.notes == ()
    cleared = decided(gap=0, before=after(again), minutes=1)
    assert [event.reason for event in cleared.notes] == [EventReason.DRIFT_CLEARED]


def test_it_is_linted_by_what_it_states_and_by_its_own_rules() -> None:
    texts = [
        remark.message for remark in policy_remarks(WATCHING, Facts()) if remark.rule != "window"
    ]
    assert texts[:2] == ["some containers do not tell", "each window needs 7 rows to see a gap"]
    (short,) = (r for r in policy_remarks(WATCHING, Facts(rows=5)) if r.rule == "rows")
    assert "has about 5 rows and needs 7 to see a gap" in short.message


def test_without_rules_of_its_own_it_is_linted_by_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint_signals, "SIGNAL_LINTS", ())
    texts = [r.message for r in policy_remarks(policy({"kind": KIND}, QUALITY), Facts())]
    assert "each window needs 7 rows to see a gap" in texts
