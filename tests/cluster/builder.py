"""Building the project's images with buildah, without a daemon and without a registry.

The base is a Debian with Python, made by mmdebstrap from the machine's own package source; set
TRIMTAB_BASE_IMAGE to build on a public image instead. Layers are cached outside the tree.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .packages import IMAGE_PACKAGES, install_packages
from .settings import REPOSITORY, ClusterError, Settings
from .shell import run, say, succeeds

TARGETS = ("operator", "serving", "serving-onnx", "serving-tables", "training")
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
BASE_RELEASE = "bookworm"
SOURCES = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "operator")
CERTIFICATES = Path("/etc/ssl/certs")
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")


def reference_of(target: str, tag: str = "dev") -> str:
    """The name under which a target is known to the cluster."""
    return f"localhost/trimtab-{target}:{tag}"


def hash_sources() -> str:
    """A hash over everything that the images are made of."""
    digest = hashlib.sha256()
    digest.update(os.environ.get("TRIMTAB_BASE_IMAGE", BASE_PACKAGES).encode())
    for name in SOURCES:
        root = REPOSITORY / name
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file):
                digest.update(f"{file.relative_to(REPOSITORY)}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def build_images(settings: Settings) -> None:
    """Build every target; unchanged layers come from the cache."""
    install_packages(IMAGE_PACKAGES)
    base = os.environ.get("TRIMTAB_BASE_IMAGE") or _local_base(settings)
    folder = settings.cache / "pip"
    folder.mkdir(exist_ok=True)
    configuration = folder / "pip.conf"
    configuration.write_text(_pip_configuration())
    options = ["--layers", "--network", "host", "--isolation", "chroot", "--build-arg"]
    options += [f"BASE={base}", "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    options += ["--volume", f"{configuration}:/etc/pip.conf:ro"]
    for target in TARGETS:
        say(f"building {reference_of(target)}")
        names = ["--target", target, "--tag", reference_of(target)]
        run([*buildah(settings), "bud", "--quiet", *options, *names, REPOSITORY])


def buildah(settings: Settings) -> list[str]:
    """buildah with its storage in the cache folder."""
    root = settings.cache / "containers"
    return ["buildah", "--root", str(root / "root"), "--runroot", str(root / "run")]


@dataclass(frozen=True)
class Built:
    """An image in the storage: its two documents, byte by byte, and the layers they name."""

    manifest: str
    configuration: str

    @property
    def layers(self) -> list[str]:
        """Digests of the layers, base first."""
        return [layer["digest"] for layer in json.loads(self.manifest)["layers"]]


def inspect_image(settings: Settings, reference: str) -> Built:
    """What the storage holds under a name."""
    found = json.loads(run([*buildah(settings), "inspect", "--type", "image", reference]))
    return Built(manifest=found["Manifest"], configuration=found["Config"])


def write_layers(settings: Settings, digests: Iterable[str], folder: Path) -> None:
    """Write layers as uncompressed archives, each named by its digest."""
    _, _, graph, _, state = buildah(settings)
    storage = ["containers-storage", "--graph", graph, "--run", state]
    known = json.loads(run([*storage, "layers", "--json"]))
    names = {layer["diff-digest"]: layer["id"] for layer in known if "diff-digest" in layer}
    for digest in digests:
        target = folder / digest.removeprefix("sha256:")
        run([*storage, "diff", "--uncompressed", "--file", target, names[digest]])


def _local_base(settings: Settings) -> str:
    """A Debian with Python and nothing else, made once."""
    key = hashlib.sha256(f"{BASE_RELEASE} {BASE_PACKAGES}".encode()).hexdigest()[:12]
    reference = f"localhost/python-base:{key}"
    if succeeds([*buildah(settings), "inspect", "--type", "image", reference]):
        return reference
    say("making the base image (once, half a minute)")
    archive = settings.cache / "base.tar"
    source = f"deb {_debian_mirror()} {BASE_RELEASE} main"
    options = ["--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}"]
    run(["mmdebstrap", *options, BASE_RELEASE, archive, source])
    container = run([*buildah(settings), "from", "scratch"]).strip()
    run([*buildah(settings), "add", "--quiet", container, archive, "/"])
    run([*buildah(settings), "commit", "--quiet", "--rm", container, reference])
    archive.unlink()
    return reference


def _debian_mirror() -> str:
    """The first Debian source that this machine itself installs from."""
    for file in sorted(Path("/etc/apt").rglob("*.sources")) + sorted(
        Path("/etc/apt").rglob("*.list")
    ):
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] in (["URIs:"], ["deb"]):
                found = [word for word in words if word.rstrip("/").endswith("/debian")]
                if found:
                    return found[0]
    raise ClusterError("no Debian source found under /etc/apt; set TRIMTAB_BASE_IMAGE")


def _pip_configuration() -> str:
    """The settings of this machine that pip needs to reach its index from inside a build."""
    lines = ["[global]", f"cert = {CERTIFICATES / 'ca-certificates.crt'}"]
    for name in PIP_VARIABLES:
        if name in os.environ:
            lines.append(
                f"{name.removeprefix('PIP_').lower().replace('_', '-')} = {os.environ[name]}"
            )
    return "\n".join(lines) + "\n"
