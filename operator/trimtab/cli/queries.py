"""The counters of a gate as PromQL: what a person pastes into Prometheus or Grafana.

The operator reads the pods' counters itself and never asks with `increase`, which extrapolates to
the ends of its window: the figures differ a little from those in status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from trimtab.api.durations import parse_duration
from trimtab.cli.seen import Seen
from trimtab.contract.metrics import (
    ASIDE_SECONDS,
    OUTCOMES,
    REJECTED_CODES,
    REQUEST_SECONDS,
    REQUEST_SECONDS_BUCKETS,
    REQUESTS,
)

USUAL_GATES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "errors", "bad": "errors"},
    {"name": "rejected", "bad": "rejected"},
    {"name": "slow", "bad": "slow", "slowerThan": "250ms"},
)
"""What a rollout that names none is judged by."""
SHORTEST_SECONDS: Final = 60
"""`increase` needs some samples in its window."""


@dataclass(frozen=True)
class Span:
    """A time that was judged; until: None for one that goes on."""

    since: datetime
    until: datetime | None
    seconds: int
    is_stretched: bool = False
    """Whether it looks further back than was judged, so that counts may be larger."""

    @classmethod
    def of(cls, since: datetime, until: datetime | None, now: datetime) -> Span:
        """Return the span, not so short that nothing would be in it."""
        seconds = int(((until or now) - since).total_seconds()) + 1
        return cls(since, until, max(SHORTEST_SECONDS, seconds), seconds < SHORTEST_SECONDS)

    @property
    def window(self) -> str:
        """As a range selector has it, with the time where it ends."""
        at = "" if self.until is None else f" @ {int(self.until.timestamp())}"
        return f"[{self.seconds}s]{at}"


@dataclass(frozen=True)
class Query:
    """Two expressions with a value for each version."""

    bad: str
    total: str


def gate_settings(deployment: Seen) -> dict[str, Seen]:
    """Return the gates of a Deployment by name, those of a rollout that names none included."""
    rollout = deployment.at("spec", "rollout")
    if rollout.text("strategy") == "rolling":
        return {}
    own = rollout.all("gates")
    gates = own if own or isinstance(rollout.at("gates").value, list) else map(Seen, USUAL_GATES)
    return {gate.text("name"): gate for gate in gates}


def gate_query(deployment: Seen, gate: Seen, versions: Sequence[str], span: Span) -> Query | None:
    """Return what a gate counts of these versions; None for one that counts something else."""
    model = deployment.text("spec", "model")
    wanted = _versions(versions)
    if not model or not wanted:
        return None
    own = [f"namespace={quoted(deployment.namespace)}", f"model={quoted(model)}", wanted]

    def counted(metric: str, *matchers: str, by: str = "version") -> str:
        selector = f"{metric}{{{', '.join([*own, *matchers])}}}"
        return f"sum by ({by}) (increase({selector}{span.window}))"

    bad = gate.text("bad")
    if bad == "errors":
        return Query(counted(REQUESTS, 'code=~"5.."'), counted(REQUESTS))
    if bad == "rejected":
        codes = f'code=~"{"|".join(sorted(REJECTED_CODES))}"'
        return Query(counted(REQUESTS, codes), counted(REQUESTS))
    if bad == "slow":
        return _slow(gate, counted)
    return _wrong(counted) if bad == "outcomes" else None


def _slow(gate: Seen, counted: Callable[..., str]) -> Query | None:
    """Return those above the bucket; what a process has set aside is no evidence."""
    try:
        wanted = parse_duration(gate.text("slowerThan")).total_seconds()
    except ValueError:
        return None
    bounds = REQUEST_SECONDS_BUCKETS
    bound = next((one for one in bounds if one >= wanted), bounds[-1])
    # Some libraries write the bound of a whole number with a point, and some do not.
    le = f"le=~{quoted(re.escape(f'{bound:g}') + r'([.]0)?')}"
    within = _without(
        counted(f"{REQUEST_SECONDS}_bucket", le), counted(f"{ASIDE_SECONDS}_bucket", le)
    )
    total = _without(counted(f"{REQUEST_SECONDS}_count"), counted(f"{ASIDE_SECONDS}_count"))
    return Query(f"{total} - ({within})", total)


def _without(all_of_them: str, aside: str) -> str:
    return f"{all_of_them} - ({aside} or 0 * {all_of_them})"


def _wrong(counted: Callable[..., str]) -> Query:
    """Return the labelled rows, and those of them where the label is another than the answer."""
    pairs = counted(OUTCOMES, by="version, predicted, actual")
    answers = f"max by (version, predicted) ({pairs})"
    right = f'label_replace({answers}, "actual", "$1", "predicted", "(.*)")'
    wrong = f"{pairs} unless on (version, predicted, actual) {right}"
    total = counted(OUTCOMES)
    return Query(f"sum by (version) ({wrong}) or 0 * {total}", total)


def _versions(versions: Sequence[str]) -> str:
    named = sorted({version for version in versions if version})
    if not named:
        return ""
    if len(named) == 1:
        return f"version={quoted(named[0])}"
    return f"version=~{quoted('|'.join(re.escape(one) for one in named))}"


def quoted(text: str) -> str:
    """Return a PromQL string, which is escaped as JSON is."""
    return json.dumps(text, ensure_ascii=False)
