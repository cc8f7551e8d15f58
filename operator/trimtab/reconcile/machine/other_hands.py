"""What other hands put into a child: fields of its spec that others own and we do not want.

Server-side apply leaves alone what another field manager added, and says nothing of it. Who set
which field is in `metadata.managedFields` of the object, in the form `FieldsV1` of
sigs.k8s.io/structured-merge-diff: `f:name` is a field, `k:{...}` the entry of a list with these
keys, `v:...` an entry of a set, `.` the thing itself. What nobody owns was filled in by the API
server, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from trimtab.api.meta import MANAGER
from trimtab.cluster.port import Json

FIELDS = "fieldsV1"
SPEC = "f:spec"


def kept_managers(entries: list[Json]) -> list[Json]:
    """Return entries of `managedFields` with no more than who set what others own in a spec."""
    return [_kept(entry) for entry in entries]


def _kept(entry: Json) -> Json:
    kept = {name: value for name, value in entry.items() if name != FIELDS}
    fields = entry.get(FIELDS) or {}
    return (
        kept | {FIELDS: {SPEC: fields[SPEC]}} if _is_of_others(entry) and SPEC in fields else kept
    )


def _is_of_others(entry: Json) -> bool:
    """Return whether an entry is not that of our own applies."""
    return (entry.get("manager"), entry.get("operation")) != (MANAGER, "Apply")


def were_applied(obj: Json) -> bool:
    """Return whether an object has an entry of our applies: without it nobody knows whose it is."""
    entries = obj["metadata"].get("managedFields") or []
    return not all(_is_of_others(entry) for entry in entries)


def without_added(wanted: Json, live: Json) -> Json:
    """Return the spec of `live`, a whole object, without what others added to `wanted`, a spec."""
    spec: Json = live.get("spec") or {}
    for entry in live["metadata"].get("managedFields") or []:
        owned = entry.get(FIELDS, {}).get(SPEC) if _is_of_others(entry) else None
        if isinstance(owned, dict):
            spec = _map_without(owned, wanted, spec)
    return spec


def _map_without(owned: Json, wanted: Json, live: Json) -> Json:
    kept = dict(live)
    for mark, inner in owned.items():
        name = mark.removeprefix("f:")
        if mark == "." or name not in live:
            continue
        if name not in wanted:
            del kept[name]
        else:
            kept[name] = _without(inner, wanted[name], live[name])
    return kept


def _without(owned: Json, wanted: Any, live: Any) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        # A map that is owned as one: a selector, for example.
        return _map_without(owned, wanted, live) if owned else _only(wanted, live)
    if isinstance(wanted, list) and isinstance(live, list):
        return list(_entries_without(owned, wanted, live))
    return live


def _only(wanted: Json, live: Json) -> Json:
    return {name: value for name, value in live.items() if name in wanted}


def _entries_without(owned: Json, wanted: list[Any], live: list[Any]) -> Iterator[Any]:
    """Yield the entries of a list that are wanted, or nobody else's."""
    for entry in live:
        mark = next((mark for mark in owned if _is_entry(mark, entry)), None)
        if mark is None:
            yield entry
            continue
        ours = next((one for one in wanted if _is_same(one, entry, mark)), None)
        if ours is not None:
            yield _without(owned[mark], ours, entry)


def _is_entry(mark: str, entry: Any) -> bool:
    kind, _, text = mark.partition(":")
    if kind not in ("k", "v"):
        return False
    try:
        told = json.loads(text)
    except ValueError:
        return False
    if kind == "v":
        return bool(told == entry)
    return isinstance(entry, dict) and isinstance(told, dict) and told.items() <= entry.items()


def _is_same(wanted: Any, entry: Any, mark: str) -> bool:
    """Return whether two entries have the same keys; a key that is not said has its default."""
    if not isinstance(entry, dict) or not isinstance(wanted, dict):
        return bool(wanted == entry)
    keys = json.loads(mark.partition(":")[2])
    return all(name not in wanted or wanted[name] == value for name, value in keys.items())
