"""What counts of the time between two moments."""

from datetime import UTC, datetime, timedelta

import pytest

from trimtab.decide.led_time import Instant, led_between

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)

BETWEEN = {
    "led_all_the_time": (Instant(NOW, 100.0), Instant(LATER, 700.0), 600),
    "away_for_a_while": (Instant(NOW, 100.0), Instant(LATER, 160.0), 60),
    "the_clock_went_forward": (Instant(NOW, 100.0), Instant(NOW + timedelta(days=9), 160.0), 60),
    "the_clock_was_set_back": (Instant(NOW, 100.0), Instant(NOW - timedelta(minutes=9), 160.0), 60),
    "it_was_set_back_a_day": (Instant(NOW, 100.0), Instant(NOW - timedelta(days=1), 160.0), 60),
    "it_was_set_back_a_month": (
        Instant(NOW, 100.0),
        Instant(NOW - timedelta(days=30), 160.0),
        60,
    ),
    "begun_by_an_older_release": (Instant(NOW), Instant(LATER, 160.0), 600),
    "nobody_counts": (Instant(NOW, 100.0), Instant(LATER), 600),
    "killed_before_it_renewed": (Instant(NOW, 100.0), Instant(LATER, 98.0), 0),
    "the_lease_was_deleted": (Instant(NOW, 100.0), Instant(LATER, 3.0), 600),
    "another_lease": (Instant(NOW, 100.0), Instant(LATER, 1e8), 600),
}


@pytest.mark.parametrize(("then", "now", "seconds"), BETWEEN.values(), ids=BETWEEN.keys())
def test_only_time_in_which_an_operator_led_counts(
    then: Instant, now: Instant, seconds: float
) -> None:
    assert led_between(then, now) == timedelta(seconds=seconds)
