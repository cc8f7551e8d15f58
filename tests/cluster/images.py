"""Images in the cluster: built if their inputs changed, imported if the node lacks them.

The three images of the project share most of their layers, and a change of the source changes
only the last. So they are written in the OCI layout, as one archive, with only those layers that
the node does not hold yet.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from . import existing
from .builder import (
    TARGETS,
    Built,
    build_images,
    buildah,
    hash_sources,
    inspect_image,
    reference_of,
    write_layers,
)
from .node import ctr
from .settings import REPOSITORY, ClusterError, Settings
from .shell import run, say
from .store_image import import_store_image

TAGS = ("dev", "next")  # the same image twice, so that a change of the default image can be tried


def provide_images(settings: Settings) -> None:
    """Build what changed and bring it into the tool's own cluster."""
    key = _build_changed(settings)
    import_store_image(settings)
    imported = settings.state / "images.imported"
    if imported.exists() and imported.read_text() == key:
        say("images are up to date")
        return
    _import_built(settings)
    imported.write_text(key)
    say(f"imported {', '.join(reference_of(target) for target in TARGETS)}")


def provide_images_to_context(settings: Settings, context: str) -> None:
    """Build with docker where there is one, else with buildah, and copy into a local cluster."""
    load = existing.loader_of(context)
    docker = shutil.which("docker")
    if docker is None:
        _build_changed(settings)
    for target in TARGETS:
        name = reference_of(target)
        archive = settings.cache / f"{target}.tar"
        archive.unlink(missing_ok=True)
        if docker:
            run([docker, "build", "--target", target, "--tag", name, REPOSITORY], show=True)
            run([docker, "save", "--output", archive, name])
        else:
            push = [*buildah(settings), "push", "--quiet", name]
            run([*push, f"docker-archive:{archive}:{name}"])
        run([word.format(archive=archive) for word in load])
        archive.unlink()
        say(f"loaded {name}")


def _build_changed(settings: Settings) -> str:
    """Build unless nothing changed since the last build; returns the hash of the inputs."""
    key = hash_sources()
    note = settings.cache / "images.built"
    if not note.exists() or note.read_text() != key:
        build_images(settings)
        note.write_text(key)
    return key


def _import_built(settings: Settings) -> None:
    held = set(run([*ctr(settings), "content", "list", "-q"]).split())
    try:
        _import_without(settings, held)
    except ClusterError:  # a layer that was held may have been collected meanwhile
        _import_without(settings, set())


def _import_without(settings: Settings, held: set[str]) -> None:
    """Write the images in the OCI layout, without the parts that are held, and import that."""
    images = {target: inspect_image(settings, reference_of(target)) for target in TARGETS}
    with tempfile.TemporaryDirectory(dir=settings.cache) as name:
        layout = Path(name)
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        missing = {layer for image in images.values() for layer in image.layers} - held
        write_layers(settings, missing, blobs)
        entries = [entry for target in TARGETS for entry in _entries(target, images[target], blobs)]
        index = {"schemaVersion": 2, "manifests": entries}
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        _stream(settings, layout)


def _entries(target: str, image: Built, blobs: Path) -> list[dict[str, Any]]:
    """Write an image's documents; return its lines in the index, one for each tag."""
    for document in (image.manifest, image.configuration):
        (blobs / hashlib.sha256(document.encode()).hexdigest()).write_text(document)
    entry = {
        "mediaType": json.loads(image.manifest)["mediaType"],
        "digest": f"sha256:{hashlib.sha256(image.manifest.encode()).hexdigest()}",
        "size": len(image.manifest.encode()),
    }
    names = [reference_of(target, tag) for tag in TAGS]
    return [{**entry, "annotations": {"io.containerd.image.name": name}} for name in names]


def _stream(settings: Settings, layout: Path) -> None:
    command = [*ctr(settings), "images", "import", "--all-platforms", "-"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            tar.add(layout, arcname="")
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended early: its message says why
    errors = process.stderr.read().decode()
    if process.wait():
        raise ClusterError(f"import failed: {errors.strip()}")
