"""From status to queues, and over a restart of the operator."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.reconcile.machine.engines import reached
from tests.unit.reconcile.notifying.shops import Shop

from trimtab.cluster.port import DEPLOYMENTS, MODEL_VERSIONS
from trimtab.errors import Refused, Unavailable
from trimtab.reconcile.notifying.marks import from_text
from trimtab.reconcile.notifying.notifier import MARKS_ANNOTATION, ON_ITS_WAY_SECONDS


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


async def test_what_says_how_far_it_came_tells_no_more(shop: Shop) -> None:
    running = asyncio.create_task(shop.notifier.run())
    shop.decide(count=2)
    await reached(lambda: len(shop.ids()) == 2, 20)
    shop.passes(1)
    await shop.notifier.end(is_last=True)
    await running
    shop.passes(1)
    shop.decide("late")
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(shop.ids()) == 2
    await shop.start()
    await shop.tell()
    assert shop.ids()[2:] == ["uid-late-1"]


async def test_what_is_decided_while_it_takes_up_comes_after_what_was_before(shop: Shop) -> None:
    shop.receivers["there"].error = Unavailable("no answer")
    for n in range(20):
        shop.decide(f"d{n}", count=3)
    await shop.tell()
    shop.notifier.mark(is_last=True)
    shop.receivers["there"].error = None
    starting = asyncio.create_task(shop.start())
    for _ in range(10):
        await asyncio.sleep(0)
    shop.passes(1)
    for n in range(20):
        shop.decide(f"d{n}")
    assert not starting.done()
    await starting
    await shop.tell()
    for n in range(20):
        own = [one for one in shop.ids() if one.startswith(f"uid-d{n}-")]
        assert own == [f"uid-d{n}-{seq}" for seq in (1, 2, 3, 4)]


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


async def test_who_owns_it_is_said_where_nobody_filters_by_it(shop: Shop) -> None:
    version = {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "digits-v1", "namespace": "shop", "uid": "1"},
        "spec": {"card": {"owner": "team-a"}},
    }
    shop.cache.put(MODEL_VERSIONS, version)
    shop.decide(status={"stable": {"versionObject": "digits-v1"}})
    await shop.tell()
    assert [telling.message.owner for telling in shop.receivers["there"].taken] == ["team-a"]


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


async def test_a_namespace_with_many_objects_crowds_no_other_out_of_a_restart(shop: Shop) -> None:
    shop.receivers["there"].error = Unavailable("no answer")
    shop.decide("quiet", namespace="quiet")
    for n in range(300):
        shop.passes(1)
        shop.decide(f"d{n}", namespace="noisy")
        await shop.tell()
    shop.notifier.mark(is_last=True)
    await shop.start()
    shop.receivers["there"].error = None
    await shop.tell()
    assert shop.ids() == ["uid-quiet-1", *(f"uid-d{n}-1" for n in range(101, 300))]
    lost = shop.receivers["there"].taken[0].lost
    assert lost is not None
    assert lost.count == 101


async def test_what_was_lost_is_not_said_to_nobody() -> None:
    shop = Shop(destinations=[{"name": "there", "type": "alertmanager"}], most_waiting=2)
    await shop.start()
    shop.decide(count=4)
    shop.decide(reason="StepReached", warning=False)
    await shop.tell()
    first, *_ = shop.receivers["there"].taken
    assert shop.ids() == ["uid-digits-3", "uid-digits-4"]
    assert first.lost is not None
    assert first.lost.count == 2


async def test_a_gap_whose_message_is_lost_is_said_all_the_same() -> None:
    shop = Shop(most_waiting=4)
    await shop.start()
    shop.receivers["there"].error = Unavailable("no answer")
    shop.decide(count=1)
    for _ in range(11):
        shop.decide()
    shop.notifier.mark(is_last=True)
    await shop.start()
    shop.receivers["there"].error = None
    await shop.tell()
    lost = shop.receivers["there"].taken[0].lost
    assert lost is not None
    assert lost.is_least


STEPS = st.sampled_from(["decide", "burst", "tell", "mark", "end", "kill", "down", "up", "minute"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(STEPS, st.integers(0, 2)), max_size=40), st.sampled_from([4, 1000]))
async def test_whatever_happens_nothing_is_lost_unsaid_and_order_holds(
    steps: list[tuple[str, int]], most: int
) -> None:
    shop = Shop(most_waiting=most)
    await shop.start()
    shop.notifier.mark()
    receiver, kills = shop.receivers["there"], 0
    for step, number in steps:
        if step in ("decide", "burst"):
            shop.decide(f"d{number}", 1 if step == "decide" else 7)
        elif step == "tell":
            await shop.tell()
        elif step in ("end", "kill"):
            kills += step == "kill"
            if step == "end":
                shop.notifier.mark(is_last=True)
            await shop.start()
        elif step in ("down", "up"):
            receiver.error = Unavailable("no answer") if step == "down" else None
        shop.passes(60 if step == "minute" else 1)
        shop.notifier.mark()  # as every three seconds
    receiver.error = None
    shop.decide("last")
    shop.passes(3600)
    await shop.tell()
    said = [telling.lost for telling in receiver.taken if telling.lost]
    lost, is_least = sum(one.count for one in said), any(one.is_least for one in said)
    missing, seen = 0, set[str]()
    for name in ("d0", "d1", "d2"):
        own = [t.message for t in receiver.taken if t.message.name == name]
        seqs = [message.decision.seq for message in own]
        firsts = list(dict.fromkeys(seqs))
        assert firsts == sorted(firsts)
        seen |= {message.id for message in own}
        named = max((message.missing_before for message in own), default=0)
        made = shop.objects.get(name, {}).get("status", {}).get("record", {}).get("seq", 0)
        gaps = set(range(1, made + 1)) - set(seqs)
        missing += len({seq for seq in gaps if seq >= named})
        if not kills:
            assert len(seqs) == len(set(seqs))
    assert missing <= lost or is_least


async def test_a_gap_is_named_in_the_first_message_that_a_destination_wants(shop: Shop) -> None:
    shop.destinations = [{"name": "there", "reasons": ["RolledBack"]}, {"name": "all"}]
    await shop.start()
    for receiver in shop.receivers.values():
        receiver.error = Unavailable("no answer")
    for seq in range(1, 26):
        shop.decide(reason="Promoted" if 16 <= seq <= 20 else "RolledBack")
        shop.passes(60)
    await shop.tell()
    shop.notifier.mark(is_last=True)
    await shop.start()
    for receiver in shop.receivers.values():
        receiver.error = None
    await shop.tell()
    assert shop.ids() == [f"uid-digits-{seq}" for seq in range(21, 26)]
    for name, first in (("there", 21), ("all", 16)):
        told = shop.receivers[name].taken
        assert [t.message.missing_before for t in told] == [16] + [0] * (25 - first)


async def test_a_gap_is_named_later_where_nothing_is_wanted_now(shop: Shop) -> None:
    shop.destinations = [{"name": "there", "reasons": ["RolledBack"]}]
    await shop.start()
    shop.decide(reason="Promoted", count=1)
    shop.decide(reason="Promoted", count=20)
    await shop.tell()
    assert shop.ids() == []
    shop.decide()
    shop.decide()
    await shop.tell()
    assert shop.ids() == ["uid-digits-22", "uid-digits-23"]
    assert [t.message.missing_before for t in shop.receivers["there"].taken] == [12, 0]
