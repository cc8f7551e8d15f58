"""`trimtab replay`: one line a look of a DriftPolicy over what was recorded."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from trimtab.api.drift_policy import DriftPolicy
from trimtab.cli.offline.artifacts import read_baseline
from trimtab.cli.offline.baseline_arguments import add_baseline, add_credentials
from trimtab.cli.offline.replay_output import as_json, as_text
from trimtab.decide.drift.windows import late_label_delay
from trimtab.errors import SpecError
from trimtab.replay.columns import Columns
from trimtab.replay.counting import Counting
from trimtab.replay.data_watch import ReadingsWatch
from trimtab.replay.looks import replay
from trimtab.replay.matching import Matchers
from trimtab.replay.openmetrics import read_scrapes
from trimtab.replay.plot import SUFFIXES, plot
from trimtab.replay.prometheus_range import TOKEN_VARIABLE, Access, Span, open_reader, read_range
from trimtab.replay.recording import Recording
from trimtab.replay.rows import Reference, names, record
from trimtab.simulation.manifests import documents_of, yaml_files

WRONG_INPUT = 2


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument("policy", type=Path, metavar="POLICY.yaml", help="the DriftPolicy")
    source = one.add_mutually_exclusive_group(required=True)
    source.add_argument("--rows", type=Path, metavar="FILE", help="recorded rows: .csv or .parquet")
    source.add_argument(
        "--openmetrics",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="recorded scrapes, a time on each line; also .gz, or - for the standard input",
    )
    source.add_argument("--prometheus", metavar="URL", help="a Prometheus, Thanos or Mimir")
    one.add_argument(
        "--output", choices=("text", "json"), default="text", help="form of the result"
    )
    one.add_argument(
        "--plot", type=_picture, metavar="FILE", help=f"draw a picture: {', '.join(SUFFIXES)}"
    )
    _add_rows(one.add_argument_group("with --rows"))
    _add_scrapes(one.add_argument_group("with --openmetrics and --prometheus"))
    _add_prometheus(one.add_argument_group("with --prometheus"))
    one.set_defaults(run=run_replay)


def _add_rows(one: argparse._ArgumentGroup) -> None:
    reference = one.add_mutually_exclusive_group()
    reference.add_argument("--reference", type=Path, metavar="FILE", help="rows to compare with")
    reference.add_argument(
        "--reference-rows",
        type=_count,
        metavar="N",
        help="or compare with the first N rows of --rows",
    )
    reference.add_argument(
        "--reference-until",
        type=_time,
        metavar="TIME",
        help="or compare with the rows before a time",
    )
    one.add_argument(
        "--time",
        metavar="COLUMN",
        help="column of the time: Unix seconds or RFC 3339 (without a zone: UTC)",
    )
    one.add_argument(
        "--prediction",
        default="prediction",
        metavar="COLUMN",
        help="column of the predicted class, or of a regression's value (default %(default)s)",
    )
    one.add_argument(
        "--probability",
        type=names,
        default=[],
        metavar="COLUMN",
        help="column of the probability of the second class; with more classes one column for "
        "each, in their order, separated by commas",
    )
    one.add_argument("--label", metavar="COLUMN", help="column of the truth; empty if not known")
    one.add_argument(
        "--features",
        type=names,
        default=[],
        metavar="COLUMN,...",
        help="columns of the features to watch",
    )
    one.add_argument(
        "--rows-per-window",
        type=_count,
        metavar="N",
        help="rows in a window, instead of the policy's time",
    )


def _add_scrapes(one: argparse._ArgumentGroup) -> None:
    add_baseline(one)
    add_credentials(one)
    one.add_argument(
        "--namespace", dest="of_namespace", metavar="NAME", help="namespace of the pods"
    )
    one.add_argument("--pod-regex", metavar="REGEX", help="regular expression of the pods' names")
    one.add_argument(
        "--labels", type=_labels, default={}, metavar="NAME=VALUE,...", help="labels of the scrapes"
    )


def _add_prometheus(one: argparse._ArgumentGroup) -> None:
    one.add_argument(
        "--from", dest="start", type=_time, metavar="TIME", help="start, such as 2026-01-31T08:00"
    )
    one.add_argument("--to", dest="end", type=_time, metavar="TIME", help="end (default: now)")
    one.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with a bearer token (default: ${TOKEN_VARIABLE})",
    )
    one.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="PEM file of a private certificate authority"
    )
    one.add_argument("--org-id", metavar="ID", help="tenant of a Mimir")


async def run_replay(options: argparse.Namespace) -> int:
    """Print the looks; 0, or 2 where the input is wrong."""
    try:
        policy = read_policy(options.policy)
        recording = await _record(options, policy)
        looks = list(replay(policy, recording))
        if options.plot is not None:
            plot(policy, recording, looks, options.plot)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    print(as_json(recording, looks) if options.output == "json" else as_text(recording, looks))
    return 0


async def _record(options: argparse.Namespace, policy: DriftPolicy) -> Recording:
    if options.rows is not None:
        return _of_rows(options, policy)
    if options.baseline is None:
        raise SpecError("--openmetrics and --prometheus need --baseline, of the model that served")
    matchers = Matchers(options.of_namespace, options.pod_regex, options.labels)
    baseline = read_baseline(options.baseline, options.credentials)
    watch = ReadingsWatch(policy.spec, baseline)
    delay = late_label_delay(policy.spec)
    counting = Counting(policy.spec.window, baseline.digest, delay, watch)
    until: float | None = None
    if options.prometheus is None:
        notes = read_scrapes(options.openmetrics, matchers, counting)
    else:
        span = _span(options)
        until = span.end.timestamp()
        access = Access(options.token_file, options.ca_file, options.org_id)
        reader = open_reader(options.prometheus, access)
        try:
            notes = await read_range(reader, matchers, span, counting)
        finally:
            await reader.close()
    windows, labels = counting.windows(until), counting.labels(until)
    if all(window.counts is None for window in windows) and not labels:
        notes.append(f"nothing was counted of the baseline {baseline.digest[:19]}")
    notes += counting.notes()
    return Recording(baseline, windows, tuple(notes), labels, counting.data())


def _of_rows(options: argparse.Namespace, policy: DriftPolicy) -> Recording:
    delay = max((s.label_delay for s in policy.spec.signals if s.label_delay), default=None)
    reference = Reference(options.reference, options.reference_rows, options.reference_until)
    if reference == Reference():
        raise SpecError("rows need a reference: --reference, --reference-rows or --reference-until")
    columns = Columns(
        prediction=options.prediction,
        time=options.time,
        probability=tuple(options.probability),
        label=options.label,
        features=tuple(options.features),
    )
    window, rows = policy.spec.window, options.rows_per_window
    recording = record(options.rows, columns, reference, window, rows, delay)
    if not columns.features and any(signal.kind == "inputs" for signal in policy.spec.signals):
        raise SpecError("the policy has a signal of inputs, and --features is missing")
    return recording


def _span(options: argparse.Namespace) -> Span:
    now = datetime.now(UTC)
    if options.start is None:
        raise SpecError("--prometheus needs --from")
    end = now if options.end is None else min(options.end, now)
    if options.start >= end:
        raise SpecError("--from must be before --to, and in the past")
    return Span(options.start, end)


def read_policy(path: Path) -> DriftPolicy:
    """Return the one DriftPolicy of a file; SpecError if there is none, more, or a wrong one."""
    documents = [
        document
        for file in yaml_files([path])
        for document in documents_of(file)
        if document.get("kind") == "DriftPolicy"
    ]
    if len(documents) != 1:
        raise SpecError(f"{path}: one DriftPolicy is expected, there are {len(documents)}")
    metadata = documents[0].get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", "default")
    try:
        return DriftPolicy.model_validate(documents[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{path}: {where}: {first['msg']}") from error


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _labels(text: str) -> dict[str, str]:
    labels = {}
    for part in names(text):
        name, is_there, value = part.partition("=")
        if not is_there:
            raise argparse.ArgumentTypeError(f"{part!r} is not a label such as job=pods")
        labels[name.strip()] = value.strip()
    return labels


def _picture(text: str) -> Path:
    if not text.endswith(SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text!r} must end in {', '.join(SUFFIXES)}")
    return Path(text)
