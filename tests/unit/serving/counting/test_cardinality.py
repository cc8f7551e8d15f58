"""How many series a page has is known before, and bounded however many labels come."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.serving.counting.test_outcomes import BASELINE, DIGEST, token
from tests.unit.serving.loopback import served_as, serving, vector
from tests.unit.serving.stored import KEY, Stored

from trimtab.contract.cardinality import MAX_HOURS, MOST_SERIES, cardinality, hours_told
from trimtab.lint.facts import Facts
from trimtab.lint.series import series_remarks, watched_bins
from trimtab.serving.counting.outcomes import Identity, Outcomes
from trimtab.serving.counting.rows import FeatureCounters
from trimtab.serving.settings import ServingSettings
from trimtab.telemetry.exposition import MAX_SERIES, Parser


@pytest.mark.parametrize("name", ["binary", "table", "regression"])
async def test_a_new_pod_has_the_series_that_lint_tells(
    settings: ServingSettings, name: str, request: pytest.FixtureRequest
) -> None:
    stored: Stored = request.getfixturevalue(name)
    async with serving(served_as(settings, stored)) as client:
        page = (await client.back.get("/metrics")).text
    series = [line for line in page.splitlines() if not line.startswith("#")]
    classes = stored.signature.classes
    known = cardinality(
        watched_bins(stored.baseline, stored.signature),
        len(stored.baseline.score_edges) + 1,
        len(classes),
        hours_told(settings.label_delay_seconds),
    )
    # Hours come as there are rows; of labels the right ones are there from the start.
    labels = len(classes) if classes else 4
    assert len(series) == known.without_labels - known.hours + labels
    (remark,) = series_remarks(Facts(baseline=stored.baseline, signature=stored.signature))
    assert f"a pod exports {known.without_labels} series" in remark.message
    assert remark.severity == "note"


async def test_labels_add_as_many_as_is_said(settings: ServingSettings, binary: Stored) -> None:
    async with serving(replace(settings, label_delay_seconds=0.0)) as client:
        for row in binary.rows[:60]:
            answer = (await client.infer(vector([row]))).json()
            given = answer["parameters"]["trimtab_token"]
            for actual in ("0", "1"):
                await client.back.post("/outcomes", json=[{"token": given, "actual": actual}])
        page = (await client.back.get("/metrics")).text
    series = [line for line in page.splitlines() if not line.startswith("#")]
    known = cardinality([5] * 4, len(binary.baseline.score_edges) + 1, 2, hours_told(0))
    assert len(series) <= known.total


def features(bins: int, count: int) -> list[int]:
    return [bins] * count


@pytest.mark.parametrize(
    ("bins", "classes", "hours", "counted"),
    [
        pytest.param(features(10, 300), 2, 170, 200, id="two_hundred_features"),
        pytest.param(features(997, 200), 2, 170, 10, id="many_bins"),
        pytest.param(features(40, 200), 2, MAX_HOURS, 108, id="labels_need_the_room"),
        pytest.param(features(50, 200), 1000, 0, 188, id="many_classes"),
        pytest.param([], 0, 0, 0, id="nothing"),
    ],
)
def test_features_are_counted_while_there_is_room(
    bins: list[int], classes: int, hours: int, counted: int
) -> None:
    known = cardinality(bins, 20, classes, hours)
    assert known.features_counted == counted
    assert known.without_labels <= MOST_SERIES


def test_lint_names_features_that_are_left_out(binary: Stored) -> None:
    one = binary.baseline.features[0]
    many = [one.model_copy(update={"name": f"f{n}", "counts": [0] * 900}) for n in range(20)]
    baseline = binary.baseline.model_copy(update={"features": many})
    told, left_out = series_remarks(Facts(baseline=baseline))
    assert (told.severity, left_out.severity) == ("warning", "warning")
    assert "publish fewer bins" in told.message
    assert "the bins of 9 of 20 features are not counted" in left_out.message


def test_the_runtime_counts_those_that_are_told(binary: Stored) -> None:
    counters = FeatureCounters(binary.signature, binary.baseline, (), hours_kept=5)
    names = [sample for family in counters.families() for sample, _ in family.samples]
    assert len(names) == counters.cardinality.features


def test_labels_without_end_leave_the_page_readable() -> None:
    classes = tuple(str(n) for n in range(30_000))
    own = Identity("digits", "v1", DIGEST, BASELINE)
    counted = Outcomes(KEY, own, classes, delay_hours=170, hour_now=lambda: 1000)
    reasons = set()
    for number in range(0, len(classes), 250):
        rows = classes[number : number + 250]
        given = token(
            number + 1, hour=1000 - number % 170, classes=rows, indices=tuple(range(len(rows)))
        )
        for result in counted.add([{"token": given, "actual": list(rows)}]):
            reasons.add(result.get("reason"))
    assert reasons == {None, "tooManyVersions"}
    lines = [name for family in counted.families() for name, _ in family.samples]
    assert len(lines) <= MOST_SERIES + 5 < MAX_SERIES
    # What has a series goes on being counted.
    again = token(99_999, hour=1000, classes=("7",), indices=(0,))
    assert counted.add([{"token": again, "actual": "7"}]) == [{"status": "counted", "rows": 1}]


def test_where_there_is_little_room_other_versions_are_told_by_right_and_wrong() -> None:
    own = Identity("digits", "v1", DIGEST, BASELINE)
    room = 2000
    counted = Outcomes(KEY, own, ("0", "1", "2"), delay_hours=168, hour_now=lambda: 1000, room=room)
    for number in range(1, 9):
        for hour in range(840, 1001):
            given = token(number * 1000 + hour, hour=hour, version=f"v0.{number}", indices=(0, 1))
            counted.add([{"token": given, "actual": ["1", "2"]}])
    page = [name for family in counted.families() for name, _ in family.samples]
    hourly = [name for name in page if name.startswith("trimtab_outcomes_by_hour_total")]
    assert len(page) <= room + 5
    assert any("predicted=" in name for name in hourly)
    assert any("predicted=" not in name for name in hourly)


def test_labels_of_rows_older_than_is_told_by_hour_count_in_all() -> None:
    own = Identity("digits", "v1", DIGEST, BASELINE)
    now = 2 * MAX_HOURS
    counted = Outcomes(KEY, own, ("0", "1"), delay_hours=now, hour_now=lambda: now)
    item = {"token": token(1, version="v1", hour=now - MAX_HOURS - 1), "actual": "1"}
    assert counted.add([item]) == [{"status": "counted", "rows": 1}]
    rows, hours, *_ = counted.families()
    assert sum(value for _, value in rows.samples) == 1
    assert not list(hours.samples)


async def test_the_page_of_a_pod_is_read_with_its_digests(
    settings: ServingSettings, binary: Stored
) -> None:
    async with serving(settings) as client:
        await client.infer(vector(binary.rows[:5]))
        page = (await client.back.get("/metrics")).text
    whole = {("digest", binary.digest), ("baseline", binary.baseline.digest)}
    assert all(whole <= labels for _, labels in Parser().parse(page).values)
