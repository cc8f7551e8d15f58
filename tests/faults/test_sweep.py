"""A thin sample of the sweep: each story, each kind of fault. `make faults` plays all of it."""

from __future__ import annotations

import pytest
from tests.faults.plans import KINDS, Plan, plan_of
from tests.faults.report import table, told
from tests.faults.stories import STORIES
from tests.faults.sweep import LONGEST_SECONDS, Result, play, play_all, undisturbed

SAMPLE = {
    "quick-start": """
        crash-before/1 404/18 429/35 timeout/52 late-4/29 stop/55 no-store/13 expired/56 frozen/51
        late-4/51 403/23 404/43 deaf/43 clock+24h/54
        404/61
    """,
    "commands": """
        crash-after/24 late-25/49 stale/67 down/78 away-long/14 clock+/31 frozen/56 down/52
        deaf/57 disowned/46 unlabelled/76 404/84
    """,
    "deletions": """
        away/37 expired/64 clock-/80 together/21 doubled/95 crash-before/22 404/39
        unlabelled/50 deaf/65 dropped/93
    """,
    "way-back": """
        dropped/40 reordered/1 403/13 409/30 500/47 crash-after/15 late-25/32 stale/52 late-25/13
        late-25/49 clock-/40 clock+24h/43 clock+1h/43 deaf-standby/39 404/22
    """,
    "outages": """
        unlabelled/60 429/53 timeout/70 late-4/42 stop/60 no-store/77 away/22 expired/47 together/61
        together/35 deaf/30 clock-24h/74 dropped/28
    """,
    "crashes": """
        stale/39 down/50 away-long/20 clock+/47 frozen/57 dropped/45 reordered/9
        deaf-standby/30
    """,
    "edits": """
        clock-/9 together/38 doubled/9 crash-before/6 404/23 429/40 timeout/49 dropped/46
    """,
    "quota": """
        403/34 409/51 500/10 crash-after/44 late-25/14 stale/31 down/49 clock-/32
        unlabelled/29
    """,
    "retraining": """
        late-4/65 stop/26 no-store/51 away/63 expired/24 clock-/49 together/60 dropped/36 dropped/58
        clock-1h/21
        clock-pulse/28 clock-1h/28 clock-24h/57 clock-1h/60
    """,
    "additions": """
        409/24 500/33 timeout/28 late-4/32 away/25 reordered/10 dropped/16
        crash-before/25 crash-after/32 down/48
    """,
    "cancelling": """
        crash-before/45 crash-after/50 deaf/40 stale/50 dropped/60 403/50
    """,
    "rollback": """
        crash-before/41 404/31 429/52 crash-after/49 late-25/52 stop/50 doubled/37 no-lease/44
        crash-no-store/29 expired/49 disowned/34 clock-1h/30
    """,
}


def sampled() -> list[str]:
    """Return the plans of the sample by name."""
    return [f"{story}/{text}" for story, texts in SAMPLE.items() for text in texts.split()]


def test_the_sample_has_every_story_and_every_kind() -> None:
    names = [name.split("/") for name in sampled()]
    assert {name[0] for name in names} == set(STORIES)
    assert {name[1] for name in names} == set(KINDS)


@pytest.mark.parametrize("name", sampled())
def test_a_disturbed_run_ends_as_the_undisturbed_one(name: str) -> None:
    result = play(plan_of(name))
    assert not result.found, told(result, is_alone=True)


@pytest.mark.parametrize("story", STORIES)
def test_an_undisturbed_story_comes_to_its_end(story: str) -> None:
    run = undisturbed(story)
    assert "story" not in run.ending
    assert run.ending["numbers"] == "each told once"
    assert run.seconds < LONGEST_SECONDS


def test_a_run_is_the_same_each_time() -> None:
    once = undisturbed("quick-start")
    again = undisturbed.__wrapped__("quick-start")
    assert [str(request) for request in again.requests] == [str(one) for one in once.requests]
    assert (again.ending, again.events) == (once.ending, once.events)


def test_plans_that_branch_off_go_as_those_that_are_played_alone() -> None:
    texts = ("409/30", "late-25/13", "crash-after/15", "reordered/1", "clock-/40")
    plans = [plan_of(f"way-back/{text}") for text in texts]
    found = sorted(play_all("way-back", plans, processes=2), key=str)
    assert found == sorted((play(plan) for plan in plans), key=str)


def test_a_plan_whose_moment_does_not_come_is_no_good_end() -> None:
    plan = Plan("way-back", "409", 9999)
    (result,) = play_all("way-back", [plan], processes=2)
    assert (result.plan, len(result.found)) == (plan, 1)


def test_the_table_counts_by_kind_beside_the_first_sweep() -> None:
    plan = Plan("quick-start", "409", 3)
    lines = table([Result(plan, "", [], 2, 5), Result(plan, "", ["stable"], 1, 0)]).splitlines()
    assert lines[1].split() == ["409", "2", "1", "3", "5"]
    assert lines[-1].split()[-2:] == ["1408", "1322"]


def test_a_plan_that_ended_elsewhere_is_named_so_that_it_can_be_played_alone() -> None:
    result = Result(Plan("quick-start", "409", 3), "list pods", ["stable: v1"], 0, 0)
    assert told(result, is_alone=False).splitlines() == [
        "--plan quick-start/409/3  (list pods)",
        "    stable: v1",
    ]
