"""Container images written without a container tool: a folder of files becomes one layer.

The format is the one that `docker save` writes and every runtime imports: a layer, a
configuration and `manifest.json`.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Image:
    """A small image: files by absolute path, and how it starts."""

    reference: str
    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    user: str = "65532:65532"
    folders: Sequence[str] = ("/tmp",)


def write_image(image: Image, target: Path) -> None:
    """Write the image to a tar archive; the same input gives the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in image.folders:
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        for path, source in image.files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = source.stat().st_size, 0o755
            with source.open("rb") as file:
                tar.addfile(entry, file)
    content = layer.getvalue()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "Env": ["PATH=/usr/bin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    config = json.dumps(configuration, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image.reference], "Layers": ["layer.tar"]}]
    with tarfile.open(target, mode="w") as tar:
        parts = {
            config_name: config,
            "layer.tar": content,
            "manifest.json": json.dumps(manifest).encode(),
        }
        for name, data in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
