"""The running operator: which parts there are, in which order they start, and how they end.

    HTTP, Lease ──> kopf, lists ──> passes (while the Lease is held), scrapes

On SIGTERM passes end, the Lease is given back so that a successor need not wait for it to expire,
and everything else is cancelled. A part that fails ends the process: a restart is cheap, half an
operator is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kopf

from trimtab.api.resource import Resource
from trimtab.cluster.kubernetes_api import KubernetesCluster
from trimtab.cluster.port import Cluster
from trimtab.handlers.environment import Environment
from trimtab.handlers.events import kopf_registry, kopf_settings
from trimtab.handlers.http import application, serve
from trimtab.handlers.parts import Parts
from trimtab.notify.post import Poster
from trimtab.reconcile.checkpoints import Checkpoints
from trimtab.reconcile.kinds.names import deployment_key
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.machine.engine import Engine, Reconciler
from trimtab.reconcile.machine.health import Health
from trimtab.reconcile.machine.lease import Leadership
from trimtab.reconcile.machine.queue import TokenBucket, WorkQueue
from trimtab.reconcile.machine.resync import Resync
from trimtab.reconcile.machine.state_page import StatePage
from trimtab.reconcile.machine.watched import written
from trimtab.reconcile.machine.world import Settings, World
from trimtab.reconcile.notifying.namespaces import Namespaces
from trimtab.reconcile.notifying.notifier import Notifier
from trimtab.reconcile.notifying.outbox import Outbox
from trimtab.store.artifacts import ArtifactStore
from trimtab.store.checkpoints import CheckpointObjects
from trimtab.store.port import CheckpointStore
from trimtab.store.sealed import SealedCheckpoints, read_seed
from trimtab.telemetry.scraped import ScrapedTelemetry

logger = logging.getLogger(__name__)

PASSES_PER_SECOND = 500.0
PASSES_AT_ONCE = 5000.0
"""A bucket for the sum of all passes: far above any real load, below what a hot loop could do."""
FINISH_WITHIN_SECONDS = 4.0


@dataclass
class Operator:
    """All parts of one process."""

    engine: Engine
    telemetry: ScrapedTelemetry
    resync: Resync
    leadership: Leadership
    health: Health
    state: StatePage
    checkpoints: Checkpoints
    notifier: Notifier
    environment: Environment
    stop: asyncio.Event


def build_operator(
    environment: Environment,
    cluster: Cluster,
    reconcilers: Mapping[Resource, Reconciler],
    stop: asyncio.Event,
) -> Operator:
    """Put the parts together; nothing runs yet. To be called on the running loop."""
    queue = WorkQueue(
        time.monotonic, bucket=TokenBucket(rate=PASSES_PER_SECOND, burst=PASSES_AT_ONCE)
    )

    def on_sample(key: str) -> None:
        queue.add(deployment_key(key))

    settings = environment.settings
    credentials = settings.store_credentials
    telemetry = ScrapedTelemetry(on_sample)
    world = World(
        cluster=cluster,
        cache=Cache(),
        telemetry=telemetry,
        store=ArtifactStore(Path(credentials) if credentials else None),
        settings=settings,
        enqueue=queue.add,
    )
    engine = Engine(world, queue, reconcilers)
    resync = Resync(engine, namespaces=settings.watch_namespaces)
    world.list_soon = resync.list_soon
    leadership = Leadership(
        cluster, engine, name=environment.lease_name, identity=environment.identity
    )
    health = Health(engine, resync, leadership)
    state = StatePage(world.cache, now=world.now, leads=lambda: _tells(leadership, resync))
    checkpoints = Checkpoints(world, _checkpoint_store(settings), leading=engine.allowed)
    notifier = _notifier(world, settings)
    return Operator(
        engine,
        telemetry,
        resync,
        leadership,
        health,
        state,
        checkpoints,
        notifier,
        environment,
        stop,
    )


def _notifier(world: World, settings: Settings) -> Notifier:
    """Return what tells decisions: nothing where no destination is named."""
    boxes = [
        Outbox(
            destination,
            Poster(destination, Path(settings.notification_secrets), now=world.now).post,
            clock=time.monotonic,
            dashboard_url=settings.notifications.dashboard_url,
        )
        for destination in settings.notifications.destinations
    ]
    namespaces = Namespaces(world.cluster, clock=time.monotonic)
    return Notifier(world.cache, world.cluster, boxes, namespaces, now=world.now)


def _tells(leadership: Leadership, resync: Resync) -> bool:
    """Tell whether this process speaks for all objects: it leads, and knows what there is."""
    return leadership.speaks and resync.listed_at is not None


def _checkpoint_store(settings: Settings) -> CheckpointStore | None:
    """Checkpoints that cannot be authenticated are worse than none: they could be anybody's."""
    if settings.checkpoint_uri is None:
        logger.info("TRIMTAB_CHECKPOINT_URI is not set: a restart begins windows and evidence anew")
        return None
    if settings.signing_key_file is None:
        logger.warning(
            "TRIMTAB_SIGNING_KEY_FILE is not set: a restart begins windows and evidence anew"
        )
        return None
    try:
        seed = read_seed(Path(settings.signing_key_file))
    except ValueError as error:
        logger.warning("no checkpoints, a restart begins windows and evidence anew: %s", error)
        return None
    credentials = settings.store_credentials
    objects = CheckpointObjects(settings.checkpoint_uri, Path(credentials) if credentials else None)
    return SealedCheckpoints(objects, seed)


async def run_operator(
    environment: Environment,
    reconcilers: Mapping[Resource, Reconciler],
    stop: asyncio.Event | None = None,
) -> None:
    """Run until SIGTERM, SIGINT or `stop`; raises what a part failed with, or LeaseLostError."""
    settings = environment.settings
    cluster = await KubernetesCluster.connect(
        written=written(),
        namespaces=settings.watch_namespaces,
        lease_namespace=settings.operator_namespace,
        instance=environment.identity,
    )
    operator = build_operator(environment, cluster, reconcilers, stop or asyncio.Event())
    listen_to_signals(operator.stop)
    pages = application(operator.health, operator.engine.queue, operator.state)
    server = await serve(pages, environment.http_port)
    try:
        await run_parts(operator)
    finally:
        await server.cleanup()
        await cluster.close()


def listen_to_signals(stop: asyncio.Event) -> None:
    """End on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def run_parts(operator: Operator) -> None:
    """Start the parts in order and wait until one fails or all shall end."""
    parts = Parts()
    stop = asyncio.create_task(operator.stop.wait(), name="stop")
    try:
        parts.start("lease", operator.leadership.run())
        parts.start("loop lag", operator.health.measure_lag())
        parts.start("metrics of state", operator.state.run())
        parts.start("kopf", watch(operator))
        parts.start("lists", operator.resync.run())
        caught_up = asyncio.create_task(operator.resync.caught_up.wait(), name="caught up")
        await parts.until(stop, caught_up)
        if caught_up.done():
            parts.start("passes", lead(operator))
            parts.start("scrapes", operator.telemetry.run())
            await parts.until(stop)
        logger.info("asked to end")
    finally:
        await finish(operator)
        await parts.end()


async def lead(operator: Operator) -> None:
    """Take up what the leader before this one has written and counted, then work and keep it.

    Targets are set by passes, so that nothing is scraped before.
    """
    await operator.engine.allowed()
    if not operator.resync.is_of_leader:
        await operator.resync.anew()
    await operator.checkpoints.restore_all()
    async with asyncio.TaskGroup() as group:
        # First, so that a destination that is new hears of the first decision.
        group.create_task(operator.notifier.run())
        group.create_task(operator.engine.run())
        group.create_task(operator.checkpoints.run())


async def watch(operator: Operator) -> None:
    """Run kopf. It takes over the signals when it starts: a second later they are taken back.

    A signal in that second ends kopf, and with it the process, only less quickly.
    """
    asyncio.get_running_loop().call_later(1.0, listen_to_signals, operator.stop)
    namespaces = operator.environment.settings.watch_namespaces
    await kopf.operator(
        registry=kopf_registry(operator.engine, operator.resync.on_watch),
        settings=kopf_settings(),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        standalone=True,
        # kopf would otherwise ask for the user's name, which a numeric user has not.
        identity=cast("Any", operator.environment.identity),
    )
    operator.stop.set()


async def finish(operator: Operator) -> None:
    """Let passes under way end, keep what was counted, then give the Lease back."""
    is_leading = operator.engine.is_allowed
    operator.engine.hold()
    is_idle = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINISH_WITHIN_SECONDS):
            await operator.engine.idle()
            is_idle = True
    if is_leading:
        await operator.checkpoints.save_all()
        await operator.notifier.end(is_last=is_idle)
    await operator.leadership.release()
