"""The state is told by one process at a time: from its Lease on, once it knows what there is."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.unit.reconcile.machine.engines import SETTINGS
from tests.unit.simulation.objects import deployment

from trimtab.handlers.environment import Environment
from trimtab.handlers.operator import build_operator
from trimtab.simulation.cluster import Lease, SimulatedCluster


async def test_a_standby_shows_no_state_until_it_leads() -> None:
    cluster = SimulatedCluster()
    cluster.user_apply(deployment())
    cluster.leases["trimtab"] = Lease("pod-a", cluster.time + timedelta(seconds=10))
    environment = Environment(SETTINGS, "pod-b", "trimtab", 0, "INFO")
    standby = build_operator(environment, cluster, {}, asyncio.Event())
    await standby.leadership.step()
    await standby.resync.repair()
    assert await standby.state.page() == b""
    cluster.time += timedelta(seconds=11)
    await standby.leadership.step()
    assert b"trimtab_deployment_info{" in await standby.state.page()
    await standby.leadership.release()
    assert await standby.state.page() == b""


async def test_a_leader_shows_no_state_before_it_has_listed() -> None:
    cluster = SimulatedCluster()
    environment = Environment(SETTINGS, "pod-a", "trimtab", 0, "INFO")
    leader = build_operator(environment, cluster, {}, asyncio.Event())
    await leader.leadership.step()
    assert await leader.state.page() == b""
    await leader.resync.repair()
    assert b"trimtab_operator_unreadable_objects{" in await leader.state.page()
