"""The live tree: driven by watches, drawn in place, and never left in a bad state."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.unit.cli.fakes import Desk, FakeApi
from tests.unit.reconcile.worlds import KEY, Shop

from trimtab.cli.api import Listing, Outdated, Scope
from trimtab.cli.evidence import bar, evidence_ratio, gate_line
from trimtab.cli.get import get
from trimtab.cli.mirror import FIRST_WAIT_SECONDS
from trimtab.cli.screen import Screen, fitting
from trimtab.cli.seen import Seen
from trimtab.cli.tree import View, lines_of, tree_of
from trimtab.errors import Refused, TrimtabError
from trimtab.state_metrics.deployment import evidence_ratio as exported_ratio

DIGITS = {"metadata": {"name": "digits", "namespace": "shop"}, "spec": {"version": "v1"}}


class Terminal(io.StringIO):
    """A terminal as far as a program can tell."""

    def isatty(self) -> bool:
        return True

    @property
    def screens(self) -> list[str]:
        """What was drawn, one text for each time."""
        return self.getvalue().split("\033[?2026h\033[H")[1:]


def pod(name: str, revision: str = "r1", *, ready: bool = True, **status: Any) -> dict[str, Any]:
    labels = {"trimtab.dev/deployment": "digits", "trimtab.dev/revision": revision}
    return {
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **status,
        },
    }


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until it holds."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to hold")


@asynccontextmanager
async def watching(
    desk: Desk, waits: asyncio.Event | None = None, **options: Any
) -> AsyncIterator[asyncio.Task[int]]:
    """Let a person look while the block runs; then press Ctrl-C.

    waits: what ends the waits before a watch is begun again; else they take no time.
    """

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)
        if waits is not None and seconds >= FIRST_WAIT_SECONDS:
            await waits.wait()

    desk.session.sleep = sleep
    looking = asyncio.create_task(get(desk.session, KEY, watch=True, **options))
    try:
        yield looking
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def put(desk: Desk, plural: str, event: Any) -> None:
    """Let a watch give something."""
    events = desk.api.events
    await until(lambda: plural in events)
    await events[plural].put(event)


async def desk_with_digits() -> Desk:
    shop = Shop()
    await shop.serve("v1")
    return Desk(shop)


# --- watches ------------------------------------------------------------------------------------


async def test_a_pipe_gets_a_block_for_each_change_and_none_for_what_is_the_same() -> None:
    desk = await desk_with_digits()
    live = desk.shop.live
    async with watching(desk, stream=None):
        await until(lambda: len(desk.said) == 1)
        await put(desk, "modeldeployments", {"type": "MODIFIED", "object": live})
        changed = {**live, "spec": {**live["spec"], "version": "v9"}}
        await put(desk, "modeldeployments", {"type": "MODIFIED", "object": changed})
        await until(lambda: len(desk.said) == 2)
        await put(desk, "modeldeployments", {"type": "DELETED", "object": changed})
        await until(lambda: len(desk.said) == 3)
    assert "wants v1" in desk.said[0]
    assert "wants v9" in desk.said[1]
    assert desk.said[2].splitlines()[-1] == "there is no Deployment digits in namespace shop"


async def test_a_watch_that_fails_is_said_and_begun_again() -> None:
    desk = await desk_with_digits()
    is_over = asyncio.Event()
    async with watching(desk, waits=is_over, stream=None):
        await until(lambda: len(desk.said) == 1)
        await put(desk, "modeldeployments", TrimtabError("the connection was refused"))
        await until(lambda: len(desk.said) == 2)
        is_over.set()
        await until(lambda: len(desk.said) == 3)
        await put(desk, "modeldeployments", None)  # as the server does after some minutes
        await put(desk, "modeldeployments", Outdated("too old"))
        await desk.api.events["modeldeployments"].join()
    assert "modeldeployments may be outdated: the connection was refused" in desk.said[1]
    assert "outdated" not in desk.said[2]


class WithoutPods(FakeApi):
    """Somebody who may not list pods."""

    async def list(self, resource: Any, scope: Scope) -> Listing:
        if resource.plural == "pods":
            raise Refused("pods is forbidden")
        return await super().list(resource, scope)


async def test_what_may_not_be_read_is_left_out_and_said() -> None:
    desk = await desk_with_digits()
    desk.api = WithoutPods(desk.shop.cluster)
    desk.session.api = desk.api
    await get(desk.session, KEY, watch=False, stream=None)
    assert desk.text.splitlines()[0].startswith("Deployment digits  serves v1")
    assert desk.text.splitlines()[-1] == "pods are not shown: pods is forbidden"


# --- the terminal -------------------------------------------------------------------------------


async def test_a_terminal_is_drawn_over_and_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    desk, terminal = await desk_with_digits(), Terminal()
    async with watching(desk, stream=terminal):
        await until(lambda: len(terminal.screens) >= 1)
        await put(desk, "pods", {"type": "ADDED", "object": pod("digits-new", "r9")})
        await until(lambda: "digits-new" in terminal.screens[-1])
    drawn = terminal.getvalue()
    assert drawn.startswith("\033[?1049h")
    assert drawn.endswith("\033[?7h\033[?25h\033[?1049l")
    assert "\033[2J" not in drawn, "clearing everything flickers"
    assert "\033[32m" in drawn
    assert desk.said == []


async def test_no_colour_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    desk, terminal = await desk_with_digits(), Terminal()
    async with watching(desk, stream=terminal):
        await until(lambda: len(terminal.screens) >= 1)
    assert "\033[3" not in terminal.getvalue()


@pytest.mark.parametrize(("lines", "height", "last"), [(3, 3, "2"), (200, 10, "… 191 more")])
def test_a_tree_is_cut_to_the_terminal(lines: int, height: int, last: str) -> None:
    shown = fitting([str(n) for n in range(lines)], height)
    assert len(shown) == height
    assert shown[-1] == last


def test_a_screen_of_no_terminal_has_a_usual_size() -> None:
    assert Screen(io.StringIO()).size == (80, 24)


# --- the tree -----------------------------------------------------------------------------------


def tree(status: dict[str, Any], *pods: dict[str, Any]) -> list[str]:
    one = Seen({**DIGITS, "status": status})
    return lines_of(tree_of(one, View([one], pods=[Seen(p) for p in pods])))


def test_pods_stand_below_their_revision_and_what_needs_eyes_comes_first() -> None:
    stable = {"version": "v1", "revision": "r1", "ready": 2, "desired": 12}
    waiting: dict[str, Any] = {
        "containerStatuses": [
            {"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
        ]
    }
    many = [pod(f"digits-{n:02}") for n in range(12)]
    lines = tree(
        {"stable": stable}, *many, pod("digits-zz", ready=False, **waiting), pod("old", "r0")
    )
    assert lines[1] == "├─ stable  v1  r1  2/12 ready"
    assert lines[2] == "│  ├─ pod digits-zz  CrashLoopBackOff  4 restarts"
    assert lines[3] == "│  ├─ pod digits-00  Ready"
    assert lines[-3:] == ["│  └─ and 3 more pods", "└─ ending  r0", "   └─ pod old  Ready"]


def test_a_name_with_control_characters_stays_in_its_line() -> None:
    evil = "x\x1b[2J\nDeployment other  serves v1"
    stable = {"version": evil, "revision": evil, "ready": 1, "desired": 1, "share": evil}
    gates = [{"name": evil, "verdict": evil, "reason": evil, "candidate": {"bad": evil}}]
    rollout = {"phase": evil}
    lines = tree({"stable": stable, "candidate": stable, "rollout": rollout, "gates": gates})
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_a_status_of_another_release_is_shown_as_far_as_it_can_be() -> None:
    lines = tree({"stable": "v1", "candidate": [1], "gates": {"a": 1}, "rejected": 3, "new": {}})
    assert lines == ["Deployment digits  serves nothing  wants v1"]


# --- evidence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "evidence", "threshold"),
    [
        ("Undecided", 0.0, 100.0),
        ("Undecided", 10.0, 100.0),
        ("Undecided", 1e9, 100.0),
        ("Fail", 100.0, 100.0),
        ("Fail", 99.9, 100.0),
        ("Pass", 5.0, 0.0),
        ("Pass", 5.0, 1.0),
    ],
)
def test_the_bar_says_what_the_metric_says(verdict: str, evidence: float, threshold: float) -> None:
    from trimtab.api.deployment import GateStatus

    gate = {"name": "a", "verdict": verdict, "evidence": evidence, "threshold": threshold}
    ratio = evidence_ratio(Seen(gate))
    assert ratio == exported_ratio(GateStatus.model_validate(gate))
    if ratio is not None:
        assert ("░" in bar(ratio)) == (verdict != "Fail")


def test_a_gate_has_its_counts_and_its_bar() -> None:
    gate = {
        "name": "errors", "verdict": "Undecided", "evidence": 10.0, "threshold": 100.0,
        "candidate": {"bad": 3, "total": 120}, "stable": {"bad": 2, "total": 360},
    }  # fmt: skip
    assert gate_line(Seen(gate)) == (
        "gate errors  Undecided  3/120 against 2/360  evidence 10 of 100  [█████░░░░░] 50%"
    )
