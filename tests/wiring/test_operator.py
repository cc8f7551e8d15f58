"""The whole process with real kopf, over an API server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from tests.alerts.loopback import free_port
from tests.patience import stretched
from tests.unit.reconcile.kinds.policies import policy_object
from tests.unit.reconcile.machine.engines import SETTINGS, reached
from tests.unit.simulation.objects import DEPLOYMENT, deployment, workload
from tests.wiring.api_server import DEEP, ApiServer

from trimtab.api.deployment import Deployment
from trimtab.api.resource import Resource
from trimtab.cluster.port import DEPLOYMENTS, DRIFT_POLICIES, OWN_KINDS, PODS, WORKLOADS, Json, Key
from trimtab.errors import SpecError
from trimtab.handlers.environment import Environment
from trimtab.handlers.operator import run_operator
from trimtab.reconcile.kinds.typed import typed
from trimtab.reconcile.machine.engine import Reconciler
from trimtab.reconcile.machine.lease import LeaseLostError
from trimtab.reconcile.machine.watched import watched
from trimtab.reconcile.machine.world import World
from trimtab.telemetry.port import Target

PROCESS_START = 1_700_000_000.0


class Passes:
    """A reconciler that writes down what it saw, and the workloads it saw with it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Key, Json | None]] = []
        self.workloads = 0

    async def __call__(self, world: World, key: Key) -> datetime | None:
        self.seen.append((key, world.cache.get(key)))
        self.workloads = len(world.cache.children(key, WORKLOADS))
        return None

    def last(self, key: Key) -> Json | None:
        return next(obj for seen, obj in reversed(self.seen) if seen == key)


def environment(
    port: int,
    identity: str = "pod-a",
    checkpoint_uri: str | None = None,
    signing_key_file: str | None = None,
) -> Environment:
    settings = replace(SETTINGS, checkpoint_uri=checkpoint_uri, signing_key_file=signing_key_file)
    return Environment(settings, identity, "trimtab", port, "INFO")


def reconcilers(passes: Passes) -> dict[Resource, Reconciler]:
    return dict.fromkeys(OWN_KINDS, passes)


@contextlib.asynccontextmanager
async def operator(
    passes: Passes, identity: str = "pod-a", kept: Path | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the operator; gives a client of its own HTTP server. kept: where it keeps its counts."""
    port, stop = free_port(), asyncio.Event()
    settings = environment(port, identity)
    if kept is not None:
        (kept / "seed").write_bytes(b"s" * 32)
        settings = environment(port, identity, f"{kept.as_uri()}/kept", str(kept / "seed"))
    running = run_operator(settings, reconcilers(passes), stop)
    task = asyncio.create_task(running)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await ready(client, task)
            yield client
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def ready(client: httpx.AsyncClient, task: asyncio.Task[None]) -> None:
    """Poll /readyz until it says yes; raises what the operator failed with."""
    async with asyncio.timeout(stretched(20)):
        while True:
            if task.done():
                await task
            with contextlib.suppress(httpx.ConnectError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


def watches(api: ApiServer) -> int:
    """Return how many kinds are watched."""
    return len({r.split("?")[0] for r in api.requests if "watch=true" in r})


async def all_watched(api: ApiServer) -> None:
    await reached(lambda: watches(api) == 8, 20)


async def test_what_exists_is_passed_once_before_ready(api_server: ApiServer) -> None:
    api_server.cluster.user_apply(deployment())
    passes = Passes()
    async with operator(passes):
        assert [key for key, _ in passes.seen] == [DEPLOYMENT]
        await all_watched(api_server)
        assert [key for key, _ in passes.seen] == [DEPLOYMENT]


async def test_changes_deletions_and_children_lead_to_passes(api_server: ApiServer) -> None:
    passes = Passes()
    async with operator(passes):
        await all_watched(api_server)
        api_server.cluster.user_apply(deployment())
        await reached(lambda: passes.seen and passes.last(DEPLOYMENT))
        api_server.cluster.user_apply(deployment(replicas=3))
        await reached(lambda: (passes.last(DEPLOYMENT) or {})["spec"].get("replicas") == 3)
        api_server.cluster.user_apply(workload())
        await reached(lambda: passes.workloads == 1)
        api_server.cluster.user_delete(DEPLOYMENT)
        await reached(lambda: passes.last(DEPLOYMENT) is None)


async def test_an_object_nested_ten_thousand_deep_ends_nothing(api_server: ApiServer) -> None:
    api_server.deep = "[" * 9_900 + "]" * 9_900
    listed, watched = deployment(podTemplate={"spec": DEEP}), deployment(podTemplate={"spec": DEEP})
    watched["metadata"]["name"] = "watched"
    other = deployment()
    other["metadata"]["name"] = "other"
    api_server.cluster.user_apply(listed, validate=False)
    passes = Passes()
    async with operator(passes):
        await all_watched(api_server)
        api_server.cluster.user_apply(watched, validate=False)
        api_server.cluster.user_apply(other)
        await reached(
            lambda: {key.name for key, _ in passes.seen} == {"digits", "watched", "other"}
        )
        for name in ("digits", "watched"):
            obj = passes.last(Key(DEPLOYMENTS, "shop", name))
            assert obj is not None
            with pytest.raises(SpecError, match="spec: it is nested deeper than 100 levels"):
                typed(Deployment, obj)
        assert passes.last(Key(DEPLOYMENTS, "shop", "other")) is not None


async def test_foreign_objects_are_never_asked_for(api_server: ApiServer) -> None:
    async with operator(Passes()):
        await all_watched(api_server)
    asked = [r for r in api_server.requests if f"/{PODS.plural}?" in r]
    assert asked
    assert all("labelSelector=app.kubernetes.io" in request for request in asked)


async def test_nothing_is_written_by_watching(api_server: ApiServer) -> None:
    api_server.cluster.user_apply(deployment())
    async with operator(Passes()):
        await all_watched(api_server)
    others = [r for r in api_server.requests if not r.startswith("GET") and "leases" not in r]
    assert others == []


async def test_the_lease_is_given_back_at_the_end(api_server: ApiServer) -> None:
    async with operator(Passes()):
        assert api_server.leases["trimtab"]["spec"]["holderIdentity"] == "pod-a"
    assert api_server.leases["trimtab"]["spec"]["holderIdentity"] == ""


class Pod:
    """A metrics port on loopback that counts a row with each scrape."""

    def __init__(self) -> None:
        self.rows = 0
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> Pod:
        app = web.Application()
        app.router.add_get("/metrics", self._show)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _show(self, _: web.Request) -> web.Response:
        self.rows += 1
        labels = 'model="m",version="v"'
        return web.Response(
            text=f"process_start_time_seconds {PROCESS_START}\n"
            f'trimtab_model_info{{{labels},digest="d",baseline="b"}} 1\n'
            f'trimtab_predicted_total{{{labels},class="a"}} {self.rows}\n'
        )


class Scraping(Passes):
    """A reconciler that watches one pod of its Deployment in windows of ten years."""

    def __init__(self, pod: Pod) -> None:
        super().__init__()
        self.pod = pod
        self.world: World | None = None

    async def __call__(self, world: World, key: Key) -> datetime | None:
        self.world = world
        if key == DEPLOYMENT:
            url = f"http://127.0.0.1:{self.pod.port}/metrics"
            target = Target("uid-a/start", "pod-a", "rev", url, interval_seconds=0.05)
            world.telemetry.watch_windows("shop/digits", 10 * 365 * 86400.0)
            world.telemetry.set_targets("shop/digits", [target])
        return await super().__call__(world, key)

    def counted(self) -> float:
        assert self.world is not None
        windows = self.world.telemetry.windows("shop/digits")
        return sum(sum(window.counts.values()) for window in windows)


async def test_a_successor_goes_on_in_the_middle_of_a_window(
    api_server: ApiServer, tmp_path: Path
) -> None:
    api_server.cluster.user_apply(deployment())
    api_server.cluster.user_apply(policy_object())
    async with Pod() as pod:
        first = Scraping(pod)
        async with operator(first, kept=tmp_path):
            await reached(lambda: first.world is not None and first.counted() >= 3)
        assert len(list((tmp_path / "kept").iterdir())) == 1
        seen_by_first = first.counted()
        pod.rows += 1000
        second = Scraping(pod)
        async with operator(second, kept=tmp_path):
            await reached(lambda: second.world is not None and second.counted() >= 1000)
            # What the pod counted in between is in; the first sample ever is nobody's.
            assert second.counted() >= seen_by_first + 1000
            assert second.counted() <= pod.rows - 1


async def test_a_standby_is_ready_and_does_nothing_until_the_lease_is_free(
    api_server: ApiServer,
) -> None:
    api_server.cluster.user_apply(deployment())
    first, second = Passes(), Passes()
    async with operator(first, "pod-a"):
        async with operator(second, "pod-b") as client:
            assert (await client.get("/healthz")).status_code == 200
            assert second.seen == []
        assert first.seen != []


async def test_the_process_ends_when_the_lease_is_taken(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.reconcile.machine.lease.RENEW_SECONDS", 0.05)
    task = asyncio.create_task(run_operator(environment(free_port()), reconcilers(Passes())))
    await reached(lambda: watches(api_server) == 8 and "trimtab" in api_server.leases, 20)
    lease = api_server.leases["trimtab"]
    lease["spec"] |= {"holderIdentity": "pod-b", "leaseDurationSeconds": 600}
    lease["metadata"]["resourceVersion"] = "999"
    await asyncio.wait([task], timeout=stretched(20))
    with pytest.raises(LeaseLostError):
        task.result()


async def test_errors_and_expired_watches_are_got_over(api_server: ApiServer) -> None:
    passes = Passes()
    api_server.answers += [503, 429]
    async with operator(passes):
        api_server.answers += [500, 503]
        api_server.expired |= set(watched())
        await all_watched(api_server)
        api_server.cluster.user_apply(deployment())
        await reached(lambda: any(key == DEPLOYMENT for key, _ in passes.seen), 10)


async def test_who_was_deleted_while_a_watch_was_away_is_missed_at_once(
    api_server: ApiServer,
) -> None:
    """After 410 kopf lists anew, and tells of nothing that is not in the list."""
    api_server.cluster.user_apply(deployment())
    api_server.mute = lambda event, resource: event == "DELETED"
    passes = Passes()
    async with operator(passes):
        await all_watched(api_server)
        await api_server.close()
        api_server.cluster.user_delete(DEPLOYMENT)
        api_server.expired |= set(watched())
        await api_server.open()
        await reached(lambda: passes.last(DEPLOYMENT) is None, 10)


async def test_an_api_server_that_goes_away_and_comes_back_is_got_over(
    api_server: ApiServer,
) -> None:
    passes = Passes()
    async with operator(passes) as client:
        await all_watched(api_server)
        await api_server.close()
        api_server.cluster.user_apply(deployment())
        assert (await client.get("/healthz")).status_code == 200
        await api_server.open()
        await reached(lambda: any(key == DEPLOYMENT for key, _ in passes.seen), 10)


async def test_metrics_are_shown(api_server: ApiServer) -> None:
    api_server.cluster.user_apply(deployment())
    async with operator(Passes()) as client:
        text = (await client.get("/metrics")).text
    assert "trimtab_operator_leading 1.0" in text
    assert 'trimtab_operator_passes_total{kind="Deployment",outcome="done"}' in text
    assert f'plural="{DRIFT_POLICIES.plural}",verb="list"' in text


async def test_the_state_is_shown_by_who_leads_and_goes_with_the_object(
    api_server: ApiServer,
) -> None:
    api_server.cluster.user_apply(deployment())
    async with operator(Passes(), "pod-a") as leader, operator(Passes(), "pod-b") as standby:
        await all_watched(api_server)
        page = (await leader.get("/metrics")).text
        assert 'trimtab_deployment_info{namespace="shop",name="digits",model="digits"' in page
        families = [family.name for family in text_string_to_metric_families(page)]
        assert len(families) == len(set(families))
        other = (await standby.get("/metrics")).text
        assert "trimtab_operator_passes" in other
        assert "trimtab_deployment_info" not in other
        api_server.cluster.user_delete(DEPLOYMENT)
        async with asyncio.timeout(stretched(10)):
            while "trimtab_deployment_info{" in (await leader.get("/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
