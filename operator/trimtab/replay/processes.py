"""Raw series of any source, a stretch of time at once, become readings that are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from trimtab.contract.metrics import MODEL_INFO, PROCESS_START
from trimtab.errors import SpecError
from trimtab.replay.counting import Counting
from trimtab.telemetry.hours import TOTAL_OF_HOURLY
from trimtab.telemetry.port import NoData
from trimtab.telemetry.prometheus_answer import RawSeries, Sampled, readings_of_process, source_of
from trimtab.telemetry.windows import WINDOWED_METRICS

Source = frozenset[tuple[str, str]]
WANTED = tuple(sorted({*WINDOWED_METRICS, *TOTAL_OF_HOURLY, MODEL_INFO, PROCESS_START}))
"""Names of the series that windows and late labels are made of, and of what explains them."""


class Processes:
    """Tells processes apart by the labels that a scrape configuration adds, and counts them."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._last: dict[Source, Sampled] = {}
        self._left_out: dict[Source, str] = {}

    def add(self, series: Iterable[RawSeries]) -> None:
        """Count a stretch of time, which follows the one before; SpecError as `Counting.add`."""
        by_source: dict[Source, list[RawSeries]] = {}
        for one in series:
            by_source.setdefault(source_of(one), []).append(one)
        sampled: list[tuple[Source, tuple[Sampled, ...]]] = []
        for source, own in by_source.items():
            # Other programs tell their start too.
            if source in self._left_out or all(_is_start(one) for one in own):
                continue
            readings = readings_of_process(own, self._last.get(source))
            if isinstance(readings, NoData):
                self._left_out[source] = readings.detail
            elif readings:
                self._last[source] = readings[-1]
                sampled.append((source, readings))
        _refuse_pods_scraped_twice(sampled)
        in_order = [(one, source) for source, readings in sampled for one in readings]
        for reading, source in sorted(in_order, key=lambda item: item[0].at):
            self._counting.add(_shown(source), reading)

    def notes(self) -> list[str]:
        """Say which processes are not counted, and why."""
        notes = [f"{_shown(source)} is left out: {why}" for source, why in self._left_out.items()]
        return sorted(notes)


def _refuse_pods_scraped_twice(sampled: Sequence[tuple[Source, tuple[Sampled, ...]]]) -> None:
    """Two sources of one pod at one time would count everything twice."""
    by_pod: dict[tuple[str, str], list[tuple[float, float, Source]]] = {}
    for source, readings in sampled:
        named = dict(source)
        if "pod" in named:
            key = named.get("namespace", ""), named["pod"]
            by_pod.setdefault(key, []).append((readings[0].at, readings[-1].at, source))
    for (_, pod), spans in by_pod.items():
        ordered = sorted(spans, key=lambda span: span[:2])
        for (_, end, one), (start, _, other) in pairwise(ordered):
            if start <= end:
                raise SpecError(
                    f"pod {pod} is scraped more than once: {_shown(one - other)}, and "
                    f"{_shown(other - one)}; choose one with --labels"
                )


def _is_start(series: RawSeries) -> bool:
    return series.metric["__name__"] == PROCESS_START


def _shown(source: Source) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(source))
