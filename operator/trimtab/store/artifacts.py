"""The store over object locations: reads the small files of an artifact, never the model.

The digest pins `manifest.json`; the manifest pins every other file by sha256 and size. What was
read once is kept by digest, which is content, so it can never be stale.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from trimtab.api.conditions import Reason
from trimtab.contract.artifact import (
    BASELINE,
    DOCUMENT_BOUNDS,
    MANIFEST,
    SIGNATURE,
    Baseline,
    File,
    Manifest,
    Signature,
    baseline_digest,
    broken_field,
    sha256_digest,
)
from trimtab.contract.json_bounds import TooMuchJson
from trimtab.contract.location import (
    Location,
    LocationError,
    NotInStore,
    TooLarge,
    open_location,
)
from trimtab.store.port import ArtifactBroken, Documents, StoreAway

MANIFEST_LIMIT_BYTES = 256 * 1024
DOCUMENT_LIMIT_BYTES = 8 * 1024 * 1024
KEPT_ARTIFACTS = 128
READS_AT_ONCE = 4
READ_SECONDS = 30.0

_Document = TypeVar("_Document", bound=BaseModel)


class ArtifactStore:
    """`trimtab.store.port.Store` for every scheme that `contract.location` opens.

    `credentials`: folder with one file per key of the store's credentials, or None where the
    operator has none; then every artifact is checked by the pods that load it.
    """

    def __init__(self, credentials: Path | None) -> None:
        self._credentials = credentials
        self._kept: OrderedDict[str, Documents] = OrderedDict()
        # Threads of its own: a store that hangs must not hold up anything else.
        self._threads = ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="store")

    def cached(self, digest: str) -> Documents | None:
        """Return the documents of an artifact that was read before, without I/O."""
        documents = self._kept.get(digest)
        if documents is not None:
            self._kept.move_to_end(digest)
        return documents

    async def documents(self, uri: str, digest: str) -> Documents:
        """Return manifest, signature and baseline; StoreAway or ArtifactBroken otherwise."""
        known = self.cached(digest)
        if known is not None:
            return known
        self._require_reach(uri)
        read = await self._read(uri, digest)
        self._keep(digest, read)
        return read

    def _require_reach(self, uri: str) -> None:
        if uri.startswith("pvc://"):
            raise StoreAway(
                "volumes are mounted into the pods only, which check the artifact at load",
                no_credentials=True,
            )
        if self._credentials is None and not uri.startswith("https://"):
            raise StoreAway(
                "the operator has no credentials for the store; the pods check the artifact "
                "at load",
                no_credentials=True,
            )

    async def _read(self, uri: str, digest: str) -> Documents:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, read_documents, uri, digest, self._credentials
                )
        except TimeoutError as error:
            raise StoreAway(f"{uri} was not read within {READ_SECONDS:.0f} s") from error

    def _keep(self, digest: str, documents: Documents) -> None:
        self._kept[digest] = documents
        while len(self._kept) > KEPT_ARTIFACTS:
            self._kept.popitem(last=False)


def read_documents(uri: str, digest: str, credentials: Path | None) -> Documents:
    """Read and verify the small files of the artifact in folder `uri`. Blocks on the network.

    Raises StoreAway when the store does not answer, ArtifactBroken when what it holds is missing,
    too large, not what the digest says, or not an artifact.
    """
    try:
        location = open_location(uri, credentials, timedelta(seconds=READ_SECONDS))
    except LocationError as error:
        raise StoreAway(str(error)) from error
    raw = _get(location, MANIFEST, MANIFEST_LIMIT_BYTES)
    found = sha256_digest(raw)
    if found != digest:
        raise ArtifactBroken(
            f"{MANIFEST} has digest {found}, the version says {digest}",
            reason=Reason.DIGEST_MISMATCH,
        )
    manifest = _parsed(Manifest, MANIFEST, raw)
    files = {file.path: file for file in manifest.files}
    if manifest.model_file not in files:
        raise ArtifactBroken(
            f"{MANIFEST} does not list its model file {manifest.model_file!r}",
            reason=Reason.SCHEMA_BROKEN,
        )
    if SIGNATURE not in files:
        raise ArtifactBroken(f"{MANIFEST} lists no {SIGNATURE}", reason=Reason.SCHEMA_BROKEN)
    signature = _parsed(Signature, SIGNATURE, _verified(location, files[SIGNATURE]))
    baseline = None
    if BASELINE in files:
        baseline = _parsed(Baseline, BASELINE, _verified(location, files[BASELINE]))
        if baseline_digest(baseline) != baseline.digest:
            raise ArtifactBroken(
                f"{BASELINE} does not hash to the digest that it names",
                reason=Reason.DIGEST_MISMATCH,
            )
    return Documents(manifest, signature, baseline)


def _verified(location: Location, file: File) -> bytes:
    if file.size > DOCUMENT_LIMIT_BYTES:
        raise ArtifactBroken(f"{file.path} has {file.size} bytes, at most {DOCUMENT_LIMIT_BYTES}")
    raw = _get(location, file.path, DOCUMENT_LIMIT_BYTES)
    if sha256_digest(raw) != f"sha256:{file.sha256}":
        raise ArtifactBroken(
            f"{file.path} does not have the sha256 that {MANIFEST} lists",
            reason=Reason.DIGEST_MISMATCH,
        )
    return raw


def _get(location: Location, path: str, limit: int) -> bytes:
    try:
        return location.get(path, limit)
    except (NotInStore, TooLarge) as error:
        raise ArtifactBroken(str(error)) from error
    except LocationError as error:
        raise StoreAway(str(error)) from error


def _parsed(kind: type[_Document], path: str, raw: bytes) -> _Document:
    try:
        DOCUMENT_BOUNDS.check(raw)
        return kind.model_validate_json(raw)
    except TooMuchJson as error:
        raise ArtifactBroken(f"{path} holds {error}", reason=Reason.SCHEMA_BROKEN) from error
    except ValidationError as error:
        raise ArtifactBroken(
            f"{path} cannot be read: {broken_field(error)}", reason=Reason.SCHEMA_BROKEN
        ) from error
