"""The small files of an artifact, from a file, a folder or a store."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from trimtab.contract.artifact import (
    MANIFEST,
    Baseline,
    Signature,
    baseline_digest,
    broken_field,
    sha256_digest,
)
from trimtab.errors import SpecError, plain
from trimtab.store.port import ArtifactBroken, Documents, StoreAway

_LARGEST_BYTES = 8 * 1024 * 1024
_Document = TypeVar("_Document", bound=BaseModel)


class ArtifactAway(SpecError):
    """The store did not answer, or does not let in; nothing is said of the artifact."""


def read_baseline(where: str, credentials: Path | None = None) -> Baseline:
    """Return the baseline of a file `baseline.json`, or of an artifact's folder or URI.

    credentials: folder with a file for each setting of the store; without it the environment
    counts. SpecError says what is wrong.
    """
    path = Path(where)
    if "://" not in where and path.is_file():
        found = _of_file(path, Baseline)
        if baseline_digest(found) != found.digest:
            raise SpecError(f"{path}: does not hash to the digest that it names")
        return found
    baseline = read_documents_at(where, credentials).baseline
    if baseline is None:
        raise SpecError(f"{where}: the artifact has no baseline")
    return baseline


def read_documents_at(
    where: str, credentials: Path | None = None, digest: str | None = None
) -> Documents:
    """Return manifest, signature and baseline of an artifact's folder or URI, all verified.

    digest: that of the version; without it the manifest is taken as it lies there.
    """
    from trimtab.contract.location import LocationError, open_location
    from trimtab.store.artifacts import MANIFEST_LIMIT_BYTES, read_documents

    uri = where
    if "://" not in where:
        if not Path(where).is_dir():
            raise SpecError(f"{where}: no such file or folder")
        uri = Path(where).resolve().as_uri()
    try:
        if digest is None:
            raw = open_location(uri, credentials).get(MANIFEST, MANIFEST_LIMIT_BYTES)
            digest = sha256_digest(raw)
        return read_documents(uri, digest, credentials)
    except ArtifactBroken as error:
        raise SpecError(f"{where}: {error}") from error
    except (LocationError, StoreAway) as error:
        raise ArtifactAway(f"{where}: {error}") from error


def read_signature(path: Path) -> Signature:
    """Return the signature of a file `signature.json`; SpecError says what is wrong."""
    return _of_file(path, Signature)


def _of_file(path: Path, kind: type[_Document]) -> _Document:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise SpecError(f"{path}: more than {_LARGEST_BYTES} bytes")
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {plain(error)}") from error
    except ValidationError as error:
        what = broken_field(error)
        raise SpecError(f"{path}: not a {kind.__name__.lower()}: {what}") from error
