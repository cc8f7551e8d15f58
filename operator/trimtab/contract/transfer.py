"""Artifacts into a store and out of it; nothing is returned whose hash did not match.

The digest that a caller names is the only root of trust: it fixes the manifest, which fixes every
file. An artifact lies in a folder named by its digest, so a second write is never an overwrite.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from trimtab.contract.artifact import (
    DOCUMENT_BOUNDS,
    MANIFEST,
    File,
    Manifest,
    broken_field,
    sha256_digest,
)
from trimtab.contract.json_bounds import TooMuchJson
from trimtab.contract.location import Location, NotInStore, TooLarge

LARGEST_MANIFEST_BYTES: Final = 1 << 20
DEFAULT_LIMIT_BYTES: Final = 10 << 30

_CHANGED: Final = (
    "was changed after the version was made: copy the version again, or publish it again"
)


class ArtifactError(Exception):
    """The artifact cannot be used; the message says what to do about it."""


class DigestMismatch(ArtifactError):
    """What lies in the store is not what was declared."""


class BrokenArtifact(ArtifactError):
    """The manifest cannot be read, or names a file that is not there."""


class ArtifactTooLarge(ArtifactError):
    """The files together are larger than the caller allows."""


@dataclass(frozen=True, slots=True)
class WrittenArtifact:
    """Where an artifact lies and what it hashes to."""

    uri: str
    digest: str
    manifest: Manifest


def write_artifact(
    location: Location,
    files: Mapping[str, bytes],
    *,
    model_format: Literal["sklearn", "onnx", "custom"],
    model_file: str,
    model: str,
    version: str,
    created: str,
    frameworks: Mapping[str, str],
) -> WrittenArtifact:
    """Write `files` and their manifest into `<location>/<first 16 hex of the digest>/`.

    The manifest comes last, so a half-written artifact has none and is never used. Doing it again
    writes the same bytes to the same place. Raise LocationError.
    """
    if model_file not in files:
        raise BrokenArtifact(f"{model_file} is not among the files {sorted(files)}")
    manifest = Manifest(
        format=model_format,
        model_file=model_file,
        model=model,
        version=version,
        created=created,
        frameworks=dict(frameworks),
        files=[
            File(path=path, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            for path, content in sorted(files.items())
        ],
    )
    body = (manifest.model_dump_json(by_alias=True, indent=1) + "\n").encode()
    digest = sha256_digest(body)
    folder = location.below(digest.removeprefix("sha256:")[:16])
    for path, content in files.items():
        folder.put(path, content)
    folder.put(MANIFEST, body)
    return WrittenArtifact(folder.uri, digest, manifest)


def read_manifest(location: Location, digest: str) -> Manifest:
    """Return the manifest if its bytes hash to `digest`.

    Raise DigestMismatch, BrokenArtifact, or a LocationError when the store cannot be read.
    """
    return _verified(location, digest)[1]


def fetch_artifact(
    location: Location,
    digest: str,
    into: Path,
    limit: int = DEFAULT_LIMIT_BYTES,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Manifest:
    """Bring the artifact into the folder `into`; return its manifest.

    Manifest first, then each file streamed with its size and sha256 checked; a file becomes
    visible under its name only when they match, and one already there that matches is kept.
    `progress` is told bytes done and bytes in all.
    Raise DigestMismatch, BrokenArtifact, ArtifactTooLarge (files together above `limit` bytes),
    or a LocationError.
    """
    body, manifest = _verified(location, digest)
    _check_paths(location, manifest)
    total = sum(file.size for file in manifest.files)
    if total > limit:
        raise ArtifactTooLarge(
            f"{location.uri} has {total:,} bytes in {len(manifest.files)} files, more than the "
            f"{limit:,} allowed here; raise the limit or shrink the model"
        )
    done = 0
    into.mkdir(parents=True, exist_ok=True)
    for file in manifest.files:
        _fetch_file(location, file, into, _Progress(progress, done, total))
        done += file.size
        progress(done, total)
    (into / MANIFEST).write_bytes(body)
    return manifest


def _check_paths(location: Location, manifest: Manifest) -> None:
    """Raise BrokenArtifact where the files cannot lie side by side in one folder."""
    where = f"{location.uri}{MANIFEST} names"
    taken = {MANIFEST}
    folders: set[str] = set()
    for file in manifest.files:
        parts = file.path.split("/")
        if not {".", ".."}.isdisjoint(parts):
            raise BrokenArtifact(f"{where} {file.path!r}, which leaves it")
        if file.path in taken:
            raise BrokenArtifact(f"{where} {file.path!r} twice, or itself")
        taken.add(file.path)
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    both = sorted(taken & folders)
    if both:
        raise BrokenArtifact(f"{where} {both[0]!r} as a file and as a folder")


@dataclass(frozen=True, slots=True)
class _Progress:
    """Bytes of one file, told as bytes of the whole artifact."""

    tell: Callable[[int, int], None]
    before: int
    total: int

    def __call__(self, written: int) -> None:
        self.tell(self.before + written, self.total)


def _fetch_file(
    location: Location, file: File, into: Path, progress: Callable[[int], None]
) -> None:
    target = into / file.path
    if _matches(target, file):
        return
    part = target.with_name(target.name + "~")  # no path of a manifest holds this character
    try:
        sha256 = location.fetch(file.path, part, file.size, progress=progress)
    except NotInStore as error:
        raise BrokenArtifact(
            f"{location.uri}{file.path} is in the manifest but not in the store; write the "
            "artifact again"
        ) from error
    except TooLarge as error:
        raise DigestMismatch(
            f"{location.uri}{file.path} is larger than the {file.size:,} bytes of the manifest; it "
            f"{_CHANGED}"
        ) from error
    if sha256 != file.sha256:
        part.unlink(missing_ok=True)
        raise DigestMismatch(
            f"{location.uri}{file.path} hashes to {sha256[:12]}..., the manifest says "
            f"{file.sha256[:12]}...; it {_CHANGED}"
        )
    os.replace(part, target)  # noqa: PTH105 - replaces in one step on every platform


def _matches(path: Path, file: File) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _verified(location: Location, digest: str) -> tuple[bytes, Manifest]:
    try:
        body = location.get(MANIFEST, LARGEST_MANIFEST_BYTES)
    except TooLarge as error:
        raise BrokenArtifact(f"{location.uri}{MANIFEST} is larger than 1 MiB") from error
    found = sha256_digest(body)
    if found != digest:
        raise DigestMismatch(
            f"{location.uri}{MANIFEST} hashes to {found}, declared is {digest}; declare the digest "
            "that the trainer printed, or write the artifact again"
        )
    try:
        DOCUMENT_BOUNDS.check(body)
        return body, Manifest.model_validate_json(body)
    except TooMuchJson as error:
        raise BrokenArtifact(f"{location.uri}{MANIFEST} holds {error}") from error
    except ValidationError as error:
        said = broken_field(error)
        raise BrokenArtifact(f"{location.uri}{MANIFEST} does not read: {said}") from error
