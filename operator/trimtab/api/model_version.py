"""ModelVersion: one immutable version of one model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trimtab.api.conditions import Conditions
from trimtab.api.fields import (
    SET_LIST,
    SUBDOMAIN_PATTERN,
    Bounds,
    Day,
    Digest,
    Image,
    Kind,
    MetricName,
    Model,
    Name,
    ObjectName,
    ShortText,
    Text,
    Uri,
    rule,
    with_rules,
)
from trimtab.api.meta import Metadata
from trimtab.api.record import Status

ArtifactUri = Uri
DataUri = Uri
ModelLine = Annotated[
    str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
VersionName = Annotated[str, Field(min_length=1, max_length=20, pattern=SUBDOMAIN_PATTERN)]


class Artifact(Model):
    """Where the files lie and what they must hash to."""

    uri: ArtifactUri = Field(description="Folder of the artifact: s3, gs, az, https or pvc.")
    digest: Digest = Field(
        description="sha256:<hex> of manifest.json, which lists every file's sha256."
    )
    format: Literal["sklearn", "onnx", "custom"] = Field(
        default="sklearn",
        description="sklearn and onnx are served by Trimtab's runtime; custom by the Deployment's "
        "own image.",
    )
    secret_name: ObjectName = Field(
        default="trimtab-artifacts",
        description="Secret with the store's credentials, in this namespace, mounted into the "
        "pods and never read by the operator.",
    )


class Code(Model):
    """Which code made the version."""

    repository: Text | None = Field(default=None, description="Repository of the training code.")
    revision: ShortText | None = Field(default=None, description="Commit of the training code.")
    image: Image | None = Field(default=None, description="Image that ran the training.")


Classification = Literal["public", "internal", "confidential", "restricted"]
"""From the least to the most strict."""


class Dataset(Model):
    """One set of rows that the version was made from or measured on, and the rules on them."""

    name: ShortText = Field(min_length=1, description="What people call the dataset.")
    uri: DataUri | None = Field(default=None, description="Where its rows lie.")
    digest: Digest | None = Field(default=None, description="sha256:<hex> of its content.")
    role: Literal["train", "calibrate", "evaluate"] = Field(
        description="What its rows were used for: train, calibrate or evaluate."
    )
    rows: int | None = Field(default=None, ge=0, le=10**15, description="Number of rows.")
    parents: list[ShortText] = Field(
        default_factory=list,
        max_length=10,
        description="Names of the datasets that its rows were taken from.",
    )
    classification: Classification | None = Field(
        default=None,
        description="Who may see what is learnt from it. Without it, the strictest is assumed "
        "where a namespace asks.",
    )
    sensitive: bool | None = Field(
        default=None, description="Whether it holds personal or otherwise protected data."
    )
    purpose: list[ShortText] = Field(
        default_factory=list,
        max_length=10,
        description="What its rows may be used for; none named: for anything.",
    )
    retain_until: Day | None = Field(
        default=None,
        description="Day after which neither it nor what was learnt from it is kept.",
    )
    transformations: list[ShortText] = Field(
        default_factory=list,
        max_length=50,
        description="What was done to the rows, in order, such as dropna(age): 100 -> 98 rows.",
    )


class Lineage(Model):
    """Where the version came from."""

    parent: ObjectName | None = Field(default=None, description="ModelVersion that it replaces.")
    retrain_job: ObjectName | None = Field(default=None, description="RetrainJob that made it.")
    code: Code | None = Field(default=None, description="Code that made it.")
    datasets: list[Dataset] = Field(
        default_factory=list,
        max_length=20,
        description="Rows that it was made from or measured on.",
    )
    parameters: dict[str, ShortText] = Field(
        default_factory=dict, max_length=64, description="Parameters of the training, as text."
    )


class Evaluation(Model):
    """One metric with its interval on one slice of one dataset."""

    metric: MetricName = Field(description="Name of the metric, such as accuracy.")
    value: float = Field(description="Value of the metric.")
    interval: Bounds | None = Field(
        default=None, description="Lower and upper end of the 95% interval around the value."
    )
    n: int | None = Field(
        default=None, ge=0, le=10**15, description="Number of rows that it rests on."
    )
    dataset: ShortText | None = Field(default=None, description="Dataset that it was measured on.")
    slice: ShortText = Field(default="all", description="Part of the rows; all means every row.")


class Card(Model):
    """What a person should know before using the model; the only part that may change."""

    intended_use: list[Text] = Field(
        default_factory=list, max_length=20, description="What the model is for."
    )
    prohibited_use: list[Text] = Field(
        default_factory=list, max_length=20, description="What it must not be used for."
    )
    limitations: list[Text] = Field(
        default_factory=list, max_length=20, description="Where it is known to be weak."
    )
    owner: ShortText | None = Field(default=None, description="Who answers for it.")


class ModelVersionSpec(Model):
    """What the version is. Immutable but for card."""

    model_config = with_rules(
        rule("self.model == oldSelf.model", "model is immutable; make a new version", ".model"),
        rule(
            "self.version == oldSelf.version",
            "version is immutable; make a new version",
            ".version",
        ),
        rule(
            "self.artifact == oldSelf.artifact",
            "artifact is immutable; make a new version",
            ".artifact",
        ),
        rule(
            "has(self.lineage) == has(oldSelf.lineage)"
            " && (!has(self.lineage) || self.lineage == oldSelf.lineage)",
            "lineage is immutable; make a new version",
            ".lineage",
        ),
        rule(
            "has(self.evaluation) == has(oldSelf.evaluation)"
            " && (!has(self.evaluation) || self.evaluation == oldSelf.evaluation)",
            "evaluation is immutable; make a new version",
            ".evaluation",
        ),
    )

    model: ModelLine = Field(description="The line that the version belongs to.")
    version: VersionName = Field(description="Name of the version in its line, such as v2.")
    artifact: Artifact = Field(description="The files that are served.")
    lineage: Lineage | None = Field(default=None, description="Where the version came from.")
    evaluation: list[Evaluation] = Field(
        default_factory=list, max_length=64, description="How good it was when it was made."
    )
    card: Card | None = Field(
        default=None,
        description="What a person should know before using it; the only part that may change.",
    )


class ModelVersionSummary(Model):
    """Strings for the columns."""

    verified: ShortText = Field(default="", description="Whether the artifact is what it says.")
    score: ShortText = Field(default="", description="First metric of the evaluation.")
    used_by: ShortText = Field(default="", description="Deployments that use it.")


class ModelVersionStatus(Status):
    """What the operator found out about the version."""

    phase: Literal["Pending", "Verified", "Unknown", "Rejected"] = Field(
        default="Pending",
        description="Pending: not looked at yet. Verified: the files match the digest. "
        "Unknown: only the pods can check. Rejected: never served.",
    )
    conditions: Conditions = Field(
        default_factory=list,
        description="Verified, with the reason when it is not; Reconciling and Stalled.",
    )
    frameworks: list[ShortText] = Field(
        default_factory=list,
        max_length=10,
        json_schema_extra=SET_LIST,
        description="Libraries beside scikit-learn that the manifest names; they choose the "
        "serving image.",
    )
    used_by: list[Name] = Field(
        default_factory=list,
        max_length=100,
        json_schema_extra=SET_LIST,
        description="Deployments that serve it or return to it.",
    )
    summary: ModelVersionSummary = Field(
        default_factory=ModelVersionSummary, description="Strings for the columns."
    )


class ModelVersion(Kind):
    """One immutable version of one model: its artifact, where it came from, how good it was."""

    model_config = with_rules(
        rule(
            "self.metadata.name == self.spec.model + '-' + self.spec.version",
            "metadata.name must be <spec.model>-<spec.version>",
        ),
    )

    metadata: Metadata
    spec: ModelVersionSpec = Field(description="What the version is. Immutable but for card.")
    status: ModelVersionStatus = Field(
        default_factory=ModelVersionStatus,
        description="What the operator found out about the version.",
    )

    @model_validator(mode="after")
    def _name_is_model_and_version(self) -> ModelVersion:
        if self.metadata.name != version_object_name(self.spec.model, self.spec.version):
            raise ValueError("metadata.name must be <spec.model>-<spec.version>")
        return self


def version_object_name(model: str, version: str) -> str:
    """Return the name that the ModelVersion of this line and version must have."""
    return f"{model}-{version}"
