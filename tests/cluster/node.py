"""A cluster goes up and comes down.

Up is idempotent: what runs is left alone, what died is started again. Down is complete: it works
from what the kernel knows (cgroup, namespace, mounts) as well as from the notes, so that a
cluster that lost half of its parts leaves nothing behind either.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from . import components, processes
from .archive import Image, write_image
from .certificates import make_certificates
from .network import enter, make_network, remove_network
from .packages import (
    COREDNS,
    DEBIAN_PACKAGES,
    HELM,
    build_kubernetes,
    build_program,
    install_packages,
)
from .settings import MODULE, NODE, ClusterError, Settings
from .shell import run, say, succeeds, wait_until
from .volumes import volumes_manifest

# the kubelet sets these for the whole machine; `down` puts the old values back
KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
)


def bring_up(settings: Settings) -> None:
    """Bring the cluster up until its node is Ready; quick when it is up."""
    install_packages(DEBIAN_PACKAGES)
    kubernetes = build_kubernetes(settings)
    coredns = build_program(settings, COREDNS)
    helm = build_program(settings, HELM)
    began = time.monotonic()
    parts = processes.noted_parts(settings)
    if parts and parts.get(processes.HOLDER) is None:
        say("the cluster lost its mount namespace: starting anew")
        take_down(settings)
    settings.state.mkdir(parents=True, exist_ok=True)
    _note_kernel_settings(settings)
    processes.make_cgroups(settings)
    make_network(settings)
    make_certificates(settings)
    _link_commands(settings, kubernetes, helm)
    if not processes.is_running(settings, processes.HOLDER):
        processes.start_holder(settings)
    _start_parts(settings, kubernetes, coredns)
    wait_until(lambda: _is_node_ready(settings, kubernetes), "node Ready", 60)
    account = [*kubectl(settings, kubernetes), "get", "serviceaccount", "default"]
    wait_until(lambda: succeeds(account), "default service account", 30)  # no pod without it
    say(f"node Ready after {time.monotonic() - began:.1f} s")


def _start_parts(settings: Settings, kubernetes: Path, coredns: Path) -> None:
    processes.start(settings, "etcd", components.etcd_command(settings))
    processes.start(settings, "containerd", components.containerd_command(settings))
    processes.start(settings, "apiserver", components.apiserver_command(settings, kubernetes))
    _wait_for(settings, "containerd", lambda: succeeds([*ctr(settings), "version"]))
    _import_pause_image(settings)
    _wait_for(settings, "apiserver", lambda: _is_api_ready(settings, kubernetes))
    commands: dict[str, Callable[[], list[str]]] = {
        "controller-manager": lambda: components.controller_manager_command(settings, kubernetes),
        "scheduler": lambda: components.scheduler_command(settings, kubernetes),
        "kubelet": lambda: components.kubelet_command(settings, kubernetes),
        "proxy": lambda: components.proxy_command(settings, kubernetes),
        "coredns": lambda: components.coredns_command(settings, coredns),
    }
    for part, command in commands.items():
        if not processes.is_running(settings, part):  # a part may end when its file is written anew
            processes.start(settings, part, command())
    objects = settings.state / "volumes.json"
    if not objects.exists():
        objects.write_text(volumes_manifest(settings))
        apply = [*kubectl(settings, kubernetes), "apply", "--server-side"]
        run([*apply, "-f", MODULE / "node.yaml", "-f", objects])


def take_down(settings: Settings) -> None:
    """End every process and remove every trace. Works on a half-dead cluster too."""
    for part in ("kubelet", "proxy"):  # or they would start again what is ended below
        processes.end(settings, part)
    processes.kill_group(settings)
    sockets = _shim_sockets(settings)
    _unmount_below(settings.state)
    processes.remove_cgroups(settings)
    remove_network(settings)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    _restore_kernel_settings(settings)
    if settings.state.exists():
        shutil.rmtree(settings.state)
    for folder in (settings.state.parent, Path("/var/lib/cni")):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def kubectl(settings: Settings, kubernetes: Path) -> list[str]:
    """The words before any kubectl verb that reach this cluster."""
    reach = [str(kubernetes), "kubectl", "--kubeconfig", str(settings.kubeconfig)]
    return [*enter(settings), *reach]


def ctr(settings: Settings) -> list[str]:
    """The words before any verb of containerd's own client."""
    holder = processes.noted_parts(settings).get(processes.HOLDER)
    if holder is None:
        raise ClusterError("no cluster runs; bring it up first")
    mounts = ["nsenter", f"--mount=/proc/{holder}/ns/mnt"]
    return [*mounts, "ctr", "--address", str(settings.containerd_socket), "--namespace", "k8s.io"]


def _wait_for(settings: Settings, part: str, condition: Callable[[], bool]) -> None:
    def holds() -> bool:
        if not processes.is_running(settings, part):
            raise ClusterError(f"{part} ended:\n{_log_end(settings, part)}")
        return condition()

    wait_until(holds, f"{part} ready", 60)


def _log_end(settings: Settings, part: str) -> str:
    return "\n".join((settings.logs / f"{part}.log").read_text().splitlines()[-20:])


def _is_api_ready(settings: Settings, kubernetes: Path) -> bool:
    return succeeds([*kubectl(settings, kubernetes), "get", "--raw", "/readyz"])


def _is_node_ready(settings: Settings, kubernetes: Path) -> bool:
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    command = [*kubectl(settings, kubernetes), "get", "node", NODE, "-o", f"jsonpath={ready}"]
    try:
        return run(command) == "True"
    except ClusterError:
        return False  # not registered yet


def _import_pause_image(settings: Settings) -> None:
    """Import the image that holds a pod's namespaces: busybox, asleep."""
    reference = components.PAUSE_IMAGE
    if reference in run([*ctr(settings), "images", "list", "-q"]):
        return
    archive = settings.state / "pause.tar"
    files = {"/sleep": Path("/usr/bin/busybox")}
    write_image(Image(reference, files, ["/sleep", "2147483647"]), archive)
    run([*ctr(settings), "images", "import", archive])


def _link_commands(settings: Settings, kubernetes: Path, helm: Path) -> None:
    settings.binaries.mkdir(exist_ok=True)
    script = settings.binaries / "kubectl"
    script.write_text(f'#!/bin/sh\nexec {kubernetes} kubectl "$@"\n')
    script.chmod(0o755)
    link = settings.binaries / "helm"
    link.unlink(missing_ok=True)
    link.symlink_to(helm)


def _shim_sockets(settings: Settings) -> list[Path]:
    """Sockets that containerd's shims left on fixed paths of the machine."""
    files = (settings.state / "containerd-run").rglob("address")
    return [Path(file.read_text().removeprefix("unix://")) for file in files]


def _unmount_below(folder: Path) -> None:
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        mounted = Path(line.split()[1])
        if mounted.is_relative_to(folder):
            run(["umount", "--lazy", mounted])


def _note_kernel_settings(settings: Settings) -> None:
    notes = settings.state / "kernel"
    if notes.exists():
        return
    values = [(Path("/proc/sys") / name).read_text().strip() for name in KERNEL_SETTINGS]
    notes.write_text("\n".join(values))


def _restore_kernel_settings(settings: Settings) -> None:
    notes = settings.state / "kernel"
    others = [path for path in settings.state.parent.glob("*") if path != settings.state]
    if not notes.exists() or others:
        return
    for name, value in zip(KERNEL_SETTINGS, notes.read_text().splitlines(), strict=True):
        (Path("/proc/sys") / name).write_text(value)
