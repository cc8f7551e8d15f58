"""The processes of a cluster: started in its namespaces, noted, and ended by what was noted.

Two notes are kept. Each part has a file with its pid and the start time that the kernel gives
for it, so that a pid that was used again is never taken for ours. And every process, with all
its children, lives in a cgroup of the cluster, so that what a killed parent left behind (the
shims of containerd, the containers themselves) is still found.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .settings import ClusterError, Settings
from .shell import wait_until

CGROUPS = Path("/sys/fs/cgroup")
HOLDER = "holder"


def start_holder(settings: Settings) -> None:
    """Start the process that keeps the mount namespace of the cluster.

    All mounts that containerd and the kubelet make stay inside and vanish with the last process.
    Fixed paths that they write to are covered by folders of the state.
    """
    covers = {"/var/log": "log", "/var/lib/cni": "cni"}
    lines = ["set -e", "mount --make-rshared /", "mount -t tmpfs tmpfs /run"]
    for path, folder in covers.items():
        (settings.state / folder).mkdir(parents=True, exist_ok=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        lines.append(f"mount --bind {settings.state / folder} {path}")
    ready = settings.state / "holder.ready"
    ready.unlink(missing_ok=True)
    lines += [f"touch {ready}", "exec sleep infinity"]
    script = "\n".join(lines)
    _spawn(settings, HOLDER, ["unshare", "--mount", "--propagation=slave", "sh", "-c", script])
    wait_until(ready.exists, "mount namespace", 5)


def start(settings: Settings, part: str, command: Sequence[str | Path]) -> None:
    """Start a part of the cluster in its network and mount namespace, unless it runs already."""
    if is_running(settings, part):
        return
    holder = _noted_pid(settings, HOLDER)
    if holder is None:
        raise ClusterError("the mount namespace is gone; run `down` first")
    enter = ["nsenter", f"--mount=/proc/{holder}/ns/mnt", f"--net={settings.namespace}"]
    _spawn(settings, part, [*enter, *command])


def _spawn(settings: Settings, part: str, command: Sequence[str | Path]) -> None:
    settings.logs.mkdir(parents=True, exist_ok=True)
    notes = settings.state / "pids"
    notes.mkdir(parents=True, exist_ok=True)
    # the shell moves itself into the cgroup before it becomes the program: no child escapes
    moved = 'echo $$ > "$0" && exec "$@"'
    group = _tracking_root() / settings.cgroup / "host" / "cgroup.procs"
    with (settings.logs / f"{part}.log").open("ab") as log:
        process = subprocess.Popen(
            ["sh", "-c", moved, str(group), *[str(word) for word in command]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    (notes / part).write_text(f"{process.pid} {_start_time(process.pid)}\n")


def is_running(settings: Settings, part: str) -> bool:
    """Whether the noted process of a part still runs."""
    return _noted_pid(settings, part) is not None


def noted_parts(settings: Settings) -> dict[str, int | None]:
    """Every part that was ever started, with its pid, or None when it is gone."""
    notes = settings.state / "pids"
    names = sorted(file.name for file in notes.iterdir()) if notes.is_dir() else []
    return {name: _noted_pid(settings, name) for name in names}


def end(settings: Settings, part: str, seconds: float = 5) -> None:
    """End one part: SIGTERM, then SIGKILL for one that does not listen."""
    pid = _noted_pid(settings, part)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not is_running(settings, part), part, seconds)
    except ClusterError:
        if is_running(settings, part):
            os.kill(pid, signal.SIGKILL)


def kill_group(settings: Settings, group: str = "") -> None:
    """Kill every process in the cluster's cgroups, or in one group below them."""
    root = _tracking_root() / settings.cgroup / group

    def is_empty() -> bool:
        pids = _pids_below(root)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not pids

    wait_until(is_empty, f"end of all processes in {root}", 20)


def make_cgroups(settings: Settings) -> None:
    """Make the cluster's cgroup in every hierarchy, and the group for its own processes."""
    for hierarchy in _hierarchies():
        group = hierarchy / settings.cgroup
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: a new group has none
            if (group / name).exists() and (hierarchy / "tasks").exists():
                (group / name).write_text((hierarchy / name).read_text())
        control = group / "cgroup.subtree_control"
        if control.exists() and hierarchy == _tracking_root():  # version 2
            controllers = (group / "cgroup.controllers").read_text().split()
            control.write_text(" ".join(f"+{name}" for name in controllers))
    (_tracking_root() / settings.cgroup / "host").mkdir(exist_ok=True)


def remove_cgroups(settings: Settings) -> None:
    """Remove the cluster's cgroups; they must be empty of processes."""
    for hierarchy in _hierarchies():
        group = hierarchy / settings.cgroup
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()


def _hierarchies() -> list[Path]:
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(words[1]) for words in mounted if words[2] in ("cgroup", "cgroup2")]


def _tracking_root() -> Path:
    """The hierarchy whose groups tell which processes are ours."""
    if (CGROUPS / "cgroup.controllers").exists():
        return CGROUPS
    return CGROUPS / "pids"


def _pids_below(root: Path) -> list[int]:
    return [int(pid) for file in root.rglob("cgroup.procs") for pid in file.read_text().split()]


def _noted_pid(settings: Settings, part: str) -> int | None:
    try:
        pid, started = (settings.state / "pids" / part).read_text().split()
    except FileNotFoundError:
        return None
    return int(pid) if _start_time(int(pid)) == started else None


def _start_time(pid: int) -> str | None:
    """Clock ticks after boot at which the process started; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
