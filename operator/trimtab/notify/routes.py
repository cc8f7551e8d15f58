"""Which destinations hear of a decision: filters of the destination, and what its namespace says.

A namespace can only choose among what an administrator has defined, and only among those that are
meant for it (`namespaces` of a destination).
"""

from __future__ import annotations

from typing import Final

from trimtab.notify.formats.alertmanager import resolved_by
from trimtab.notify.message import Message
from trimtab.notify.settings import Destination

NOTIFY_ANNOTATION: Final = "trimtab.dev/notify"
"""On a Namespace: names of destinations with commas between; empty: none."""
MOST_CHARACTERS = 1024
MOST_NAMED = 16


def passes(destination: Destination, message: Message) -> bool:
    """Tell whether the destination's own filters let a message through."""
    chosen = (
        (destination.kinds, message.kind),
        (destination.namespaces, message.namespace),
        (destination.owners, message.owner),
    )
    is_meant = all(not wanted or value in wanted for wanted, value in chosen)
    return is_meant and _is_asked_for(destination, message)


def _is_asked_for(destination: Destination, message: Message) -> bool:
    wanted, is_warning = destination.reasons, message.decision.warning
    if destination.type == "alertmanager" and not is_warning:
        # Who is told of an alert is told of its end, and of nothing else.
        return any(not wanted or ended in wanted for ended in resolved_by(message))
    is_named = not wanted or message.decision.reason in wanted
    return is_named and (is_warning or not destination.warnings_only)


def named_in(annotation: str | None) -> frozenset[str] | None:
    """Return the names in a namespace's annotation; None where there is no annotation."""
    if annotation is None:
        return None
    words = annotation[:MOST_CHARACTERS].split(",")
    return frozenset(sorted({word.strip() for word in words if word.strip()})[:MOST_NAMED])


def is_used(destination: Destination, named: frozenset[str] | None) -> bool:
    """Tell whether a namespace that names these destinations uses this one."""
    if destination.use == "Always":
        return True
    if named is None:
        return destination.use == "Default"
    return destination.name in named
