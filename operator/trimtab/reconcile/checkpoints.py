"""What a leader keeps of its counting, so that a successor goes on where it ended.

    leading ─> restore ─> passes and scrapes ─┬─ every 30 s: save what has changed
                                              └─ asked to end: save all, give the Lease back

Windows and readings are saved together, so nothing is counted twice. A kill loses nothing that
pods still show; what ended since the last save is lost, and increments over the end of a window.

One object a Deployment with its counts, one with what its gates saw (`kinds.gate_evidence`), and
one a policy with broken data in sight, named by uid: another one of the same name takes up nothing.
Counts and gates need not be of one time: gates know how far they have counted each process.

Nothing is saved while another process may lead. Where a displaced leader replaces a newer
checkpoint all the same, that costs at most what a kill costs: each checkpoint is whole by itself.

Each object is read alone. What is broken, or not sealed by this release's key, is left aside where
it lies, said once, and counting begins anew; the next save replaces it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from trimtab.api.deployment import Deployment
from trimtab.api.drift_policy import DriftPolicy
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, Key
from trimtab.contract.json_bounds import JsonBounds, read_json
from trimtab.decide.rollout import saved as gate_form
from trimtab.reconcile.kinds import gate_evidence
from trimtab.reconcile.kinds.drift_policy import restore_evidence, saved_evidence, selects
from trimtab.reconcile.kinds.names import telemetry_key
from trimtab.reconcile.kinds.typed import all_typed
from trimtab.reconcile.machine.observability import CHECKPOINTS_LEFT_ASIDE
from trimtab.reconcile.machine.world import World
from trimtab.store.port import CheckpointStore, NotAuthentic, StoreAway
from trimtab.telemetry.checkpoint import Checkpoint, decode, encode

logger = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
RESTORE_WITHIN_SECONDS = 10.0
SAVE_WITHIN_SECONDS = 3.0
SAVES_AT_ONCE = 4
EVIDENCE_BOUNDS = JsonBounds(containers=100_000, values=500_000, texts=300_000)


class Checkpoints:
    """Saves and restores the counting of watched Deployments. Without a store it does nothing."""

    def __init__(
        self,
        world: World,
        store: CheckpointStore | None,
        *,
        leading: Callable[[], Awaitable[None]],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """leading: waits until this process leads."""
        self._world = world
        self._leading = leading
        self._store = store
        self._every_seconds = every_seconds
        self._saved: dict[str, int] = {}
        """Uid to the number of changes that is saved."""
        self._evidence: dict[str, bytes] = {}
        """Uid of a policy to the evidence that is saved."""
        self._gates: dict[str, datetime] = {}
        """Uid of a Deployment to the last look at its gates that is saved."""
        self._is_away = False
        self._unwritable: set[str] = set()
        """Objects that cannot be written, which was said."""
        self._decoding = asyncio.Lock()

    async def restore_all(self) -> None:
        """Take up every checkpoint there is; to be called before any targets are set.

        What is not there, not readable or not had in time begins anew, and is said.
        """
        if self._store is None:
            return
        watched = self._watched()
        try:
            async with asyncio.timeout(RESTORE_WITHIN_SECONDS), asyncio.TaskGroup() as group:
                for uid, key in watched.items():
                    group.create_task(self._restore(self._store, uid, key))
                for policy, uid in self._world.cache.keys(DRIFT_POLICIES).items():
                    group.create_task(self._restore_evidence(self._store, uid, policy))
                judged, at_rest = self._by_urgency()
                for deployment, uid in (*judged, *at_rest):
                    group.create_task(self._restore_gates(self._store, uid, deployment))
        except TimeoutError:
            logger.warning(
                "the checkpoints were not read within %.0f s; the rest begins anew",
                RESTORE_WITHIN_SECONDS,
            )

    async def run(self) -> None:
        """Save what has changed, now and then, while this process leads; until cancelled."""
        if self._store is None:
            return
        while True:
            await asyncio.sleep(self._every_seconds)
            await self._leading()
            await self._save(self._store, at_end=False)

    async def save_all(self) -> None:
        """Save what has changed since the last time, within a bounded time."""
        if self._store is None:
            return
        try:
            async with asyncio.timeout(SAVE_WITHIN_SECONDS):
                await self._save(self._store, at_end=True)
        except TimeoutError:
            logger.warning("the checkpoints were not written within %.0f s", SAVE_WITHIN_SECONDS)

    # --- inside -------------------------------------------------------------------------------

    def _watched(self) -> dict[str, str]:
        """Return uid to telemetry key of the Deployments that a policy selects."""
        cache = self._world.cache
        policies = list(all_typed(DriftPolicy, cache.all(DRIFT_POLICIES, None)))
        found = {}
        for deployment in all_typed(Deployment, cache.all(DEPLOYMENTS, None)):
            namespace, name = deployment.metadata.namespace, deployment.metadata.name
            of_it = [policy for policy in policies if policy.metadata.namespace == namespace]
            if deployment.metadata.uid and any(selects(policy, deployment) for policy in of_it):
                found[deployment.metadata.uid] = telemetry_key(Key(DEPLOYMENTS, namespace, name))
        return found

    async def _restore(self, store: CheckpointStore, uid: str, key: str) -> None:
        async def take_up(raw: bytes) -> None:
            # One at a time: what each becomes is bounded, what all of them become is not.
            async with self._decoding:
                checkpoint = await asyncio.to_thread(decode, raw, key)
            try:
                self._world.telemetry.restore(checkpoint)
            except Exception:
                self._world.telemetry.forget(key)
                raise
            logger.info("%s: counting goes on from the checkpoint of %s", key, _newest(checkpoint))

        await self._take_up(store, uid, f"{key}: its checkpoint", take_up)

    async def _restore_evidence(self, store: CheckpointStore, uid: str, key: Key) -> None:
        async def take_up(raw: bytes) -> None:
            restore_evidence(self._world, key, read_json(raw, EVIDENCE_BOUNDS))

        if uid:
            await self._take_up(store, uid, f"{key}: its evidence", take_up)

    def _by_urgency(self) -> tuple[list[tuple[Key, str]], list[tuple[Key, str]]]:
        """Return the Deployments with their uids: whose gates or guard are at work, and others.

        A store that is slow has time for the first of them.
        """
        judged: list[tuple[Key, str]] = []
        at_rest: list[tuple[Key, str]] = []
        for key, uid in self._world.cache.keys(DEPLOYMENTS).items():
            if uid:
                status = (self._world.cache.get(key) or {}).get("status") or {}
                is_judged = bool(status.get("rollout") or status.get("guard"))
                (judged if is_judged else at_rest).append((key, uid))
        return judged, at_rest

    async def _restore_gates(self, store: CheckpointStore, uid: str, key: Key) -> None:
        what = f"{key}: what its gates saw"

        async def take_up(raw: bytes) -> None:
            async with self._decoding:
                saved = await asyncio.to_thread(gate_form.decode, raw, uid)
            if not gate_evidence.restore_evidence(self._world, key, uid, saved):
                CHECKPOINTS_LEFT_ASIDE.labels("stale").inc()
                logger.warning("%s is of %s, and begins anew", what, saved.at.isoformat())

        await self._take_up(store, gate_evidence.object_name(uid), what, take_up)

    async def _take_up(
        self,
        store: CheckpointStore,
        name: str,
        what: str,
        take_up: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Read one object; whatever is wrong with it concerns no other and ends nothing."""
        try:
            raw = await store.load(name)
            if raw is not None:
                await take_up(raw)
        except StoreAway as error:
            CHECKPOINTS_LEFT_ASIDE.labels("unavailable").inc()
            logger.warning("%s cannot be read, and counting begins anew: %s", what, error)
        except NotAuthentic as error:
            CHECKPOINTS_LEFT_ASIDE.labels("not_authentic").inc()
            logger.warning("%s is left aside, and counting begins anew: %s", what, error)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            CHECKPOINTS_LEFT_ASIDE.labels("broken").inc()
            logger.warning("%s is left aside, and counting begins anew: %.500r", what, error)
        except Exception:  # the boundary that the method's docstring names
            CHECKPOINTS_LEFT_ASIDE.labels("broken").inc()
            logger.exception("%s is left aside, and counting begins anew: a bug", what)

    async def _save(self, store: CheckpointStore, *, at_end: bool) -> None:
        await self._save_evidence(store)
        judged, at_rest = self._by_urgency()
        uids = {uid: key for key, uid in (*judged, *at_rest)}
        self._saved = {uid: changes for uid, changes in self._saved.items() if uid in uids}
        self._gates = {uid: at for uid, at in self._gates.items() if uid in uids}
        slots = asyncio.Semaphore(SAVES_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for key, uid in judged:
                group.create_task(self._save_gates(store, slots, uid, key, at_end=at_end))
            for uid, key in uids.items():
                group.create_task(self._save_one(store, slots, uid, telemetry_key(key)))
            for key, uid in at_rest:
                group.create_task(self._save_gates(store, slots, uid, key, at_end=at_end))

    async def _save_evidence(self, store: CheckpointStore) -> None:
        for key, uid in self._world.cache.keys(DRIFT_POLICIES).items():
            evidence = saved_evidence(self._world, key)
            if not uid or evidence is None:
                continue
            raw = json.dumps(evidence).encode()
            if self._evidence.get(uid) == raw:
                continue
            if await self._put(store, uid, partial(bytes, raw)):
                self._evidence[uid] = raw

    async def _save_one(
        self, store: CheckpointStore, slots: asyncio.Semaphore, uid: str, key: str
    ) -> None:
        async with slots:
            checkpoint = self._world.telemetry.checkpoint(key)
            if checkpoint is None or self._saved.get(uid) == checkpoint.changes:
                return
            if await self._put(store, uid, partial(encode, checkpoint)):
                self._saved[uid] = checkpoint.changes

    async def _save_gates(
        self, store: CheckpointStore, slots: asyncio.Semaphore, uid: str, key: Key, *, at_end: bool
    ) -> None:
        async with slots:
            saved = gate_evidence.evidence_to_save(
                self._world, key, self._gates.get(uid), at_end=at_end
            )
            if saved is None:
                return
            raw = partial(gate_form.encode, uid, saved)
            if await self._put(store, gate_evidence.object_name(uid), raw):
                self._gates[uid] = saved.at

    async def _put(self, store: CheckpointStore, name: str, raw: Callable[[], bytes]) -> bool:
        """Write one object; say once that it cannot be done, and once that it can again."""
        if not self._world.is_leading():
            return False
        try:
            await store.save(name, raw)
        except StoreAway as error:
            if not self._is_away:
                logger.warning("checkpoints cannot be written: %s", error)
            self._is_away = True
            return False
        except Exception:  # what cannot be written of one object ends nothing
            if name not in self._unwritable:
                logger.exception("the checkpoint of %s cannot be written", name)
            self._unwritable.add(name)
            return False
        self._unwritable.discard(name)
        if self._is_away:
            logger.info("checkpoints are written again")
        self._is_away = False
        return True


def _newest(checkpoint: Checkpoint) -> str:
    """When the last sample in it was taken."""
    newest = max((saved.sampled_at for saved in checkpoint.processes), default=None)
    if newest is None:
        return "no process"
    return datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
