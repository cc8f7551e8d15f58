"""Section 10: two versions on the same rows: labels that a fault needs, and what is found falsely.

Labels to evidence 100 beside the test of section 1; then the operator's own gate and guard, look by
look, with labels that depend on the answer and rows that get harder for both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
from tests.bench.statistics import busy
from tests.bench.statistics.as_wired import upper_bound
from tests.bench.statistics.guard import tried
from tests.bench.statistics.rows import Row, judged
from tests.unit.decide.rollout.builders import freeze

from trimtab.api.deployment import Count, Deployment, GuardStatus, StepStatus
from trimtab.decide.rollout.counting import side_of
from trimtab.decide.rollout.guard import watch
from trimtab.decide.rollout.judgement import Trial, judge_gates
from trimtab.decide.rollout.measures import (
    REQUESTS,
    labelled_measure,
    pair_measure,
    wrong_measure,
)
from trimtab.decide.rollout.phases import Progress
from trimtab.decide.rollout.snapshot import Memory, ProcessView, Snapshot
from trimtab.stats.counts import BadTotal
from trimtab.stats.paired import CellCounts, paired_evidence
from trimtab.stats.sequential import gate_evidence

SECTION = "10 paired"
MARGIN = 0.01
THRESHOLD = 100.0
START = datetime(2026, 1, 1, tzinfo=UTC)
RUNS = 400
POWER_RUNS = 60
MOST_ROWS = 200_000
BASE = 0.05
"""Of rows that the version before has wrong."""

Draws = np.random.Generator

# --- labels that a fault needs --------------------------------------------------------------------

DIFFERENCES = (
    # difference, rows on which the two differ; by independent code: unpaired, paired
    (0.03, 0.05, 22_080, 1137),
    (0.03, 0.11, 22_080, 3002),
    (0.06, 0.08, 3780, 268),
    (0.11, 0.13, 760, 104),
)


def unpaired(difference: float, draws: Draws) -> int:
    """Return the labelled rows of both, at shares of 1 to 3, until the evidence is there."""
    ours, theirs, rows = BadTotal(0, 0), BadTotal(0, 0), 0
    while rows < MOST_ROWS:
        look = max(10, rows // 200)
        ours += BadTotal(float(draws.binomial(look, BASE + difference)), float(look))
        theirs += BadTotal(float(draws.binomial(3 * look, BASE)), float(3 * look))
        rows += 4 * look
        if gate_evidence(ours, theirs, MARGIN) >= THRESHOLD:
            return rows
    return MOST_ROWS


def paired(difference: float, discordant: float, draws: Draws, most: int = MOST_ROWS) -> int:
    """Return the labelled rows until the evidence is there, all of them asked of both."""
    counts, rows = np.zeros(3), 0
    worse, better = (discordant + difference) / 2, (discordant - difference) / 2
    while rows < most:
        look = max(5, rows // 100)
        counts += draws.multinomial(look, [worse, better, 1 - discordant])
        rows += look
        by_difference = {1.0: counts[0], -1.0: counts[1], 0.0: counts[2]}
        if paired_evidence(by_difference, MARGIN) >= THRESHOLD:
            return rows
    return most


def power_rows() -> list[Row]:
    """Return the lines about labelled rows until evidence 100."""
    draws = np.random.default_rng(10)
    found = []
    for difference, discordant, theirs, ours in DIFFERENCES:
        without = float(np.median([unpaired(difference, draws) for _ in range(POWER_RUNS)]))
        every = float(np.median([paired(difference, discordant, draws) for _ in range(POWER_RUNS)]))
        what = f"{difference:.0%} worse ({discordant:.0%} differ), margin 1 %: labelled rows"
        measured = (
            f"{every:.0f} (x{every / without:.3f}); in the candidate's quarter {4 * every:.0f}"
        )
        goal = f"<= x0.1, in a quarter <= x0.33 ({theirs} and {ours} by independent code)"
        is_met = every <= without / 10 and 4 * every <= without / 3
        found.append(judged(SECTION, what, measured, goal, is_met, f"unpaired {without:.0f}"))
    for discordant in (0.05, 0.2):
        runs = [paired(MARGIN, discordant, draws, 20_000) < 20_000 for _ in range(RUNS)]
        false = sum(runs)
        found.append(
            judged(
                SECTION,
                f"on the boundary, {discordant:.0%} differ, 20,000 rows: false",
                f"{false} of {RUNS} (bound {upper_bound(false, RUNS) * 100:.1f} %)",
                "<= 1 %",
                upper_bound(false, RUNS) <= 0.025,
            )
        )
    return found


# --- gate and guard -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """A binary model beside another one. Shares of all rows, by true class 0 and 1.

    stable, candidate: wrong of each class. together: of the smaller one's errors, those that both
    make. labels: by the answer that was served. positive: rows of class 1.
    """

    stable: tuple[float, float] = (0.05, 0.10)
    candidate: tuple[float, float] = (0.05, 0.10)
    together: float = 0.5
    labels: tuple[float, float] = (1.0, 1.0)
    positive: float = 0.3

    def joint(self, truth: int) -> list[float]:
        """Return the chances that both are wrong, only candidate, only stable, none."""
        ours, theirs = self.candidate[truth], self.stable[truth]
        both = self.together * min(ours, theirs)
        return [both, ours - both, theirs - both, 1 - ours - theirs + both]


@dataclass
class Served:
    """What one side has answered: rows, labels, and pairs if it asks the other."""

    labelled: float = 0.0
    wrong: float = 0.0
    requests: dict[float, float] = field(default_factory=dict)
    predicted: dict[tuple[str, str], float] = field(default_factory=dict)
    known: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)
    answers: dict[str, tuple[float, float]] = field(default_factory=dict)

    def answer(self, rows: Rows, count: int, compared: float, draws: Draws, *, new: bool) -> None:
        """Serve `count` rows as the candidate (`new`) or as stable; `compared`: share of pairs."""
        positives = draws.binomial(count, rows.positive)
        for truth, n in ((0, count - positives), (1, positives)):
            kinds = draws.multinomial(n, rows.joint(truth))
            for (ours, theirs), m in zip(
                ((1, 1), (1, 0), (0, 1), (0, 0)), kinds.tolist(), strict=True
            ):
                served_wrong = ours if new else theirs
                self._count(rows, truth, served_wrong, (ours, theirs), m, compared, draws, new=new)

    def _count(
        self,
        rows: Rows,
        truth: int,
        wrong: int,
        both: tuple[int, int],
        count: int,
        compared: float,
        draws: Draws,
        *,
        new: bool,
    ) -> None:
        answer = 1 - truth if wrong else truth
        labelled = draws.binomial(count, rows.labels[answer])
        self.labelled += labelled
        self.wrong += labelled * wrong
        rows_before, labels_before = self.answers.get(str(answer), (0.0, 0.0))
        self.answers[str(answer)] = (rows_before + count, labels_before + labelled)
        if not new or not compared:
            return
        ours, theirs = both
        other = 1 - truth if theirs else truth
        cell, d = (str(answer), str(other)), ours - theirs
        pairs = draws.binomial(labelled, compared)
        rest = draws.binomial(count - labelled, compared)
        self.predicted[cell] = self.predicted.get(cell, 0.0) + pairs + rest
        known = self.known.setdefault(cell, {})
        known[d] = known.get(d, 0.0) + pairs
        self.requests[float(d)] = self.requests.get(float(d), 0.0) + pairs

    def view(self, version: str, since: datetime) -> ProcessView:
        """Return it as decisions see it."""
        digest, other = tried(version).digest, tried("v1").digest
        cells = {
            cell: CellCounts(rows, dict(self.known.get(cell, {})))
            for cell, rows in self.predicted.items()
        }
        return ProcessView(
            process=f"{version}-0",
            revision=version,
            counts={
                REQUESTS: max(1.0, sum(rows for rows, _ in self.answers.values())),
                labelled_measure(digest): self.labelled,
                wrong_measure(digest): self.wrong,
                **{pair_measure(digest, other, d): n for d, n in self.requests.items()},
            },
            born=since,
            sampled_at=since,
            cells={(digest, other): cells},
            answers={digest: dict(self.answers)},
            tokens=2,
        )


GATE = {"name": "wrong", "bad": "outcomes", "against": "stable", "margin": "1%"}


def deployment(depends: bool = False, **status: object) -> Deployment:
    """Return a Deployment with a gate of outcomes."""
    found = Deployment.model_validate(
        {
            "metadata": {"name": "churn", "namespace": "shop"},
            "spec": {
                "model": "churn",
                "version": "v2",
                "replicas": 3,
                "metrics": {"scrape": {"interval": "5s"}},
                "rollout": {"gates": [GATE]},
                "outcomes": {"dependsOnAnswer": depends},
            },
        }
    )
    return found.model_copy(update={"status": found.status.model_copy(update=status)})


NEW = tried("v2").model_copy(update={"asks": tried("v1").digest})


@dataclass(frozen=True)
class Try:
    """A rollout of 25 % for 10 minutes, looked at every 5 s, 100 rows a second labelled at once."""

    rows: Rows
    compared: float = 1.0
    depends: bool = False


WORSE = Rows(candidate=(0.09, 0.14))
ONLY_ONES = (0.0, 1.0)
MORE_ONES = Rows(stable=(0.05, 0.20), candidate=(0.08, 0.13))
"""Equal in all: answers 1 more often, and is wrong more often where it does."""
MORE_ZEROS = Rows(stable=(0.08, 0.13), candidate=(0.05, 0.20))
TRIES = {
    "equal": Try(Rows()),
    "equal, a tenth compared": Try(Rows(), compared=0.1),
    "equal, answers 1 more often, all labelled": Try(MORE_ONES),
    "equal, labels only where 1 was served": Try(Rows(labels=ONLY_ONES)),
    "equal, answers 1 more often, labels only where 1": Try(replace(MORE_ONES, labels=ONLY_ONES)),
    "equal, answers 0 more often, labels only where 1": Try(replace(MORE_ZEROS, labels=ONLY_ONES)),
    "equal, answers 1 more often, labels 90 % of 1, 30 % of 0": Try(
        replace(MORE_ONES, labels=(0.3, 0.9))
    ),
    "equal, answers 0 more often, labels 90 % of 1, 30 % of 0": Try(
        replace(MORE_ZEROS, labels=(0.3, 0.9))
    ),
}
FAULTY = {
    "4 % worse": Try(WORSE),
    "4 % worse, a tenth compared": Try(WORSE, compared=0.1),
    "4 % worse, labels 90 % of 1, 30 % of 0": Try(replace(WORSE, labels=(0.3, 0.9))),
}
BLIND = {
    "4 % worse, labels only where 1 was served": Try(replace(WORSE, labels=ONLY_ONES)),
}


def play(case: Try, seed: int) -> tuple[str, float]:
    """Return how the gate ended (Fail, or its last reason), and after how many labels."""
    draws = np.random.default_rng(seed)
    stable, candidate, memory = Served(), Served(), Memory()
    found = deployment(case.depends, stable=tried("v1"), candidate=NEW)
    trial = Trial(
        side_of(NEW),
        side_of(tried("v1")),
        Progress(StepStatus(index=0, of=1, weight=0.25, started=START)),
        START,
    )
    reason = ""
    for look in range(121):
        if look:
            stable.answer(case.rows, 375, 0.0, draws, new=False)
            candidate.answer(case.rows, 125, case.compared, draws, new=True)
        now = START + timedelta(seconds=5 * look)
        views = (stable.view("v1", START), candidate.view("v2", START))
        snapshot = Snapshot(now=now, deployment=found, freeze=freeze, processes=views)
        judgement, memory, _ = judge_gates(snapshot, trial, memory)
        (gate,) = judgement.gates
        reason = gate.reason
        if gate.verdict == "Fail":
            return "Fail", candidate.labelled
    return reason, candidate.labelled


def gate_rows(runs: int, pool: ProcessPoolExecutor) -> list[Row]:
    """Return the lines about rollouts."""
    found = []
    for name, case in TRIES.items():
        ends = [end for end, _ in pool.map(partial(play, case), range(runs), chunksize=4)]
        false, blind = ends.count("Fail"), ends.count("InsufficientData")
        told = f"{false} of {runs}" + (f", {blind} InsufficientData" if blind else "")
        bound = upper_bound(false, runs)
        line = judged(SECTION, f"rollout, {name}: rolled back", told, "<= 1 %", bound <= 0.025)
        found.append(line)
    for name, case in FAULTY.items():
        played = list(pool.map(partial(play, case), range(runs // 10), chunksize=4))
        labels = [count for end, count in played if end == "Fail"]
        median = float(np.median(labels)) if labels else float("inf")
        told = f"{len(labels)} of {len(played)}, after {median:.0f} labels of the candidate"
        goal = ">= 95 %"
        found.append(
            judged(
                SECTION, f"rollout, {name}: found", told, goal, len(labels) >= 0.95 * len(played)
            )
        )
    for name, case in BLIND.items():
        played = list(pool.map(partial(play, case), range(runs // 10), chunksize=4))
        named = sum(end == "InsufficientData" for end, _ in played)
        told = f"{named} of {len(played)} InsufficientData, the cell named"
        goal = "none promoted or rolled back"
        found.append(judged(SECTION, f"rollout, {name}", told, goal, named == len(played)))
    return found


# --- after the promotion --------------------------------------------------------------------------

Hard = Callable[[float], float]
"""Of seconds since the promotion: how many times more rows both have wrong."""


def even(_since: float) -> float:
    """As before."""
    return 1.0


@dataclass(frozen=True)
class Guarded:
    """24 hours after a promotion, looked at every 15 s; 20 rows a second, labelled at once."""

    hard: Hard = even
    fault: float = 0.0
    is_paired: bool = True
    hours: float = 24.0


def four_times(since: float) -> float:
    """Four times more from ten minutes on."""
    return 4.0 if since > 600 else 1.0


def rhythm(since: float) -> float:
    """Three times more, and three times less, over a day."""
    return 3.0 ** float(np.sin(2 * np.pi * since / 86_400))


GUARDED: Mapping[str, Guarded] = {
    "equal": Guarded(),
    "rows four times harder for both": Guarded(hard=four_times),
    "daily rhythm x3": Guarded(hard=rhythm),
}
WORSE_GUARDED: Mapping[str, Guarded] = {
    "2 % above the margin": Guarded(fault=0.03, hours=3),
}


def guarded(case: Guarded, seed: int) -> tuple[float, float] | None:
    """Return after how many seconds and labels the guard was breached; None: it was not."""
    draws = np.random.default_rng(seed)
    guard = GuardStatus(
        revision="v2",
        since=START,
        until=START + timedelta(days=1),
        references={"wrong": Count(bad=500, total=10_000)},
    )
    new = NEW if case.is_paired else tried("v2")
    found = deployment(stable=new, last_good=tried("v1"), guard=guard)
    served, memory = Served(), Memory()
    looks = int(case.hours * 240)
    for look in range(looks + 1):
        since = look * 15.0
        if look:
            share = BASE * case.hard(since)
            ours = share + case.fault
            rows = Rows(stable=(share, share), candidate=(ours, ours))
            served.answer(rows, 300, float(case.is_paired), draws, new=True)
        now = START + timedelta(seconds=since)
        snapshot = Snapshot(
            now=now, deployment=found, freeze=freeze, processes=(served.view("v2", START),)
        )
        breach, memory = watch(snapshot, guard, side_of(new), memory)
        if breach is not None:
            return since, served.labelled
    return None


def guard_rows(runs: int, pool: ProcessPoolExecutor) -> list[Row]:
    """Return the lines about the guard."""
    found = []
    for name, case in GUARDED.items():
        ends = list(pool.map(partial(guarded, case), range(runs)))
        false = sum(end is not None for end in ends)
        without = list(pool.map(partial(guarded, replace(case, is_paired=False)), range(5)))
        theirs = f"unpaired {sum(end is not None for end in without)} of 5"
        told = f"{false} of {runs}"
        line = judged(
            SECTION, f"guard, 24 h, {name}: breached", told, "<= 1 %", false <= runs / 100, theirs
        )
        found.append(line)
    for name, case in WORSE_GUARDED.items():
        ends = list(pool.map(partial(guarded, case), range(runs)))
        seconds = [end[0] for end in ends if end is not None]
        median = float(np.median(seconds)) if seconds else float("inf")
        labels = float(np.median([end[1] for end in ends if end is not None] or [np.inf]))
        told = f"{len(seconds)} of {runs} after {median:.0f} s, {labels:.0f} labels"
        is_met = len(seconds) >= 0.95 * runs and median <= 250
        found.append(
            judged(SECTION, f"guard, {name}, 20/s: found", told, ">= 95 %, <= 250 s", is_met)
        )
    return found


def rows(runs: int = RUNS, guard_runs: int = 20) -> list[Row]:
    """Return all lines."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return [
            *power_rows(),
            *gate_rows(runs // 2, pool),
            *guard_rows(guard_runs, pool),
            *busy.rows(runs // 2, pool),
        ]
