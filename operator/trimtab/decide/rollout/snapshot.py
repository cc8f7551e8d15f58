"""What a decision about a Deployment rests on: one frozen view, taken once per pass."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from trimtab.api.conditions import Reason
from trimtab.api.deployment import Deployment, Origin
from trimtab.api.model_version import Artifact, ModelVersion
from trimtab.decide.led_time import Instant
from trimtab.decide.rollout.blocks import Counts
from trimtab.decide.rollout.evidence import MOST_AWAITED, GateMemory, Lives
from trimtab.decide.rollout.habit import Allowed, Habit
from trimtab.stats.change import DetectorState
from trimtab.stats.counts import NOTHING, BadTotal
from trimtab.stats.paired import Answers, Cell, CellCounts, PairedChange

T = TypeVar("T")
Pair = tuple[str, str]
"""Digests: of the version that answers, and of the one that is asked, too."""
Span = tuple[float, float, float]
"""Answers, labels and wrong ones among them that came in a span of time."""


@dataclass(frozen=True)
class PodView:
    """One serving pod as the kubelet and the scheduler report it."""

    name: str
    uid: str
    revision: str
    ready: bool = False
    terminating: bool = False
    disrupted: bool = False
    """Evicted or preempted: not the model's fault."""
    restarts: int = 0
    crashed: bool = False
    """The serving container ended by itself, or was killed."""
    killed: bool = False
    """The kubelet may have ended it, for a probe or with its node, and not for its memory."""
    was_ready: bool = False
    """It is Ready, or was so in this run of its container."""
    ended_ready: bool = False
    """The run before was Ready, and the pod is not since it ended."""
    unheard: bool = False
    """It is not Ready, though its containers are: its node is not heard of any more."""
    startable_seconds: float = 0.0
    """How long it has had all that it needs to start: a node, its image, its artifact.

    Once one of its containers has begun: since then.
    """
    unbegun: str = ""
    """Why none of its containers has begun yet, where that is of the cluster, and what to do."""
    unready_seconds: float = 0.0
    ready_seconds: float = 0.0
    ended_comparing: bool = False
    """It lacked memory for two models at its first end, which is not held against the version."""
    ended_starting: bool = False
    """It ended once only, and that run was never Ready; or it has been Ready since."""
    unschedulable: bool = False
    image_missing: bool = False
    ended_unloaded: bool = False
    """Its last end was for the store, which did not give it its artifact."""
    message: str = ""


@dataclass(frozen=True)
class WorkloadView:
    """One workload of ours as it is in the cluster."""

    name: str
    uid: str
    revision: str
    replicas: int
    ready: int
    """As its controller says of the size that it has now; 0 if it has not looked since."""
    terminating: bool = False
    failure: str = ""
    """Why the cluster makes no pods for it, in the cluster's words."""


@dataclass(frozen=True)
class Taken:
    """Names of our children that are somebody else's: by name, what a person can do."""

    services: Mapping[str, str] = field(default_factory=dict)
    workloads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcessView:
    """The counters of one serving process: measures of `measures`, since it started."""

    process: str
    revision: str
    counts: Mapping[str, float]
    sampled_at: datetime | None = None
    problem: Reason | None = None
    """Why its last scrape gave nothing; None if it did."""
    detail: str = ""
    fell_silent: bool = False
    """Whether its port, which had answered scrapes, does not answer any more."""
    pod_ready: bool = True
    ready_seconds: float = 0.0
    """How long its pod has been Ready; 0 if it is not."""
    born: datetime | None = None
    """When the process began, as it says."""
    first: Mapping[str, float] = field(default_factory=dict)
    """Its counts at the first scrape that we saw."""
    warm: Mapping[str, float] | None = field(default_factory=dict)
    """Its counts when its first requests were over; None before that."""
    lags: bool = False
    """Whether the counts are of an earlier moment than those of others."""
    cells: Mapping[Pair, Mapping[Cell, CellCounts]] = field(default_factory=dict)
    """Rows that two versions answered, by their answers."""
    answers: Mapping[str, Answers] = field(default_factory=dict)
    """By digest of a version: rows answered and labelled ones, by class."""
    tokens: int = 1
    """The newest format of label tokens that it reads; answers of two versions need 2."""
    compares: str = ""
    """How its comparison with another version stands, in its own word."""
    is_short: bool = False
    """Whether the counts leave out what it did while nobody saw it; after a restart they do not."""
    left_out: Mapping[str, float] = field(default_factory=dict)
    """What they leave out."""
    ahead: Mapping[str, float] | None = None
    """Its counts at the first reading after the moment of the round; None: they are of it."""
    counted_at: datetime | None = None
    """When a backend had read its counts; None: where it was scraped, with others of its round."""


@dataclass(frozen=True)
class Frozen:
    """How a revision will run, resolved once when it starts."""

    workload: str
    image: str
    template: dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The version that a revision's pods ask as well, and until when."""

    artifact: Artifact
    until: datetime


Freeze = Callable[[ModelVersion, str, "Asked | None"], Frozen]


@dataclass(frozen=True)
class StepMemory:
    """Of one step, told by its index and start."""

    index: int
    started: datetime
    gates: Mapping[str, GateMemory] = field(default_factory=dict)
    """Per gate, what it saw; of a backend's readings with stable ahead of the candidate."""
    first_request: datetime | None = None
    """When the step saw its first request; in status only with the next write."""
    alive: Lives = field(default_factory=dict)
    """Whom the last look saw."""
    is_resumed: bool = False
    """Whether it is from a checkpoint, and no look came since."""
    cells: Mapping[Cell, CellCounts] | None = None
    """What both versions had answered when the step began; a new process begins anew."""
    left_out: Mapping[str, Mapping[str, float]] | None = None
    """By process, what its counts left out when the step began; a new process begins anew."""
    turned: Mapping[str, GateMemory] = field(default_factory=dict)
    """The same with the candidate ahead of stable; nothing where both are of one moment."""


@dataclass(frozen=True)
class PairsSeen:
    """Of one gate under guard: what is remembered of pairs."""

    change: PairedChange = field(default_factory=PairedChange)
    taken: Mapping[float, float] = field(default_factory=dict)
    """Requests by difference that `change` knows."""
    risen: Mapping[float, float] = field(default_factory=dict)
    """Requests by difference since the mean was last at most the margin."""
    grew_at: datetime | None = None
    """When the last new pair was seen."""
    looked_at: datetime | None = None
    own: BadTotal = NOTHING
    """What the version showed lately while pairs told."""
    total: BadTotal = NOTHING
    """What it had counted at the last look."""
    calm: Mapping[float, float] = field(default_factory=dict)
    """Requests by difference when the change detector saw no change last."""
    calm_at: datetime | None = None
    """When that was."""
    alarmed_at: datetime | None = None
    """When the change detector alarmed first since; None: it did not."""
    waits_until: datetime | None = None
    """Until when such an alarm waits for what pairs show."""
    is_excused: bool = False
    """Whether pairs since then speak against a change of the version's own."""


@dataclass(frozen=True)
class Heard:
    """Of one gate: when the control told something last, and how it stands with it.

    ours, theirs: what the version and the control had counted then.
    """

    at: datetime
    ours: float
    theirs: float
    is_mute: bool = False
    """Whether the guard goes on as without a control."""
    again: datetime | None = None
    """Since when one that was mute tells again."""


@dataclass(frozen=True)
class Fresh:
    """Of one gate beside a control, from a backend's readings: what takes the place of what is old.

    looks: how many there were since it began. seen: as `GuardMemory.beside` and `turned`.
    """

    looks: int
    seen: tuple[GateMemory, ...]


@dataclass(frozen=True)
class LateLabels:
    """Of one gate under guard: how labels lag behind answers.

    per_answer: labels that an answer gets sooner or later, and usual: wrong among labels, by all
    that the pods of the version before showed. before_answers, before_labels: until the promotion.
    """

    per_answer: float
    usual: BadTotal = NOTHING
    before_answers: float = 0.0
    before_labels: BadTotal = NOTHING
    answers: float = 0.0
    """Since the promotion, as are `labels`."""
    labels: float = 0.0
    spans: tuple[Span, ...] = ()
    """What came in the last day or more, oldest first."""
    width: float = 0.0
    """Of a span, seconds."""
    seconds: float = 0.0
    """From the begin of the first one until now."""

    def at(self, answers: float, labels: float) -> LateLabels:
        """Return the same with what was counted since the promotion."""
        return replace(self, answers=answers, labels=labels)

    @property
    def lag(self) -> float:
        """Labels that are still to come; below 0: there were more than of so many answers."""
        return self.per_answer * self.answers - self.labels

    @property
    def lagged(self) -> bool:
        """Whether labels lagged before the promotion by more than a hundredth of them."""
        return self.lag_before > 0.01 * self.per_answer * self.before_answers

    @property
    def lag_before(self) -> float:
        """Labels that were still to come at the promotion."""
        return self.per_answer * self.before_answers - self.before_labels.total

    @property
    def awaited(self) -> float:
        """How many times more labels there would be, were none still to come; at least 1."""
        if self.labels <= 0:
            return 1.0
        return min(1.0 + max(0.0, self.lag) / self.labels, MOST_AWAITED)


@dataclass(frozen=True)
class GuardMemory:
    """Of the guard over one revision."""

    revision: str
    detectors: Mapping[str, DetectorState] = field(default_factory=dict)
    """Per gate, the change detector."""
    last: Mapping[str, Counts] = field(default_factory=dict)
    """Per gate, what each process had counted at the last look."""
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    """Per gate, how much pods may differ by what was learnt before the promotion; else no bound."""
    restored: datetime | None = None
    """When a new process of the operator took the guard up; older processes count from then on."""
    beside: Mapping[str, GateMemory] = field(default_factory=dict)
    """Per gate, what the version and its control showed in the same moments, since a change.

    Of a backend's readings with the control ahead of the version.
    """
    turned: Mapping[str, GateMemory] = field(default_factory=dict)
    """The same with the version ahead of its control; nothing where both are of one moment."""
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    """Per gate, what was seen in the last looks; a new process begins anew."""
    lately: Mapping[str, tuple[BadTotal, ...]] = field(default_factory=dict)
    """Per gate, what the control counted in the last minutes, one by one."""
    minute: datetime | None = None
    """When the last of these minutes began."""
    heard: Mapping[str, Heard] = field(default_factory=dict)
    """Per gate, whether the control tells anything; a new process of the operator begins anew."""
    looked_at: datetime | None = None
    since: datetime | None = None
    """When the guard began that this is of."""
    control_since: datetime | None = None
    """Since when the control served at the last look."""
    alive: Lives = field(default_factory=dict)
    """Whom the last look saw."""
    is_resumed: bool = False
    """Whether it is from a checkpoint, and no look came since."""
    cells: Mapping[Cell, CellCounts] | None = None
    """What both versions had answered when the guard began, or was taken up."""
    pairs: Mapping[str, PairsSeen] = field(default_factory=dict)
    """Per gate, what is remembered of pairs; a new process counts from the promotion again."""
    late: Mapping[str, LateLabels] = field(default_factory=dict)
    """Per gate of outcomes, how labels lag; without a checkpoint a new process knows nothing."""
    answered: Counts = field(default_factory=dict)
    """What each process had answered at the last look."""

    def alone(self, gates: Container[str] | None = None) -> GuardMemory:
        """Return the memory without what these gates saw beside a control; None: all of them."""

        def others(seen: Mapping[str, T]) -> dict[str, T]:
            return {
                gate: one for gate, one in seen.items() if gates is not None and gate not in gates
            }

        return replace(
            self, beside=others(self.beside), turned=others(self.turned), fresh=others(self.fresh)
        )


@dataclass(frozen=True)
class Memory:
    """What is worth keeping between passes but not worth a write each; safe to lose."""

    step: StepMemory | None = None
    guard: GuardMemory | None = None
    habits: Mapping[str, Habit] = field(default_factory=dict)
    """Per gate, how much stable's pods differ; it outlives rollouts."""
    origins: Mapping[str, tuple[Origin, ...]] = field(default_factory=dict)
    """Of a step or a guard with many processes: where counting began."""
    unseen_since: datetime | None = None
    """Since when no figures of the version under guard are read; a new process begins anew."""

    def of_traffic(self) -> Memory:
        """Return what outlives a rollout that leaves stable as it is."""
        return Memory(habits=self.habits, guard=self.guard, unseen_since=self.unseen_since)

    def unseen(self, since: datetime | None) -> Memory:
        """Return the same with since when nothing is seen under guard; None: it is."""
        return replace(self, unseen_since=since)

    def of_new_stable(self) -> Memory:
        """Return what outlives a change of stable."""
        return Memory(habits=self.habits)

    def learnt_before(self, moment: datetime) -> Memory:
        """Return the same with what was learnt of pods until then only."""
        habits = {gate: habit.before(moment) for gate, habit in self.habits.items()}
        return replace(self, habits=habits)

    def of_step(self, index: int, started: datetime) -> StepMemory:
        """Return what is remembered of this step; nothing of an earlier one."""
        step = self.step
        if step is not None and (step.index, step.started) == (index, started):
            return step
        return StepMemory(index, started)


@dataclass(frozen=True)
class Request:
    """What a DriftPolicy asks for."""

    do: str
    message: str


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision may look at."""

    now: datetime
    deployment: Deployment
    freeze: Freeze
    """Build the pod template of a version and revision with today's defaults (pure)."""
    versions: Mapping[str, ModelVersion] = field(default_factory=dict)
    """ModelVersions of the namespace by object name."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """ModelVersions that this release cannot read: what is wrong, by object name."""
    taken: Taken = field(default_factory=Taken)
    workloads: Mapping[str, WorkloadView] = field(default_factory=dict)
    """By revision."""
    pods: tuple[PodView, ...] = ()
    processes: tuple[ProcessView, ...] = ()
    incompatible: Mapping[str, str] = field(default_factory=dict)
    """ModelVersion name to why its inputs do not fit what stable accepts."""
    unread: frozenset[str] = frozenset()
    """ModelVersions of which nobody knows whether they fit, until files are read again."""
    memory: Memory = field(default_factory=Memory)
    requested: Request | None = None
    led: float | None = None
    """Seconds that operators have led, up to now; None: nobody counts them."""

    @property
    def instant(self) -> Instant:
        """The time of the pass by both clocks."""
        return Instant(self.now, self.led)

    def pods_of(self, revision: str) -> list[PodView]:
        """Return the pods of a revision that are not on their way out."""
        return [p for p in self.pods if p.revision == revision and not p.terminating]

    def ready_of(self, revision: str) -> int:
        """Return how many pods of a revision are Ready."""
        return sum(pod.ready for pod in self.pods_of(revision))

    def carried_by(self, revision: str) -> int:
        """Return how many pods of a revision are Ready, for all who know of it.

        A pod that is being deleted may be Ready for those who were not told; a pod that became
        Ready is not counted by its workload yet.
        """
        workload = self.workloads.get(revision)
        return 0 if workload is None else min(workload.ready, self.ready_of(revision))
