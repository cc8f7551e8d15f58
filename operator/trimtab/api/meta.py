"""Object metadata as the operator reads it, and the constants of the API group."""

from pydantic import Field

from trimtab.api.fields import Model, Time
from trimtab.api.group import (
    API_VERSION,
    COMMAND_ANNOTATION,
    COMMAND_BY_ANNOTATION,
    DEPLOYMENT_LABEL,
    GROUP,
    MANAGED_BY_LABEL,
    MANAGER,
    MODEL_LABEL,
    RETRAIN_JOB_LABEL,
    RETRAIN_JOB_UID_LABEL,
    REVISION_LABEL,
    VERSION,
    VERSION_LABEL,
)

__all__ = [
    "API_VERSION",
    "COMMAND_ANNOTATION",
    "COMMAND_BY_ANNOTATION",
    "DEPLOYMENT_LABEL",
    "GROUP",
    "MANAGED_BY_LABEL",
    "MANAGER",
    "MODEL_LABEL",
    "RETRAIN_JOB_LABEL",
    "RETRAIN_JOB_UID_LABEL",
    "REVISION_LABEL",
    "VERSION",
    "VERSION_LABEL",
    "Metadata",
    "OwnerReference",
]


class OwnerReference(Model):
    """A link from a child to the object whose deletion deletes it."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(Model):
    """The part of `metadata` that the operator reads."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
