from datetime import timedelta

import pytest

from trimtab.decide.drift.windows import label_window


@pytest.mark.parametrize(
    ("minutes", "hours"), [(1, 1), (59, 1), (60, 1), (61, 2), (90, 2), (120, 2), (1440, 24)]
)
def test_labels_are_judged_by_whole_hours(minutes: int, hours: int) -> None:
    assert label_window(timedelta(minutes=minutes)) == timedelta(hours=hours)
