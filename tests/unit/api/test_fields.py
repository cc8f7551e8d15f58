"""Durations, shares and times: what is read, what is refused, what is written."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trimtab.api.durations import LONGEST, parse_duration
from trimtab.api.fields import (
    format_duration,
    format_share,
    format_time,
    parse_day,
    parse_share,
    parse_time,
)
from trimtab.api.rollout import Gate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("1.5m", 90), ("24h", 86_400), ("90m", 5400)],
)
def test_reads_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "0s",
        "-1s",
        "1d",
        "1 h",
        "30s\n",
        "1h ",
        "0.1ms",
        "87601h",
        "9" * 19 + "h",
        None,
        5,
    ],
)
def test_refuses_other_durations(text: object) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(milliseconds=1), max_value=LONGEST))
def test_durations_come_back_to_the_millisecond(duration: timedelta) -> None:
    text = format_duration(duration)
    assert abs(parse_duration(text) - duration) <= timedelta(milliseconds=0.5)
    assert len(text) <= 20


@pytest.mark.parametrize(
    ("text", "share"), [("0%", 0), ("0.5%", 0.005), ("100%", 1), ("99.9999%", 0.999999)]
)
def test_reads_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("value", ["", "5", "-1%", "101%", "1e1%", "5 %", "5%\n", True, 5, -0.1])
def test_refuses_other_shares(value: object) -> None:
    with pytest.raises(ValueError):
        parse_share(value)


@given(st.integers(min_value=0, max_value=1_000_000))
def test_shares_come_back_to_the_fourth_decimal(millionths: int) -> None:
    share = millionths / 1_000_000
    assert parse_share(format_share(share)) == pytest.approx(share, abs=1e-12)


def test_code_hands_over_fractions() -> None:
    assert Gate(name="g", bad="errors", limit=0.01).to_json()["limit"] == "1%"
    with pytest.raises(ValidationError, match="fraction"):
        Gate(name="g", bad="errors", limit=25)


@pytest.mark.parametrize(
    "text", ["2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00.000000Z"]
)
def test_reads_times_with_a_zone(text: str) -> None:
    assert parse_time(text) == datetime(2026, 11, 1, tzinfo=UTC)
    assert format_time(parse_time(text)) == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize("text", ["2026-11-01", "2026-11-01T00:00:00", "now", 0, None])
def test_refuses_times_without_a_zone(text: object) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_what_is_no_share_is_told_the_bounds() -> None:
    with pytest.raises(ValueError, match="'150%' is not a share from 0% to 100%, such as 5%"):
        parse_share("150%")


def test_reads_days_of_json_and_of_yaml() -> None:
    assert parse_day("2027-06-30") == parse_day(date(2027, 6, 30)) == date(2027, 6, 30)


@pytest.mark.parametrize(
    "text",
    ["", "2027-02-30", "2027-6-3", "20270630", "2027-W26-3", "2027-06-30\n", 20270630, None,
     datetime(2027, 6, 30, tzinfo=UTC)],
)  # fmt: skip
def test_refuses_other_days(text: object) -> None:
    with pytest.raises(ValueError):
        parse_day(text)
