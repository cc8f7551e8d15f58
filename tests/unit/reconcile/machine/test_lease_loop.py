"""Leadership over a Lease that others want too."""

from datetime import timedelta

import pytest
from tests.unit.reconcile.machine.engines import engine_over, nothing

from trimtab.errors import Unavailable
from trimtab.reconcile.machine.lease import (
    DURATION_SECONDS,
    RENEW_SECONDS,
    UNSURE_AFTER_SECONDS,
    Leadership,
    LeaseLostError,
)
from trimtab.simulation.cluster import Lease, SimulatedCluster


class Unsteady(SimulatedCluster):
    """Does not answer while `is_away`."""

    is_away = False

    async def hold_lease(self, *, name: str, identity: str, seconds: float) -> bool:
        if self.is_away:
            raise Unavailable("away")
        return await super().hold_lease(name=name, identity=identity, seconds=seconds)

    async def release_lease(self, *, name: str, identity: str) -> None:
        if self.is_away:
            raise Unavailable("away")
        await super().release_lease(name=name, identity=identity)


class Bench:
    """One process; its clock and that of the cluster move together."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cluster = Unsteady()
        self.engine = engine_over(self.cluster, nothing)
        self.leadership = Leadership(
            self.cluster,
            self.engine,
            name="trimtab",
            identity="pod-a",
            clock=lambda: self.seconds,
        )

    async def step(self, after: float = RENEW_SECONDS) -> float:
        self.seconds += after
        self.cluster.time += timedelta(seconds=after)
        return await self.leadership.step()


async def test_passes_are_allowed_once_the_lease_is_held() -> None:
    it = Bench()
    assert not it.engine.is_allowed
    await it.step()
    assert it.engine.is_allowed
    assert it.cluster.leases["trimtab"].holder == "pod-a"


async def test_a_standby_waits_and_takes_over_when_the_lease_has_run_out() -> None:
    it = Bench()
    it.cluster.leases["trimtab"] = Lease("pod-b", it.cluster.time + timedelta(seconds=7))
    await it.step()
    assert not it.engine.is_allowed
    await it.step()
    await it.step()
    assert it.engine.is_allowed


async def test_the_process_ends_when_another_holds_the_lease() -> None:
    it = Bench()
    await it.step()
    it.cluster.leases["trimtab"] = Lease("pod-b", it.cluster.time + timedelta(seconds=60))
    with pytest.raises(LeaseLostError):
        await it.step()
    assert not it.engine.is_allowed
    assert not it.leadership.speaks


async def test_a_short_outage_changes_nothing() -> None:
    it = Bench()
    await it.step()
    it.cluster.is_away = True
    await it.step()
    assert it.engine.is_allowed


async def test_passes_are_held_before_the_lease_runs_out_and_go_on_afterwards() -> None:
    it = Bench()
    await it.step()
    it.cluster.is_away = True
    await it.step(UNSURE_AFTER_SECONDS + 0.1)
    assert it.seconds < RENEW_SECONDS + DURATION_SECONDS
    assert not it.engine.is_allowed
    it.cluster.is_away = False
    await it.step()
    assert it.engine.is_allowed


async def test_the_lease_is_given_back_in_the_end() -> None:
    it = Bench()
    await it.step()
    await it.leadership.release()
    assert it.cluster.leases == {}
    assert not it.engine.is_allowed


async def test_giving_back_may_fail() -> None:
    it = Bench()
    await it.step()
    it.cluster.is_away = True
    await it.leadership.release()
    assert not it.engine.is_allowed


async def test_a_process_that_stood_still_writes_nothing_before_it_has_renewed_the_lease() -> None:
    it = Bench()
    world = it.engine.world
    assert not world.is_leading()
    await it.step()
    assert world.is_leading()
    it.seconds += UNSURE_AFTER_SECONDS + 0.1
    assert it.engine.is_allowed
    assert not world.is_leading()
    await it.step(0.0)
    assert world.is_leading()


async def test_who_leads_speaks_until_another_does() -> None:
    it = Bench()
    assert not it.leadership.speaks
    await it.step()
    assert it.leadership.speaks
    it.cluster.is_away = True
    await it.step(UNSURE_AFTER_SECONDS + 1)
    assert not it.leadership.is_sure()
    assert it.leadership.speaks
    await it.leadership.release()
    assert not it.leadership.speaks
