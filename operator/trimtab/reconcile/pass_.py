"""One pass over one object, the same for all kinds.

    observe ──> decide ──> write the status ──┬──> act ──────────────────> look again
                                              └──> tell what was decided

What will be done is in status before it is done, so a kill anywhere is finished by the next pass.
A status is written only to the version of the object that it rests on: where somebody else wrote
first, the object is read and all of it is decided again, so that no late write undoes a newer one.
Telling and acting begin together, and no pass waits for a sink: a slow one must not hold up a way
back. A write that is refused for good, and an object that this release cannot read, become the
condition `Stalled`. That, and how the object stands (`decide.kstatus`), is written here: it follows
from what was decided and from what was refused, and only the pass knows both.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from trimtab.api.conditions import Condition, EventReason, Reason
from trimtab.api.record import Record, Status
from trimtab.api.resource import Resource
from trimtab.cluster.port import Json, Key
from trimtab.decide.kstatus import WRITTEN, Refusal, refusal_in, with_standing
from trimtab.decide.led_time import is_to_come
from trimtab.decide.outcome import Note, Outcome
from trimtab.errors import Conflict, Moved, NameTaken, Refused, RetryLater, SpecError
from trimtab.reconcile.announce import bounded, has_told, numbered
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.machine.world import LONG_AGO, Passed, Unsure, World

logger = logging.getLogger(__name__)

FIRST_REFUSED_WAIT = timedelta(seconds=30)
LONGEST_REFUSED_WAIT = timedelta(minutes=5)
MOST_TRIES = 4
"""Of a pass whose object or children change under its hands; then it waits like any other."""
MOST_UNWRITTEN = 20
STALLED_EVENTS = {
    Reason.WRITE_REFUSED: EventReason.WRITE_REFUSED,
    Reason.READ_REFUSED: EventReason.READ_REFUSED,
    Reason.NAME_TAKEN: EventReason.NAME_TAKEN,
    Reason.INVALID_SPEC: EventReason.INVALID_SPEC,
}

StatusT = TypeVar("StatusT", bound=Status)
ActionT = TypeVar("ActionT")


def _any_change(old: Json, new: Json, written_at: datetime | None, now: datetime) -> bool:
    return old != new


def _forget_nothing(world: World, key: Key) -> None:
    """Some kinds keep nothing."""


def _keep_nothing(world: World, key: Key, outcome: Outcome[Any, Any], status: Json) -> None:
    """Some kinds keep nothing."""


@dataclass(frozen=True)
class KindPass(Generic[StatusT, ActionT]):
    """What a kind brings to its passes."""

    resource: Resource
    decide: Callable[[World, Key, Json], Awaitable[Outcome[StatusT, ActionT]]]
    """Observe once and decide.

    Raises SpecError where the object cannot be read, and what reading more of the cluster raises.
    """
    act: Callable[[World, Key, Outcome[StatusT, ActionT]], Awaitable[Sequence[Note]]]
    """Take the actions; return what was decided on the way, such as a repair."""
    is_worth_writing: Callable[[Json, Json, datetime | None, datetime], bool] = _any_change
    """Old and new status, the last write of this process, now. A status with notes always is."""
    keep: Callable[[World, Key, Outcome[StatusT, ActionT], Json], None] = _keep_nothing
    """The decision holds, and status is as given: what it is to be remembered with may be kept.

    While its status is not written a decision is none, and is made again from what was before.
    """
    forget: Callable[[World, Key], None] = _forget_nothing
    """The object is gone or being deleted."""

    def reconciler(self) -> Reconciler:
        """Return the pass as the engine calls it."""
        return partial(run_pass, self)


async def run_pass(kind: KindPass[StatusT, ActionT], world: World, key: Key) -> datetime | None:
    """Bring one object a step further; return when to look again at the latest."""
    for _ in range(MOST_TRIES - 1):
        try:
            return await _try(kind, world, key)
        except Moved as moved:
            logger.info("%s: %s; decided again", key, moved)
    return await _try(kind, world, key)


async def _try(kind: KindPass[StatusT, ActionT], world: World, key: Key) -> datetime | None:
    """Raises Moved where the pass is to be made again on what is in the cache by now."""
    live = world.cache.get(key)
    if live is None or live["metadata"].get("deletionTimestamp"):
        kind.forget(world, key)
        world.forget(key)
        return None
    uid = live["metadata"].get("uid", "")
    if world.passed(key).uid not in ("", uid):
        # Deleted and made again between two passes: what is kept is of another object.
        kind.forget(world, key)
        world.forget(key)
    passed = world.passed(key)
    passed.uid = uid
    _take_what_landed(passed, live)
    try:
        outcome = await kind.decide(world, key, live)
    except (SpecError, Refused) as error:
        is_unreadable = isinstance(error, SpecError)
        reason = Reason.INVALID_SPEC if is_unreadable else Reason.READ_REFUSED
        again = await _stall(world, key, live, reason, str(error))
        telling = await world.announcer.begin(uid, partial(_tell, world, key))
        return again if has_told(telling) else min(again, _tell_again(world, uid))

    wake = outcome.wake_at
    is_news = await _write(kind, world, key, live, outcome)
    telling = await world.announcer.begin(uid, partial(_tell, world, key))
    if is_news or not is_to_come(passed.refused_until, world.now(), LONGEST_REFUSED_WAIT):
        refused_until = await _act(kind, world, key, outcome)
    else:
        # Nothing else was decided than what was refused a moment ago.
        refused_until = passed.refused_until
    if refused_until is not None and wake is not None and wake <= world.now():
        wake = None  # at once, but only after what was refused
    wake = _earlier(wake, refused_until)
    if not has_told(telling):
        wake = _earlier(wake, _tell_again(world, uid))
    return wake


async def _act(
    kind: KindPass[StatusT, ActionT], world: World, key: Key, outcome: Outcome[StatusT, ActionT]
) -> datetime | None:
    """Take the actions; return when to try again what was refused."""
    try:
        further = await kind.act(world, key, outcome)
    except Refused as error:
        reason = Reason.NAME_TAKEN if isinstance(error, NameTaken) else Reason.WRITE_REFUSED
        again = await _stall(world, key, world.cache.get(key), reason, str(error))
        world.passed(key).refused_until = again
        return again
    await _go_on(world, key, further)
    return None


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


# --- write ---------------------------------------------------------------------------------------


async def _write(
    kind: KindPass[StatusT, ActionT],
    world: World,
    key: Key,
    live: Json,
    outcome: Outcome[StatusT, ActionT],
) -> bool:
    """Write the intent, if it says something new or numbers moved and it is time."""
    passed = world.passed(key)
    old, now = _status_of(live), world.now()
    refusal = _refusal_in(old)
    if refusal is not None and refusal.reason is Reason.INVALID_SPEC:
        refusal = None  # it could be read, or nothing would have been decided
    # These are ours to write, not the decision's, which may rest on an older view of them.
    decided = [c for c in outcome.status.conditions if c.type not in WRITTEN]
    generation = live["metadata"].get("generation", 0)
    conditions = _standing(world, [*decided, *_written_in(old)], refusal, generation)
    new = outcome.status.model_copy(update={"conditions": conditions}).to_json()
    new["record"] = old.get("record")

    def says(written_at: datetime | None) -> bool:
        bare = _without_record(old), _without_record(new)
        return bool(outcome.notes) or kind.is_worth_writing(*bare, written_at, now)

    if not says(passed.written_at):
        kind.keep(world, key, outcome, old)
        passed.written_at = passed.written_at or now
        return False
    if not says(None):
        # Only numbers moved: what was seen was seen, whatever becomes of the write.
        kind.keep(world, key, outcome, old)
    taken = partial(kind.keep, world, key, outcome, new)
    await _put(world, key, live, new, outcome.notes, outcome.inputs, taken=taken)
    passed.written_at = now
    return True


def _nothing() -> None:
    """Nothing is to be done."""


async def _put(
    world: World,
    key: Key,
    live: Json,
    status: Json,
    notes: Sequence[Note],
    common: Any = None,
    *,
    taken: Callable[[], None] = _nothing,
) -> None:
    """Write a status that rests on `live`, with its notes numbered; call `taken` when it is.

    Raises Moved where the object is another by now.
    """
    passed = world.passed(key)
    _require_same(world, key, live)
    record = record_of(status)
    told = world.announcer.told(passed.uid, record)
    # A number that was told is never given again, whatever became of the record.
    record = record.model_copy(update={"seq": max(record.seq, *told.values())})
    led = world.cluster.led_seconds()
    record = numbered(record, notes, told, common=common or {}, now=world.now(), led=led)
    if notes:
        world.announcer.made(passed.uid, record.seq - len(notes) + 1)
        record = bounded(status, record, world.now())
    if record.seq:
        status["record"] = record.to_json()
    else:
        status.pop("record", None)
    version = _version(live)
    try:
        await world.apply_status(key, status, resource_version=version or None)
    except Conflict as error:
        if await world.look(key) is None:
            raise
        raise Moved(str(error)) from error
    except RetryLater:
        passed.unsure = Unsure(version, status, taken)
        raise
    passed.unsure = None
    taken()


def _require_same(world: World, key: Key, live: Json) -> None:
    """Raise Moved if an event has brought a newer object since it was looked at."""
    newest = world.cache.get(key)
    if newest is None or _version(newest) != _version(live):
        raise Moved(f"{key} changed meanwhile")


def _take_what_landed(passed: Passed, live: Json) -> None:
    """Find out what became of a write whose reply did not come."""
    unsure = passed.unsure
    if unsure is None or _version(live) == unsure.based_on:
        return
    passed.unsure = None
    if _status_of(live) == unsure.status:
        unsure.taken()


def _version(obj: Json) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def record_of(status: Json) -> Record:
    """Return the record in a status; an empty one where there is none that can be read."""
    try:
        return Record.model_validate(status.get("record") or {})
    except ValidationError:
        logger.warning("a record in status cannot be read; numbers begin anew")
        return Record()


def _status_of(live: Json) -> Json:
    return dict(live.get("status") or {})


def _without_record(status: Json) -> Json:
    return {name: value for name, value in status.items() if name != "record"}


# --- tell ----------------------------------------------------------------------------------------


async def _tell(world: World, key: Key) -> bool:
    """Tell what has not been told; return whether everything is."""
    live = world.cache.get(key)
    if live is None:
        return True
    status = live.get("status") or {}
    if not world.announcer.has_news(world.passed(key).uid, status.get("record") or {}):
        return True
    led = world.cluster.led_seconds()
    return await world.announcer.announce(live, record_of(status), world.now(), led)


def _tell_again(world: World, uid: str) -> datetime:
    return world.announcer.again_at(uid, world.now())


# --- how the object stands -----------------------------------------------------------------------


async def _go_on(world: World, key: Key, further: Sequence[Note]) -> None:
    """Write what was decided while acting, and that nothing stands in the way any more."""
    passed = world.passed(key)
    passed.refusals, passed.refused_until = 0, LONG_AGO
    passed.unwritten = (*passed.unwritten, *further)[-MOST_UNWRITTEN:]
    live = world.cache.get(key)
    if live is None:
        return
    status = _status_of(live)
    is_over = _refusal_in(status) is not None
    if not passed.unwritten and not is_over:
        return
    if is_over:
        status["conditions"] = _stands(world, status, None)

    def written() -> None:
        passed.unwritten = ()

    await _put(world, key, live, status, passed.unwritten, taken=written)
    await world.announcer.begin(passed.uid, partial(_tell, world, key))


async def _stall(
    world: World, key: Key, live: Json | None, reason: Reason, message: str
) -> datetime:
    """Say once that nothing can go on; return when to try again."""
    passed = world.passed(key)
    if live is None:
        raise Conflict(f"{key} is gone: {message}")
    status = _status_of(live)
    before = _refusal_in(status)
    is_same = before is not None and before.reason == reason
    is_told = before is not None and is_same and _words(before.message) == _words(message)
    observed = _observed(live, status, reason)
    if not is_told or observed != status.get("observedGeneration"):
        logger.warning("%s: %s: %s", key, reason, message)
        if observed is not None:
            status["observedGeneration"] = observed
        status["conditions"] = _stands(world, status, Refusal(reason, message))
        note = Note(STALLED_EVENTS[reason], message, warning=True)
        await _put(world, key, live, status, () if is_same else (note,))
    wait = min(FIRST_REFUSED_WAIT * float(2**passed.refusals), LONGEST_REFUSED_WAIT)
    passed.refusals = min(passed.refusals + 1, 10)
    return world.now() + wait


def _words(message: str) -> str:
    """Return a message without its figures: a quota's change from one try to the next."""
    return re.sub(r"\d+", "#", message)


def _observed(live: Json, status: Json, reason: Reason) -> int | None:
    """Return the generation that the status speaks of; also one that nothing could be decided on.

    Else who waits for it would never come to see that nothing goes on.
    """
    before: int | None = status.get("observedGeneration")
    is_undecided = reason in (Reason.INVALID_SPEC, Reason.READ_REFUSED)
    return live["metadata"].get("generation", before) if is_undecided else before


def _stands(world: World, status: Json, refusal: Refusal | None) -> list[Json]:
    """Return the conditions of a status anew: what was decided stands.

    It was decided on the generation that the status speaks of; a newer one may have come meanwhile.
    """
    generation = status.get("observedGeneration") or 0
    told = _standing(world, _conditions(status), refusal, generation)
    return [condition.to_json() for condition in told]


def _standing(
    world: World, conditions: Sequence[Condition], refusal: Refusal | None, generation: int
) -> list[Condition]:
    return with_standing(conditions, refusal, now=world.now(), generation=generation)


def _refusal_in(status: Json) -> Refusal | None:
    """Return what could not be done; read in full only where there may be something."""
    return refusal_in(_conditions(status)) if refusal_in(_written_in(status)) else None


def _written_in(status: Json) -> list[Condition]:
    """Return the conditions that are written here, as they stand."""
    found = [c for c in status.get("conditions", []) if c.get("type") in WRITTEN]
    return _conditions({"conditions": found})


def _conditions(status: Json) -> list[Condition]:
    try:
        return [Condition.model_validate(entry) for entry in status.get("conditions", [])]
    except ValidationError:
        return []
