"""`trimtab`, also `kubectl trimtab`: arguments in, one command out, errors in one line.

Nothing is imported before it is needed, and what the commands on a cluster need is in the standard
library: this is also the program that stands in a single file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trimtab import __version__
from trimtab.api.durations import parse_duration
from trimtab.api.resource import DEPLOYMENTS, OWN_KINDS, Key, Resource
from trimtab.cli.arguments import number_of
from trimtab.cli.lazy import Fill, LazyParser
from trimtab.cli.names import is_name, key_of_target
from trimtab.errors import SpecError, TrimtabError, installing, shown

if TYPE_CHECKING:
    from trimtab.cli.session import Session

    Command = Callable[[Session, argparse.Namespace], Awaitable[int]]

WAIT_SECONDS = 10.0
_NAMESPACE = "default: the namespace of the kubeconfig's context"
_CONTEXT = "context of the kubeconfig (default: the current one)"
_DEPLOYMENT = "the Deployment"
_ANY_KIND = "mdep/NAME|dp/NAME|rj/NAME|mv/NAME"
INTERRUPTED = 130
ENDED = 143
"""By SIGTERM or SIGHUP, as a shell has it."""
COMPLETE = "__complete"
COMPLETER = "kubectl_complete-trimtab"
"""Under this name kubectl asks a plug-in for completions."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 success, 1 refused or failed, 2 wrong usage or input, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None and Path(sys.argv[0]).name == COMPLETER:
        words = [COMPLETE, *words]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # the tree has lines that not every code has
    try:
        code = _completed(words[1:]) if words[:1] == [COMPLETE] else _run(words)
        sys.stdout.flush()
    except TrimtabError as error:
        print(f"error: {shown(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    import asyncio

    try:
        return int(asyncio.run(options.run(options)))
    except asyncio.CancelledError:
        return ENDED


def _completed(words: Sequence[str]) -> int:
    from trimtab.cli.completion import complete

    print(complete(parser(), words))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each has its arguments once it is used."""
    root = argparse.ArgumentParser(
        prog=_program(), description="Keeps machine-learning models good after they ship."
    )
    root.add_argument("--version", action="version", version=f"trimtab {__version__}")
    root.add_argument("-n", "--namespace", type=_namespace, help=_NAMESPACE)
    root.add_argument("--context", help=_CONTEXT)
    commands = root.add_subparsers(metavar="COMMAND", required=True, parser_class=LazyParser)
    _add_looks(commands)
    _add_verbs(commands)
    _add_tools(commands)
    _add_models(commands)
    _add_offline(commands)
    return root


def _program() -> str:
    is_plugin = Path(sys.argv[0]).name.startswith("kubectl-")
    return "kubectl trimtab" if is_plugin else "trimtab"


def on_cluster(run: Command) -> Callable[[argparse.Namespace], Awaitable[int]]:
    """Return the command with what it needs of the cluster."""

    async def connected(options: argparse.Namespace) -> int:
        from trimtab.cli.kubectl import Kubectl
        from trimtab.cli.session import Session

        api = Kubectl(options.context)
        return await run(Session(api, options.namespace or await api.namespace()), options)

    return connected


# --- the commands -------------------------------------------------------------------------------


async def _get(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.get import get

    key = _key(session, options, DEPLOYMENTS)
    stream = sys.stdout if sys.stdout.isatty() else None
    return await get(session, key, watch=options.watch, stream=stream)


async def _why(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.why import why

    return await why(session, key_of_target(options.target, session.namespace, *OWN_KINDS))


async def _wait(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.wait import USAGE, wait

    key = key_of_target(options.target, session.namespace, *OWN_KINDS)
    if key.resource != DEPLOYMENTS and (options.promoted or options.expected is not None):
        print("error: --promoted and --version are about a Deployment", file=sys.stderr)
        return USAGE
    return await wait(session, key, options.expected, options.timeout)


async def _handover(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.handover import handover

    return await handover(session, key_of_target(options.target, session.namespace, DEPLOYMENTS))


async def _command(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.command import command

    key = key_of_target(options.target, session.namespace, DEPLOYMENTS)
    return await command(session, key, options.verb, options.argument, options.wait)


async def _retrain(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.retrain import retrain

    key = key_of_target(options.target, session.namespace, DEPLOYMENTS)
    return await retrain(session, key, options.since)


async def _dashboard(session: Session, options: argparse.Namespace) -> int:
    from trimtab.cli.dashboard import dashboard, has_display

    key = _key(session, options, *OWN_KINDS)
    is_opened = has_display() if options.open is None else options.open
    return await dashboard(session, key, options.board, is_opened=is_opened)


async def _completion(options: argparse.Namespace) -> int:
    from trimtab.cli.completion import SCRIPTS

    print(SCRIPTS[options.shell], end="")
    return 0


def _key(session: Session, options: argparse.Namespace, *allowed: Resource) -> Key | None:
    if options.target is None:
        return None
    return key_of_target(options.target, session.namespace, *allowed)


# --- the arguments ------------------------------------------------------------------------------

Commands: TypeAlias = "argparse._SubParsersAction[LazyParser]"


def _add_looks(commands: Commands) -> None:
    text = "show Deployments with their versions, pods, policies and retrainings"
    _add(commands, "get", text, _get, _arguments_of_get)
    text = "explain the last decisions on an object, with their evidence and its queries"
    _add(commands, "why", text, _why, _arguments_of_why)
    text = "wait until an object is as wanted, or is known not to become so"
    _add(commands, "wait", text, _wait, _arguments_of_wait)
    text = "say what the next person on call has to know of a Deployment"
    _add(commands, "handover", text, _handover, _one_deployment)


def _arguments_of_get(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "target", nargs="?", type=_deployment, metavar="mdep/NAME", help="default: all"
    )
    one.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="keep showing it: in place on a terminal, else a block for each change",
    )


def _arguments_of_wait(one: argparse.ArgumentParser) -> None:
    from trimtab.cli.wait import EXIT_CODES

    codes = "; ".join(f"{code}: {text}" for code, text in EXIT_CODES.items())
    one.description = f"{one.description}. Exit codes: {codes}."
    one.add_argument("target", type=_any_kind, metavar=_ANY_KIND, help="the object to wait for")
    one.add_argument(
        "--promoted",
        action="store_true",
        help="until the version that is wanted serves (of a Deployment always so)",
    )
    one.add_argument(
        "--version",
        dest="expected",
        type=_version,
        metavar="VERSION",
        help="the version that is to serve (default: whichever is wanted)",
    )
    one.add_argument(
        "--timeout",
        type=_duration,
        default=timedelta(minutes=30),
        metavar="DURATION",
        help="how long at most, such as 90s or 1h (default 30m)",
    )


def _arguments_of_why(one: argparse.ArgumentParser) -> None:
    one.add_argument("target", type=_any_kind, metavar=_ANY_KIND, help="the object to explain")


def _one_deployment(one: argparse.ArgumentParser) -> None:
    one.add_argument("target", type=_deployment, metavar="mdep/NAME", help=_DEPLOYMENT)


def _add_verbs(commands: Commands) -> None:
    for verb, text in (
        ("promote", "promote the candidate now, without further steps"),
        ("abort", "roll the candidate back and quarantine it"),
        ("pause", "hold the rollout where it is"),
        ("resume", "go on with a paused rollout"),
        ("retry", "lift the quarantine of a version, so that it may be tried again"),
        ("rollback", "return to the last good version, or to another one"),
    ):
        _add(commands, verb, text, _command, _arguments_of(verb))
    text = "retrain now, as the DriftPolicy of the Deployment says"
    _add(commands, "retrain", text, _retrain, _arguments_of_retrain)


def _arguments_of(verb: str) -> Fill:
    def fill(one: argparse.ArgumentParser) -> None:
        _one_deployment(one)
        one.set_defaults(verb=verb, argument=None)
        one.add_argument(
            "--wait",
            type=number_of("seconds", 3600, zero=True),
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

    return fill


def _arguments_of_retrain(one: argparse.ArgumentParser) -> None:
    _one_deployment(one)
    one.add_argument(
        "--since",
        type=_duration,
        metavar="DURATION",
        help="learn from the rows of the last 24h or the like (default: the window that fired, or "
        "else all rows)",
    )


def _add_tools(commands: Commands) -> None:
    text = "print the link to the dashboard of an object, or open it"
    _add(commands, "dashboard", text, _dashboard, _arguments_of_dashboard)
    text = "print what a shell needs to complete commands and names of objects"
    one = commands.add_parser("completion", help=text, description=text)
    one.add_argument(
        "shell",
        choices=("bash", "zsh", "fish", "kubectl"),
        help="kubectl: the program kubectl_complete-trimtab, which completes `kubectl trimtab`",
    )
    one.set_defaults(run=_completion)


def _arguments_of_dashboard(one: argparse.ArgumentParser) -> None:
    from trimtab.cli.dashboard import BOARDS, VARIABLE

    one.add_argument(
        "target",
        nargs="?",
        type=_any_kind,
        metavar=_ANY_KIND,
        help=f"what it is to be about (default: the whole fleet); {VARIABLE} is the URL of Grafana",
    )
    one.add_argument(
        "--board", choices=tuple(BOARDS), help="dashboard (default: the one for the kind)"
    )
    how = one.add_mutually_exclusive_group()
    how.add_argument(
        "--open",
        action="store_const",
        const=True,
        help="open it in a browser (default: on a terminal with a display)",
    )
    how.add_argument(
        "--print", dest="open", action="store_const", const=False, help="print the link only"
    )


def _add_models(commands: Commands) -> None:
    text = "serve an artifact on this machine, without a cluster"
    commands.add_parser("serve", help=text, description=text, fill=_arguments_of_serve)
    text = "predict the rows of a file by a running model"
    commands.add_parser("predict", help=text, description=text, fill=_arguments_of_predict)


def _arguments_of_serve(one: argparse.ArgumentParser) -> None:
    try:
        module = import_module("trimtab.cli.offline.serve")
    except ModuleNotFoundError as error:
        raise TrimtabError(
            "serve runs models, and what that needs is not in this file: " + installing("serving")
        ) from error
    module.add_arguments(one)


def _arguments_of_predict(one: argparse.ArgumentParser) -> None:
    from trimtab.cli.predict import add_arguments

    add_arguments(one)


def _add_offline(commands: Commands) -> None:
    for name, text in (
        ("simulate", "play manifests without a cluster and print every decision"),
        ("replay", "run a DriftPolicy over recorded rows or counters and print each verdict"),
        ("lint", "check manifests before they are applied"),
        ("conform", "check a running container against the serving contract"),
    ):
        commands.add_parser(name, help=text, description=text, fill=_offline(name))


def _offline(name: str) -> Fill:
    """Return what adds the arguments of a command that judges with the operator's own code."""

    def fill(one: argparse.ArgumentParser) -> None:
        try:
            module = import_module(f"trimtab.cli.offline.{name}")
        except ModuleNotFoundError as error:
            raise TrimtabError(
                f"{name} judges with the operator's own code, which is not in this file: run it "
                "from a clone of the project after `make setup`"
            ) from error
        module.add_arguments(one)

    return fill


def _add(commands: Commands, name: str, text: str, run: Command, fill: Fill) -> None:
    """Add a command on a cluster."""

    def filled(one: argparse.ArgumentParser) -> None:
        # Where they are left out here, those before the command count.
        nothing = argparse.SUPPRESS
        one.add_argument("-n", "--namespace", type=_namespace, default=nothing, help=_NAMESPACE)
        one.add_argument("--context", default=nothing, help=_CONTEXT)
        one.set_defaults(run=on_cluster(run))
        fill(one)

    commands.add_parser(name, help=text, description=text, fill=filled)


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


def _namespace(text: str) -> str:
    if not is_name(text) or "." in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a namespace")
    return text


def _version(text: str) -> str:
    if "/" in text:
        raise argparse.ArgumentTypeError(f"{text}: a version or revision has no slash")
    return text


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
