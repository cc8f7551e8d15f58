"""`trimtab replay`: one line a look of a DriftPolicy over recorded rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from trimtab.api.drift_policy import DriftPolicy
from trimtab.cli.tables import columns
from trimtab.errors import SpecError
from trimtab.replay.looks import Look, replay
from trimtab.replay.recording import Recording
from trimtab.replay.rows import Columns, Reference, names, record
from trimtab.simulation.manifests import documents_of, yaml_files

WRONG_INPUT = 2


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument("policy", type=Path, metavar="POLICY.yaml")
    one.add_argument("--rows", type=Path, required=True, metavar="FILE", help=".csv or .parquet")
    reference = one.add_mutually_exclusive_group(required=True)
    reference.add_argument("--reference", type=Path, metavar="FILE", help="rows to compare with")
    reference.add_argument(
        "--reference-rows", type=_count, metavar="N", help="or the first N rows of --rows"
    )
    reference.add_argument(
        "--reference-until", type=_time, metavar="TIME", help="or the rows before a time"
    )
    one.add_argument("--time", metavar="COLUMN", help="Unix seconds or RFC 3339, else UTC")
    one.add_argument("--prediction", default="prediction", metavar="COLUMN")
    one.add_argument(
        "--probability",
        type=names,
        default=[],
        metavar="COLUMN",
        help="of the second of two classes; else one a class, in their order, with commas",
    )
    one.add_argument("--label", metavar="COLUMN", help="the truth; empty where it is not known")
    one.add_argument("--features", type=names, default=[], metavar="COLUMN,...")
    one.add_argument(
        "--rows-per-window", type=_count, metavar="N", help="instead of windows of the policy"
    )
    one.add_argument("--output", choices=("text", "json"), default="text")
    one.set_defaults(run=run_replay)


async def run_replay(options: argparse.Namespace) -> int:
    """Print the looks; 0, or 2 where the input is wrong."""
    try:
        policy = read_policy(options.policy)
        recording = record(
            options.rows,
            Columns(
                prediction=options.prediction,
                time=options.time,
                probability=tuple(options.probability),
                label=options.label,
                features=tuple(options.features),
            ),
            Reference(options.reference, options.reference_rows, options.reference_until),
            policy.spec.window,
            options.rows_per_window,
        )
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    looks = list(replay(policy, recording))
    print(as_json(recording, looks) if options.output == "json" else as_text(recording, looks))
    return 0


def read_policy(path: Path) -> DriftPolicy:
    """Return the one DriftPolicy of a file; SpecError if there is none, more, or a wrong one."""
    found = [
        document
        for file in yaml_files([path])
        for document in documents_of(file)
        if document.get("kind") == "DriftPolicy"
    ]
    if len(found) != 1:
        raise SpecError(f"{path}: one DriftPolicy is expected, there are {len(found)}")
    metadata = found[0].get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", "default")
    try:
        return DriftPolicy.model_validate(found[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{path}: {where}: {first['msg']}") from error


def as_text(recording: Recording, looks: Sequence[Look]) -> str:
    """Return what there was, one line a look, and the sum."""
    table = [("START", "SIGNAL", "N", "VALUE", "THRESHOLD", "VERDICT", "ACTION")]
    for look in looks:
        found = look.found
        table.append(
            (
                look.window.name,
                found.kind,
                str(found.n),
                _figure(found.value),
                _figure(found.threshold),
                found.verdict,
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
                    "signal": look.found.kind,
                    "n": look.found.n,
                    "value": look.found.value,
                    "threshold": look.found.threshold,
                    "verdict": look.found.verdict,
                    "action": look.action,
                    "message": look.found.message,
                }
                for look in looks
            ],
        },
        indent=2,
    )


def _reference_text(recording: Recording) -> str:
    known = ", ".join(f"{name} {value:.4f}" for name, value in _metrics(recording))
    return f"reference: {recording.baseline.n} rows, {known or 'no labels'}"


def _metrics(recording: Recording) -> list[tuple[str, float]]:
    """Return the metrics of the reference over all its rows."""
    found = recording.baseline.metrics
    return [(one.metric, one.value) for one in found if one.slice == "all"]


def _sums(looks: Sequence[Look]) -> list[str]:
    lines = []
    for kind in dict.fromkeys(look.found.kind for look in looks):
        own = [look for look in looks if look.found.kind == kind]
        counted = Counter(look.found.verdict for look in own)
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counted.most_common())
        acted = sum(bool(look.action) for look in own)
        lines.append(f"{kind}: {len(own)} looks, {verdicts}; acted {acted} times")
    return lines


def _reasons(looks: Sequence[Look]) -> list[str]:
    """Say once a signal why there was nothing to judge."""
    found = {
        look.found.kind: look.found.message for look in looks if look.found.verdict == "NoData"
    }
    return [f"{kind}: {message}" for kind, message in found.items()]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
