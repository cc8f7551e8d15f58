"""Deployment: keep one model of a line serving, and roll out its versions under gates.

The Kubernetes object of the same name is always called a workload here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Condition
from trimtab.api.fields import (
    AnyObject,
    Digest,
    Duration,
    Model,
    Name,
    ObjectName,
    Share,
    ShortText,
    Text,
    Time,
    rule,
    with_rules,
)
from trimtab.api.meta import Metadata
from trimtab.api.model_version import Artifact, ModelLine, VersionName


class Follow(Model):
    """Follow the newest verified version of the line instead of a pin."""

    approval: Literal["automatic"] = Field(
        default="automatic", description="automatic: every verified version is tried."
    )


class EnvironmentVariable(Model):
    """A plain environment variable of the serving container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    value: Annotated[str, Field(max_length=4096)] = ""


class SecretReference(Model):
    """A Secret in the same namespace."""

    name: ObjectName


class Resources(Model):
    """Requests and limits as in a container."""

    requests: dict[str, Annotated[str, Field(max_length=32)]] = Field(
        default_factory=dict, max_length=16
    )
    limits: dict[str, Annotated[str, Field(max_length=32)]] = Field(
        default_factory=dict, max_length=16
    )


class Serving(Model):
    """How the pods run. Part of the revision: a change is rolled out under the gates."""

    resources: Resources = Field(default_factory=Resources)
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="Container image; default the runtime of this release."
    )
    env: list[EnvironmentVariable] = Field(default_factory=list, max_length=64)
    image_pull_secrets: list[SecretReference] = Field(default_factory=list, max_length=8)
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=32
    )
    tolerations: list[AnyObject] = Field(default_factory=list, max_length=32)
    service_account_name: ObjectName | None = None
    trust_pickle: bool = Field(
        default=False, description="Load joblib files, which may run any code."
    )
    pod_template: AnyObject | None = Field(
        default=None, description="Merge patch on the pod template, applied last."
    )


class Scrape(Model):
    """The operator reads the pods itself."""

    interval: Duration = timedelta(seconds=5)


class Metrics(Model):
    """Where the figures come from."""

    scrape: Scrape = Field(default_factory=Scrape)


class Pause(Model):
    """Wait for a person."""


class Step(Model):
    """One step of a canary: a weight held for a time, or a pause."""

    model_config = with_rules(
        rule(
            "has(self.weight) != has(self.pause)",
            "a step has either weight or pause",
        ),
        rule("!has(self.for) || has(self.weight)", "for needs weight"),
    )

    weight: Share | None = Field(default=None, description="Share of the requests, 1% to 100%.")
    for_: Duration | None = Field(default=None, alias="for")
    pause: Pause | None = None

    @model_validator(mode="after")
    def _weight_or_pause(self) -> Step:
        if (self.weight is None) == (self.pause is None):
            raise ValueError("a step has either weight or pause")
        return self


class Gate(Model):
    """A pair of counters, bad among total, and what they are compared with."""

    model_config = with_rules(
        rule(
            "has(self.against) || has(self.limit)",
            "a gate needs against or limit",
        ),
        rule(
            "self.bad != 'slow' || has(self.slowerThan)",
            "bad: slow needs slowerThan",
            ".slowerThan",
        ),
        rule(
            "self.bad == 'slow' || !has(self.slowerThan)",
            "slowerThan is for bad: slow only",
            ".slowerThan",
        ),
        rule("!has(self.margin) || has(self.against)", "margin needs against", ".margin"),
        rule(
            "!has(self.failAfter) || (has(self.onNoData) && self.onNoData == 'fail')",
            "failAfter needs onNoData: fail",
            ".failAfter",
        ),
    )

    name: Name
    bad: Literal["errors", "rejected", "slow", "outcomes"] = Field(
        description="errors: 5xx or unfinished after 30 s. rejected: 400, 413, 415, 422. "
        "slow: slower than slowerThan. outcomes: wrong among labelled."
    )
    against: Literal["stable"] | None = None
    margin: Share = Field(default=0.0, description="Allowed above the share that stable shows.")
    limit: Share | None = Field(default=None, description="Allowed whatever stable shows.")
    slower_than: Duration | None = Field(
        default=None, description="Snaps to the next bucket of the histogram."
    )
    on_no_data: Literal["hold", "ignore", "fail"] = "hold"
    fail_after: Duration = Field(
        default=timedelta(minutes=2), description="With onNoData fail: how long to wait."
    )

    @model_validator(mode="after")
    def _complete(self) -> Gate:
        if self.against is None and self.limit is None:
            raise ValueError("a gate needs against or limit")
        if (self.bad == "slow") != (self.slower_than is not None):
            raise ValueError("slowerThan goes with bad: slow, and only with it")
        if self.against is None and "margin" in self.model_fields_set:
            raise ValueError("margin needs against")
        if "fail_after" in self.model_fields_set and self.on_no_data != "fail":
            raise ValueError("failAfter needs onNoData: fail")
        return self


def default_gates() -> list[Gate]:
    """Return the gates of a rollout that names none: errors, rejected, slow."""
    return [
        Gate(name="errors", bad="errors", against="stable", margin=0.005),
        Gate(name="rejected", bad="rejected", against="stable", margin=0.01),
        Gate(
            name="slow",
            bad="slow",
            slower_than=timedelta(milliseconds=250),
            against="stable",
            margin=0.02,
        ),
    ]


def default_steps() -> list[Step]:
    """Return the steps of a canary that names none."""
    return [
        Step.model_validate({"weight": "25%", "for": "1m"}),
        Step.model_validate({"weight": "50%", "for": "2m"}),
    ]


class Rollout(Model):
    """How a new revision is tried."""

    model_config = with_rules(
        rule(
            "!has(self.steps) || self.strategy == 'canary'",
            "steps are for strategy: canary only",
            ".steps",
        ),
        rule(
            "!has(self.gates) || self.strategy == 'canary'",
            "gates are for strategy: canary only",
            ".gates",
        ),
        rule(
            "!has(self.steps) || self.steps.all(s, !has(s.weight) || "
            "(double(s.weight.substring(0, size(s.weight) - 1)) >= 1.0))",
            "steps: weight must be 1% to 100%",
            ".steps",
        ),
        rule(
            "!has(self.steps) || self.steps.filter(s, has(s.weight))"
            ".map(s, double(s.weight.substring(0, size(s.weight) - 1))).isSorted()",
            "steps: weights must ascend",
            ".steps",
        ),
        rule(
            "!has(self.steps) || self.steps.filter(s, has(s.weight)).all(s, "
            "self.steps.filter(t, has(t.weight) && t.weight == s.weight).size() == 1)",
            "steps: weights must ascend",
            ".steps",
        ),
        rule(
            "!has(self.confidence) || (double(self.confidence.substring(0, "
            "size(self.confidence) - 1)) >= 50.0 && double(self.confidence.substring(0, "
            "size(self.confidence) - 1)) < 100.0)",
            "confidence must be at least 50% and below 100%",
            ".confidence",
        ),
    )

    strategy: Literal["canary", "rolling"] = "canary"
    steps: list[Step] = Field(default_factory=default_steps, min_length=1, max_length=20)
    deadline: Duration = Field(
        default=timedelta(minutes=15), description="Of the whole rollout; stands still in pauses."
    )
    on_deadline: Literal["undecided", "promote", "rollback"] = "undecided"
    confidence: Share = Field(
        default=0.99,
        description="A candidate no worse than allowed is rolled back with at most the rest.",
    )
    min_samples: int = Field(default=50, ge=0, le=10**9, description="Requests before promotion.")
    gates: Annotated[
        list[Gate],
        Field(
            default_factory=default_gates,
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ]
    allow_coarse: bool = Field(
        default=False, description="Accept a share far above the wanted one where pods are few."
    )
    allow_incompatible: bool = Field(
        default=False, description="Roll out although an input was removed or retyped."
    )
    scale_down_delay: Duration = timedelta(seconds=60)

    @model_validator(mode="after")
    def _weights_ascend(self) -> Rollout:
        weights = [step.weight for step in self.steps if step.weight is not None]
        if any(weight < 0.01 for weight in weights):
            raise ValueError("steps: weight must be 1% to 100%")
        if any(later <= earlier for earlier, later in zip(weights, weights[1:], strict=False)):
            raise ValueError("steps: weights must ascend")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be at least 50% and below 100%")
        names = [gate.name for gate in self.gates]
        if len(names) != len(set(names)):
            raise ValueError("gates: two gates of one name")
        if self.strategy == "rolling" and {"steps", "gates"} & self.model_fields_set:
            raise ValueError("steps and gates are for strategy: canary only")
        return self


class Guard(Model):
    """The watch that goes on after promotion."""

    for_: Duration = Field(default=timedelta(hours=24), alias="for")
    rollback_within: Duration = Field(
        default=timedelta(hours=1), description="Later breaches of errors and slow only notify."
    )
    action: Literal["notify", "rollback"] = Field(
        default="notify", description="What a breach after rollbackWithin does."
    )


class DeploymentSpec(Model):
    """What should serve and how a change is made."""

    model_config = with_rules(
        rule(
            "has(self.version) != has(self.follow)",
            "exactly one of version and follow",
        ),
        rule("self.model == oldSelf.model", "model is immutable", ".model"),
    )

    model: ModelLine
    version: VersionName | None = Field(default=None, description="A pin.")
    follow: Follow | None = None
    replicas: int = Field(default=1, ge=0, le=1000)
    serving: Serving = Field(default_factory=Serving)
    metrics: Metrics = Field(default_factory=Metrics)
    rollout: Rollout = Field(default_factory=Rollout)  # type: ignore[arg-type]
    guard: Guard = Field(default_factory=Guard)

    @model_validator(mode="after")
    def _pin_or_follow(self) -> DeploymentSpec:
        if (self.version is None) == (self.follow is None):
            raise ValueError("exactly one of version and follow")
        return self


# --- status -------------------------------------------------------------------------------------


class Tried(Model):
    """One revision of one version as it runs: what was frozen when it started, and its state."""

    version: VersionName
    version_object: ObjectName = Field(description="ModelVersion.")
    digest: Digest
    revision: ShortText
    workload: ObjectName
    image: Text = ""
    artifact: Artifact
    template: AnyObject = Field(
        default_factory=dict, description="Pod template, frozen when the revision started."
    )
    since: Time
    ready: int = 0
    desired: int = 0
    weight: Annotated[str, Field(max_length=40)] = Field(default="", description="Share wanted.")
    share: Annotated[str, Field(max_length=40)] = Field(default="", description="Share measured.")


class Count(Model):
    """Bad among total."""

    bad: float = 0.0
    total: float = 0.0


class GateStatus(Model):
    """What a gate saw at its last look that changed something."""

    name: Name
    verdict: Literal["Pass", "Fail", "Undecided", "Skipped", "NoData"]
    reason: ShortText = ""
    message: Text = ""
    candidate: Count = Field(default_factory=Count)
    stable: Count | None = None
    evidence: float = 0.0
    threshold: float = 0.0
    smallest_fault: Annotated[str, Field(max_length=16)] = Field(
        default="", description="The smallest fault that would have failed by now."
    )
    last_sample_age: Annotated[str, Field(max_length=20)] = ""


class Origin(Model):
    """Counter values of one process when the step started; evidence counts from there."""

    process: Annotated[str, Field(max_length=128)]
    values: dict[str, float] = Field(default_factory=dict, max_length=128)


class StepStatus(Model):
    """Where the rollout stands."""

    index: int = Field(ge=0, description="From 0.")
    of: int = Field(ge=0)
    weight: Share = 0.0
    started: Time
    first_request: Time | None = None
    origins: list[Origin] = Field(default_factory=list, max_length=2000)


class RolloutStatus(Model):
    """A rollout under way. Written before its effects, so that a crash repeats nothing."""

    phase: Literal["Starting", "Stepping", "Promoting"]
    started: Time
    step: StepStatus | None = None
    requests_before: float = Field(default=0.0, description="Candidate requests of earlier steps.")
    paused_since: Time | None = None
    paused_by: ShortText | None = None
    paused_seconds: float = Field(default=0.0, description="Of earlier pauses.")
    no_data_since: Time | None = None
    withdrawn: bool = Field(default=False, description="Traffic is at stable until data is back.")
    promoted_by: ShortText | None = Field(default=None, description="Person who skipped the rest.")


class Rejected(Model):
    """A quarantined revision; only `trimtab retry` lifts it."""

    revision: ShortText
    version: VersionName
    reason: ShortText
    by: ShortText
    at: Time
    evidence: Text = ""


class HistoryEntry(Model):
    """One finished rollout or decision."""

    version: VersionName
    revision: ShortText
    outcome: ShortText
    message: Text = ""
    at: Time
    by: ShortText = "trimtab"
    automatic: bool = True


class Retiring(Model):
    """The old stable, kept ready for a while after promotion."""

    revision: ShortText
    until: Time


class GuardStatus(Model):
    """The watch over the newly promoted version."""

    revision: ShortText
    since: Time
    until: Time
    references: dict[str, Count] = Field(
        default_factory=dict,
        max_length=16,
        description="Per gate: what stable showed during the rollout.",
    )
    detectors: AnyObject = Field(default_factory=dict, description="State of the change detector.")
    origins: list[Origin] = Field(default_factory=list, max_length=2000)
    breached: ShortText | None = None


class BackOff(Model):
    """When an undecided revision is tried again."""

    revision: ShortText
    attempts: int = 1
    not_before: Time


class DeploymentSummary(Model):
    """Strings for the columns."""

    want: ShortText = ""
    serving: ShortText = ""
    candidate: ShortText = ""
    step: ShortText = ""
    ready: ShortText = ""
    reason: ShortText = ""


class DeploymentStatus(Model):
    """What serves, what is tried, what was decided."""

    observed_generation: int | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    summary: DeploymentSummary = Field(default_factory=DeploymentSummary)
    replicas: int = 0
    selector: Text = ""
    url: Text = ""
    stable: Tried | None = None
    candidate: Tried | None = None
    last_good: Tried | None = None
    rollout: RolloutStatus | None = None
    gates: list[GateStatus] = Field(default_factory=list, max_length=16)
    retiring: Retiring | None = None
    guard: GuardStatus | None = None
    back_off: BackOff | None = None
    rejected: list[Rejected] = Field(default_factory=list, max_length=20)
    history: list[HistoryEntry] = Field(default_factory=list, max_length=10)
    commands: list[ShortText] = Field(
        default_factory=list, max_length=20, description="Ids of the last commands carried out."
    )


class Deployment(Model):
    """Keep one model of a line serving."""

    model_config = with_rules(
        rule(
            "size(self.metadata.name) <= 40",
            "metadata.name must be at most 40 characters",
        ),
    )

    metadata: Metadata
    spec: DeploymentSpec
    status: DeploymentStatus = Field(default_factory=DeploymentStatus)
