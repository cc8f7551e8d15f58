"""The metrics of state of all objects of ours, kept as text so that a scrape only joins it.

    cache ──change──> to be rendered ──(within a second, in slices)──> lines by metric and object
                └───> decisions, rollouts and retrainings that ended are counted

Only the operator that leads shows them: a standby has the same objects in its cache, and sums over
both would be twice what there is. It counts nothing either. A leader that does not reach the API
server goes on to show what it knew last: that alerts end because nobody sees would be worse.

An object whose status cannot be read has no series and is counted. Nothing here may stop a pass, so
that a bug is logged and costs the series of one object.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, OWN_KINDS, RETRAIN_JOBS, Json, Key
from trimtab.reconcile.machine.cache import Cache, Change, key_of, uid_of
from trimtab.reconcile.machine.tallies import Tallies
from trimtab.state_metrics.deployment import ends_between
from trimtab.state_metrics.families import (
    DECISIONS,
    FAMILIES,
    LAST_DECISION,
    LINEAGE_DEPTH,
    MODEL_AGE,
    RETRAINS,
    ROLLOUT_SECONDS,
    ROLLOUT_SECONDS_BUCKETS,
    ROLLOUTS,
    UNREADABLE,
    Family,
)
from trimtab.state_metrics.kinds import SHOWN, decisions_after, last_number
from trimtab.state_metrics.lines import Text, labelled, line
from trimtab.state_metrics.other_kinds import trained_between
from trimtab.state_metrics.seen import Shown, created_at, text_at

logger = logging.getLogger(__name__)

EVERY_SECONDS = 1.0
SLICE_SECONDS = 0.005
"""So long the event loop is kept at most, but for one object."""
DEEPEST = 100
"""Versions in a row that are counted."""


class StatePage:
    """Text by metric and owner: an object, its counters, or those of a namespace."""

    def __init__(
        self, cache: Cache, *, now: Callable[[], datetime], leads: Callable[[], bool]
    ) -> None:
        """leads: whether this process tells and counts. Hears of every change of the cache."""
        self._cache = cache
        self._now = now
        self._leads = leads
        self._text: dict[Family, dict[Hashable, bytes]] = {family: {} for family in FAMILIES}
        self._families: dict[Hashable, tuple[Family, ...]] = {}
        """By owner: what it has lines of."""
        self._changed: dict[Key, None] = {}
        """To be rendered, in the order in which they changed."""
        self._until: dict[Hashable, datetime] = {}
        """By owner: when its lines change by time alone."""
        self._unreadable: set[Key] = set()
        self._serving: dict[Key, tuple[bytes, bytes, Key]] = {}
        """By Deployment: its series of age and of depth, and the version that serves."""
        self._made: dict[Key, float] = {}
        """By ModelVersion: when it was made, Unix seconds."""
        self._parents: dict[Key, Key] = {}
        """By ModelVersion: the one that it replaces."""
        self._numbers: dict[Key, tuple[str, int]] = {}
        """By object: its uid, and the last decision that is counted or was there before."""
        self._decided: dict[Key, dict[str, float]] = {}
        """By object and reason: when it was decided last. Status may have dropped it by now, while
        an alert about it goes on for an hour."""
        self._deployments: dict[str, set[str]] = defaultdict(set)
        """By namespace."""
        self._tallies = Tallies()
        cache.listeners.append(self.on_change)

    # --- changes ----------------------------------------------------------------------------

    def on_change(self, change: Change) -> None:
        """Take a change of the cache in."""
        if change.resource not in OWN_KINDS:
            return
        if change.new is None:
            if change.old is not None:
                self._forget(key_of(change.resource, change.old))
            return
        key = key_of(change.resource, change.new)
        self._changed[key] = None
        if key.resource == DEPLOYMENTS:
            self._deployments[key.namespace].add(key.name)
        try:
            self._count(key, change.old, change.new)
        except ValidationError:
            logger.info("%s: what was decided cannot be read, and is not counted", key)
        except Exception:  # the boundary that the module's docstring explains
            logger.exception("%s: a bug in the metrics of state", key)

    def _forget(self, key: Key) -> None:
        self._changed.pop(key, None)
        self._numbers.pop(key, None)
        self._decided.pop(key, None)
        self._made.pop(key, None)
        self._parents.pop(key, None)
        self._unreadable.discard(key)
        self._take(key, Shown())
        self._forget_counters(_counters_of(key))
        if key.resource == DEPLOYMENTS:
            names = self._deployments[key.namespace]
            names.discard(key.name)
            if not names:
                del self._deployments[key.namespace]
                self._forget_counters(key.namespace)

    def _forget_counters(self, owner: Hashable) -> None:
        self._tallies.forget(owner)
        self._put(owner, {}, None)

    # --- what is counted --------------------------------------------------------------------

    def _count(self, key: Key, old: Json | None, new: Json) -> None:
        """Count what is decided in `new` and was not before; nothing of an object seen first."""
        uid, number = uid_of(new), last_number(new)
        before = self._numbers.get(key)
        if before is not None and before[0] == uid:
            # A number is never given again: what cannot be read for a while was counted.
            number = max(number, before[1])
        self._numbers[key] = uid, number
        if before is None:
            return
        if before[0] != uid:
            self._decided.pop(key, None)
            self._forget_counters(_counters_of(key))
            return
        if old is None or number <= before[1] or not self._leads():
            return
        now = self._now()
        kind, of = key.resource.kind, (key.namespace, key.name)
        for decision in decisions_after(new, before[1]):
            self._tallies.count(_counters_of(key), DECISIONS, now, *of, kind, decision.reason)
            self._decided.setdefault(key, {})[decision.reason] = decision.at.timestamp()
        self._show_counters(_counters_of(key))
        if key.resource == DEPLOYMENTS:
            self._count_ends(key, old, new, now)
        elif key.resource == RETRAIN_JOBS:
            self._count_training(key.namespace, old, new, now)

    def _count_ends(self, key: Key, old: Json, new: Json, now: datetime) -> None:
        owner, space = _counters_of(key), key.namespace
        for end in ends_between(old, new):
            self._tallies.count(owner, ROLLOUTS, now, space, key.name, end.outcome, end.reason)
            if end.seconds is not None:
                buckets = ROLLOUT_SECONDS_BUCKETS
                self._tallies.observe(
                    space, ROLLOUT_SECONDS, now, end.seconds, buckets, space, end.outcome
                )
        self._show_counters(owner)
        self._show_counters(space)

    def _count_training(self, namespace: str, old: Json, new: Json, now: datetime) -> None:
        """They are the Deployment's, and go with it: a RetrainJob is one attempt."""
        end = trained_between(old, new)
        if end is None or end.deployment not in self._deployments.get(namespace, ()):
            return
        owner = _counters_of(Key(DEPLOYMENTS, namespace, end.deployment))
        self._tallies.count(owner, RETRAINS, now, namespace, end.deployment, end.cause, end.outcome)
        self._show_counters(owner)

    def _show_counters(self, owner: Hashable) -> None:
        self._put(owner, *self._tallies.text(owner, self._now()))

    # --- what is shown ----------------------------------------------------------------------

    async def run(self) -> None:
        """Render what has changed, each second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            if self._leads():
                await self._settle()

    async def page(self) -> bytes:
        """Return the lines, of the state of now; nothing if another process is to tell."""
        if not self._leads():
            return b""
        await self._settle()
        return self.joined()

    async def _settle(self) -> None:
        while not self.refresh(SLICE_SECONDS):  # noqa: ASYNC110 - others get their turn
            await asyncio.sleep(0)

    def refresh(self, seconds: float = float("inf")) -> bool:
        """Render what has changed for so long at most; return whether all of it is."""
        now = self._now()
        for owner in [owner for owner, due in self._until.items() if due <= now]:
            if isinstance(owner, Key):
                self._changed[owner] = None
            else:
                self._show_counters(owner)
        began = time.perf_counter()
        while self._changed:
            key = next(iter(self._changed))
            del self._changed[key]
            self._render(key, now)
            if time.perf_counter() - began > seconds:
                break
        return not self._changed

    def _render(self, key: Key, now: datetime) -> None:
        obj = self._cache.get(key)
        if obj is None:
            return
        self._unreadable.discard(key)
        try:
            if key.resource == MODEL_VERSIONS:
                self._take_origin(key, obj)
            shown = self._with_decided(key, SHOWN[key.resource.kind](obj, now))
        except ValidationError:
            self._unreadable.add(key)
            shown = Shown()
        except Exception:  # the boundary that the module's docstring explains
            logger.exception("%s: a bug in the metrics of state", key)
            shown = Shown()
        self._take(key, shown)

    def _with_decided(self, key: Key, shown: Shown) -> Shown:
        """Add what was decided and is not in status any more."""
        of = key.namespace, key.name, key.resource.kind
        dropped = b"".join(
            line(labelled(LAST_DECISION, (*of, reason)), at)
            for reason, at in self._decided.get(key, {}).items()
            if reason not in shown.decided
        )
        if not dropped:
            return shown
        kept = shown.text.get(LAST_DECISION, b"")
        return replace(shown, text={**shown.text, LAST_DECISION: kept + dropped})

    def _take(self, key: Key, shown: Shown) -> None:
        self._put(key, shown.text, shown.until)
        self._serving.pop(key, None)
        if shown.serves is not None:
            age, depth = (
                f"{labelled(family, (key.namespace, key.name))} ".encode(errors="replace")
                for family in (MODEL_AGE, LINEAGE_DEPTH)
            )
            version = Key(MODEL_VERSIONS, key.namespace, shown.serves)
            self._serving[key] = age, depth, version

    def _take_origin(self, key: Key, obj: Json) -> None:
        parent = text_at(obj, "spec", "lineage", "parent")
        if parent:
            self._parents[key] = Key(MODEL_VERSIONS, key.namespace, parent)
        else:
            self._parents.pop(key, None)
        made = created_at(obj)
        if made is None:
            self._made.pop(key, None)
        else:
            self._made[key] = made.timestamp()

    def _put(self, owner: Hashable, text: Text, until: datetime | None) -> None:
        """Replace the lines of an owner."""
        for family in self._families.pop(owner, ()):
            if family not in text:
                del self._text[family][owner]
        for family, lines in text.items():
            self._text[family][owner] = lines
        if text:
            self._families[owner] = tuple(text)
        if until is None:
            self._until.pop(owner, None)
        else:
            self._until[owner] = until

    def joined(self) -> bytes:
        """Return the lines as they were rendered last, with the ages of now."""
        parts: list[bytes] = []
        for family in FAMILIES:
            lines = list(self._moving(family)) or self._text[family].values()
            if lines:
                parts.append(family.head)
                parts.extend(lines)
        return b"".join(parts)

    def _moving(self, family: Family) -> Iterator[bytes]:
        """Yield what is worked out at each scrape."""
        if family is MODEL_AGE:
            now = self._now().timestamp()
            for age, _, version in self._serving.values():
                made = self._made.get(version)
                if made is not None:
                    yield b"%s%d\n" % (age, max(0.0, now - made))
        if family is LINEAGE_DEPTH:
            for _, depth, version in self._serving.values():
                if version in self._made:
                    yield b"%s%d\n" % (depth, self._depth(version))
        if family is UNREADABLE:
            found = Counter(key.resource.kind for key in self._unreadable)
            for kind in SHOWN:
                yield line(labelled(UNREADABLE, (kind,)), found[kind])

    def _depth(self, version: Key) -> int:
        """Return how many versions stand behind it; a circle, made by hand, ends at the bound."""
        depth = 0
        parent = self._parents.get(version)
        while parent in self._made and depth < DEEPEST:
            depth += 1
            parent = self._parents.get(parent)
        return depth


def _counters_of(key: Key) -> Hashable:
    """Return the owner of an object's counters, beside that of its state."""
    return "counters", key
