"""`trimtab get`: the trees of a namespace, once or as they change."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

from trimtab.api.resource import DEPLOYMENTS, DRIFT_POLICIES, PODS, RETRAIN_JOBS, Key
from trimtab.cli.api import no_such
from trimtab.cli.mirror import Mirror, scopes_of
from trimtab.cli.screen import Screen
from trimtab.cli.seen import at
from trimtab.cli.session import Session
from trimtab.cli.tone import Tone, has_colour, painted
from trimtab.cli.tree import View, forest, lines_of

SETTLE_SECONDS = 0.1
"""Changes that come together are drawn together."""
TICK_SECONDS = 1.0
"""On a terminal, ages go on although nothing changes."""


async def get(session: Session, key: Key | None, *, watch: bool, stream: TextIO | None) -> int:
    """Print the tree of one Deployment or all; with `watch` until interrupted.

    stream: where the tree is drawn in place and in colour; None: text by `session.say`.
    """
    mirror = Mirror(scopes_of(session.namespace, key.name if key is not None else ""))
    await mirror.read(session)
    if key is not None and not mirror.of(DEPLOYMENTS):
        raise no_such(key)
    if not watch:
        colour = stream is not None and has_colour(stream)
        session.say("\n".join(shown(session, mirror, key, colour=colour, ages=True)))
        return 0
    showing = _drawn(session, mirror, key, stream) if stream else _told(session, mirror, key)
    tasks = [asyncio.create_task(one) for one in (showing, mirror.follow(session))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return 0


def shown(
    session: Session, mirror: Mirror, key: Key | None, *, colour: bool, ages: bool
) -> list[str]:
    """Return what is to be seen, line by line."""
    view = View(
        mirror.of(DEPLOYMENTS),
        mirror.of(DRIFT_POLICIES),
        mirror.of(RETRAIN_JOBS),
        mirror.of(PODS),
        session.now() if ages else None,
    )
    lines = [line for node in forest(view) for line in lines_of(node, colour=colour)]
    if not lines:
        where = f"in namespace {session.namespace}"
        lines = [f"no Deployments of trimtab.dev {where}" if key is None else str(no_such(key))]
    for problem in mirror.problems.values():
        lines.append(painted(problem, Tone.ATTENTION) if colour else problem)
    return lines


async def _told(session: Session, mirror: Mirror, key: Key | None) -> None:
    """Print a block for each change."""
    said: list[str] = []
    while True:
        mirror.changed.clear()
        lines = shown(session, mirror, key, colour=False, ages=False)
        if lines != said:
            head = f"{session.namespace}  {at(session.now())}"
            session.say(("\n" if said else "") + "\n".join([head, *lines]))
            sys.stdout.flush()
            said = lines
        await mirror.changed.wait()
        await session.sleep(SETTLE_SECONDS)


async def _drawn(session: Session, mirror: Mirror, key: Key | None, stream: TextIO) -> None:
    """Draw in place, at each change and each second."""
    colour = has_colour(stream)
    with ExitStack() as stack:
        stack.enter_context(_on_signal("SIGWINCH", mirror.changed.set))
        ending = asyncio.current_task()
        assert ending is not None
        stack.enter_context(_on_signal("SIGTERM", ending.cancel))
        stack.enter_context(_on_signal("SIGHUP", ending.cancel))
        screen = stack.enter_context(Screen(stream))
        while True:
            mirror.changed.clear()
            head = f"{session.namespace}  {at(session.now())}  Ctrl-C ends"
            lines = shown(session, mirror, key, colour=colour, ages=True)
            screen.draw([painted(head, Tone.FAINT) if colour else head, *lines])
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await mirror.changed.wait()
                await session.sleep(SETTLE_SECONDS)
            except TimeoutError:
                continue


@contextmanager
def _on_signal(name: str, do: Callable[[], object]) -> Iterator[None]:
    """Call `do` at a signal, where the system has it."""
    number = getattr(signal, name, None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, do)
    except NotImplementedError:  # Windows has the signals, and no such handlers
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
