"""What `trimtab replay` prints: one line a look, and the sum; or the same as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from trimtab.api.fields import format_time
from trimtab.cli.tables import columns
from trimtab.replay.looks import Look
from trimtab.replay.recording import Recording, shown


def as_text(recording: Recording, looks: Sequence[Look]) -> str:
    """Return what there was, one line a look, and the sum."""
    has_late = any(look.at > look.window.end for look in looks)
    judged = ("JUDGED",) if has_late else ()
    table = [("START", *judged, "SIGNAL", "N", "VALUE", "THRESHOLD", "VERDICT", "ACTION")]
    for look in looks:
        entry = look.entry
        table.append(
            (
                look.window.name,
                *((shown(look.at.timestamp()),) if has_late else ()),
                entry.kind,
                str(entry.n),
                _figure(entry.value),
                _figure(entry.threshold),
                entry.verdict,
                look.action or "-",
            )
        )
    lines = [*recording.notes, columns(table), "", _reference_text(recording)]
    return "\n".join([*lines, *_sums(looks), *_reasons(looks)])


def as_json(recording: Recording, looks: Sequence[Look]) -> str:
    """Return the same as one JSON object."""
    return json.dumps(
        {
            "reference": {"n": recording.baseline.n, **dict(_metrics(recording))},
            "notes": list(recording.notes),
            "windows": len(recording.windows),
            "looks": [
                {
                    "window": look.window.name,
                    "judged": format_time(look.at) if recording.is_timed else None,
                    "signal": look.entry.kind,
                    "n": look.entry.n,
                    "value": look.entry.value,
                    "threshold": look.entry.threshold,
                    "verdict": look.entry.verdict,
                    "action": look.action,
                    "message": look.entry.message,
                }
                for look in looks
            ],
        },
        indent=2,
    )


def _reference_text(recording: Recording) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in _metrics(recording))
    return f"reference: {recording.baseline.n} rows, {metrics or 'no labels'}"


def _metrics(recording: Recording) -> list[tuple[str, float]]:
    """Return the metrics of the reference over all its rows."""
    metrics = recording.baseline.metrics
    return [(one.metric, one.value) for one in metrics if one.slice == "all"]


def _sums(looks: Sequence[Look]) -> list[str]:
    lines = []
    for kind in dict.fromkeys(look.entry.kind for look in looks):
        own = [look for look in looks if look.entry.kind == kind]
        counted = Counter(look.entry.verdict for look in own)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.most_common())
        acted = sum(bool(look.action) for look in own)
        lines.append(f"{kind}: {len(own)} looks, {verdicts}; acted {acted} times")
    return lines


def _reasons(looks: Sequence[Look]) -> list[str]:
    """Say once a signal why there was nothing to judge."""
    reasons = {
        look.entry.kind: look.entry.message for look in looks if look.entry.verdict == "NoData"
    }
    return [f"{kind}: {message}" for kind, message in reasons.items()]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.4g}"
