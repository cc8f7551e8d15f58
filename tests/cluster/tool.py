"""The command line: up, down, status, kubectl-prefix, run, images.

With KUBE_CONTEXT in the environment that context is used, and nothing is started or stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import existing, node
from .images import provide_images, provide_images_to_context
from .network import enter
from .packages import (
    HELM,
    RULE_PACKAGES,
    TOXIPROXY,
    VERDICTS,
    build_kubernetes,
    build_module,
    build_program,
    install_packages,
)
from .processes import noted_parts
from .settings import ClusterError, Settings, read_settings
from .shell import say


def main(arguments: list[str] | None = None) -> int:
    """Carry out one verb; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring the cluster up; returns when its node is Ready")
    verbs.add_parser("down", help="end the cluster and remove every trace of it")
    verbs.add_parser("status", help="show which parts run; status 1 when one does not")
    verbs.add_parser("kubectl-prefix", help="print the words that reach the cluster")
    verbs.add_parser("helm", help="build helm if it is missing, and print where it is")
    verbs.add_parser("promtool", help="install promtool if it is missing, and print where it is")
    verbs.add_parser("verdicts", help="build what asks kstatus and Flux, and print where it is")
    verbs.add_parser("toxiproxy", help="build toxiproxy if it is missing, and print where it is")
    verbs.add_parser("images", help="build the images and bring them into the cluster")
    run = verbs.add_parser("run", help="run a command that reaches the cluster")
    run.add_argument("command", nargs=argparse.REMAINDER)
    wanted = parser.parse_args(arguments)
    try:
        return _carry_out(wanted, read_settings(), os.environ.get("KUBE_CONTEXT", ""))
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def _carry_out(wanted: argparse.Namespace, settings: Settings, context: str) -> int:
    match wanted.verb:
        case "kubectl-prefix":
            words = existing.kubectl(context) if context else _own_kubectl(settings)
            say(shlex.join(words))
        case "helm":
            say(str(build_program(settings, HELM)))
        case "promtool":
            install_packages(RULE_PACKAGES)
            say(RULE_PACKAGES["prometheus"])
        case "verdicts":
            say(str(build_module(settings, VERDICTS)))
        case "toxiproxy":
            say(str(build_program(settings, TOXIPROXY)))
        case "run":
            _run(settings, context, wanted.command)
        case "images" if context:
            settings.cache.mkdir(parents=True, exist_ok=True)
            provide_images_to_context(settings, context)
        case "images":
            with _alone(settings, "images"), _alone(settings, settings.name):
                provide_images(settings)
        case _ if context:
            existing.check_reachable(context)
            say(f"using context {context}: nothing to start or stop")
        case "status":
            return _status(settings)
        case "up":
            with _alone(settings, settings.name):
                node.bring_up(settings)
        case "down":
            with _alone(settings, settings.name):
                say(f"removing the cluster {settings.name}")
                node.take_down(settings)
                say("removed")
    return 0


@contextmanager
def _alone(settings: Settings, what: str) -> Iterator[None]:
    """Let one process at a time change something; others wait."""
    if os.geteuid() != 0:
        raise ClusterError("needs root: namespaces, mounts and cgroups are made")
    settings.cache.mkdir(parents=True, exist_ok=True)
    with (settings.cache / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _own_kubectl(settings: Settings) -> list[str]:
    return node.kubectl(settings, build_kubernetes(settings))


def _status(settings: Settings) -> int:
    parts = noted_parts(settings)
    for name, pid in parts.items():
        say(f"{name:20} {pid or 'gone'}")
    if not parts:
        say("no cluster")
    return 0 if parts and None not in parts.values() else 1


def _run(settings: Settings, context: str, command: list[str]) -> None:
    """Become the command, with kubectl, helm and KUBECONFIG at hand."""
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise ClusterError("run: which command?")
    if context:
        kubeconfig = existing.write_kubeconfig(settings, context)
        tools = _folder_with_helm(settings)
    else:
        kubeconfig, tools = settings.kubeconfig, settings.binaries
        if not settings.namespace.exists():
            raise ClusterError("no cluster runs; bring it up first")
        words = [*enter(settings), *words]
    os.environ["KUBECONFIG"] = str(kubeconfig)
    os.environ["PATH"] = f"{tools}:{os.environ['PATH']}"
    try:
        os.execvp(words[0], words)
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]}: no such command") from error


def _folder_with_helm(settings: Settings) -> Path:
    folder = settings.cache / "context-bin"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "helm"
    link.unlink(missing_ok=True)
    link.symlink_to(build_program(settings, HELM))
    return folder
