"""Names as people write them: `mdep/digits`, `dp/digits`, or `digits` for a Deployment."""

from __future__ import annotations

import re

from trimtab.api.kinds import KINDS
from trimtab.api.resource import Resource
from trimtab.cluster.port import DEPLOYMENTS, OWN_KINDS, Key
from trimtab.errors import SpecError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def resources_by_word() -> dict[str, Resource]:
    """Return every word for a kind; `deployment` is ours here."""
    by_plural = {resource.plural: resource for resource in OWN_KINDS}
    words = {}
    for info in KINDS:
        for word in (info.short, info.plural, info.singular, info.kind.lower()):
            words[word] = by_plural[info.plural]
    return words | {"deployments": DEPLOYMENTS}


def key_of_target(text: str, namespace: str, *allowed: Resource) -> Key:
    """Return the object that a target names; SpecError if it is of no allowed kind."""
    kind, slash, name = text.rpartition("/")
    words = resources_by_word()
    resource = words.get(kind.lower()) if slash else DEPLOYMENTS
    if resource is None or resource not in allowed:
        shorts = ", ".join(f"{info.short}/NAME" for info in KINDS if words[info.short] in allowed)
        raise SpecError(f"{text}: write it as {shorts}")
    if not _NAME.fullmatch(name):
        raise SpecError(f"{text}: {name!r} is not the name of an object")
    return Key(resource, namespace, name)
