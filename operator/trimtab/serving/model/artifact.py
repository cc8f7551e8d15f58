"""The verified artifact: fetched by digest, its parts read and checked against each other."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from trimtab.contract.artifact import (
    BASELINE,
    MANIFEST,
    SIGNATURE,
    Baseline,
    Manifest,
    Signature,
    baseline_digest,
    broken_field,
)
from trimtab.contract.location import LocationError, StoreUnavailable, open_location
from trimtab.contract.transfer import (
    ArtifactError,
    ArtifactTooLarge,
    DigestMismatch,
    fetch_artifact,
)
from trimtab.serving.errors import ArtifactRefused, ArtifactUnavailable, SettingsInvalid
from trimtab.serving.model.agreement import check_baseline, check_signature
from trimtab.serving.settings import ServingSettings

logger = logging.getLogger(__name__)

_Part = TypeVar("_Part", Signature, Baseline)
_RETRY_SECONDS: Final = 2.0
_LARGEST_PART_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified artifact on local disk."""

    manifest: Manifest
    signature: Signature
    baseline: Baseline
    digest: str
    model_file: Path


def bring_artifact(settings: ServingSettings) -> Artifact:
    """Fetch the artifact that the settings name and check every part of it.

    Raises ArtifactRefused when anything differs from what the digest promises, and
    ArtifactUnavailable when it is not here whole within `fetch_seconds`.
    """
    folder = settings.scratch / ("trimtab-" + settings.artifact_digest.removeprefix("sha256:"))
    manifest = _in_time(settings, folder)
    sizes = {file.path: file.size for file in manifest.files}
    for path in (SIGNATURE, BASELINE, manifest.model_file):
        if path not in sizes:
            raise ArtifactRefused("FileMissing", f"{MANIFEST} does not list {path}")
    for path in (SIGNATURE, BASELINE):
        if sizes[path] > _LARGEST_PART_BYTES:
            raise ArtifactRefused("TooLarge", f"{path} is larger than 64 MiB")
    wanted = settings.artifact_format
    if wanted and manifest.format != wanted:
        raise ArtifactRefused(
            "FormatMismatch", f"{MANIFEST} says {manifest.format}, the version says {wanted}"
        )
    signature = _parsed(Signature, folder, SIGNATURE)
    check_signature(signature)
    baseline = _parsed(Baseline, folder, BASELINE)
    if baseline_digest(baseline) != baseline.digest:
        raise ArtifactRefused("DigestMismatch", f"{BASELINE}: digest does not fit its content")
    check_baseline(baseline, signature)
    return Artifact(
        manifest, signature, baseline, settings.artifact_digest, folder / manifest.model_file
    )


class _Fetched:
    """How much is here; written by the fetching thread."""

    done = 0
    total = 0

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total


def _in_time(settings: ServingSettings, folder: Path) -> Manifest:
    """Fetch in a thread of its own, which is left behind when the time is over.

    A store that sends a byte now and then, or a volume that hangs, ends in no time-out below.
    """
    result: Future[Manifest] = Future()
    progress = _Fetched()

    def fetch() -> None:
        try:
            result.set_result(_fetched(settings, folder, progress))
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            result.set_exception(error)

    threading.Thread(target=fetch, name="fetch", daemon=True).start()
    try:
        return result.result(settings.fetch_seconds)
    except TimeoutError as error:
        raise ArtifactUnavailable(
            f"{settings.artifact_uri}: {progress.done:,} of {progress.total:,} bytes are here "
            f"after {settings.fetch_seconds:g} s (TRIMTAB_FETCH_SECONDS)"
        ) from error


def _fetched(settings: ServingSettings, folder: Path, progress: _Fetched) -> Manifest:
    until, has_said = time.monotonic() + settings.fetch_seconds, False
    while True:
        try:
            location = open_location(settings.artifact_uri, settings.artifact_credentials)
            return fetch_artifact(
                location,
                settings.artifact_digest,
                folder,
                settings.max_artifact_bytes,
                progress=progress,
            )
        except DigestMismatch as error:
            raise ArtifactRefused("DigestMismatch", str(error)) from error
        except ArtifactTooLarge as error:
            raise ArtifactRefused(
                "TooLarge", f"{error} (TRIMTAB_MAX_ARTIFACT_BYTES, in spec.serving.env)"
            ) from error
        except ArtifactError as error:
            raise ArtifactRefused("Malformed", str(error)) from error
        except StoreUnavailable as error:
            if time.monotonic() + _RETRY_SECONDS > until:
                raise ArtifactUnavailable(str(error)) from error
            if not has_said:
                logger.warning("%s; tried again until it answers", error)
                has_said = True
            time.sleep(_RETRY_SECONDS)
        except LocationError as error:
            raise ArtifactRefused(type(error).__name__, str(error)) from error
        except OSError as error:
            # What the store itself raises is a LocationError.
            raise SettingsInvalid(f"TRIMTAB_SCRATCH: {folder} cannot be written: {error}") from (
                error
            )


def _parsed(kind: type[_Part], folder: Path, path: str) -> _Part:
    try:
        return kind.model_validate_json((folder / path).read_bytes())
    except ValidationError as error:
        raise ArtifactRefused("Malformed", f"{path}: {broken_field(error)}") from error
