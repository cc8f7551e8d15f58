"""Gates with their counts, and how far their evidence is on its way to the threshold."""

from __future__ import annotations

import math

from trimtab.cli.seen import Seen

BAR_CELLS = 10
_FULL, _EMPTY = "█", "░"


def evidence_ratio(gate: Seen) -> float | None:
    """Return log(evidence) / log(threshold), 0 to 1; None where nothing was judged.

    As `trimtab_gate_evidence_ratio` has it: 1 or more only where the gate has failed.
    """
    evidence, threshold = gate.number("evidence"), gate.number("threshold")
    if evidence is None or threshold is None or threshold <= 1:
        return None
    ratio = math.log(max(1.0, evidence)) / math.log(threshold)
    is_failed = gate.text("verdict") == "Fail"
    return max(1.0, ratio) if is_failed else min(ratio, math.nextafter(1.0, 0.0))


def bar(ratio: float) -> str:
    """Return a bar with the number: `[███░░░░░░░] 31%`; full only where it is 1 or more."""
    cells = min(BAR_CELLS, max(0, int(ratio * BAR_CELLS)))
    return f"[{_FULL * cells}{_EMPTY * (BAR_CELLS - cells)}] {min(int(ratio * 100), 999)}%"


def counted(gate: Seen) -> str:
    """Return the counts, as bad/total of candidate and stable."""
    counts = _pair(gate.at("candidate"))
    return f"{counts} against {_pair(gate.at('stable'))}" if gate.at("stable") else counts


def gate_line(gate: Seen) -> str:
    """Return a gate with its verdict, its counts and its evidence."""
    name, reason = gate.text("name"), gate.text("reason")
    threshold = gate.number("threshold")
    parts = [f"gate {name}", gate.text("verdict"), reason, counted(gate)]
    if threshold:
        parts.append(f"evidence {gate.number('evidence') or 0:.3g} of {threshold:g}")
    ratio = evidence_ratio(gate)
    if ratio is not None:
        parts.append(bar(ratio))
    return "  ".join(part for part in parts if part)


def _pair(count: Seen) -> str:
    return f"{count.number('bad') or 0:g}/{count.number('total') or 0:g}"
