"""Whether a child has to be applied, and who changed it by hand.

A child is applied when its intent changed or the live object no longer agrees with it. Fields that
the API server writes in another form (quantities, defaults) are compared with what it stored when
we applied, so that nothing is repaired for ever. At first sight, when it is not known what was
stored, what others own of it and we do not want was added while nobody watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimtab.api.meta import MANAGER
from trimtab.cluster.port import Json
from trimtab.reconcile.machine.other_hands import were_applied, without_added


@dataclass(frozen=True)
class Applied:
    """What we applied last, and what the API server made of it."""

    intent: Json
    """The manifest."""
    stored: Any


def differences(intent: Any, live: Any, path: str = "") -> list[str]:
    """Return the paths of all leaves of `intent` that `live` does not have as wanted."""
    if isinstance(intent, dict):
        if not isinstance(live, dict):
            return [path] if intent else []
        return [
            found
            for key, value in intent.items()
            for found in differences(value, live.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(intent, list):
        if not isinstance(live, list) or len(intent) != len(live):
            return [path] if intent or live else []
        return [
            found
            for index, (ours, theirs) in enumerate(zip(intent, live, strict=True))
            for found in differences(ours, theirs, f"{path}[{index}]")
        ]
    return [] if intent == live or (live is None and intent in ("", 0, False)) else [path]


def needs_apply(manifest: Json, live: Json | None, known: Applied | None) -> bool:
    """Return whether the child must be written."""
    if live is None or _metadata_differs(manifest["metadata"], live["metadata"]):
        return True
    if known is not None:
        return known.intent != manifest or live.get("spec") != known.stored
    return bool(
        differences(manifest.get("spec", {}), live.get("spec", {}))
        or _selects_more(manifest, live)
        or not were_applied(live)
        or _additions(manifest, live)
    )


def _metadata_differs(wanted: Json, live: Json) -> bool:
    """Return whether a label is not as wanted, or the owner is missing: by both it is found."""
    labels = differences(wanted.get("labels", {}), live.get("labels") or {})
    owners = {one.get("uid") for one in live.get("ownerReferences") or []}
    return bool(labels) or any(
        one["uid"] not in owners for one in wanted.get("ownerReferences") or []
    )


def _additions(manifest: Json, live: Json) -> list[str]:
    """Return the paths of what others added to the spec."""
    return differences(live.get("spec", {}), without_added(manifest.get("spec", {}), live))


def _selects_more(manifest: Json, live: Json) -> bool:
    """Return whether a Service's selector has keys that are no longer wanted."""
    selector = manifest.get("spec", {}).get("selector")
    live_selector = live.get("spec", {}).get("selector")
    return bool(manifest["kind"] == "Service" and selector != live_selector)


def leftover_patch(manifest: Json, stored: Json, known: Applied | None) -> Json:
    """Return the merge patch that takes out of `stored` what an apply left of other hands.

    Server-side apply keeps what another manager added. A repair goes back to what the API server
    stored for this intent before; without that knowledge (a new process, a new intent) what others
    own and we do not want is taken out, and lists that are not as wanted are replaced. Empty:
    nothing is left.
    """
    spec = stored.get("spec", {})
    if known is not None and known.intent == manifest:
        return _way_back(known.stored, spec)
    wanted = manifest.get("spec", {})
    return _way_back(_with_lists(wanted, without_added(wanted, stored)), spec)


def _way_back(wanted: Json, live: Json) -> Json:
    patch: Json = {name: None for name in live if name not in wanted}
    for name, value in wanted.items():
        found = live.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            inner = _way_back(value, found)
            if inner:
                patch[name] = inner
        elif value != found:
            patch[name] = value
    return patch


def _with_lists(wanted: Json, live: Json) -> Json:
    """Return `live` with lists that are not as wanted replaced."""
    kept = dict(live)
    for name, value in wanted.items():
        found = live.get(name)
        if isinstance(value, dict) and isinstance(found, dict):
            kept[name] = _with_lists(value, found)
        elif isinstance(value, list) and differences(value, found):
            kept[name] = value
    return kept


def repair_note(manifest: Json, live: Json | None, known: Applied | None) -> str | None:
    """Return what was changed by hand and by whom; None if the write is our own change."""
    what = f"{manifest['kind']} {manifest['metadata']['name']}"
    if known is None or known.intent != manifest:
        added = _additions(manifest, live) if live is not None else []
        if live is None or not added:
            return None
        return f"{what}: {', '.join(added[:5])} added by {_last_foreign_manager(live)}; taken out"
    if live is None:
        return f"{what} was deleted; it is made again"
    spec = live.get("spec", {})
    fields = differences(known.stored, spec) + differences(spec, known.stored)
    if _metadata_differs(manifest["metadata"], live["metadata"]):
        fields.append("metadata")
    fields = list(dict.fromkeys(fields)) or ["spec"]
    who = _last_foreign_manager(live)
    return f"{what}: {', '.join(fields[:5])} changed by {who}; put back"


def _last_foreign_manager(live: Json) -> str:
    """Return the field manager, other than ours and the cluster's own, that wrote last."""
    entries = [
        entry
        for entry in live["metadata"].get("managedFields") or []
        if entry.get("manager") not in (MANAGER, "kube-controller-manager")
        and entry.get("subresource") != "status"
    ]
    last = max(entries, key=lambda entry: entry.get("time") or "", default=None)
    return str(last["manager"]) if last is not None else "somebody"
