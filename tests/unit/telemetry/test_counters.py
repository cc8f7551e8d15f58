"""Sums over processes stay exact over restarts, late news and vanished pods."""

import pytest
from tests.unit.totals import total

from trimtab.contract import metrics
from trimtab.contract.metrics import SeriesKey
from trimtab.decide.rollout.measures import measures_of
from trimtab.telemetry.counters import CounterStore
from trimtab.telemetry.exposition import Exposition
from trimtab.telemetry.port import Losses, NoData, NoDataReason, Target

KEY = "shop/digits"
ANSWERED: SeriesKey = ("trimtab_requests_total", frozenset({("code", "200")}))
FAILED: SeriesKey = ("trimtab_requests_total", frozenset({("code", "500")}))
OUTCOME: SeriesKey = (metrics.OUTCOMES, frozenset({("digest", "sha256:d"), ("actual", "a")}))
SECONDS: dict[SeriesKey, float] = {
    (f"{metrics.REQUEST_SECONDS}_bucket", frozenset({("le", "1")})): 4,
    (f"{metrics.REQUEST_SECONDS}_count", frozenset()): 5,
}
DEPTH: SeriesKey = ("trimtab_queue_depth", frozenset())
SCORES: SeriesKey = ("trimtab_score_bin_sum_total", frozenset({("bin", "0")}))
WATCHED_SINCE = 1000.0


def target(
    process: str, pod: str = "", revision: str = "r1", interval: float = 5.0, timeout: float = 5.0
) -> Target:
    url = "http://127.0.0.1:1/metrics"
    return Target(process, pod or process, revision, url, interval, timeout)


def sample(answered: float, failed: float = 0, start: float | None = 1001.0) -> Exposition:
    return Exposition({ANSWERED: answered, FAILED: failed}, start)


def store(*targets: Target, max_gone: int = 50) -> CounterStore:
    counters = CounterStore(max_gone)
    counters.set_targets(KEY, targets, WATCHED_SINCE)
    return counters


def requests(counters: CounterStore, revision: str | None = None) -> float:
    return total(counters.processes(KEY), "trimtab_requests_total", revision=revision)


def test_increments_of_a_young_process_count_from_zero() -> None:
    counters = store(target("a"))
    assert counters.record(KEY, "a", sample(5), 1010) == {ANSWERED: 5}
    assert counters.record(KEY, "a", sample(7, 1), 1015) == {ANSWERED: 2, FAILED: 1}
    assert requests(counters) == 8
    assert total(counters.processes(KEY), "trimtab_requests_total", FAILED[1]) == 1


@pytest.mark.parametrize("start", [900.0, None], ids=["older", "age_unknown"])
def test_an_older_process_counts_from_its_first_sample(start: float | None) -> None:
    counters = store(target("a"))
    assert counters.record(KEY, "a", sample(500, start=start), 1010) == {}
    assert counters.record(KEY, "a", sample(510, start=start), 1015) == {ANSWERED: 10}
    (process,) = counters.processes(KEY)
    assert process.first == {ANSWERED: 500, FAILED: 0}
    assert process.series[ANSWERED] == 510


def test_a_restart_keeps_what_the_life_before_counted() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5), 1010)
    grown = counters.record(KEY, "a", sample(7, start=1012.0), 1015)
    assert grown == {ANSWERED: 7}
    assert requests(counters) == 12


def test_a_level_is_not_added_over_lives() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", Exposition({ANSWERED: 5, DEPTH: 3}, 1001.0), 1010)
    counters.record(KEY, "a", Exposition({ANSWERED: 1, DEPTH: 2}, 1012.0), 1015)
    assert counters.processes(KEY)[0].series == {ANSWERED: 6, DEPTH: 2}


def test_a_reset_without_start_times_is_seen_by_the_fall() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5, 2, start=None), 1010)
    assert counters.record(KEY, "a", sample(3, 2, start=None), 1015) == {ANSWERED: 3}
    assert requests(counters) == 10


def test_a_fall_without_restart_is_not_believed() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5), 1010)
    assert counters.record(KEY, "a", sample(4), 1015) == {}
    (process,) = counters.processes(KEY)
    assert process.problem is not None
    assert process.problem.reason is NoDataReason.NOT_A_NUMBER
    assert process.no_data(1015) == process.problem
    assert (process.series[ANSWERED], process.sampled_at) == (5, 1010)
    counters.record(KEY, "a", sample(6), 1020)
    assert counters.processes(KEY)[0].no_data(1020) is None


def test_sums_of_scores_may_fall() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", Exposition({SCORES: 5.0}, 1001.0), 1010)
    assert counters.record(KEY, "a", Exposition({SCORES: 3.0}, 1001.0), 1015) == {SCORES: -2.0}


def test_a_vanished_process_stays_in_the_sums() -> None:
    counters = store(target("a"), target("b", revision="r2"))
    counters.record(KEY, "a", sample(5), 1010)
    counters.record(KEY, "b", sample(2), 1010)
    counters.set_targets(KEY, [target("b", revision="r2")], 1012)
    counters.record(KEY, "a", sample(99), 1013)  # late answer of an address no longer its own
    assert requests(counters) == 7
    assert requests(counters, "r2") == 2
    assert [p.is_gone for p in counters.processes(KEY)] == [True, False]
    assert counters.losses(KEY) == Losses(terminations=1)


def live_one_after_the_other(counters: CounterStore, lives: int, new: Exposition) -> None:
    for number in range(lives):
        name = f"p{number:02}"
        counters.set_targets(KEY, [target(name)], 1000.0 + number)
        counters.record(KEY, name, new, 1000.5 + number)


def test_the_oldest_of_many_vanished_processes_are_forgotten() -> None:
    counters = store(max_gone=3)
    live_one_after_the_other(counters, 20, sample(1, start=2000.0))
    assert [process.process for process in counters.processes(KEY)] == ["p16", "p17", "p18", "p19"]


def test_vanished_processes_of_many_series_keep_what_is_judged() -> None:
    """A candidate that ends often is not acquitted by the size of its page."""
    of_bins = {(metrics.FEATURE_BIN, frozenset({("bin", str(n))})): 1.0 for n in range(5_000)}
    page = Exposition({**of_bins, ANSWERED: 3, FAILED: 2, OUTCOME: 1, **SECONDS}, 2000.0)
    counters = store()
    live_one_after_the_other(counters, 40, page)
    processes = counters.processes(KEY)
    assert len(processes) == 40
    judged = measures_of(page.values, ["sha256:d"])
    assert {"requests", "errors", "labelled:d", "slow@1"} <= judged.keys()
    for process in processes:
        assert measures_of(process.series, ["sha256:d"]) == judged
        assert measures_of(process.first, ["sha256:d"]) == judged
    kept = sum(len(process.series) + len(process.first) for process in processes)
    assert kept < 60_000 + 2 * len(page.values)
    assert len(processes[0].series) == 5


def test_vanished_processes_of_many_judged_series_are_bounded_too() -> None:
    codes = {(metrics.REQUESTS, frozenset({("code", str(n))})): 1.0 for n in range(5_000)}
    counters = store()
    live_one_after_the_other(counters, 40, Exposition(codes, 2000.0))
    assert len(counters.processes(KEY)) == 7


def test_a_restart_seen_before_its_news_is_counted_once() -> None:
    """The container restarted; the first scrape of its new life comes under the old name."""
    counters = store(target("pod/1", pod="pod"))
    counters.record(KEY, "pod/1", sample(5), 1010)
    counters.record(KEY, "pod/1", sample(2, start=1012.0), 1015)
    counters.set_targets(KEY, [target("pod/2", pod="pod")], 1016)
    grown = counters.record(KEY, "pod/2", sample(3, start=1012.0), 1020)
    assert grown == {ANSWERED: 1}
    assert requests(counters) == 8
    by_name = {process.process: process for process in counters.processes(KEY)}
    assert by_name["pod/2"].series[ANSWERED] == 3
    assert by_name["pod/1"].series[ANSWERED] == 5


def test_no_series_keeps_the_last_sample() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5), 1010)
    counters.record(KEY, "a", Exposition({}, 1001.0), 1015)
    (process,) = counters.processes(KEY)
    assert process.problem == NoData(NoDataReason.NO_SERIES, "no trimtab_ series")
    assert (process.failures, process.sampled_at) == (1, 1010)
    assert process.no_data(1020) is None
    assert process.no_data(1030) == process.problem


def test_a_clock_that_was_set_back_hides_no_silence() -> None:
    steady = [0.0]
    counters = CounterStore(clock=lambda: steady[0])
    counters.set_targets(KEY, [target("a")], 1000)
    counters.record(KEY, "a", sample(5), 5000)
    down = NoData(NoDataReason.BACKEND_DOWN, "connection refused")
    counters.record_failure(KEY, "a", down, 1405)
    steady[0] = 15.0
    assert counters.processes(KEY)[0].no_data(1415) is None
    steady[0] = 15.5
    assert counters.processes(KEY)[0].no_data(1415) == down
    counters.record(KEY, "a", sample(6), 1416)
    assert counters.processes(KEY)[0].no_data(1416) is None


def test_no_data_of_a_silent_process() -> None:
    counters = store(target("a"))
    (process,) = counters.processes(KEY)
    waiting = process.no_data(1000)
    assert waiting is not None
    assert waiting.reason is NoDataReason.WAITING
    counters.record(KEY, "a", sample(5), 1010)
    (process,) = counters.processes(KEY)
    assert process.no_data(1025) is None
    stale = process.no_data(1026)
    assert stale is not None
    assert stale.reason is NoDataReason.STALE


@pytest.mark.parametrize(
    ("interval", "timeout", "holds"),
    [
        pytest.param(5, 5, 15, id="three_intervals"),
        pytest.param(1, 5, 6, id="a_late_scrape_of_a_short_interval"),
        pytest.param(1, 1, 3, id="short_of_both"),
        pytest.param(15, 60, 75, id="a_long_time_out"),
    ],
)
def test_a_sample_holds_for_three_intervals_or_a_late_scrape_and_an_interval(
    interval: float, timeout: float, holds: float
) -> None:
    counters = store(target("a", interval=interval, timeout=timeout))
    counters.record(KEY, "a", sample(5), 1010)
    (process,) = counters.processes(KEY)
    assert process.no_data(1010 + holds) is None
    stale = process.no_data(1010 + holds + 0.5)
    assert stale is not None
    assert stale.reason is NoDataReason.STALE
    assert f"at most {holds} s" in stale.detail


SILENT = NoData(NoDataReason.BACKEND_DOWN, "no answer within 5 s", is_silent=True)
BAD = NoData(NoDataReason.BACKEND_DOWN, "HTTP 503")
NEVER = "never answered: a NetworkPolicy or mTLS may be in the way"


def problem_of(counters: CounterStore, process: str, now: float) -> str:
    (found,) = (p.no_data(now) for p in counters.processes(KEY) if p.process == process)
    assert found is not None
    return found.detail


def test_a_policy_may_be_in_the_way_of_a_port_that_never_answered() -> None:
    counters = store(target("a"))
    counters.record_failure(KEY, "a", SILENT, 1005)
    assert problem_of(counters, "a", 1010) == f"no answer within 5 s; the port {NEVER}"


def test_a_port_that_answered_says_until_when() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5), 1010)
    counters.record_failure(KEY, "a", SILENT, 1020)
    assert (
        problem_of(counters, "a", 1030) == "no answer within 5 s; the port answered until 00:16:50Z"
    )


def test_a_bad_answer_is_an_answer() -> None:
    counters = store(target("a"))
    counters.record_failure(KEY, "a", BAD, 1005)
    assert problem_of(counters, "a", 1010) == "HTTP 503"
    counters.record_failure(KEY, "a", SILENT, 1010)
    assert "answered until 00:16:45Z" in problem_of(counters, "a", 1015)


def test_the_port_of_a_restarted_container_is_the_port_of_its_pod() -> None:
    counters = store(target("a/1", "a"))
    counters.record(KEY, "a/1", sample(5), 1010)
    counters.set_targets(KEY, [target("a/2", "a")], 1015)
    counters.record_failure(KEY, "a/2", SILENT, 1020)
    assert "answered until 00:16:50Z" in problem_of(counters, "a/2", 1021)


def test_what_a_checkpoint_knows_of_a_port_is_not_forgotten() -> None:
    before = store(target("a"))
    before.record(KEY, "a", sample(5), 1010)
    watched_since, saved, _ = before.save(KEY)
    counters = CounterStore()
    counters.restore(KEY, watched_since, saved)
    counters.set_targets(KEY, [target("a")], 1030)
    counters.record_failure(KEY, "a", SILENT, 1035)
    assert "answered until 00:16:50Z" in problem_of(counters, "a", 1036)


def test_failures_and_missed_scrapes_are_counted() -> None:
    counters = store(target("a"))
    down = NoData(NoDataReason.BACKEND_DOWN, "refused")
    counters.record_failure(KEY, "a", down, 1005)
    counters.record_failure(KEY, "a", down, 1010)
    counters.record_missed(KEY, "a")
    (process,) = counters.processes(KEY)
    assert (process.problem, process.failures, process.missed) == (down, 2, 1)
    assert counters.losses(KEY) == Losses(missed=3)


def test_unknown_and_forgotten_keys_are_empty() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", sample(5), 1010)
    counters.forget(KEY)
    assert counters.record(KEY, "a", sample(6), 1015) == {}
    assert counters.processes(KEY) == ()
    assert requests(counters) == 0
    assert counters.losses(KEY) == Losses()


def is_warm(counters: CounterStore) -> bool:
    (process,) = counters.processes(KEY)
    return process.warm is not None


def hot(start: float) -> Exposition:
    return Exposition({(f"{metrics.REQUEST_SECONDS}_count", frozenset()): 50}, start)


def test_the_speed_of_a_process_is_evidence_ten_seconds_after_it_began() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", hot(start=1001.0), 1010)
    assert not is_warm(counters)
    counters.record(KEY, "a", hot(start=1001.0), 1011)
    assert is_warm(counters)


@pytest.mark.parametrize("start", [1600.0, 1e9], ids=["ten_minutes_ahead", "far_ahead"])
def test_a_process_whose_clock_is_ahead_of_ours_is_warm_in_time(start: float) -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", hot(start), 1010)
    counters.record(KEY, "a", hot(start), 1019)
    assert not is_warm(counters)
    counters.record(KEY, "a", hot(start), 1020)
    assert is_warm(counters)


def test_a_clock_that_is_set_back_keeps_a_process_cold_for_no_longer() -> None:
    counters = store(target("a"))
    counters.record(KEY, "a", hot(start=1605.0), 1610)
    counters.record(KEY, "a", hot(start=1605.0), 1012)
    counters.record(KEY, "a", hot(start=1605.0), 1022)
    assert is_warm(counters)
