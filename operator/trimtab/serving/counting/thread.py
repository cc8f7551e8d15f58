"""The counting thread: bins what was predicted, counts outcomes, renders `/metrics`.

The prediction thread only appends what it answered to a list. The counting thread takes the list
when enough rows have come together and before it does anything else it is asked for, so a scrape
sees every row whose answer has been handed over, and all counters have one owner.

Labels have time: a post of them is counted some milliseconds at a time, and only while nothing else
is to be done.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Final, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from trimtab.serving.counting.comparison import Comparison
from trimtab.serving.counting.exposition import Family
from trimtab.serving.counting.rows import CallCounters, CallTotals, FeatureCounters, ScoreCounters
from trimtab.serving.model.base import Matrix, Prediction

log = logging.getLogger(__name__)

CHUNK_ROWS: Final = 1024
CHUNK_ELEMENTS: Final = 2**18
CHUNKS_BEHIND: Final = 8
"""Predictions wait for counting only when it is this far behind; memory stays bounded."""
SLICE_SECONDS: Final = 0.002
"""Of slow work at a time; shorter than a turn of the interpreter's lock."""

_T = TypeVar("_T")
_Entry = tuple[Matrix, Prediction, float]


class CountingThread:
    """Owner of all counters that rest on predictions and outcomes."""

    def __init__(
        self,
        features: FeatureCounters,
        scores: ScoreCounters,
        calls: CallCounters,
        comparison: Comparison | None = None,
    ) -> None:
        self._comparison = comparison
        self._features = features
        self._scores = scores
        self._calls = calls
        self._entries: deque[_Entry] = deque()
        self._rows = 0
        self._elements = 0
        self._free = threading.Semaphore(CHUNKS_BEHIND)
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._slow: deque[Callable[[], None]] = deque()
        self._thread = threading.Thread(target=self._run, name="count", daemon=True)
        self._thread.start()

    def add(self, rows: Matrix, prediction: Prediction, seconds: float) -> None:
        """Take note of one call; called by the prediction thread only."""
        self._entries.append((rows, prediction, seconds))
        self._rows += len(rows)
        self._elements += rows.size
        if self._rows >= CHUNK_ROWS or self._elements >= CHUNK_ELEMENTS:
            self._rows = self._elements = 0
            self._free.acquire()
            self._tasks.put(self._free.release)

    async def run(self, task: Callable[[], _T]) -> _T:
        """Run `task` in the counting thread, after everything that was predicted before."""
        answer: _Answer[_T] = _Answer()

        def call() -> None:
            try:
                result = task()
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                answer.fail(error)
            else:
                answer.give(result)

        self._tasks.put(call)
        return await answer.future

    async def run_slowly(self, steps: Iterator[_T]) -> list[_T]:
        """Return what `steps` give, taken in the counting thread while it has nothing else to do.

        Several such works take turns.
        """
        answer: _Answer[list[_T]] = _Answer()
        results: list[_T] = []

        def some() -> None:
            until = perf_counter() + SLICE_SECONDS
            try:
                for result in steps:
                    results.append(result)
                    if perf_counter() >= until:
                        self._slow.append(some)
                        return
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                answer.fail(error)
            else:
                answer.give(results)

        self._tasks.put(lambda: self._slow.append(some))
        return await answer.future

    def families(self) -> list[Family]:
        """Return the samples of now; called in the counting thread."""
        compared = self._comparison.families() if self._comparison is not None else []
        return [
            *self._features.families(),
            *self._scores.families(),
            *self._calls.families(),
            *compared,
        ]

    async def call_totals(self) -> CallTotals:
        """Return the sums over all calls before this moment."""
        return await self.run(self._calls.totals)

    def stop(self) -> None:
        """Let the thread end."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                self._count()
            except Exception:
                # A bug costs these counts, not the thread and with it all later ones.
                log.exception("predictions could not be counted")
            task()

    def _next(self) -> Callable[[], None] | None:
        """Return what is to be done next: slow work while nothing else waits."""
        if not self._slow:
            return self._tasks.get()
        try:
            return self._tasks.get(timeout=SLICE_SECONDS / 2)
        except Empty:
            return self._slow.popleft()

    def _count(self) -> None:
        entries: list[_Entry] = []
        while self._entries:
            entries.append(self._entries.popleft())
        if not entries:
            return
        rows = _stacked([rows for rows, _, _ in entries])
        prediction = joined([prediction for _, prediction, _ in entries])
        self._features.add(rows)
        self._scores.add(prediction)
        self._calls.add([seconds for _, _, seconds in entries], [len(r) for r, _, _ in entries])
        if self._comparison is not None:
            self._comparison.add(rows, prediction)


class _Answer(Generic[_T]):
    """What a task gave, carried to the event loop on which this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_T] = self._loop.create_future()

    def give(self, result: _T) -> None:
        self._call(lambda: self.future.set_result(result))

    def fail(self, error: Exception) -> None:
        self._call(lambda: self.future.set_exception(error))

    def _call(self, settle: Callable[[], None]) -> None:
        def unless_done() -> None:
            if not self.future.done():
                settle()

        with suppress(RuntimeError):  # the loop has ended, nobody waits
            self._loop.call_soon_threadsafe(unless_done)


def joined(predictions: list[Prediction]) -> Prediction:
    """Return several predictions of one model as one."""
    if len(predictions) == 1:
        return predictions[0]
    return Prediction(
        predicted=_joined([one.predicted for one in predictions]),
        values=_joined([one.values for one in predictions]),
        calibrated=_joined([one.calibrated for one in predictions]),
        score=_joined([one.score for one in predictions]),
    )


def _joined(parts: list[NDArray[_Scalar] | None]) -> NDArray[_Scalar] | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None


_Scalar = TypeVar("_Scalar", bound=np.generic)


def _stacked(parts: list[Matrix]) -> Matrix:
    if len(parts) == 1:
        return parts[0]
    return cast("Matrix", np.concatenate(parts))
