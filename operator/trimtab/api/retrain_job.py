"""RetrainJob: one attempt at retraining, for one cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Conditions
from trimtab.api.fields import (
    Confidence,
    Digest,
    Duration,
    Image,
    Kind,
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
from trimtab.api.model_version import DataUri, ModelLine
from trimtab.api.record import Status
from trimtab.api.serving import Resources


class Cause(Model):
    """What the retraining answers: a finding of a policy, or a person."""

    model_config = with_rules(
        rule(
            "has(self.manual) != has(self.policy)",
            "a cause has either policy or manual",
            ".policy",
        ),
        rule(
            "!has(self.policy) || has(self.signal)",
            "a policy's cause needs signal",
            ".signal",
        ),
        rule(
            "!has(self.policy) || has(self.baseline)",
            "a policy's cause needs baseline",
            ".baseline",
        ),
    )

    deployment: Name = Field(description="Deployment whose model is retrained.")
    policy: ObjectName | None = Field(default=None, description="DriftPolicy that found it.")
    signal: Literal["quality", "outcomes", "inputs", "predictions"] | None = Field(
        default=None, description="Signal of the policy that fired."
    )
    baseline: Digest | None = Field(
        default=None, description="Digest of the baseline of the version that degraded."
    )
    attempt: int = Field(
        default=1, ge=1, le=1000, description="Which attempt for this cause, from 1."
    )
    manual: ShortText | None = Field(
        default=None, min_length=1, description="Person who asked for it, in place of a policy."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Cause:
        if (self.manual is None) == (self.policy is None):
            raise ValueError("a cause has either policy or manual")
        if self.policy is not None and self.signal is None:
            raise ValueError("a policy's cause needs signal")
        if self.policy is not None and self.baseline is None:
            raise ValueError("a policy's cause needs baseline")
        return self


class JobEngine(Model):
    """A batch/v1 Job."""

    image: Image | None = Field(
        default=None, description="Training image; default that of this release."
    )
    args: list[Annotated[str, Field(max_length=1024)]] = Field(
        default_factory=list, max_length=64, description="Arguments of the training program."
    )
    resources: Resources = Field(
        default_factory=Resources, description="Requests and limits of the container."
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pod."
    )


class Engine(Model):
    """What runs the training."""

    job: JobEngine = Field(description="Run it as a batch/v1 Job.")

    @property
    def name(self) -> str:
        """The field that is set: the name of the engine."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class Data(Model):
    """Which rows to learn from."""

    uri: DataUri = Field(description="Folder or file of the rows: s3, gs, az, https or pvc.")
    since: Time | None = Field(
        default=None,
        description="Only rows from this time on, such as 2026-11-01T00:00:00Z. Leave it out for "
        "all rows.",
    )
    secret_name: ObjectName = Field(
        default="trimtab-artifacts",
        description="Secret with the store's credentials, in this namespace.",
    )


class ChallengerGate(Model):
    """When the new version is good enough to be tried."""

    metric: Literal["accuracy", "auc", "f1", "rmse"] = Field(
        default="accuracy", description="Metric that champion and challenger are compared by."
    )
    against: Literal["serving"] = Field(
        default="serving", description="What it is compared with. serving: the version that serves."
    )
    not_worse_by: Share = Field(
        default=0.02, description="How much worse than the champion it may be, such as 2%."
    )
    confidence: Confidence = Field(
        default=0.95, description="Confidence of the comparison: at least 50% and below 100%."
    )
    must_beat: float | None = Field(
        default=None,
        description="Value of the metric that it must reach; set from the policy's floor.",
    )


class RetrainJobSpec(Model):
    """One attempt. Immutable."""

    model_config = with_rules(rule("self == oldSelf", "a RetrainJob is immutable; make a new one"))

    model: ModelLine = Field(description="The line that gets the new version.")
    cause: Cause = Field(description="What the retraining answers.")
    engine: Engine = Field(description="What runs the training.")
    data: Data = Field(description="Which rows to learn from.")
    gate: ChallengerGate = Field(
        default_factory=ChallengerGate,
        description="When the new version is good enough to be tried.",
    )
    active_deadline: Duration = Field(
        default=timedelta(hours=2), description="The training is stopped after it, such as 2h."
    )


class Measured(Model):
    """A metric of champion or challenger on the held-out rows."""

    version: ShortText = Field(default="", description="Version that was measured.")
    metric: ShortText = Field(default="", description="Name of the metric.")
    value: float | None = Field(default=None, description="Value of the metric.")
    interval: list[float] = Field(
        default_factory=list, max_length=2, description="Lower and upper end of its interval."
    )


class Champion(Model):
    """The version that the new one is compared with, fixed when the job starts."""

    version_object: ObjectName = Field(description="ModelVersion.")
    uri: Text = Field(description="Folder of its artifact.")
    digest: Digest = Field(description="Digest of its manifest.")


class RetrainJobSummary(Model):
    """Strings for the columns."""

    cause: ShortText = Field(default="", description="What it answers.")
    result: ShortText = Field(default="", description="What came out.")


class RetrainJobStatus(Status):
    """How far it got and what came out."""

    phase: Literal["Queued", "Running", "Succeeded", "Rejected", "InsufficientData", "Failed"] = (
        Field(
            default="Queued",
            description="Queued, Running, then how it ended: Succeeded, Rejected (the new "
            "version was worse), InsufficientData or Failed.",
        )
    )
    failure: Literal["data", "code", "infrastructure"] | None = Field(
        default=None, description="What failed; only infrastructure is tried again."
    )
    message: Text = Field(default="", description="What happened, with the figures.")
    started: Time | None = Field(default=None, description="When the training started.")
    started_led: float | None = Field(
        default=None,
        ge=0,
        description="Seconds on the clock of the Lease then, or when it began to wait.",
    )
    finished: Time | None = Field(default=None, description="When it ended.")
    needed: int | None = Field(default=None, description="Rows that would have been enough.")
    champion_version: Champion | None = Field(
        default=None, description="The version to compare with, fixed when the job starts."
    )
    new_version: ShortText = Field(default="", description="Version name, from the cause.")
    champion: Measured | None = Field(
        default=None, description="The serving version on the held-out rows."
    )
    challenger: Measured | None = Field(
        default=None, description="The new version on the same rows."
    )
    verdict: ShortText = Field(default="", description="Of the comparison.")
    model_version: ObjectName | None = Field(
        default=None, description="ModelVersion that was made."
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Complete, with how it ended as reason; Reconciling and Stalled.",
    )
    summary: RetrainJobSummary = Field(
        default_factory=RetrainJobSummary, description="Strings for the columns."
    )


class RetrainJob(Kind):
    """One attempt at retraining, for one cause."""

    model_config = with_rules(
        rule(
            "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
            "metadata.name must be at most 63 characters without dots: it names the Job",
        ),
    )

    metadata: Metadata
    spec: RetrainJobSpec = Field(description="One attempt. Immutable.")
    status: RetrainJobStatus = Field(
        default_factory=RetrainJobStatus, description="How far it got and what came out."
    )

    @model_validator(mode="after")
    def _name_fits_a_job(self) -> RetrainJob:
        if len(self.metadata.name) > 63 or "." in self.metadata.name:
            raise ValueError(
                "metadata.name must be at most 63 characters without dots: it names the Job"
            )
        return self


FINISHED_PHASES = frozenset({"Succeeded", "Rejected", "InsufficientData", "Failed"})
