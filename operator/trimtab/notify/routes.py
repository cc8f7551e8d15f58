"""Which destinations hear of a decision: filters of the destination, and what its namespace says.

A namespace can only choose among what an administrator has defined, and only among those that are
meant for it (`namespaces` of a destination).
"""

from __future__ import annotations

from typing import Final

from trimtab.notify.message import Message
from trimtab.notify.settings import Destination

NOTIFY_ANNOTATION: Final = "trimtab.dev/notify"
"""On a Namespace: names of destinations with commas between; empty: none."""
MOST_CHARACTERS = 1024
MOST_NAMED = 16


def passes(destination: Destination, message: Message) -> bool:
    """Tell whether the destination's own filters let a message through."""
    chosen = (
        (destination.reasons, message.decision.reason),
        (destination.kinds, message.kind),
        (destination.namespaces, message.namespace),
        (destination.owners, message.owner),
    )
    is_wanted = all(not wanted or value in wanted for wanted, value in chosen)
    return is_wanted and (message.decision.warning or not destination.warnings_only)


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
