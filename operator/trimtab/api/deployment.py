"""Deployment: keep one model of a line serving, and roll out its versions under gates.

The Kubernetes object of the same name is always called a workload here. The parts of the spec and
the status have modules of their own; they are imported from here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.deployment_status import (
    QUARANTINED_AT_MOST,
    BackOff,
    Count,
    DeploymentStatus,
    DeploymentSummary,
    GateStatus,
    GuardStatus,
    HistoryEntry,
    Origin,
    PairedCount,
    PodSpread,
    Rejected,
    Retiring,
    RolloutStatus,
    StepStatus,
    Tried,
)
from trimtab.api.fields import Interval, Kind, Model, ObjectName, Timeout, rule, with_rules
from trimtab.api.meta import Metadata
from trimtab.api.model_version import ModelLine, VersionName
from trimtab.api.rollout import (
    Compare,
    Gate,
    Guard,
    Outcomes,
    Pause,
    Rollout,
    Step,
    WarmUp,
    default_gates,
    default_steps,
)
from trimtab.api.serving import EnvironmentVariable, Resources, SecretReference, Serving

__all__ = [
    "QUARANTINED_AT_MOST",
    "BackOff",
    "Compare",
    "Count",
    "Deployment",
    "DeploymentSpec",
    "DeploymentStatus",
    "DeploymentSummary",
    "EnvironmentVariable",
    "Follow",
    "Gate",
    "GateStatus",
    "Guard",
    "GuardStatus",
    "HistoryEntry",
    "Metrics",
    "Origin",
    "Outcomes",
    "PairedCount",
    "Pause",
    "PodSpread",
    "Rejected",
    "Resources",
    "Retiring",
    "Rollout",
    "RolloutStatus",
    "Scrape",
    "SecretReference",
    "Serving",
    "Step",
    "StepStatus",
    "Tried",
    "WarmUp",
    "default_gates",
    "default_steps",
]


class Follow(Model):
    """Follow the newest version of the line instead of a pin."""

    approval: Literal["automatic"] = Field(
        default="automatic",
        description="automatic: every version is tried that is verified, or that only its pods "
        "can check (phase Unknown).",
    )


class Scrape(Model):
    """The operator reads the pods itself."""

    interval: Interval = Field(
        default=timedelta(seconds=5), description="Time between two scrapes, at least 1s."
    )
    timeout: Timeout = Field(
        default=timedelta(seconds=5),
        description="How long one look may take, 1s to 1m; longer than the interval if need be. "
        "While one is under way the next is left out.",
    )


class Prometheus(Model):
    """A Prometheus, Thanos or Mimir that scrapes the pods; its raw samples are read."""

    url: str = Field(
        max_length=500,
        pattern=r"^https?://[^/@?#\s]+(/[^@?#\s]*)?$",
        description="URL of its query API, without /api/v1, such as http://prometheus.monitoring:9090.",
    )
    interval: Interval = Field(
        default=timedelta(seconds=15),
        description="Time between two queries; not shorter than its own scrape interval.",
    )
    timeout: Timeout = Field(
        default=timedelta(seconds=10), description="How long one query may take, 1s to 1m."
    )
    secret_name: ObjectName | None = Field(
        default=None,
        description="Secret with credentials, one of the chart's value prometheus.secrets: url, "
        "and token or username and password, and ca.crt and orgId if needed.",
    )
    labels: dict[str, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Further labels of the series, if two scrape jobs record the same pods.",
    )


class Metrics(Model):
    """Where the figures come from: the operator's own scrapes, or a Prometheus."""

    model_config = with_rules(
        rule(
            "!(has(self.scrape) && has(self.prometheus))",
            "scrape and prometheus exclude each other",
            ".prometheus",
        ),
    )

    scrape: Scrape | None = Field(
        default=None, description="The operator scrapes the pods itself; this is the default."
    )
    prometheus: Prometheus | None = Field(
        default=None, description="A Prometheus, Thanos or Mimir that scrapes the pods."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Metrics:
        if self.scrape is not None and self.prometheus is not None:
            raise ValueError("prometheus: scrape and prometheus exclude each other")
        return self

    @property
    def interval(self) -> timedelta:
        """Time between two looks."""
        return (self.prometheus or self.scrape or Scrape()).interval

    @property
    def timeout(self) -> timedelta:
        """How long one look may take."""
        return (self.prometheus or self.scrape or Scrape()).timeout


class DeploymentSpec(Model):
    """What should serve and how a change is made."""

    model_config = with_rules(
        rule(
            "has(self.version) != has(self.follow)",
            "exactly one of version and follow",
            ".version",
        ),
        rule("self.model == oldSelf.model", "model is immutable", ".model"),
    )

    model: ModelLine = Field(description="The line of ModelVersions that is served.")
    version: VersionName | None = Field(
        default=None, description="The version to serve, such as v2; or use follow."
    )
    follow: Follow | None = Field(
        default=None, description="Serve the newest version of the line; or use version."
    )
    replicas: int = Field(
        default=1, ge=0, le=1000, description="Pods of stable. HPA and KEDA set it through scale."
    )
    serving: Serving = Field(
        default_factory=Serving, description="How the pods run. A change makes a new revision."
    )
    metrics: Metrics = Field(default_factory=Metrics, description="Where the figures come from.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision is tried.")
    guard: Guard = Field(
        default_factory=Guard, description="The watch that goes on after promotion."
    )
    compare: Compare = Field(
        default_factory=Compare,
        description="For a gate of outcomes: pods of a new version predict with the one before, "
        "too. A change makes no new revision.",
    )
    outcomes: Outcomes = Field(default_factory=Outcomes, description="What is known of the labels.")

    @model_validator(mode="after")
    def _pin_or_follow(self) -> DeploymentSpec:
        if (self.version is None) == (self.follow is None):
            raise ValueError("exactly one of version and follow")
        return self


_NAME_MESSAGE = "metadata.name must be at most 40 characters without dots: it names the Service"


class Deployment(Kind):
    """Keep one model of a line serving, and roll out its versions under gates."""

    model_config = with_rules(
        rule("size(self.metadata.name) <= 40 && !self.metadata.name.contains('.')", _NAME_MESSAGE),
    )

    metadata: Metadata
    spec: DeploymentSpec = Field(description="What should serve and how a change is made.")
    status: DeploymentStatus = Field(
        default_factory=DeploymentStatus,
        description="What serves, what is tried, what was decided.",
    )

    @model_validator(mode="after")
    def _name_fits_a_service(self) -> Deployment:
        if len(self.metadata.name) > 40 or "." in self.metadata.name:
            raise ValueError(_NAME_MESSAGE)
        return self
