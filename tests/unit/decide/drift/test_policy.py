"""The budget, the floors, the ordered rules and the guards of a DriftPolicy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.loop_objects import BASELINE_1, NOW, cause, retrain_job
from tests.unit.reconcile.kinds.policies import policy_object

from trimtab.api.drift_policy import DriftPolicy, Signal, SignalStatus
from trimtab.api.retrain_job import RetrainJob
from trimtab.decide.drift.policy import Target, alpha_of_look, requested_action, standard_of
from trimtab.decide.drift.rules import (
    GUARDS,
    RetrainRequest,
    SkipReason,
    SkipRetrain,
    StartRetrain,
    asks_to_retrain,
    decide_start,
    winning_rule,
)
from trimtab.decide.drift.windows import window_warning

QUALITY = {"kind": "quality", "floor": {"dropBy": "3%"}}
INPUTS = {"kind": "inputs"}
DATA = {"kind": "data", "missing": "2%"}
TARGET = Target(
    "digits",
    "digits",
    best_scores={"quality": 0.974, "outcomes": 4.0},
    stable_scores={"quality": 0.95, "outcomes": 5.0},
)


def policy(*signals: dict[str, Any], **spec: Any) -> DriftPolicy:
    raw = policy_object(*signals, **spec)
    raw["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return DriftPolicy.model_validate(raw)


def finding(kind: str = "quality", verdict: str = "Drifting") -> SignalStatus:
    return SignalStatus.model_validate(
        {
            "kind": kind,
            "deployment": "digits",
            "verdict": verdict,
            "value": 0.81,
            "threshold": 0.944,
            "n": 3000,
            "windowStart": "2025-12-31T00:00:00Z",
            "windowEnd": "2026-01-01T00:00:00Z",
            "message": f"{kind} {verdict}",
        }
    )


# --- budget and floor ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "alpha"),
    [
        pytest.param({"window": "24h", "falseAlarms": {"perQuarter": 1}}, 1 / 90, id="daily"),
        pytest.param({"window": "1h", "falseAlarms": {"perQuarter": 1}}, 1 / 2160, id="hourly"),
        pytest.param(
            {"window": "24h", "falseAlarms": {"perQuarter": 1000}}, 0.1, id="never_weaker_than_this"
        ),
        pytest.param(
            {"window": "9000h", "falseAlarms": {"perQuarter": 0.01}}, 0.01, id="one_look_at_least"
        ),
    ],
)
def test_the_budget_is_shared_out_over_looks(spec: dict[str, Any], alpha: float) -> None:
    assert alpha_of_look(policy(INPUTS, **spec)) == pytest.approx(alpha)


def test_signals_share_one_budget() -> None:
    one, two = policy(INPUTS), policy(INPUTS, QUALITY)
    assert alpha_of_look(two) == pytest.approx(alpha_of_look(one) / 2)


@pytest.mark.parametrize(
    ("floor", "expected"),
    [
        pytest.param({"dropBy": "3%"}, 0.944, id="below_the_best_promoted"),
        pytest.param({"dropBy": "3%", "from": "stable"}, 0.92, id="below_the_one_that_serves"),
        pytest.param({"limit": "90%"}, 0.9, id="a_number"),
    ],
)
def test_floor(floor: dict[str, str], expected: float) -> None:
    signal = Signal.model_validate({"kind": "quality", "floor": floor})
    standard = standard_of(signal, TARGET)
    assert standard is not None
    assert standard.bound == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ceiling", "expected"),
    [
        pytest.param({"riseBy": "10%"}, 4.4, id="above_the_best_promoted"),
        pytest.param({"riseBy": "10%", "from": "stable"}, 5.5, id="above_the_one_that_serves"),
        pytest.param({"limit": 3}, 3.0, id="a_number"),
    ],
)
def test_ceiling(ceiling: dict[str, Any], expected: float) -> None:
    signal = Signal.model_validate({"kind": "outcomes", "metric": "rmse", "ceiling": ceiling})
    standard = standard_of(signal, TARGET)
    assert standard is not None
    assert standard.bound == pytest.approx(expected)
    assert standard.is_error


def test_a_drop_from_nothing_is_no_floor() -> None:
    signal = Signal.model_validate(QUALITY)
    assert standard_of(signal, Target("digits", "digits")) is None


# --- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        pytest.param({"window": "24h"}, False, id="a_day_of_daily_traffic"),
        pytest.param({"window": "168h", "season": "168h"}, False, id="a_week"),
        pytest.param({"window": "48h"}, False, id="two_days"),
        pytest.param({"window": "1h"}, True, id="an_hour_of_daily_traffic"),
        pytest.param({"window": "36h"}, True, id="a_day_and_a_half"),
        pytest.param({"window": "1h", "season": "1h"}, False, id="traffic_without_seasons"),
    ],
)
def test_a_window_that_is_no_whole_season_is_warned_about(
    spec: dict[str, str], warned: bool
) -> None:
    text = window_warning(policy(INPUTS, **spec).spec)
    assert (text is not None) is warned
    if text is not None:
        assert "not a whole multiple of the season of" in text


# --- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fired", "signal", "do"),
    [
        pytest.param(["inputs"], "inputs", ("notify",), id="a_shift_notifies"),
        pytest.param(["inputs", "quality"], "quality", ("retrain",), id="harm_before_change"),
        pytest.param(["quality", "outcomes"], "outcomes", ("retrain",), id="the_first_rule_wins"),
        pytest.param(["quality", "data"], "data", ("notify",), id="broken_data_before_all"),
    ],
)
def test_default_rules(fired: Any, signal: str, do: tuple[str, ...]) -> None:
    rule = winning_rule(policy(QUALITY, INPUTS, DATA).spec, fired)
    assert rule is not None
    assert (rule.signal, rule.do) == (signal, do)


def test_broken_data_goes_first_even_where_its_rule_comes_last() -> None:
    actions = [{"signal": "quality", "do": ["retrain"]}, {"signal": "data", "do": ["notify"]}]
    spec = policy(QUALITY, DATA, actions=actions).spec
    rule = winning_rule(spec, ["quality", "data"])
    assert rule is not None
    assert rule.signal == "data"
    assert asks_to_retrain(spec, ["quality", "data"]) == "quality"


def test_a_signal_without_a_rule_does_nothing() -> None:
    spec = policy(QUALITY, actions=[{"signal": "inputs", "do": ["notify"]}]).spec
    assert winning_rule(spec, ["quality"]) is None


@pytest.mark.parametrize("do", ["rollback", "pause"])
def test_a_request_stands_while_the_verdict_is_about_what_serves(do: str) -> None:
    made = policy(QUALITY, actions=[{"signal": "quality", "do": [do]}])
    status = made.status.model_copy(
        update={"signals": [finding()], "baselines": {"digits": BASELINE_1}}
    )
    drifting = made.model_copy(update={"status": status})
    asked = requested_action([policy(INPUTS), drifting], "digits", BASELINE_1)
    assert asked is not None
    assert (asked.do, asked.message) == (do, "digits: quality Drifting")
    assert requested_action([drifting], "digits", "sha256:" + "0" * 64) is None
    calm = status.model_copy(update={"signals": [finding(verdict="Stable")]})
    assert (
        requested_action([made.model_copy(update={"status": calm})], "digits", BASELINE_1) is None
    )


# --- guards -------------------------------------------------------------------------------------


def job(phase: str, attempt: int = 1, *, ago: timedelta = timedelta(hours=1), **spec: Any) -> Any:
    raw = retrain_job(f"digits-{attempt}", **{"because": cause(attempt=attempt), **spec})
    raw["metadata"]["creationTimestamp"] = (NOW - ago).isoformat()
    raw["status"] = {"phase": phase, "finished": (NOW - ago).isoformat()}
    return RetrainJob.model_validate(raw)


def request(*jobs: RetrainJob, **changes: Any) -> RetrainRequest:
    made = policy(QUALITY)
    retrain = made.spec.retrain
    assert retrain is not None
    fields: dict[str, Any] = {
        "policy": made,
        "retrain": retrain,
        "deployment": "digits",
        "model": "digits",
        "baseline": BASELINE_1,
        "fired": finding(),
        "jobs": jobs,
        "candidate": None,
        "waiting_versions": frozenset(),
        "is_data_broken": False,
        "now": NOW,
    }
    return RetrainRequest(**fields | changes)


def reason_of(answer: StartRetrain | SkipRetrain | None) -> str:
    match answer:
        case StartRetrain():
            return "start"
        case SkipRetrain(reason=reason):
            return str(reason)
        case None:
            return "under way"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(request(), "start", id="nothing_speaks_against_it"),
        pytest.param(request(job("Running")), "under way", id="its_own_job_runs"),
        pytest.param(
            request(job("Running", because={"manual": "ann", "deployment": "digits"})),
            "ActiveJob",
            id="another_job_runs",
        ),
        pytest.param(request(candidate="v2"), "RolloutInProgress", id="a_version_is_tried"),
        pytest.param(request(is_data_broken=True), "DataBroken", id="the_data_is_broken"),
        pytest.param(request(job("Rejected")), "start", id="one_rejected_attempt_long_ago"),
        pytest.param(
            request(job("Rejected", ago=timedelta(minutes=9))), "Cooldown", id="a_moment_ago"
        ),
        pytest.param(
            request(job("Rejected"), job("Rejected", 2)), "GaveUp", id="rejected_often_enough"
        ),
        pytest.param(
            request(*(job("Failed", n) for n in range(1, 5))), "start", id="failures_do_not_give_up"
        ),
        pytest.param(
            request(*(job("Failed", n) for n in range(1, 6))), "MaxPerWeek", id="five_this_week"
        ),
        pytest.param(
            request(*(job("Failed", n, ago=timedelta(days=8)) for n in range(1, 6))),
            "start",
            id="five_last_week",
        ),
        pytest.param(
            request(
                job("Rejected", because=cause(baseline="sha256:" + "9" * 64)),
                job("Rejected", 2, because=cause(baseline="sha256:" + "9" * 64)),
            ),
            "start",
            id="rejected_for_another_baseline",
        ),
    ],
)
def test_guard(asked: RetrainRequest, expected: str) -> None:
    assert reason_of(decide_start(asked)) == expected


def test_the_attempt_is_one_more_than_the_finished_ones() -> None:
    answer = decide_start(request(job("Rejected")))
    assert isinstance(answer, StartRetrain)
    assert answer.manifest["spec"]["cause"]["attempt"] == 2
    assert answer.name != reason_of(decide_start(request()))


def test_the_order_of_the_guards() -> None:
    assert [guard.__name__ for guard in GUARDS] == [
        "_data_is_broken",
        "_job_is_active",
        "_rollout_is_under_way",
        "_has_given_up",
        "_is_cooling_down",
        "_is_week_used_up",
    ]


def test_a_skip_says_when_it_asks_again() -> None:
    answer = decide_start(request(job("Rejected", ago=timedelta(minutes=9))))
    assert isinstance(answer, SkipRetrain)
    assert answer.reason == SkipReason.COOLDOWN
    assert answer.until == NOW + timedelta(minutes=1)


def test_all_data_leaves_since_open_and_input_drift_sets_no_floor() -> None:
    made = policy(
        INPUTS,
        actions=[{"signal": "inputs", "do": ["retrain"]}],
        retrain={
            "job": {"engine": {"job": {}}, "data": {"uri": "s3://data/scans/", "since": "all"}}
        },
    )
    asked = request(fired=finding("inputs"), policy=made, retrain=made.spec.retrain)
    answer = decide_start(asked)
    assert isinstance(answer, StartRetrain)
    assert "since" not in answer.manifest["spec"]["data"]
    assert "mustBeat" not in answer.manifest["spec"]["gate"]
    RetrainJob.model_validate(answer.manifest)


PHASES = st.sampled_from(["Queued", "Running", "Succeeded", "Rejected", "Failed"])


@given(
    phases=st.lists(st.tuples(PHASES, st.integers(0, 20 * 24 * 60)), max_size=8),
    is_broken=st.booleans(),
    candidate=st.sampled_from([None, "v2"]),
)
def test_whatever_happened_before_the_promises_hold(
    phases: list[tuple[str, int]], is_broken: bool, candidate: str | None
) -> None:
    jobs = [
        job(phase, number, ago=timedelta(minutes=ago))
        for number, (phase, ago) in enumerate(phases, start=1)
    ]
    answer = decide_start(request(*jobs, is_data_broken=is_broken, candidate=candidate))
    if not isinstance(answer, StartRetrain):
        return
    assert not is_broken
    assert candidate is None
    assert all(phase not in ("Queued", "Running") for phase, _ in phases)
    assert sum(phase == "Rejected" for phase, _ in phases) < 2
    assert all(ago >= 10 for _, ago in phases)
    assert sum(ago < 7 * 24 * 60 for _, ago in phases) < 5
    assert answer.manifest["spec"]["cause"]["attempt"] == len(phases) + 1
