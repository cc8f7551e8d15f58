"""What is told of one decision, before it is put into a format. Every field is bounded.

Names, messages and versions are written by tenants: what would move the cursor, hide text or turn
its direction is taken out here, and each format escapes what it gives a meaning to.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from trimtab.api.record import Decision
from trimtab.notify.settings import Destination

MOST_NAME = 253
MOST_TEXT = 1024
MOST_EVIDENCE = 2048
MOST_INPUTS = 4096
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Controls, marks of direction, halves of characters, and breaks of lines."""
OPERATOR = "trimtab"
UNKNOWN = "unknown"


def clean(text: str, most: int) -> str:
    """Return the text in one line without what nobody can see, cut to `most` characters."""
    plain = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text[: 2 * most])
    plain = " ".join(plain.split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@dataclass(frozen=True)
class Message:
    """One decision about one object."""

    kind: str
    namespace: str
    name: str
    uid: str
    decision: Decision
    owner: str = ""
    """Who answers for the model, where its card says so."""
    deployment: str = ""
    """The Deployment that it is about, where there is one and no more."""
    still: frozenset[str] = frozenset()
    """Types of the conditions that hold after it."""
    missing_before: int = 0
    """Decisions with a lower number than this were dropped, and may not have been told."""

    @property
    def id(self) -> str:
        """Return the same for each repeat, and another for each other decision."""
        return f"{self.uid}-{self.decision.seq}"

    @property
    def text(self) -> str:
        """Return what was decided, with the figures."""
        return clean(self.decision.message, MOST_TEXT)

    @property
    def by(self) -> str:
        """Return who decided: a person who gave a command, or the operator."""
        by = self.decision.inputs.get("by")
        if not isinstance(by, str) or not by:
            return OPERATOR
        said = clean(by, MOST_NAME)
        # Only a person is named so: what reads like the operator, or like nobody, is no name.
        return said if said and said.casefold() != OPERATOR else UNKNOWN

    @property
    def subject(self) -> str:
        """Return which object it is about."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Return what it rests on; nothing of more than 4 KiB, which the operator never writes."""
        size = len(json.dumps(self.decision.inputs, default=str))
        return self.decision.inputs if size <= MOST_INPUTS else {"leftOut": ["inputs"]}

    @property
    def evidence(self) -> str:
        """Return what it rests on as JSON; empty where there is nothing."""
        if not self.inputs:
            return ""
        return clean(json.dumps(self.inputs, ensure_ascii=False, default=str), MOST_EVIDENCE)


def message_of(
    obj: Mapping[str, Any], decision: Decision, *, owner: str = "", missing_before: int = 0
) -> Message:
    """Return the message for a decision about an object as the API server has it."""
    metadata = obj["metadata"]
    return Message(
        kind=clean(str(obj.get("kind", "")), 63),
        namespace=clean(str(metadata.get("namespace", "")), MOST_NAME),
        name=clean(str(metadata.get("name", "")), MOST_NAME),
        uid=clean(str(metadata.get("uid", "")), 63),
        decision=decision,
        owner=clean(owner, MOST_NAME),
        deployment=clean(_deployment_of(obj), MOST_NAME),
        still=_holding(obj.get("status")),
        missing_before=missing_before,
    )


def _deployment_of(obj: Mapping[str, Any]) -> str:
    """Return the Deployment that an object is about; nothing of a version, or of a policy of many.

    The object is as the API server has it, so that nothing in it is sure to be there.
    """
    kind = obj.get("kind")
    if kind == "Deployment":
        return str(obj["metadata"].get("name", ""))
    if kind == "RetrainJob":
        cause = _part(_part(obj, "spec"), "cause")
        return str(cause.get("deployment") or "")
    watched = list(_part(_part(obj, "status"), "baselines")) if kind == "DriftPolicy" else []
    return str(watched[0]) if len(watched) == 1 else ""


def _part(obj: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = obj.get(name)
    return found if isinstance(found, Mapping) else {}


def _holding(status: Any) -> frozenset[str]:
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    return frozenset(
        str(entry.get("type"))
        for entry in (conditions if isinstance(conditions, list) else [])[:16]
        if isinstance(entry, Mapping) and entry.get("status") == "True"
    )


@dataclass(frozen=True)
class Lost:
    """Messages that a destination was never told: how many, and from when to when."""

    count: int
    first: datetime
    last: datetime
    is_least: bool = False
    """Whether there may be more: one of them was to say that some before it may be missing."""

    def words(self) -> str:
        """Return a sentence for people."""
        between = f"between {self.first:%Y-%m-%d %H:%M:%S} and {self.last:%Y-%m-%d %H:%M:%S} UTC"
        count = f"at least {self.count}" if self.is_least else f"{self.count}"
        return f"Could not be told here: {count} earlier messages, decided {between}."


def and_lost(one: Lost | None, other: Lost | None) -> Lost | None:
    """Return both as one."""
    if one is None or other is None:
        return one or other
    first, last = min(one.first, other.first), max(one.last, other.last)
    return Lost(one.count + other.count, first, last, one.is_least or other.is_least)


@dataclass(frozen=True)
class Telling:
    """A message on its way to a destination."""

    message: Message
    destination: Destination
    dashboard_url: str = field(default="")
    lost: Lost | None = None
    at: datetime | None = None
    """When it is sent; None: as soon as it was decided."""

    @property
    def link(self) -> str:
        """Return the address of the object's dashboard; empty if there is none.

        One that is of a Deployment has none for what is about no Deployment, or about many.
        """
        link = self.dashboard_url
        if "{deployment}" in link and not self.message.deployment:
            return ""
        for word in ("namespace", "name", "kind", "deployment"):
            link = link.replace(f"{{{word}}}", quote(getattr(self.message, word), safe=""))
        return link

    def gaps(self) -> list[str]:
        """Return sentences on what was not told."""
        said = [] if self.lost is None else [self.lost.words()]
        if self.message.missing_before:
            said.append(
                f"Decisions of this object with numbers below {self.message.missing_before} "
                "may not have been told here."
            )
        return said
