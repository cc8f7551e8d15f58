"""From the series of a serving process to what gates count."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from trimtab.contract import metrics as names
from trimtab.decide.rollout.measures import (
    ASIDE,
    TIMED,
    cells_of,
    comparing_of,
    measures_of,
    pair_measure,
    written,
)
from trimtab.stats.paired import GRID, CellCounts

V1, V2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
Key = tuple[str, frozenset[tuple[str, str]]]


def key(name: str, **labels: str) -> Key:
    return name, frozenset({("digest", V2), ("model", "m")} | set(labels.items()))


def pair_counts(counts: Mapping[str, float], digest: str, other: str) -> dict[float, float]:
    found = {d: counts.get(pair_measure(digest, other, d), 0.0) for d in GRID}
    return {d: count for d, count in found.items() if count > 0}


def timed(name: str, *, all_of_them: float, fast: float) -> dict[Key, float]:
    return {
        key(f"{name}_count"): all_of_them,
        key(f"{name}_bucket", le="0.25"): fast,
        key(f"{name}_bucket", le="+Inf"): all_of_them,
    }


def test_what_a_process_sets_aside_is_no_evidence_about_its_speed() -> None:
    series = {
        **timed(names.REQUEST_SECONDS, all_of_them=100.0, fast=70.0),
        **timed(names.ASIDE_SECONDS, all_of_them=20.0, fast=2.0),
    }
    found = measures_of(series, [V2])
    assert (found[TIMED], found["slow@0.25"], found[ASIDE]) == (80.0, 12.0, 20.0)


def test_a_process_that_sets_nothing_aside_is_counted_whole() -> None:
    found = measures_of(timed(names.REQUEST_SECONDS, all_of_them=100.0, fast=70.0), [V2])
    assert (found[TIMED], found["slow@0.25"]) == (100.0, 30.0)
    assert ASIDE not in found


@pytest.mark.parametrize("bound", ["abc", "", "0x1", "nan"])
def test_a_bucket_whose_bound_is_no_number_is_none(bound: str) -> None:
    series = timed(names.REQUEST_SECONDS, all_of_them=100.0, fast=70.0)
    series[key(f"{names.REQUEST_SECONDS}_bucket", le=bound)] = 5.0
    assert measures_of(series, [V2])["slow@0.25"] == 30.0


def test_more_set_aside_than_there_were_is_nothing_timed() -> None:
    series = {
        **timed(names.REQUEST_SECONDS, all_of_them=10.0, fast=1.0),
        **timed(names.ASIDE_SECONDS, all_of_them=20.0, fast=2.0),
    }
    assert measures_of(series, [V2])[TIMED] == 0.0


def test_parts_of_a_row_or_request_are_none() -> None:
    cell = {"against": V1, "served": "a", "other": "b", "difference": "1"}
    series = {
        key(names.PAIRED_REQUESTS, against=V1, difference="1"): 5e-324,
        key(names.PAIRED_OUTCOMES, **cell): 1e-316,
    }
    assert pair_counts(measures_of(series, [V2], [(V2, V1)]), V2, V1) == {}
    assert cells_of(series, V2, V1)["a", "b"].labels == 0


def test_a_page_with_too_many_cells_is_read_in_part() -> None:
    series = {
        key(names.PAIRED_PREDICTED, against=V1, served=str(n), other="b"): 1.0 for n in range(5000)
    }
    assert len(cells_of(series, V2, V1)) <= 121


def test_pairs_are_those_of_the_two_versions_alone() -> None:
    series = {
        key(names.REQUESTS_STARTED): 1.0,
        key(names.PAIRED_REQUESTS, against=V1, difference="1"): 3.0,
        key(names.PAIRED_REQUESTS, against=V1, difference="-0.25"): 2.0,
        key(names.PAIRED_REQUESTS, against=V2, difference="1"): 50.0,
        key(names.PAIRED_REQUESTS, against=V1, difference="nonsense"): 50.0,
    }
    counts = measures_of(series, [V2], [(V2, V1)])
    assert pair_counts(counts, V2, V1) == {-0.25: 2.0, 1.0: 3.0}
    assert pair_counts(measures_of(series, [V2]), V2, V1) == {}


def test_cells_are_rows_by_both_answers() -> None:
    series = {
        key(names.PAIRED_PREDICTED, against=V1, served="a", other="b"): 10.0,
        key(names.PAIRED_OUTCOMES, against=V1, served="a", other="b", difference="1"): 4.0,
        key(names.PAIRED_OUTCOMES, against=V1, served="a", other="b", difference="-1"): 2.0,
        key(names.PAIRED_PREDICTED, against=V2, served="a", other="b"): 99.0,
    }
    assert cells_of(series, V2, V1) == {("a", "b"): CellCounts(10.0, {1: 4.0, -1: 2.0})}


@pytest.mark.parametrize(
    ("tokens", "read"), [("2", 2), ("1", 1), (None, 1), ("x", 1), ("99999", 1), ("\u0662", 1)]
)
def test_which_tokens_a_process_reads_is_its_own_word(tokens: str | None, read: int) -> None:
    info = key(names.MODEL_INFO) if tokens is None else key(names.MODEL_INFO, tokens=tokens)
    assert comparing_of({info: 1.0}) == (read, "")


def test_which_tokens_it_reads_is_said_of_the_version_that_it_serves() -> None:
    own = key(names.MODEL_INFO, tokens="2", revision="r")
    others = [key(names.MODEL_INFO, version=f"v{n}") for n in range(3)]
    assert comparing_of(dict.fromkeys([others[0], own, *others[1:]], 1.0)) == (2, "")


def test_the_state_of_a_comparison_is_the_one_that_is_so_now() -> None:
    series = {
        key(names.COMPARE_STATE, against=V1, state="loading"): 0.0,
        key(names.COMPARE_STATE, against=V1, state="noMemory"): 1.0,
    }
    assert comparing_of(series) == (1, "noMemory")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.4, "0"),
        (4528.0, "4528"),
        (999_999_999.0, "999999999"),
        (1e9, "1.0e+09"),
        (1e100, "1.0e+100"),
    ],
)
def test_large_numbers_are_written_short(number: float, text: str) -> None:
    assert written(number) == text
