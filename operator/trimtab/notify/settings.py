"""The destinations, as an administrator names them in the chart's values.

What is secret of them (URLs, keys, tokens) is in files of a Secret beside, and never here: tenants
name destinations, and nobody but an administrator says where one is.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from trimtab.api.conditions import EventReason
from trimtab.api.fields import Model

logger = logging.getLogger(__name__)

DestinationType: TypeAlias = Literal["webhook", "slack", "teams", "alertmanager"]
MOST_DESTINATIONS = 16
MOST_BYTES = 1024 * 1024
"""What a ConfigMap has room for."""

_Word = Annotated[str, Field(min_length=1, max_length=253)]


class _Settings(Model):
    """A word that this release does not know is a mistake, unlike one of an object of the API."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid"
    )


class Destination(_Settings):
    """Where decisions are told, and which. An empty list leaves nothing out."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")]
    """Of its files in the Secret, and what a Namespace names."""
    type: DestinationType
    use: Literal["Default", "Named", "Always"] = "Default"
    """Default: by namespaces that name none; Named: by those that name it; Always: by all."""
    mode: Literal["structured", "binary"] = "structured"
    """Of CloudEvents."""
    warnings_only: bool = False
    reasons: list[_Word] = Field(default_factory=list, max_length=64)
    kinds: list[Literal["Deployment", "ModelVersion", "DriftPolicy", "RetrainJob"]] = Field(
        default_factory=list, max_length=4
    )
    namespaces: list[_Word] = Field(default_factory=list, max_length=256)
    owners: list[_Word] = Field(default_factory=list, max_length=64)
    insecure: bool = False
    """Whether a URL that begins with http: is allowed."""


class Notifications(_Settings):
    """All destinations."""

    dashboard_url: Annotated[str, Field(max_length=1024, pattern=r"^(https?://\S+)?$")] = Field(
        default="", alias="dashboardURL"
    )
    """With {namespace}, {name} and {kind}; empty: no link."""
    destinations: list[Destination] = Field(default_factory=list, max_length=MOST_DESTINATIONS)

    @model_validator(mode="after")
    def _names_differ(self) -> Notifications:
        names = [destination.name for destination in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("two destinations have the same name")
        return self


def read_notifications(path: Path) -> Notifications:
    """Return what a file of JSON says; ValueError says what is wrong with it.

    A reason that this release does not know leaves the operator running: another one may know it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        found = Notifications.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"notifications: {where}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"notifications: {path.name} cannot be read: {error}") from error
    known = set(EventReason)
    for destination in found.destinations:
        for reason in destination.reasons:
            if reason not in known:
                logger.warning("notifications: %s: no reason %s", destination.name, reason)
    return found
