"""What our own runtime exports, recorded as a user would, becomes the counts of its requests."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.unit.serving.loopback import Client, served_as, serving, vector
from tests.unit.serving.stored import Stored

from trimtab.cli.offline.artifacts import read_baseline
from trimtab.contract import metrics
from trimtab.replay.counting import Counting
from trimtab.replay.matching import Matchers
from trimtab.replay.openmetrics import read_scrapes
from trimtab.serving.settings import ServingSettings

T0 = 4_102_444_800
"""2100-01-01: the process is older, so the first page only says from where to count."""


async def record(client: Client, path: Path, at: int) -> None:
    """As `curl ... | sed "/^#/!s/$/ TIME/" >> FILE` does."""
    page = (await client.back.get("/metrics")).text
    with path.open("a") as file:
        for line in page.splitlines():
            file.write(f"{line}\n" if line.startswith("#") else f"{line} {at}\n")


async def test_pages_with_a_time_on_each_line_are_counted(
    binary: Stored, settings: ServingSettings, tmp_path: Path
) -> None:
    path = tmp_path / "pod.txt"
    async with serving(served_as(settings, binary)) as client:
        await client.infer(vector(binary.rows[:7]))
        await record(client, path, T0)
        for minute, rows in ((1, 20), (2, 30), (61, 50)):
            answer = await client.infer(vector(binary.rows[:rows]))
            assert answer.status_code == 200
            await record(client, path, T0 + 60 * minute)
        await record(client, path, T0 + 7200)
    baseline = read_baseline(str(binary.folder))
    assert baseline == binary.baseline
    counting = Counting(timedelta(hours=1), baseline.digest)
    # An hour between two pages is too long to share out, so say that pages came between.
    lines = path.read_text().splitlines()
    second = [line.rpartition(" ")[0] for line in lines if line.endswith(f" {T0 + 120}")]
    third = [line.rpartition(" ")[0] for line in lines if line.endswith(f" {T0 + 3660}")]
    for minute in range(3, 120):
        held = second if minute < 61 else third
        lines += [f"{line} {T0 + 60 * minute}" for line in held if minute != 61]
    path.write_text("\n".join(lines))
    notes = read_scrapes([path], Matchers(), counting)
    first, last = counting.windows()
    assert [*notes, *counting.notes()] == []
    for window, rows in ((first, 50), (last, 50)):
        assert window.counts is not None
        for name in (metrics.PREDICTED, metrics.SCORE_BIN, metrics.PROBABILITY_SUM):
            assert round(sum(v for (own, _), v in window.counts.items() if own == name), 6) == rows
        of_bins = [v for (own, _), v in window.counts.items() if own == metrics.FEATURE_BIN]
        assert sum(of_bins) == rows * len(baseline.features)
