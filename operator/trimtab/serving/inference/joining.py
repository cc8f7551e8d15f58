"""Requests that wait while a prediction runs are joined into one call.

    submit ──> waiting ──(thread idle: at the end of this turn of the loop)──> thread
                  ^                                                              │
                  └────────────── bounded: 503 beyond ──────── answers <─────────┘

One thread predicts. There is no timer: a request that comes alone is predicted alone, and the
busier the thread, the larger the calls. A call has at most `join_rows` rows; where more of them
wait, a request has a quarter of a call and the rest of it goes to the end of the queue, so that
nobody waits for a large request as a whole. When a joined call fails, its requests are predicted
one by one, so that only the one at fault gets an error. The queue is bounded in requests, in rows
and above all in time: what would be begun too late is not queued.

Where there is a second model, it may predict the rows of a call, too, before its answers are given.
That holds up those who wait, and those who wait for these. So it is decided while the thread is
idle, before anybody knows what will come, whether something may be compared until it is idle again;
all requests of such a busy period are told so. What the others take is as it would be without.
Where the thread is never idle, a period ends by time, and those that follow it count: requests that
were held up have been answered by then, or hold up nobody, since each client waits for its own.
A second model that does not come back is left behind with its thread: a new one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab.serving.errors import ModelFailed
from trimtab.serving.inference.pace import Pace
from trimtab.serving.model.base import Matrix, Prediction

log = logging.getLogger(__name__)

SHARES: Final = 4
"""Of a call, into which requests are cut while others wait."""
LONGEST_PERIOD: Final = 1.0
"""Seconds in which something may be compared although the thread is never idle."""
QUIET_PERIODS: Final = 4
"""As many times as long nothing is compared afterwards, so that most requests tell of the model."""

Result = Prediction | ModelFailed | TimeoutError


class Asker(Protocol):
    """Who waits for an answer."""

    abandoned: bool
    """Nobody does any more."""
    aside: bool
    """How long it took says nothing about the model."""


class Second(Protocol):
    """Another model that may predict what was predicted; asked by the prediction thread."""

    @property
    def patience(self) -> float:
        """Seconds after which it is given up."""

    def give_up(self) -> None:
        """It did not come back in time; it is not asked again."""

    def begins(self) -> bool:
        """Whether something may be compared in the busy period that begins; on the event loop."""

    def paired_rows(self, rows: int) -> int:
        """Return of how many rows of a request of `rows` rows its answer is wanted: the first."""

    def earn(self, rows: int, seconds: float) -> None:
        """Take note that a call took `seconds`, of which `rows` rows are wanted."""

    def affords(self, rows: int, seconds: float) -> bool:
        """Whether those rows of that call are predicted once more."""

    def answer(self, rows: Matrix) -> NDArray[np.intp] | None:
        """Return the indices of its classes (n,), or nothing."""


class Work:
    """Rows of one request; `deliver(result, first)` is called once on the event loop.

    `result` is a prediction in which the rows start at `first`; or the error that became of it.
    What an asker has abandoned is not predicted. `is_admitted`: it was found to be in time before
    it was read, and is not judged again.
    """

    __slots__ = (
        "asker",
        "counted",
        "deliver",
        "done",
        "is_admitted",
        "parts",
        "rows",
        "submitted",
        "taken",
    )

    def __init__(
        self,
        rows: Matrix,
        deliver: Callable[[Result, int], None],
        *,
        asker: Asker | None = None,
        counted: bool = True,
        is_admitted: bool = False,
    ) -> None:
        self.asker = asker
        self.is_admitted = is_admitted
        self.rows = rows
        self.deliver = deliver
        self.counted = counted
        self.submitted = monotonic()
        self.done = False
        self.taken = 0
        self.parts: list[Prediction] = []


class Slice(NamedTuple):
    """Some rows of a request: those from `start` to before `stop`."""

    work: Work
    start: int
    stop: int

    @property
    def rows(self) -> Matrix:
        """The rows, (stop - start, features)."""
        if self.stop - self.start == len(self.work.rows):
            return self.work.rows
        return self.work.rows[self.start : self.stop]


class Done(NamedTuple):
    """One call that succeeded, all of it counted; it took `seconds`."""

    rows: Matrix
    prediction: Prediction
    seconds: float


class Held(NamedTuple):
    """Answers that wait for the second model's, since a moment of the monotonic clock."""

    since: float
    parts: list[Part]


Part = tuple[list[Slice], Prediction | ModelFailed]
Count = Callable[[Matrix, Prediction, float], None]


class Joiner:
    """The prediction thread and what waits for it. All methods belong to the event loop."""

    def __init__(
        self,
        predict: Callable[[Matrix], Prediction],
        count: Count,
        *,
        prepare: Callable[[], None] = lambda: None,
        join_rows: int,
        max_requests: int,
        max_rows: int,
        deadline_seconds: float,
        queue_seconds: float = inf,
        second: Second | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._predict = predict
        self._count = count
        self._prepare = prepare
        self._second = second
        self._held: Held | None = None
        self._may_compare = False
        """In this period, of which all requests are set aside."""
        self._period_began = 0.0
        self._join_rows = join_rows
        self._share = max(1, join_rows // SHARES)
        self._max_requests = max_requests
        self._max_rows = max_rows
        self._deadline = deadline_seconds
        self._queue_seconds = queue_seconds
        self._pace = pace or Pace()
        self._waiting: deque[Work] = deque()
        self._waiting_rows = 0
        self._round_rows = 0
        """Of those, what is predicted before a request that comes now has its first turn."""
        self._running_rows = 0
        self._owed: deque[Work] = deque()
        self._busy_since: float | None = None
        self._flush_planned = False
        self.last_success = 0.0
        self._start_thread()

    @property
    def depth(self) -> int:
        """Requests of which rows wait for the thread."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no request waits for its answer."""
        return self._busy_since is None and all(work.done for work in self._owed)

    def busy_seconds(self) -> float:
        """Return how long the running call has taken; 0 when the thread is idle."""
        return 0.0 if self._busy_since is None else monotonic() - self._busy_since

    def wait(self, rows: int) -> float:
        """Return in how many seconds the last of `rows` rows that come now would be begun.

        Its own rows do not count: a request that takes long by itself is taken while nobody waits.
        One of several turns waits for everybody else's turn as often. Infinite if there is no room.
        """
        if self._is_full(rows):
            return inf
        if self._busy_since is None:
            if not self._waiting:
                return 0.0
            left = 0.0
        else:
            # A call that takes longer than was to be expected may take as long once more.
            left = abs(self._pace.seconds(1, self._running_rows) - (monotonic() - self._busy_since))
        ahead = self._round_rows * max(1, -(-rows // self._share))
        return left + self._pace.seconds(-(-ahead // self._join_rows), ahead)

    def submit(self, work: Work) -> bool:
        """Queue `work`; False when the queue is full, or work not admitted would be begun late."""
        rows = len(work.rows)
        if self._is_full(rows):
            return False
        if not work.is_admitted and self.wait(rows) > self._queue_seconds:
            return False
        self._waiting.append(work)
        self._waiting_rows += rows
        self._round_rows += min(rows, self._share)
        self._owed.append(work)
        if self._busy_since is None and not self._flush_planned:
            # Requests read in the same turn of the loop are joined, too.
            self._flush_planned = True
            self._loop.call_soon(self._begin)
        return True

    def _is_full(self, rows: int) -> bool:
        return len(self._waiting) >= self._max_requests or (
            bool(self._waiting) and self._waiting_rows + rows > self._max_rows
        )

    def sweep(self) -> None:
        """Give up on what has waited longer than the deadline; called a few times a second."""
        held = self._held
        if (
            held is not None
            and self._second is not None
            and monotonic() - held.since > self._second.patience
        ):
            self._leave_behind(self._second, held)
        latest = monotonic() - self._deadline
        owed = self._owed
        while owed and (owed[0].done or owed[0].submitted < latest):
            work = owed.popleft()
            if not work.done:
                late = TimeoutError(f"no answer within {self._deadline:g} s")
                if self._may_compare:
                    _set_aside([work])
                self._deliver(work, late, 0)
        while self._waiting and self._waiting[0].done:
            self._drop_first()

    def stop(self) -> None:
        """Let the thread end after the call it is running."""
        self._calls.put(None)

    def _begin(self) -> None:
        """Begin a busy period, unless one is under way by now."""
        self._flush_planned = False
        if self._busy_since is None:
            self._begin_period()
            self._flush()

    def _begin_period(self, *, may_compare: bool = True) -> None:
        self._period_began = monotonic()
        self._may_compare = may_compare and self._second is not None and self._second.begins()

    def _end_by_time(self) -> None:
        """Begin another period although the thread is not idle, if this one was long."""
        lasted = monotonic() - self._period_began
        if self._may_compare and lasted > LONGEST_PERIOD:
            _set_aside(work for work in self._owed if not work.done)
            self._begin_period(may_compare=False)
        elif not self._may_compare and lasted > QUIET_PERIODS * LONGEST_PERIOD:
            self._begin_period()

    def _flush(self) -> None:
        if self._second is not None:
            self._end_by_time()
        call = self._next_call()
        if call:
            self._running_rows = sum([one.stop - one.start for one in call])
            self._busy_since = monotonic()
            self._calls.put(call)

    def _next_call(self) -> list[Slice]:
        call: list[Slice] = []
        cut: list[Work] = []
        room = self._join_rows
        waiting = self._waiting
        share = self._share
        if len(waiting) == 1 or self._waiting_rows <= room:
            share = room
        while waiting and room:
            work = waiting[0]
            if _is_gone(work):
                work.done = True
                self._drop_first()
                continue
            left = len(work.rows) - work.taken
            count = min(left, room, share)
            if count < left <= share:
                break  # it fits into the next call
            waiting.popleft()
            start = work.taken
            work.taken += count
            self._waiting_rows -= count
            self._round_rows -= min(left, self._share)
            room -= count
            call.append(Slice(work, start, work.taken))
            if count < left:
                cut.append(work)
                self._round_rows += min(left - count, self._share)
        waiting.extend(cut)
        return call

    def _drop_first(self) -> None:
        work = self._waiting.popleft()
        left = len(work.rows) - work.taken
        self._waiting_rows -= left
        self._round_rows -= min(left, self._share)

    def _start_thread(self) -> None:
        self._calls: SimpleQueue[list[Slice] | None] = SimpleQueue()
        thread = threading.Thread(
            target=self._run, args=(self._calls,), name="predict", daemon=True
        )
        thread.start()

    def _leave_behind(self, second: Second, held: Held) -> None:
        """Go on without the second model and the thread that is in it."""
        second.give_up()
        self._held = None
        self._calls.put(None)  # if it ever comes back
        self._start_thread()
        self._finished(self._calls, held.parts)

    def _finished(self, calls: SimpleQueue[list[Slice] | None], parts: list[Part]) -> None:
        if calls is not self._calls:
            return  # from a thread that was left behind: its answers have been given
        if self._busy_since is not None:
            self._pace.note(self._running_rows, monotonic() - self._busy_since)
        self._busy_since = None
        if self._may_compare:
            _set_aside(one.work for slices, _ in parts for one in slices)
        if self._waiting:
            self._flush()
        for slices, result in parts:
            if isinstance(result, Prediction):
                self.last_success = monotonic()
            first = 0
            for one in slices:
                if not one.work.done:
                    self._take(one, result, first)
                first += one.stop - one.start

    def _take(self, one: Slice, result: Prediction | ModelFailed, first: int) -> None:
        work = one.work
        size = one.stop - one.start
        if size == len(work.rows) or not isinstance(result, Prediction):
            self._deliver(work, result, first)
            return
        work.parts.append(result.only(slice(first, first + size)))
        if one.stop == len(work.rows):
            self._deliver(work, Prediction.joined(work.parts), 0)

    def _deliver(self, work: Work, result: Result, first: int) -> None:
        work.done = True
        try:
            work.deliver(result, first)
        except Exception:
            # The others of the call are owed their answers all the same.
            log.exception("an answer could not be given")

    # The thread.

    def _run(self, calls: SimpleQueue[list[Slice] | None]) -> None:
        self._prepare()
        while (call := calls.get()) is not None:
            parts, done = self._predicted(call)
            if done is not None and self._second is not None:
                parts = [(call, self._compared(self._second, call, done))]
            try:
                self._loop.call_soon_threadsafe(self._finished, calls, parts)
            except RuntimeError:
                return  # the loop has ended

    def _predicted(self, call: list[Slice]) -> tuple[list[Part], Done | None]:
        try:
            prediction, done = self._predict_joined(call)
        except ModelFailed as error:
            if len(call) == 1:
                return [(call, error)], None
        else:
            return [(call, prediction)], done
        parts: list[Part] = []
        for one in call:
            try:
                parts.append(([one], self._predict_joined([one])[0]))
            except ModelFailed as error:
                parts.append(([one], error))
        return parts, None

    def _predict_joined(self, call: list[Slice]) -> tuple[Prediction, Done | None]:
        rows = call[0].rows if len(call) == 1 else np.concatenate([one.rows for one in call])
        began = perf_counter()
        # A model may work in place, and what is counted and compared is what was asked.
        prediction = self._predict(rows.copy())
        seconds = perf_counter() - began
        if all(one.work.counted for one in call):
            self._count(rows, prediction, seconds)
            return prediction, Done(rows, prediction, seconds)
        self._count_some(call, rows, prediction, seconds)
        return prediction, None

    def _compared(self, second: Second, call: list[Slice], done: Done) -> Prediction:
        """Return the prediction, with the second model's answers where it gave them.

        It is not asked while somebody waits, and has to be paid for.
        """
        rows, own, seconds = done
        wanted = [
            max(0, min(one.stop, second.paired_rows(len(one.work.rows))) - one.start)
            for one in call
        ]
        count = sum(wanted)
        second.earn(count, seconds)
        rests = sum(one.stop < len(one.work.rows) for one in call)
        if (
            not self._may_compare
            or len(self._waiting) > rests  # others than the rest of these requests
            or not count
            or any(_is_gone(one.work) for one in call)
            or not second.affords(count, seconds)
        ):
            return own
        chosen = np.concatenate(
            [np.arange(one.stop - one.start) < rest for one, rest in zip(call, wanted, strict=True)]
        )
        self._held = Held(monotonic(), [(call, own)])
        answered = second.answer(rows.copy() if count == len(rows) else rows[chosen])
        self._held = None
        if answered is None:
            return own
        other = np.full(len(rows), -1, dtype=np.intp)
        other[chosen] = answered
        return replace(own, other=other)

    def _count_some(
        self, call: list[Slice], rows: Matrix, prediction: Prediction, seconds: float
    ) -> None:
        chosen = np.concatenate([np.full(one.stop - one.start, one.work.counted) for one in call])
        if chosen.any():
            self._count(rows[chosen], prediction.only(chosen), seconds)


def _is_gone(work: Work) -> bool:
    return work.done or (work.asker is not None and work.asker.abandoned)


def _set_aside(works: Iterable[Work]) -> None:
    for work in works:
        if work.asker is not None:
            work.asker.aside = True
