"""Status of a Deployment: what serves, what is tried, what was decided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trimtab.api.conditions import Conditions, Reason
from trimtab.api.fields import (
    AnyObject,
    Digest,
    Model,
    Name,
    ObjectName,
    Share,
    ShortText,
    Text,
    Time,
    map_list,
)
from trimtab.api.model_version import Artifact, VersionName
from trimtab.api.record import Status

Origins = Annotated[list["Origin"], Field(max_length=2000, json_schema_extra=map_list("process"))]

QUARANTINED_AT_MOST = 100


class Tried(Model):
    """One revision of one version as it runs: what was frozen when it started, and its state."""

    version: VersionName = Field(description="Version of the line.")
    version_object: ObjectName = Field(description="ModelVersion.")
    digest: Digest = Field(description="Digest of the artifact's manifest.")
    revision: ShortText = Field(description="Hash of the artifact's digest and spec.serving.")
    workload: ObjectName = Field(description="apps/v1 Deployment that runs it.")
    image: Text = Field(default="", description="Serving image, resolved when it started.")
    artifact: Artifact = Field(description="The files, as the ModelVersion named them.")
    template: AnyObject = Field(
        default_factory=dict, description="Pod template, frozen when the revision started."
    )
    asks: Digest | None = Field(
        default=None,
        description="Digest of the version that its pods ask, too, so that both are compared on "
        "the same rows.",
    )
    since: Time = Field(description="When it started.")
    ready: int = Field(default=0, description="Pods that are Ready.")
    desired: int = Field(default=0, description="Pods that are wanted.")
    weight: Annotated[str, Field(max_length=40)] = Field(default="", description="Share wanted.")
    share: Annotated[str, Field(max_length=40)] = Field(default="", description="Share measured.")


class Count(Model):
    """Bad among total."""

    bad: float = Field(default=0.0, description="Bad ones.")
    total: float = Field(default=0.0, description="All.")


class PairedCount(Model):
    """Labelled requests that the version before was asked, too: both on the same rows."""

    requests: float = Field(default=0.0, description="Labelled requests that both answered.")
    difference: float = Field(
        default=0.0,
        description="Share of their rows that the candidate has wrong, minus that of the other; "
        "evened out where labels depend on the answer.",
    )
    counts: dict[str, float] = Field(
        default_factory=dict,
        max_length=9,
        description="What the evidence rests on: requests by the difference over the rows of one, "
        "-1 to 1, as so many independent ones, and evened out.",
    )
    evidence: float = Field(default=0.0, description="Evidence against the candidate from pairs.")
    alike: float = Field(
        default=1.0,
        description="How many requests count as one, as stable's pods show that they come alike.",
    )
    evened: bool = Field(
        default=False,
        description="Labels come more often for some answers, and are thinned out where they do.",
    )


UNABLE_REASONS = (Reason.PODS_DIFFER, Reason.PARTLY_SEEN, Reason.WORSE_SO_FAR)
"""Of gates that pass because nothing has failed them yet."""


class GateStatus(Model):
    """What a gate saw at its last look that changed something."""

    name: Name = Field(description="Name of the gate.")
    verdict: Literal["Pass", "Fail", "Undecided", "Skipped", "NoData"] = Field(
        description="What the gate says."
    )
    reason: ShortText = Field(default="", description="Why, in one word.")
    message: Text = Field(default="", description="Why, with the figures.")
    candidate: Count = Field(default_factory=Count, description="Counts of the candidate.")
    stable: Count | None = Field(default=None, description="Counts of stable over the same time.")
    evidence: float = Field(default=0.0, description="Evidence against the candidate so far.")
    threshold: float = Field(default=0.0, description="Evidence at which the gate fails.")
    spread: float = Field(
        default=1.0,
        description="How many times more the counts of stable's pods differ from each other than "
        "those of independent requests would; 1: no more.",
    )
    compared: Count | None = Field(
        default=None,
        description="Stable's counts as if its requests had come when the candidate's came: what "
        "the evidence compares with.",
    )
    paired: PairedCount | None = Field(
        default=None, description="What both versions showed on the same rows; outcomes only."
    )
    smallest_fault: Annotated[str, Field(max_length=16)] = Field(
        default="", description="The smallest fault that would have failed by now."
    )
    smallest_fault_share: Share | None = Field(
        default=None, description="The same with four decimals."
    )
    last_sample_age: Annotated[str, Field(max_length=20)] = Field(
        default="", description="Age of the newest figure."
    )

    @property
    def is_unable(self) -> bool:
        """Whether it passes since nothing failed it, and has not judged all the same."""
        return self.verdict == "Pass" and self.reason in UNABLE_REASONS


class PodSpread(Model):
    """How much the pods of stable differ from each other, as one gate counts."""

    gate: Name = Field(description="Name of the gate.")
    rounds: int = Field(description="Length of the blocks of time, in rounds of scrapes.")
    inflation: float = Field(description="Variance of the counts over that of independent ones.")
    correlation: float = Field(description="Of two requests of one pod within a block.")


class Origin(Model):
    """Counter values of one process when the step started; evidence counts from there."""

    process: Annotated[str, Field(max_length=128)] = Field(description="Pod and start time.")
    values: dict[str, float] = Field(
        default_factory=dict, max_length=128, description="Values of the counters, by name."
    )


class StepStatus(Model):
    """Where the rollout stands."""

    index: int = Field(ge=0, description="Which step, from 0.")
    of: int = Field(ge=0, description="How many steps there are.")
    weight: Share = Field(default=0.0, description="Share wanted in this step.")
    started: Time = Field(description="When the step started.")
    first_request: Time | None = Field(
        default=None, description="First user request that the candidate answered in it."
    )
    origins: Origins = Field(
        default_factory=list,
        description="Counter values of each process at its start; of more than 40 processes they "
        "are in the operator's memory and checkpoint.",
    )
    lost: int | None = Field(
        default=None,
        ge=0,
        description="How often these values were lost by a restart without a checkpoint; its "
        "evidence begins anew then, with half of the error rate that was left.",
    )
    counted_since: Time | None = Field(
        default=None, description="Since when it counts, if values were lost."
    )


class RolloutStatus(Model):
    """A rollout under way. Written before its effects, so that a crash repeats nothing."""

    phase: Literal["Starting", "Stepping", "Promoting", "Returning"] = Field(
        description="Starting: pods start out of traffic. Stepping: on a share of the requests. "
        "Promoting: takes over. Returning: the last good version takes over again."
    )
    started: Time = Field(description="When the rollout started.")
    started_led: float | None = Field(
        default=None,
        ge=0,
        description="Seconds on the clock of the Lease then: the deadline counts from there.",
    )
    step: StepStatus | None = Field(default=None, description="The step it is in.")
    requests_before: float = Field(default=0.0, description="Candidate requests of earlier steps.")
    paused_since: Time | None = Field(default=None, description="When it was paused.")
    paused_led: float | None = Field(
        default=None, ge=0, description="Seconds on the clock of the Lease then."
    )
    paused_by: ShortText | None = Field(default=None, description="Person or step that paused it.")
    pause_reason: ShortText | None = Field(
        default=None, description="PausedByStep or PausedByPerson."
    )
    paused_seconds: float = Field(default=0.0, description="Seconds spent in earlier pauses.")
    no_data_since: Time | None = Field(default=None, description="Since when figures are missing.")
    withdrawn: bool = Field(default=False, description="Traffic is at stable until data is back.")
    promoted_by: ShortText | None = Field(default=None, description="Person who skipped the rest.")


class Rejected(Model):
    """A quarantined revision; only `trimtab retry mdep/NAME` lifts it."""

    revision: ShortText = Field(description="Revision that is not tried again.")
    version: VersionName = Field(description="Version of the line.")
    reason: ShortText = Field(description="Why, in one word.")
    by: ShortText = Field(description="Gate or person that rejected it.")
    at: Time = Field(description="When it was rejected.")
    evidence: Text = Field(default="", description="The counts that it rests on.")


class HistoryEntry(Model):
    """One finished rollout or decision."""

    version: VersionName = Field(description="Version of the line.")
    revision: ShortText = Field(description="Revision that was tried.")
    outcome: ShortText = Field(description="How it ended.")
    message: Text = Field(default="", description="Why, with the figures.")
    at: Time = Field(description="When it ended.")
    by: ShortText = Field(default="trimtab", description="Who decided.")
    automatic: bool = Field(default=True, description="False if a person decided.")


class Retiring(Model):
    """The old stable, kept ready for a while after promotion."""

    revision: ShortText = Field(description="Revision that is kept.")
    until: Time = Field(description="When it is scaled down.")


class GuardStatus(Model):
    """The watch over the newly promoted version."""

    revision: ShortText = Field(description="Revision that is watched.")
    since: Time = Field(description="When the watch started.")
    since_led: float | None = Field(
        default=None, ge=0, description="Seconds on the clock of the Lease then: it ends by that."
    )
    until: Time = Field(description="When it ends.")
    references: dict[str, Count] = Field(
        default_factory=dict,
        max_length=16,
        description="Per gate: what stable showed during the rollout, or the version itself if "
        "stable was bad.",
    )
    hours: dict[str, Annotated[list[Count], Field(max_length=24)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Per gate: what stable showed in the 24 hours before, by hour of day (UTC).",
    )
    peaks: dict[str, Annotated[list[Count], Field(max_length=24)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Per gate: the worst five minutes of each of these hours.",
    )
    control_since: Time | None = Field(
        default=None, description="Since when a pod of the last good version serves beside it."
    )
    detectors: AnyObject = Field(default_factory=dict, description="State of the change detector.")
    origins: Origins = Field(
        default_factory=list,
        description="Counter values of each process when the watch started; of more than 40 "
        "processes they are in the operator's memory and checkpoint.",
    )
    lost: int | None = Field(
        default=None,
        ge=0,
        description="How often these values were lost by a restart without a checkpoint.",
    )
    counted_since: Time | None = Field(
        default=None, description="Since when it counts, if values were lost."
    )
    breached: ShortText | None = Field(
        default=None, description="What was breached, with the figures."
    )
    breach_reason: ShortText | None = Field(
        default=None,
        description="GuardBreached; NoWayBack if there was nothing to return to; "
        "ReturnDelayed while something else is tried before the way back goes on; "
        "FirstVersionFailed.",
    )


class BackOff(Model):
    """When an undecided revision is tried again."""

    revision: ShortText = Field(description="Revision that waits.")
    attempts: int = Field(default=1, description="How often it was tried.")
    not_before: Time = Field(description="When it is tried again.")


class DeploymentSummary(Model):
    """Strings for the columns."""

    want: ShortText = Field(default="", description="Version that is wanted.")
    serving: ShortText = Field(default="", description="Version that serves.")
    candidate: ShortText = Field(default="", description="Version that is being tried.")
    step: ShortText = Field(default="", description="Step and weight, such as 2/3 50%.")
    ready: ShortText = Field(default="", description="Ready pods of stable, such as 3/3.")
    reason: ShortText = Field(default="", description="The reason that matters most.")


class DeploymentStatus(Status):
    """What serves, what is tried, what was decided."""

    conditions: Conditions = Field(
        default_factory=list,
        description="Ready, Progressing, Degraded, Paused, Quarantined, DataAvailable, UpToDate, "
        "Reconciling and Stalled.",
    )
    summary: DeploymentSummary = Field(
        default_factory=DeploymentSummary, description="Strings for the columns."
    )
    replicas: int = Field(default=0, ge=0, description="Pods of stable; read by scale.")
    selector: Text = Field(default="", description="Label selector of these pods; read by scale.")
    url: Text = Field(default="", description="Where requests go.")
    stable: Tried | None = Field(default=None, description="What serves users now.")
    candidate: Tried | None = Field(default=None, description="What is being tried.")
    last_good: Tried | None = Field(default=None, description="What would be returned to.")
    rollout: RolloutStatus | None = Field(default=None, description="The rollout under way.")
    gates: Annotated[list[GateStatus], Field(max_length=16, json_schema_extra=map_list("name"))] = (
        Field(default_factory=list, description="What each gate saw last.")
    )
    spread: list[PodSpread] = Field(
        default_factory=list,
        max_length=64,
        description="How much pods differ, as learnt by the last rollout or guard; a new process "
        "of the operator begins with it.",
    )
    retiring: Retiring | None = Field(
        default=None, description="The old stable, kept ready for a while after promotion."
    )
    guard: GuardStatus | None = Field(
        default=None, description="The watch over the newly promoted version."
    )
    back_off: BackOff | None = Field(
        default=None, description="When an undecided revision is tried again."
    )
    rejected: list[Rejected] = Field(
        default_factory=list,
        max_length=QUARANTINED_AT_MOST,
        description="Quarantined revisions, oldest first.",
    )
    history: list[HistoryEntry] = Field(
        default_factory=list, max_length=10, description="How the last rollouts ended."
    )
    commands: list[ShortText] = Field(
        default_factory=list, max_length=20, description="Ids of the last commands carried out."
    )
