"""A restart of the operator loses little and counts nothing twice."""

import gzip
import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.checkpoint import Checkpoint, decode, encode
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.port import Target
from trimtab.telemetry.windows import WindowStore

KEY = "shop/digits"
ROWS: SeriesKey = ("trimtab_requests_total", frozenset({("code", "200")}))
BIRTH = 6000.0
WINDOW = 600.0


def target(process: str, pod: str) -> Target:
    return Target(process, pod, "r1", "http://127.0.0.1:1/metrics")


@dataclass
class Watcher:
    """One operator: both stores, as the telemetry joins them."""

    counters: CounterStore = field(default_factory=CounterStore)
    # All windows are kept: which ones a bound drops differs where a restart left one out.
    windows: WindowStore = field(default_factory=lambda: WindowStore(max_windows=1000))

    def begin(self, now: float) -> None:
        self.windows.watch(KEY, WINDOW)
        self.counters.set_targets(KEY, (), now)

    def scrape(self, process: str, value: float, start: float, now: float) -> None:
        grown = self.counters.record(KEY, process, Exposition({ROWS: value}, start), now)
        self.windows.add(KEY, grown, now, self.counters.since(KEY, process))

    def save(self) -> bytes:
        windows = self.windows.save(KEY)
        assert windows is not None
        watched_since, processes, changes = self.counters.save(KEY)
        return encode(Checkpoint(KEY, watched_since, windows, processes, changes))

    @classmethod
    def restored(cls, raw: bytes) -> "Watcher":
        watcher, saved = cls(), decode(raw, KEY)
        watcher.counters.restore(KEY, saved.watched_since, saved.processes)
        watcher.windows.restore(KEY, saved.windows)
        watcher.windows.watch(KEY, WINDOW)
        return watcher

    def counted(self) -> dict[float, float]:
        return {window.start: sum(window.counts.values()) for window in self.windows.windows(KEY)}


def watched() -> Watcher:
    watcher = Watcher()
    watcher.begin(BIRTH)
    watcher.counters.set_targets(KEY, [target("a", "pod")], BIRTH)
    return watcher


def test_the_open_window_goes_on_and_what_was_missed_is_counted_once() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    second = Watcher.restored(first.save())
    second.counters.set_targets(KEY, [target("a", "pod")], BIRTH + 60)
    second.scrape("a", 12, BIRTH + 1, BIRTH + 61)
    assert second.counted() == {BIRTH: 12}


def test_gates_see_the_first_sample_of_their_own_operator() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    first.scrape("a", 2, BIRTH + 11, BIRTH + 12)
    second = Watcher.restored(first.save())
    second.counters.set_targets(KEY, [target("a", "pod")], BIRTH + 60)
    (before,) = second.counters.processes(KEY)
    assert (before.series, before.first, before.sampled_at) == ({}, {}, None)
    second.scrape("a", 9, BIRTH + 11, BIRTH + 61)
    (after,) = second.counters.processes(KEY)
    assert after.series == after.first == {ROWS: 14}


def test_a_gap_over_a_window_is_in_no_window() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    second = Watcher.restored(first.save())
    second.counters.set_targets(KEY, [target("a", "pod")], BIRTH + 700)
    second.scrape("a", 100, BIRTH + 1, BIRTH + 700)
    second.scrape("a", 103, BIRTH + 1, BIRTH + 705)
    assert second.counted() == {BIRTH: 5, BIRTH + 600: 3}


def test_a_life_seen_under_the_old_name_is_not_counted_again() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    first.scrape("a", 2, BIRTH + 11, BIRTH + 12)
    first.counters.set_targets(KEY, [target("a2", "pod")], BIRTH + 13)
    second = Watcher.restored(Watcher.restored(first.save()).save())
    second.counters.set_targets(KEY, [target("a2", "pod")], BIRTH + 60)
    second.scrape("a2", 3, BIRTH + 11, BIRTH + 61)
    assert second.counted() == {BIRTH: 8}


def test_a_process_that_ended_meanwhile_is_a_termination() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    second = Watcher.restored(first.save())
    second.counters.set_targets(KEY, [target("b", "other")], BIRTH + 60)
    assert second.counters.losses(KEY).terminations == 1
    assert [process.process for process in second.counters.processes(KEY)] == ["b"]


def test_a_saved_reading_that_the_process_contradicts_counts_nothing() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    second = Watcher.restored(first.save())
    second.counters.set_targets(KEY, [target("a", "pod")], BIRTH + 60)
    second.scrape("a", 3, BIRTH + 1, BIRTH + 61)
    second.scrape("a", 4, BIRTH + 1, BIRTH + 66)
    assert second.counted() == {BIRTH: 6}


def changed(raw: bytes, **entries: object) -> bytes:
    return gzip.compress(json.dumps(json.loads(gzip.decompress(raw)) | entries).encode())


def test_what_is_no_checkpoint_of_ours_is_refused() -> None:
    first = watched()
    first.scrape("a", 5, BIRTH + 1, BIRTH + 10)
    raw = first.save()
    bad_windows = [{"baseline": "", "start": 0, "counts": [[9, 1]]}]
    for broken in (
        b"",
        b"junk",
        raw[:-9],
        gzip.compress(b"[]"),
        gzip.compress(b"\xff"),
        changed(raw, version=2),
        changed(raw, key="shop/other"),
        changed(raw, seconds=0),
        changed(raw, watchedSince=float("nan")),
        changed(raw, windows=bad_windows),
        changed(raw, processes=[{}]),
    ):
        with pytest.raises(ValueError, match="not a checkpoint of shop/digits"):
            decode(broken, KEY)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["rows", "rows", "scrape", "reset", "rename", "save", "restart"]),
        st.integers(0, 1),
        st.integers(1, 50),
    ),
    max_size=40,
)


@dataclass
class Pod:
    """A process of the truth: its name as the cluster tells it, its life and its counter."""

    name: str
    process: str
    start: float
    value: float = 0.0
    total: float = 0.0
    resets: int = 0


def play(steps: list[tuple[str, int, int]], length: int, restarts: bool) -> tuple[Watcher, float]:
    """Return the last operator after all steps, and the rows that there were in truth."""
    now = BIRTH
    pods = [Pod(f"pod-{i}", f"pod-{i}/0", BIRTH + 1) for i in range(2)]
    watcher = Watcher()
    watcher.begin(now)

    def tell() -> None:
        watcher.counters.set_targets(KEY, [target(pod.process, pod.name) for pod in pods], now)

    def scrape() -> None:
        for pod in pods:
            watcher.scrape(pod.process, pod.value, pod.start, now)

    tell()
    saved = watcher.save()
    for what, which, size in steps:
        now += length
        pod = pods[which]
        if what == "rows":
            pod.value, pod.total = pod.value + size, pod.total + size
        elif what == "scrape":
            scrape()
        elif what == "reset":
            scrape()  # what a life counts after its last scrape is lost with or without a restart
            pod.value, pod.start, pod.resets = 0.0, now, pod.resets + 1
        elif what == "rename":
            pod.process = f"{pod.name}/{pod.resets}"
            tell()
        elif what == "save":
            saved = watcher.save()
        elif restarts:
            watcher = Watcher.restored(saved)
            tell()
    scrape()
    return watcher, sum(pod.total for pod in pods)


def ends_no_life_unsaved(steps: list[tuple[str, int, int]]) -> bool:
    """Whether no life ends between a checkpoint and the restart that goes back to it."""
    since_save = False
    for what, _, _ in steps:
        since_save = what == "reset" or (since_save and what != "save")
        if what == "restart" and since_save:
            return False
    return True


@given(STEPS)
def test_restarts_within_a_window_change_nothing_for_living_processes(
    steps: list[tuple[str, int, int]],
) -> None:
    disturbed, truth = play(steps, 1, restarts=True)
    undisturbed, _ = play(steps, 1, restarts=False)
    assert sum(disturbed.counted().values()) <= truth
    if ends_no_life_unsaved(steps):
        assert disturbed.counted() == undisturbed.counted()


@given(STEPS, st.sampled_from([90, 250]))
def test_over_windows_never_more_than_the_truth(
    steps: list[tuple[str, int, int]], length: int
) -> None:
    disturbed, truth = play(steps, length, restarts=True)
    undisturbed, _ = play(steps, length, restarts=False)
    assert sum(disturbed.counted().values()) <= truth
    for start, rows in disturbed.counted().items():
        assert rows <= undisturbed.counted().get(start, 0.0)
