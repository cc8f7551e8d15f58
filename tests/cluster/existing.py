"""A cluster that a person already has: reached through a context of their kubeconfig."""

from __future__ import annotations

import shutil
from pathlib import Path

from .settings import ClusterError, Settings
from .shell import run, succeeds

# prefix of the context's name -> the command that copies an archive into such a cluster
LOADERS = {
    "kind-": ["kind", "load", "image-archive", "{archive}", "--name", "{cluster}"],
    "k3d-": ["k3d", "image", "import", "{archive}", "--cluster", "{cluster}"],
    "minikube": ["minikube", "image", "load", "{archive}"],
}


def kubectl(context: str) -> list[str]:
    """The words before any kubectl verb that reach the context."""
    program = shutil.which("kubectl")
    if program is None:
        raise ClusterError("KUBE_CONTEXT is set, but there is no kubectl on the PATH")
    return [program, "--context", context]


def check_reachable(context: str) -> None:
    """Raise ClusterError unless the context's API server answers."""
    if not succeeds([*kubectl(context), "--request-timeout=10s", "get", "--raw", "/readyz"]):
        raise ClusterError(f"the API server of context {context!r} does not answer")


def write_kubeconfig(settings: Settings, context: str) -> Path:
    """A kubeconfig with this context alone, so that any program uses it by default."""
    view = ["config", "view", "--minify", "--flatten", "--raw"]
    folder = settings.cache / "contexts"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / context.replace("/", "_")
    target.touch(mode=0o600)
    target.write_text(run([*kubectl(context), *view]))
    return target


def loader_of(context: str) -> list[str]:
    """The command that copies `{archive}` into a local cluster; ClusterError for any other."""
    for prefix, words in LOADERS.items():
        if context.startswith(prefix):
            cluster = context.removeprefix(prefix)
            return [cluster if word == "{cluster}" else word for word in words]
    raise ClusterError(
        f"no way is known to copy images into context {context!r}: push them to a registry that"
        " it reaches and name them in the chart's values"
    )
