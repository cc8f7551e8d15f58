"""The ordered rules and the guards of a retraining."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decide.drift.policies import DATA, INPUTS, QUALITY, entry, policy
from tests.unit.loop_objects import BASELINE_1, NOW, cause, retrain_job

from trimtab.api.drift_policy import Attempt
from trimtab.api.retrain_job import Cause, RetrainJob
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
from trimtab.decide.retrain.cause import retrain_job_name


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


KINDS = ("data", "outcomes", "quality", "inputs", "predictions")


def test_the_whole_table_of_default_rules() -> None:
    """Broken data, then outcomes, quality, inputs, predictions; the first that fired decides."""
    spec = policy(QUALITY, INPUTS, DATA).spec
    for fired in (set(some) for some in powerset(KINDS)):
        rule = winning_rule(spec, fired)
        first = next((kind for kind in KINDS if kind in fired), None)
        assert (rule.signal if rule else None) == first
        retrains = next((kind for kind in KINDS[1:] if kind in fired), None)
        harm = retrains if retrains in ("outcomes", "quality") else None
        assert asks_to_retrain(spec, fired) == harm


def powerset(kinds: tuple[Any, ...]) -> list[list[Any]]:
    return [
        [kind for place, kind in enumerate(kinds) if chosen >> place & 1]
        for chosen in range(2 ** len(kinds))
    ]


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
        "fired": entry(),
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


LEFT = {
    "none": ([], 1),
    "the_first_was_deleted": ([2], 3),
    "all_but_the_last_were": ([5], 6),
    "one_in_between_was": ([1, 3], 4),
}


@pytest.mark.parametrize(("left", "attempt"), LEFT.values(), ids=LEFT.keys())
def test_jobs_that_somebody_deleted_block_no_later_ones(left: list[int], attempt: int) -> None:
    answer = decide_start(request(*(job("Failed", number) for number in left)))
    assert isinstance(answer, StartRetrain)
    assert answer.manifest["spec"]["cause"]["attempt"] == attempt


def _named(attempt: int) -> str:
    return retrain_job_name(Cause.model_validate(cause(attempt=attempt)))


def test_no_name_is_used_again_when_all_jobs_were_deleted() -> None:
    for asked in (
        request(ended=frozenset({_named(1)})),
        request(made={_named(1): "digits-r1"}),
        request(job("Failed"), made={_named(2): "digits-r2"}, ended=frozenset({_named(1)})),
    ):
        answer = decide_start(asked)
        assert isinstance(answer, StartRetrain)
        assert answer.name not in {*asked.ended, *asked.made}
        assert answer.attempt == 1 + len({*asked.ended, *asked.made})


def remembered(
    phase: str, attempt: int = 1, *, ago: timedelta = timedelta(hours=1), name: str = ""
) -> Attempt:
    at = NOW - ago
    return Attempt.model_validate(
        {
            "name": name or _named(attempt),
            "deployment": "digits",
            "attempt": attempt,
            "phase": phase,
            "created": at,
            "finished": None if phase == "Started" else at,
        }
    )


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        pytest.param([remembered("Started")], "under way", id="made_and_not_to_be_seen"),
        pytest.param([remembered("Rejected")], "start", id="one_rejected_long_ago"),
        pytest.param(
            [remembered("Failed", ago=timedelta(minutes=9))], "Cooldown", id="a_moment_ago"
        ),
        pytest.param(
            [remembered("Cancelled", ago=timedelta(minutes=9))], "Cooldown", id="just_cancelled"
        ),
        pytest.param(
            [remembered("Rejected"), remembered("Rejected", 2)], "GaveUp", id="rejected_twice"
        ),
        pytest.param(
            [remembered("Rejected"), remembered("Cancelled", 2)], "GaveUp", id="and_cancelled"
        ),
        pytest.param(
            [remembered("Rejected", name="digits-1"), remembered("Rejected", 2, name="digits-2")],
            "start",
            id="rejected_for_another_cause",
        ),
        pytest.param(
            [remembered("Failed", n) for n in range(1, 6)], "MaxPerWeek", id="five_this_week"
        ),
        pytest.param(
            [remembered("Failed", n, ago=timedelta(days=8)) for n in range(1, 6)],
            "start",
            id="five_last_week",
        ),
    ],
)
def test_guards_count_attempts_whose_jobs_were_deleted(
    attempts: list[Attempt], expected: str
) -> None:
    asked = request(attempts=tuple(attempts))
    assert reason_of(decide_start(asked)) == expected
    if expected == "start":
        ended = [one for one in attempts if one.name == _named(one.attempt)]
        assert asked.cause.attempt == len(ended) + 1


def test_a_job_that_is_remembered_and_still_there_counts_once() -> None:
    raw = job("Rejected")
    there = raw.model_copy(update={"metadata": raw.metadata.model_copy(update={"name": _named(1)})})
    asked = request(there, attempts=(remembered("Started"),))
    assert [one.phase for one in asked.past] == ["Rejected"]
    assert reason_of(decide_start(asked)) == "start"


def test_giving_up_says_whose_no_it_was() -> None:
    asked = request(attempts=(remembered("Rejected"), remembered("Cancelled", 2)))
    answer = decide_start(asked)
    assert isinstance(answer, SkipRetrain)
    assert "2 attempts were rejected or cancelled; " in answer.message


def test_a_version_whose_job_was_deleted_is_waited_for() -> None:
    made = {_named(1): "digits-r1"}
    waiting = frozenset({"digits-r1"})
    assert decide_start(request(made=made, waiting_versions=waiting)) is None


def _with(job: RetrainJob, *, made: datetime | None = None, **status: Any) -> RetrainJob:
    metadata = job.metadata
    if made is not None:
        metadata = metadata.model_copy(update={"creation_timestamp": made})
    told = job.status.model_copy(update=status)
    return job.model_copy(update={"metadata": metadata, "status": told})


@pytest.mark.parametrize("ahead", [timedelta(seconds=2), timedelta(days=1)])
def test_a_job_that_ended_ahead_cools_down_from_its_beginning(ahead: timedelta) -> None:
    """The clock was ahead when it ended, and was put right."""
    ended = _with(job("Rejected", ago=timedelta(minutes=9)), finished=NOW + ahead)
    assert reason_of(decide_start(request(ended))) == "Cooldown"
    assert reason_of(decide_start(request(_with(ended, made=NOW + ahead)))) == "start"


def test_jobs_made_ahead_of_now_use_no_week_up() -> None:
    ahead = [job("Failed", n, ago=-timedelta(days=30)) for n in range(1, 6)]
    assert reason_of(decide_start(request(*ahead))) == "start"
    # The API server's clock was ahead, and ours was right.
    begun = [_with(one, started=NOW - timedelta(hours=1)) for one in ahead]
    assert reason_of(decide_start(request(*begun))) == "MaxPerWeek"


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
    asked = request(fired=entry("inputs"), policy=made, retrain=made.spec.retrain)
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


EVERYTHING_AGAINST_IT: list[tuple[str, dict[str, Any]]] = [
    ("DataBroken", {"is_data_broken": True}),
    ("ActiveJob", {"jobs": (job("Running", because={"manual": "ann", "deployment": "digits"}),)}),
    ("RolloutInProgress", {"candidate": "v2"}),
    ("GaveUp", {"jobs": (job("Rejected"), job("Rejected", 2))}),
    ("Cooldown", {"jobs": (job("Failed", 3, ago=timedelta(minutes=1)),)}),
    ("MaxPerWeek", {"jobs": tuple(job("Failed", n) for n in range(4, 9))}),
]


@pytest.mark.parametrize(
    "first", range(len(EVERYTHING_AGAINST_IT)), ids=[name for name, _ in EVERYTHING_AGAINST_IT]
)
def test_of_several_guards_the_earlier_speaks(first: int) -> None:
    against = EVERYTHING_AGAINST_IT[first:]
    fields: dict[str, Any] = {}
    for _, more in against:
        fields |= {name: value for name, value in more.items() if name != "jobs"}
    jobs = [one for _, more in against for one in more.get("jobs", ())]
    assert reason_of(decide_start(request(*jobs, **fields))) == against[0][0]


def test_a_job_that_ended_by_a_clock_that_was_ahead_delays_nothing() -> None:
    answer = decide_start(request(job("Rejected", ago=timedelta(hours=-9))))
    assert isinstance(answer, StartRetrain)
