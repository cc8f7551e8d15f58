"""From status to queues, and over a restart of the operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.notify.messages import AT
from tests.unit.reconcile.notifying.boxes import Clock, Receiver, box, sent

from trimtab.api.record import Decision, Record
from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS, Json
from trimtab.errors import Refused, Unavailable
from trimtab.reconcile.machine.cache import Cache
from trimtab.reconcile.notifying.marks import from_text
from trimtab.reconcile.notifying.namespaces import Namespaces
from trimtab.reconcile.notifying.notifier import (
    MARKS_ANNOTATION,
    ON_ITS_WAY_SECONDS,
    Notifier,
)
from trimtab.reconcile.notifying.outbox import Outbox
from trimtab.simulation.cluster import SimulatedCluster

KEPT = 10


@dataclass
class Shop:
    """A cluster whose objects have decisions, and operators that come and go."""

    cluster: SimulatedCluster = field(default_factory=lambda: SimulatedCluster(now=AT))
    clock: Clock = field(default_factory=Clock)
    receivers: dict[str, Receiver] = field(default_factory=dict)
    destinations: list[Json] = field(default_factory=lambda: [{"name": "there"}])
    objects: dict[str, Json] = field(default_factory=dict)
    most_waiting: int = 1000
    back: timedelta = timedelta()
    """How far the wall clock was put back."""

    def now(self) -> datetime:
        return self.cluster.time - self.back

    async def start(self) -> None:
        """Begin another process, which knows all objects."""
        self.cache = Cache()
        for obj in self.objects.values():
            self.cache.put(DEPLOYMENTS, obj)
        self.boxes: list[Outbox] = []
        for of in self.destinations:
            receiver = self.receivers.setdefault(of["name"], Receiver())
            self.boxes.append(box(receiver, self.clock, most=self.most_waiting, **of))
        namespaces = Namespaces(self.cluster, clock=self.clock)
        self.notifier = Notifier(
            self.cache, self.cluster, self.boxes, namespaces, now=self.now, most=200
        )
        await self.notifier.take_up()

    def passes(self, seconds: float) -> None:
        self.cluster.time += timedelta(seconds=seconds)
        self.clock.now += seconds

    def decide(
        self,
        name: str = "digits",
        count: int = 1,
        namespace: str = "shop",
        status: Json | None = None,
        **fields: Any,
    ) -> None:
        """Write decisions into the status of an object, as a pass does."""
        old = self.objects.get(name, {})
        record = Record.model_validate(old.get("status", {}).get("record", {}))
        made = [
            Decision(
                seq=record.seq + n + 1,
                at=self.now(),
                led=self.cluster.led_seconds(),
                **{"reason": "RolledBack", "warning": True, **fields},
            )
            for n in range(count)
        ]
        kept = [*record.decisions, *made][-KEPT:]
        record = Record(seq=record.seq + count, decisions=kept)
        version = int(old.get("metadata", {}).get("resourceVersion", "0")) + 1
        self.objects[name] = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "Deployment",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "resourceVersion": str(version),
            },
            "status": {**(status or {}), "record": record.to_json()},
        }
        self.cache.put(DEPLOYMENTS, self.objects[name])

    async def tell(self) -> None:
        """Route and send all that can be."""
        while await self.notifier.step() == 0.0:
            pass
        for outbox in self.boxes:
            await sent(outbox)

    def ids(self, name: str = "there") -> list[str]:
        return self.receivers[name].ids


@pytest.fixture
async def shop() -> Shop:
    found = Shop()
    await found.start()
    return found


async def test_each_decision_is_told_once_and_in_order(shop: Shop) -> None:
    shop.decide(count=3)
    await shop.tell()
    shop.decide()
    shop.cache.put(DEPLOYMENTS, shop.objects["digits"])
    await shop.tell()
    assert shop.ids() == [f"uid-digits-{seq}" for seq in (1, 2, 3, 4)]


async def test_nothing_of_before_is_told_to_a_destination_that_is_new(shop: Shop) -> None:
    shop.decide(count=3)
    await shop.tell()
    shop.passes(600)
    shop.notifier.mark()
    shop.destinations.append({"name": "new"})
    await shop.start()
    await shop.tell()
    assert (len(shop.ids()), shop.ids("new")) == (3, [])
    shop.decide()
    await shop.tell()
    assert shop.ids("new") == ["uid-digits-4"]


async def test_after_a_restart_what_was_told_is_not_told_again(shop: Shop) -> None:
    for n in range(30):
        shop.decide(f"d{n}")
    await shop.tell()
    shop.notifier.mark(is_last=True)
    await shop.start()
    await shop.tell()
    assert len(shop.ids()) == 30


async def test_after_a_kill_only_the_last_minute_is_told_again(shop: Shop) -> None:
    shop.decide("old")
    await shop.tell()
    shop.passes(ON_ITS_WAY_SECONDS + 1)
    shop.decide("young")
    await shop.tell()
    shop.notifier.mark()
    await shop.start()
    await shop.tell()
    assert shop.ids() == ["uid-old-1", "uid-young-1", "uid-young-1"]


async def test_a_receiver_that_is_down_over_a_restart_misses_nothing(shop: Shop) -> None:
    shop.destinations.append({"name": "down"})
    await shop.start()
    shop.receivers["down"].error = Unavailable("no answer")
    for minute in range(60):
        shop.decide(f"d{minute % 7}")
        await shop.tell()
        shop.passes(60)
        shop.notifier.mark()
    assert len(shop.ids()) == 60
    shop.notifier.mark(is_last=True)
    await shop.start()
    shop.decide("d0")
    shop.receivers["down"].error = None
    await shop.tell()
    assert len(shop.ids()) == 61
    told = shop.ids("down")
    assert len(told) == len(set(told)) == 61
    for n in range(7):
        own = [int(one.rpartition("-")[2]) for one in told if one.startswith(f"uid-d{n}-")]
        assert own == list(range(1, len(own) + 1))


async def test_what_status_kept_no_more_is_a_gap_that_is_named(shop: Shop) -> None:
    shop.receivers["there"].error = Unavailable("no answer")
    for _ in range(25):
        shop.decide()
        shop.passes(60)
    await shop.tell()
    shop.notifier.mark(is_last=True)
    await shop.start()
    shop.receivers["there"].error = None
    await shop.tell()
    assert shop.ids() == [f"uid-digits-{seq}" for seq in range(16, 26)]
    first, *others = shop.receivers["there"].taken
    assert first.message.missing_before == 16
    assert [telling.message.missing_before for telling in others] == [0] * 9


async def test_what_was_lost_is_said_by_the_next_process(shop: Shop) -> None:
    shop.most_waiting = 5
    await shop.start()
    shop.receivers["there"].error = Unavailable("no answer")
    for n in range(8):
        shop.decide(f"d{n}")
        shop.passes(1)
    await shop.tell()
    shop.notifier.mark(is_last=True)
    shop.most_waiting = 1000
    await shop.start()
    shop.receivers["there"].error = None
    await shop.tell()
    assert shop.ids() == [f"uid-d{n}-1" for n in range(3, 8)]
    lost = shop.receivers["there"].taken[0].lost
    assert lost is not None
    assert lost.count == 3


async def test_one_that_is_down_holds_up_no_other_and_writes_nothing(shop: Shop) -> None:
    shop.destinations.append({"name": "down"})
    await shop.start()
    shop.receivers["down"].error = Unavailable("no answer")
    for _ in range(30):
        shop.decide()
        await shop.tell()
    assert len(shop.ids()) == 30
    assert shop.cluster.writes == []


async def test_a_namespace_chooses_among_what_there_is(shop: Shop) -> None:
    shop.destinations = [
        {"name": "all"},
        {"name": "team-a", "use": "Named"},
        {"name": "audit", "use": "Always"},
        {"name": "theirs", "use": "Named", "namespaces": ["lab"]},
    ]
    await shop.start()
    shop.cluster.namespace_annotations["shop"] = {"trimtab.dev/notify": "team-a,theirs,nobody"}
    shop.decide("one")
    shop.decide("two", namespace="lab")
    await shop.tell()
    told = {name: shop.ids(name) for name in shop.receivers}
    assert told == {
        "there": [],
        "all": ["uid-two-1"],
        "team-a": ["uid-one-1"],
        "audit": ["uid-one-1", "uid-two-1"],
        "theirs": [],
    }


async def test_while_nobody_knows_what_a_namespace_says_decisions_wait(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(namespace: str) -> Any:
        raise Unavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(shop.cluster, "read_namespace_annotations", away)
        shop.decide(count=2)
        assert await shop.notifier.step() == pytest.approx(1.0, abs=0.3)
        shop.notifier.mark(is_last=True)
    mark = from_text(shop.cluster.kept_with_lease(MARKS_ANNOTATION))["there"]
    assert mark.until.at == shop.cluster.now()
    await shop.tell()
    assert len(shop.ids()) == 2
    # What was read holds on while reading fails.
    shop.passes(120)
    monkeypatch.setattr(shop.cluster, "read_namespace_annotations", away)
    shop.decide()
    await shop.tell()
    assert len(shop.ids()) == 3


async def test_where_reading_namespaces_is_not_permitted_they_name_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(namespace: str) -> Any:
        raise Refused("forbidden")

    monkeypatch.setattr(shop.cluster, "read_namespace_annotations", forbidden)
    shop.decide()
    await shop.tell()
    assert len(shop.ids()) == 1


async def test_a_namespace_is_read_once_a_minute(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    async def counted(namespace: str) -> dict[str, str]:
        nonlocal reads
        reads += 1
        return {}

    monkeypatch.setattr(shop.cluster, "read_namespace_annotations", counted)
    for _ in range(120):
        shop.decide()
        await shop.tell()
        shop.passes(1)
    assert reads == 2


async def test_it_goes_to_who_owns_the_version_that_is_tried(shop: Shop) -> None:
    shop.destinations = [{"name": "a", "owners": ["team-a"]}, {"name": "b", "owners": ["team-b"]}]
    await shop.start()
    for number, owner in (("1", "team-a"), ("2", "team-b")):
        version = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": f"digits-v{number}", "namespace": "shop", "uid": number},
            "spec": {"card": {"owner": owner}},
        }
        shop.cache.put(MODEL_VERSIONS, version)
    stable = {"stable": {"versionObject": "digits-v1"}}
    shop.decide(status=stable)
    shop.decide(status=stable | {"candidate": {"versionObject": "digits-v2"}})
    await shop.tell()
    assert (shop.ids("a"), shop.ids("b")) == (["uid-digits-1"], ["uid-digits-2"])


async def test_an_object_that_was_made_again_begins_anew(shop: Shop) -> None:
    shop.decide(count=3)
    await shop.tell()
    shop.cache.take_out(DEPLOYMENTS, shop.objects.pop("digits"))
    shop.passes(1)
    shop.decide()
    shop.objects["digits"]["metadata"] |= {"uid": "again", "resourceVersion": "99"}
    shop.cache.put(DEPLOYMENTS, shop.objects["digits"])
    await shop.tell()
    assert shop.ids()[3:] == ["again-1"]


@pytest.mark.parametrize(
    "record",
    [
        [], "x", {"seq": "7"}, {"seq": 3, "decisions": [{"seq": -1}]}, {"seq": 3, "decisions": 7},
    ],
)  # fmt: skip
async def test_a_record_that_cannot_be_read_costs_itself(shop: Shop, record: Any) -> None:
    shop.decide()
    broken = {**shop.objects["digits"], "status": {"record": record}}
    broken["metadata"] = {**broken["metadata"], "name": "broken", "uid": "broken"}
    shop.cache.put(DEPLOYMENTS, broken)
    shop.decide()
    await shop.tell()
    assert shop.ids() == ["uid-digits-1", "uid-digits-2"]


@pytest.mark.parametrize("text", ["", "[]", "x", "{}", '{"there": {"at": 7}}', "[" * 20_000])
async def test_marks_that_cannot_be_read_begin_anew(shop: Shop, text: str) -> None:
    shop.decide()
    shop.passes(60)
    shop.cluster.lease_annotations[MARKS_ANNOTATION] = text
    await shop.start()
    await shop.tell()
    assert shop.ids() == []


async def test_a_clock_that_was_put_back_loses_nothing_over_a_restart(shop: Shop) -> None:
    shop.receivers["there"].error = Unavailable("no answer")
    shop.decide("before")
    shop.passes(120)
    shop.notifier.mark(is_last=True)
    shop.back = timedelta(hours=5)
    await shop.start()
    shop.decide("after")
    shop.notifier.mark(is_last=True)
    await shop.start()
    shop.receivers["there"].error = None
    await shop.tell()
    assert sorted(shop.ids()) == ["uid-after-1", "uid-before-1"]


def test_the_names_of_objects_are_not_kept_when_they_are_gone(shop: Shop) -> None:
    for n in range(5):
        shop.decide(f"d{n}")
    for obj in shop.objects.values():
        shop.cache.take_out(DEPLOYMENTS, obj)
    assert shop.notifier._heard == {}
