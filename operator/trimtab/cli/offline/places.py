"""Which artifact lies at a place: a folder, the folder above, or a URI of a store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from trimtab.contract.artifact import MANIFEST, Manifest, sha256_digest
from trimtab.contract.location import (
    BadLocation,
    Location,
    LocationError,
    NotInStore,
    open_location,
)
from trimtab.contract.transfer import LARGEST_MANIFEST_BYTES, ArtifactError, read_manifest
from trimtab.errors import SpecError, TrimtabError, plain

_BY_DIGEST: Final = re.compile("[0-9a-f]{16}")
MOST_ENTRIES: Final = 20_000
"""That are looked at in the folder above."""


class NothingThere(SpecError):
    """The place has no artifact, or is none."""


@dataclass(frozen=True, slots=True)
class Found:
    """The artifact that a place has.

    uri: of its folder. shown: the same as a person wrote it. others: older ones beside it.
    """

    uri: str
    shown: str
    digest: str
    manifest: Manifest
    others: int

    @property
    def title(self) -> str:
        """What is served, in few words."""
        return f"{self.manifest.model} {self.manifest.version} ({self.digest[:19]})"

    @property
    def is_changed(self) -> bool:
        """Whether the folder is named by another digest, as `publish` names folders."""
        name = self.uri.rstrip("/").rpartition("/")[2]
        own = self.digest.removeprefix("sha256:")
        return _BY_DIGEST.fullmatch(name) is not None and not own.startswith(name)

    @property
    def place(self) -> str:
        """Where it lies, and why it was taken."""
        if not self.others:
            return self.shown
        return f"{self.shown}, of {self.others + 1} artifacts there the one written last"


def find(where: str, credentials: Path | None = None, digest: str | None = None) -> Found:
    """Return the artifact at a path or URI.

    In a folder that is none itself, the one whose manifest was written last; with a digest the one
    that has it. Raise NothingThere, or TrimtabError where the store is not to be had or the
    artifact cannot be read.
    """
    path = _local(where)
    try:
        if path is not None:
            return _below(path, where, credentials, digest)
        location = open_location(where, credentials)
        if (raw := _manifest_of(location)) is not None:
            return _read(location, where, raw, digest, 0)
        found = [
            (entry.modified.timestamp(), entry.path.partition("/")[0])
            for entry in islice(location.entries(), MOST_ENTRIES)
            if entry.path.endswith(f"/{MANIFEST}") and entry.path.count("/") == 1
        ]
        return _newest(location, where, found, credentials, digest)
    except (BadLocation, NotInStore) as error:
        raise NothingThere(str(error)) from error
    except (LocationError, ArtifactError) as error:
        raise TrimtabError(str(error)) from error


def _local(where: str) -> Path | None:
    if "://" not in where:
        return Path(where)
    parts = urlsplit(where)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _below(path: Path, where: str, credentials: Path | None, digest: str | None) -> Found:
    if path.name == MANIFEST and path.is_file():
        path = path.parent
        where = str(path)
    if not path.is_dir():
        raise NothingThere(f"{where}: no such folder")
    location = open_location(path.resolve().as_uri(), credentials)
    if (path / MANIFEST).is_file():
        return _read(location, where, _manifest_of(location) or b"", digest, 0)
    try:
        found = [
            (file.stat().st_mtime, folder.name)
            for folder in islice(path.iterdir(), MOST_ENTRIES)
            if (file := folder / MANIFEST).is_file()
        ]
    except OSError as error:
        raise NothingThere(f"{where}: cannot be read: {plain(error)}") from error
    return _newest(location, where, found, credentials, digest)


def _newest(
    location: Location,
    where: str,
    found: list[tuple[float, str]],
    credentials: Path | None,
    digest: str | None,
) -> Found:
    """Return the artifact written last of those in folders below; two of one moment go by name."""
    if not found:
        raise NothingThere(f"{where}: has no {MANIFEST}, nor has any folder in it")
    name = max(found)[1]
    if digest is not None:
        # `publish` names folders so.
        own = digest.removeprefix("sha256:")[:16]
        name = own if any(other == own for _, other in found) else name
    shown = f"{where.rstrip('/')}/{name}/"
    below = open_location(location.uri + quote(name), credentials)
    raw = _manifest_of(below)
    if raw is None:
        raise NothingThere(f"{shown}: the artifact has just been removed")
    return _read(below, shown, raw, digest, len(found) - 1)


def _manifest_of(location: Location) -> bytes | None:
    try:
        return location.get(MANIFEST, LARGEST_MANIFEST_BYTES)
    except NotInStore:
        return None


def _read(location: Location, shown: str, raw: bytes, wanted: str | None, others: int) -> Found:
    digest = sha256_digest(raw)
    if wanted is not None and digest != wanted:
        raise TrimtabError(f"{shown}: has the digest {digest}, not {wanted}")
    return Found(location.uri, shown, digest, read_manifest(location, digest), others)
