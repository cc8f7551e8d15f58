"""Server-side apply for the cluster in memory: field ownership by path, lists atomic.

One field manager applies whole objects; everybody else (users, controllers) writes directly, and
only what a person changed in a spec is put down to somebody. Lists are replaced as one value: the
real API server merges some of them by key, which makes no difference to a manager that always
applies them whole.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

from trimtab.cluster.port import Json

T = TypeVar("T")
Path = tuple[str, ...]
ATOMIC = ("selector", "nodeSelector")
"""Maps that have one owner."""
NOT_OWNED = frozenset({"uid", "resourceVersion", "generation", "creationTimestamp"})


def copied(value: T) -> T:
    """Return a deep copy of JSON; several times faster than the general way."""
    return cast(T, _copied(value))


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_copied(inner) for inner in value]
    return value


def paths_of(intent: Json, prefix: Path = ()) -> set[Path]:
    """Return the leaf paths of an intent; an empty map is a leaf."""
    found: set[Path] = set()
    for name, value in intent.items():
        path = (*prefix, name)
        if isinstance(value, dict) and value:
            found |= paths_of(value, path)
        else:
            found.add(path)
    return found


def fields_of_change(before: Any, after: Any) -> Json:
    """Return what somebody who wrote `after` over `before` owns, as FieldsV1; nothing: all of it.

    Entries of a list are told by their names, where all have one.
    """
    if isinstance(before, list) and isinstance(after, list):
        named = _by_name(after)
        return _fields("k", _by_name(before), named) if named else {}
    if isinstance(before, dict) and isinstance(after, dict):
        return _fields("f", before, after)
    return {}


def _fields(kind: str, before: Json, after: Json) -> Json:
    return {
        f"{kind}:{name}": {} if name in ATOMIC else fields_of_change(before.get(name), value)
        for name, value in after.items()
        if value != before.get(name)
    }


def _by_name(entries: list[Any]) -> Json:
    if not all(isinstance(entry, dict) and "name" in entry for entry in entries):
        return {}
    return {json.dumps({"name": entry["name"]}): entry for entry in entries}


def merge(target: Json, intent: Json) -> None:
    """Write every leaf of the intent into the target, which changes in place."""
    for name, value in intent.items():
        if isinstance(value, dict) and value:
            if not isinstance(target.get(name), dict):
                target[name] = {}
            merge(target[name], value)
        elif isinstance(value, dict):
            target.setdefault(name, {})
        else:
            target[name] = copied(value)


def merge_patch(target: Json, patch: Json) -> None:
    """Carry out a JSON merge patch in place (RFC 7386): null removes, lists are replaced."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(name), dict):
                target[name] = {}
            merge_patch(target[name], value)
        else:
            target[name] = copied(value)


def remove(target: Json, path: Path) -> None:
    """Remove a leaf and the maps that become empty by it."""
    head, *rest = path
    if not rest:
        target.pop(head, None)
        return
    inner = target.get(head)
    if isinstance(inner, dict):
        remove(inner, tuple(rest))
        if not inner:
            del target[head]


def apply_intent(target: Json, intent: Json, owned: set[Path]) -> set[Path]:
    """Apply in place: leaves of the intent are set, leaves owned before and left out go.

    Returns the leaves that are owned now.
    """
    now_owned = paths_of(intent)
    for path in sorted(owned - now_owned):
        if not any(new[: len(path)] == path for new in now_owned):
            remove(target, path)
    merge(target, intent)
    return now_owned
