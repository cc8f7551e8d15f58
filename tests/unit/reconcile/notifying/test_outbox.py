"""One queue: in order, bounded, tried again, and what is lost is said."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.unit.notify.messages import stored
from tests.unit.reconcile.notifying.boxes import Clock, Receiver, box, numbered, sent, within

from trimtab.errors import Refused, Unavailable
from trimtab.notify.message import Lost, Telling


async def test_in_order_and_each_once() -> None:
    receiver, clock = Receiver(), Clock()
    outbox = box(receiver, clock)
    for seq in range(1, 6):
        outbox.add(numbered(seq))
    assert await sent(outbox) is None
    assert receiver.ids == [f"u-1-{seq}" for seq in range(1, 6)]
    assert outbox.waiting() == []


async def test_a_receiver_that_is_away_for_an_hour_costs_few_tries_and_no_message() -> None:
    receiver, clock = Receiver(error=Unavailable("no answer")), Clock()
    outbox = box(receiver, clock)
    for seq in range(1, 101):
        outbox.add(numbered(seq))
    tries = await within(outbox, clock, 3600)
    assert 60 <= tries <= 70
    assert set(receiver.tried) == {"u-1-1"}
    receiver.error = None
    await within(outbox, clock, 60)
    assert receiver.ids == [f"u-1-{seq}" for seq in range(1, 101)]
    assert all(telling.lost is None for telling in receiver.taken)


async def test_waits_double_and_honour_what_the_receiver_asks_for() -> None:
    receiver, clock = Receiver(error=Unavailable("no answer")), Clock()
    outbox = box(receiver, clock)
    outbox.add(numbered(1))
    waits = []
    for _ in range(8):
        waits.append(await sent(outbox))
        clock.now += waits[-1] or 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    receiver.error = Unavailable("HTTP 429", 300.0)
    assert await sent(outbox) == 300
    receiver.error = None
    assert await sent(outbox) == 300
    assert receiver.ids == []
    clock.now += 300
    assert await sent(outbox) is None
    outbox.add(numbered(2))
    receiver.error = Unavailable("no answer")
    assert await sent(outbox) == 1  # a success ends it


async def test_beyond_the_bound_the_oldest_go_and_the_next_message_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver, clock = Receiver(error=Unavailable("no answer")), Clock()
    outbox = box(receiver, clock, most=10)
    with caplog.at_level(logging.WARNING):
        for seq in range(1, 26):
            outbox.add(numbered(seq))
    assert len(outbox.waiting()) == 10
    assert caplog.text.count("is lost") == 15
    await within(outbox, clock, 60)
    receiver.error = None
    await within(outbox, clock, 60)
    assert receiver.ids == [f"u-1-{seq}" for seq in range(16, 26)]
    first, *others = receiver.taken
    since, until = (numbered(seq).decision.at for seq in (1, 15))
    assert first.lost == Lost(15, since, until)
    assert [telling.lost for telling in others] == [None] * 9


async def test_a_namespace_that_says_much_crowds_out_no_other() -> None:
    receiver, clock = Receiver(error=Unavailable("no answer")), Clock()
    outbox = box(receiver, clock, most=10)
    for seq in (1, 2):
        outbox.add(numbered(seq, obj=stored(namespace="quiet", uid="quiet")))
    for seq in range(3, 103):
        outbox.add(numbered(seq, obj=stored(namespace="noisy", uid="noisy")))
    outbox.add(numbered(103, obj=stored(namespace="quiet", uid="quiet")))
    receiver.error = None
    await within(outbox, clock, 60)
    told = ["quiet-1", "quiet-2", *(f"noisy-{seq}" for seq in range(96, 103)), "quiet-103"]
    assert receiver.ids == told
    assert receiver.taken[0].lost is not None
    assert receiver.taken[0].lost.count == 93


async def test_what_is_lost_while_a_message_is_under_way_is_said_by_the_next() -> None:
    clock, go_on = Clock(), asyncio.Event()

    class Slow(Receiver):
        async def post(self, telling: Telling) -> None:
            await go_on.wait()
            await super().post(telling)

    receiver = Slow()
    outbox = box(receiver, clock, most=2)
    outbox.add(numbered(1))
    outbox.add(numbered(2))
    under_way = asyncio.create_task(outbox.step())
    await asyncio.sleep(0)
    outbox.add(numbered(3))
    outbox.add(numbered(4))
    assert outbox.lost is not None
    assert outbox.lost.count == 2
    go_on.set()
    await under_way
    assert await sent(outbox) is None
    told = [(t.message.decision.seq, t.lost.count if t.lost else 0) for t in receiver.taken]
    assert told == [(1, 0), (4, 2)]
    assert outbox.lost is None


async def test_a_message_that_alone_is_refused_holds_up_the_others_for_a_while() -> None:
    receiver, clock = Receiver(picky={"u-1-2": Refused("HTTP 400")}), Clock()
    outbox = box(receiver, clock)
    for seq in range(1, 5):
        outbox.add(numbered(seq))
    await within(outbox, clock, 500)
    assert receiver.ids == ["u-1-1"]
    await within(outbox, clock, 200)
    assert receiver.ids == ["u-1-1", "u-1-3", "u-1-4"]
    assert receiver.taken[1].lost is not None
    assert receiver.taken[1].lost.count == 1


async def test_a_bug_costs_one_message() -> None:
    receiver, clock = Receiver(picky={"u-1-1": KeyError("bug")}), Clock()
    outbox = box(receiver, clock)
    outbox.add(numbered(1))
    outbox.add(numbered(2))
    await within(outbox, clock, 700)
    assert receiver.ids == ["u-1-2"]


async def test_a_cancelled_try_loses_nothing() -> None:
    clock = Clock()

    class Hanging(Receiver):
        async def post(self, telling: Telling) -> None:
            await asyncio.Event().wait()

    outbox = box(Hanging(), clock, most=1)
    outbox.take_lost(Lost(3, numbered(1).decision.at, numbered(1).decision.at))
    outbox.add(numbered(1))
    trying = asyncio.create_task(outbox.step())
    await asyncio.sleep(0)
    trying.cancel()
    await asyncio.wait([trying])
    assert len(outbox.waiting()) == 1
    assert outbox.lost is not None
    assert outbox.lost.count == 3
