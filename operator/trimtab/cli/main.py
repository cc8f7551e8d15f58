"""`trimtab`, also `kubectl trimtab`: arguments in, one command out, errors in one line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from trimtab import __version__
from trimtab.api.fields import parse_duration
from trimtab.api.resource import Resource
from trimtab.cli.api import ApiServer, usual_namespace
from trimtab.cli.command import command
from trimtab.cli.names import key_of_target
from trimtab.cli.offline.conform import add_arguments as add_conform
from trimtab.cli.offline.lint import add_arguments as add_lint
from trimtab.cli.offline.replay import add_arguments as add_replay
from trimtab.cli.offline.simulate import simulate
from trimtab.cli.retrain import retrain
from trimtab.cli.session import Session
from trimtab.cli.tree import get
from trimtab.cli.why import why
from trimtab.cluster.port import DEPLOYMENTS, OWN_KINDS
from trimtab.errors import SpecError, TrimtabError

WAIT_SECONDS = 10.0
_NAMESPACE = "default: the namespace of the kubeconfig's context"
_CONTEXT = "context of the kubeconfig (default: the current one)"
_DEPLOYMENT = "the Deployment"
INTERRUPTED = 130

Command = Callable[[Session, argparse.Namespace], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 success, 1 refused or failed, 2 wrong usage or input, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        code: int = asyncio.run(options.run(options))
        sys.stdout.flush()
    except TrimtabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    root = argparse.ArgumentParser(
        prog="trimtab", description="Keeps machine-learning models good after they ship."
    )
    root.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    root.add_argument("-n", "--namespace", help=_NAMESPACE)
    root.add_argument("--context", help=_CONTEXT)
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    _add_looks(commands)
    _add_verbs(commands)
    _add_simulate(commands)
    _add_offline(commands)
    return root


def on_cluster(run: Command) -> Callable[[argparse.Namespace], Awaitable[int]]:
    """Return the command with a connection that is closed after it."""

    async def connected(options: argparse.Namespace) -> int:
        server = await ApiServer.connect(options.context)
        try:
            namespace = options.namespace or usual_namespace(options.context)
            return await run(Session(server, namespace), options)
        finally:
            await server.close()

    return connected


# --- the commands -------------------------------------------------------------------------------


async def _get(session: Session, options: argparse.Namespace) -> int:
    key = None
    if options.target is not None:
        key = key_of_target(options.target, session.namespace, DEPLOYMENTS)
    return await get(session, key, watch=options.watch, clear=sys.stdout.isatty())


async def _why(session: Session, options: argparse.Namespace) -> int:
    return await why(session, key_of_target(options.target, session.namespace, *OWN_KINDS))


async def _command(session: Session, options: argparse.Namespace) -> int:
    key = key_of_target(options.target, session.namespace, DEPLOYMENTS)
    return await command(session, key, options.verb, options.argument, options.wait)


async def _retrain(session: Session, options: argparse.Namespace) -> int:
    key = key_of_target(options.target, session.namespace, DEPLOYMENTS)
    return await retrain(session, key, options.since)


async def _simulate(options: argparse.Namespace) -> int:
    return await simulate(options.paths, options.namespace or "default", options.minutes)


# --- the arguments ------------------------------------------------------------------------------

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add_looks(commands: Commands) -> None:
    add = _adder(commands)
    shown = add("get", "show Deployments with their versions, policies and retrainings", _get)
    shown.add_argument(
        "target", nargs="?", type=_deployment, metavar="mdep/NAME", help="default: all"
    )
    shown.add_argument("-w", "--watch", action="store_true", help="keep showing it as it changes")
    reasons = add("why", "explain the last decisions on an object, with their evidence", _why)
    reasons.add_argument(
        "target",
        type=_any_kind,
        metavar="mdep/NAME|dp/NAME|rj/NAME|mv/NAME",
        help="the object to explain",
    )


def _add_verbs(commands: Commands) -> None:
    add = _adder(commands)
    for verb, text in (
        ("promote", "promote the candidate now, without further steps"),
        ("abort", "roll the candidate back and quarantine it"),
        ("pause", "hold the rollout where it is"),
        ("resume", "go on with a paused rollout"),
        ("retry", "lift the quarantine of a version, so that it may be tried again"),
        ("rollback", "return to the last good version, or to another one"),
    ):
        one = add(verb, text, _command)
        one.add_argument("target", type=_deployment, metavar="mdep/NAME", help=_DEPLOYMENT)
        one.set_defaults(verb=verb, argument=None)
        one.add_argument(
            "--wait",
            type=_seconds,
            default=WAIT_SECONDS,
            metavar="SECONDS",
            help="how long to wait until it is carried out (default %(default)g; 0: not at all)",
        )
        if verb == "retry":
            one.add_argument(
                "argument",
                nargs="?",
                type=_version,
                metavar="VERSION",
                help="version or revision (default: the one that is wanted now)",
            )
        if verb == "rollback":
            one.add_argument(
                "--to",
                dest="argument",
                type=_version,
                metavar="VERSION",
                help="version to return to (default: the last good one)",
            )
    manual = add("retrain", "retrain now, as the DriftPolicy of the Deployment says", _retrain)
    manual.add_argument("target", type=_deployment, metavar="mdep/NAME", help=_DEPLOYMENT)
    manual.add_argument(
        "--since",
        type=_duration,
        metavar="DURATION",
        help="learn from the rows of the last 24h or the like (default: the window that fired, or "
        "else all rows)",
    )


def _add_simulate(commands: Commands) -> None:
    text = "play manifests without a cluster and print every decision"
    one = commands.add_parser("simulate", help=text, description=text)
    one.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folder or YAML file")
    one.add_argument(
        "-n",
        "--namespace",
        default=argparse.SUPPRESS,
        help="namespace of objects that name none (default: default)",
    )
    one.add_argument(
        "--minutes",
        type=_minutes,
        default=10.0,
        help="simulated time where there is no simulation.yaml (default %(default)g)",
    )
    one.set_defaults(run=_simulate)


def _add_offline(commands: Commands) -> None:
    text = "run a DriftPolicy over recorded rows or counters and print each verdict"
    add_replay(commands.add_parser("replay", help=text, description=text))
    text = "check manifests before they are applied"
    add_lint(commands.add_parser("lint", help=text, description=text))
    text = "check a running container against the serving contract"
    add_conform(commands.add_parser("conform", help=text, description=text))


def _adder(commands: Commands) -> Callable[[str, str, Command], argparse.ArgumentParser]:
    def add(name: str, text: str, run: Command) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        # Where they are left out here, those before the command count.
        nothing = argparse.SUPPRESS
        one.add_argument("-n", "--namespace", default=nothing, help=_NAMESPACE)
        one.add_argument("--context", default=nothing, help=_CONTEXT)
        one.set_defaults(run=on_cluster(run))
        return one

    return add


def _deployment(text: str) -> str:
    return _target(text, DEPLOYMENTS)


def _any_kind(text: str) -> str:
    return _target(text, *OWN_KINDS)


def _target(text: str, *allowed: Resource) -> str:
    """Return the text; which namespace is meant is known later."""
    try:
        key_of_target(text, "default", *allowed)
    except SpecError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _version(text: str) -> str:
    if "/" in text:
        raise argparse.ArgumentTypeError(f"{text}: a version or revision has no slash")
    return text


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {what}") from error


def _seconds(text: str) -> float:
    value = _number(text, "seconds")
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError("0 to 3600 seconds")
    return value


def _minutes(text: str) -> float:
    value = _number(text, "minutes")
    if not 0 < value <= 1440:
        raise argparse.ArgumentTypeError("above 0 and at most 1440 minutes")
    return value


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
