"""Scenes that are played at the same time: a real cluster mostly waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from tests.e2e.kit.api import Api

Scene = Callable[[Api], None]
Play = Callable[[Scene], None]


@contextmanager
def played(scenes: Sequence[Scene], api: Api, at_once: int) -> Iterator[Play]:
    """Start all scenes, a few at once; what is yielded waits for one and raises its failure."""
    with ThreadPoolExecutor(at_once) as stage:
        running: dict[Scene, Future[None]] = {scene: stage.submit(scene, api) for scene in scenes}
        yield lambda scene: running[scene].result()
        for future in running.values():
            future.cancel()
