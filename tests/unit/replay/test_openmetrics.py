"""Recorded text becomes the same windows as the operator's scrapes of the same pods."""

from __future__ import annotations

import gzip
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.replay.recorded import DAY, T0, baseline, scrape

from trimtab.contract import metrics
from trimtab.errors import SpecError
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.openmetrics import read_scrapes
from trimtab.replay.recording import RecordedWindow

HOUR = 3600.0


def counted(
    *files: Path, window: float = HOUR, matchers: Matchers | None = None
) -> tuple[tuple[RecordedWindow, ...], list[str]]:
    counting = Counting(timedelta(seconds=window), baseline().digest)
    notes = read_scrapes(files, matchers or Matchers(), counting)
    windows = counting.windows()
    return windows, [*notes, *counting.notes()]


def rows(window: RecordedWindow) -> float:
    return sum(v for (name, _), v in (window.counts or {}).items() if name == metrics.PREDICTED)


def test_snapshots_one_after_another_are_windows(tmp_path: Path) -> None:
    text = "".join(scrape(T0 + 60 * i, 3 * i, 2 * i, start=T0 - 5) + "# EOF\n" for i in range(130))
    path = tmp_path / "scrapes.txt"
    path.write_text(text)
    windows, notes = counted(path)
    assert [window.name for window in windows] == ["2026-01-01 00:00", "2026-01-01 01:00"]
    # The first scrape of an older process only says from where to count.
    assert [rows(window) for window in windows] == [59 * 5, 60 * 5]
    key = metrics.FEATURE_BIN, frozenset({("feature", "x"), ("bin", "1")})
    assert [(window.counts or {})[key] for window in windows] == [59 * 2, 60 * 2]
    assert notes == []


def test_digests_on_each_series_as_before_make_the_same_windows(tmp_path: Path) -> None:
    files = []
    for is_whole in (False, True):
        parts = (scrape(T0 + 60 * i, 3 * i, i, start=T0 - 5, is_whole=is_whole) for i in range(130))
        files.append(tmp_path / f"{is_whole}.txt")
        files[-1].write_text("".join(parts))
    new, before = (counted(file) for file in files)
    assert new == before
    assert rows(new[0][0]) == 59 * 4


def test_a_recording_without_digests_says_what_is_missing(tmp_path: Path) -> None:
    text = "".join(scrape(T0 + 60 * i, i, 0, start=T0 - 5, source='pod="a",') for i in range(62))
    path = tmp_path / "scrapes.txt"
    path.write_text("\n".join(line for line in text.splitlines() if "model_info" not in line))
    counting = Counting(timedelta(hours=1), baseline().digest)
    (note,) = read_scrapes([path], Matchers(), counting)
    assert note.startswith("pod=a is left out")
    assert "export trimtab_model_info with model, version, digest, baseline" in note


def test_order_of_lines_repeats_and_files_do_not_matter(tmp_path: Path) -> None:
    source = 'namespace="shop",pod="a",'
    parts = [scrape(T0 + 60 * i, 3 * i, i, start=T0 - 5, source=source) for i in range(130)]
    (tmp_path / "all.txt").write_text("".join(parts))
    lines = [line for part in reversed(parts) for line in part.splitlines()]
    (tmp_path / "late.txt").write_text("\n".join(lines[: len(lines) // 2]))
    with gzip.open(tmp_path / "early.txt.gz", "wt") as file:
        file.write("\n".join(lines[len(lines) // 3 :]))
    once, _ = counted(tmp_path / "all.txt")
    again, _ = counted(tmp_path / "late.txt", tmp_path / "early.txt.gz")
    assert once == again


def test_a_restart_is_seen_by_the_start_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "scrapes.txt"
    path.write_text(
        scrape(T0 + 60, 100, 0, start=T0 - 5)
        + scrape(T0 + 120, 110, 0, start=T0 - 5)
        + scrape(T0 + 180, 115, 0, start=T0 + 130)  # Has already overtaken the old value.
        + scrape(T0 + HOUR + 1, 115, 0, start=T0 + 130)
    )
    windows, _ = counted(path)
    assert [rows(window) for window in windows] == [10 + 115]


def test_pods_are_summed_and_their_ends_told(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    text = ""
    for pod, born, died in (("a", 0, 130), ("b", 30, 70), ("c", 70, 130)):
        source = f'instance="10.0.0.{ord(pod)}:9090",pod="{pod}",'
        for i in range(born, died):
            done = 10 * (i - born) + (10 if born else 0)
            text += scrape(T0 + 60 * i, done, 0, start=T0 + 60 * born - 1, source=source)
    path.write_text(text)
    windows, notes = counted(path)
    # b is born between two scrapes and counts from zero; a was there before and does not.
    assert [rows(window) for window in windows] == [59 * 10 + 30 * 10, 600 + 100 + 500]
    assert notes == [
        "1 of 3 processes ended within the recording; what each counted after its last reading "
        "is not in it"
    ]


def test_only_the_pods_that_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(
        "".join(
            scrape(T0 + 60 * i, i, 0, start=T0 - 9, source=f'namespace="{ns}",pod="{pod}",')
            for i in range(130)
            for ns, pod in (("shop", "digits-a"), ("shop", "other-b"), ("test", "digits-c"))
        )
    )
    windows, _ = counted(path, matchers=Matchers("shop", "digits-.*"))
    assert [rows(window) for window in windows] == [59, 60]


def test_milliseconds_exemplars_and_stale_markers_are_understood(tmp_path: Path) -> None:
    """As `promtool tsdb dump` writes them: braces first, milliseconds, NaN where a pod ended."""
    path = tmp_path / "dump.txt"
    own = f'model="m",version="v1",digest="d",baseline="{baseline().digest}",class="no"'
    path.write_text(
        "".join(
            f'{{__name__="trimtab_predicted_total",{own}}} {i} {int((T0 + 60 * i) * 1000)}'
            + (' # {trace_id="x y"} 0.1 5\n' if i % 2 else "\n")
            for i in range(62)
        )
        + f'{{__name__="trimtab_predicted_total",{own}}} NaN {int((T0 + 62 * 60) * 1000)}\n'
    )
    windows, notes = counted(path)
    assert [rows(window) for window in windows] == [59]
    assert notes == ["1 values are no numbers, as where a pod ended, and left out"]


def test_another_baseline_is_left_out_and_named(tmp_path: Path) -> None:
    other = "sha256:" + "5" * 64
    path, second = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("".join(scrape(T0 + 60 * i, i, 0, start=T0 - 9) for i in range(62)))
    second.write_text(
        "".join(scrape(T0 + 60 * i, i, 0, start=T0 - 9, digest=other) for i in range(62))
    )
    windows, notes = counted(path, second)
    assert [rows(window) for window in windows] == [59]
    assert notes == ["counts of 1 other baselines are left out: sha256:555555555555"]


def test_what_nobody_can_share_out_between_windows_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    times = [*range(0, 50, 5), *range(80, 190, 5)]
    path.write_text("".join(scrape(T0 + 60 * i, i, 0, start=T0 - 9) for i in times))
    windows, notes = counted(path)
    assert [rows(window) for window in windows] == [45, 115 - 80, 60]
    assert any("more than a tenth of a window" in note for note in notes)


def test_windows_shorter_than_a_minute_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(scrape(T0 + i, i, 0, start=T0 - 9) for i in range(61)))
    windows, _ = counted(path, window=30)
    assert [window.name for window in windows] == ["2026-01-01 00:00", "2026-01-01 00:00:30"]


def test_silence_is_a_window_without_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    times = [*range(5), *range(150, 190)]
    path.write_text("".join(scrape(T0 + 60 * i, i, 0, start=T0 - 9) for i in times))
    windows, _ = counted(path)
    assert [window.counts is None for window in windows] == [False, True, False]


def test_a_pod_that_is_scraped_by_two_jobs_would_count_twice(tmp_path: Path) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(
        "".join(
            scrape(T0 + 60 * i, i, 0, start=T0 - 9, source=f'job="{job}",pod="a",')
            for i in range(130)
            for job in ("pods", "services")
        )
    )
    with pytest.raises(SpecError, match="pod a is scraped more than once: job=pods, and job=serv"):
        counted(path)
    windows, _ = counted(path, matchers=Matchers(labels={"job": "pods"}))
    assert [rows(window) for window in windows] == [59, 60]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("trimtab_predicted_total 5\n", "line 1 is not a series, its value", id="time"),
        pytest.param('a{b="c d"} 5\n', "line 1 is not a series, its value", id="time_labels"),
        pytest.param("# x\n<html>\n", "line 2 is not a series", id="html"),
        pytest.param('a{b="c} 5 6\n', "line 1 is not a series", id="quotes"),
        pytest.param("trimtab_predicted_total five 6\n", "line 1 is not a series", id="value"),
        pytest.param("trimtab_predicted_total 5 -6\n", "no time in seconds", id="negative_time"),
        pytest.param("trimtab_predicted_total 5 nan\n", "no time in seconds", id="nan_time"),
        pytest.param("", "no reading of a model's counters", id="empty"),
        pytest.param("up 1 1767225600\n", "no reading of a model's counters", id="others"),
        pytest.param(
            "trimtab_predicted_total 5 1767225600\ntrimtab_predicted_total 6 1767225600\n",
            "two values at 1767225600.000; are two pods in one file?",
            id="two_at_once",
        ),
        pytest.param(
            scrape(T0, 1, 1, start=T0 - 5) + scrape(T0 + 60, 1, 1, start=T0 - 50),
            "are two pods one here?",
            id="two_pods",
        ),
        pytest.param(scrape(T0, 1, 1), "no window of 1:00:00 is over", id="short"),
    ],
)
def test_wrong_text_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match=said.replace("?", r"\?")):
        counted(path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="cannot be read"):
        counted(path)
    with pytest.raises(SpecError, match="cannot be read"):
        counted(tmp_path / "absent.txt")


@given(
    steps=st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=2, max_size=40),
    seed=st.randoms(use_true_random=False),
)
def test_whatever_restarts_the_sum_is_what_was_counted_between_scrapes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool]], seed: object
) -> None:
    value, start, expected = 0, T0 - 9, 0
    parts = []
    for i, (grown, restarts) in enumerate(steps):
        if restarts and i:
            value, start = 0, T0 + 60 * i - 30
        value += grown
        expected += grown if i else 0
        parts.append(scrape(T0 + 60 * i, value, 0, start=start))
    seed.shuffle(parts)  # type: ignore[attr-defined]
    path = tmp_path_factory.mktemp("steps") / "a.txt"
    path.write_text("".join(parts))
    counting = Counting(timedelta(seconds=DAY), baseline().digest)
    read_scrapes([path], Matchers(), counting)
    (window,) = counting.windows(until=T0 + DAY)
    assert rows(window) == expected
