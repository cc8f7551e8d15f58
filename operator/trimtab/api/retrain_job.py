"""RetrainJob: one attempt at retraining, for one cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Condition
from trimtab.api.deployment import Resources
from trimtab.api.fields import (
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
from trimtab.api.model_version import DataUri, ModelLine


class Cause(Model):
    """What the retraining answers: a finding of a policy, or a person."""

    model_config = with_rules(
        rule(
            "has(self.manual) != has(self.policy)",
            "a cause is either manual or a policy's",
        ),
        rule(
            "!has(self.policy) || (has(self.signal) && has(self.baseline))",
            "a policy's cause needs signal and baseline",
        ),
    )

    deployment: Name
    policy: ObjectName | None = None
    signal: Literal["quality", "outcomes", "inputs", "predictions"] | None = None
    baseline: Digest | None = Field(default=None, description="Of the version that degraded.")
    attempt: int = Field(default=1, ge=1, le=1000)
    manual: ShortText | None = Field(default=None, min_length=1, description="Who asked.")

    @model_validator(mode="after")
    def _one_origin(self) -> Cause:
        if (self.manual is None) == (self.policy is None):
            raise ValueError("a cause is either manual or a policy's")
        if self.policy is not None and (self.signal is None or self.baseline is None):
            raise ValueError("a policy's cause needs signal and baseline")
        return self


class JobEngine(Model):
    """A batch/v1 Job."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None, description="Default: the training image of this release."
    )
    args: list[Annotated[str, Field(max_length=1024)]] = Field(default_factory=list, max_length=64)
    resources: Resources = Field(default_factory=Resources)
    service_account_name: ObjectName | None = None


class Engine(Model):
    """What runs the training."""

    job: JobEngine


class Data(Model):
    """Which rows to learn from."""

    uri: DataUri  # type: ignore[valid-type]
    since: Time | None = Field(default=None, description="Rows or files from this time on.")
    secret_name: ObjectName = "trimtab-artifacts"


class ChallengerGate(Model):
    """When the new version is good enough to be tried."""

    model_config = with_rules(
        rule(
            "!has(self.confidence) || (double(self.confidence.substring(0, "
            "size(self.confidence) - 1)) >= 50.0 && double(self.confidence.substring(0, "
            "size(self.confidence) - 1)) < 100.0)",
            "confidence must be at least 50% and below 100%",
            ".confidence",
        ),
    )

    metric: Literal["accuracy", "auc", "f1", "rmse"] = "accuracy"
    against: Literal["serving"] = "serving"
    not_worse_by: Share = 0.02
    confidence: Share = 0.95
    must_beat: float | None = Field(
        default=None, description="Floor that it must reach; set from the policy's floor."
    )

    @model_validator(mode="after")
    def _confidence_in_range(self) -> ChallengerGate:
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be at least 50% and below 100%")
        return self


class RetrainJobSpec(Model):
    """One attempt. Immutable."""

    model_config = with_rules(rule("self == oldSelf", "a RetrainJob is immutable; make a new one"))

    model: ModelLine
    cause: Cause
    engine: Engine
    data: Data
    gate: ChallengerGate = Field(default_factory=ChallengerGate)
    active_deadline: Duration = timedelta(hours=2)


class Measured(Model):
    """A metric of champion or challenger on the held-out rows."""

    version: ShortText = ""
    metric: ShortText = ""
    value: float | None = None
    interval: list[float] = Field(default_factory=list, max_length=2)


class Champion(Model):
    """The version that the new one is compared with, fixed when the job starts."""

    version_object: ObjectName
    uri: Text
    digest: Digest


class RetrainJobSummary(Model):
    """Strings for the columns."""

    cause: ShortText = ""
    result: ShortText = ""


class RetrainJobStatus(Model):
    """How far it got and what came out."""

    observed_generation: int | None = None
    phase: Literal[
        "Queued", "Running", "Evaluating", "Succeeded", "Rejected", "InsufficientData", "Failed"
    ] = "Queued"
    failure: Literal["data", "code", "infrastructure"] | None = None
    message: Text = ""
    started: Time | None = None
    finished: Time | None = None
    needed: int | None = Field(default=None, description="Rows that would have been enough.")
    champion_version: Champion | None = None
    new_version: ShortText = Field(default="", description="Version name, from the cause.")
    champion: Measured | None = None
    challenger: Measured | None = None
    verdict: ShortText = ""
    model_version: ObjectName | None = None
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    summary: RetrainJobSummary = Field(default_factory=RetrainJobSummary)


class RetrainJob(Model):
    """One attempt at retraining, for one cause."""

    metadata: Metadata
    spec: RetrainJobSpec
    status: RetrainJobStatus = Field(default_factory=RetrainJobStatus)


FINISHED_PHASES = frozenset({"Succeeded", "Rejected", "InsufficientData", "Failed"})
