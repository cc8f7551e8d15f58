"""Names as people write them: `mdep/digits`, `dp/digits`, or `digits` for a Deployment."""

from __future__ import annotations

import re

from trimtab.api.resource import (
    DEPLOYMENTS,
    DRIFT_POLICIES,
    MODEL_VERSIONS,
    OWN_KINDS,
    RETRAIN_JOBS,
    Key,
    Resource,
)
from trimtab.cli.seen import printable
from trimtab.errors import SpecError

SHORT = {"mv": MODEL_VERSIONS, "mdep": DEPLOYMENTS, "dp": DRIFT_POLICIES, "rj": RETRAIN_JOBS}
"""The short name of each kind, as `kubectl get` knows it."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def resources_by_word() -> dict[str, Resource]:
    """Return every word for a kind; `deployment` is ours here."""
    words = dict(SHORT)
    for resource in OWN_KINDS:
        words |= {resource.plural: resource, resource.kind.lower(): resource}
    return words | {"deployments": DEPLOYMENTS, "modeldeployment": DEPLOYMENTS}


def short_of(resource: Resource) -> str:
    """Return the short name of a kind."""
    return next(short for short, one in SHORT.items() if one == resource)


def is_name(text: str) -> bool:
    """Whether an object can have this name."""
    return _NAME.fullmatch(text) is not None


def key_of_target(text: str, namespace: str, *allowed: Resource) -> Key:
    """Return the object that a target names; SpecError if it is of no allowed kind."""
    kind, slash, name = text.rpartition("/")
    resource = resources_by_word().get(kind.lower()) if slash else DEPLOYMENTS
    shown = printable(text, 100)
    if resource is None or resource not in allowed:
        shorts = ", ".join(f"{short}/NAME" for short, one in SHORT.items() if one in allowed)
        raise SpecError(f"{shown}: write it as {shorts}")
    if not is_name(name):
        raise SpecError(f"{shown}: {printable(name, 100)!r} is not the name of an object")
    return Key(resource, namespace, name)
