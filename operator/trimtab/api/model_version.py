"""ModelVersion: one immutable version of one model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Condition
from trimtab.api.fields import (
    Digest,
    MetricName,
    Model,
    ObjectName,
    ShortText,
    Text,
    rule,
    uri_type,
    with_rules,
)
from trimtab.api.meta import Metadata

ArtifactUri = uri_type("s3", "gs", "az", "https", "pvc")
DataUri = uri_type("s3", "gs", "az", "https", "pvc")
ModelLine = Annotated[
    str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
VersionName = Annotated[
    str, Field(min_length=1, max_length=20, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]


class Artifact(Model):
    """Where the files lie and what they must hash to."""

    uri: ArtifactUri = Field(  # type: ignore[valid-type]
        description="Folder of the artifact: s3, gs, az, https or pvc."
    )
    digest: Digest = Field(description="sha256 of manifest.json, which lists every file's sha256.")
    format: Literal["sklearn", "custom"] = Field(
        default="sklearn",
        description="sklearn is served by Trimtab's runtime; custom by the Deployment's own image.",
    )
    secret_name: ObjectName = Field(
        default="trimtab-artifacts",
        description="Secret with the store's credentials, in this namespace, mounted into the "
        "pods and never read by the operator.",
    )


class Code(Model):
    """Which code made the version."""

    repository: Text | None = None
    revision: ShortText | None = None
    image: Text | None = None


class Dataset(Model):
    """One set of rows that the version was made from or measured on."""

    name: ShortText
    uri: DataUri | None = None  # type: ignore[valid-type]
    digest: Digest | None = None
    role: Literal["train", "calibrate", "evaluate"]
    rows: int | None = Field(default=None, ge=0, le=10**15)
    transformations: list[ShortText] = Field(default_factory=list, max_length=50)


class Lineage(Model):
    """Where the version came from."""

    parent: ObjectName | None = Field(default=None, description="ModelVersion it replaces.")
    retrain_job: ObjectName | None = Field(default=None, description="RetrainJob that made it.")
    code: Code | None = None
    datasets: list[Dataset] = Field(default_factory=list, max_length=20)
    parameters: dict[str, ShortText] = Field(default_factory=dict, max_length=64)


class Evaluation(
    Model,
):
    """One metric with its interval on one slice of one dataset."""

    model_config = with_rules(
        rule(
            "!has(self.interval) || self.interval[0] <= self.interval[1]",
            "interval must be two ascending numbers",
        ),
    )

    metric: MetricName
    value: float
    interval: list[float] | None = Field(default=None, min_length=2, max_length=2)
    n: int | None = Field(default=None, ge=0, le=10**15, description="Rows.")
    dataset: ShortText | None = None
    slice: ShortText = "all"

    @model_validator(mode="after")
    def _interval_ascends(self) -> Evaluation:
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError("interval must be two ascending numbers")
        return self


class Card(Model):
    """What a person should know before using the model; the only part that may change."""

    intended_use: list[Text] = Field(default_factory=list, max_length=20)
    prohibited_use: list[Text] = Field(default_factory=list, max_length=20)
    limitations: list[Text] = Field(default_factory=list, max_length=20)
    owner: ShortText | None = None


class ModelVersionSpec(Model):
    """What the version is. Immutable but for `card`."""

    model_config = with_rules(
        rule(
            "self.model == oldSelf.model && self.version == oldSelf.version"
            " && self.artifact == oldSelf.artifact"
            " && has(self.lineage) == has(oldSelf.lineage)"
            " && (!has(self.lineage) || self.lineage == oldSelf.lineage)"
            " && has(self.evaluation) == has(oldSelf.evaluation)"
            " && (!has(self.evaluation) || self.evaluation == oldSelf.evaluation)",
            "a version is immutable but for card; make a new version",
        ),
    )

    model: ModelLine = Field(description="The line that the version belongs to.")
    version: VersionName
    artifact: Artifact
    lineage: Lineage | None = None
    evaluation: list[Evaluation] = Field(default_factory=list, max_length=64)
    card: Card | None = None


class ModelVersionSummary(Model):
    """Strings for the columns."""

    verified: ShortText = ""
    score: ShortText = ""
    used_by: ShortText = ""


class ModelVersionStatus(Model):
    """What the operator found out about the version."""

    observed_generation: int | None = None
    phase: Literal["Pending", "Verified", "Unknown", "Rejected"] = "Pending"
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    used_by: list[ObjectName] = Field(
        default_factory=list,
        max_length=100,
        description="Deployments that serve it or return to it.",
    )
    summary: ModelVersionSummary = Field(default_factory=ModelVersionSummary)


class ModelVersion(Model):
    """One immutable version of one model."""

    model_config = with_rules(
        rule(
            "self.metadata.name == self.spec.model + '-' + self.spec.version",
            "metadata.name must be <spec.model>-<spec.version>",
        ),
    )

    metadata: Metadata
    spec: ModelVersionSpec
    status: ModelVersionStatus = Field(default_factory=ModelVersionStatus)

    @model_validator(mode="after")
    def _name_is_model_and_version(self) -> ModelVersion:
        if self.metadata.name != version_object_name(self.spec.model, self.spec.version):
            raise ValueError("metadata.name must be <spec.model>-<spec.version>")
        return self


def version_object_name(model: str, version: str) -> str:
    """Return the name that the ModelVersion of this line and version must have."""
    return f"{model}-{version}"
