"""Windows gather increments by baseline, stay bounded, and survive a checkpoint."""

import pytest

from trimtab.contract.metrics import SeriesKey
from trimtab.telemetry.windows import MAX_BASELINES, WindowStore

KEY = "shop/digits"


def series(name: str, baseline: str = "sha256:b", **labels: str) -> SeriesKey:
    identity = {"model": "digits", "version": "v1", "digest": "sha256:d", "baseline": baseline}
    return name, frozenset({**identity, **labels}.items())


def bin_of(number: int, baseline: str = "sha256:b") -> SeriesKey:
    return series("trimtab_feature_bin_total", baseline, feature="x", bin=str(number))


def store(seconds: float = 60, **bounds: int) -> WindowStore:
    windows = WindowStore(**bounds)
    windows.watch(KEY, seconds)
    return windows


def test_increments_add_up_over_replicas_in_a_window_of_its_own() -> None:
    windows = store()
    windows.add(KEY, {bin_of(0): 3.0}, 121)
    windows.add(KEY, {bin_of(0): 2.0, bin_of(1): 1.0}, 179)
    windows.add(KEY, {bin_of(0): 9.0}, 180)
    first, second = windows.windows(KEY)
    assert (first.start, first.end, second.start) == (120, 180, 180)
    short = frozenset({("feature", "x"), ("bin", "0")})
    assert first.family("trimtab_feature_bin_total")[short] == 5
    assert len(first.counts) == 2


def test_baselines_are_never_merged() -> None:
    windows = store()
    windows.add(KEY, {bin_of(0, "sha256:b"): 1.0, bin_of(0, "sha256:c"): 2.0}, 121)
    assert {w.baseline: sum(w.counts.values()) for w in windows.windows(KEY)} == {
        "sha256:b": 1,
        "sha256:c": 2,
    }


def test_only_what_drift_needs_is_kept() -> None:
    windows = store()
    windows.add(KEY, {series("trimtab_request_seconds_bucket", le="1"): 1.0}, 121)
    assert windows.windows(KEY) == ()


def test_nobody_watches() -> None:
    windows = WindowStore()
    windows.add(KEY, {bin_of(0): 1.0}, 121)
    assert windows.windows(KEY) == ()


def test_the_same_length_keeps_and_another_length_drops() -> None:
    windows = store()
    windows.add(KEY, {bin_of(0): 1.0}, 121)
    windows.watch(KEY, 60)
    assert len(windows.windows(KEY)) == 1
    windows.watch(KEY, 30)
    assert windows.windows(KEY) == ()
    with pytest.raises(ValueError):
        windows.watch(KEY, 0)


def test_memory_is_bounded_and_what_is_left_out_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    windows = store(max_windows=3, max_series=5)
    for minute in range(20):
        windows.add(KEY, {bin_of(0): 1.0}, 60.0 * minute)
    assert [w.start for w in windows.windows(KEY)] == [1020, 1080, 1140]
    windows.add(KEY, {bin_of(number): 1.0 for number in range(9)}, 1141)
    assert len(windows.windows(KEY)[-1].counts) == 5
    assert [record.message.count("further ones are not counted") for record in caplog.records] == [
        1
    ]
    for number in range(20):
        windows.add(KEY, {bin_of(0, f"sha256:{number}"): 1.0}, 1200.0 + 60 * number)
    assert len({w.baseline for w in windows.windows(KEY)}) == MAX_BASELINES


def test_saved_windows_go_on_and_leave_the_others_alone() -> None:
    windows = store()
    windows.add(KEY, {bin_of(0): 3.0, bin_of(1): 1.5}, 121)
    copy = WindowStore()
    copy.watch("shop/other", 60)
    copy.add("shop/other", {bin_of(0): 2.0}, 121)
    saved = windows.save(KEY)
    assert saved is not None
    copy.restore(KEY, saved)
    assert copy.windows(KEY) == windows.windows(KEY)
    copy.add(KEY, {bin_of(0): 1.0}, 122)
    assert sum(copy.windows(KEY)[0].counts.values()) == 5.5
    assert sum(windows.windows(KEY)[0].counts.values()) == 4.5
    assert sum(copy.windows("shop/other")[0].counts.values()) == 2
    assert windows.save("shop/other") is None


def test_what_reaches_back_into_an_earlier_window_is_left_out() -> None:
    windows = store()
    windows.add(KEY, {bin_of(0): 3.0}, 121, since=119)
    assert windows.windows(KEY) == ()
    windows.add(KEY, {bin_of(0): 3.0}, 121, since=120)
    assert sum(windows.windows(KEY)[0].counts.values()) == 3


def test_windows_of_a_clock_that_was_ahead_are_dropped() -> None:
    """They would be the newest ones for as long as it was ahead."""
    windows = store()
    windows.add(KEY, {bin_of(0): 3.0}, 3721)
    windows.add(KEY, {bin_of(0): 1.0}, 181)
    windows.add(KEY, {bin_of(0): 1.0}, 179.9)  # of another pod, a moment late
    assert [window.start for window in windows.windows(KEY)] == [120, 180]


def test_old_samples_of_another_pod_drop_nothing() -> None:
    """As those that a Prometheus kept while the operator was away."""
    windows = store()
    windows.add(KEY, {bin_of(0): 1.0}, 3721, clock=3730)
    windows.add(KEY, {bin_of(0): 1.0}, 181, clock=3730)
    assert [window.start for window in windows.windows(KEY)] == [180, 3720]
