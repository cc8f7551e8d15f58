"""`trimtab simulate`: play manifests without a cluster and print every decision."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trimtab.cli.arguments import number_of
from trimtab.cli.offline.manifest_check import read_object
from trimtab.cli.tables import columns
from trimtab.errors import SpecError
from trimtab.simulation.manifests import Folder, read_folder
from trimtab.simulation.play import ActResult, Line, Play, usual_scenario

MOST_ERRORS = 5
WRONG_INPUT = 2


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    one.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder or YAML file")
    one.add_argument(
        "-n",
        "--namespace",
        default=argparse.SUPPRESS,
        help="namespace of objects that name none (default: default)",
    )
    one.add_argument(
        "--minutes",
        type=number_of("minutes", 1440),
        default=10.0,
        help="simulated time where there is no simulation.yaml (default %(default)g)",
    )
    one.set_defaults(run=run_simulate)


async def run_simulate(options: argparse.Namespace) -> int:
    """Play what the arguments name."""
    return await simulate(options.paths, options.namespace or "default", options.minutes)


async def simulate(paths: Sequence[Path], namespace: str, minutes: float) -> int:
    """Print the play and its acts; 0 if it ended as the scenario says, else 1; 2: wrong input."""
    try:
        return await _played(paths, namespace, minutes)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT


async def _played(paths: Sequence[Path], namespace: str, minutes: float) -> int:
    started = time.monotonic()
    folder = read_folder(paths, namespace)
    scenario = folder.scenario or usual_scenario(folder, minutes)
    if folder.left_out:
        print(f"left out, as only objects of trimtab.dev are played: {'; '.join(folder.left_out)}")
    _refuse_errors(folder)
    play = Play(folder, scenario, tell=lambda line: print(line_text(line)))
    results = await play.run()
    print()
    print(acts_text(results))
    print()
    for problem in play.problems:
        print(f"not as expected: {problem}")
    took = time.monotonic() - started
    print(
        f"{clock(play.seconds)} of simulated time in {took:.1f} s; decided by the operator's own "
        "code, no cluster was touched"
    )
    return 1 if play.problems else 0


def _refuse_errors(folder: Folder) -> None:
    """Raise SpecError for what the API server, or `lint`, would refuse; nothing is played then."""
    wrong = [
        f"{file}: {document['kind']} {document['metadata']['name']}: {one.field}: {one.message}"
        for file, documents in folder.files.items()
        for document in documents
        for one in read_object(document)[1]
        if one.severity == "error"
    ]
    if wrong:
        more = len(wrong) - MOST_ERRORS
        told = [*wrong[:MOST_ERRORS], *([f"and {more} more, see trimtab lint"] if more > 0 else [])]
        raise SpecError("; ".join(told))


def clock(seconds: float) -> str:
    """Return minutes and seconds, such as `04:07`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def line_text(line: Line) -> str:
    """Return one line: time, object, what happened, the figures."""
    if line.is_title:
        return f"\n{line.message}"
    return f"{clock(line.at)}  {line.who:<16} {line.what:<18} {line.message}".rstrip()


def acts_text(results: Sequence[ActResult]) -> str:
    """Return the table of acts; wrong answers as a share of the answered requests."""
    rows = [("ACT", "SECONDS", "SERVING AFTER", "REQUESTS", "WRONG", "ERRORS", "LOST")]
    for result in results:
        wrong = f"{result.wrong / result.requests:.1%}" if result.requests else "-"
        rows.append(
            (
                result.title,
                f"{result.seconds:.0f}",
                result.serving or "-",
                str(result.requests),
                wrong,
                str(result.errors),
                str(result.lost),
            )
        )
    return columns(rows)
