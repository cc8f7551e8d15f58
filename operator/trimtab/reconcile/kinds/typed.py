"""From the JSON of the cache to the models of the API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.model_version import ModelVersion
from trimtab.api.retrain_job import RetrainJob
from trimtab.cluster.bounded import TOO_DEEP, TOO_LARGE
from trimtab.cluster.port import Json
from trimtab.errors import SpecError

Kind = TypeVar("Kind", ModelVersion, Deployment, DriftPolicy, RetrainJob)


def typed(kind: type[Kind], obj: Json) -> Kind:
    """Return the object as its model.

    Raises SpecError for an object that this release cannot read, such as one of a newer API: its
    message names the first field and says what is wrong with it.
    """
    try:
        return kind.model_validate(obj)
    except ValidationError as error:
        name = obj["metadata"]["name"]
        raise SpecError(
            f"{kind.__name__} {name} cannot be read by this release: {_first(error, obj)}"
        ) from error


def all_typed(kind: type[Kind], objects: Iterable[Json]) -> list[Kind]:
    """Return those that can be read; the others are reported by their own reconciler."""
    return readable(kind, objects)[0]


def readable(kind: type[Kind], objects: Iterable[Json]) -> tuple[list[Kind], dict[str, str]]:
    """Return those that can be read, and of the others the name and what is wrong with them."""
    found: list[Kind] = []
    unreadable: dict[str, str] = {}
    for obj in objects:
        try:
            found.append(kind.model_validate(obj))
        except ValidationError as error:
            unreadable[obj["metadata"]["name"]] = _first(error, obj)
    return found, unreadable


def _first(error: ValidationError, obj: Json) -> str:
    if obj.get("spec") in (TOO_DEEP, TOO_LARGE):
        return f"spec: {obj['spec']}"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"[:200]
