"""Where a cluster lives and which addresses it uses. Nothing here touches the machine.

A cluster is known by a name (`TRIMTAB_CLUSTER_NAME`, default `trimtab`). Its network namespace,
its cgroups and its state folder carry that name, so that two clusters can run side by side;
addresses and ports are the same in both, since each is alone in its namespace.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = Path(__file__).resolve().parent

KUBERNETES = "v1.36.3"
NODE = "node-1"
NODE_ADDRESS = "10.77.0.1"
SERVICE_RANGE = "10.78.0.0/16"
FIRST_SERVICE_ADDRESS = "10.78.0.1"
POD_RANGE = "10.79.0.0/16"
API_SERVER = f"https://{NODE_ADDRESS}:6443"
DNS_DOMAIN = "cluster.local"


class ClusterError(Exception):
    """Something the person can act on; its text is all they need to see."""


@dataclass(frozen=True)
class Settings:
    """Paths of one cluster."""

    name: str
    state: Path
    cache: Path

    @property
    def namespace(self) -> Path:
        """The network namespace, as `nsenter --net` takes it."""
        return Path("/run/netns") / self.name

    @property
    def kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    @property
    def binaries(self) -> Path:
        """Commands for those who work with the cluster: kubectl, helm."""
        return self.state / "bin"

    @property
    def certificates(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """Name of the cgroup under which every process of the cluster lives."""
        return f"trimtab-{self.name}"


def read_settings() -> Settings:
    """The settings that the environment asks for."""
    name = os.environ.get("TRIMTAB_CLUSTER_NAME", "trimtab")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise ClusterError(f"TRIMTAB_CLUSTER_NAME: {name!r} is not a short lower-case name")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    states = Path(os.environ.get("TRIMTAB_CLUSTER_STATE", "/var/lib/trimtab-cluster"))
    return Settings(name=name, state=states / name, cache=cache / "trimtab")
