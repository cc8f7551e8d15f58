"""The second model: brought after Ready, asked by the prediction thread, let go in the end.

    waiting ──begin──> loading ──> comparing <──throttled──> paused
       │                  │            │
       │                  ├─ noMemory, killed, notComparable, failed
       │                  │            ├─ failed: raised 20 times in a row, or did not come back
       └──────────────────┴────────────┴─ ended: `until` has passed

It is loaded in a thread of its own and asked in the prediction thread: handing rows to another one
would cost two turns of the interpreter's lock, which are longer than most predictions. The joiner
leaves a thread behind that does not come back from it. Whatever happens to the second model is said
once and costs no request.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.contract import metrics
from trimtab.contract.artifact import Signature
from trimtab.serving.comparing.budget import Budget, Costs
from trimtab.serving.comparing.container import LEAST_MULTIPLE, Container, memory_needed, reserve
from trimtab.serving.comparing.marker import Marker
from trimtab.serving.counting.comparison import check_same_inputs
from trimtab.serving.counting.exposition import Family, Labels, labelled
from trimtab.serving.errors import ArtifactRefused, ModelFailed, StartRefused
from trimtab.serving.model.artifact import Artifact, bring_artifact
from trimtab.serving.model.base import Matrix, Model
from trimtab.serving.model.load import load_model
from trimtab.serving.model.unpacked import unpacked_bytes
from trimtab.serving.settings import ServingSettings

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW: Final = 20
SAMPLED_ROWS: Final = (1, 1, 8, 64)
"""Predicted once loaded, to know what calls of such sizes cost."""
LONGEST_SECONDS: Final = 0.5
"""A comparison expected to take longer is not made, unless the own model takes half as long."""
MOST_TOO_LONG: Final = 2
"""Answers in a row that took longer, after which it is not asked any more."""
LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 5.0
"""After the container was throttled."""
WATCH_SECONDS: Final = 2.0
BUSY_SHARE: Final = 0.02
"""Of one CPU over `WATCH_SECONDS`: a thread left behind that takes more disturbs requests."""
LOAD_SECONDS: Final = 120.0
"""For loading, beside the time for fetching."""

Classes = NDArray[np.intp]
_STATE_OF: Final = {"NotComparable": "notComparable", "TooLarge": "noMemory"}
_FINAL: Final = frozenset(metrics.COMPARE_STATES[4:])


class SecondModel:
    """One that predicts rows after the own model did.

    `own` is the served artifact, `growth` what loading it took in bytes, `samples` makes rows.
    `ready` is called in its thread with the other's class names before anything is compared, and
    returns of how many rows its answer is wanted, by the number of rows of a request.
    `refused` says why nothing will be.
    """

    def __init__(
        self,
        settings: ServingSettings,
        own: Artifact,
        growth: int,
        samples: Callable[[int], Matrix],
        *,
        ready: Callable[[list[str]], list[int]],
        refused: str = "",
        container: Container | None = None,
    ) -> None:
        self.digest = settings.compare_digest
        self._settings = settings
        self._own = own
        self._growth = growth
        self._samples = samples
        self._ready = ready
        self._settled: Callable[[], None] = lambda: None
        self._disturbed: Callable[[], None] = lambda: None
        self._too_long = 0
        self._container = container or Container()
        self._marker = Marker(settings.scratch)
        self._costs = Costs()
        self._budget = Budget(settings.compare_budget, self._costs)
        self._ends = _Ends(settings.compare_until)
        self._lock = threading.Lock()
        self._state = "waiting"
        self._classes = 0
        self._wanted = [0]
        self._seconds = 0.0
        self._failures = 0
        self._has_failed = False
        self._is_stopping = False
        self._has_begun = False
        self._keeps_mark = False
        self._give_up_at = inf
        self._looked_at = 0.0
        self._throttled = self._container.throttled()
        self._paused_until = 0.0
        self._model: Model | None = None
        self._inside = 0
        """The native id of the thread that is in the code of the second model, or was last."""
        self._left_behind: _LeftBehind | None = None
        if refused:
            self._end("failed", refused)

    # The event loop.

    def begin(self, settled: Callable[[], None], disturbed: Callable[[], None]) -> bool:
        """Load in a thread; called once the pod is Ready. False when there is nothing to load.

        `settled` is called when that has ended, well or not, in its thread. `disturbed` is called
        if the second model goes on taking time from requests, and nobody can end that; `settled`
        again once it takes none any more.
        """
        if self._has_begun:
            return False
        self._has_begun = True
        self.sweep()
        if not self._become("loading"):
            return False
        self._settled, self._disturbed = settled, disturbed
        self._give_up_at = monotonic() + self._settings.fetch_seconds + LOAD_SECONDS
        threading.Thread(target=self._run, name="compare", daemon=True).start()
        return True

    def sweep(self) -> None:
        """End what is over; called a few times a second."""
        if self._state not in _FINAL and self._ends.is_over():
            self._end("ended", "the time for comparing is over")
        if monotonic() > self._give_up_at:
            # Its thread may go on taking time from requests.
            self._give_up_at = inf
            self._end("failed", "it was not loaded in time", keeps_mark=True)
            self._left_behind = _LeftBehind(self._container, self._inside)
        if self._left_behind is not None:
            self._watch(self._left_behind)

    def _watch(self, left: _LeftBehind) -> None:
        """Say whether the thread that was left behind takes time from requests."""
        busy = left.is_busy()
        if busy is None:
            return
        if busy:
            self._disturbed()
        else:
            self._settled()
        if left.has_ended:
            self._left_behind = None

    def rest(self) -> None:
        """Compare nothing more: the process is being drained."""
        self._is_stopping = True

    def stop(self) -> None:
        """Take the mark away; the process ends in an orderly way.

        Not while it is being loaded: that may be why the process was told to end.
        """
        self._is_stopping = True
        if not self._keeps_mark and self._state != "loading":
            with suppress(OSError):
                self._marker.remove()

    @property
    def patience(self) -> float:
        """Seconds to wait for an answer: half of those after which the pod would be called hung."""
        return self._settings.hung_seconds / 2

    def give_up(self) -> None:
        """Ask no more: it did not answer within `patience`.

        What it holds cannot be taken from it, so another process of the pod must not try again.
        """
        self._end("failed", f"no answer within {self.patience:g} s", keeps_mark=True)
        self._disturbed()
        self._left_behind = _LeftBehind(self._container, self._inside)

    def begins(self) -> bool:
        """Whether something may be compared from now on, until the prediction thread is idle."""
        return not self._is_stopping and self.state == "comparing" and self._budget.begins()

    @property
    def state(self) -> str:
        """One of `COMPARE_STATES`."""
        state = self._state
        return "paused" if state == "comparing" and monotonic() < self._paused_until else state

    def families(self, labels: Labels) -> list[Family]:
        """Return the samples of now; may be called in any thread."""
        against = [*labels, ("against", self.digest)]
        state = labelled(metrics.COMPARE_STATE, [*against, ("state", self.state)])
        return [
            Family(metrics.COMPARE_STATE, "gauge", "How comparing is.", [(state, 1)]),
            Family(
                metrics.COMPARE_SECONDS,
                "counter",
                "Seconds that answers were held up for the second version's.",
                [(labelled(metrics.COMPARE_SECONDS, against), self._seconds)],
            ),
        ]

    # The prediction thread.

    def paired_rows(self, rows: int) -> int:
        """Return of how many rows of a request of `rows` rows the answer is wanted: the first."""
        return self._wanted[min(rows, len(self._wanted) - 1)]

    def earn(self, rows: int, seconds: float) -> None:
        """Take note that the own model took `seconds` for a call with `rows` such rows."""
        if self._state == "comparing":
            self._budget.earn(rows, seconds)

    def affords(self, rows: int, seconds: float) -> bool:
        """Whether `rows` rows of a call that took the own model `seconds` are compared."""
        if self._state != "comparing" or self._is_stopping:
            return False
        longest = min(max(LONGEST_SECONDS, 2 * seconds), self.patience - seconds)
        return (
            self._budget.allows(rows, longest)
            and not self._ends.is_over()
            and not self._is_short_of_anything()
        )

    def answer(self, rows: Matrix) -> Classes | None:
        """Return the other's class indices (n,) for `rows` (n, features), None if it has none."""
        model = self._model
        if model is None:
            return None
        self._inside = threading.get_native_id()
        began = perf_counter()
        try:
            answer = self._checked(model, rows)
        except Exception as error:  # noqa: BLE001 - nothing of it may end the prediction thread
            self._failed(error)
            return None
        except BaseException as error:  # noqa: BLE001 - nor may what is meant to end a process
            self._end("failed", f"it raised {_said(error)}")
            return None
        finally:
            seconds = perf_counter() - began
            self._seconds += seconds
            self._budget.spend(len(rows), seconds)
            self._judge_time(seconds)
        self._failures = 0
        return answer

    def _judge_time(self, seconds: float) -> None:
        """Give up on one that holds up requests for too long again and again."""
        self._too_long = self._too_long + 1 if seconds > LONGEST_SECONDS else 0
        if self._too_long >= MOST_TOO_LONG:
            self._end("failed", f"it takes more than {LONGEST_SECONDS:g} s for an answer")

    def _failed(self, error: Exception) -> None:
        if not self._has_failed:
            log.warning("the version to compare with failed: %s", error)
        self._has_failed = True
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            self._end("failed", f"it failed {self._failures} times in a row: {error}")

    def _is_short_of_anything(self) -> bool:
        """Whether there is too little CPU now; too little memory ends it for good."""
        now = monotonic()
        if now >= self._looked_at + LOOK_SECONDS:
            self._looked_at = now
            left = self._container.memory_left()
            if left is not None and left < reserve(self._container.memory_limit()) / 2:
                self._end("noMemory", f"{left >> 20} MiB are left")
                return True
            throttled = self._container.throttled()
            if throttled > self._throttled:
                self._paused_until = now + PAUSE_SECONDS
            self._throttled = throttled
        return now < self._paused_until

    # Its own thread.

    def _run(self) -> None:
        self._inside = threading.get_native_id()
        try:
            self._model = self._loaded()
        except StartRefused as error:
            self._end(_STATE_OF.get(error.reason, "failed"), str(error))
        except MemoryError:
            self._end("noMemory", "there was not enough memory to load it")
        except BaseException as error:  # noqa: BLE001 - a second model may cost nothing but itself
            self._end("failed", _said(error))
        finally:
            self._begin_comparing()
            self._give_up_at = inf
            self._settled()

    def _begin_comparing(self) -> None:
        if self._model is not None and self._become("comparing"):
            log.info("comparing with %s", self.digest)
        else:
            self._model = None
            _give_back()

    def _loaded(self) -> Model | None:
        """Return the model, measured; None where it must not be loaded or nobody wants it."""
        if self._marker.is_left_over():
            self._end("killed", "the process before this one was killed while it held it")
            return None
        if not self._has_room(self._growth):
            return None  # nor for what is read to check the artifact
        self._marker.write(self.digest)
        artifact = self._brought()
        if not self._has_room(self._needed_for(artifact.model_file)):
            return None
        model = load_model(artifact, trust_pickle=self._settings.trust_pickle)
        self._classes = len(artifact.signature.classes)
        model.prepare_thread()
        # The largest call tells what memory it takes to answer, before anybody waits for it.
        for count in (*SAMPLED_ROWS, self._settings.join_rows):
            if self._costs.expected(count) > LONGEST_SECONDS:
                break  # larger calls are not compared
            rows = self._samples(count)
            began = perf_counter()
            self._checked(model, rows)
            self._costs.add(count, perf_counter() - began)
        left = self._container.memory_left()
        if left is not None and left < reserve(self._container.memory_limit()):
            self._end("noMemory", f"{left >> 20} MiB are left with it")
            return None
        self._wanted = self._ready(list(artifact.signature.classes))
        return model

    def _brought(self) -> Artifact:
        """Fetch and check the artifact; raise StartRefused.

        One that cannot fit into memory is not even written to disk, which may be short as well.
        """
        settings = self._settings.of_compared()
        left = self._container.memory_left() or 0
        most = min(settings.max_artifact_bytes, int(left / LEAST_MULTIPLE))
        artifact = bring_artifact(replace(settings, max_artifact_bytes=most))
        check_pairable(self._own.signature, artifact.signature)
        return artifact

    def _needed_for(self, file: Path) -> int:
        """Return what loading the model in `file` may take at most."""
        most = int((self._container.memory_left() or 0) / LEAST_MULTIPLE)
        own = unpacked_bytes(self._own.model_file, most)
        return memory_needed(own, self._growth, unpacked_bytes(file, most))

    def _has_room(self, needed: int) -> bool:
        limit, left = self._container.memory_limit(), self._container.memory_left()
        if left is not None and needed + reserve(limit) <= left:
            return True
        self._end(
            "noMemory",
            f"{needed >> 20} MiB may be needed, {reserve(limit) >> 20} MiB stay free, "
            f"{'unknown' if left is None else left >> 20} MiB are left",
        )
        return False

    def _checked(self, model: Model, rows: Matrix) -> Classes:
        predicted = model.predict(rows).predicted
        if predicted is None or predicted.shape != (len(rows),):
            raise ModelFailed("the version to compare with gave another number of answers")
        if predicted.min() < 0 or predicted.max() >= self._classes:
            raise ModelFailed("the version to compare with answered no class of its signature")
        return predicted

    # Any thread.

    def _become(self, state: str) -> bool:
        """Change to `state`, unless what it is now is final."""
        with self._lock:
            if self._state in _FINAL:
                return False
            self._state = state
            return True

    def _end(self, state: str, why: str, *, keeps_mark: bool = False) -> None:
        """Change to a final state, once, and let the model go."""
        if not self._become(state):
            return
        level = logging.INFO if state == "ended" else logging.WARNING
        log.log(level, "not comparing with %s: %s: %s", self.digest, state, why)
        self._keeps_mark = keeps_mark
        if not keeps_mark:
            with suppress(OSError):
                self._marker.remove()
        if self._model is not None:
            self._model = None
            threading.Thread(target=_give_back, name="give-back", daemon=True).start()


class _LeftBehind:
    """A thread that nobody can end, watched for the CPU that it takes."""

    def __init__(self, container: Container, thread: int) -> None:
        self._container = container
        self._thread = thread
        self._since = monotonic()
        self._taken = container.thread_seconds(thread) or 0.0
        self.has_ended = False

    def is_busy(self) -> bool | None:
        """Whether it took CPU in the last seconds; None before these have passed again."""
        passed = monotonic() - self._since
        if passed < WATCH_SECONDS:
            return None
        taken = self._container.thread_seconds(self._thread)
        self.has_ended = taken is None
        busy = taken is not None and taken - self._taken > BUSY_SHARE * passed
        self._since, self._taken = self._since + passed, taken or 0.0
        return busy


class _Ends:
    """When comparing is over: Unix seconds, of which a clock that is put back makes no more."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._latest = monotonic() + until - time.time()

    def is_over(self) -> bool:
        return bool(self._until) and (time.time() >= self._until or monotonic() >= self._latest)


def check_pairable(own: Signature, other: Signature) -> None:
    """Raise ArtifactRefused unless the other answers each row that this version takes."""
    check_same_inputs(own, other)
    if own.task != "classification":
        raise ArtifactRefused("NotComparable", f"a {own.task} has no right and wrong answers")
    for mine, theirs in zip(own.inputs, other.inputs, strict=True):
        if _kind(mine.datatype) != _kind(theirs.datatype):
            raise ArtifactRefused(
                "NotComparable",
                f"{mine.name} is {mine.datatype} here and {theirs.datatype} there",
            )
        if mine.missing_allowed and not theirs.missing_allowed:
            raise ArtifactRefused("NotComparable", f"{mine.name} may be missing here and not there")


def _kind(datatype: str) -> str:
    return datatype if datatype in ("BYTES", "BOOL") else "number"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _give_back() -> None:
    """Return freed memory to the system; malloc would keep it for later."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
