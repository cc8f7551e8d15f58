"""Images in the cluster: built if their inputs changed, imported if the node lacks them.

The three images of the project share most of their layers. They are written into one folder in
the OCI layout, and only those parts that the node does not hold yet are handed to containerd.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from . import builder, existing
from .builder import TARGETS, build_images, hash_sources, push_layout, reference_of
from .node import ctr
from .settings import ClusterError, Settings
from .shell import run, say
from .store_image import import_store_image

TAGS = ("dev", "next")  # the same image twice, so that a change of the default image can be tried


def provide_images(settings: Settings, context: str) -> None:
    """Build what changed and bring it into the cluster."""
    key = hash_sources()
    note = settings.cache / "images.built"
    if not note.exists() or note.read_text() != key:
        build_images(settings)
        note.write_text(key)
    if context:
        _load_into_context(settings, context)
        return
    import_store_image(settings)
    imported = settings.state / "images.imported"
    if imported.exists() and imported.read_text() == key:
        say("images are up to date")
        return
    _import_layout(settings, _write_layout(settings))
    imported.write_text(key)
    say(f"imported {', '.join(reference_of(target) for target in TARGETS)}")


def _load_into_context(settings: Settings, context: str) -> None:
    for target in TARGETS:
        archive = settings.cache / f"{target}.tar"
        archive.unlink(missing_ok=True)
        name = reference_of(target)
        run(
            [
                *builder.buildah(settings),
                "push",
                "--quiet",
                name,
                f"docker-archive:{archive}:{name}",
            ]
        )
        existing.load_archive(context, archive)
        archive.unlink()


def _write_layout(settings: Settings) -> Path:
    """The images as one folder; the index names each as containerd wants it.

    The folder is kept: layers that are in it already need not be written again.
    """
    layout = settings.cache / "layout"
    layout.mkdir(exist_ok=True)
    (layout / "index.json").unlink(missing_ok=True)
    for target in TARGETS:
        push_layout(settings, target, layout)
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs" / "sha256"
    used, entries = set(), []
    for entry in index["manifests"]:
        manifest = json.loads((blobs / _file_name(entry)).read_text())
        parts = [entry, manifest["config"], *manifest["layers"]]
        used |= {_file_name(part) for part in parts}
        target = entry["annotations"]["org.opencontainers.image.ref.name"]
        for tag in TAGS:
            annotations = {"io.containerd.image.name": reference_of(target, tag)}
            entries.append({**entry, "annotations": annotations})
    (layout / "index.json").write_text(json.dumps({**index, "manifests": entries}))
    for blob in blobs.iterdir():
        if blob.name not in used:
            blob.unlink()
    return layout


def _file_name(descriptor: dict[str, Any]) -> str:
    return str(descriptor["digest"]).removeprefix("sha256:")


def _import_layout(settings: Settings, layout: Path) -> None:
    held = set(run([*ctr(settings), "content", "list", "-q"]).split())
    try:
        _stream(settings, layout, held)
    except ClusterError:  # a layer that was held may have been collected meanwhile
        _stream(settings, layout, set())


def _stream(settings: Settings, layout: Path, held: set[str]) -> None:
    """Hand the layout to containerd, without the parts that it holds."""
    command = [*ctr(settings), "images", "import", "--all-platforms", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            for file in sorted(layout.rglob("*")):
                if file.is_file() and f"sha256:{file.name}" not in held:
                    tar.add(file, arcname=str(file.relative_to(layout)))
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended early: its message says why
    errors = process.stderr.read().decode()
    if process.wait():
        raise ClusterError(f"import failed: {errors.strip()}")
