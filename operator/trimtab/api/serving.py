"""How the pods of a Deployment run. All of it is part of the revision."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from trimtab.api.fields import (
    AnyObject,
    Duration,
    Image,
    LabelValue,
    Model,
    ObjectName,
    Quantity,
    map_list,
    rule,
    rules,
    unique,
)
from trimtab.api.pod_template import PodTemplatePatch


class EnvironmentVariable(Model):
    """A plain environment variable of the serving container."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            json_schema_extra=rules(
                rule("!self.startsWith('TRIMTAB_')", "names with TRIMTAB_ are set by the operator")
            ),
        ),
    ] = Field(description="Name of the variable.")
    value: Annotated[str, Field(max_length=4096)] = Field(
        default="", description="Value of the variable."
    )

    @field_validator("name")
    @classmethod
    def _is_not_ours(cls, name: str) -> str:
        if name.startswith("TRIMTAB_"):
            raise ValueError("names with TRIMTAB_ are set by the operator")
        return name


class SecretReference(Model):
    """A Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Resources(Model):
    """Requests and limits as in a container."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What is set aside for the container, such as cpu: 250m.",
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What the container may use at most, such as memory: 1Gi.",
    )


class Serving(Model):
    """How the pods run. Part of the revision: a change is rolled out under the gates."""

    resources: Resources = Field(
        default_factory=Resources, description="Requests and limits of the serving container."
    )
    image: Image | None = Field(
        default=None, description="Container image; default the runtime of this release."
    )
    env: Annotated[
        list[EnvironmentVariable],
        Field(max_length=64, json_schema_extra=map_list("name")),
        unique(lambda variable: variable.name, "variables of one name"),
    ] = Field(default_factory=list, description="Environment of the serving container.")
    image_pull_secrets: Annotated[
        list[SecretReference],
        Field(max_length=8, json_schema_extra=map_list("name")),
        unique(lambda secret: secret.name, "secrets of one name"),
    ] = Field(default_factory=list, description="Secrets to pull the image with.")
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=32, description="Labels that the node must have."
    )
    tolerations: list[AnyObject] = Field(
        default_factory=list, max_length=32, description="Taints that the pods tolerate."
    )
    service_account_name: ObjectName | None = Field(
        default=None, description="ServiceAccount of the pods."
    )
    trust_pickle: bool = Field(
        default=False, description="Load joblib files, which may run any code."
    )
    grpc: bool = Field(
        default=False,
        description="Serve the Open Inference Protocol by gRPC, too, on port 8081.",
    )
    label_delay: Duration | None = Field(
        default=None,
        description="How long the pods accept labels of a prediction, such as 48h; default 168h.",
    )
    pod_template: PodTemplatePatch | None = Field(
        default=None, description="Merge patch on the pod template, applied last."
    )
