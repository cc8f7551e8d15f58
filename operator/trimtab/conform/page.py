"""The metrics page as numbers, and by how much they grow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from trimtab.conform.container import Container, shown
from trimtab.conform.rows import Failed, Skipped
from trimtab.contract.identity import ContradictoryIdentity, identities_of
from trimtab.contract.metrics import MODEL_INFO, Labels

POLL_SECONDS: Final = 0.02
ROUNDING: Final = 1e-6
"""Sums of probabilities are no whole numbers."""
Counts = Mapping[str, float]
Sample: TypeAlias = tuple[str, Mapping[str, str], float]
"""Name, labels and value."""


@dataclass(frozen=True)
class Page:
    """All samples of one look; each with the digest and baseline that the page says of it."""

    samples: tuple[Sample, ...]

    def of(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return labels and values of one metric."""
        return [(labels, value) for own, labels, value in self.samples if own == name]

    def has(self, name: str) -> bool:
        """Whether the metric has any series."""
        return any(own == name for own, _, _ in self.samples)

    def total(self, name: str, **wanted: str) -> float:
        """Return the sum over the series that have these labels."""
        return sum(
            value
            for labels, value in self.of(name)
            if all(labels.get(label) == wish for label, wish in wanted.items())
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the sums of one metric by the values of one label."""
        found: dict[str, float] = {}
        for labels, value in self.of(name):
            key = labels.get(label, "")
            found[key] = found.get(key, 0.0) + value
        return found

    def values(self, name: str, label: str) -> list[str]:
        """Return the values of one label, in the order of the page."""
        return list(dict.fromkeys(labels[label] for labels, _ in self.of(name) if label in labels))


async def look(container: Container) -> Page:
    """Return the page of now; raise Failed where it cannot be had or read."""
    response = await container.back.get("/metrics", headers={"accept": "text/plain"})
    if response.status_code != 200:
        raise Failed(shown(response), "answer GET /metrics on the second port with 200")
    try:
        samples = _read(response.text, container.lines)
    except (ValueError, IndexError, KeyError) as error:
        raise Failed(f"not Prometheus text: {str(error)[:120]}", "write text 0.0.4") from error
    broken = [name for name, _, value in samples if not math.isfinite(value) and is_ours(name)]
    if broken:
        raise Failed(f"{broken[0]} is not finite", "export finite numbers")
    return Page(_identified(samples))


def _identified(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Add what `trimtab_model_info` says; a page that contradicts itself stays as it is."""
    try:
        said = identities_of(infos(samples))
    except ContradictoryIdentity:
        return samples
    identities = {version: dict(labels) for version, labels in said.items()}

    def whole(labels: Mapping[str, str]) -> Mapping[str, str]:
        if labels.get("digest") or labels.get("baseline"):
            return labels
        version = labels.get("model", ""), labels.get("version", "")
        return {**labels, **identities.get(version, {})}

    return tuple((name, whole(labels), value) for name, labels, value in samples)


def infos(samples: Iterable[Sample]) -> Iterable[Labels]:
    """Return the labels of the series `trimtab_model_info`."""
    return (frozenset(labels.items()) for name, labels, _ in samples if name == MODEL_INFO)


def _read(text: str, known: dict[str, Sample]) -> tuple[Sample, ...]:
    """Return the samples of a page. Lines that were read before are remembered: most do not change.

    Raises ValueError, IndexError or KeyError as the parser does.
    """
    if not known:
        list(text_string_to_metric_families(text))  # types and comments, too
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    new = [line for line in dict.fromkeys(lines) if line not in known]
    read = [
        (sample.name, sample.labels, float(sample.value))
        for family in text_string_to_metric_families("\n".join(new))
        for sample in family.samples
    ]
    known.update(zip(new, read, strict=True))
    return tuple(known[line] for line in lines)


def is_ours(name: str) -> bool:
    """Whether the contract owns the name."""
    return name.startswith("trimtab_")


async def known_page(container: Container, *names: str) -> Page:
    """Return the page; Skipped where there is none at all, Failed where a metric is missing."""
    if not container.has_page:
        raise Skipped("needs `metrics page` to pass")
    page = await look(container)
    need(page, names)
    return page


def need(page: Page, names: Iterable[str]) -> None:
    """Raise Failed where a metric has no series."""
    missing = [name for name in names if not page.has(name)]
    if missing:
        raise Failed(f"no {', '.join(missing)}", "export it as trimtab/contract/metrics.py says")


async def growth(
    container: Container,
    act: Callable[[], Awaitable[Any]],
    measure: Callable[[Page], Counts],
    expected: Callable[[], Counts],
    *needed: str,
) -> dict[str, float]:
    """Return by how much each measure grew while `act` was done.

    Counters may lag, so the page is read until they reach `expected` or a limit has passed, and
    once more: what is counted twice comes late, too. Raises Failed where a `needed` metric is
    missing at the end.
    """
    before = measure(await known_page(container))
    await act()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + container.asked.settle_seconds
    while loop.time() < deadline:
        page = await look(container)
        if _is_reached(_grown(before, measure(page)), expected()):
            break
        await asyncio.sleep(POLL_SECONDS)
    page = await look(container)
    need(page, needed)
    return _grown(before, measure(page))


async def grows_by(
    container: Container,
    act: Callable[[], Awaitable[Any]],
    name: str,
    rows: int,
    do: str,
    **labels: str,
) -> None:
    """Raise Failed unless the sum of the series with these labels grew by exactly `rows`."""
    expected = {name: float(rows)}

    def measure(page: Page) -> Counts:
        return {name: page.total(name, **labels)}

    wrong = differences(await growth(container, act, measure, lambda: expected), expected)
    if wrong:
        raise Failed(wrong, do)


def _grown(before: Counts, after: Counts) -> dict[str, float]:
    names = dict.fromkeys([*before, *after])
    return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in names}


def _is_reached(grown: Counts, expected: Counts) -> bool:
    return all(grown.get(name, 0.0) >= wanted - ROUNDING for name, wanted in expected.items())


def differences(grown: Counts, expected: Counts) -> str:
    """Return where growth is not what was expected, in words; empty if it is everywhere."""
    names = dict.fromkeys([*expected, *grown])
    wrong = [
        f"{name} grew by {grown.get(name, 0.0):g} instead of {expected.get(name, 0.0):g}"
        for name in names
        if not math.isclose(grown.get(name, 0.0), expected.get(name, 0.0), abs_tol=ROUNDING)
    ]
    more = f" (+{len(wrong) - 3})" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more
