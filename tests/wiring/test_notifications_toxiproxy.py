"""Notifications through toxiproxy: nothing is lost, and the order stays, whatever it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.notify.messages import message
from tests.unit.reconcile.notifying.boxes import within
from tests.wiring.receiver import MisbehavingReceiver
from tests.wiring.test_notifications import QUICK, Line
from tests.wiring.toxic import Toxiproxy, find_toxiproxy, toxiproxy

HOUR = 3600.0
MANY = range(1, 21)
IDS = [f"u-1-{seq}" for seq in MANY]


@pytest.fixture(scope="module")
def proxies() -> Iterator[Toxiproxy]:
    program = find_toxiproxy()
    if program is None:
        pytest.skip("no toxiproxy: `python -m tests.cluster toxiproxy` builds it")
    with toxiproxy(program) as found:
        yield found


@pytest.fixture
async def line(
    tmp_path: Path, proxies: Toxiproxy, request: pytest.FixtureRequest
) -> AsyncIterator[Line]:
    """A line whose receiver stands behind a proxy named as the test is."""
    found = Line(MisbehavingReceiver(), tmp_path)
    await found.open()
    listens = proxies.proxy(name_of(request), f"127.0.0.1:{found.receiver._port}")
    found.write("url", f"http://{listens}/hook")
    yield found
    proxies.mend()
    await found.close()


def name_of(request: pytest.FixtureRequest) -> str:
    return "".join(c if c.isalnum() else "-" for c in str(request.node.name))


def in_order_once_repeats_are_out(ids: list[str]) -> list[str]:
    """Return the ids as they came first; one that comes again may only be the last that came."""
    first: list[str] = []
    for one in ids:
        if one in first:
            assert one == first[-1], ids
        else:
            first.append(one)
    return first


SLOW: dict[str, dict[str, Any]] = {
    "latency": {"latency": 300, "jitter": 100},
    "bandwidth": {"rate": 2},
    "slicer": {"average_size": 20, "size_variation": 10, "delay": 1000},
    "slow_close": {"delay": 500},
}


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("stream", ["upstream", "downstream"])
async def test_over_a_slow_line_each_comes_once(
    line: Line, proxies: Toxiproxy, request: pytest.FixtureRequest, kind: str, stream: str
) -> None:
    proxies.spoil(name_of(request), kind, stream, **SLOW[kind])
    for seq in MANY[:5]:
        line.outbox.add(message(seq=seq))
    await within(line.outbox, line.clock, 1)
    assert line.receiver.ids() == IDS[:5]
    assert line.outbox.waiting() == []


BROKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "reset_of_the_answer": ("reset_peer", "downstream", {"timeout": 0}),
    "reset_of_the_request": ("reset_peer", "upstream", {"timeout": 0}),
    "no_answer_at_all": ("timeout", "downstream", {"timeout": 0}),
    "cut_after_a_while": ("timeout", "downstream", {"timeout": 50}),
    "half_a_request": ("limit_data", "upstream", {"bytes": 100}),
    "half_an_answer": ("limit_data", "downstream", {"bytes": 10}),
}
"""Toxic, direction and what it is told."""


@pytest.mark.parametrize("name", BROKEN)
async def test_what_a_broken_line_has_kept_comes_in_order_once_it_is_whole(
    line: Line, proxies: Toxiproxy, request: pytest.FixtureRequest, name: str
) -> None:
    kind, stream, attributes = BROKEN[name]
    proxies.spoil(name_of(request), kind, stream, **attributes)
    line.wait_for(QUICK)
    for seq in MANY:
        line.outbox.add(message(seq=seq))
    await within(line.outbox, line.clock, 2.5)
    assert len(line.outbox.waiting()) == len(MANY)
    proxies.mend()
    line.wait_for(60.0)
    await within(line.outbox, line.clock, HOUR)
    assert in_order_once_repeats_are_out(line.receiver.ids()) == IDS
    assert line.outbox.waiting() == []
    assert line.outbox.lost is None


async def test_what_an_hour_without_a_receiver_has_kept_comes_in_order(
    line: Line, proxies: Toxiproxy, request: pytest.FixtureRequest
) -> None:
    proxies.set_up(name_of(request), enabled=False)
    for seq in MANY:
        line.outbox.add(message(seq=seq))
        await within(line.outbox, line.clock, HOUR / len(MANY))
    assert line.receiver.ids() == []
    proxies.set_up(name_of(request), enabled=True)
    await within(line.outbox, line.clock, HOUR)
    assert line.receiver.ids() == IDS
    assert line.outbox.lost is None
