"""From the JSON of the cache to the models of the API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.api.model_version import ModelVersion
from trimtab.api.retrain_job import RetrainJob
from trimtab.cluster.bounded import TOO_DEEP, TOO_LARGE
from trimtab.cluster.port import Json
from trimtab.errors import SpecError

Kind = TypeVar("Kind", ModelVersion, Deployment, DriftPolicy, RetrainJob)

Models: TypeAlias = dict[tuple[str, str, str], tuple[Json, Any]]
"""By kind, namespace and name: an object as it was read last, and its model."""


def typed(kind: type[Kind], obj: Json, known: Models | None = None) -> Kind:
    """Return the object as its model.

    known: what was read before. An object of the cache is never changed in place, so that the very
    same one has the same model. Raises SpecError for an object that this release cannot read, such
    as one of a newer API: its message names the first field and says what is wrong with it.
    """
    try:
        return _read(kind, obj, known)
    except ValidationError as error:
        name = obj["metadata"]["name"]
        raise SpecError(
            f"{kind.__name__} {name} cannot be read by this release: {_first(error, obj)}"
        ) from error


def all_typed(kind: type[Kind], objects: Iterable[Json]) -> list[Kind]:
    """Return those that can be read; the others are reported by their own reconciler."""
    return readable(kind, objects)[0]


def readable(
    kind: type[Kind], objects: Iterable[Json], known: Models | None = None
) -> tuple[list[Kind], dict[str, str]]:
    """Return those that can be read, and of the others the name and what is wrong with them.

    known: see `typed`.
    """
    found: list[Kind] = []
    unreadable: dict[str, str] = {}
    for obj in objects:
        try:
            found.append(_read(kind, obj, known))
        except ValidationError as error:
            unreadable[obj["metadata"]["name"]] = _first(error, obj)
    return found, unreadable


def _read(kind: type[Kind], obj: Json, known: Models | None) -> Kind:
    if known is None:
        return kind.model_validate(obj)
    metadata = obj["metadata"]
    name = kind.__name__, metadata.get("namespace", ""), metadata["name"]
    before = known.get(name)
    if before is not None and before[0] is obj:
        model: Kind = before[1]
        return model
    model = kind.model_validate(obj)
    known[name] = obj, model
    return model


def _first(error: ValidationError, obj: Json) -> str:
    if obj.get("spec") in (TOO_DEEP, TOO_LARGE):
        return f"spec: {obj['spec']}"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"[:200]
