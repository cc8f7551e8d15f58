"""Plays a plan to its end and says what is otherwise than in the undisturbed run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from tests.bench.statistics.wired.world import VirtualLoop
from tests.faults.api import Request
from tests.faults.branches import Branches
from tests.faults.ending import Ending, differences, ending_of
from tests.faults.plans import AT_EVENTS, KINDS, Plan, arrange, numbers_of
from tests.faults.stories import STORIES
from tests.faults.world import Bugs, Stage, Stuck

REST_SECONDS = 400.0
"""Of the undisturbed run, until nothing happens any more."""
LATEST_SECONDS = 45.0
"""After which nothing of a fault is still on its way."""
LONGEST_SECONDS = 1600.0
"""Until the last repair by a list."""
LOOK_SECONDS = 5.0
QUIET_SECONDS = 15.0
MOST_BAD_ANSWERS = 2000
"""Beyond those of the undisturbed run: all of a hundred seconds, long after a fault is over."""
LONG_KINDS = ("down", "away-long")
"""In which nobody can act for minutes."""


@dataclass(frozen=True)
class Run:
    """How one run went."""

    ending: Ending
    broken: dict[str, float]
    """Invariants, with the second at which each was broken first."""
    requests: list[Request]
    events: list[str]
    seconds: float
    lost: int
    bad: int


@dataclass(frozen=True)
class Result:
    """One plan, and what differs; nothing if it ended as undisturbed."""

    plan: Plan
    at: str
    """The request or the event that was disturbed."""
    found: list[str]
    lost: int
    """Requests that no pod was there for, beyond those of the undisturbed run."""
    bad: int
    """Bad answers, beyond those of the undisturbed run."""


@dataclass
class Course:
    """What is played: a story with or without a plan, or one from which plans branch off."""

    story: str
    only: Plan | None = None
    branches: Branches | None = None

    @property
    def plan(self) -> Plan | None:
        """What disturbs this run."""
        return self.only if self.branches is None else self.branches.plan

    def arrange(self, stage: Stage) -> None:
        """Let faults happen when their moment comes."""
        if self.branches is not None:
            self.branches.arrange(stage)
        elif self.only is not None:
            arrange(stage, self.only)

    def is_over(self, stage: Stage) -> bool:
        """Whether the fault has been, and all is as in the undisturbed run."""
        plan = self.plan
        if plan is None:
            return True
        moments = stage.events if plan.kind in AT_EVENTS else stage.server.requests
        if len(moments) < plan.number:
            return False
        return not differences(undisturbed(self.story).ending, ending_of(stage))


@cache
def undisturbed(story: str) -> Run:
    """Return the run of a story that nothing disturbs."""
    return _play(story, Course(story))


def play(plan: Plan) -> Result:
    """Play a plan; the same each time. ValueError if the story has no such moment."""
    moments = _moments(plan)
    if not 1 <= plan.number <= len(moments):
        raise ValueError(f"{plan}: there are {len(moments)} of them in that story")
    return _result(plan, _play(plan.story, Course(plan.story, plan)))


def play_all(story: str, plans: list[Plan], processes: int) -> list[Result]:
    """Play plans of one story, so many at a time; the same results as of `play`."""
    undisturbed(story)
    branches = Branches(plans, processes)
    course = Course(story, branches=branches)
    try:
        run = _play(story, course)
        if course.plan is not None:
            branches.send(_result(course.plan, run))
    finally:
        branches.end_if_branched()
    results: list[Result] = branches.finish()
    played = {result.plan for result in results}
    return results + [
        Result(plan, "", ["its process ended, or its moment did not come"], 0, 0)
        for plan in plans
        if plan not in played
    ]


def _moments(plan: Plan) -> list[str]:
    known = undisturbed(plan.story)
    return known.events if plan.kind in AT_EVENTS else [str(one) for one in known.requests]


def _result(plan: Plan, run: Run) -> Result:
    known = undisturbed(plan.story)
    bad = max(0, run.bad - known.bad)
    lost = max(0, run.lost - known.lost)
    return Result(plan, _moments(plan)[plan.number - 1], _found(plan, known, run, bad), lost, bad)


def _found(plan: Plan, known: Run, run: Run, bad: int) -> list[str]:
    """Return what differs, broken invariants first."""
    found = [
        f"at {at:.0f} s: {what}" for what, at in run.broken.items() if what not in known.broken
    ]
    if bad > MOST_BAD_ANSWERS and plan.kind not in LONG_KINDS:
        found.append(f"{bad} bad answers more: a bad version serves on")
    return found + differences(known.ending, run.ending)


def plans_of(story: str, kind: str) -> list[Plan]:
    """Return all plans of a story and a kind."""
    known = undisturbed(story)
    return [Plan(story, kind, n) for n in numbers_of(kind, known.requests, len(known.events))]


def all_plans(stories: list[str], kinds: list[str], every: int = 1) -> list[Plan]:
    """Return every so many-th plan of each story and kind; all kinds if none is named."""
    return [
        plan
        for story in stories or STORIES
        for place, kind in enumerate(kinds or KINDS)
        for plan in plans_of(story, kind)[place % every :: every]
    ]


def _play(story: str, course: Course) -> Run:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_run(story, course))
    finally:
        if course.branches is None or course.plan is None:
            loop.close()


async def _run(story: str, course: Course) -> Run:
    stage = Stage()
    course.arrange(stage)
    with _only_bugs(stage):
        stage.begin()
        stuck = await _told(story, stage, course)
        run = Run(
            ending_of(stage) | stuck,
            stage.watchman.seen,
            stage.server.requests,
            stage.events,
            stage.seconds,
            stage.lost,
            stage.bad,
        )
        await stage.end()
    return run


async def _told(story: str, stage: Stage, course: Course) -> Ending:
    """Tell the story; return where it is stuck, if it is."""
    try:
        await STORIES[story](stage)
        await _come_to_rest(stage, course)
    except Stuck as error:
        return {"story": str(error)}
    return {}


@contextmanager
def _only_bugs(stage: Stage) -> Iterator[None]:
    """Of the operator's log only bugs are heard, and by the watchman."""
    logger, bugs = logging.getLogger("trimtab"), Bugs(stage.watchman.say)
    before = logger.level, logger.propagate
    logger.addHandler(bugs)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(bugs)
        logger.setLevel(before[0])
        logger.propagate = before[1]


async def _come_to_rest(stage: Stage, course: Course) -> None:
    await stage.rest(REST_SECONDS if course.plan is None else LATEST_SECONDS)
    end = stage.seconds + LONGEST_SECONDS
    while stage.seconds < end:
        if course.is_over(stage) and await _is_quiet(stage):
            return
        await stage.rest(LOOK_SECONDS)
    if not await _is_quiet(stage):
        stage.watchman.say("at rest it still writes")


async def _is_quiet(stage: Stage) -> bool:
    before = _writes(stage)
    await stage.rest(QUIET_SECONDS)
    return _writes(stage) == before


def _writes(stage: Stage) -> int:
    return sum(request.is_write for request in stage.server.requests)
