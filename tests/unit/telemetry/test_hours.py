"""Labels are booked once under the hour of their prediction, whoever counted them and when."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from trimtab.contract import metrics
from trimtab.contract.metrics import Series, SeriesKey
from trimtab.telemetry.checkpoint import Checkpoint, decode, encode
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.hours import MAX_VERSIONS, HourStore, by_hour
from trimtab.telemetry.port import Target
from trimtab.telemetry.windows import WindowStore

KEY = "shop/digits"
DIGEST = "sha256:" + "1" * 64
NOW = 480_000 * 3600.0
HOUR = 480_000


def label(hour: int | str, correct: str, digest: str = DIGEST) -> SeriesKey:
    labels = {"hour": str(hour), "correct": correct, "digest": digest, "model": "digits"}
    return metrics.OUTCOMES_BY_HOUR, frozenset(labels.items())


def booked(correct: str) -> SeriesKey:
    return metrics.OUTCOMES, frozenset({("correct", correct)})


@dataclass
class Watcher:
    """One operator: the stores, as the telemetry joins them."""

    counters: CounterStore = field(default_factory=CounterStore)
    windows: WindowStore = field(default_factory=WindowStore)
    hours: HourStore = field(default_factory=HourStore)

    @classmethod
    def begun(cls, kept: int = 100) -> "Watcher":
        watcher = cls()
        watcher.counters.set_targets(KEY, (), NOW)
        watcher.windows.watch(KEY, 3600.0)
        watcher.hours.watch(KEY, kept)
        return watcher

    def find(self, processes: list[str]) -> None:
        targets = [
            Target(name, name.split("/")[0], "r1", "http://127.0.0.1:1") for name in processes
        ]
        self.counters.set_targets(KEY, targets, NOW)

    def scrape(self, process: str, values: Series, start: float) -> None:
        grown = self.counters.record(KEY, process, Exposition(dict(values), start), NOW)
        self.windows.add(KEY, grown, NOW, self.counters.since(KEY, process))
        self.hours.add(KEY, grown, NOW)

    def labels(self, digest: str = DIGEST) -> dict[tuple[int, str], float]:
        return {
            (hour, dict(labels)["correct"]): value
            for hour, counts in self.hours.hours(KEY, digest).items()
            for (_, labels), value in counts.items()
            if value
        }


def restarted(watcher: Watcher) -> Watcher:
    """The operator after a restart, from the checkpoint that the telemetry makes."""
    windows = watcher.windows.save(KEY)
    assert windows is not None
    watched_since, processes, changes = watcher.counters.save(KEY)
    hours = watcher.hours.save(KEY)
    made = Checkpoint(KEY, watched_since, windows, processes, changes, hours)
    saved = decode(encode(made), KEY)
    assert saved == made
    after = Watcher()
    after.counters.restore(KEY, saved.watched_since, saved.processes)
    after.windows.restore(KEY, saved.windows)
    after.hours.restore(KEY, saved.hours)
    assert after.hours.watch(KEY, 100) is False
    return after


def test_a_pod_that_is_gone_keeps_what_it_counted() -> None:
    watcher = Watcher.begun()
    for number in range(80):
        name = f"pod-{number}/1"
        watcher.find([name])
        watcher.scrape(name, {label(HOUR - 3, "true"): 0.0}, NOW + 1)
        watcher.scrape(name, {label(HOUR - 3, "true"): 2.0}, NOW + 1)
    assert watcher.labels() == {(HOUR - 3, "true"): 160.0}


def test_a_pod_older_than_the_watch_brings_its_hours_along() -> None:
    watcher = Watcher.begun()
    watcher.find(["pod/1"])
    watcher.scrape("pod/1", {label(HOUR - 30, "false"): 7.0}, NOW - 9e5)
    watcher.scrape("pod/1", {label(HOUR - 30, "false"): 8.0}, NOW - 9e5)
    assert watcher.labels() == {(HOUR - 30, "false"): 8.0}


def test_what_was_counted_before_labels_were_watched_is_taken_from_the_processes() -> None:
    watcher = Watcher.begun()
    watcher.hours.watch(KEY, None)
    watcher.find(["pod/1"])
    watcher.scrape("pod/1", {label(HOUR - 2, "true"): 5.0}, NOW + 1)
    assert watcher.hours.watch(KEY, 100) is True
    for process in watcher.counters.processes(KEY):
        watcher.hours.add(KEY, by_hour(process.series), NOW)
    watcher.scrape("pod/1", {label(HOUR - 2, "true"): 6.0}, NOW + 1)
    assert watcher.labels() == {(HOUR - 2, "true"): 6.0}


def test_hours_and_versions_are_bounded_and_nonsense_is_left_out() -> None:
    watcher = Watcher.begun(kept=5)
    watcher.find(["pod/1"])
    old_and_new = {label(HOUR - 6, "true"): 1.0, label(HOUR - 5, "true"): 1.0}
    strange = {label("-1", "true"): 1.0, label("1e9", "true"): 1.0, label("", "true"): 1.0}
    versions = {label(HOUR - 4, "true", f"sha256:{n}"): 1.0 for n in range(20)}
    watcher.scrape("pod/1", {**old_and_new, **strange}, NOW + 1)
    assert watcher.labels() == {(HOUR - 5, "true"): 1.0}
    watcher.scrape("pod/1", {**old_and_new, **strange, **versions}, NOW + 1)
    saved = watcher.hours.save(KEY)
    assert saved is not None
    assert len({digest for digest, _ in saved.booked}) == MAX_VERSIONS


def test_rows_and_errors_are_named_as_without_an_hour() -> None:
    watcher = Watcher.begun()
    watcher.find(["pod/1"])
    hour = frozenset({("hour", str(HOUR)), ("digest", DIGEST)})
    values = {
        (metrics.PREDICTED_BY_HOUR, hour): 10.0,
        (metrics.OUTCOME_ERRORS_BY_HOUR_SUM, hour): -2.5,
        label(HOUR, "true"): 3.0,
    }
    watcher.scrape("pod/1", values, NOW + 1)
    assert watcher.hours.hours(KEY, DIGEST) == {
        HOUR: {
            (metrics.PREDICTED, frozenset()): 10.0,
            (metrics.OUTCOME_ERRORS_SUM, frozenset()): -2.5,
            booked("true"): 3.0,
        }
    }


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("label"), st.integers(0, 2), st.integers(HOUR - 3, HOUR)),
        st.tuples(st.just("scrape"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("new life"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("operator"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_restarts_of_pods_and_operators_book_every_label_once(
    steps: list[tuple[str, int, int]],
) -> None:
    watcher = Watcher.begun()
    lives = [1, 1, 1]
    counted: list[dict[SeriesKey, float]] = [{}, {}, {}]
    truth: Counter[tuple[int, str]] = Counter()

    def names() -> list[str]:
        return [f"pod-{pod}/{life}" for pod, life in enumerate(lives)]

    def scrape(pod: int) -> None:
        values = counted[pod] or {label(HOUR, "true"): 0.0}
        watcher.scrape(names()[pod], values, NOW + lives[pod])

    watcher.find(names())
    for what, pod, hour in steps:
        if what == "label":
            correct = "true" if hour % 2 else "false"
            key = label(hour, correct)
            counted[pod][key] = counted[pod].get(key, 0.0) + 1.0
            truth[hour, correct] += 1
        elif what == "scrape":
            scrape(pod)
        elif what == "new life":
            scrape(pod)  # what a life counts after its last scrape is lost, as stated
            lives[pod] += 1
            counted[pod] = {}
            watcher.find(names())
        else:
            watcher = restarted(watcher)
            watcher.find(names())
    for pod in range(3):
        scrape(pod)
    assert watcher.labels() == {place: float(value) for place, value in truth.items()}


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), min_size=6, max_size=6))
def test_replicas_and_their_order_make_no_difference(order: list[int], rows: list[int]) -> None:
    watcher = Watcher.begun()
    watcher.find([f"pod-{pod}/1" for pod in range(6)])
    for pod in order:
        watcher.scrape(f"pod-{pod}/1", {label(HOUR, "true"): float(rows[pod])}, NOW + 1)
    assert sum(watcher.labels().values()) == sum(rows)
