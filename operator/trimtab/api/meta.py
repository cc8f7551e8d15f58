"""Object metadata as the operator reads it, and the constants of the API group."""

from typing import Final

from pydantic import Field

from trimtab.api.fields import Model, Time

GROUP: Final = "trimtab.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
MANAGER: Final = "trimtab"
"""Field manager of every write and value of the managed-by label."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
DEPLOYMENT_LABEL: Final = "trimtab.dev/deployment"
REVISION_LABEL: Final = "trimtab.dev/revision"
MODEL_LABEL: Final = "trimtab.dev/model"
VERSION_LABEL: Final = "trimtab.dev/version"
RETRAIN_JOB_LABEL: Final = "trimtab.dev/retrain-job"
RETRAIN_JOB_UID_LABEL: Final = "trimtab.dev/retrain-job-uid"
"""Names are given again: tells the pods of one RetrainJob from those of an earlier one."""

COMMAND_ANNOTATION: Final = "trimtab.dev/command"
"""`verb/revision/id`, written by a person through the CLI and carried out once."""
COMMAND_BY_ANNOTATION: Final = "trimtab.dev/command-by"


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
